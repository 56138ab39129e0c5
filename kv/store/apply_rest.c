/* kv/store/apply_rest.c: compaction, leases, alarms and cluster records: the commands that are not
 * about keys, though a revoked lease takes its keys along. All run with index_lock for writing. */
#include "kv/store/apply.h"
#include "kv/store/state.h"
#include "proto/fields.h"

int apply_compact(struct store *s)
{
    struct apply *a = &s->apply;
    int64_t revision;
    request_read_int(a->command->request, 1, &revision);
    if (revision <= a->compact)
        return STORE_COMPACTED;
    if (revision > a->main - 1)
        return STORE_FUTURE_REVISION;
    a->compact = revision;
    a->effects = true;
    // Readers check it under the index's lock: from now on none below it can begin.
    atomic_store(&s->compact_revision, revision);
    rt_gauge_set(s->metrics.compact_revision, revision);
    return 0;
}

int apply_lease_grant(struct store *s)
{
    const struct store_command *c = s->apply.command;
    int64_t ttl, id;
    request_read_int(c->request, 1, &ttl);
    request_read_int(c->request, 2, &id);
    if (id == 0)
        id = c->chosen_id;
    if (id == 0)
        return STORE_MALFORMED;
    if (ttl > STORE_LEASE_MAX_TTL_S)
        return STORE_LEASE_TTL_TOO_LARGE;
    if (leases_find(&s->leases, id))
        return STORE_LEASE_EXISTS;
    if (ttl < s->leases.min_ttl_s)
        ttl = s->leases.min_ttl_s;
    leases_add(&s->leases, id, ttl, 0);
    plan_lease_change(s, id, ttl, 0);
    if (s->apply.result) {
        s->apply.result->lease = id;
        s->apply.result->ttl_s = ttl;
    }
    return 0;
}

int apply_lease_revoke(struct store *s)
{
    int64_t id;
    request_read_int(s->apply.command->request, 1, &id);
    struct lease *it = leases_find(&s->leases, id);
    if (!it)
        return STORE_LEASE_NOT_FOUND;
    uint64_t count = it->key_count;
    struct index_key **keys = lease_sorted_keys(it);
    for (uint64_t i = 0; i < count; i++)
        plan_delete(s, index_key_bytes(keys[i]));
    leases_remove(&s->leases, it);
    rt_free(keys);
    plan_lease_change(s, id, 0, 0);
    return 0;
}

static void checkpoint_one(struct store *s, struct rt_bytes checkpoint)
{
    int64_t id, remaining;
    if (request_read_int(checkpoint, 1, &id) || request_read_int(checkpoint, 2, &remaining))
        return;
    struct lease *it = leases_find(&s->leases, id);
    if (!it || remaining < 0 || remaining > it->ttl_s) // revoked meanwhile, or nonsense
        return;
    leases_checkpoint(&s->leases, it, remaining);
    plan_lease_change(s, id, it->ttl_s, remaining);
}

int apply_lease_checkpoint(struct store *s)
{
    struct fields f = fields_of(s->apply.command->request);
    struct field it;
    while (fields_next(&f, &it) > 0)
        if (it.number == 1 && it.wire == FIELD_LEN)
            checkpoint_one(s, it.bytes);
    return 0;
}

enum { ALARM_GET, ALARM_ACTIVATE, ALARM_DEACTIVATE };

int apply_alarm(struct store *s)
{
    int64_t action, member, type;
    struct rt_bytes request = s->apply.command->request;
    request_read_int(request, 1, &action);
    request_read_int(request, 2, &member);
    request_read_int(request, 3, &type);
    if (action == ALARM_GET || type < STORE_ALARM_NOSPACE || type > STORE_ALARM_CORRUPT)
        return 0;
    struct store_alarm alarm = {(uint64_t)member, (enum store_alarm_type)type};
    bool changed = action == ALARM_ACTIVATE     ? records_set_alarm(&s->records, alarm)
                   : action == ALARM_DEACTIVATE ? records_clear_alarm(&s->records, alarm)
                                                : false;
    if (changed) {
        struct planned_change *c = plan_change(s);
        alarm_name_put(c->name, alarm);
        c->name_len = ALARM_NAME_BYTES;
        c->removed = action == ALARM_DEACTIVATE;
    }
    return 0;
}

int apply_cluster(struct store *s)
{
    const struct store_command *c = s->apply.command;
    if (c->cluster_key.len == 0 || c->cluster_key.len > STORE_CLUSTER_KEY_BYTES)
        return STORE_MALFORMED;
    records_put(&s->records, c->cluster_key, c->request);
    struct planned_change *change = plan_change(s);
    change->name[0] = 'c';
    memcpy(change->name + 1, c->cluster_key.data, c->cluster_key.len);
    change->name_len = (uint16_t)(c->cluster_key.len + 1);
    change->value = c->request;
    change->removed = c->request.len == 0;
    return 0;
}
