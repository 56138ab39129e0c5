/* What comes to the peer port from somebody who is no member, or no longer the member he was. */
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

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(garbage_on_the_peer_port_ends_its_connection_only),
    cmocka_unit_test(garbage_after_a_good_handshake_ends_the_connection_only),
    cmocka_unit_test(a_stranger_is_refused_and_told_why),
    cmocka_unit_test(a_member_whose_directory_was_emptied_takes_no_part_any_more),
};
RT_TEST_GROUP(group, tests)

int main(void) { return rt_test_main(NULL, group); }
