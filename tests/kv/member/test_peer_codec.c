/* Frames and messages of members: what is put is got, what is damaged is refused. */
#include "kv/member/crc.h"
#include "kv/member/errors.h"
#include "kv/member/limits.h"
#include "kv/member/peer_codec.h"
#include "tests/support/rt_test.h"
#include <string.h>

/* The bytes of a batch, as they would cross the network. */
static struct rt_buf *on_the_wire(struct frame_batch *b)
{
    uint32_t count;
    const struct iovec *iov = frame_batch_iov(b, &count);
    struct rt_buf *all = rt_buf_new(b->total_bytes);
    for (uint32_t i = 0; i < count; i++) {
        memcpy(all->data + all->len, iov[i].iov_base, iov[i].iov_len);
        all->len += iov[i].iov_len;
    }
    assert_int_equal(all->len, b->total_bytes);
    return all;
}

static struct rt_bytes payload_at(const struct rt_buf *wire, size_t at, struct frame *f)
{
    assert_int_equal(frame_header_decode(wire->data + at, f), 0);
    assert_true(at + FRAME_HEADER_BYTES + f->len <= wire->len);
    struct rt_bytes payload = rt_bytes(wire->data + at + FRAME_HEADER_BYTES, f->len);
    assert_int_equal(member_crc32c(0, payload.data, payload.len), f->crc);
    return payload;
}

static struct raft_message sample(struct raft_entry *entries, uint32_t count)
{
    return (struct raft_message){.type = RAFT_MSG_APP,
                                 .to = UINT64_MAX,
                                 .from = 7,
                                 .term = 3,
                                 .log_term = 2,
                                 .index = 41,
                                 .commit = 40,
                                 .entries = entries,
                                 .count = count};
}

static void the_checksum_is_crc32c(void **state)
{
    (void)state;
    assert_int_equal(member_crc32c(0, "123456789", 9), 0xe3069283);
    assert_int_equal(member_crc32c(member_crc32c(0, "1234", 4), "56789", 5), 0xe3069283);
}

static void a_message_with_entries_comes_back_as_it_was(void **state)
{
    (void)state;
    char big[2000], small[] = "small";
    memset(big, 'b', sizeof(big));
    struct raft_entry entries[3] = {
        {.term = 3, .index = 42, .data = (uint8_t *)small, .len = 5},
        {.term = 3, .index = 43, .data = (uint8_t *)big, .len = sizeof(big)},
        {.term = 3, .index = 44, .kind = RAFT_ENTRY_CONF_CHANGE_V2},
    };
    struct raft_message m = sample(entries, 3);
    struct frame_batch b = {0};
    struct frame f;
    struct peer_inbound *in;
    peer_put_raft(&b, &m, NULL);
    peer_put_raft(&b, &m, NULL); // two frames side by side
    struct rt_buf *wire = on_the_wire(&b);
    struct rt_bytes first = payload_at(wire, 0, &f);
    payload_at(wire, FRAME_HEADER_BYTES + f.len, &f);
    assert_int_equal(f.kind, FRAME_RAFT);
    assert_int_equal(peer_get_raft(wire, first, &in), 0);
    assert_int_equal(in->message.type, RAFT_MSG_APP);
    assert_true(in->message.to == UINT64_MAX && in->message.from == 7 && in->message.term == 3);
    assert_true(in->message.log_term == 2 && in->message.index == 41 && in->message.commit == 40);
    assert_int_equal(in->message.count, 3);
    for (int i = 0; i < 3; i++) {
        const struct raft_entry *e = &in->message.entries[i];
        assert_true(e->term == 3 && e->index == 42u + (unsigned)i);
        assert_int_equal(e->kind, entries[i].kind);
        assert_int_equal(e->len, entries[i].len);
        if (e->len)
            assert_memory_equal(e->data, entries[i].data, e->len);
        // not copied: a view of what was read
        assert_true(!e->len || (e->data > wire->data && e->data < wire->data + wire->len));
    }
    peer_inbound_free(in);
    rt_buf_unref(wire);
    frame_batch_deinit(&b);
}

static void few_bytes_of_a_big_buffer_do_not_keep_it_alive(void **state)
{
    (void)state;
    struct raft_entry entry = {.term = 3, .index = 42, .data = (const uint8_t *)"put", .len = 3};
    struct raft_message m = sample(&entry, 1);
    struct frame_batch b = {0};
    struct frame f;
    struct peer_inbound *in;
    peer_put_raft(&b, &m, NULL);
    struct rt_buf *wire = on_the_wire(&b), *read = rt_buf_new(128 << 10);
    memcpy(read->data, wire->data, wire->len);
    read->len = wire->len;
    assert_int_equal(peer_get_raft(read, payload_at(read, 0, &f), &in), 0);
    assert_int_equal(atomic_load(&read->refs), 1);
    rt_buf_unref(read);
    assert_int_equal(in->message.count, 1);
    assert_memory_equal(in->message.entries[0].data, "put", 3);
    assert_true(((struct rt_buf *)in->message.entries[0].block)->cap < 1024);
    peer_inbound_free(in);
    rt_buf_unref(wire);
    frame_batch_deinit(&b);
}

static void the_stamps_of_an_append_and_of_its_answer_come_back_as_they_were(void **state)
{
    (void)state;
    struct raft_message m = sample(NULL, 0);
    struct peer_stamps stamps = {INT64_MAX - 5, UINT64_MAX, 0, 123456};
    struct frame_batch b = {0};
    struct frame f;
    struct peer_inbound *in;
    peer_put_raft(&b, &m, &stamps);
    peer_put_raft(&b, &m, &(struct peer_stamps){.sync_ns = 5}); // without a time of sending: none
    struct rt_buf *wire = on_the_wire(&b);
    assert_int_equal(peer_get_raft(wire, payload_at(wire, 0, &f), &in), 0);
    assert_memory_equal(&in->stamps, &stamps, sizeof stamps);
    peer_inbound_free(in);
    struct rt_bytes second = payload_at(wire, FRAME_HEADER_BYTES + f.len, &f);
    assert_int_equal(peer_get_raft(wire, second, &in), 0);
    assert_int_equal(in->stamps.sync_ns, 0);
    peer_inbound_free(in);
    rt_buf_unref(wire);
    frame_batch_deinit(&b);
}

static void a_snapshots_configuration_comes_back_as_it_was(void **state)
{
    (void)state;
    struct raft_snapshot snapshot = {.index = 9,
                                     .term = 2,
                                     .conf = {.voters = {2, {5, 6}},
                                              .outgoing = {1, {5}},
                                              .learners = {1, {8}},
                                              .learners_next = {1, {6}},
                                              .auto_leave = true}};
    struct raft_message m = {
        .type = RAFT_MSG_SNAP, .to = 5, .from = 6, .term = 2, .snapshot = &snapshot};
    struct frame_batch b = {0};
    struct frame f;
    struct peer_inbound *in;
    peer_put_snapshot_begin(&b, &m);
    struct rt_buf *wire = on_the_wire(&b);
    assert_int_equal(peer_get_snapshot_begin(wire, payload_at(wire, 0, &f), &in), 0);
    assert_true(in->message.snapshot == &in->snapshot);
    assert_true(in->snapshot.index == 9 && in->snapshot.term == 2);
    assert_memory_equal(&in->snapshot.conf, &snapshot.conf, sizeof(snapshot.conf));
    peer_inbound_free(in);
    rt_buf_unref(wire);
    frame_batch_deinit(&b);
}

static void no_changed_bit_of_a_frames_header_passes(void **state)
{
    (void)state;
    uint8_t header[FRAME_HEADER_BYTES];
    struct frame f = {.kind = FRAME_PING, .len = 77, .crc = 0x12345678}, back;
    frame_header_encode(&f, header);
    assert_int_equal(frame_header_decode(header, &back), 0);
    assert_true(back.kind == FRAME_PING && back.len == 77 && back.crc == 0x12345678);
    for (size_t bit = 0; bit < sizeof(header) * 8; bit++) {
        header[bit / 8] ^= (uint8_t)(1 << bit % 8);
        if (frame_header_decode(header, &back) == 0)
            fail_msg("bit %zu was changed and the header passed", bit);
        header[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
}

static void a_frame_of_impossible_length_or_kind_is_refused(void **state)
{
    (void)state;
    uint8_t header[FRAME_HEADER_BYTES];
    struct frame back;
    frame_header_encode(&(struct frame){.kind = FRAME_RAFT, .len = MEMBER_FRAME_BYTES + 1}, header);
    assert_int_equal(frame_header_decode(header, &back), MEMBER_MALFORMED);
    frame_header_encode(&(struct frame){.kind = FRAME_KINDS, .len = 1}, header);
    assert_int_equal(frame_header_decode(header, &back), MEMBER_MALFORMED);
}

/* Every prefix and every changed byte of a message: read or refused, never believed to be longer than
 * it is (the sanitizers watch). */
static void damaged_messages_are_read_or_refused(void **state)
{
    (void)state;
    char data[] = "payload";
    struct raft_entry entry = {.term = 3, .index = 42, .data = (uint8_t *)data, .len = 7};
    struct raft_message m = sample(&entry, 1);
    struct frame_batch b = {0};
    struct frame f;
    peer_put_raft(&b, &m, NULL);
    struct rt_buf *wire = on_the_wire(&b);
    struct rt_bytes whole = payload_at(wire, 0, &f);
    for (size_t len = 0; len < whole.len; len++) {
        struct rt_buf *copy = rt_buf_copy(whole.data, len);
        struct peer_inbound *in;
        if (peer_get_raft(copy, rt_buf_bytes(copy), &in) == 0)
            peer_inbound_free(in);
        rt_buf_unref(copy);
    }
    for (size_t at = 0; at < whole.len * 8; at++) {
        struct rt_buf *copy = rt_buf_copy(whole.data, whole.len);
        struct peer_inbound *in;
        copy->data[at / 8] ^= (uint8_t)(1 << at % 8);
        if (peer_get_raft(copy, rt_buf_bytes(copy), &in) == 0)
            peer_inbound_free(in);
        rt_buf_unref(copy);
    }
    rt_buf_unref(wire);
    frame_batch_deinit(&b);
}

static void messages_that_no_member_sends_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *what;
        struct raft_message m;
    } rows[] = {
        {"no type", {.to = 1, .from = 2}},
        {"a type beyond the last", {.type = RAFT_MSG_TIMEOUT_NOW + 1, .to = 1, .from = 2}},
        {"a snapshot without one", {.type = RAFT_MSG_SNAP, .to = 1, .from = 2}},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct frame_batch b = {0};
        struct frame f;
        struct peer_inbound *in;
        peer_put_raft(&b, &rows[i].m, NULL);
        struct rt_buf *wire = on_the_wire(&b);
        if (peer_get_raft(wire, payload_at(wire, 0, &f), &in) != MEMBER_MALFORMED)
            fail_msg("%s was taken", rows[i].what);
        rt_buf_unref(wire);
        frame_batch_deinit(&b);
    }
    struct raft_conf_state conf;
    struct rt_string bytes = {0};
    peer_put_conf(&bytes, &(struct raft_conf_state){.voters = {2, {6, 5}}});
    assert_int_equal(peer_get_conf(rt_bytes(bytes.data, bytes.len), &conf), MEMBER_MALFORMED);
    rt_string_deinit(&bytes);
}

static void small_talk_comes_back_as_it_was(void **state)
{
    (void)state;
    struct frame_batch b = {0};
    struct frame f;
    struct peer_hello h = {PEER_FORMAT, 11, 12, 13, 14, 15, PEER_STREAM_SNAPSHOT}, h2;
    struct peer_welcome w = {PEER_FORMAT, 21, 22, 23}, w2;
    struct peer_lease_call c = {31, PEER_LEASE_TTL, -5}, c2;
    struct peer_lease_answer a = {41, PEER_LEASE_LATER, -1, 99}, a2;
    peer_put_hello(&b, &h);
    peer_put_welcome(&b, &w);
    peer_put_lease_call(&b, &c);
    peer_put_lease_answer(&b, &a);
    struct rt_buf *wire = on_the_wire(&b);
    size_t at = 0;
    assert_int_equal(peer_get_hello(payload_at(wire, at, &f), &h2), 0);
    assert_true(h2.format == PEER_FORMAT && h2.cluster_id == 11 && h2.from == 12 && h2.to == 13);
    assert_true(h2.generation == 14 && h2.life == 15 && h2.stream == PEER_STREAM_SNAPSHOT);
    at += FRAME_HEADER_BYTES + f.len;
    assert_int_equal(peer_get_welcome(payload_at(wire, at, &f), &w2), 0);
    assert_true(w2.format == PEER_FORMAT && w2.from == 21 && w2.generation == 22 && w2.life == 23);
    at += FRAME_HEADER_BYTES + f.len;
    assert_int_equal(peer_get_lease_call(payload_at(wire, at, &f), &c2), 0);
    assert_true(c2.id == 31 && c2.what == PEER_LEASE_TTL && c2.lease == -5);
    at += FRAME_HEADER_BYTES + f.len;
    assert_int_equal(peer_get_lease_answer(payload_at(wire, at, &f), &a2), 0);
    assert_true(a2.id == 41 && a2.code == PEER_LEASE_LATER && a2.ttl_s == -1 && a2.granted_s == 99);
    rt_buf_unref(wire);
    frame_batch_deinit(&b);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(the_checksum_is_crc32c),
    cmocka_unit_test(a_message_with_entries_comes_back_as_it_was),
    cmocka_unit_test(few_bytes_of_a_big_buffer_do_not_keep_it_alive),
    cmocka_unit_test(the_stamps_of_an_append_and_of_its_answer_come_back_as_they_were),
    cmocka_unit_test(a_snapshots_configuration_comes_back_as_it_was),
    cmocka_unit_test(no_changed_bit_of_a_frames_header_passes),
    cmocka_unit_test(a_frame_of_impossible_length_or_kind_is_refused),
    cmocka_unit_test(damaged_messages_are_read_or_refused),
    cmocka_unit_test(messages_that_no_member_sends_are_refused),
    cmocka_unit_test(small_talk_comes_back_as_it_was),
};
RT_TEST_GROUP(group, tests)

int main(void) { return rt_test_main(NULL, group); }
