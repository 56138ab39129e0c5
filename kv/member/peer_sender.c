/* kv/member/peer_sender.c: the goroutine that owns the connection which we dialled to one peer: it
 * connects, shakes hands, and writes what waits in the outbox, all of it by one writev. Nothing is ever
 * read here after the handshake: a watcher reads only to notice at once when the other side goes. */
#include "kv/member/crc.h"
#include "kv/member/parts.h"
#include "kv/member/peer_io.h"
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <rt/go.h>

enum {
    BACKOFF_MIN_MS = 50,
    BACKOFF_MAX_MS = 500,
    HANDSHAKE_MS = 5000,
    WRITE_MS = 5000, // a peer that takes nothing for so long is dropped
    PING_MS = 3000,
    LOG_EVERY_S = 10,
};

int peer_read_frame(struct rt_conn *conn, size_t max_bytes, struct frame *frame,
                    struct rt_buf **payload)
{
    uint8_t header[FRAME_HEADER_BYTES];
    for (size_t have = 0; have < sizeof(header);) {
        ssize_t n = rt_conn_read(conn, header + have, sizeof(header) - have);
        if (n <= 0)
            return n ? (int)n : -EPIPE;
        have += (size_t)n;
    }
    int err = frame_header_decode(header, frame);
    if (err || frame->len > max_bytes)
        return MEMBER_MALFORMED;
    struct rt_buf *buf = rt_buf_new(frame->len);
    if (!buf)
        return -ENOMEM;
    while (buf->len < frame->len) {
        ssize_t n = rt_conn_read(conn, buf->data + buf->len, frame->len - buf->len);
        if (n <= 0) {
            rt_buf_unref(buf);
            return n ? (int)n : -EPIPE;
        }
        buf->len += (size_t)n;
    }
    if (member_crc32c(0, buf->data, buf->len) != frame->crc) {
        rt_buf_unref(buf);
        return MEMBER_MALFORMED;
    }
    *payload = buf;
    return 0;
}

int peer_write_batch(struct rt_conn *conn, struct frame_batch *batch)
{
    uint32_t count;
    const struct iovec *iov = frame_batch_iov(batch, &count);
    int err = rt_conn_writev(conn, iov, (int)count);
    frame_batch_reset(batch);
    return err;
}

/* ---- The handshake ---- */

static int read_refusal(struct peer *p, struct rt_bytes bytes, struct why *why)
{
    struct member *m = p->m;
    struct peer_refusal refusal;
    if (peer_get_refusal(bytes, &refusal))
        return MEMBER_MALFORMED;
    why_set(why, "member %" PRIx64 " refuses us: %s", p->id, refusal.text);
    if (refusal.reason == PEER_REFUSED_GENERATION && !atomic_exchange(&m->refused, true))
        rt_log(
            m->log, RT_LOG_ERROR,
            "a peer remembers a newer start of this member: its data directory was emptied or put "
            "back from an older copy; it takes no part in the cluster",
            rt_f_hex("peer", p->id), rt_f_str("refusal", refusal.text));
    return MEMBER_REFUSED;
}

static int read_welcome(struct peer *p, struct rt_conn *conn, struct why *why)
{
    struct frame frame;
    struct rt_buf *payload;
    int err = peer_read_frame(conn, PEER_TALK_BYTES, &frame, &payload);
    if (err) {
        why_set(why, "the handshake with member %" PRIx64 " broke off", p->id);
        return err;
    }
    struct rt_bytes bytes = rt_buf_bytes(payload);
    struct peer_welcome w;
    if (frame.kind == FRAME_REFUSAL) {
        err = read_refusal(p, bytes, why);
    } else if (frame.kind != FRAME_WELCOME || peer_get_welcome(bytes, &w)) {
        err = MEMBER_MALFORMED;
        why_set(why, "member %" PRIx64 " does not speak as a member does", p->id);
    } else if (w.format != PEER_FORMAT) {
        err = MEMBER_REFUSED;
        why_set(why, "member %" PRIx64 " speaks format %u, we speak %d", p->id, w.format,
                PEER_FORMAT);
    } else if (w.from != p->id) {
        err = MEMBER_REFUSED;
        why_set(why, "member %" PRIx64 " answers at the address of %" PRIx64, w.from, p->id);
    } else {
        err = generations_check(&p->m->generations, w.from, w.generation, w.life, why);
    }
    rt_buf_unref(payload);
    return err;
}

static int shake_hands(struct peer *p, uint32_t stream, struct rt_conn *conn, struct why *why)
{
    struct member *m = p->m;
    struct frame_batch batch = {0};
    struct peer_hello hello = {
        .format = PEER_FORMAT,
        .cluster_id = m->cluster_id,
        .from = m->id,
        .to = p->id,
        .generation = m->generations.self,
        .life = m->generations.life,
        .stream = stream,
    };
    rt_conn_set_read_deadline(conn, rt_after_ns(HANDSHAKE_MS * RT_MS));
    rt_conn_set_write_deadline(conn, rt_after_ns(HANDSHAKE_MS * RT_MS));
    peer_put_hello(&batch, &hello);
    int err = peer_write_batch(conn, &batch);
    frame_batch_deinit(&batch);
    if (err) {
        why_set(why, "member %" PRIx64 " hung up", p->id);
        return err;
    }
    return read_welcome(p, conn, why);
}

int peer_connect(struct peer *p, uint32_t stream, struct rt_conn **out, struct why *why)
{
    int64_t patience = (1000 + (int64_t)p->m->config.election_ms) * RT_MS;
    int err = MEMBER_BAD_CONFIG;
    why_set(why, "member %" PRIx64 " has no address", p->id);
    for (uint32_t i = 0; i < p->address_count; i++) {
        struct rt_conn *conn;
        err = rt_dial(p->address[i], rt_after_ns(patience), &conn, why);
        if (err)
            continue;
        err = shake_hands(p, stream, conn, why);
        if (!err) {
            rt_conn_set_read_deadline(conn, RT_FOREVER);
            *out = conn;
            return 0;
        }
        rt_conn_close(conn);
        rt_conn_unref(conn);
    }
    return err;
}

/* ---- Writing ---- */

static void put(struct frame_batch *b, const struct peer_outbound *out)
{
    switch (out->kind) {
    case FRAME_RAFT:
        peer_put_raft(b, &out->message, &out->stamps);
        break;
    case FRAME_LEASE_CALL:
        peer_put_lease_call(b, &out->call);
        break;
    case FRAME_LEASE_ANSWER:
        peer_put_lease_answer(b, &out->answer);
        break;
    case FRAME_PING:
        peer_put_ping(b, &out->ping);
        break;
    default:
        assert(!"a kind that is never queued");
    }
}

static void let_go(struct peer *p, struct peer_outbound *out)
{
    atomic_fetch_sub_explicit(&p->queued_msgs, 1, memory_order_relaxed);
    atomic_fetch_sub_explicit(&p->queued_bytes, (int64_t)out->bytes, memory_order_relaxed);
    peer_outbound_free(p->m, out);
}

/* Write the first messages of the list, as many as one writev should carry; the rest is returned. */
static struct rt_mail *write_some(struct peer *p, struct rt_mail *mail, int *err)
{
    struct rt_mail *it = mail;
    for (int n = 0; it && n < MEMBER_FRAME_MESSAGES && p->batch.total_bytes < MEMBER_MSG_BYTES;
         n++) {
        put(&p->batch, (struct peer_outbound *)it);
        it = it->next;
    }
    size_t bytes = p->batch.total_bytes;
    rt_conn_set_write_deadline(p->conn, rt_after_ns(WRITE_MS * RT_MS));
    *err = peer_write_batch(p->conn, &p->batch);
    while (mail != it) {
        struct peer_outbound *out = (struct peer_outbound *)mail;
        mail = mail->next;
        let_go(p, out);
    }
    if (!*err && p->sent_bytes)
        rt_counter_add(p->sent_bytes, (int64_t)bytes);
    return it;
}

static void drop_all(struct peer *p, struct rt_mail *mail)
{
    while (mail) {
        struct peer_outbound *out = (struct peer_outbound *)mail;
        mail = mail->next;
        let_go(p, out);
    }
}

static int ping(struct peer *p)
{
    struct peer_ping it = {.sent_ns = (uint64_t)rt_now_ns()};
    p->next_ping_ns = rt_after_ns(PING_MS * RT_MS);
    peer_put_ping(&p->batch, &it);
    rt_conn_set_write_deadline(p->conn, rt_after_ns(WRITE_MS * RT_MS));
    return peer_write_batch(p->conn, &p->batch);
}

static bool is_over(struct peer *p) { return atomic_load(&p->stopping) || atomic_load(&p->broken); }

/* Behind what is held already, so that nothing overtakes; this is where D ends (STAGES.md). */
static void hold(struct peer *p, struct rt_mail *mail, int64_t now_ns)
{
    int64_t delay_ns = atomic_load_explicit(&p->m->knobs.network_delay_ns, memory_order_relaxed);
    if (!mail)
        return;
    if (p->held_last)
        p->held_last->next = mail;
    else
        p->held_first = mail;
    for (; mail; mail = mail->next) {
        struct peer_outbound *out = (struct peer_outbound *)mail;
        out->due_ns = now_ns + delay_ns;
        if (STAGE_STAMPS && out->kind == FRAME_RAFT && out->message.type == RAFT_MSG_APP &&
            out->message.count)
            out->stamps.sent_ns = now_ns;
        p->held_last = mail;
    }
}

/* What is due, in order; all of it unless the debug knob delays the network. */
static struct rt_mail *take_due(struct peer *p, int64_t now_ns)
{
    struct rt_mail *due = p->held_first, *last = NULL, *it = due;
    for (; it && ((struct peer_outbound *)it)->due_ns <= now_ns; it = it->next)
        last = it;
    if (!last)
        return NULL;
    last->next = NULL;
    p->held_first = it;
    if (!it)
        p->held_last = NULL;
    return due;
}

static void serve(struct peer *p)
{
    int err = ping(p);
    while (!err && !is_over(p)) {
        int64_t until = p->next_ping_ns;
        if (p->held_first && ((struct peer_outbound *)p->held_first)->due_ns < until)
            until = ((struct peer_outbound *)p->held_first)->due_ns;
        struct rt_mail *mail = rt_mailbox_take(&p->outbox, until);
        int64_t now = rt_now_ns();
        hold(p, mail, now);
        mail = take_due(p, now);
        while (mail && !err)
            mail = write_some(p, mail, &err);
        drop_all(p, mail);
        if (!err && now >= p->next_ping_ns)
            err = ping(p);
    }
    drop_all(p, p->held_first);
    p->held_first = p->held_last = NULL;
}

/* Reads what never comes, to hear at once when the other side hangs up. */
struct watch {
    struct peer *p;
    struct rt_conn *conn;
    struct rt_note ended;
};

static void watch_main(void *arg)
{
    struct watch *w = arg;
    uint8_t byte;
    (void)rt_conn_read(w->conn, &byte, 1); // a byte, the end, an error: all mean it is over
    atomic_store(&w->p->broken, true);
    rt_mailbox_wake(&w->p->outbox);
    rt_note_set(&w->ended);
}

static void use_connection(struct peer *p, struct rt_conn *conn)
{
    struct member *m = p->m;
    struct watch watch = {.p = p, .conn = conn};
    atomic_store(&p->broken, false);
    p->conn = conn;
    if (rt_go("peer-watch", watch_main, &watch)) { // ends when the connection is closed
        rt_conn_close(conn);
        return;
    }
    rt_log(m->log, RT_LOG_INFO, "established a stream to a peer",
           rt_f_hex("local-member-id", m->id), rt_f_hex("remote-peer-id", p->id),
           rt_f_str("remote", rt_conn_remote(conn)));
    if (p->active)
        rt_gauge_set(p->active, 1);
    atomic_store_explicit(&p->connected, true, memory_order_release);
    rt_mailbox_wake(&m->core.inbox); // proposals may be held for want of this link
    serve(p);
    atomic_store_explicit(&p->connected, false, memory_order_release);
    rt_conn_close(conn);
    rt_note_wait(&watch.ended, RT_FOREVER);
    p->conn = NULL;
    drop_all(p, rt_mailbox_take(&p->outbox, 0));
    if (p->active)
        rt_gauge_set(p->active, 0);
    if (p->disconnected)
        rt_counter_add(p->disconnected, 1);
    if (atomic_load(&p->stopping))
        return;
    rt_log(m->log, RT_LOG_WARN, "lost the stream to a peer", rt_f_hex("local-member-id", m->id),
           rt_f_hex("remote-peer-id", p->id));
    core_post_event(m, CORE_UNREACHABLE, p->id, false);
}

static void sender_main(void *arg)
{
    struct peer *p = arg;
    int64_t backoff = BACKOFF_MIN_MS;
    while (!atomic_load(&p->stopping)) {
        struct rt_conn *conn;
        struct why why = {{0}};
        int err = peer_connect(p, PEER_STREAM_MESSAGES, &conn, &why);
        if (!err) {
            backoff = BACKOFF_MIN_MS;
            use_connection(p, conn);
            rt_conn_unref(conn);
            continue;
        }
        if (rt_log_gate_open(err == MEMBER_REFUSED ? &p->refused_gate : &p->dial_gate,
                             LOG_EVERY_S * RT_SECOND))
            rt_log(p->m->log, err == MEMBER_REFUSED ? RT_LOG_ERROR : RT_LOG_WARN,
                   "cannot reach a peer", rt_f_hex("local-member-id", p->m->id),
                   rt_f_hex("remote-peer-id", p->id), rt_f_str("why", why.text));
        drop_all(p, rt_mailbox_take(&p->outbox, rt_after_ns(backoff * RT_MS)));
        backoff = 2 * backoff < BACKOFF_MAX_MS ? 2 * backoff : BACKOFF_MAX_MS;
    }
    rt_waitgroup_done(&p->running);
}

void peer_sender_start(struct peer *p)
{
    rt_waitgroup_add(&p->running, 1);
    int err = rt_go_urgent("peer-sender", sender_main, p); // ends by p->stopping
    assert(!err);
}

void peer_sender_stop(struct peer *p)
{
    atomic_store(&p->stopping, true);
    rt_mailbox_wake(&p->outbox);
    rt_waitgroup_wait(&p->running, RT_FOREVER);
}
