/* kv/store/apply.c: see apply.h: one command from judgement to publication. */
#include "kv/store/apply.h"
#include "kv/store/check.h"
#include "kv/store/state.h"
#include "kv/store/watch.h"
#include <assert.h>

void apply_deinit(struct apply *a)
{
    rt_free(a->rows);
    rt_free(a->changes);
    rt_free(a->branches);
    rt_arena_deinit(&a->arena);
}

static void begin(struct store *s, const struct store_command *command, struct store_result *result)
{
    struct apply *a = &s->apply;
    a->command = command;
    a->result = result;
    a->main = atomic_load(&s->revision) + 1;
    a->compact = atomic_load(&s->compact_revision);
    a->row_count = a->change_count = a->branch_count = a->branch_next = 0;
    a->effects = false;
    a->pin_revision = INT64_MAX;
    rt_arena_reset(&a->arena);
}

/* ---- Planning ---- */

static struct planned *plan_row(struct apply *a)
{
    if (a->row_count == a->row_cap) {
        a->row_cap = a->row_cap ? 2 * a->row_cap : 64;
        a->rows = rt_realloc(a->rows, a->row_cap * sizeof *a->rows);
        if (!a->rows)
            rt_fatal("out of memory: %u changes by one command", a->row_cap);
    }
    struct planned *p = &a->rows[a->row_count];
    *p = (struct planned){.rev = {.main = a->main, .sub = a->row_count}};
    a->row_count++;
    return p;
}

void plan_put(struct store *s, struct rt_bytes key, struct rt_bytes value, int64_t lease)
{
    struct planned *p = plan_row(&s->apply);
    struct index_key *k = key_index_add(&s->index, key, p->rev);
    lease_attach(lease ? leases_find(&s->leases, lease) : NULL, k);
    assert(!lease || k->lease);
    p->row = (struct row){key, value, k->create, p->rev.main, k->version, lease};
}

static void plan_delete_of(struct store *s, struct index_key *k)
{
    struct planned *p = plan_row(&s->apply);
    p->rev.tombstone = true;
    p->row =
        (struct row){.key = index_key_bytes(k)}; // the index keeps the key at least till we encode
    lease_attach(NULL, k);
    key_index_add(&s->index, p->row.key, p->rev);
}

void plan_delete(struct store *s, struct rt_bytes key)
{
    struct index_key *k = key_index_find(&s->index, key);
    assert(k);
    plan_delete_of(s, k);
}

uint32_t plan_delete_range(struct store *s, const struct key_range *keys)
{
    uint32_t before = s->apply.row_count;
    if (keys->kind == KEYS_ONE) {
        struct index_key *k = key_index_find(&s->index, keys->from);
        if (k && index_key_lives(k))
            plan_delete_of(s, k);
        return s->apply.row_count - before;
    }
    // Deleting adds revisions to keys that are there: the tree keeps its shape, the cursor its place.
    struct index_cursor c = key_index_seek(&s->index, keys->from);
    for (struct index_key *k;
         (k = index_cursor_next(&c)) && key_range_has(keys, index_key_bytes(k));)
        if (index_key_lives(k))
            plan_delete_of(s, k);
    return s->apply.row_count - before;
}

struct planned_change *plan_change(struct store *s)
{
    struct apply *a = &s->apply;
    if (a->change_count == a->change_cap) {
        a->change_cap = a->change_cap ? 2 * a->change_cap : 4;
        a->changes = rt_realloc(a->changes, a->change_cap * sizeof *a->changes);
        if (!a->changes)
            rt_fatal("out of memory: %u changes by one command", a->change_cap);
    }
    struct planned_change *c = &a->changes[a->change_count++];
    *c = (struct planned_change){.name_len = 0};
    return c;
}

void plan_lease_change(struct store *s, int64_t id, int64_t ttl_s, int64_t remaining_s)
{
    static_assert(LEASE_VALUE_BYTES <= sizeof((struct planned_change *)0)->small, "fits");
    struct planned_change *c = plan_change(s);
    lease_name_put(c->name, id);
    c->name_len = LEASE_NAME_BYTES;
    c->removed = ttl_s == 0;
    lease_value_put(c->small, ttl_s, remaining_s);
    c->value = rt_bytes(NULL, LEASE_VALUE_BYTES); // in small: the array may still move
}

void plan_outcome(struct store *s, uint32_t outcome)
{
    struct store_result *r = s->apply.result;
    if (!r)
        return;
    if (r->outcome_count == r->outcome_cap) {
        r->outcome_cap = r->outcome_cap ? 2 * r->outcome_cap : 8;
        r->outcomes = rt_realloc(r->outcomes, r->outcome_cap * sizeof *r->outcomes);
        if (!r->outcomes)
            rt_fatal("out of memory: %u operations of one command", r->outcome_cap);
    }
    r->outcomes[r->outcome_count++] = outcome;
}

/* ---- Encoding and publication ---- */

static struct rt_bytes keep(struct recent_entry *e, struct rt_bytes bytes)
{
    struct rt_bytes kept = {e->free, bytes.len};
    if (bytes.len)
        memcpy(e->free, bytes.data, bytes.len);
    e->free += bytes.len;
    return kept;
}

static size_t planned_bytes(const struct apply *a)
{
    size_t bytes = 0;
    for (uint32_t i = 0; i < a->row_count; i++)
        bytes += row_size(&a->rows[i].row);
    for (uint32_t i = 0; i < a->change_count; i++)
        bytes += a->changes[i].name_len + a->changes[i].value.len;
    return bytes;
}

static struct recent_entry *encode(const struct apply *a)
{
    size_t bytes = planned_bytes(a);
    struct recent_entry *e = recent_entry_new(a->row_count, a->change_count, bytes);
    const uint8_t *start = e->free;
    e->index = a->command->index;
    e->term = a->command->term;
    e->revision = a->row_count ? a->main : a->main - 1;
    e->compact = a->compact;
    e->applied_ns = rt_now_ns();
    e->row_count = a->row_count;
    for (uint32_t i = 0; i < a->row_count; i++) {
        uint8_t *end = row_put(e->free, &a->rows[i].row);
        e->rows[i] =
            (struct recent_row){a->rows[i].rev, rt_bytes(e->free, (size_t)(end - e->free))};
        e->free = end;
    }
    e->change_count = a->change_count;
    for (uint32_t i = 0; i < a->change_count; i++) {
        const struct planned_change *c = &a->changes[i];
        struct rt_bytes value = c->value.data ? c->value : rt_bytes(c->small, c->value.len);
        e->changes[i].name = keep(e, rt_bytes(c->name, c->name_len));
        e->changes[i].value = keep(e, value);
        e->changes[i].removed = c->removed;
    }
    assert((size_t)(e->free - start) == bytes);
    return e;
}

/* Context: index_lock for writing. */
static void publish(struct store *s)
{
    struct apply *a = &s->apply;
    if (a->row_count || a->change_count || a->effects)
        a->tell_flusher = recent_append(&s->recent, encode(a));
    else
        a->tell_flusher = recent_skip(&s->recent, a->command->index, a->command->term);
    if (a->result && a->pin_revision != INT64_MAX)
        pins_add(&s->pins, &a->result->pin, a->pin_revision);
    if (a->row_count)
        atomic_store(&s->revision, a->main);
}

static void finish(struct store *s, int code)
{
    struct apply *a = &s->apply;
    const struct store_command *c = a->command;
    atomic_store(&s->applied_term, c->term);
    atomic_store(&s->applied_index, c->index);
    if (a->row_count) {
        rt_gauge_set(s->metrics.revision, a->main);
        watch_hub_ring(s->hub);
    }
    if (a->tell_flusher)
        doorbell_ring(&s->flusher.bell);
    if (a->result) {
        a->result->code = code;
        a->result->changed = a->row_count || a->change_count || a->effects;
        a->result->main = a->main;
        a->result->revision = a->row_count ? a->main : a->main - 1;
    }
    a->command = NULL;
    a->result = NULL;
}

/* ---- The verbs ---- */

static int apply_kv(struct store *s)
{
    struct apply *a = &s->apply;
    struct rt_bytes request = a->command->request;
    struct put_request put;
    struct delete_request del;
    int err = 0;
    switch (a->command->kind) {
    case STORE_PUT:
        request_read_put(request, &put);
        if ((err = judge_put(s, &put)) || (err = resolve_put(s, &put)))
            return err;
        rt_counter_add(s->metrics.puts, 1);
        break;
    case STORE_DELETE_RANGE:
        request_read_delete(request, &del);
        rt_counter_add(s->metrics.deletes, 1);
        break;
    default:
        if ((err = judge_txn(s, request)))
            return err;
        rt_counter_add(s->metrics.txns, 1);
        break;
    }
    rt_rwmutex_lock(&s->index_lock);
    switch (a->command->kind) {
    case STORE_PUT:
        execute_put(s, &put);
        break;
    case STORE_DELETE_RANGE:
        execute_delete(s, &del);
        break;
    default:
        execute_txn(s, request);
        break;
    }
    publish(s);
    rt_gauge_set(s->metrics.keys, (int64_t)s->index.living);
    rt_rwmutex_unlock(&s->index_lock);
    return 0;
}

/* What an alarm forbids. Deletes, compactions and revocations must go on without space. */
static int check_alarms(struct store *s, const struct store_request *request)
{
    enum store_command_kind kind = s->apply.command->kind;
    bool is_data = kind != STORE_NOOP && kind != STORE_CLUSTER && kind != STORE_ALARM &&
                   kind != STORE_LEASE_CHECKPOINT;
    if (is_data && store_has_alarm(s, STORE_ALARM_CORRUPT))
        return STORE_CORRUPT;
    if (request->writes_value && store_has_alarm(s, STORE_ALARM_NOSPACE))
        return STORE_NO_SPACE;
    return 0;
}

static int judge_and_apply(struct store *s)
{
    const struct store_command *c = s->apply.command;
    struct store_request request;
    int err;
    if (c->leader_term && c->leader_term != c->term)
        return STORE_STALE_TERM;
    err = check_request(c->kind, c->request, 0, &request);
    if (!err)
        err = check_alarms(s, &request);
    if (err)
        return err;
    if (c->kind == STORE_PUT || c->kind == STORE_DELETE_RANGE || c->kind == STORE_TXN)
        return apply_kv(s);
    rt_rwmutex_lock(&s->index_lock);
    switch (c->kind) {
    case STORE_COMPACT:
        err = apply_compact(s);
        break;
    case STORE_LEASE_GRANT:
        err = apply_lease_grant(s);
        break;
    case STORE_LEASE_REVOKE:
        err = apply_lease_revoke(s);
        break;
    case STORE_LEASE_CHECKPOINT:
        err = apply_lease_checkpoint(s);
        break;
    case STORE_ALARM:
        err = apply_alarm(s);
        break;
    case STORE_CLUSTER:
        err = apply_cluster(s);
        break;
    default:
        break; // NOOP
    }
    if (!err)
        publish(s);
    rt_rwmutex_unlock(&s->index_lock);
    return err;
}

void store_apply(struct store *s, const struct store_command *command, struct store_result *result)
{
    assert(command->index == atomic_load(&s->applied_index) + 1);
    assert(command->term >= atomic_load(&s->applied_term));
    begin(s, command, result);
    int err = judge_and_apply(s);
    if (err) { // nothing was planned or changed: only the number counts
        assert(s->apply.row_count == 0);
        s->apply.change_count = 0;
        s->apply.effects = false;
        s->apply.tell_flusher = recent_skip(&s->recent, command->index, command->term);
    }
    finish(s, err);
}
