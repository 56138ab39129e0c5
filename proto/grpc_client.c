/* proto/grpc_client.c: the client's connection: what frames and mail mean to its streams. */
#include "proto/grpc_client.h"
#include "proto/grpc_text.h"
#include <assert.h>
#include <errno.h>
#include <rt/go.h>
#include <stdio.h>

/* ---- Streams of the connection ---- */

static struct grpc_stream *stream_of(nghttp2_session *session, int32_t id)
{
    return nghttp2_session_get_stream_user_data(session, id);
}

static void free_if_over(struct grpc_stream *s)
{
    if (!s->released || !s->closed)
        return;
    if (s->next)
        s->next->prev = s->prev;
    if (s->prev)
        s->prev->next = s->next;
    else
        s->client->streams = s->next;
    stream_deinit(&s->stream);
    if (s->first)
        stream_message_free(s->first);
    rt_free(s->headers);
    rt_free(s);
}

static void set_status(struct grpc_stream *s, enum grpc_code code, const char *text)
{
    s->status.code = code;
    snprintf(s->status.text, sizeof s->status.text, "%s", text);
    s->has_status = true;
}

/* The stream is over for its user, with s->status. */
static void end_stream(struct grpc_stream *s)
{
    assert(s->has_status);
    if (s->closed)
        return;
    s->closed = true;
    stream_abort(&s->stream, -EPIPE); // for senders; receivers read what is queued, then the end
    stream_deliver_end(&s->stream);
    free_if_over(s);
}

void grpc_client_lost_text(const struct grpc_client *c, char *text, size_t cap)
{
    snprintf(text, cap, "the connection to %s is lost", c->address);
}

static void set_status_by_http(struct grpc_stream *s)
{
    char text[96];
    enum grpc_code code = GRPC_UNKNOWN;
    switch (s->http_status) {
    case 400:
        code = GRPC_INTERNAL;
        break;
    case 401:
        code = GRPC_UNAUTHENTICATED;
        break;
    case 403:
        code = GRPC_PERMISSION_DENIED;
        break;
    case 404:
        code = GRPC_UNIMPLEMENTED;
        break;
    case 429:
    case 502:
    case 503:
    case 504:
        code = GRPC_UNAVAILABLE;
        break;
    }
    snprintf(text, sizeof text, "the server answered with HTTP status %d and no gRPC status",
             s->http_status);
    set_status(s, code, text);
}

/* Source: gRPC's "HTTP2 Transport Mapping", errors. */
static void set_status_by_reset(struct grpc_stream *s, uint32_t error)
{
    char text[128];
    enum grpc_code code = GRPC_INTERNAL;
    if (error == NGHTTP2_REFUSED_STREAM)
        code = GRPC_UNAVAILABLE;
    else if (error == NGHTTP2_CANCEL)
        code = GRPC_CANCELLED;
    else if (error == NGHTTP2_ENHANCE_YOUR_CALM)
        code = GRPC_RESOURCE_EXHAUSTED;
    else if (error == NGHTTP2_INADEQUATE_SECURITY)
        code = GRPC_PERMISSION_DENIED;
    snprintf(text, sizeof text, "stream terminated by RST_STREAM with error code: %s",
             nghttp2_http2_strerror(error));
    set_status(s, code, text);
}

/* ---- nghttp2's callbacks ---- */

static bool is(const uint8_t *name, size_t len, const char *text)
{
    return strlen(text) == len && memcmp(name, text, len) == 0;
}

static int small_number(const uint8_t *digits, size_t len)
{
    int n = 0;
    if (!len || len > 3)
        return -1;
    for (size_t i = 0; i < len; i++) {
        if (digits[i] < '0' || digits[i] > '9')
            return -1;
        n = n * 10 + (digits[i] - '0');
    }
    return n;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
                     void *user)
{
    (void)flags;
    (void)user;
    struct grpc_stream *s = stream_of(session, frame->hd.stream_id);
    if (!s || s->closed)
        return 0;
    if (is(name, name_len, ":status")) {
        s->http_status = small_number(value, value_len);
    } else if (is(name, name_len, "grpc-status")) {
        int code = small_number(value, value_len);
        s->status.code = code < 0 || code >= GRPC_CODES ? GRPC_UNKNOWN : (enum grpc_code)code;
        s->has_status = true;
    } else if (is(name, name_len, "grpc-message")) {
        grpc_message_decode(rt_bytes(value, value_len), s->status.text, sizeof s->status.text);
    }
    return 0;
}

static void break_stream(struct grpc_stream *s, enum stream_fed fed, size_t announced, size_t max)
{
    char text[128];
    s->stream.in_broken = true;
    if (fed == STREAM_TOO_LARGE) {
        snprintf(text, sizeof text, "grpc: received message larger than max (%zu vs. %zu)",
                 announced, max);
        set_status(s, GRPC_RESOURCE_EXHAUSTED, text);
    } else {
        set_status(s, GRPC_INTERNAL, "grpc: compressed flag set with identity or empty encoding");
    }
    nghttp2_submit_rst_stream(s->stream.h2->session, NGHTTP2_FLAG_NONE, s->stream.id,
                              NGHTTP2_CANCEL);
    end_stream(s);
}

static int on_data_chunk(nghttp2_session *session, uint8_t flags, int32_t stream_id,
                         const uint8_t *data, size_t len, void *user)
{
    (void)flags;
    struct grpc_client *c = user;
    struct grpc_stream *s = stream_of(session, stream_id);
    size_t whole = len, max = c->options.max_receive_bytes;
    while (s && len && !s->stream.in_broken && !s->closed) {
        struct rt_buf *message;
        size_t announced = 0;
        enum stream_fed fed = stream_feed(&s->stream, &data, &len, max, &message, &announced);
        if (fed == STREAM_MESSAGE) {
            if (c->received_bytes)
                rt_counter_add(c->received_bytes, (int64_t)message->len);
            stream_deliver(&s->stream, message);
        } else if (fed != STREAM_FED) {
            break_stream(s, fed, announced, max);
            s = NULL; // it may be gone
        }
    }
    if (s)
        stream_received(&s->stream, whole);
    else
        nghttp2_session_consume(session, stream_id, whole);
    return 0;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    (void)session;
    struct grpc_client *c = user;
    if (frame->hd.type == NGHTTP2_GOAWAY)
        atomic_store(&c->alive, false);
    else if (frame->hd.type == NGHTTP2_PING && (frame->hd.flags & NGHTTP2_FLAG_ACK))
        c->our_ping_ns = 0;
    return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t stream_id, uint32_t error, void *user)
{
    (void)user;
    struct grpc_stream *s = stream_of(session, stream_id);
    if (!s)
        return 0;
    nghttp2_session_set_stream_user_data(session, stream_id, NULL);
    if (!s->has_status && error != NGHTTP2_NO_ERROR)
        set_status_by_reset(s, error);
    if (!s->has_status)
        set_status_by_http(s);
    if (s->status.code == GRPC_OK && stream_mid_message(&s->stream))
        set_status(s, GRPC_INTERNAL, "the answer ends in the middle of a message");
    end_stream(s);
    return 0;
}

/* A request that never left: its stream has no user data yet, so look in the list. */
static int on_frame_not_sent(nghttp2_session *session, const nghttp2_frame *frame, int code,
                             void *user)
{
    (void)session;
    (void)code;
    struct grpc_client *c = user;
    if (frame->hd.type != NGHTTP2_HEADERS)
        return 0;
    for (struct grpc_stream *s = c->streams; s; s = s->next)
        if (s->stream.id == frame->hd.stream_id) {
            set_status(s, GRPC_UNAVAILABLE, "the server takes no more calls on this connection");
            end_stream(s);
            break;
        }
    return 0;
}

/* ---- The role ---- */

static void take_open(struct grpc_client *c, struct grpc_stream *s)
{
    s->next = c->streams;
    if (c->streams)
        c->streams->prev = s;
    c->streams = s;
    if (!atomic_load(&c->alive)) {
        char text[256];
        grpc_client_lost_text(c, text, sizeof text);
        set_status(s, GRPC_UNAVAILABLE, text);
        end_stream(s);
        return;
    }
    if (s->first) {
        struct stream_message *m = s->first;
        s->first = NULL;
        atomic_fetch_add(&s->stream.unsent, m->len);
        stream_queue(&s->stream, m);
        stream_end_output(&s->stream);
    }
    nghttp2_data_provider data = {.source.ptr = &s->stream, .read_callback = stream_read_data};
    int32_t id = nghttp2_submit_request(c->h2.session, NULL, s->headers, s->header_count, &data, s);
    rt_free(s->headers);
    s->headers = NULL;
    if (id >= 0) {
        s->stream.id = id;
        return;
    }
    atomic_store(&c->alive, false); // out of stream numbers, or of memory: dial again
    set_status(s, GRPC_UNAVAILABLE, "this connection has no more stream numbers");
    end_stream(s);
}

static void take_close(struct grpc_stream *s)
{
    s->released = true;
    if (!s->closed && s->stream.id >= 0)
        nghttp2_submit_rst_stream(s->stream.h2->session, NGHTTP2_FLAG_NONE, s->stream.id,
                                  NGHTTP2_CANCEL);
    free_if_over(s);
}

static void take_mail(struct http2 *h, struct http2_mail *mail)
{
    struct grpc_client *c = (struct grpc_client *)h;
    struct grpc_stream *s = (struct grpc_stream *)mail->stream;
    switch (mail->kind) {
    case HTTP2_MAIL_OPEN:
        take_open(c, s);
        break;
    case HTTP2_MAIL_MESSAGE:
        stream_queue(&s->stream, (struct stream_message *)mail);
        break;
    case HTTP2_MAIL_CREDIT:
        stream_take_credit(&s->stream);
        break;
    case HTTP2_MAIL_DONE:
        stream_end_output(&s->stream);
        break;
    case HTTP2_MAIL_CLOSE:
        if (s) {
            take_close(s);
        } else {
            c->closing = true;
            http2_end(h, NGHTTP2_NO_ERROR, "");
        }
        break;
    }
}

static void after_input(struct http2 *h) { (void)h; }

static int64_t tick(struct http2 *h, int64_t now_ns)
{
    struct grpc_client *c = (struct grpc_client *)h;
    const struct grpc_client_options *o = &c->options;
    if (!o->ping_interval_ns)
        return RT_FOREVER;
    if (c->our_ping_ns) {
        int64_t due_ns = c->our_ping_ns + o->ping_timeout_ns;
        if (now_ns >= due_ns)
            h->ended = true;
        return due_ns;
    }
    int64_t due_ns = h->last_input_ns + o->ping_interval_ns;
    if (now_ns < due_ns || !c->streams) // without a call servers take pings ill
        return c->streams ? due_ns : RT_FOREVER;
    c->our_ping_ns = now_ns;
    rt_nopreempt_begin();
    nghttp2_submit_ping(h->session, NGHTTP2_FLAG_NONE, NULL);
    rt_nopreempt_end();
    return now_ns + o->ping_timeout_ns;
}

static const struct http2_role client_role = {take_mail, after_input, tick};

/* The connection is lost or closed: every stream ends; new ones end at once, until close. */
static void end_all(struct grpc_client *c)
{
    char text[256];
    struct grpc_stream *next;
    atomic_store(&c->alive, false);
    grpc_client_lost_text(c, text, sizeof text);
    rt_nopreempt_begin();
    for (struct grpc_stream *s = c->streams; s; s = next) {
        next = s->next;
        if (!s->has_status)
            set_status(s, GRPC_UNAVAILABLE, text);
        end_stream(s);
    }
    rt_nopreempt_end();
    while (!c->closing) {
        struct rt_mail *mail = rt_mailbox_take(&c->h2.box, RT_FOREVER);
        rt_nopreempt_begin();
        while (mail) {
            struct rt_mail *after = mail->next;
            take_mail(&c->h2, (struct http2_mail *)mail);
            mail = after;
        }
        rt_nopreempt_end();
    }
}

static void client_main(void *arg)
{
    struct grpc_client *c = arg;
    http2_run(&c->h2, NULL, 0);
    rt_conn_close(c->h2.transport->conn);
    end_all(c);
    rt_note_set(&c->ended); // the last touch
}

/* ---- Dial and close ---- */

static nghttp2_session_callbacks *client_callbacks(void)
{
    nghttp2_session_callbacks *cb;
    if (nghttp2_session_callbacks_new(&cb))
        rt_fatal("out of memory for nghttp2's callbacks");
    http2_set_callbacks(cb);
    nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data_chunk);
    nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame);
    nghttp2_session_callbacks_set_on_frame_not_send_callback(cb, on_frame_not_sent);
    nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_stream_close);
    return cb;
}

static int make_session(struct grpc_client *c)
{
    static const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, HTTP2_STREAM_WINDOW_BYTES},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, HTTP2_HEADER_LIST_BYTES},
    };
    rt_nopreempt_begin();
    int err = nghttp2_session_client_new2(&c->h2.session, c->callbacks, c, c->option);
    if (!err)
        err = nghttp2_submit_settings(c->h2.session, NGHTTP2_FLAG_NONE, settings,
                                      sizeof settings / sizeof settings[0]);
    if (!err)
        err = nghttp2_session_set_local_window_size(c->h2.session, NGHTTP2_FLAG_NONE, 0,
                                                    HTTP2_CONN_WINDOW_BYTES);
    rt_nopreempt_end();
    return err;
}

static void free_client(struct grpc_client *c)
{
    http2_deinit(&c->h2);
    nghttp2_session_callbacks_del(c->callbacks);
    nghttp2_option_del(c->option);
    for (uint32_t i = 0; i < c->options.metadata_count; i++) {
        rt_free((void *)(uintptr_t)c->metadata[i].name);
        rt_free((void *)(uintptr_t)c->metadata[i].value);
    }
    rt_free(c->metadata);
    rt_free(c->address);
    rt_free(c);
}

static void copy_options(struct grpc_client *c, const struct grpc_client_options *options)
{
    if (options)
        c->options = *options;
    if (!c->options.max_receive_bytes)
        c->options.max_receive_bytes = INT32_MAX;
    if (!c->options.ping_timeout_ns)
        c->options.ping_timeout_ns = 20 * RT_SECOND;
    uint32_t count = c->options.metadata_count;
    c->metadata = rt_alloc((count + 1) * sizeof *c->metadata);
    for (uint32_t i = 0; i < count; i++)
        c->metadata[i] = (struct grpc_metadata){rt_strdup(options->metadata[i].name),
                                                rt_strdup(options->metadata[i].value)};
    if (!c->options.metrics)
        return;
    c->received_bytes =
        rt_metrics_counter(c->options.metrics, "kvd_grpc_client_received_bytes_total", "",
                           "Bytes of messages received as a gRPC client.");
    c->sent_bytes = rt_metrics_counter(c->options.metrics, "kvd_grpc_client_sent_bytes_total", "",
                                       "Bytes of messages sent as a gRPC client.");
}

int grpc_client_dial(const char *address, const struct grpc_client_options *options,
                     int64_t deadline_ns, struct grpc_client **out, struct why *why)
{
    struct rt_conn *conn;
    int err = rt_dial(address, deadline_ns, &conn, why);
    if (err)
        return err;
    struct grpc_client *c = rt_alloc_zero(sizeof *c);
    http2_init(&c->h2, transport_plain(conn), &client_role);
    c->address = rt_strdup(address);
    copy_options(c, options);
    c->callbacks = client_callbacks();
    c->option = http2_new_option();
    c->close = (struct http2_mail){.kind = HTTP2_MAIL_CLOSE};
    atomic_store(&c->alive, true);
    err = c->option && make_session(c) == 0 ? 0 : -ENOMEM;
    if (!err)
        err = rt_go("grpc-client", client_main, c);
    if (err) {
        why_set(why, "cannot serve the connection to %s: out of memory or goroutines", address);
        free_client(c);
        return err;
    }
    *out = c;
    return 0;
}

void grpc_client_close(struct grpc_client *c)
{
    http2_post(&c->h2, &c->close);
    rt_note_wait(&c->ended, RT_FOREVER);
    while (c->streams) { // released, and still open when the connection ended
        struct grpc_stream *s = c->streams;
        assert(s->released);
        s->closed = true;
        free_if_over(s);
    }
    free_client(c);
}

bool grpc_client_is_alive(const struct grpc_client *c) { return atomic_load(&c->alive); }
