/* tests/runtime/test_torture_http2.h: nghttp2. A client's and a server's session, each with a goroutine,
 * exchange bytes over channels. The library calls back into our text, so each of its calls is fenced
 * against preemption (mem_send and mem_recv: session_recv has a frame as big as a guard). */
#pragma once
#include "tests/runtime/test_torture.h"
#include <errno.h>
#include <nghttp2/nghttp2.h>
#include <rt/chan.h>

enum { H2_STREAMS = 3, H2_BODY_MAX = 9000, H2_ROUNDS = 200 };

struct h2_stream {
    int32_t id;
    uint8_t *out, *in; // H2_BODY_MAX bytes each
    size_t out_len, out_at, in_len;
    bool ended; // the other side has sent everything
    char length_said[16];
};

struct h2_side {
    nghttp2_session *session;
    struct rt_chan *to, *from; // of struct rt_buf *
    struct h2_stream streams[H2_STREAMS];
    bool server;
    const char *failed;
};

struct h2_pair {
    struct h2_side client, server;
    struct helpers helpers;
    int rounds;
};

/* The stream with this id; a new one takes a free place when `make`. NULL for the connection's own
 * frames (id 0), too. */
static struct h2_stream *h2_find(struct h2_side *s, int32_t id, bool make)
{
    for (int i = 0; i < H2_STREAMS; i++)
        if (id != 0 && s->streams[i].id == id)
            return &s->streams[i];
    for (int i = 0; make && i < H2_STREAMS; i++) {
        struct h2_stream *st = &s->streams[i];
        if (st->id != 0)
            continue;
        uint8_t *out = st->out, *in = st->in;
        *st = (struct h2_stream){.id = id, .out = out, .in = in};
        return st;
    }
    return NULL;
}

static ssize_t h2_read_body(nghttp2_session *session, int32_t id, uint8_t *buf, size_t cap,
                            uint32_t *flags, nghttp2_data_source *source, void *user)
{
    (void)session;
    (void)id;
    (void)user;
    struct h2_stream *st = source->ptr;
    size_t left = st->out_len - st->out_at, n = left < cap ? left : cap;
    memcpy(buf, st->out + st->out_at, n);
    st->out_at += n;
    if (st->out_at == st->out_len)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)n;
}

static nghttp2_nv h2_field(const char *name, const char *value)
{
    return (nghttp2_nv){(uint8_t *)name, (uint8_t *)value, strlen(name), strlen(value), 0};
}

/* The server answers with the body turned round. */
static int h2_answer(struct h2_side *s, struct h2_stream *st)
{
    for (size_t i = 0; i < st->in_len; i++)
        st->out[i] = turned(st->in[st->in_len - 1 - i]);
    st->out_len = st->in_len;
    snprintf(st->length_said, sizeof(st->length_said), "%zu", st->out_len);
    nghttp2_nv fields[] = {h2_field(":status", "200"), h2_field("x-length", st->length_said)};
    nghttp2_data_provider body = {{.ptr = st}, h2_read_body};
    return nghttp2_submit_response(s->session, st->id, fields, 2, &body);
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    (void)session;
    struct h2_side *s = user;
    struct h2_stream *st = h2_find(s, frame->hd.stream_id, false);
    if (!st || !(frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
        return 0;
    st->ended = true;
    return s->server ? h2_answer(s, st) : 0;
}

static int on_begin(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    (void)session;
    struct h2_side *s = user;
    if (s->server && !h2_find(s, frame->hd.stream_id, true))
        s->failed = "too many streams";
    return 0;
}

static int on_chunk(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data,
                    size_t len, void *user)
{
    (void)session;
    (void)flags;
    struct h2_side *s = user;
    struct h2_stream *st = h2_find(s, id, false);
    if (!st || st->in_len + len > H2_BODY_MAX) {
        s->failed = "more bytes than were sent";
        return 0;
    }
    memcpy(st->in + st->in_len, data, len);
    st->in_len += len;
    return 0;
}

static int on_close(nghttp2_session *session, int32_t id, uint32_t error, void *user)
{
    (void)session;
    struct h2_side *s = user;
    struct h2_stream *st = h2_find(s, id, false);
    if (error)
        s->failed = "a stream was reset";
    if (st && s->server)
        st->id = 0;
    return 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
                     void *user)
{
    (void)session;
    (void)flags;
    struct h2_side *s = user;
    struct h2_stream *st = h2_find(s, frame->hd.stream_id, false);
    if (st && !s->server && name_len == 8 && memcmp(name, "x-length", 8) == 0 &&
        value_len < sizeof(st->length_said)) {
        memcpy(st->length_said, value, value_len);
        st->length_said[value_len] = '\0';
    }
    return 0;
}

static void h2_side_init(struct h2_side *s, bool server, struct rt_chan *to, struct rt_chan *from)
{
    nghttp2_session_callbacks *cb;
    nghttp2_session_callbacks_new(&cb);
    nghttp2_session_callbacks_set_on_begin_headers_callback(cb, on_begin);
    nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_chunk);
    nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_close);
    nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
    *s = (struct h2_side){.server = server, .to = to, .from = from};
    if (server)
        nghttp2_session_server_new(&s->session, cb, s);
    else
        nghttp2_session_client_new(&s->session, cb, s);
    nghttp2_session_callbacks_del(cb);
    nghttp2_submit_settings(s->session, NGHTTP2_FLAG_NONE, NULL, 0);
    for (int i = 0; i < H2_STREAMS; i++) {
        s->streams[i].out = rt_alloc(H2_BODY_MAX);
        s->streams[i].in = rt_alloc(H2_BODY_MAX);
    }
}

static void h2_side_deinit(struct h2_side *s)
{
    nghttp2_session_del(s->session);
    for (int i = 0; i < H2_STREAMS; i++) {
        rt_free(s->streams[i].out);
        rt_free(s->streams[i].in);
    }
}

/* Everything the session has to say goes to the other side. */
static bool h2_send(struct h2_side *s)
{
    for (;;) {
        const uint8_t *data;
        rt_nopreempt_begin();
        ssize_t n = nghttp2_session_mem_send(s->session, &data);
        rt_nopreempt_end();
        if (n <= 0)
            return n == 0;
        struct rt_buf *buf = rt_buf_copy(data, (size_t)n);
        if (rt_chan_send(s->to, &buf, TORTURE_LATE) != 0) {
            rt_buf_unref(buf);
            return false;
        }
    }
}

/* What has come is eaten; waits for something. False at the end. */
static bool h2_recv(struct h2_side *s)
{
    struct rt_buf *buf;
    if (rt_chan_recv(s->from, &buf, TORTURE_LATE) != 0)
        return false;
    rt_nopreempt_begin();
    ssize_t n = nghttp2_session_mem_recv(s->session, buf->data, buf->len);
    rt_nopreempt_end();
    bool all = n == (ssize_t)buf->len;
    rt_buf_unref(buf);
    if (!all)
        s->failed = "a session refuses bytes";
    return all;
}

static void h2_serve(void *arg)
{
    struct h2_side *s = arg;
    while (h2_send(s) && h2_recv(s))
        ;
}

static void h2_pair_free(struct h2_pair *p)
{
    rt_chan_close(p->client.to);
    rt_chan_close(p->client.from); // after a failure the server may still want to send
    if (!helpers_wait(&p->helpers))
        rt_fatal("an HTTP/2 server does not end");
    struct rt_buf *buf;
    while (rt_chan_recv(p->client.from, &buf, 0) == 0)
        rt_buf_unref(buf);
    rt_chan_free(p->client.to);
    rt_chan_free(p->client.from);
    h2_side_deinit(&p->client);
    h2_side_deinit(&p->server);
    rt_free(p);
}

static struct h2_pair *h2_pair_new(void)
{
    struct h2_pair *p = rt_alloc_zero(sizeof(*p));
    struct rt_chan *up = rt_chan_new(sizeof(struct rt_buf *), 64);
    struct rt_chan *down = rt_chan_new(sizeof(struct rt_buf *), 64);
    h2_side_init(&p->client, false, up, down);
    h2_side_init(&p->server, true, down, up);
    if (!helper_start(&p->helpers, h2_serve, &p->server))
        rt_fatal("too many goroutines");
    return p;
}

static bool h2_submit(struct tortured *t, struct h2_side *s, struct h2_stream *st)
{
    uint8_t *out = st->out, *in = st->in;
    *st = (struct h2_stream){.out = out, .in = in, .out_len = draw_below(t, H2_BODY_MAX - 1) + 1};
    pattern_fill(out, st->out_len, draw(t));
    nghttp2_nv fields[] = {h2_field(":method", "POST"), h2_field(":scheme", "http"),
                           h2_field(":path", "/torture"), h2_field(":authority", "storm")};
    nghttp2_data_provider body = {{.ptr = st}, h2_read_body};
    rt_nopreempt_begin();
    st->id = nghttp2_submit_request(s->session, NULL, fields, 4, &body, NULL);
    rt_nopreempt_end();
    return st->id > 0;
}

static bool h2_answer_is_right(const struct h2_stream *st)
{
    char length[16];
    snprintf(length, sizeof(length), "%zu", st->out_len);
    if (st->in_len != st->out_len || strcmp(length, st->length_said) != 0)
        return false;
    for (size_t i = 0; i < st->in_len; i++)
        if (turned(st->in[i]) != st->out[st->out_len - 1 - i])
            return false;
    return true;
}

static bool h2_round(struct tortured *t)
{
    struct h2_pair *p = t->own;
    if (p && p->rounds++ == H2_ROUNDS) {
        h2_pair_free(p);
        p = NULL;
    }
    t->own = p = p ? p : h2_pair_new();
    struct h2_side *s = &p->client;
    for (int i = 0; i < H2_STREAMS; i++)
        if (!h2_submit(t, s, &s->streams[i]))
            return torture_wrong(t, "HTTP/2: a request is refused");
    for (int open = H2_STREAMS; open > 0;) {
        if (!h2_send(s) || !h2_recv(s) || s->failed || p->server.failed)
            return torture_wrong(t, "HTTP/2: %s",
                                 s->failed          ? s->failed
                                 : p->server.failed ? p->server.failed
                                                    : "the session ended");
        stroll(t);
        open = 0;
        for (int i = 0; i < H2_STREAMS; i++)
            open += !s->streams[i].ended;
    }
    for (int i = 0; i < H2_STREAMS; i++)
        if (!h2_answer_is_right(&s->streams[i]))
            return torture_wrong(t, "HTTP/2: an answer of %zu bytes to %zu is wrong",
                                 s->streams[i].in_len, s->streams[i].out_len);
    return true;
}

static void h2_leave(struct tortured *t)
{
    if (t->own)
        h2_pair_free(t->own);
}

static const struct work http2_works[] = {{"nghttp2", 3, NULL, h2_round, h2_leave, NULL}};
