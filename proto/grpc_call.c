/* proto/grpc_call.c: one call as its method sees it. */
#include "proto/grpc_server.h"
#include <assert.h>
#include <errno.h>
#include <rt/go.h>

struct grpc_call *grpc_call_new(struct server_conn *conn, int32_t stream_id)
{
    struct grpc_call *c = rt_alloc_zero(sizeof *c);
    stream_init(&c->stream, &conn->h2);
    c->stream.id = stream_id;
    c->conn = conn;
    c->deadline_ns = RT_FOREVER;
    c->done = (struct http2_mail){.kind = HTTP2_MAIL_DONE, .stream = &c->stream};
    return c;
}

void grpc_call_free(struct grpc_call *c)
{
    stream_deinit(&c->stream);
    if (c->reply)
        stream_message_free(c->reply);
    rt_buf_unref(c->request);
    rt_string_deinit(&c->meta);
    rt_free(c->text);
    rt_free(c->overrule_text);
    rt_free(c);
}

static const char *meta_text(const struct grpc_call *c, uint32_t at)
{
    return at ? (const char *)c->meta.data + at : NULL;
}

uint32_t grpc_call_tag(const struct grpc_call *c) { return c->method->rpc.tag; }

const struct grpc_method *grpc_call_method(const struct grpc_call *c) { return &c->method->rpc; }

const char *grpc_call_remote(const struct grpc_call *c)
{
    return rt_conn_remote(c->stream.h2->transport->conn);
}

int64_t grpc_call_deadline_ns(const struct grpc_call *c) { return c->deadline_ns; }

int64_t grpc_call_received_ns(const struct grpc_call *c) { return c->received_ns; }

const char *grpc_call_token(const struct grpc_call *c)
{
    return meta_text(c, c->token_at ? c->token_at : c->authorization_at);
}

bool grpc_call_needs_leader(const struct grpc_call *c) { return c->needs_leader; }

const char *grpc_call_client_version(const struct grpc_call *c)
{
    return meta_text(c, c->version_at);
}

struct rt_buf *grpc_call_request(const struct grpc_call *c) { return c->request; }

static bool deadline_is_past(int64_t deadline_ns)
{
    return deadline_ns != RT_FOREVER && rt_now_ns() >= deadline_ns;
}

int grpc_call_err(const struct grpc_call *c)
{
    int err = atomic_load(&c->stream.err);
    if (!err && deadline_is_past(c->deadline_ns))
        err = -ETIMEDOUT;
    return err;
}

void grpc_call_on_cancel(struct grpc_call *c, void (*hook)(void *arg), void *arg)
{
    rt_mutex_lock(&c->hook_lock);
    c->hook = hook;
    c->hook_arg = arg;
    if (hook && atomic_load(&c->stream.err)) {
        c->hook = NULL; // once
        hook(arg);
    }
    rt_mutex_unlock(&c->hook_lock);
}

void grpc_call_cancel(struct grpc_call *c, int err)
{
    rt_mutex_lock(&c->hook_lock);
    stream_abort(&c->stream, err);
    void (*hook)(void *) = c->hook;
    c->hook = NULL;
    if (hook)
        hook(c->hook_arg);
    rt_mutex_unlock(&c->hook_lock);
}

/* ---- The answer ---- */

static void count(struct rt_counter *counter, int64_t n)
{
    if (counter)
        rt_counter_add(counter, n);
}

void grpc_reply(struct grpc_call *c, const struct grpc_part *parts, uint32_t count_of_parts)
{
    assert(!c->answered);
    assert(c->method->rpc.shape == GRPC_UNARY);
    c->answered = true;
    c->reply = stream_message_new(&c->stream, parts, count_of_parts);
    count(c->method->sent, 1);
    count(c->conn->server->sent_bytes, (int64_t)c->reply->len - 5);
}

void grpc_fail(struct grpc_call *c, enum grpc_code code, const char *text)
{
    assert(!c->answered);
    assert(code != GRPC_OK);
    assert((unsigned)code < GRPC_CODES);
    c->answered = true;
    c->code = code;
    c->text = rt_strdup(text);
}

void grpc_call_overrule(struct grpc_call *c, enum grpc_code code, const char *text)
{
    if (c->overrule_text)
        return;
    c->overrule_code = code;
    c->overrule_text = rt_strdup(text);
}

void grpc_finish(struct grpc_call *c)
{
    assert(c->answered || c->method->rpc.shape != GRPC_UNARY);
    http2_post(c->stream.h2, &c->done); // the last touch
}

enum grpc_done grpc_call_serve(struct grpc_call *c)
{
    enum grpc_done done =
        c->method->rpc.serve(c->conn->server->options.ctx, c, rt_buf_bytes(c->request));
    assert(done == GRPC_DONE || c->method->rpc.shape == GRPC_UNARY);
    assert(done == GRPC_LATER || c->answered || c->method->rpc.shape != GRPC_UNARY);
    return done;
}

void grpc_call_run(void *call)
{
    if (grpc_call_serve(call) == GRPC_DONE)
        grpc_finish(call);
}

/* ---- Streams ---- */

static int64_t earlier(int64_t a, int64_t b) { return a < b ? a : b; }

int grpc_recv(struct grpc_call *c, struct rt_buf **message_out, int64_t deadline_ns)
{
    int err = grpc_call_err(c);
    if (err)
        return err;
    int got = stream_recv(&c->stream, message_out, earlier(deadline_ns, c->deadline_ns));
    if (got == 1) {
        count(c->method->received, 1);
        count(c->conn->server->received_bytes, (int64_t)(*message_out)->len);
    }
    if (got >= 0)
        return got;
    err = grpc_call_err(c);
    return err ? err : got;
}

int grpc_wait_wake(struct grpc_call *c, int64_t deadline_ns)
{
    int err = grpc_call_err(c);
    if (err)
        return err;
    err = stream_wait(&c->stream, earlier(deadline_ns, c->deadline_ns));
    int ended = grpc_call_err(c);
    return ended ? ended : err;
}

void grpc_call_wake(struct grpc_call *c) { rt_mailbox_wake(&c->stream.inbox); }

int grpc_send(struct grpc_call *c, const struct grpc_part *parts, uint32_t count_of_parts,
              int64_t deadline_ns)
{
    size_t len = 0;
    for (uint32_t i = 0; i < count_of_parts; i++)
        len += parts[i].bytes.len;
    int err = stream_send(&c->stream, parts, count_of_parts, earlier(deadline_ns, c->deadline_ns));
    if (err)
        return err;
    count(c->method->sent, 1);
    count(c->conn->server->sent_bytes, (int64_t)len);
    return 0;
}

size_t grpc_send_queued(const struct grpc_call *c) { return atomic_load(&c->stream.unsent); }
