/* proto/grpc_client_call.c: calls and streams as their callers see them. */
#include "proto/grpc_client.h"
#include "proto/grpc_text.h"
#include <assert.h>
#include <errno.h>
#include <stdio.h>

struct header_list {
    nghttp2_nv *nv;
    size_t count;
    uint8_t *text; // where the next goes
};

static uint8_t *put_text(struct header_list *l, const char *text, size_t len)
{
    uint8_t *at = l->text;
    memcpy(at, text, len);
    l->text += len;
    return at;
}

static void put_header(struct header_list *l, const char *name, const char *value)
{
    size_t name_len = strlen(name), value_len = strlen(value);
    l->nv[l->count++] = (nghttp2_nv){put_text(l, name, name_len), put_text(l, value, value_len),
                                     name_len, value_len, NGHTTP2_NV_FLAG_NONE};
}

enum { FIXED_HEADERS = 8, FIXED_HEADER_BYTES = 256 };

/* The request's headers in one allocation, nv first. */
static void make_headers(struct grpc_stream *s, const char *path,
                         const struct grpc_metadata *metadata, uint32_t count)
{
    const struct grpc_client *c = s->client;
    size_t total = FIXED_HEADERS + count + c->options.metadata_count;
    size_t bytes = FIXED_HEADER_BYTES + strlen(path) + strlen(c->address);
    for (uint32_t i = 0; i < count; i++)
        bytes += strlen(metadata[i].name) + strlen(metadata[i].value);
    for (uint32_t i = 0; i < c->options.metadata_count; i++)
        bytes += strlen(c->metadata[i].name) + strlen(c->metadata[i].value);
    struct header_list l = {.nv = rt_alloc(total * sizeof(nghttp2_nv) + bytes)};
    l.text = (uint8_t *)(l.nv + total);
    put_header(&l, ":method", "POST");
    put_header(&l, ":scheme", "http");
    put_header(&l, ":path", path);
    put_header(&l, ":authority", strncmp(c->address, "unix:", 5) ? c->address : "localhost");
    put_header(&l, "te", "trailers");
    put_header(&l, "content-type", "application/grpc");
    put_header(&l, "user-agent", "kvd/" KVD_VERSION);
    if (s->deadline_ns != RT_FOREVER) {
        char timeout[GRPC_TIMEOUT_TEXT_MAX];
        grpc_timeout_format(s->deadline_ns - rt_now_ns(), timeout);
        put_header(&l, "grpc-timeout", timeout);
    }
    for (uint32_t i = 0; i < c->options.metadata_count; i++)
        put_header(&l, c->metadata[i].name, c->metadata[i].value);
    for (uint32_t i = 0; i < count; i++)
        put_header(&l, metadata[i].name, metadata[i].value);
    assert(l.count <= total);
    assert((size_t)(l.text - (uint8_t *)(l.nv + total)) <= bytes);
    s->headers = l.nv;
    s->header_count = l.count;
}

static struct grpc_stream *new_stream(struct grpc_client *c, const char *path,
                                      const struct grpc_metadata *metadata, uint32_t count,
                                      int64_t deadline_ns)
{
    struct grpc_stream *s = rt_alloc_zero(sizeof *s);
    stream_init(&s->stream, &c->h2);
    s->client = c;
    s->deadline_ns = deadline_ns;
    s->open = (struct http2_mail){.kind = HTTP2_MAIL_OPEN, .stream = &s->stream};
    s->half_close = (struct http2_mail){.kind = HTTP2_MAIL_DONE, .stream = &s->stream};
    s->close = (struct http2_mail){.kind = HTTP2_MAIL_CLOSE, .stream = &s->stream};
    make_headers(s, path, metadata, count);
    return s;
}

static void say_deadline(struct grpc_status *status)
{
    status->code = GRPC_DEADLINE_EXCEEDED;
    snprintf(status->text, sizeof status->text, "context deadline exceeded");
}

static void count_sent(struct grpc_client *c, size_t bytes)
{
    if (c->sent_bytes)
        rt_counter_add(c->sent_bytes, (int64_t)bytes);
}

int grpc_client_call(struct grpc_client *c, const char *path, struct rt_bytes request,
                     const struct grpc_metadata *metadata, uint32_t metadata_count,
                     int64_t deadline_ns, struct rt_buf **response_out, struct grpc_status *status)
{
    struct grpc_stream *s = new_stream(c, path, metadata, metadata_count, deadline_ns);
    s->first = stream_message_new(&s->stream, &(struct grpc_part){request, NULL}, 1);
    count_sent(c, request.len);
    http2_post(&c->h2, &s->open);
    struct rt_buf *answer = NULL;
    int got;
    do {
        struct rt_buf *message;
        got = stream_recv(&s->stream, &message, deadline_ns);
        if (got == 1) {
            rt_buf_unref(answer); // a second one breaks the protocol; the last one stands
            answer = message;
        }
    } while (got == 1 || got == -EAGAIN);
    if (got == 0)
        *status = s->status;
    else
        say_deadline(status);
    http2_post(&c->h2, &s->close); // s may be gone
    if (status->code == GRPC_OK && !answer) {
        status->code = GRPC_INTERNAL;
        snprintf(status->text, sizeof status->text, "the answer has no message");
    }
    if (status->code == GRPC_OK)
        *response_out = answer;
    else
        rt_buf_unref(answer);
    return (int)status->code;
}

int grpc_stream_open(struct grpc_client *c, const char *path, const struct grpc_metadata *metadata,
                     uint32_t metadata_count, int64_t deadline_ns, struct grpc_stream **out,
                     struct grpc_status *status)
{
    if (!grpc_client_is_alive(c)) {
        status->code = GRPC_UNAVAILABLE;
        grpc_client_lost_text(c, status->text, sizeof status->text);
        return (int)status->code;
    }
    struct grpc_stream *s = new_stream(c, path, metadata, metadata_count, deadline_ns);
    http2_post(&c->h2, &s->open);
    *out = s;
    return 0;
}

static int64_t earlier(int64_t a, int64_t b) { return a < b ? a : b; }

int grpc_stream_send(struct grpc_stream *s, const struct grpc_part *parts, uint32_t count,
                     int64_t deadline_ns)
{
    size_t len = 0;
    if (s->half_closed) {
        for (uint32_t i = 0; i < count; i++)
            rt_buf_unref(parts[i].owner);
        return -EPIPE;
    }
    for (uint32_t i = 0; i < count; i++)
        len += parts[i].bytes.len;
    int err = stream_send(&s->stream, parts, count, earlier(deadline_ns, s->deadline_ns));
    if (!err)
        count_sent(s->client, len);
    return err;
}

int grpc_stream_recv(struct grpc_stream *s, struct rt_buf **message_out, int64_t deadline_ns)
{
    if (s->timed_out)
        return 0;
    int got = stream_recv(&s->stream, message_out, earlier(deadline_ns, s->deadline_ns));
    if (got != -ETIMEDOUT || rt_now_ns() < s->deadline_ns)
        return got;
    s->timed_out = true;
    say_deadline(&s->own_status);
    return 0;
}

void grpc_stream_wake(struct grpc_stream *s) { rt_mailbox_wake(&s->stream.inbox); }

void grpc_stream_half_close(struct grpc_stream *s)
{
    if (s->half_closed)
        return;
    s->half_closed = true;
    http2_post(&s->client->h2, &s->half_close);
}

const struct grpc_status *grpc_stream_status(const struct grpc_stream *s)
{
    return s->timed_out ? &s->own_status : &s->status;
}

void grpc_stream_close(struct grpc_stream *s) { http2_post(&s->client->h2, &s->close); }
