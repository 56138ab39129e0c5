/* kv/service/maintenance.c: the Maintenance service: what a member says about itself, alarms, hashes. */
#include "kv/service/serve.h"
#include <inttypes.h>
#include <stdio.h>

static const char *const alarm_names[] = {[STORE_ALARM_NONE] = "NONE",
                                          [STORE_ALARM_NOSPACE] = "NOSPACE",
                                          [STORE_ALARM_CORRUPT] = "CORRUPT"};

/* The active alarms of a type, in memory to rt_free. */
static uint32_t list_alarms(struct service *s, enum store_alarm_type type, struct store_alarm **out)
{
    *out = rt_alloc(STORE_ALARMS * sizeof **out);
    uint32_t count = store_alarms(s->store, type, *out, STORE_ALARMS);
    return count < STORE_ALARMS ? count : STORE_ALARMS;
}

enum grpc_done serve_status(void *ctx, struct grpc_call *call, struct rt_bytes message)
{
    struct service *s = ctx;
    if (!serve_numbers(s, call, message, NULL, 0))
        return GRPC_DONE;
    struct member_status status;
    member_status(s->member, &status);
    struct rt_string body = {0};
    field_add_text(&body, 2, SERVICE_API_VERSION);
    field_add_int(&body, 3, store_size_bytes(s->store));
    field_add_uint(&body, 4, status.leader);
    // What is applied is committed: the two are read one after the other, and apply may be ahead by then.
    field_add_uint(&body, 5, status.commit > status.applied ? status.commit : status.applied);
    field_add_uint(&body, 6, status.term);
    field_add_uint(&body, 7, status.applied);
    if (!status.leader)
        field_add_text(&body, 8, service_status_text(STATUS_NO_LEADER));
    struct store_alarm *alarms;
    uint32_t count = list_alarms(s, STORE_ALARM_NONE, &alarms);
    for (uint32_t i = 0; i < count; i++) {
        char text[64];
        snprintf(text, sizeof text, "memberID:%" PRIu64 " alarm:%s ", alarms[i].member,
                 alarm_names[alarms[i].type]);
        field_add_text(&body, 8, text);
    }
    rt_free(alarms);
    field_add_int(&body, 9, store_size_in_use_bytes(s->store));
    field_add_uint(&body, 10, status.is_learner);
    field_add_text(&body, 11, SERVICE_STORAGE_VERSION);
    field_add_int(&body, 12, store_quota_bytes(s->store));
    serve_answer(s, call, store_revision(s->store), &body);
    return GRPC_DONE;
}

enum grpc_done serve_hash(void *ctx, struct grpc_call *call, struct rt_bytes message)
{
    struct service *s = ctx;
    if (!serve_numbers(s, call, message, NULL, 0))
        return GRPC_DONE;
    uint32_t hash;
    int err = store_hash(s->store, &hash);
    if (err) {
        serve_fail(s, call, err);
        return GRPC_DONE;
    }
    struct rt_string body = {0};
    field_add_uint(&body, 2, hash);
    serve_answer(s, call, store_revision(s->store), &body);
    return GRPC_DONE;
}

enum grpc_done serve_hash_kv(void *ctx, struct grpc_call *call, struct rt_bytes message)
{
    struct service *s = ctx;
    uint64_t revision;
    if (!serve_numbers(s, call, message, &revision, 1))
        return GRPC_DONE;
    uint32_t hash;
    int64_t compact_revision, at;
    int err = store_hash_kv(s->store, (int64_t)revision, &hash, &compact_revision, &at);
    if (err) {
        serve_fail(s, call, err);
        return GRPC_DONE;
    }
    struct rt_string body = {0};
    field_add_uint(&body, 2, hash);
    field_add_int(&body, 3, compact_revision);
    field_add_int(&body, 4, at);
    serve_answer(s, call, store_revision(s->store), &body);
    return GRPC_DONE;
}

enum alarm_action { ALARM_GET, ALARM_ACTIVATE, ALARM_DEACTIVATE };
static void add_alarm(struct rt_string *out, uint64_t member, uint64_t type)
{
    size_t mark = field_begin(out, 2);
    field_add_uint(out, 1, member);
    field_add_uint(out, 2, type);
    field_end(out, mark);
}

enum grpc_done serve_alarm(void *ctx, struct grpc_call *call, struct rt_bytes message)
{
    struct service *s = ctx;
    enum { ACTION, MEMBER, TYPE, FIELDS };
    uint64_t fields[FIELDS];
    int err = serve_read_numbers(message, fields, FIELDS);
    if (err == 0)
        err = store_check(STORE_ALARM, message, 0, NULL);
    if (err) {
        serve_fail(s, call, err);
        return GRPC_DONE;
    }
    struct store_alarm *alarms;
    uint32_t count = list_alarms(s, (enum store_alarm_type)fields[TYPE], &alarms);
    bool changes = fields[ACTION] != ALARM_GET && fields[TYPE] != STORE_ALARM_NONE;
    struct store_result result;
    struct member_outcome out;
    if (changes && !serve_propose(s, call, STORE_ALARM, message, &result, &out)) {
        rt_free(alarms);
        return GRPC_DONE;
    }
    if (changes)
        serve_release(s, &result, &out);
    // GET: all of the type; DEACTIVATE: what was there and is not now; ACTIVATE: what was asked for.
    struct rt_string body = {0};
    if (fields[ACTION] == ALARM_ACTIVATE && changes)
        add_alarm(&body, fields[MEMBER], fields[TYPE]);
    for (uint32_t i = 0; i < count && fields[ACTION] != ALARM_ACTIVATE; i++)
        if (fields[ACTION] == ALARM_GET || (changes && alarms[i].member == fields[MEMBER]))
            add_alarm(&body, alarms[i].member, alarms[i].type);
    rt_free(alarms);
    serve_answer(s, call, store_revision(s->store), &body);
    return GRPC_DONE;
}

/* Space is given back as the store goes along, so there is nothing to stop for. etcd's answer has no
 * header. */
enum grpc_done serve_defragment(void *ctx, struct grpc_call *call, struct rt_bytes message)
{
    struct service *s = ctx;
    if (serve_numbers(s, call, message, NULL, 0))
        grpc_reply(call, NULL, 0);
    return GRPC_DONE;
}

enum grpc_done serve_move_leader(void *ctx, struct grpc_call *call, struct rt_bytes message)
{
    struct service *s = ctx;
    uint64_t target;
    int err = serve_read_numbers(message, &target, 1);
    if (err == 0 && !member_is_leader(s->member))
        err = MEMBER_NOT_LEADER;
    if (err == 0 && target == 0)
        err = MEMBER_BAD_TRANSFEREE;
    if (err == 0)
        err = member_transfer_leadership(s->member, target, serve_deadline_ns(s, call));
    if (err == MEMBER_TIMEOUT)
        serve_fail_status(call, STATUS_TIMEOUT_TRANSFER);
    else if (err)
        serve_fail(s, call, err);
    else
        grpc_reply(call, NULL, 0); // etcd's answer has no header
    return GRPC_DONE;
}
