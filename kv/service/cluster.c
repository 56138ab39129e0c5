/* kv/service/cluster.c: the Cluster service, and gRPC's health check. */
#include "kv/service/serve.h"
#include <errno.h>

static void add_member(struct rt_string *out, const struct member_info *info)
{
    size_t mark = field_begin(out, 2);
    field_add_uint(out, 1, info->id);
    field_add_text(out, 2, info->name);
    for (uint32_t i = 0; i < info->peer_url_count; i++)
        field_add_text(out, 3, info->peer_urls[i]);
    for (uint32_t i = 0; i < info->client_url_count; i++)
        field_add_text(out, 4, info->client_urls[i]);
    field_add_uint(out, 5, info->is_learner);
    field_end(out, mark);
}

enum grpc_done serve_member_list(void *ctx, struct grpc_call *call, struct rt_bytes message)
{
    struct service *s = ctx;
    struct fields f = fields_of(message);
    struct field it;
    int more;
    bool linearizable = false;
    while ((more = fields_next(&f, &it)) > 0)
        if (it.number == 1 && it.wire == FIELD_VARINT)
            linearizable = it.value != 0;
    if (more < 0) {
        serve_fail(call, more);
        return GRPC_DONE;
    }
    if (linearizable && !serve_barrier(s, call))
        return GRPC_DONE;
    struct rt_arena arena;
    rt_arena_init(&arena);
    const struct member_info *members;
    int count = member_list(s->member, &arena, &members);
    struct rt_string body = {0};
    for (int i = 0; i < count; i++)
        add_member(&body, &members[i]);
    rt_arena_deinit(&arena);
    serve_answer(s, call, 0, &body);
    return GRPC_DONE;
}

enum health { HEALTH_SERVING = 1, HEALTH_NOT_SERVING = 2, HEALTH_SERVICE_UNKNOWN = 3 };

/* The service name asked for: only the empty one is known. */
static struct rt_bytes service_name(struct rt_bytes message)
{
    struct fields f = fields_of(message);
    struct field it;
    struct rt_bytes name = {0};
    while (fields_next(&f, &it) > 0)
        if (it.number == 1 && it.wire == FIELD_LEN)
            name = it.bytes;
    return name;
}

enum grpc_done serve_health_check(void *ctx, struct grpc_call *call, struct rt_bytes message)
{
    (void)ctx;
    if (service_name(message).len) {
        serve_fail_status(call, STATUS_UNKNOWN_SERVICE);
        return GRPC_DONE;
    }
    uint8_t answer[16];
    uint8_t *to = field_put_uint(answer, 1, HEALTH_SERVING);
    grpc_reply(call, &(struct grpc_part){.bytes = rt_bytes(answer, (size_t)(to - answer))}, 1);
    return GRPC_DONE;
}

static int send_health(struct grpc_call *call, enum health health)
{
    uint8_t answer[16];
    uint8_t *to = field_put_uint(answer, 1, health);
    return grpc_send(call, &(struct grpc_part){.bytes = rt_bytes(answer, (size_t)(to - answer))}, 1, RT_FOREVER);
}

enum grpc_done serve_health_watch(void *ctx, struct grpc_call *call, struct rt_bytes message)
{
    (void)ctx;
    int err = send_health(call, service_name(message).len ? HEALTH_SERVICE_UNKNOWN : HEALTH_SERVING);
    while (err == 0)
        err = grpc_wait_wake(call, RT_FOREVER);
    serve_fail(call, err == -ESHUTDOWN ? MEMBER_STOPPED : err);
    return GRPC_DONE;
}
