/* kv/service/lease.c: the Lease service. Grants and revocations go through the log; keeping alive
 * touches only the leader's clock, wherever the leader is. */
#include "kv/service/serve.h"
#include <errno.h>

enum grpc_done serve_lease_grant(void *ctx, struct grpc_call *call, struct rt_bytes message)
{
    struct service *s = ctx;
    int err = store_check(STORE_LEASE_GRANT, message, 0, NULL);
    if (err) {
        serve_fail(s, call, err);
        return GRPC_DONE;
    }
    struct store_result result;
    struct member_outcome out;
    if (!serve_propose(s, call, STORE_LEASE_GRANT, message, &result, &out))
        return GRPC_DONE;
    struct rt_string body = {0};
    field_add_int(&body, 2, result.lease);
    field_add_int(&body, 3, result.ttl_s);
    serve_answer(s, call, result.revision, &body);
    serve_release(s, &result, &out);
    return GRPC_DONE;
}

enum grpc_done serve_lease_revoke(void *ctx, struct grpc_call *call, struct rt_bytes message)
{
    struct service *s = ctx;
    int err = store_check(STORE_LEASE_REVOKE, message, 0, NULL);
    if (err) {
        serve_fail(s, call, err);
        return GRPC_DONE;
    }
    struct store_result result;
    struct member_outcome out;
    if (!serve_propose(s, call, STORE_LEASE_REVOKE, message, &result, &out))
        return GRPC_DONE;
    serve_answer(s, call, result.revision, &(struct rt_string){0});
    serve_release(s, &result, &out);
    return GRPC_DONE;
}

/* Renew one lease and answer; 0, or why the stream is over. */
static int keep_alive(struct service *s, struct grpc_call *call, int64_t lease)
{
    // Taken before renewing: what the client learns of the store is not newer than its lease.
    int64_t revision = store_revision(s->store);
    int64_t ttl_s = 0;
    int err = member_lease_renew(s->member, lease, serve_deadline_ns(s, call), &ttl_s);
    if (err == MEMBER_NO_LEASE)
        ttl_s = 0; // the client's sign that the lease is gone
    else if (err)
        return err;
    struct rt_string answer = {0};
    serve_add_header(s, &answer, revision);
    field_add_int(&answer, 2, lease);
    field_add_int(&answer, 3, ttl_s);
    err = grpc_send(call, &(struct grpc_part){.bytes = rt_bytes(answer.data, answer.len)}, 1,
                    RT_FOREVER);
    rt_string_deinit(&answer);
    return err;
}

/* Requests until the client has no more: 0; or why the stream is over. */
static int keep_all_alive(struct service *s, struct grpc_call *call,
                          const struct leader_call *watched)
{
    for (;;) {
        struct rt_buf *request;
        int got = grpc_recv(call, &request, RT_FOREVER);
        if (atomic_load(&watched->lost) && (got == 1 || got == -EAGAIN)) {
            if (got == 1)
                rt_buf_unref(request);
            return MEMBER_NO_LEADER;
        }
        if (got == -EAGAIN)
            continue;
        if (got != 1)
            return got;
        uint64_t lease;
        int err = serve_read_numbers(rt_buf_bytes(request), &lease, 1);
        rt_buf_unref(request);
        if (err == 0)
            err = keep_alive(s, call, (int64_t)lease);
        if (err)
            return err;
    }
}

enum grpc_done serve_lease_keep_alive(void *ctx, struct grpc_call *call, struct rt_bytes message)
{
    struct service *s = ctx;
    (void)message; // they come by grpc_recv
    struct leader_call watched;
    leader_call_enter(s, &watched, call);
    int err = keep_all_alive(s, call, &watched);
    leader_call_leave(s, &watched);
    if (err)
        serve_fail(s, call, err);
    return GRPC_DONE;
}

static int add_key(void *arg, struct rt_bytes key)
{
    field_add_len(arg, 5, key.len);
    rt_string_append(arg, key.data, key.len);
    return 0;
}

enum grpc_done serve_lease_time_to_live(void *ctx, struct grpc_call *call, struct rt_bytes message)
{
    struct service *s = ctx;
    enum { ID, KEYS, FIELDS };
    uint64_t fields[FIELDS];
    if (!serve_numbers(s, call, message, fields, FIELDS))
        return GRPC_DONE;
    int64_t lease = (int64_t)fields[ID];
    bool wants_keys = fields[KEYS] != 0;
    if (wants_keys && !serve_barrier(s, call))
        return GRPC_DONE;
    int64_t remaining_s = 0, granted_s = 0;
    int err =
        member_lease_ttl(s->member, lease, serve_deadline_ns(s, call), &remaining_s, &granted_s);
    if (err && err != MEMBER_NO_LEASE) {
        serve_fail(s, call, err);
        return GRPC_DONE;
    }
    struct rt_string body = {0};
    field_add_int(&body, 2, lease);
    field_add_int(&body, 3, err ? -1 : remaining_s);
    if (err == 0) {
        field_add_int(&body, 4, granted_s);
        if (wants_keys)
            store_lease_keys(s->store, lease, add_key, &body); // gone meanwhile: no keys
    }
    serve_answer(s, call, store_revision(s->store), &body);
    return GRPC_DONE;
}

enum grpc_done serve_lease_leases(void *ctx, struct grpc_call *call, struct rt_bytes message)
{
    struct service *s = ctx;
    if (!serve_numbers(s, call, message, NULL, 0))
        return GRPC_DONE;
    int64_t *ids;
    uint32_t count = store_lease_list(s->store, &ids);
    struct rt_string body = {0};
    for (uint32_t i = 0; i < count; i++) {
        size_t mark = field_begin(&body, 2);
        field_add_int(&body, 1, ids[i]);
        field_end(&body, mark);
    }
    rt_free(ids);
    serve_answer(s, call, store_revision(s->store), &body);
    return GRPC_DONE;
}
