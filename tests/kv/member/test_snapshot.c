/* A follower that needs more than the log still holds gets the store itself. */
#include "tests/kv/member/member_fixture.h"

static void short_logs(struct cluster *c)
{
    for (int i = 0; i < c->count; i++) {
        c->config[i].snapshot_count = 20;
        c->config[i].catchup_entries = 10;
    }
}

static uint64_t first_index(struct member *m)
{
    struct member_status status;
    member_status(m, &status);
    return status.first_index;
}

/* Write until the leader has given up entries up to `index`. */
static void write_until_released(struct cluster *c, int leader, uint64_t index)
{
    char key[32], value[200];
    memset(value, 'v', sizeof(value));
    value[199] = 0;
    int64_t until = patience();
    struct member *m = c->member[leader];
    for (int i = 0; first_index(m) <= index && rt_now_ns() < until; i++) {
        snprintf(key, sizeof(key), "key%d", i % 500);
        assert_int_equal(put(m, key, value), 0);
        if (i % 50 == 49)
            assert_int_equal(store_sync(member_store(m), patience()), 0);
    }
    assert_true(first_index(m) > index);
}

static void same_rows(struct cluster *c)
{
    uint32_t hash[MEMBERS_MAX];
    int64_t compact, at;
    for (int i = 0; i < c->count; i++)
        assert_int_equal(member_read_barrier(c->member[i], patience()), 0);
    int64_t revision = store_revision(member_store(c->member[0]));
    for (int i = 0; i < c->count; i++) {
        assert_int_equal(
            store_hash_kv(member_store(c->member[i]), revision, &hash[i], &compact, &at), 0);
        assert_int_equal(hash[i], hash[0]);
    }
}

static void a_member_that_slept_too_long_catches_up_by_snapshot(void **state)
{
    (void)state;
    struct cluster c;
    char value[32];
    cluster_init(&c, 3);
    short_logs(&c);
    cluster_up(&c);
    assert_int_equal(put(c.member[0], "first", "1"), 0);
    int leader = leader_of(&c), sleeper = (leader + 1) % 3;
    struct member_status status;
    member_status(c.member[sleeper], &status);
    member_down(&c, sleeper);
    write_until_released(&c, leader, status.raft_index + 5);
    assert_int_equal(put(c.member[leader], "last", "2"), 0);
    member_up(&c, sleeper);
    assert_string_equal(get(c.member[sleeper], "first", value, sizeof(value)), "1");
    assert_string_equal(get(c.member[sleeper], "last", value, sizeof(value)), "2");
    assert_true(first_index(c.member[sleeper]) > status.raft_index + 1); // not by the log
    same_rows(&c);

    // and it is a member like the others afterwards: it restarts, and takes part
    member_down(&c, sleeper);
    member_up(&c, sleeper);
    assert_int_equal(put(c.member[sleeper], "again", "3"), 0);
    assert_string_equal(get(c.member[sleeper], "again", value, sizeof(value)), "3");
    same_rows(&c);
    cluster_deinit(&c);
}

static void entries_cut_from_memory_come_back_from_the_wal(void **state)
{
    (void)state;
    struct cluster c;
    char key[32], value[200], seen[256];
    memset(value, 'v', sizeof(value));
    value[199] = 0;
    cluster_init(&c, 3);
    cluster_up(&c);
    int leader = leader_of(&c), sleeper = (leader + 1) % 3;
    member_down(&c, sleeper);
    leader = leader_of(&c);
    assert_true(leader >= 0);
    for (int i = 0; i < 300; i++) {
        snprintf(key, sizeof(key), "key%d", i);
        if (i == 5)
            c.member[leader]->core.log.payload_limit_bytes = 2000; // the next append cuts
        assert_int_equal(put(c.member[leader], key, value), 0);
    }
    member_up(&c, sleeper);
    assert_string_equal(get(c.member[sleeper], "key299", seen, sizeof(seen)), value);
    same_rows(&c);
    cluster_deinit(&c);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(entries_cut_from_memory_come_back_from_the_wal),
    cmocka_unit_test(a_member_that_slept_too_long_catches_up_by_snapshot),
};
RT_TEST_GROUP(group, tests)

int main(void) { return rt_test_main(NULL, group); }
