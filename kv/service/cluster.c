/* kv/service/cluster.c: the Cluster service, and gRPC's health check. */
#include "kv/service/serve.h"

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
    uint64_t linearizable;
    if (!serve_numbers(s, call, message, &linearizable, 1))
        return GRPC_DONE;
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

/* Whether the empty service name is asked for, the only one known. 1, 0, or FIELDS_MALFORMED. */
static int is_known_service(struct rt_bytes message)
{
    struct fields f = fields_of(message);
    struct field it;
    bool is_empty = true;
    int more;
    while ((more = fields_next(&f, &it)) > 0)
        if (it.number == 1 && it.wire == FIELD_LEN)
            is_empty = it.bytes.len == 0;
    return more ? more : is_empty;
}

static struct rt_bytes put_health(uint8_t *answer, enum health health)
{
    uint8_t *end = field_put_uint(answer, 1, health);
    return rt_bytes(answer, (size_t)(end - answer));
}

enum grpc_done serve_health_check(void *ctx, struct grpc_call *call, struct rt_bytes message)
{
    struct service *s = ctx;
    uint8_t answer[16];
    int known = is_known_service(message);
    if (known < 0)
        serve_fail(s, call, known);
    else if (known == 0)
        serve_fail_status(call, STATUS_UNKNOWN_SERVICE);
    else
        grpc_reply(call, &(struct grpc_part){.bytes = put_health(answer, HEALTH_SERVING)}, 1);
    return GRPC_DONE;
}

/* One answer a change; this member serves from its first call to its end, so there is one. */
enum grpc_done serve_health_watch(void *ctx, struct grpc_call *call, struct rt_bytes message)
{
    struct service *s = ctx;
    uint8_t answer[16];
    int known = is_known_service(message);
    int err = known < 0 ? known : 0;
    if (err == 0) {
        enum health health = known ? HEALTH_SERVING : HEALTH_SERVICE_UNKNOWN;
        err = grpc_send(call, &(struct grpc_part){.bytes = put_health(answer, health)}, 1,
                        RT_FOREVER);
    }
    while (err == 0)
        err = grpc_wait_wake(call, RT_FOREVER);
    serve_fail(s, call, err);
    return GRPC_DONE;
}
