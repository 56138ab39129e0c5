/* What comes to the peer port from somebody who is no member, or no longer the member he was. */
#include "kv/member/crc.h"
#include "kv/member/peer_codec.h"
#include "kv/member/peer_io.h"
#include "tests/kv/member/member_fixture.h"

static struct rt_conn *dial(struct cluster *c, int i)
{
    struct rt_conn *conn;
    char address[32];
    snprintf(address, sizeof(address), "127.0.0.1:%d", c->port[i]);
    assert_int_equal(rt_dial(address, patience(), &conn, NULL), 0);
    rt_conn_set_read_deadline(conn, patience());
    return conn;
}

static void hang_up(struct rt_conn *conn)
{
    rt_conn_close(conn);
    rt_conn_unref(conn);
}

static struct peer_hello hello_of(struct cluster *c, int from, int to)
{
    struct member *m = c->member[from];
    return (struct peer_hello){
        .format = PEER_FORMAT,
        .cluster_id = m->cluster_id,
        .from = m->id,
        .to = c->member[to]->id,
        .generation = m->generations.self,
        .life = m->generations.life,
        .stream = PEER_STREAM_MESSAGES,
    };
}

/* What the member answers to a hello: FRAME_WELCOME, FRAME_REFUSAL (its reason in *reason). */
static enum frame_kind answer_to(struct rt_conn *conn, const struct peer_hello *h, uint32_t *reason)
{
    struct frame_batch b = {0};
    struct frame f;
    struct rt_buf *payload;
    struct peer_refusal refusal;
    peer_put_hello(&b, h);
    assert_int_equal(peer_write_batch(conn, &b), 0);
    frame_batch_deinit(&b);
    assert_int_equal(peer_read_frame(conn, PEER_TALK_BYTES, &f, &payload), 0);
    *reason = 0;
    if (f.kind == FRAME_REFUSAL) {
        assert_int_equal(peer_get_refusal(rt_buf_bytes(payload), &refusal), 0);
        *reason = refusal.reason;
    }
    rt_buf_unref(payload);
    return f.kind;
}

/* Nothing but the end of the stream may come. */
static void assert_hung_up(struct rt_conn *conn)
{
    uint8_t byte;
    ssize_t n = rt_conn_read(conn, &byte, 1);
    assert_true(n == 0 || n == -ECONNRESET);
}

static void garbage_on_the_peer_port_ends_its_connection_only(void **state)
{
    (void)state;
    struct cluster c;
    uint8_t garbage[2000];
    uint64_t x = 88172645463325252u;
    cluster_init(&c, 3);
    cluster_up(&c);
    for (int round = 0; round < 20; round++) {
        struct rt_conn *conn = dial(&c, round % 3);
        for (size_t i = 0; i < sizeof(garbage); i++) {
            x ^= x << 13, x ^= x >> 7, x ^= x << 17;
            garbage[i] = (uint8_t)x;
        }
        (void)rt_conn_write(conn, garbage, sizeof(garbage));
        assert_hung_up(conn);
        hang_up(conn);
    }
    assert_int_equal(put(c.member[0], "still", "there"), 0);
    cluster_deinit(&c);
}

static void garbage_after_a_good_handshake_ends_the_connection_only(void **state)
{
    (void)state;
    struct cluster c;
    uint32_t reason;
    cluster_init(&c, 3);
    cluster_up(&c);
    struct peer_hello h = hello_of(&c, 0, 1);
    for (int round = 0; round < 3; round++) {
        struct rt_conn *conn = dial(&c, 1);
        assert_int_equal(answer_to(conn, &h, &reason), FRAME_WELCOME);
        struct frame_batch b = {0};
        if (round == 0) { // a message in another member's name
            peer_put_raft(&b,
                          &(struct raft_message){
                              .type = RAFT_MSG_HEARTBEAT, .from = 99, .to = h.to, .term = 1000},
                          NULL);
        } else if (round == 1) { // a frame that has no place here
            peer_put_hello(&b, &h);
        } else { // a payload that is not what its checksum says
            peer_put_ping(&b, &(struct peer_ping){.sent_ns = 5});
            b.own.data[b.own.len - 1] ^= 1;
        }
        assert_int_equal(peer_write_batch(conn, &b), 0);
        frame_batch_deinit(&b);
        assert_hung_up(conn);
        hang_up(conn);
    }
    // The impostor took the place of member 0's stream: a read is asked again until the stream is
    // back, a proposal that is forwarded into a dead one is not.
    assert_int_equal(member_read_barrier(c.member[0], patience()), 0);
    assert_int_equal(put(c.member[0], "still", "there"), 0);
    cluster_deinit(&c);
}

static void a_stranger_is_refused_and_told_why(void **state)
{
    (void)state;
    struct cluster c;
    uint32_t reason;
    cluster_init(&c, 3);
    cluster_up(&c);
    struct peer_hello good = hello_of(&c, 0, 1);
    struct {
        struct peer_hello h;
        uint32_t reason;
    } rows[5] = {
        {good, PEER_REFUSED_FORMAT}, {good, PEER_REFUSED_CLUSTER},    {good, PEER_REFUSED_MEMBER},
        {good, PEER_REFUSED_MEMBER}, {good, PEER_REFUSED_GENERATION},
    };
    rows[0].h.format = 99;
    rows[1].h.cluster_id ^= 1;
    rows[2].h.from = 12345;
    rows[3].h.to = 12345;
    rows[4].h.life ^= 1; // the same start, another life
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct rt_conn *conn = dial(&c, 1);
        assert_int_equal(answer_to(conn, &rows[i].h, &reason), FRAME_REFUSAL);
        assert_int_equal(reason, rows[i].reason);
        assert_hung_up(conn);
        hang_up(conn);
    }
    assert_int_equal(put(c.member[1], "still", "there"), 0);
    cluster_deinit(&c);
}

static void a_member_whose_directory_was_emptied_takes_no_part_any_more(void **state)
{
    (void)state;
    struct cluster c;
    cluster_init(&c, 3);
    cluster_up(&c);
    assert_int_equal(put(c.member[0], "k", "v"), 0);
    member_down(&c, 2);
    member_up(&c, 2); // its second start is seen by the others
    assert_int_equal(member_wait_published(c.member[2], patience()), 0);
    member_down(&c, 2);
    remove_tree(c.data[2]);
    member_up(&c, 2);
    int64_t until = patience();
    while (!atomic_load(&c.member[2]->refused) && rt_now_ns() < until)
        rt_sleep_ns(10 * RT_MS);
    assert_true(atomic_load(&c.member[2]->refused));
    assert_int_equal(put(c.member[0], "k", "w"), 0); // the others go on
    struct member_status status;
    member_status(c.member[2], &status);
    assert_int_equal(status.commit, 1); // it learned nothing, so it can promise nothing
    cluster_deinit(&c);
}

/* Stream member 0's store to member 1 under a message that speaks of another index. */
static void send_image(struct cluster *c, struct rt_conn *conn, uint64_t to)
{
    struct store_image *image;
    struct store_image_meta meta;
    struct frame_batch b = {0};
    struct peer_snapshot_end end = {0};
    struct rt_string chunk = {0};
    struct member *m = c->member[0];
    assert_int_equal(store_sync(member_store(m), patience()), 0);
    assert_int_equal(store_image_open(member_store(m), &image, &meta), 0);
    struct raft_snapshot snapshot = {
        .index = meta.index + 100, .term = meta.term, .conf = m->membership.conf};
    struct raft_message begin = {.type = RAFT_MSG_SNAP,
                                 .from = m->id,
                                 .to = to,
                                 .term = atomic_load(&m->core.term),
                                 .snapshot = &snapshot};
    peer_put_snapshot_begin(&b, &begin);
    while (store_image_next(image, 64 << 10, &chunk) == 1) {
        frame_begin(&b, FRAME_SNAPSHOT_ROWS);
        frame_add_view(&b, rt_bytes(chunk.data, chunk.len));
        frame_end(&b);
        end.bytes += chunk.len;
        end.crc = member_crc32c(end.crc, chunk.data, chunk.len);
        assert_int_equal(peer_write_batch(conn, &b), 0);
        chunk.len = 0;
    }
    peer_put_snapshot_end(&b, &end);
    assert_int_equal(peer_write_batch(conn, &b), 0);
    frame_batch_deinit(&b);
    rt_string_deinit(&chunk);
    store_image_close(image);
}

static void an_image_that_is_not_what_its_message_says_is_refused(void **state)
{
    (void)state;
    struct cluster c;
    uint32_t reason;
    struct frame f;
    struct rt_buf *payload;
    struct peer_snapshot_result result;
    cluster_init(&c, 3);
    cluster_up(&c);
    assert_int_equal(put(c.member[0], "k", "v"), 0);
    struct peer_hello h = hello_of(&c, 0, 1);
    h.stream = PEER_STREAM_SNAPSHOT;
    struct rt_conn *conn = dial(&c, 1);
    assert_int_equal(answer_to(conn, &h, &reason), FRAME_WELCOME);
    send_image(&c, conn, h.to);
    assert_int_equal(peer_read_frame(conn, PEER_TALK_BYTES, &f, &payload), 0);
    assert_int_equal(f.kind, FRAME_SNAPSHOT_RESULT);
    assert_int_equal(peer_get_snapshot_result(rt_buf_bytes(payload), &result), 0);
    assert_false(result.installed);
    assert_non_null(strstr(result.why, "the message speaks of"));
    rt_buf_unref(payload);
    hang_up(conn);
    assert_int_equal(put(c.member[1], "still", "there"), 0);
    cluster_deinit(&c);
}

static void an_entry_that_our_log_cannot_take_is_refused(void **state)
{
    (void)state;
    struct cluster c;
    enum { BIG = 5 << 20 };
    char *value = rt_alloc(BIG);
    memset(value, 'v', BIG);
    value[BIG - 1] = 0;
    cluster_init(&c, 3);
    for (int i = 0; i < 3; i++) { // one member was given smaller limits than the others
        c.config[i].wal_segment_bytes = i == 2 ? 2 << 20 : 16 << 20;
        c.config[i].max_request_bytes = i == 2 ? 1 << 20 : 8 << 20;
    }
    cluster_up(&c);
    int leader = leader_of(&c);
    if (leader == 2) {
        assert_int_equal(member_transfer_leadership(c.member[2], c.member[0]->id, patience()), 0);
        assert_int_equal(member_wait_leader(c.member[0], patience()), 0);
    }
    assert_int_equal(put(c.member[0], "big", value), 0); // by the two that can
    assert_int_equal(put(c.member[1], "small", "1"), 0);
    rt_sleep_ns(300 * RT_MS); // it is offered again and again
    assert_true(member_id(c.member[2]) != 0);
    rt_free(value);
    cluster_deinit(&c);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(an_entry_that_our_log_cannot_take_is_refused),
    cmocka_unit_test(an_image_that_is_not_what_its_message_says_is_refused),
    cmocka_unit_test(garbage_on_the_peer_port_ends_its_connection_only),
    cmocka_unit_test(garbage_after_a_good_handshake_ends_the_connection_only),
    cmocka_unit_test(a_stranger_is_refused_and_told_why),
    cmocka_unit_test(a_member_whose_directory_was_emptied_takes_no_part_any_more),
};
RT_TEST_GROUP(group, tests)

int main(void) { return rt_test_main(NULL, group); }
