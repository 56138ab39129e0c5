/* kv/service/kv.c: the KV service. Requests are checked as etcd checks them before they are proposed;
 * what needs the state (leases, keys, revisions) is checked again when they are applied. */
#include "kv/service/serve.h"

/* Answer a read by what `read` finds, linearizably unless the request says that it may be stale. */
static enum grpc_done serve_read(struct service *s, struct grpc_call *call, struct rt_bytes message,
                                 bool may_be_stale,
                                 int (*read)(struct store *store, struct rt_bytes request,
                                             struct rt_string *body, int64_t *revision))
{
    if (!may_be_stale && !serve_barrier(s, call))
        return GRPC_DONE;
    struct rt_string body = {0};
    int64_t revision;
    int err = read(s->store, message, &body, &revision);
    if (err)
        serve_fail(s, call, err);
    else
        serve_answer(s, call, revision, &body);
    rt_string_deinit(&body);
    return GRPC_DONE;
}

enum { RANGE_SERIALIZABLE = 7 }; // the field's number
enum grpc_done serve_range(void *ctx, struct grpc_call *call, struct rt_bytes message)
{
    uint64_t fields[RANGE_SERIALIZABLE];
    if (!serve_numbers(ctx, call, message, fields, RANGE_SERIALIZABLE))
        return GRPC_DONE;
    return serve_read(ctx, call, message, fields[RANGE_SERIALIZABLE - 1] != 0, store_range);
}

static enum grpc_done serve_write(struct service *s, struct grpc_call *call,
                                  struct rt_bytes message, enum store_command_kind kind)
{
    struct store_request request;
    int err = store_check(kind, message, s->config.max_txn_ops, &request);
    if (err) {
        serve_fail(s, call, err);
        return GRPC_DONE;
    }
    if (request.read_only)
        return serve_read(s, call, message, request.serializable, store_read_txn);
    struct store_result result;
    struct member_outcome out;
    bool done = serve_propose(s, call, kind, message, &result, &out);
    out.stages.arrived_ns = grpc_call_received_ns(call);
    if (!done) {
        member_replied(s->member, kind, &out.stages);
        return GRPC_DONE;
    }
    struct rt_string body = {0};
    err = store_answer(s->store, kind, out.body, &result, &body);
    if (err)
        serve_fail(s, call, err);
    else
        serve_answer(s, call, result.revision, &body);
    member_replied(s->member, kind, &out.stages);
    rt_string_deinit(&body);
    serve_release(s, &result, &out);
    return GRPC_DONE;
}

enum grpc_done serve_put(void *ctx, struct grpc_call *call, struct rt_bytes message)
{
    return serve_write(ctx, call, message, STORE_PUT);
}

enum grpc_done serve_delete_range(void *ctx, struct grpc_call *call, struct rt_bytes message)
{
    return serve_write(ctx, call, message, STORE_DELETE_RANGE);
}

enum grpc_done serve_txn(void *ctx, struct grpc_call *call, struct rt_bytes message)
{
    return serve_write(ctx, call, message, STORE_TXN);
}

enum grpc_done serve_compact(void *ctx, struct grpc_call *call, struct rt_bytes message)
{
    struct service *s = ctx;
    enum { REVISION, PHYSICAL, FIELDS };
    uint64_t fields[FIELDS];
    if (!serve_numbers(s, call, message, fields, FIELDS))
        return GRPC_DONE;
    struct store_result result;
    struct member_outcome out;
    if (!serve_propose(s, call, STORE_COMPACT, message, &result, &out))
        return GRPC_DONE;
    int64_t revision = result.revision;
    serve_release(s, &result, &out); // its pin would hold up what we wait for
    int err = 0;
    if (fields[PHYSICAL])
        err = store_wait_compacted(s->store, (int64_t)fields[REVISION], serve_deadline_ns(s, call));
    if (err)
        serve_fail(s, call, err);
    else
        serve_answer(s, call, revision, &(struct rt_string){0});
    return GRPC_DONE;
}
