/* proto/grpc_serve.c: the server's side of one HTTP/2 connection: what frames mean.
 *
 * nghttp2's callbacks run with preemption held off and never park: they look at headers, put
 * messages together, and note calls that are ready or cancelled. after_input does what was noted.
 *
 * Order of checks on a request's headers, and its answers, as grpc-go's: too many calls
 * (REFUSED_STREAM), method not POST (405), content type (415), grpc-timeout, path, encoding. */
#include "proto/grpc_server.h"
#include "proto/grpc_text.h"
#include <assert.h>
#include <errno.h>
#include <rt/go.h>
#include <stdio.h>

static struct server_conn *conn_of(void *user)
{
    return (struct server_conn *)user; // h2 is first
}

static struct grpc_call *call_of(nghttp2_session *session, int32_t stream_id)
{
    return nghttp2_session_get_stream_user_data(session, stream_id);
}

/* ---- Calls of the connection ---- */

static void gauge_add(struct rt_counter *gauge, int64_t n)
{
    if (gauge)
        rt_counter_add(gauge, n);
}

static void link_call(struct server_conn *conn, struct grpc_call *c)
{
    c->next = conn->calls;
    if (conn->calls)
        conn->calls->prev = c;
    conn->calls = c;
    conn->call_count++;
    gauge_add(conn->server->open_calls, 1);
}

/* What the call holds of the server's budget for unread requests, told to the budget. */
static void account(struct grpc_call *c)
{
    size_t now = atomic_load(&c->stream.queued) + (c->stream.partial ? c->stream.partial->cap : 0) +
                 (c->request ? c->request->len : 0);
    atomic_fetch_add(&c->conn->server->unread, (uint64_t)now - (uint64_t)c->held);
    c->held = now;
}

static void free_call(struct grpc_call *c)
{
    struct server_conn *conn = c->conn;
    if (c->next)
        c->next->prev = c->prev;
    if (c->prev)
        c->prev->next = c->next;
    else
        conn->calls = c->next;
    assert(conn->call_count > 0);
    conn->call_count--;
    atomic_fetch_sub(&conn->server->calls, 1);
    atomic_fetch_sub(&conn->server->unread, c->held);
    gauge_add(conn->server->open_calls, -1);
    grpc_call_free(c);
}

static void free_if_over(struct grpc_call *c)
{
    if (c->finished && c->closed && !c->in_ready && !c->in_cancelled)
        free_call(c);
}

static void note_ready(struct grpc_call *c)
{
    struct server_conn *conn = c->conn;
    assert(!c->dispatched);
    c->dispatched = c->in_ready = true;
    c->next_ready = NULL;
    if (conn->ready_last)
        conn->ready_last->next_ready = c;
    else
        conn->ready_first = c;
    conn->ready_last = c;
}

static void note_cancelled(struct grpc_call *c)
{
    if (c->in_cancelled || c->finished || !c->dispatched)
        return;
    c->in_cancelled = true;
    c->next_cancelled = c->conn->cancelled;
    c->conn->cancelled = c;
}

/* ---- Calls that no method answers ---- */

/* Answer a call that no method runs. */
static void refuse_call(struct grpc_call *c, enum grpc_code code, const char *text,
                        const char *http_status)
{
    assert(!c->dispatched);
    c->stream.in_broken = true;
    grpc_call_overrule(c, code, text);
    if (c->method && c->method->started)
        rt_counter_add(c->method->started, 1);
    grpc_call_answer(c, http_status);
}

/* The same for one whose method may run already: it is cancelled, and this is the answer. */
static void break_call(struct grpc_call *c, enum grpc_code code, const char *text)
{
    c->conn->bad_streams++;
    if (!c->dispatched) {
        refuse_call(c, code, text, "200");
        return;
    }
    c->stream.in_broken = true;
    grpc_call_overrule(c, code, text);
    note_cancelled(c);
}

/* ---- Headers ---- */

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct server_conn *conn = conn_of(user);
    struct grpc_server *s = conn->server;
    if (frame->hd.type != NGHTTP2_HEADERS)
        return 0;
    conn->header_began_ns = conn->h2.last_input_ns;
    if (frame->headers.cat != NGHTTP2_HCAT_REQUEST)
        return 0;
    uint32_t calls = atomic_fetch_add(&s->calls, 1);
    if (calls >= s->options.max_calls || conn->h2.queued_bytes > HTTP2_UNSENT_BYTES ||
        conn->h2.end_after_write) {
        atomic_fetch_sub(&s->calls, 1);
        gauge_add(s->refused, 1);
        nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame->hd.stream_id,
                                  NGHTTP2_REFUSED_STREAM);
        return 0;
    }
    struct grpc_call *c = grpc_call_new(conn, frame->hd.stream_id);
    link_call(conn, c);
    nghttp2_session_set_stream_user_data(session, frame->hd.stream_id, c);
    return 0;
}

static bool is(struct rt_bytes a, const char *text)
{
    size_t len = strlen(text);
    return a.len == len && memcmp(a.data, text, len) == 0;
}

static void keep(struct grpc_call *c, uint32_t *at, struct rt_bytes value)
{
    if (c->meta.len + value.len > GRPC_METADATA_BYTES) {
        c->too_much_meta = true;
        return;
    }
    if (!c->meta.len)
        rt_string_append(&c->meta, "", 1);
    *at = (uint32_t)c->meta.len;
    rt_string_append(&c->meta, value.data, value.len);
    rt_string_append(&c->meta, "", 1);
}

static void take_pseudo_header(struct grpc_call *c, struct rt_bytes name, struct rt_bytes value)
{
    if (is(name, ":method")) {
        c->is_post = is(value, "POST");
    } else if (is(name, ":path")) {
        c->method = methods_find(&c->conn->server->methods, value);
        if (!c->method)
            keep(c, &c->path_at,
                 rt_bytes(value.data, value.len < GRPC_PATH_MAX ? value.len : GRPC_PATH_MAX));
    }
}

static void take_header(struct grpc_call *c, struct rt_bytes name, struct rt_bytes value)
{
    int64_t ns;
    if (is(name, "content-type")) {
        c->is_grpc = grpc_content_type_is_valid(value);
    } else if (is(name, "grpc-timeout")) {
        c->bad_timeout = grpc_timeout_parse(value, &ns) != 0;
        c->deadline_ns = c->bad_timeout ? RT_FOREVER : rt_after_ns(ns);
    } else if (is(name, "token")) {
        keep(c, &c->token_at, value);
    } else if (is(name, "authorization")) {
        keep(c, &c->authorization_at, value);
    } else if (is(name, "client-api-version")) {
        keep(c, &c->version_at, value);
    } else if (is(name, "hasleader")) {
        c->needs_leader = is(value, "true");
    } else if (is(name, "grpc-encoding") && !is(value, "identity")) {
        keep(c, &c->encoding_at, value);
    }
}

/* What RFC 9113, 8.2.1 and 8.3, say of names, values, and the order and number of pseudo headers. Not of the value
 * of :authority: etcd's clients of before 3.5 send a whole URL there ("http://127.0.0.1:2379") in the calls
 * of Maintenance, and etcd takes it. nghttp2 would not, and its checks can only be switched off together, so
 * fields that belong to a connection (8.2.2) are not refused either: nobody reads them. */
static bool header_is_valid(struct grpc_call *c, struct rt_bytes name, struct rt_bytes value)
{
    static const char *const pseudo[] = {":method", ":scheme", ":path", ":authority"};
    if (!nghttp2_check_header_value(value.data, value.len))
        return false;
    if (!name.len || name.data[0] != ':') {
        c->seen_plain_header = true;
        return nghttp2_check_header_name(name.data, name.len);
    }
    for (uint32_t i = 0; i < sizeof pseudo / sizeof *pseudo; i++) {
        if (!is(name, pseudo[i]))
            continue;
        bool again = c->seen_pseudo_headers & 1u << i;
        c->seen_pseudo_headers |= (uint8_t)(1u << i);
        return !again && !c->seen_plain_header;
    }
    return false;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
                     void *user)
{
    (void)flags;
    (void)user;
    struct grpc_call *c = call_of(session, frame->hd.stream_id);
    if (!c || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
        return 0;
    c->header_bytes += name_len + value_len + 32; // as RFC 9113, 6.5.2 counts
    if (c->header_bytes > HTTP2_HEADER_LIST_BYTES ||
        !header_is_valid(c, rt_bytes(name, name_len), rt_bytes(value, value_len))) {
        c->conn->bad_streams++;
        c->conn->header_began_ns = 0;                 // on_frame is not called any more
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE; // RST_STREAM
    }
    if (name_len && name[0] == ':')
        take_pseudo_header(c, rt_bytes(name, name_len), rt_bytes(value, value_len));
    else
        take_header(c, rt_bytes(name, name_len), rt_bytes(value, value_len));
    return 0;
}

static void refuse_method(struct grpc_call *c)
{
    char text[GRPC_PATH_MAX + 64];
    const char *path = c->path_at ? (const char *)c->meta.data + c->path_at : "";
    methods_explain(&c->conn->server->methods, path, text, sizeof text);
    refuse_call(c, GRPC_UNIMPLEMENTED, text, "200");
}

static void refuse_encoding(struct grpc_call *c)
{
    char text[256];
    snprintf(text, sizeof text, "grpc: Decompressor is not installed for grpc-encoding \"%.128s\"",
             (const char *)c->meta.data + c->encoding_at);
    refuse_call(c, GRPC_UNIMPLEMENTED, text, "200");
}

static void headers_are_whole(struct grpc_call *c)
{
    if (!c->is_post) {
        refuse_call(c, GRPC_INTERNAL, "the request's :method should be POST", "405");
    } else if (!c->is_grpc) {
        refuse_call(c, GRPC_INVALID_ARGUMENT, "invalid gRPC request content-type", "415");
    } else if (c->bad_timeout) {
        refuse_call(c, GRPC_INTERNAL, "malformed grpc-timeout", "200");
    } else if (c->too_much_meta) {
        refuse_call(c, GRPC_RESOURCE_EXHAUSTED, "the request's metadata is too large", "200");
    } else if (!c->method) {
        refuse_method(c);
    } else if (c->encoding_at) {
        refuse_encoding(c);
    } else {
        if (c->method->started)
            rt_counter_add(c->method->started, 1);
        if (c->method->rpc.shape == GRPC_BIDI)
            note_ready(c);
        c->conn->bad_streams = 0;
        return;
    }
    c->conn->bad_streams++;
}

/* ---- Data ---- */

/* A whole message. Returns false when the call takes no more. */
static void take_message(struct grpc_call *c, struct rt_buf *message)
{
    if (c->method->rpc.shape == GRPC_BIDI) {
        stream_deliver(&c->stream, message);
        return;
    }
    c->request = message;
    c->received_ns = c->conn->h2.last_input_ns;
    if (c->method->received)
        rt_counter_add(c->method->received, 1);
    if (c->conn->server->received_bytes)
        rt_counter_add(c->conn->server->received_bytes, (int64_t)message->len);
    note_ready(c);
}

static void break_by_framing(struct grpc_call *c, enum stream_fed fed, size_t announced)
{
    char text[128];
    if (fed == STREAM_TOO_LARGE) {
        snprintf(text, sizeof text, "grpc: received message larger than max (%zu vs. %u)",
                 announced, c->conn->server->options.max_receive_bytes);
        break_call(c, GRPC_RESOURCE_EXHAUSTED, text);
    } else {
        break_call(c, GRPC_INTERNAL, "grpc: compressed flag set with identity or empty encoding");
    }
}

static int on_data_chunk(nghttp2_session *session, uint8_t flags, int32_t stream_id,
                         const uint8_t *data, size_t len, void *user)
{
    (void)flags;
    (void)user;
    struct grpc_call *c = call_of(session, stream_id);
    size_t whole = len;
    if (!c) {
        nghttp2_session_consume(session, stream_id, whole);
        return 0;
    }
    struct grpc_server *s = c->conn->server;
    if (atomic_load(&s->unread) + len > s->options.max_unread_bytes && !c->stream.in_broken)
        break_call(c, GRPC_RESOURCE_EXHAUSTED, "too many bytes of requests wait in this server");
    while (len && !c->stream.in_broken && !(c->dispatched && c->method->rpc.shape != GRPC_BIDI)) {
        struct rt_buf *message;
        size_t announced = 0;
        enum stream_fed fed = stream_feed(&c->stream, &data, &len, s->options.max_receive_bytes,
                                          &message, &announced);
        if (fed == STREAM_MESSAGE)
            take_message(c, message);
        else if (fed != STREAM_FED)
            break_by_framing(c, fed, announced);
    }
    account(c);
    stream_received(&c->stream, whole);
    return 0;
}

static void input_ended(struct grpc_call *c)
{
    c->remote_ended = true;
    if (c->stream.in_broken || c->finished)
        return;
    if (stream_mid_message(&c->stream)) {
        break_call(c, GRPC_INTERNAL, "the request ends in the middle of a message");
        return;
    }
    if (c->method->rpc.shape == GRPC_BIDI)
        stream_deliver_end(&c->stream);
    else if (!c->dispatched)
        break_call(c, GRPC_INTERNAL, "the request has no message");
}

/* ---- Other frames ---- */

enum { PING_STRIKES = 2 };

/* As grpc-go: forgiven is who pings after we sent something; else it is too fast, or needless. */
static void police_ping(struct server_conn *conn)
{
    const struct grpc_server_options *o = &conn->server->options;
    int64_t now = conn->h2.last_input_ns;
    if (conn->h2.sent_since_ping) {
        conn->h2.sent_since_ping = false;
        conn->ping_strikes = 0;
        conn->their_ping_ns = now;
        return;
    }
    int64_t least = conn->call_count ? o->ping_min_ns : o->ping_interval_ns;
    if (conn->their_ping_ns && conn->their_ping_ns + least > now)
        conn->ping_strikes++;
    conn->their_ping_ns = now;
    if (conn->ping_strikes > PING_STRIKES)
        http2_end(&conn->h2, NGHTTP2_ENHANCE_YOUR_CALM, "too_many_pings");
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct server_conn *conn = conn_of(user);
    struct grpc_call *c = NULL;
    switch (frame->hd.type) {
    case NGHTTP2_HEADERS:
        conn->header_began_ns = 0;
        c = call_of(session, frame->hd.stream_id);
        if (c && frame->headers.cat == NGHTTP2_HCAT_REQUEST)
            headers_are_whole(c);
        break;
    case NGHTTP2_DATA:
        c = call_of(session, frame->hd.stream_id);
        break;
    case NGHTTP2_SETTINGS:
        conn->got_settings = true;
        return 0;
    case NGHTTP2_PING:
        if (frame->hd.flags & NGHTTP2_FLAG_ACK)
            conn->our_ping_ns = 0;
        else
            police_ping(conn);
        return 0;
    }
    if (c && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
        input_ended(c);
    return 0;
}

/* Our side of a stream has ended: tell a client that still sends to stop. */
static int on_frame_sent(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    (void)user;
    if (frame->hd.type != NGHTTP2_HEADERS || !(frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
        return 0;
    const struct grpc_call *c = call_of(session, frame->hd.stream_id);
    if (c && !c->remote_ended)
        nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame->hd.stream_id,
                                  NGHTTP2_NO_ERROR);
    return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t stream_id, uint32_t code, void *user)
{
    (void)code;
    (void)user;
    struct grpc_call *c = call_of(session, stream_id);
    if (!c)
        return 0;
    c->closed = true;
    note_cancelled(c);
    if (!c->dispatched)
        c->finished = true;
    free_if_over(c);
    return 0;
}

static int on_invalid_frame(nghttp2_session *session, const nghttp2_frame *frame, int code,
                            void *user)
{
    (void)session;
    (void)frame;
    (void)code;
    conn_of(user)->bad_streams++;
    conn_of(user)->header_began_ns = 0;
    return 0;
}

nghttp2_session_callbacks *grpc_serve_callbacks(void)
{
    nghttp2_session_callbacks *cb;
    if (nghttp2_session_callbacks_new(&cb))
        rt_fatal("out of memory for nghttp2's callbacks");
    http2_set_callbacks(cb);
    nghttp2_session_callbacks_set_on_begin_headers_callback(cb, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data_chunk);
    nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame);
    nghttp2_session_callbacks_set_on_frame_send_callback(cb, on_frame_sent);
    nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_stream_close);
    nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(cb, on_invalid_frame);
    return cb;
}

/* ---- The role ---- */

static void take_mail(struct http2 *h, struct http2_mail *mail)
{
    (void)h;
    struct grpc_call *c = (struct grpc_call *)mail->stream;
    switch (mail->kind) {
    case HTTP2_MAIL_MESSAGE: // before DONE, so the call is not finished
        stream_queue(&c->stream, (struct stream_message *)mail);
        if (!c->response_started && !c->closed)
            grpc_call_submit_headers(c);
        break;
    case HTTP2_MAIL_CREDIT:
        account(c);
        stream_take_credit(&c->stream);
        break;
    case HTTP2_MAIL_DONE:
        grpc_call_answer(c, "200");
        free_if_over(c);
        break;
    default:
        assert(!"a mail that servers never get");
    }
}

static void start_call(struct grpc_call *c)
{
    if (c->closed || c->overrule_text) { // nobody waits any more, or it was broken meanwhile
        rt_nopreempt_begin();
        grpc_call_answer(c, "200");
        free_if_over(c);
        rt_nopreempt_end();
        return;
    }
    if (c->method->rpc.run_inline) {
        if (grpc_call_serve(c) == GRPC_DONE) {
            rt_nopreempt_begin();
            grpc_call_answer(c, "200");
            free_if_over(c);
            rt_nopreempt_end();
        }
        return;
    }
    if (rt_go("grpc-call", grpc_call_run, c) == 0)
        return;
    rt_nopreempt_begin();
    grpc_call_overrule(c, GRPC_RESOURCE_EXHAUSTED, "this server runs too many goroutines");
    grpc_call_answer(c, "200");
    free_if_over(c);
    rt_nopreempt_end();
}

static void after_input(struct http2 *h)
{
    struct server_conn *conn = (struct server_conn *)h;
    while (conn->ready_first) {
        struct grpc_call *c = conn->ready_first;
        conn->ready_first = c->next_ready;
        if (!conn->ready_first)
            conn->ready_last = NULL;
        c->in_ready = false;
        start_call(c);
    }
    while (conn->cancelled) {
        struct grpc_call *c = conn->cancelled;
        conn->cancelled = c->next_cancelled;
        c->in_cancelled = false;
        if (!c->finished)
            grpc_call_cancel(c, -ECANCELED);
        free_if_over(c);
    }
}

static void drain(struct server_conn *conn)
{
    conn->drain_sent = true;
    rt_nopreempt_begin();
    nghttp2_submit_goaway(conn->h2.session, NGHTTP2_FLAG_NONE,
                          nghttp2_session_get_last_proc_stream_id(conn->h2.session),
                          NGHTTP2_NO_ERROR, NULL, 0);
    rt_nopreempt_end();
    for (struct grpc_call *c = conn->calls; c; c = c->next)
        if (c->dispatched && !c->finished && c->method->rpc.shape != GRPC_UNARY)
            grpc_call_cancel(c, -ESHUTDOWN);
}

static int64_t earlier(int64_t a, int64_t b) { return a < b ? a : b; }

/* Ping who was silent for long; hang up on who does not answer. Returns when to look again. */
static int64_t keep_alive(struct server_conn *conn, int64_t now_ns)
{
    const struct grpc_server_options *o = &conn->server->options;
    int64_t due_ns;
    if (conn->our_ping_ns) {
        due_ns = conn->our_ping_ns + o->ping_timeout_ns;
        if (now_ns >= due_ns)
            conn->h2.ended = true;
        return due_ns;
    }
    due_ns = conn->h2.last_input_ns + o->ping_interval_ns;
    if (now_ns < due_ns)
        return due_ns;
    conn->our_ping_ns = now_ns;
    rt_nopreempt_begin();
    nghttp2_submit_ping(conn->h2.session, NGHTTP2_FLAG_NONE, NULL);
    rt_nopreempt_end();
    return now_ns + o->ping_timeout_ns;
}

static int64_t tick(struct http2 *h, int64_t now_ns)
{
    struct server_conn *conn = (struct server_conn *)h;
    if (atomic_load(&conn->server->draining) && !conn->drain_sent)
        drain(conn);
    if (conn->bad_streams > HTTP2_BAD_STREAMS)
        http2_end(h, NGHTTP2_ENHANCE_YOUR_CALM, "too many bad requests");
    int64_t deadline_ns = keep_alive(conn, now_ns);
    if (!conn->got_settings)
        deadline_ns = earlier(deadline_ns, conn->started_ns + conn->server->options.handshake_ns);
    if (conn->header_began_ns)
        deadline_ns =
            earlier(deadline_ns, conn->header_began_ns + conn->server->options.handshake_ns);
    if (now_ns >= deadline_ns)
        h->ended = true;
    return deadline_ns;
}

static const struct http2_role server_role = {take_mail, after_input, tick};

/* ---- A connection from first to last ---- */

static int make_session(struct server_conn *conn)
{
    static const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, UINT32_MAX}, // what clients of etcd expect
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, HTTP2_STREAM_WINDOW_BYTES},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, HTTP2_HEADER_LIST_BYTES},
    };
    rt_nopreempt_begin();
    int err = nghttp2_session_server_new2(&conn->h2.session, conn->server->callbacks, conn,
                                          conn->server->option);
    if (!err)
        err = nghttp2_submit_settings(conn->h2.session, NGHTTP2_FLAG_NONE, settings,
                                      sizeof settings / sizeof settings[0]);
    if (!err)
        err = nghttp2_session_set_local_window_size(conn->h2.session, NGHTTP2_FLAG_NONE, 0,
                                                    HTTP2_CONN_WINDOW_BYTES);
    rt_nopreempt_end();
    return err;
}

/* The socket is gone: tell every method, and wait for the last to end. */
static void end_calls(struct server_conn *conn)
{
    struct grpc_call *next;
    for (struct grpc_call *c = conn->calls; c; c = next) {
        next = c->next;
        c->closed = true;
        if (!c->dispatched)
            c->finished = true;
        note_cancelled(c);
        free_if_over(c);
    }
    after_input(&conn->h2);
    while (conn->calls) {
        struct rt_mail *mail = rt_mailbox_take(&conn->h2.box, RT_FOREVER);
        rt_nopreempt_begin();
        while (mail) {
            struct rt_mail *after = mail->next;
            take_mail(&conn->h2, (struct http2_mail *)mail);
            mail = after;
        }
        rt_nopreempt_end();
    }
}

void grpc_serve_http2(struct grpc_server *s, struct transport *t, const uint8_t *first, size_t len)
{
    struct server_conn *conn = rt_alloc_zero(sizeof *conn);
    http2_init(&conn->h2, t, &server_role);
    conn->server = s;
    conn->started_ns = rt_now_ns();
    gauge_add(s->open_conns, 1);
    if (make_session(conn) == 0) {
        http2_run(&conn->h2, first, len);
        rt_conn_close(t->conn);
        end_calls(conn);
    }
    gauge_add(s->open_conns, -1);
    http2_deinit(&conn->h2);
    rt_free(conn);
}
