/* Compactions, hashes and images: what goes, what stays, and that a copy is the same. */
#include "tests/kv/store/model.h"
#include <rt/go.h>
#include <rt/sync.h>

static uint32_t hash_at(struct bench *b, int64_t at)
{
    uint32_t hash;
    int64_t compact, used;
    assert_int_equal(store_hash_kv(b->s, at, &hash, &compact, &used), 0);
    return hash;
}

static void a_compacted_revision_is_refused_at_once(void **state)
{
    (void)state;
    struct bench b = {.s = NULL};
    bench_open(&b);
    for (int i = 0; i < 5; i++)
        put(&b, "a", "x"); // revisions 2 to 6
    assert_int_equal(compact(&b, 7), STORE_FUTURE_REVISION);
    assert_int_equal(compact(&b, 4), 0);
    assert_int_equal(compact(&b, 4), STORE_COMPACTED);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(range(&b, (struct range_args){.key = "a", .revision = 3}),
                         STORE_COMPACTED);
        expect_range(&b, R("a", .revision = 4), "a=x@2.4.3 count=1");
        assert_int_equal(store_revision(b.s), 6);
        assert_int_equal(store_compact_revision(b.s), 4);
        bench_restart(&b);
    }
    bench_close(&b);
}

static void the_revision_survives_the_compaction_of_everything(void **state)
{
    (void)state;
    struct bench b = {.s = NULL};
    bench_open(&b);
    put(&b, "a", "x");
    del(&b, "a");
    put(&b, "b", "x");
    del(&b, "b"); // revision 5
    put(&b, "c", "x");
    del(&b, "c"); // 7
    assert_int_equal(compact(&b, 7), 0);
    assert_int_equal(store_wait_compacted(b.s, 7, RT_FOREVER), 0);
    bench_restart(&b);
    assert_int_equal(store_revision(b.s), 7);
    // The deletion exactly at the compact revision can still be watched.
    struct store_watch_stream *w = store_watch_open(b.s);
    struct store_watch_batch batch;
    store_watch_create(w,
                       &(struct store_watch_options){.range_end = FROM_HERE, .start_revision = 7});
    assert_int_equal(store_watch_next(w, RT_FOREVER, &batch), 0);
    assert_int_equal(store_watch_next(w, rt_after_ns(20 * RT_SECOND), &batch), 0);
    assert_int_equal(batch.kind, STORE_WATCH_EVENTS);
    assert_int_equal(batch.event_count, 1);
    store_watch_batch_deinit(&batch);
    store_watch_close(w);
    bench_close(&b);
}

static void a_compaction_gives_its_pages_back(void **state)
{
    (void)state;
    struct bench b = {.options = {.compact_slice_rows = 300}};
    static char value[4000];
    bench_open(&b);
    memset(value, 'v', sizeof value - 1);
    value[sizeof value - 1] = 0;
    for (int i = 0; i < 2000; i++)
        put(&b, "hot", value);
    assert_int_equal(store_sync(b.s, RT_FOREVER), 0);
    int64_t before = store_size_in_use_bytes(b.s);
    assert_int_equal(compact(&b, 2001), 0);
    assert_int_equal(store_wait_compacted(b.s, 2001, RT_FOREVER), 0);
    assert_true(store_size_in_use_bytes(b.s) < before / 4);
    expect_range(&b, R("hot", .keys_only = true), "hot=@2.2001.2000 count=1");
    int64_t size = store_size_bytes(b.s);
    for (int i = 0; i < 1000; i++)
        put(&b, "hot", value); // into the pages that are free
    assert_int_equal(store_sync(b.s, RT_FOREVER), 0);
    assert_true(store_size_bytes(b.s) < size + size / 10);
    bench_close(&b);
}

static void a_read_keeps_its_rows_while_a_compaction_waits(void **state)
{
    (void)state;
    struct bench b = {.s = NULL};
    struct store_image *image;
    struct store_image_meta meta;
    bench_open(&b);
    put(&b, "a", "1");
    put(&b, "a", "2");
    assert_int_equal(store_sync(b.s, RT_FOREVER), 0);
    assert_int_equal(store_image_open(b.s, &image, &meta), 0);
    assert_int_equal(compact(&b, 3), 0);
    assert_int_equal(store_wait_compacted(b.s, 3, rt_after_ns(100 * RT_MS)), STORE_TIMEOUT);
    store_image_close(image);
    assert_int_equal(store_wait_compacted(b.s, 3, RT_FOREVER), 0);
    bench_close(&b);
}

static void a_compaction_of_revision_0_is_finished_at_once_and_the_next_goes_on(void **state)
{
    (void)state;
    struct bench b = {.s = NULL};
    bench_open(&b);
    put(&b, "a", "1");
    put(&b, "a", "2");
    assert_int_equal(compact(&b, 0), 0);
    assert_int_equal(store_wait_compacted(b.s, 0, rt_after_ns(RT_SECOND)), 0);
    assert_int_equal(compact(&b, 3), 0);
    assert_int_equal(store_wait_compacted(b.s, 3, RT_FOREVER), 0);
    bench_close(&b);
}

static void equal_commands_give_equal_hashes_whenever_they_are_flushed(void **state)
{
    (void)state;
    struct bench a = {.options = {.flush_interval_ms = 1, .compact_slice_rows = 3}};
    struct bench b = {.options = {.flush_interval_ms = 3600 * 1000}};
    uint32_t x, y;
    bench_open(&a);
    bench_open(&b);
    for (int i = 0; i < 2000; i++) {
        struct bench *both[2] = {&a, &b};
        for (int k = 0; k < 2; k++) {
            char key[8];
            model_key(key, i * 7 % MODEL_KEYS);
            if (i % 5 == 4)
                del(both[k], key);
            else
                put(both[k], key, "value");
            if (i % 400 == 399)
                compact(both[k], store_revision(both[k]->s) - 50);
        }
        if (i % 100 == 0)
            assert_int_equal(hash_at(&a, 0), hash_at(&b, 0));
    }
    int64_t compacted = store_compact_revision(a.s);
    assert_int_equal(store_wait_compacted(a.s, compacted, RT_FOREVER), 0);
    assert_int_equal(hash_at(&a, 0), hash_at(&b, 0)); // one removed its rows, the other did not
    assert_int_equal(hash_at(&a, compacted), hash_at(&b, compacted));
    assert_int_equal(store_hash(a.s, &x), 0);
    assert_int_equal(store_hash(b.s, &y), 0);
    assert_int_equal(x, y);
    put(&b, "a", "1");
    assert_int_not_equal(hash_at(&a, 0), hash_at(&b, 0));
    bench_close(&a);
    bench_close(&b);
}

/* ---- Images ---- */

static void fill(struct bench *b)
{
    grant(b, 600, 77);
    for (int i = 0; i < 4000; i++) {
        char key[16];
        snprintf(key, sizeof key, "key%04d", i * 11 % 700);
        put_full(b, (struct put_args){.key = key,
                                      .value = "some value to fill pages with",
                                      .lease = i % 9 ? 0 : 77});
    }
    compact(b, 1000);
    alarm_set(b, 1, 3, STORE_ALARM_NOSPACE);
    bench_apply(b,
                (struct store_command){STORE_CLUSTER, .cluster_key = B("name"), .request = B("x")});
    assert_int_equal(store_sync(b->s, RT_FOREVER), 0);
}

/* Chunks of the image of `b`, at most 64. Returns how many. */
static int read_image(struct bench *b, struct rt_string chunks[64], struct store_image_meta *meta)
{
    struct store_image *image;
    int n = 0, more;
    assert_int_equal(store_image_open(b->s, &image, meta), 0);
    while ((more = store_image_next(image, 64 << 10, &chunks[n])) > 0) {
        assert_true(chunks[n].len < 80 << 10);
        n++;
        assert_true(n < 64);
    }
    assert_int_equal(more, 0);
    store_image_close(image);
    return n;
}

static void an_image_makes_the_same_store_elsewhere(void **state)
{
    (void)state;
    struct bench from = {.s = NULL}, to = {.s = NULL};
    static struct rt_string chunks[64];
    struct store_image_meta meta, got;
    struct store_install *install;
    struct why why = {""};
    uint32_t x, y;
    bench_open(&from);
    bench_open(&to);
    put(&to, "old", "1");
    struct store_watch_stream *w = store_watch_open(to.s);
    struct store_watch_batch batch;
    store_watch_create(w, &(struct store_watch_options){.key = B("key0011")});
    assert_int_equal(store_watch_next(w, RT_FOREVER, &batch), 0);
    fill(&from);
    int n = read_image(&from, chunks, &meta);
    assert_true(n > 4);
    assert_int_equal(store_install_begin(to.s, &install, &why), 0);
    struct store_install *second;
    assert_int_equal(store_install_begin(to.s, &second, &why), STORE_BUSY);
    for (int i = 0; i < n; i++)
        assert_int_equal(
            store_install_chunk(install, rt_bytes(chunks[i].data, chunks[i].len), &why), 0);
    expect_range(&to, R("old"), "old=1@2.2.1 count=1"); // until the switch
    assert_int_equal(store_install_commit(install, &got, &why), 0);
    assert_int_equal(got.index, store_applied_index(from.s));
    assert_int_equal(got.revision, 4001);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(store_applied_index(to.s), store_applied_index(from.s));
        assert_int_equal(hash_at(&to, 0), hash_at(&from, 0));
        assert_int_equal(store_hash(from.s, &x), 0);
        assert_int_equal(store_hash(to.s, &y), 0);
        assert_int_equal(x, y);
        expect_range(&to, R("old"), "");
        if (i == 0) { // the watch was at revision 3: that is compacted by now
            assert_int_equal(store_watch_next(w, rt_after_ns(20 * RT_SECOND), &batch), 0);
            assert_int_equal(batch.kind, STORE_WATCH_COMPACTED);
            store_watch_close(w);
            bench_restart(&to);
        }
    }
    alarm_set(&to, 2, 3, STORE_ALARM_NOSPACE);
    assert_int_equal(put(&to, "new", "1"), 0);
    expect_range(&to, R("new"), "new=1@4002.4002.1 count=1");
    for (int i = 0; i < 64; i++)
        rt_string_deinit(&chunks[i]);
    bench_close(&from);
    bench_close(&to);
}

static void a_bent_image_is_refused_and_changes_nothing(void **state)
{
    (void)state;
    enum { FLIP, SWAP, DROP, SHORT, CUT, OLD, WAYS };
    static const char *const ways[] = {"a bit is flipped",   "two chunks change places",
                                       "a chunk is lost",    "a chunk is cut",
                                       "the end is missing", "it is older"};
    struct bench from = {.s = NULL};
    static struct rt_string chunks[64];
    struct store_image_meta meta, got;
    bench_open(&from);
    fill(&from);
    int n = read_image(&from, chunks, &meta);
    for (int way = 0; way < WAYS; way++) {
        struct bench to = {.s = NULL};
        struct store_install *install;
        struct why why = {""};
        int err = 0;
        bench_open(&to);
        put(&to, "old", "1");
        if (way == OLD)
            for (int i = 0; i < 4100; i++)
                put(&to, "old", "1");
        uint32_t before = hash_at(&to, 0);
        assert_int_equal(store_install_begin(to.s, &install, &why), 0);
        for (int i = 0; i < n && !err; i++) {
            int k = way == SWAP && i == 2 ? 3 : way == SWAP && i == 3 ? 2 : i;
            size_t len = chunks[k].len - (way == SHORT && i == 2);
            if ((way == DROP && i == 2) || (way == CUT && i == n - 1))
                continue;
            chunks[k].data[len / 2] ^= way == FLIP && i == 2;
            err = store_install_chunk(install, rt_bytes(chunks[k].data, len), &why);
            chunks[k].data[len / 2] ^= way == FLIP && i == 2;
        }
        if (err)
            store_install_abort(install);
        else
            err = store_install_commit(install, &got, &why);
        if (err != (way == OLD ? STORE_IMAGE_OLD : STORE_DAMAGED))
            fail_msg("when %s: %d", ways[way], err);
        assert_true(why.text[0]);
        assert_int_equal(hash_at(&to, 0), before);
        bench_restart(&to);
        assert_int_equal(hash_at(&to, 0), before);
        assert_int_equal(store_install_begin(to.s, &install, &why), 0); // may begin again
        store_install_abort(install);
        bench_close(&to);
    }
    for (int i = 0; i < 64; i++)
        rt_string_deinit(&chunks[i]);
    bench_close(&from);
}

static void an_unknown_format_is_refused_naming_both(void **state)
{
    (void)state;
    struct bench b = {.s = NULL};
    struct store_install *install;
    struct why why = {""};
    static struct rt_string chunks[64];
    struct store_image_meta meta;
    bench_open(&b);
    fill(&b);
    int n = read_image(&b, chunks, &meta);
    assert_true(n > 0);
    assert_int_equal(store_install_begin(b.s, &install, &why), 0);
    // The state record begins with the format; mend the checksum as a newer program would make it.
    chunks[0].data[20] = 9;
    uint32_t crc = model_crc(0, chunks[0].data + 4, chunks[0].len - 4);
    for (int i = 0; i < 4; i++)
        chunks[0].data[i] = (uint8_t)(crc >> (8 * i));
    assert_int_equal(store_install_chunk(install, rt_bytes(chunks[0].data, chunks[0].len), &why),
                     STORE_FORMAT);
    assert_non_null(strstr(why.text, "format 9"));
    assert_non_null(strstr(why.text, "format 1"));
    store_install_abort(install);
    for (int i = 0; i < 64; i++)
        rt_string_deinit(&chunks[i]);
    bench_close(&b);
}

RT_TEST_GROUP(
    group,
    ((const struct CMUnitTest[]){
        cmocka_unit_test(a_compacted_revision_is_refused_at_once),
        cmocka_unit_test(the_revision_survives_the_compaction_of_everything),
        cmocka_unit_test(a_compaction_gives_its_pages_back),
        cmocka_unit_test(a_read_keeps_its_rows_while_a_compaction_waits),
        cmocka_unit_test(a_compaction_of_revision_0_is_finished_at_once_and_the_next_goes_on),
        cmocka_unit_test(equal_commands_give_equal_hashes_whenever_they_are_flushed),
        cmocka_unit_test(an_image_makes_the_same_store_elsewhere),
        cmocka_unit_test(a_bent_image_is_refused_and_changes_nothing),
        cmocka_unit_test(an_unknown_format_is_refused_naming_both),
    }))

int main(void) { return rt_test_main(NULL, group); }
