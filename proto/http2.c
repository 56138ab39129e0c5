/* proto/http2.c: the loop.
 *
 *     wait -> read -> nghttp2 -> mailbox -> nghttp2 -> writev -> wait
 *
 * One turn takes all that came, then all that others put in the box, then writes once: under load a
 * turn carries many answers. nghttp2 hands out DATA by frames of 16 KiB, stream after stream, so a
 * long answer delays a short one by a frame.
 *
 * Buffers are there only while there is traffic: an idle connection costs its session. */
#include "proto/http2.h"
#include "proto/stream.h"
#include <assert.h>
#include <errno.h>
#include <rt/go.h>

enum {
    FRAME_BYTES = 16384 + 9 + 1, // the most nghttp2 hands out at once
    FRAME_PARTS = 2 * (16384 / HTTP2_INLINE_PIECE_BYTES) + 3,
    READS_A_TURN = 4, // then others have their turn
    GATHERINGS_A_TURN = 16,
};
#define IDLE_NS (INT64_C(1) * RT_SECOND) // then buffers are given back

static_assert((int)HTTP2_COPY_BYTES >= 2 * (int)FRAME_BYTES, "a frame must find room");
static_assert((int)HTTP2_IOVECS >= 2 * (int)FRAME_PARTS, "a frame must find room");

void http2_init(struct http2 *h, struct transport *t, const struct http2_role *role)
{
    *h = (struct http2){.transport = t, .role = role};
}

void http2_deinit(struct http2 *h)
{
    // Whoever posted the last mail may still be about to wake us.
    while (atomic_load_explicit(&h->posting, memory_order_acquire))
        rt_yield();
    rt_nopreempt_begin();
    nghttp2_session_del(h->session);
    rt_nopreempt_end();
    while (h->written) {
        struct stream_message *m = h->written;
        h->written = m->next;
        stream_message_free(m);
    }
    rt_free(h->read_buffer);
    rt_free(h->copies);
    transport_free(h->transport);
}

void http2_wake(struct http2 *h) { rt_conn_wake(h->transport->conn); }

void http2_post(struct http2 *h, struct http2_mail *mail)
{
    atomic_fetch_add_explicit(&h->posting, 1, memory_order_relaxed);
    if (rt_mailbox_put(&h->box, &mail->mail))
        http2_wake(h);
    atomic_fetch_sub_explicit(&h->posting, 1, memory_order_release); // the last touch
}

void http2_end(struct http2 *h, uint32_t code, const char *text)
{
    if (h->end_after_write)
        return;
    h->end_after_write = true;
    h->end_by_ns = rt_after_ns(HTTP2_GOODBYE_NS);
    rt_nopreempt_begin();
    int err = nghttp2_submit_goaway(h->session, NGHTTP2_FLAG_NONE,
                                    nghttp2_session_get_last_proc_stream_id(h->session), code,
                                    (const uint8_t *)text, strlen(text));
    rt_nopreempt_end();
    if (err) // no memory for a farewell
        h->ended = true;
}

/* ---- Output ---- */

static void gather_part(struct http2 *h, const uint8_t *data, size_t len)
{
    struct iovec *last = h->part_count ? &h->parts[h->part_count - 1] : NULL;
    if (last && (uint8_t *)last->iov_base + last->iov_len == data) {
        last->iov_len += len;
        return;
    }
    assert(h->part_count < HTTP2_IOVECS);
    h->parts[h->part_count++] = (struct iovec){(void *)(uintptr_t)data, len};
}

static void gather_copy(struct http2 *h, const uint8_t *data, size_t len)
{
    assert(h->copies_len + len <= HTTP2_COPY_BYTES);
    uint8_t *to = h->copies + h->copies_len;
    memcpy(to, data, len);
    h->copies_len += len;
    gather_part(h, to, len);
}

void http2_gather(struct http2 *h, const uint8_t *data, size_t len)
{
    if (len <= HTTP2_INLINE_PIECE_BYTES)
        gather_copy(h, data, len);
    else
        gather_part(h, data, len);
}

static bool has_room(const struct http2 *h)
{
    return h->copies_len + FRAME_BYTES <= HTTP2_COPY_BYTES &&
           h->part_count + FRAME_PARTS <= HTTP2_IOVECS;
}

static int send_data(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *head,
                     size_t length, nghttp2_data_source *source, void *user)
{
    (void)session;
    (void)frame;
    struct http2 *h = user;
    if (!has_room(h)) {
        h->full = true;
        return NGHTTP2_ERR_WOULDBLOCK;
    }
    gather_copy(h, head, 9);
    stream_gather(source->ptr, length);
    h->sent_since_ping = true;
    return 0;
}

void http2_set_callbacks(nghttp2_session_callbacks *callbacks)
{
    nghttp2_session_callbacks_set_send_data_callback(callbacks, send_data);
}

nghttp2_option *http2_new_option(void)
{
    nghttp2_option *o;
    if (nghttp2_option_new(&o))
        return NULL;
    nghttp2_option_set_no_auto_window_update(o, 1);
    nghttp2_option_set_no_closed_streams(o, 1);
    nghttp2_option_set_max_outbound_ack(o, HTTP2_OUTBOUND_ACKS);
    nghttp2_option_set_max_settings(o, HTTP2_SETTINGS_ENTRIES);
    nghttp2_option_set_stream_reset_rate_limit(o, HTTP2_RESETS_BURST, HTTP2_RESETS_PER_S);
    nghttp2_option_set_max_continuations(o, HTTP2_CONTINUATIONS);
    nghttp2_option_set_max_deflate_dynamic_table_size(o, HTTP2_HEADER_TABLE_BYTES);
    return o;
}

/* Frames out of nghttp2 until there is nothing or no room. True: something was gathered. */
static bool gather(struct http2 *h)
{
    if (!h->copies)
        h->copies = rt_alloc(HTTP2_COPY_BYTES);
    h->full = false;
    rt_nopreempt_begin();
    while (has_room(h) && !h->full) {
        const uint8_t *data;
        ssize_t n = nghttp2_session_mem_send(h->session, &data);
        if (n < 0)
            h->ended = true;
        if (n <= 0)
            break;
        gather_copy(h, data, (size_t)n);
        // A frame that cannot be told from an answer's HEADERS costs a peer one more ping: no harm.
        if (n > 3 && data[3] == NGHTTP2_HEADERS)
            h->sent_since_ping = true;
    }
    rt_nopreempt_end();
    return h->part_count > 0;
}

static void forget_written(struct http2 *h)
{
    h->part_count = h->part_pos = 0;
    h->copies_len = 0;
    while (h->written) {
        struct stream_message *m = h->written;
        h->written = m->next;
        stream_message_free(m);
    }
}

/* Write the gathering. True: all of it is out. */
static bool write_parts(struct http2 *h)
{
    while (h->part_pos < h->part_count) {
        ssize_t n =
            transport_try_writev(h->transport, h->parts + h->part_pos, h->part_count - h->part_pos);
        if (n == -EAGAIN)
            return false;
        if (n < 0) {
            h->ended = true;
            return false;
        }
        h->part_pos +=
            transport_advance(h->parts + h->part_pos, h->part_count - h->part_pos, (size_t)n);
    }
    forget_written(h);
    return true;
}

/* False: more is to be written, later. */
static bool write_turn(struct http2 *h)
{
    if (!write_parts(h))
        return h->ended;
    for (int i = 0; i < GATHERINGS_A_TURN; i++) {
        if (!gather(h) || h->ended)
            return true;
        if (!write_parts(h))
            return h->ended;
    }
    return false;
}

/* ---- Input ---- */

static void feed(struct http2 *h, const uint8_t *data, size_t len)
{
    h->received_bytes += len;
    rt_nopreempt_begin();
    ssize_t n = nghttp2_session_mem_recv(h->session, data, len);
    rt_nopreempt_end();
    if (n == NGHTTP2_ERR_BAD_CLIENT_MAGIC || n == NGHTTP2_ERR_FLOODED)
        http2_end(h, n == NGHTTP2_ERR_FLOODED ? NGHTTP2_ENHANCE_YOUR_CALM : NGHTTP2_PROTOCOL_ERROR,
                  "");
    else if (n < 0)
        h->ended = true;
}

/* True: there may be more. */
static bool read_turn(struct http2 *h)
{
    if (!h->read_buffer)
        h->read_buffer = rt_alloc(HTTP2_READ_BYTES);
    for (int i = 0; i < READS_A_TURN && !h->ended && !h->end_after_write; i++) {
        ssize_t n = transport_try_read(h->transport, h->read_buffer, HTTP2_READ_BYTES);
        if (n == -EAGAIN)
            return false;
        if (n <= 0) {
            h->ended = true;
            return false;
        }
        h->last_input_ns = rt_now_ns();
        feed(h, h->read_buffer, (size_t)n);
        if (n < HTTP2_READ_BYTES)
            return false;
    }
    return true;
}

/* True: there was some. */
static bool mail_turn(struct http2 *h)
{
    struct rt_mail *mail = rt_mailbox_take(&h->box, 0);
    if (!mail)
        return false;
    rt_nopreempt_begin();
    while (mail) {
        struct rt_mail *next = mail->next;
        h->role->take_mail(h, (struct http2_mail *)mail);
        mail = next;
    }
    rt_nopreempt_end();
    return true;
}

static bool is_over(const struct http2 *h)
{
    if (h->ended)
        return true;
    if (h->part_pos < h->part_count)
        return false;
    if (h->end_after_write)
        return !nghttp2_session_want_write(h->session);
    return !nghttp2_session_want_read(h->session) && !nghttp2_session_want_write(h->session);
}

/* Wait for input, mail, or room to write; after a second of nothing, without buffers. */
static void wait_turn(struct http2 *h, bool write_blocked, int64_t deadline_ns)
{
    int flags = RT_CONN_READABLE | (write_blocked ? RT_CONN_WRITABLE : 0);
    int64_t idle_ns = rt_after_ns(IDLE_NS);
    int err = transport_wait(h->transport, flags, idle_ns < deadline_ns ? idle_ns : deadline_ns);
    if (err == -ETIMEDOUT && idle_ns < deadline_ns) {
        rt_free(h->read_buffer);
        h->read_buffer = NULL;
        if (h->part_pos == h->part_count) {
            rt_free(h->copies);
            h->copies = NULL;
        }
        err = transport_wait(h->transport, flags, deadline_ns);
    }
    if (err && err != -ETIMEDOUT)
        h->ended = true;
}

void http2_run(struct http2 *h, const uint8_t *first, size_t first_len)
{
    h->last_input_ns = rt_now_ns();
    if (first_len)
        feed(h, first, first_len);
    for (;;) {
        bool more_input = read_turn(h);
        h->role->after_input(h);
        bool more_mail = mail_turn(h);
        h->role->after_input(h);
        int64_t now_ns = rt_now_ns();
        int64_t deadline_ns = h->role->tick(h, now_ns);
        if (h->end_after_write && h->end_by_ns < deadline_ns)
            deadline_ns = h->end_by_ns;
        if (h->end_after_write && now_ns >= h->end_by_ns)
            h->ended = true;
        bool written = h->ended || write_turn(h);
        if (is_over(h))
            return;
        if (more_input || (more_mail && mail_turn(h)))
            continue;
        wait_turn(h, !written, deadline_ns);
    }
}
