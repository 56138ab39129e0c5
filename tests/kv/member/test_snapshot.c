/* A follower that needs more than the log still holds gets the store itself. */
#include "kv/member/peer_io.h"
#include "kv/member/snapshot.h"
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

/* A follower that welcomes everybody, reads everything and says nothing more. */
struct deaf {
    struct rt_listener *listener;
    struct peer_welcome welcome;
    struct rt_note reached; // by the end of a snapshot
    struct rt_waitgroup running;
};

struct deaf_conn {
    struct deaf *d;
    struct rt_conn *conn;
};

static void listen_only(void *arg)
{
    struct deaf_conn *one = arg;
    struct frame f;
    struct rt_buf *payload;
    struct frame_batch b = {0};
    while (peer_read_frame(one->conn, MEMBER_FRAME_BYTES, &f, &payload) == 0) {
        if (f.kind == FRAME_HELLO) {
            peer_put_welcome(&b, &one->d->welcome);
            (void)peer_write_batch(one->conn, &b);
        }
        if (f.kind == FRAME_SNAPSHOT_END)
            rt_note_set(&one->d->reached);
        rt_buf_unref(payload);
    }
    frame_batch_deinit(&b);
    rt_conn_close(one->conn);
    rt_conn_unref(one->conn);
    rt_waitgroup_done(&one->d->running);
    rt_free(one);
}

static void welcome_all(void *arg)
{
    struct deaf *d = arg;
    struct rt_conn *conn;
    while (rt_accept(d->listener, &conn) == 0) {
        struct deaf_conn *one = rt_alloc(sizeof(*one));
        *one = (struct deaf_conn){d, conn};
        rt_waitgroup_add(&d->running, 1);
        assert_int_equal(rt_go("deaf", listen_only, one), 0);
    }
    rt_waitgroup_done(&d->running);
}

static void a_stream_to_a_follower_that_hangs_does_not_hold_up_the_end(void **state)
{
    (void)state;
    struct cluster c;
    struct deaf d = {.listener = NULL};
    struct raft_snapshot snapshot;
    cluster_init(&c, 3);
    cluster_up(&c);
    assert_int_equal(put(c.member[0], "k", "v"), 0);
    int leader = leader_of(&c), deaf = (leader + 1) % 3;
    struct member *m = c.member[leader];
    uint64_t to = c.member[deaf]->id;
    d.welcome = (struct peer_welcome){.format = PEER_FORMAT,
                                      .from = to,
                                      .generation = c.member[deaf]->generations.self + 1,
                                      .life = 5};
    member_down(&c, deaf);
    assert_int_equal(rt_listen(c.listen[deaf] + strlen("http://"), &d.listener, NULL), 0);
    rt_waitgroup_add(&d.running, 1);
    assert_int_equal(rt_go("deaf-accept", welcome_all, &d), 0);

    assert_int_equal(store_sync(member_store(m), patience()), 0);
    while (snapshot_for_raft(m, to, &snapshot) == RAFT_LATER)
        rt_sleep_ns(10 * RT_MS);
    struct raft_message message = {
        .type = RAFT_MSG_SNAP, .from = m->id, .to = to, .term = 1, .snapshot = &snapshot};
    snapshot_send(m, &message);
    rt_buf_unref(snapshot.block);
    assert_int_equal(rt_note_wait(&d.reached, patience()), 0);
    int64_t begun = rt_now_ns();
    member_down(&c, leader);
    assert_true(rt_now_ns() - begun < 30 * RT_SECOND); // its answer is waited for twice as long
    rt_listener_close(d.listener);
    cluster_deinit(&c);
    rt_waitgroup_wait(&d.running, RT_FOREVER);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_stream_to_a_follower_that_hangs_does_not_hold_up_the_end),
    cmocka_unit_test(entries_cut_from_memory_come_back_from_the_wal),
    cmocka_unit_test(a_member_that_slept_too_long_catches_up_by_snapshot),
};
RT_TEST_GROUP(group, tests)

int main(void) { return rt_test_main(NULL, group); }
