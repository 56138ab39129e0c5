/* tests/proto/grpc_fixture.h: a server with small methods on loopback, and a client to it. */
#pragma once
#include "proto/grpc.h"
#include "proto/http1.h"
#include "tests/support/rt_test.h"
#include <errno.h>
#include <rt/sync.h>
#include <stdatomic.h>

enum {
    TAG_ECHO,
    TAG_INLINE,
    TAG_FAIL,
    TAG_PARK,
    TAG_COUNT,
    TAG_CHAT,
    TAG_BIG,
    TAG_LATER,
    TAG_MUTE,
    TAG_META
};

struct fixture {
    struct grpc_server *server;
    struct rt_listener *listener;
    struct rt_metrics *metrics;
    struct rt_waitgroup accepting;
    const char *address;
    int64_t drain_ns;      // how long fixture_stop waits before it cuts; 0: 5 s
    _Atomic int parked;    // calls inside TAG_PARK
    _Atomic int cancelled; // of them, ended by cancel
    _Atomic int timed_out;
    _Atomic int shut_down;
    _Atomic int chats_ended;
    _Atomic uint64_t sent; // messages of TAG_BIG that grpc_send took
};

void fixture_start(struct fixture *f, const struct grpc_server_options *changes);
void fixture_stop(struct fixture *f);
struct grpc_client *fixture_dial(struct fixture *f);

/* Spin politely until *value is at least `want` (bounded: the whole test has a limit). */
static inline void wait_for(_Atomic int *value, int want)
{
    while (atomic_load(value) < want)
        rt_sleep_ns(RT_MS);
}

/* ---- The methods (one file a test program, so they live here) ---- */

static inline void fixture_note_set(void *note) { rt_note_set(note); }

static enum grpc_done fixture_park(struct fixture *f, struct grpc_call *call)
{
    struct rt_note ended = {0};
    atomic_fetch_add(&f->parked, 1);
    grpc_call_on_cancel(call, fixture_note_set, &ended);
    int err = rt_note_wait(&ended, grpc_call_deadline_ns(call));
    grpc_call_on_cancel(call, NULL, NULL);
    if (err == -ETIMEDOUT) {
        atomic_fetch_add(&f->timed_out, 1);
        grpc_fail(call, GRPC_DEADLINE_EXCEEDED, "context deadline exceeded");
    } else {
        atomic_fetch_add(&f->cancelled, 1);
        grpc_fail(call, GRPC_CANCELLED, "context canceled");
    }
    return GRPC_DONE;
}

/* Answers each message with itself, and a wake-up nobody asked for with nothing. */
static enum grpc_done fixture_chat(struct fixture *f, struct grpc_call *call)
{
    for (;;) {
        struct rt_buf *message;
        int got = grpc_recv(call, &message, RT_FOREVER);
        if (got == -EAGAIN)
            continue;
        if (got == 1) {
            struct grpc_part part = {rt_buf_bytes(message), message};
            if (grpc_send(call, &part, 1, RT_FOREVER) == 0)
                continue;
            got = grpc_call_err(call);
        }
        if (got == -ESHUTDOWN) {
            atomic_fetch_add(&f->shut_down, 1);
            grpc_fail(call, GRPC_UNAVAILABLE, "etcdserver: server stopped");
        }
        if (got == -ETIMEDOUT) // may well be heard before the caller's own clock says so
            grpc_fail(call, GRPC_DEADLINE_EXCEEDED, "context deadline exceeded");
        break;
    }
    atomic_fetch_add(&f->chats_ended, 1);
    return GRPC_DONE;
}

/* "count bytes": that many messages of so many bytes, all one shared buffer. */
static enum grpc_done fixture_big(struct fixture *f, struct grpc_call *call,
                                  struct rt_bytes request)
{
    unsigned count = 0, bytes = 0;
    char text[64] = {0};
    memcpy(text, request.data, request.len < 63 ? request.len : 63);
    sscanf(text, "%u %u", &count, &bytes);
    struct rt_buf *shared = rt_buf_new(bytes);
    memset(shared->data, 'b', bytes);
    shared->len = bytes;
    for (unsigned i = 0; i < count; i++) {
        struct grpc_part parts[] = {{rt_bytes(&i, sizeof i), NULL},
                                    {rt_buf_bytes(shared), rt_buf_ref(shared)}};
        if (grpc_send(call, parts, 2, RT_FOREVER))
            break;
        atomic_fetch_add(&f->sent, 1);
    }
    rt_buf_unref(shared);
    return GRPC_DONE;
}

static void fixture_finish_later(void *arg)
{
    struct grpc_call *call = arg;
    struct grpc_part part = {RT_BYTES("later"), NULL};
    rt_yield();
    grpc_reply(call, &part, 1);
    grpc_finish(call);
}

static enum grpc_done fixture_meta(struct grpc_call *call)
{
    char text[256];
    const char *token = grpc_call_token(call), *version = grpc_call_client_version(call);
    int n = snprintf(text, sizeof text, "%s %s %d %d", token ? token : "-", version ? version : "-",
                     grpc_call_needs_leader(call), grpc_call_deadline_ns(call) != RT_FOREVER);
    grpc_reply(call, &(struct grpc_part){rt_bytes(text, (size_t)n), NULL}, 1);
    return GRPC_DONE;
}

static enum grpc_done fixture_serve(void *ctx, struct grpc_call *call, struct rt_bytes request)
{
    struct fixture *f = ctx;
    struct grpc_part echo = {request, NULL};
    switch (grpc_call_tag(call)) {
    case TAG_ECHO:
    case TAG_INLINE:
        if (request.len > 4096)
            echo.owner = rt_buf_ref(grpc_call_request(call));
        grpc_reply(call, &echo, 1);
        return GRPC_DONE;
    case TAG_FAIL:
        grpc_fail(call, GRPC_OUT_OF_RANGE, "etcdserver: 100% of \xc3\xa4 is\n\"gone\"");
        return GRPC_DONE;
    case TAG_PARK:
        return fixture_park(f, call);
    case TAG_CHAT:
        return fixture_chat(f, call);
    case TAG_BIG:
        return fixture_big(f, call, request);
    case TAG_LATER:
        rt_go("test-later", fixture_finish_later, call);
        return GRPC_LATER;
    case TAG_MUTE:
        while (!grpc_wait_wake(call, RT_FOREVER))
            continue;
        return GRPC_DONE;
    case TAG_META:
        return fixture_meta(call);
    }
    grpc_fail(call, GRPC_UNKNOWN, "no such tag");
    return GRPC_DONE;
}

static const struct grpc_method fixture_methods[] = {
    {"test.Echo", "Echo", GRPC_UNARY, false, fixture_serve, TAG_ECHO},
    {"test.Echo", "Inline", GRPC_UNARY, true, fixture_serve, TAG_INLINE},
    {"test.Echo", "Fail", GRPC_UNARY, true, fixture_serve, TAG_FAIL},
    {"test.Echo", "Park", GRPC_UNARY, false, fixture_serve, TAG_PARK},
    {"test.Echo", "Later", GRPC_UNARY, true, fixture_serve, TAG_LATER},
    {"test.Echo", "Meta", GRPC_UNARY, false, fixture_serve, TAG_META},
    {"test.Streams", "Chat", GRPC_BIDI, false, fixture_serve, TAG_CHAT},
    {"test.Streams", "Big", GRPC_SERVER_STREAM, false, fixture_serve, TAG_BIG},
    {"test.Streams", "Mute", GRPC_BIDI, false, fixture_serve, TAG_MUTE},
};

static void fixture_http1(void *ctx, const struct http1_request *request, struct http1_response *r)
{
    (void)ctx;
    r->content_type = "text/plain";
    if (rt_bytes_equal(request->path, RT_BYTES("/health")))
        rt_string_printf(&r->body, "{\"health\":\"true\"}");
    else if (rt_bytes_equal(request->path, RT_BYTES("/echo")))
        rt_string_append(&r->body, request->body.data, request->body.len);
    else
        r->status = 404;
}

static const struct http1_options fixture_http1_options = {.serve = fixture_http1};

static void fixture_accept(void *arg)
{
    struct fixture *f = arg;
    grpc_accept(f->server, f->listener);
    rt_waitgroup_done(&f->accepting);
}

void fixture_start(struct fixture *f, const struct grpc_server_options *changes)
{
    struct why why;
    *f = (struct fixture){.metrics = rt_metrics_new()};
    struct grpc_server_options o = changes ? *changes : (struct grpc_server_options){0};
    o.methods = fixture_methods;
    o.method_count = ARRAY_LEN(fixture_methods);
    o.ctx = f;
    o.http1 = &fixture_http1_options;
    o.metrics = f->metrics;
    f->server = grpc_server_new(&o);
    int err = rt_listen("127.0.0.1:0", &f->listener, &why);
    if (err)
        fail_msg("%s", why.text);
    f->address = rt_strdup(rt_listener_address(f->listener));
    rt_waitgroup_add(&f->accepting, 1);
    assert_int_equal(rt_go("test-accept", fixture_accept, f), 0);
}

void fixture_stop(struct fixture *f)
{
    rt_listener_close(f->listener);
    rt_waitgroup_wait(&f->accepting, RT_FOREVER);
    grpc_server_drain(f->server, rt_after_ns(f->drain_ns ? f->drain_ns : 5 * RT_SECOND));
    grpc_server_free(f->server);
    rt_metrics_free(f->metrics);
    rt_free((void *)(uintptr_t)f->address);
}

struct grpc_client *fixture_dial(struct fixture *f)
{
    struct grpc_client *c = NULL;
    struct why why;
    if (grpc_client_dial(f->address, NULL, rt_after_ns(20 * RT_SECOND), &c, &why))
        fail_msg("%s", why.text);
    return c;
}
