/* kv/service/kv.c: the KV service. Requests are checked as etcd checks them before they are proposed;
 * what needs the state (leases, keys, revisions) is checked again when they are applied. */
#include "kv/service/serve.h"

static enum grpc_done fail(struct grpc_call *call, int err)
{
    serve_fail(call, err);
    return GRPC_DONE;
}

/* A boolean field of a message; the last one counts. */
static bool flag_of(struct rt_bytes message, uint32_t number)
{
    struct fields f = fields_of(message);
    struct field it;
    bool flag = false;
    while (fields_next(&f, &it) > 0)
        if (it.number == number && it.wire == FIELD_VARINT)
            flag = it.value != 0;
    return flag;
}

enum grpc_done serve_range(void *ctx, struct grpc_call *call, struct rt_bytes message)
{
    struct service *s = ctx;
    if (!flag_of(message, 7 /* serializable */) && !serve_barrier(s, call))
        return GRPC_DONE;
    struct rt_string body = {0};
    int64_t revision;
    int err = store_range(s->store, message, &body, &revision);
    if (err) {
        rt_string_deinit(&body);
        return fail(call, err);
    }
    serve_answer(s, call, revision, &body);
    return GRPC_DONE;
}

static enum grpc_done serve_read_txn(struct service *s, struct grpc_call *call, struct rt_bytes message,
                                     bool serializable)
{
    if (!serializable && !serve_barrier(s, call))
        return GRPC_DONE;
    struct rt_string body = {0};
    int64_t revision;
    int err = store_read_txn(s->store, message, &body, &revision);
    if (err) {
        rt_string_deinit(&body);
        return fail(call, err);
    }
    serve_answer(s, call, revision, &body);
    return GRPC_DONE;
}

static enum grpc_done serve_write(struct service *s, struct grpc_call *call, struct rt_bytes message,
                                  enum store_command_kind kind)
{
    struct store_request request;
    if (message.len + SERVICE_ENTRY_OVERHEAD > s->config.max_request_bytes)
        return fail(call, STORE_TOO_LARGE);
    int err = store_check(kind, message, s->config.max_txn_ops, &request);
    if (err)
        return fail(call, err);
    if (request.read_only)
        return serve_read_txn(s, call, message, request.serializable);
    struct store_result result;
    struct member_outcome out;
    if (!serve_propose(s, call, kind, message, &result, &out))
        return GRPC_DONE;
    struct rt_string body = {0};
    err = store_answer(s->store, kind, out.body, &result, &body);
    if (err)
        serve_fail(call, err);
    else
        serve_answer(s, call, result.revision, &body);
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

static int64_t revision_of(struct rt_bytes message)
{
    struct fields f = fields_of(message);
    struct field it;
    int64_t revision = 0;
    while (fields_next(&f, &it) > 0)
        if (it.number == 1 && it.wire == FIELD_VARINT)
            revision = (int64_t)it.value;
    return revision;
}

enum grpc_done serve_compact(void *ctx, struct grpc_call *call, struct rt_bytes message)
{
    struct service *s = ctx;
    int err = store_check(STORE_COMPACT, message, 0, NULL);
    if (err)
        return fail(call, err);
    struct store_result result;
    struct member_outcome out;
    if (!serve_propose(s, call, STORE_COMPACT, message, &result, &out))
        return GRPC_DONE;
    if (flag_of(message, 2 /* physical */))
        err = store_wait_compacted(s->store, revision_of(message), serve_deadline_ns(s, call));
    struct rt_string body = {0};
    if (err)
        serve_fail(call, err);
    else
        serve_answer(s, call, result.revision, &body);
    serve_release(s, &result, &out);
    return GRPC_DONE;
}
