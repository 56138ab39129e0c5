#include "proto/stream.h"
#include <assert.h>
#include <errno.h>
#include <rt/go.h>

void stream_init(struct stream *s, struct http2 *h2)
{
    *s = (struct stream){.h2 = h2, .id = -1};
    s->credit = (struct http2_mail){.kind = HTTP2_MAIL_CREDIT, .stream = s};
}

static bool is_past(int64_t deadline_ns)
{
    return deadline_ns == 0 || (deadline_ns != RT_FOREVER && rt_now_ns() >= deadline_ns);
}

static void drop_inputs(struct stream *s, struct rt_mail *mail)
{
    while (mail) {
        struct rt_mail *next = mail->next;
        if (mail != &s->end_mail) {
            struct stream_input *in = (struct stream_input *)mail;
            rt_buf_unref(in->buf);
            rt_free(in);
        }
        mail = next;
    }
}

static void retire(struct stream *s, struct stream_message *m)
{
    atomic_fetch_sub(&s->unsent, m->len);
    s->h2->queued_bytes -= m->len;
    m->next = s->h2->written; // parts may point into it until the gathering is out
    s->h2->written = m;
    if (atomic_load(&s->send_waiting))
        rt_mailbox_wake(&s->room);
}

static void drop_output(struct stream *s)
{
    while (s->out_first) {
        struct stream_message *m = s->out_first;
        s->out_first = m->next;
        retire(s, m);
    }
    s->out_last = NULL;
}

void stream_deinit(struct stream *s)
{
    drop_output(s);
    drop_inputs(s, s->inputs);
    drop_inputs(s, rt_mailbox_take(&s->inbox, 0));
    rt_buf_unref(s->partial);
    s->inputs = NULL;
    s->partial = NULL;
}

/* ---- Messages ---- */

enum { PREFIX_BYTES = 5 };

struct stream_message *stream_message_new(struct stream *s, const struct grpc_part *parts,
                                          uint32_t count)
{
    assert(count <= GRPC_PARTS_MAX);
    size_t copied = PREFIX_BYTES, body = 0;
    for (uint32_t i = 0; i < count; i++) {
        body += parts[i].bytes.len;
        copied += parts[i].owner ? 0 : parts[i].bytes.len;
    }
    assert(body <= UINT32_MAX);
    struct stream_message *m =
        rt_alloc(sizeof *m + (count + 1) * sizeof(struct stream_piece) + copied);
    uint8_t *to = (uint8_t *)&m->pieces[count + 1];
    m->mail = (struct http2_mail){.kind = HTTP2_MAIL_MESSAGE, .stream = s};
    m->next = NULL;
    m->len = PREFIX_BYTES + body;
    to[0] = 0;
    for (int i = 0; i < 4; i++)
        to[1 + i] = (uint8_t)(body >> (24 - 8 * i));
    m->pieces[0] = (struct stream_piece){to, PREFIX_BYTES, NULL};
    m->piece_count = 1;
    to += PREFIX_BYTES;
    for (uint32_t i = 0; i < count; i++) {
        struct stream_piece *last = &m->pieces[m->piece_count - 1];
        struct rt_bytes bytes = parts[i].bytes;
        if (parts[i].owner) {
            m->pieces[m->piece_count++] =
                (struct stream_piece){bytes.data, bytes.len, parts[i].owner};
            continue;
        }
        if (!bytes.len)
            continue;
        memcpy(to, bytes.data, bytes.len);
        if (!last->owner)
            last->len += bytes.len; // copies lie one after the other
        else
            m->pieces[m->piece_count++] = (struct stream_piece){to, bytes.len, NULL};
        to += bytes.len;
    }
    return m;
}

void stream_message_free(struct stream_message *m)
{
    for (uint32_t i = 0; i < m->piece_count; i++)
        rt_buf_unref(m->pieces[i].owner);
    rt_free(m);
}

/* ---- Sending ---- */

int stream_send(struct stream *s, const struct grpc_part *parts, uint32_t count,
                int64_t deadline_ns)
{
    struct stream_message *m = stream_message_new(s, parts, count);
    int err;
    for (;;) {
        err = atomic_load(&s->err);
        if (err || atomic_load(&s->unsent) < GRPC_SEND_QUEUE_BYTES)
            break;
        if (is_past(deadline_ns)) {
            err = -ETIMEDOUT;
            break;
        }
        atomic_store(&s->send_waiting,
                     true); // then look again: retire looks at it after its change
        if (atomic_load(&s->unsent) >= GRPC_SEND_QUEUE_BYTES && !atomic_load(&s->err))
            rt_mailbox_take(&s->room, deadline_ns);
        atomic_store(&s->send_waiting, false);
    }
    if (err) {
        stream_message_free(m);
        return err;
    }
    atomic_fetch_add(&s->unsent, m->len);
    http2_post(s->h2, &m->mail);
    return 0;
}

void stream_queue(struct stream *s, struct stream_message *m)
{
    m->next = NULL;
    s->h2->queued_bytes += m->len;
    if (s->out_last)
        s->out_last->next = m;
    else
        s->out_first = m;
    s->out_last = m;
    if (s->out_deferred) {
        s->out_deferred = false;
        nghttp2_session_resume_data(s->h2->session, s->id);
    }
}

void stream_end_output(struct stream *s)
{
    s->out_end = true;
    if (s->out_deferred) {
        s->out_deferred = false;
        nghttp2_session_resume_data(s->h2->session, s->id);
    }
}

/* Bytes queued from our place on, but no more than `most`; *all_out: that is everything. */
static size_t available(const struct stream *s, size_t most, bool *all_out)
{
    size_t sum = 0;
    const struct stream_message *m = s->out_first;
    uint32_t piece = s->out_piece;
    size_t offset = s->out_offset;
    for (; m; m = m->next, piece = 0) {
        for (; piece < m->piece_count; piece++, offset = 0) {
            sum += m->pieces[piece].len - offset;
            if (sum > most) {
                *all_out = false;
                return most;
            }
        }
    }
    *all_out = true;
    return sum;
}

ssize_t stream_read_data(nghttp2_session *session, int32_t stream_id, uint8_t *buf, size_t length,
                         uint32_t *flags, nghttp2_data_source *source, void *user)
{
    (void)session;
    (void)stream_id;
    (void)buf;
    (void)user;
    struct stream *s = source->ptr;
    bool all_out;
    size_t n = available(s, length, &all_out);
    if (n == 0 && !s->out_end) {
        s->out_deferred = true;
        return NGHTTP2_ERR_DEFERRED;
    }
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    if (all_out && s->out_end) {
        *flags |= NGHTTP2_DATA_FLAG_EOF;
        if (s->at_end) {
            *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
            s->at_end(s);
        }
    }
    return (ssize_t)n;
}

void stream_gather(struct stream *s, size_t length)
{
    while (length) {
        struct stream_message *m = s->out_first;
        assert(m);
        const struct stream_piece *p = &m->pieces[s->out_piece];
        size_t n = p->len - s->out_offset < length ? p->len - s->out_offset : length;
        if (n)
            http2_gather(s->h2, p->data + s->out_offset, n);
        length -= n;
        s->out_offset += n;
        if (s->out_offset < p->len)
            continue;
        s->out_offset = 0;
        if (++s->out_piece < m->piece_count)
            continue;
        s->out_piece = 0;
        s->out_first = m->next;
        if (!s->out_first)
            s->out_last = NULL;
        retire(s, m);
    }
}

/* ---- Receiving ---- */

bool stream_mid_message(const struct stream *s) { return s->prefix_len > 0; }

/* Room for `more` bytes in the message being put together; it grows by doubling up to what the
 * prefix announced, so that an announcement alone costs little. */
static void grow_partial(struct stream *s, size_t more)
{
    size_t need = (s->partial ? s->partial->len : 0) + more;
    if (s->partial && need <= s->partial->cap)
        return;
    size_t cap = need < GRPC_BUFFER_FIRST_BYTES ? GRPC_BUFFER_FIRST_BYTES : 2 * need;
    if (cap > s->partial_len)
        cap = s->partial_len;
    struct rt_buf *bigger = rt_buf_new(cap);
    if (s->partial) {
        memcpy(bigger->data, s->partial->data, s->partial->len);
        bigger->len = s->partial->len;
        rt_buf_unref(s->partial);
    }
    s->partial = bigger;
}

enum stream_fed stream_feed(struct stream *s, const uint8_t **data, size_t *len, size_t max,
                            struct rt_buf **message_out, size_t *announced)
{
    while (s->prefix_len < PREFIX_BYTES) {
        if (!*len)
            return STREAM_FED;
        s->prefix[s->prefix_len++] = **data;
        ++*data;
        --*len;
        if (s->prefix_len < PREFIX_BYTES)
            continue;
        s->partial_len = (size_t)s->prefix[1] << 24 | (size_t)s->prefix[2] << 16 |
                         (size_t)s->prefix[3] << 8 | s->prefix[4];
        *announced = s->partial_len;
        if (s->prefix[0] != 0)
            return STREAM_COMPRESSED;
        if (s->partial_len > max)
            return STREAM_TOO_LARGE;
    }
    size_t have = s->partial ? s->partial->len : 0;
    size_t n = s->partial_len - have < *len ? s->partial_len - have : *len;
    grow_partial(s, n);
    if (n)
        memcpy(s->partial->data + s->partial->len, *data, n);
    s->partial->len += n;
    *data += n;
    *len -= n;
    if (s->partial->len < s->partial_len)
        return STREAM_FED;
    *message_out = s->partial;
    s->partial = NULL;
    s->prefix_len = 0;
    return STREAM_MESSAGE;
}

void stream_deliver(struct stream *s, struct rt_buf *message)
{
    struct stream_input *in = rt_alloc(sizeof *in);
    in->buf = message;
    atomic_fetch_add(&s->queued, message->len + GRPC_MESSAGE_COST_BYTES);
    rt_mailbox_put(&s->inbox, &in->mail);
}

void stream_deliver_end(struct stream *s) { rt_mailbox_put(&s->inbox, &s->end_mail); }

static void open_stream_window(struct stream *s)
{
    if (s->deferred && s->id >= 0)
        nghttp2_session_consume_stream(s->h2->session, s->id, s->deferred);
    s->deferred = 0;
}

void stream_received(struct stream *s, size_t len)
{
    nghttp2_session_consume_connection(s->h2->session, len);
    s->deferred += len;
    if (atomic_load(&s->queued) == 0) {
        open_stream_window(s);
        return;
    }
    atomic_store(&s->wants_credit, true);
    // The user may have emptied the queue before it could see that: whoever takes the flag down acts.
    if (atomic_load(&s->queued) == 0 && atomic_exchange(&s->wants_credit, false))
        open_stream_window(s);
}

void stream_take_credit(struct stream *s)
{
    atomic_store(&s->credit_posted, false); // before the window opens, so that no wish is lost
    open_stream_window(s);
}

void stream_abort(struct stream *s, int err)
{
    int none = 0;
    atomic_compare_exchange_strong(&s->err, &none, err);
    rt_mailbox_wake(&s->inbox);
    rt_mailbox_wake(&s->room);
}

/* The oldest input in hand, to the user. */
static int pop_input(struct stream *s, struct rt_buf **out)
{
    struct rt_mail *mail = s->inputs;
    s->inputs = mail->next;
    if (mail == &s->end_mail) {
        s->in_ended = true;
        return 0;
    }
    struct stream_input *in = (struct stream_input *)mail;
    *out = in->buf;
    size_t cost = in->buf->len + GRPC_MESSAGE_COST_BYTES;
    rt_free(in);
    if (atomic_fetch_sub(&s->queued, cost) == cost && atomic_exchange(&s->wants_credit, false) &&
        !atomic_exchange(&s->credit_posted, true))
        http2_post(s->h2, &s->credit);
    return 1;
}

int stream_recv(struct stream *s, struct rt_buf **out, int64_t deadline_ns)
{
    if (s->inputs)
        return pop_input(s, out);
    if (s->in_ended)
        return 0;
    s->inputs = rt_mailbox_take(&s->inbox, deadline_ns);
    if (s->inputs)
        return pop_input(s, out);
    return is_past(deadline_ns) ? -ETIMEDOUT : -EAGAIN;
}

int stream_wait(struct stream *s, int64_t deadline_ns)
{
    struct rt_mail *came = rt_mailbox_take(&s->inbox, deadline_ns);
    if (!came)
        return is_past(deadline_ns) ? -ETIMEDOUT : 0;
    struct rt_mail **tail = &s->inputs;
    while (*tail)
        tail = &(*tail)->next;
    *tail = came;
    return 0;
}
