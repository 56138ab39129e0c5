/* tests/kv/service/service_fixture.h: real members in a temporary folder, a service before one of them
 * on loopback, and a gRPC client. Requests and answers are protobuf-c's structs; a call that must
 * succeed fails the test by its status. */
#pragma once
#include "kv/service/service.h"
#include "kv/service/status.h"
#include "proto/grpc.h"
#include "proto/rpc.pb-c.h"
#include "tests/kv/member/member_fixture.h"

struct served {
    struct cluster c;
    struct rt_metrics *metrics;
    struct service *service;
    struct rt_listener *clients, *insides; // the client port and the metrics port
    struct rt_waitgroup accepting;
    struct grpc_client *client;
    struct rt_arena answers;
    struct grpc_status status; // of the last call
};

static void accept_clients(void *arg)
{
    struct served *s = arg;
    service_accept_clients(s->service, s->clients);
    rt_listener_unref(s->clients);
    rt_waitgroup_done(&s->accepting);
}

static void accept_insides(void *arg)
{
    struct served *s = arg;
    service_accept_metrics(s->service, s->insides);
    rt_listener_unref(s->insides);
    rt_waitgroup_done(&s->accepting);
}

/* Serve member 0 of s->c, which runs. NULL: the usual limits. service_down begins to stop that member. */
static inline void service_up(struct served *s, const struct service_config *limits)
{
    struct service_config config = limits ? *limits : (struct service_config){0};
    config.member = s->c.member[0];
    config.metrics = s->metrics = rt_metrics_new();
    config.log = s->c.log;
    config.election_ms = s->c.config[0].election_ms;
    config.max_request_bytes = config.max_request_bytes ? config.max_request_bytes : 1536 * 1024;
    config.max_txn_ops = config.max_txn_ops ? config.max_txn_ops : 128;
    config.progress_notify_ns =
        config.progress_notify_ns ? config.progress_notify_ns : 600 * RT_SECOND;
    s->service = service_new(&config);
    rt_arena_init(&s->answers);
    assert_int_equal(rt_listen("127.0.0.1:0", &s->clients, NULL), 0);
    assert_int_equal(rt_listen("127.0.0.1:0", &s->insides, NULL), 0);
    rt_waitgroup_add(&s->accepting, 2);
    rt_listener_ref(s->clients);
    rt_listener_ref(s->insides);
    assert_int_equal(rt_go("test-clients", accept_clients, s), 0);
    assert_int_equal(rt_go("test-insides", accept_insides, s), 0);
    struct why why = {{0}};
    if (grpc_client_dial(rt_listener_address(s->clients), NULL, patience(), &s->client, &why))
        fail_msg("%s", why.text);
}

static inline void service_stop_accepting(struct served *s)
{
    rt_listener_close(s->clients);
    rt_listener_close(s->insides);
    rt_waitgroup_wait(&s->accepting, RT_FOREVER);
}

static inline void service_down(struct served *s)
{
    grpc_client_close(s->client);
    service_stop_accepting(s);
    service_stop(s->service, patience());
    member_begin_stop(s->c.member[0]); // or service_free waits until its leader watch looks up
    service_free(s->service);
    rt_metrics_free(s->metrics);
    rt_arena_deinit(&s->answers);
}

/* One member and its service. */
static inline void served_up(struct served *s, const struct service_config *limits)
{
    memset(s, 0, sizeof *s);
    cluster_init(&s->c, 1);
    cluster_up(&s->c);
    service_up(s, limits);
}

static inline void served_down(struct served *s)
{
    service_down(s);
    cluster_deinit(&s->c);
}

/* ---- Calls ---- */

static inline ProtobufCBinaryData blob(const char *text)
{
    return (ProtobufCBinaryData){strlen(text), (uint8_t *)(uintptr_t)text};
}

#define BLOB(literal) ((ProtobufCBinaryData){sizeof(literal) - 1, (uint8_t *)(uintptr_t)(literal)})

static inline bool blob_is(ProtobufCBinaryData d, const char *text)
{
    return d.len == strlen(text) && (d.len == 0 || memcmp(d.data, text, d.len) == 0);
}

/* Bytes to a method; the answer is the caller's reference, NULL when s->status is not OK. */
static inline struct rt_buf *call_raw(struct served *s, const char *path, struct rt_bytes request,
                                      const struct grpc_metadata *metadata, uint32_t count,
                                      int64_t deadline_ns)
{
    struct rt_buf *answer = NULL;
    grpc_client_call(s->client, path, request, metadata, count, deadline_ns, &answer, &s->status);
    return answer;
}

/* A call whose answer lives until the test ends; NULL when it failed (s->status). */
static inline void *call(struct served *s, const char *path, const ProtobufCMessage *request,
                         const ProtobufCMessageDescriptor *type)
{
    struct rt_string bytes = {0};
    ProtobufCMessage *message = NULL;
    fields_pack(&bytes, request);
    struct rt_buf *answer = call_raw(s, path, rt_bytes(bytes.data, bytes.len), NULL, 0, patience());
    rt_string_deinit(&bytes);
    if (!answer)
        return NULL;
    if (fields_unpack(type, rt_buf_bytes(answer), &s->answers, SIZE_MAX, &message))
        fail_msg("%s: the answer is no %s", path, type->short_name);
    rt_buf_unref(answer);
    return message;
}

static inline void *must(struct served *s, const char *path, const ProtobufCMessage *request,
                         const ProtobufCMessageDescriptor *type)
{
    void *answer = call(s, path, request, type);
    if (!answer)
        fail_msg("%s: %s: %s", path, grpc_code_name(s->status.code), s->status.text);
    return answer;
}

/* The last call must have ended exactly so. */
static inline void expect_status(const struct served *s, enum service_status wanted)
{
    assert_string_equal(s->status.text, service_status_text(wanted));
    assert_int_equal(s->status.code, service_status_code(wanted));
}

static inline Etcdserverpb__PutResponse *put_request(struct served *s,
                                                     const Etcdserverpb__PutRequest *r)
{
    return call(s, "/etcdserverpb.KV/Put", &r->base, &etcdserverpb__put_response__descriptor);
}

/* Put, and the revision it made. */
static inline int64_t put_kv(struct served *s, const char *key, const char *value)
{
    Etcdserverpb__PutRequest r = ETCDSERVERPB__PUT_REQUEST__INIT;
    r.key = blob(key);
    r.value = blob(value);
    Etcdserverpb__PutResponse *answer =
        must(s, "/etcdserverpb.KV/Put", &r.base, &etcdserverpb__put_response__descriptor);
    return answer->header->revision;
}

static inline Etcdserverpb__RangeResponse *range_request(struct served *s,
                                                         const Etcdserverpb__RangeRequest *r)
{
    return call(s, "/etcdserverpb.KV/Range", &r->base, &etcdserverpb__range_response__descriptor);
}

static inline Etcdserverpb__DeleteRangeResponse *delete_range(struct served *s, const char *key,
                                                              const char *end)
{
    Etcdserverpb__DeleteRangeRequest r = ETCDSERVERPB__DELETE_RANGE_REQUEST__INIT;
    r.key = blob(key);
    r.range_end = blob(end);
    return must(s, "/etcdserverpb.KV/DeleteRange", &r.base,
                &etcdserverpb__delete_range_response__descriptor);
}

static inline Etcdserverpb__CompactionResponse *compact(struct served *s, int64_t revision)
{
    Etcdserverpb__CompactionRequest r = ETCDSERVERPB__COMPACTION_REQUEST__INIT;
    r.revision = revision;
    return call(s, "/etcdserverpb.KV/Compact", &r.base,
                &etcdserverpb__compaction_response__descriptor);
}

static inline Etcdserverpb__LeaseGrantResponse *grant(struct served *s, int64_t ttl_s, int64_t id)
{
    Etcdserverpb__LeaseGrantRequest r = ETCDSERVERPB__LEASE_GRANT_REQUEST__INIT;
    r.ttl = ttl_s;
    r.id = id;
    return call(s, "/etcdserverpb.Lease/LeaseGrant", &r.base,
                &etcdserverpb__lease_grant_response__descriptor);
}

/* ---- Streams ---- */

static inline struct grpc_stream *stream_open(struct served *s, const char *path, bool needs_leader)
{
    struct grpc_stream *stream = NULL;
    struct grpc_metadata hasleader = {"hasleader", "true"};
    if (grpc_stream_open(s->client, path, &hasleader, needs_leader, RT_FOREVER, &stream,
                         &s->status))
        fail_msg("%s: %s", path, s->status.text);
    return stream;
}

static inline void stream_send(struct grpc_stream *stream, const ProtobufCMessage *message)
{
    struct rt_string bytes = {0};
    fields_pack(&bytes, message);
    assert_int_equal(grpc_stream_send(stream,
                                      &(struct grpc_part){.bytes = rt_bytes(bytes.data, bytes.len)},
                                      1, patience()),
                     0);
    rt_string_deinit(&bytes);
}

/* The next message, or NULL at the end of the stream, whose status is then s->status. */
static inline void *stream_next(struct served *s, struct grpc_stream *stream,
                                const ProtobufCMessageDescriptor *type)
{
    struct rt_buf *bytes;
    ProtobufCMessage *message;
    int got = grpc_stream_recv(stream, &bytes, patience());
    if (got == 0) {
        s->status = *grpc_stream_status(stream);
        return NULL;
    }
    if (got != 1)
        fail_msg("no message came: %d", got);
    assert_int_equal(fields_unpack(type, rt_buf_bytes(bytes), &s->answers, SIZE_MAX, &message), 0);
    rt_buf_unref(bytes);
    return message;
}
