/* kv/member/peer_reader.c: connections that peers opened to us. A goroutine reads each: the handshake
 * first, then frames until something is wrong, which ends the connection and nothing else.
 *
 * Bytes are read into a buffer that messages then keep alive: entries are views of it. What arrives later
 * goes behind what was read before, into bytes nobody has seen, until the buffer is full; only the
 * beginning of an unfinished frame is ever copied, into the next buffer. */
#include "kv/member/crc.h"
#include "kv/member/parts.h"
#include "kv/member/peer_io.h"
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <rt/go.h>
#include <stdio.h>

enum {
    HANDSHAKE_MS = 5000,
    BUFFER_BYTES = 128 << 10,
    READ_AT_LEAST = 4 << 10, // less room than this in a buffer: take the next
    LOG_EVERY_S = 10,
    ACCEPT_AGAIN_MS = 100,
};

struct inbound {
    struct inbound *next, **link; // inbound_lock
    struct member *m;
    struct rt_conn *conn;
    uint64_t from; // 0 until the handshake; inbound_lock
    uint32_t stream;
    struct peer *peer;  // of `from`, for metrics; may be NULL
    struct rt_buf *buf; // parsed up to `at`, filled up to buf->len
    size_t at;
};

/* ---- The list of them ---- */

static bool enlist(struct member *m, struct inbound *in)
{
    struct peers *ps = &m->peers;
    rt_mutex_lock(&ps->inbound_lock);
    bool room = ps->inbound_count < MEMBER_PEER_CONNS && !ps->inbound_stopped;
    if (room) {
        in->next = ps->inbound;
        in->link = &ps->inbound;
        if (in->next)
            in->next->link = &in->next;
        ps->inbound = in;
        ps->inbound_count++;
        rt_waitgroup_add(&ps->running, 1);
    }
    rt_mutex_unlock(&ps->inbound_lock);
    return room;
}

static void delist(struct member *m, struct inbound *in)
{
    struct peers *ps = &m->peers;
    rt_mutex_lock(&ps->inbound_lock);
    *in->link = in->next;
    if (in->next)
        in->next->link = in->link;
    ps->inbound_count--;
    rt_mutex_unlock(&ps->inbound_lock);
}

/* The newest stream of a member counts: an older one is of an earlier life, or half dead. */
static void bind_stream(struct inbound *in, uint64_t from, uint32_t stream)
{
    struct peers *ps = &in->m->peers;
    rt_mutex_lock(&ps->inbound_lock);
    for (struct inbound *it = ps->inbound; it; it = it->next)
        if (it != in && it->from == from && it->stream == stream)
            rt_conn_close(it->conn);
    in->from = from;
    in->stream = stream;
    rt_mutex_unlock(&ps->inbound_lock);
    in->peer = peers_find(in->m, from);
}

void peers_drop_from(struct member *m, uint64_t id, const char *why)
{
    rt_log(m->log, RT_LOG_WARN, "a peer sent what no member sends; its connection is closed",
           rt_f_hex("remote-peer-id", id), rt_f_str("why", why));
    rt_mutex_lock(&m->peers.inbound_lock);
    for (struct inbound *it = m->peers.inbound; it; it = it->next)
        if (it->from == id)
            rt_conn_close(it->conn);
    rt_mutex_unlock(&m->peers.inbound_lock);
}

/* ---- Frames ---- */

/* A member with bigger limits may send an entry that our log cannot take. */
static bool fits_our_log(struct member *m, const struct raft_message *message)
{
    for (uint32_t i = 0; i < message->count; i++)
        if (message->entries[i].len > wal_record_bytes_max(m->wal)) {
            if (rt_log_gate_open(&m->peers.malformed_gate, LOG_EVERY_S * RT_SECOND))
                rt_log(m->log, RT_LOG_ERROR,
                       "an entry is bigger than a segment of our log; set --wal-segment-bytes and "
                       "--max-request-bytes alike on all members",
                       rt_f_hex("remote-peer-id", message->from),
                       rt_f_uint("bytes", message->entries[i].len),
                       rt_f_uint("limit", wal_record_bytes_max(m->wal)));
            return false;
        }
    return true;
}

static int handle_raft(struct inbound *in, struct rt_bytes bytes)
{
    struct member *m = in->m;
    struct peer_inbound *got;
    int err = peer_get_raft(in->buf, bytes, &got);
    if (err)
        return err;
    if (got->message.from != in->from || got->message.to != m->id ||
        got->message.type == RAFT_MSG_SNAP) {
        peer_inbound_free(got);
        return MEMBER_MALFORMED;
    }
    if (!fits_our_log(m, &got->message)) {
        peer_inbound_free(got);
        return MEMBER_REFUSED;
    }
    struct core_message *message = rt_alloc(sizeof(*message));
    *message = (struct core_message){
        .item.kind = CORE_MESSAGE,
        .in = got,
        .charged_bytes = bytes.len + sizeof(*got),
        .received_ns = rt_now_ns(),
    };
    rt_sem_acquire(&m->core.inbox_bytes, (int64_t)message->charged_bytes, RT_FOREVER);
    core_post(m, &message->item);
    return 0;
}

static int handle_ping(struct inbound *in, struct rt_bytes bytes)
{
    struct peer_ping ping;
    int err = peer_get_ping(bytes, &ping);
    if (err)
        return err;
    if (!ping.answer) {
        peers_send_pong(in->m, in->from, ping.sent_ns);
    } else if (in->peer && in->peer->round_trip) {
        int64_t took = rt_now_ns() - (int64_t)ping.sent_ns;
        if (took >= 0)
            rt_histogram_observe_ns(in->peer->round_trip, took);
    }
    return 0;
}

static int handle(struct inbound *in, enum frame_kind kind, struct rt_bytes bytes)
{
    struct peer_lease_call call;
    struct peer_lease_answer answer;
    switch (kind) {
    case FRAME_RAFT:
        return handle_raft(in, bytes);
    case FRAME_PING:
        return handle_ping(in, bytes);
    case FRAME_LEASE_CALL:
        if (peer_get_lease_call(bytes, &call))
            return MEMBER_MALFORMED;
        lease_clock_asked(in->m, in->from, &call);
        return 0;
    case FRAME_LEASE_ANSWER:
        if (peer_get_lease_answer(bytes, &answer))
            return MEMBER_MALFORMED;
        lease_clock_answered(in->m, &answer);
        return 0;
    default:
        return MEMBER_MALFORMED;
    }
}

/* Take all whole frames out of the buffer. *wanted: what the next one needs altogether, when its
 * header is there. */
static int parse(struct inbound *in, size_t *wanted)
{
    *wanted = FRAME_HEADER_BYTES;
    for (;;) {
        const uint8_t *p = in->buf->data + in->at;
        size_t have = in->buf->len - in->at;
        struct frame frame;
        if (have < FRAME_HEADER_BYTES)
            return 0;
        int err = frame_header_decode(p, &frame);
        if (err)
            return err;
        size_t whole = FRAME_HEADER_BYTES + (size_t)frame.len;
        if (have < whole) {
            *wanted = whole;
            return 0;
        }
        struct rt_bytes payload = rt_bytes(p + FRAME_HEADER_BYTES, frame.len);
        if (member_crc32c(0, payload.data, payload.len) != frame.crc)
            return MEMBER_MALFORMED;
        err = handle(in, frame.kind, payload);
        if (err)
            return err;
        in->at += whole;
        *wanted = FRAME_HEADER_BYTES;
    }
}

/* Room for at least `wanted` bytes from `at` on, and for a decent read. */
static int make_room(struct inbound *in, size_t wanted)
{
    size_t have = in->buf->len - in->at;
    assert(have < wanted);
    if (in->buf->cap - in->at >= wanted && in->buf->cap - in->buf->len >= READ_AT_LEAST)
        return 0;
    size_t cap = wanted + READ_AT_LEAST > BUFFER_BYTES ? wanted + READ_AT_LEAST : BUFFER_BYTES;
    struct rt_buf *next = rt_buf_new(cap);
    if (!next)
        return -ENOMEM;
    memcpy(next->data, in->buf->data + in->at, have);
    next->len = have;
    rt_buf_unref(in->buf);
    in->buf = next;
    in->at = 0;
    return 0;
}

static int read_frames(struct inbound *in)
{
    size_t wanted = FRAME_HEADER_BYTES;
    in->buf = rt_buf_new(BUFFER_BYTES);
    for (;;) {
        int err = make_room(in, wanted);
        if (err)
            return err;
        struct rt_buf *buf = in->buf;
        ssize_t n = rt_conn_read(in->conn, buf->data + buf->len, buf->cap - buf->len);
        if (n <= 0)
            return (int)n;
        buf->len += (size_t)n;
        if (in->peer && in->peer->received_bytes)
            rt_counter_add(in->peer->received_bytes, n);
        err = parse(in, &wanted);
        if (err)
            return err;
    }
}

/* ---- The handshake ---- */

static int send_frame(struct rt_conn *conn, struct frame_batch *batch)
{
    rt_conn_set_write_deadline(conn, rt_after_ns(HANDSHAKE_MS * RT_MS));
    int err = peer_write_batch(conn, batch);
    frame_batch_deinit(batch);
    return err;
}

static int refuse(struct inbound *in, uint32_t reason, const char *text)
{
    struct frame_batch batch = {0};
    struct peer_refusal refusal = {.reason = reason};
    snprintf(refusal.text, sizeof(refusal.text), "%s", text);
    peer_put_refusal(&batch, &refusal);
    (void)send_frame(in->conn, &batch); // it will not come in, whether it hears why or not
    if (rt_log_gate_open(&in->m->peers.refusal_gate, LOG_EVERY_S * RT_SECOND))
        rt_log(in->m->log, RT_LOG_WARN, "refused a peer",
               rt_f_str("remote", rt_conn_remote(in->conn)), rt_f_str("why", text));
    return MEMBER_REFUSED;
}

static bool is_member(struct member *m, uint64_t id)
{
    bool found = false;
    rt_mutex_lock(&m->membership.lock);
    for (uint32_t i = 0; i < m->membership.count; i++)
        found |= m->membership.entry[i].id == id;
    rt_mutex_unlock(&m->membership.lock);
    return found && id != m->id;
}

static int check_hello(struct inbound *in, const struct peer_hello *h)
{
    struct member *m = in->m;
    struct why why;
    if (h->format != PEER_FORMAT) {
        why_set(&why, "you speak format %u, this member speaks %d", h->format, PEER_FORMAT);
        return refuse(in, PEER_REFUSED_FORMAT, why.text);
    }
    if (h->cluster_id != m->cluster_id) {
        why_set(&why, "cluster ID mismatch: you are of %" PRIx64 ", this is %" PRIx64,
                h->cluster_id, m->cluster_id);
        return refuse(in, PEER_REFUSED_CLUSTER, why.text);
    }
    if (h->to != m->id) {
        why_set(&why, "you look for member %" PRIx64 ", this is %" PRIx64, h->to, m->id);
        return refuse(in, PEER_REFUSED_MEMBER, why.text);
    }
    if (!is_member(m, h->from)) {
        why_set(&why, "%" PRIx64 " is not a member of this cluster", h->from);
        return refuse(in, PEER_REFUSED_MEMBER, why.text);
    }
    if (h->stream != PEER_STREAM_MESSAGES && h->stream != PEER_STREAM_SNAPSHOT)
        return MEMBER_MALFORMED;
    int err = generations_check(&m->generations, h->from, h->generation, h->life, &why);
    if (err == MEMBER_REFUSED)
        return refuse(in, PEER_REFUSED_GENERATION, why.text);
    return err;
}

static int greet(struct inbound *in)
{
    struct member *m = in->m;
    struct frame frame;
    struct rt_buf *payload;
    struct peer_hello hello;
    rt_conn_set_read_deadline(in->conn, rt_after_ns(HANDSHAKE_MS * RT_MS));
    int err = peer_read_frame(in->conn, PEER_TALK_BYTES, &frame, &payload);
    if (err)
        return err;
    err = frame.kind == FRAME_HELLO ? peer_get_hello(rt_buf_bytes(payload), &hello)
                                    : MEMBER_MALFORMED;
    rt_buf_unref(payload);
    if (!err)
        err = check_hello(in, &hello);
    if (err)
        return err;
    struct frame_batch batch = {0};
    struct peer_welcome welcome = {
        .format = PEER_FORMAT,
        .from = m->id,
        .generation = m->generations.self,
        .life = m->generations.life,
    };
    bind_stream(in, hello.from, hello.stream);
    peer_put_welcome(&batch, &welcome);
    rt_conn_set_read_deadline(in->conn, RT_FOREVER);
    return send_frame(in->conn, &batch);
}

/* ---- Goroutines ---- */

static void reader_main(void *arg)
{
    struct inbound *in = arg;
    struct member *m = in->m;
    int err = greet(in);
    if (!err && in->stream == PEER_STREAM_SNAPSHOT)
        snapshot_receive(m, in->from, in->conn);
    else if (!err)
        err = read_frames(in);
    if (err == MEMBER_MALFORMED) {
        if (in->peer && in->peer->received_failures)
            rt_counter_add(in->peer->received_failures, 1);
        if (rt_log_gate_open(&m->peers.malformed_gate, LOG_EVERY_S * RT_SECOND))
            rt_log(
                m->log, RT_LOG_WARN, "malformed bytes on the peer port; the connection is closed",
                rt_f_str("remote", rt_conn_remote(in->conn)), rt_f_hex("remote-peer-id", in->from));
    }
    delist(m, in);
    rt_conn_close(in->conn);
    rt_conn_unref(in->conn);
    rt_buf_unref(in->buf);
    rt_free(in);
    rt_waitgroup_done(&m->peers.running);
}

static void take_connection(struct member *m, struct rt_conn *conn)
{
    struct inbound *in = rt_alloc_zero(sizeof(*in));
    in->m = m;
    in->conn = conn;
    if (enlist(m, in)) {
        if (rt_go_urgent("peer-reader", reader_main, in) == 0) // ends with its connection
            return;
        delist(m, in);
        rt_waitgroup_done(&m->peers.running);
    }
    rt_conn_close(conn);
    rt_conn_unref(conn);
    rt_free(in);
}

struct accepter {
    struct member *m;
    struct rt_listener *listener;
};

static void accept_main(void *arg)
{
    struct accepter *a = arg;
    struct member *m = a->m;
    for (;;) {
        struct rt_conn *conn;
        int err = rt_accept(a->listener, &conn);
        if (err == -ECANCELED)
            break;
        if (err) {
            if (rt_log_gate_open(&m->peers.accept_gate, LOG_EVERY_S * RT_SECOND))
                rt_log(m->log, RT_LOG_WARN, "cannot accept a peer", rt_f_int("errno", -err));
            rt_sleep_ns(ACCEPT_AGAIN_MS * RT_MS); // no descriptors: somebody must close one first
            continue;
        }
        take_connection(m, conn);
    }
    rt_listener_unref(a->listener);
    rt_free(a);
    rt_waitgroup_done(&m->peers.running);
}

void peer_readers_start(struct member *m)
{
    for (uint32_t i = 0; i < m->peers.listener_count; i++) {
        struct accepter *a = rt_alloc(sizeof(*a));
        *a = (struct accepter){.m = m, .listener = rt_listener_ref(m->peers.listener[i])};
        rt_waitgroup_add(&m->peers.running, 1);
        int err = rt_go("peer-accept", accept_main, a); // ends when the listener is closed
        assert(!err);
    }
}

void peer_readers_stop(struct member *m)
{
    struct peers *ps = &m->peers;
    rt_mutex_lock(&ps->inbound_lock);
    ps->inbound_stopped = true;
    for (struct inbound *it = ps->inbound; it; it = it->next)
        rt_conn_close(it->conn);
    rt_mutex_unlock(&ps->inbound_lock);
    rt_waitgroup_wait(&ps->running, RT_FOREVER);
}
