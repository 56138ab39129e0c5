/* The index against plain arrays, and the cost of its operations in steps, not in time. */
#include "kv/store/key_index.h"
#include "tests/kv/store/fixture.h"

enum { KEYS = 3000, OPERATIONS = 60000 };

static uint64_t random_state = 88172645463325252u;
static uint64_t draw(uint64_t below)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state % below;
}

static void name(char out[16], int i) { snprintf(out, 16, "key/%05d", i); }

static void the_tree_equals_a_plain_list(void **state)
{
    (void)state;
    static struct {
        bool there, lives;
        int64_t version;
    } plain[KEYS];
    struct key_index ix;
    int64_t main = 1;
    key_index_init(&ix);
    for (int i = 0; i < OPERATIONS; i++) {
        // Waves: mostly growing, then mostly shrinking, so that nodes split and join.
        bool growing = i / 10000 % 2 == 0;
        int n = (int)draw(KEYS);
        char text[16];
        name(text, n);
        struct index_key *k = key_index_find(&ix, B(text));
        assert_int_equal(k != NULL, plain[n].there);
        if (draw(10) < (growing ? 8 : 2)) {
            k = key_index_add(&ix, B(text), (struct rev){.main = ++main});
            plain[n].there = plain[n].lives = true;
            plain[n].version++;
            assert_int_equal(k->version, plain[n].version);
        } else if (plain[n].lives) {
            key_index_add(&ix, B(text), (struct rev){.main = ++main, .tombstone = true});
            plain[n].lives = false;
            plain[n].version = 0;
        } else if (plain[n].there) {
            uint32_t all = index_key_compactable(&ix, k, main + 1);
            assert_int_equal(all, k->count); // the newest is a deletion before that revision
            assert_true(key_index_trim(&ix, k, all));
            plain[n].there = false;
        }
        if (i % 500 == 0) {
            int from = (int)draw(KEYS), to = (int)draw(KEYS);
            uint64_t want = 0;
            char a[16], z[16];
            assert_true(key_index_is_sound(&ix));
            name(a, from);
            name(z, to);
            for (int j = from; j < to; j++)
                want += plain[j].lives;
            struct rt_bytes end = B(z);
            assert_int_equal(key_index_count(&ix, B(a), &end), want);
        }
    }
    int there = 0;
    for (int j = 0; j < KEYS; j++)
        there += plain[j].there;
    assert_int_equal(ix.keys, there);
    struct index_cursor c = key_index_seek(&ix, B(""));
    for (struct index_key *k, *before = NULL; (k = index_cursor_next(&c)); before = k, there--)
        assert_true(!before || rt_bytes_compare(index_key_bytes(before), index_key_bytes(k)) < 0);
    assert_int_equal(there, 0);
    key_index_deinit(&ix);
}

static void a_million_revisions_of_one_key_cost_a_few_steps_each(void **state)
{
    (void)state;
    enum { MILLION = 1000000 };
    struct key_index ix;
    struct index_key *k = NULL;
    struct rev rev;
    key_index_init(&ix);
    for (int64_t main = 2; main < MILLION + 2; main++)
        k = key_index_add(&ix, B("hot"), (struct rev){.main = main});
    assert_int_equal(k->count, MILLION);
    assert_true(ix.steps < 3 * MILLION);
    uint64_t before = ix.steps;
    for (int i = 0; i < 1000; i++) {
        int64_t at = 2 + (int64_t)draw(MILLION);
        assert_true(index_key_at(&ix, k, (struct rev){.main = at + 1}, &rev));
        assert_int_equal(rev.main, at);
    }
    assert_true(ix.steps - before < 1000 * 25);
    // Compacted in slices, as the flusher does it; what is left keeps no memory of what went.
    while (index_key_compactable(&ix, k, MILLION))
        assert_false(key_index_trim(&ix, k,
                                    index_key_compactable(&ix, k, MILLION) > 2000
                                        ? 2000
                                        : index_key_compactable(&ix, k, MILLION)));
    assert_int_equal(k->count, 2);
    assert_true(k->cap <= 16);
    assert_true(index_key_at(&ix, k, (struct rev){.main = MILLION + 1}, &rev));
    assert_int_equal(rev.main, MILLION);
    assert_int_equal(k->version, MILLION);
    key_index_deinit(&ix);
}

static void a_count_does_not_walk_its_range(void **state)
{
    (void)state;
    struct key_index ix;
    char text[16];
    key_index_init(&ix);
    for (int i = 0; i < 50000; i++) {
        name(text, i);
        key_index_add(&ix, B(text), (struct rev){.main = i + 2});
    }
    uint64_t before = ix.steps;
    struct rt_bytes end = B("key/49999");
    assert_int_equal(key_index_count(&ix, B("key/00001"), &end), 49998);
    assert_true(ix.steps - before < 100);
    key_index_deinit(&ix);
}

static void a_compaction_keeps_what_etcd_keeps(void **state)
{
    (void)state;
    static const struct {
        const char *when;
        int64_t revs[5]; // negative: a deletion
        int64_t at;
        uint32_t goes;
    } rows[] = {
        {"nothing is that old", {5, 7}, 4, 0},
        {"the newest up to it stays", {2, 5, 7}, 6, 1},
        {"exactly at a put", {2, 5, 7}, 5, 1},
        {"a deletion before it goes with all before", {2, -5, 7}, 6, 2},
        {"a deletion exactly at it stays", {2, -5, 7}, 5, 1},
        {"the key goes altogether", {2, -5}, 9, 2},
        {"the key stays while its deletion is exact", {2, -5}, 5, 1},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct key_index ix;
        struct index_key *k = NULL;
        key_index_init(&ix);
        for (int r = 0; r < 5 && rows[i].revs[r]; r++) {
            int64_t main = rows[i].revs[r] < 0 ? -rows[i].revs[r] : rows[i].revs[r];
            k = key_index_add(&ix, B("k"),
                              (struct rev){.main = main, .tombstone = rows[i].revs[r] < 0});
        }
        if (index_key_compactable(&ix, k, rows[i].at) != rows[i].goes)
            fail_msg("when %s", rows[i].when);
        key_index_deinit(&ix);
    }
}

RT_TEST_GROUP(group, ((const struct CMUnitTest[]){
                         cmocka_unit_test(the_tree_equals_a_plain_list),
                         cmocka_unit_test(a_million_revisions_of_one_key_cost_a_few_steps_each),
                         cmocka_unit_test(a_count_does_not_walk_its_range),
                         cmocka_unit_test(a_compaction_keeps_what_etcd_keeps),
                     }))

int main(void) { return rt_test_main(NULL, group); }
