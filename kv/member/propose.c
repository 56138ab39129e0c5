/* kv/member/propose.c: see propose.h. */
#include "kv/member/propose.h"
#include "kv/member/command.h"
#include "kv/member/parts.h"
#include "proto/fields.h"
#include <assert.h>

static_assert((int)PROPOSAL_SLOTS == (int)MEMBER_WAITERS, "a slot for each waiter");

static struct proposal_slot *slot_of(const struct proposals *p, uint64_t request)
{
    return &p->slots[request & (PROPOSAL_SLOTS - 1)];
}

void proposals_init(struct proposals *p, uint64_t generation)
{
    *p = (struct proposals){.generation = generation, .free_count = PROPOSAL_SLOTS};
    p->slots = rt_alloc_zero(PROPOSAL_SLOTS * sizeof(*p->slots));
    p->free = rt_alloc(PROPOSAL_SLOTS * sizeof(*p->free));
    assert(p->slots);
    for (uint32_t i = 0; i < PROPOSAL_SLOTS; i++)
        p->free[i] = (uint16_t)(PROPOSAL_SLOTS - 1 - i);
}

void proposals_deinit(struct proposals *p)
{
    assert(!p->slots || p->free_count == PROPOSAL_SLOTS); // nobody waits any more
    rt_free(p->slots);
    rt_free(p->free);
    *p = (struct proposals){0};
}

void proposal_ref(struct proposal *p)
{
    atomic_fetch_add_explicit(&p->refs, 1, memory_order_relaxed);
}

void proposal_unref(struct proposal *p)
{
    if (atomic_fetch_sub_explicit(&p->refs, 1, memory_order_acq_rel) != 1)
        return;
    rt_buf_unref(p->entry);
    rt_free(p);
}

/* Give the proposal a slot and a name. False: all are taken. */
static bool take_slot(struct proposals *p, struct proposal *it)
{
    rt_mutex_lock(&p->free_lock);
    uint32_t left = p->free_count;
    uint16_t n = left ? p->free[--p->free_count] : 0;
    rt_mutex_unlock(&p->free_lock);
    if (!left)
        return false;
    struct proposal_slot *slot = &p->slots[n];
    slot->uses++;
    it->request =
        p->generation << 48 | (slot->uses & ((UINT64_C(1) << 33) - 1)) << PROPOSAL_SLOT_BITS | n;
    slot->proposal = it;
    proposal_ref(it);
    atomic_store_explicit(&slot->term, 0, memory_order_relaxed);
    atomic_store_explicit(&slot->request, it->request, memory_order_release);
    return true;
}

static void give_slot_back(struct proposals *p, uint64_t request)
{
    rt_mutex_lock(&p->free_lock);
    assert(p->free_count < PROPOSAL_SLOTS);
    p->free[p->free_count++] = (uint16_t)(request & (PROPOSAL_SLOTS - 1));
    rt_mutex_unlock(&p->free_lock);
}

struct proposal *proposals_claim(struct proposals *p, uint64_t request)
{
    struct proposal_slot *slot = slot_of(p, request);
    uint64_t expected = request;
    if (!request || !atomic_compare_exchange_strong_explicit(
                        &slot->request, &expected, 0, memory_order_acq_rel, memory_order_acquire))
        return NULL;
    assert(slot->proposal->request == request);
    return slot->proposal; // the slot is given back by the waiter, so this stays
}

void proposal_complete(struct proposal *p, int code)
{
    p->code = code;
    rt_note_set(&p->done);
    proposal_unref(p);
}

void proposals_fail(struct proposals *p, uint64_t request, int code)
{
    struct proposal *it = proposals_claim(p, request);
    if (it)
        proposal_complete(it, code);
}

void proposals_fail_before(struct proposals *p, uint64_t term, int code)
{
    for (uint32_t i = 0; i < PROPOSAL_SLOTS; i++) {
        struct proposal_slot *slot = &p->slots[i];
        uint64_t request = atomic_load_explicit(&slot->request, memory_order_acquire);
        uint64_t proposed = atomic_load_explicit(&slot->term, memory_order_relaxed);
        if (request && (term == UINT64_MAX || (proposed && proposed < term)))
            proposals_fail(p, request, code);
    }
}

bool proposals_is_waiting(const struct proposals *p, uint64_t request)
{
    return atomic_load_explicit(&slot_of(p, request)->request, memory_order_relaxed) == request;
}

void proposals_set_term(struct proposals *p, uint64_t request, uint64_t term)
{
    if (request && proposals_is_waiting(p, request))
        atomic_store_explicit(&slot_of(p, request)->term, term, memory_order_relaxed);
}

static struct proposal *new_proposal(const struct command *command)
{
    struct rt_buf *entry = command_encode(command);
    if (!entry)
        return NULL;
    struct proposal *p = rt_alloc_zero(sizeof(*p));
    atomic_init(&p->refs, 1);
    p->item.kind = CORE_PROPOSAL;
    p->entry = entry;
    p->request = command->request;
    p->kind = command->kind;
    p->leader_only = command->leader_only;
    p->term = command->term;
    p->chosen = command->chosen;
    return p;
}

bool member_propose_silently(struct member *m, uint32_t kind, struct rt_bytes body,
                             bool leader_only, uint64_t term)
{
    if (atomic_load(&m->stopping))
        return false;
    struct command c = {
        .kind = kind,
        .leader_only = leader_only,
        .term = term,
        .proposer = m->id,
        .body = body,
    };
    struct proposal *p = new_proposal(&c);
    if (!p)
        return false;
    core_post(m, &p->item);
    return true;
}

void member_raise_no_space(struct member *m)
{
    struct rt_string body = {0};
    field_add_uint(&body, 1, 1); // AlarmRequest.action ACTIVATE
    field_add_uint(&body, 2, m->id);
    field_add_uint(&body, 3, STORE_ALARM_NOSPACE);
    member_propose_silently(m, STORE_ALARM, rt_bytes(body.data, body.len), false, 0);
    rt_string_deinit(&body);
}

/* May this command be proposed now? 0, or why not. */
static int admit(struct member *m, const struct member_proposal *it)
{
    if (it->body.len > m->config.max_request_bytes)
        return MEMBER_TOO_LARGE;
    uint64_t commit = atomic_load_explicit(&m->core.commit, memory_order_relaxed);
    uint64_t applied = atomic_load_explicit(&m->applied, memory_order_relaxed);
    if (commit > applied + MEMBER_APPLY_LAG_ENTRIES)
        return MEMBER_TOO_MANY;
    if (atomic_load_explicit(&m->proposals.queued_bytes, memory_order_relaxed) >
        MEMBER_QUEUED_BYTES)
        return MEMBER_TOO_MANY;
    if (it->kind != STORE_PUT && it->kind != STORE_TXN && it->kind != STORE_LEASE_GRANT)
        return 0;

    struct store_request checked;
    if (store_check(it->kind, it->body, 0, &checked))
        return 0; // apply refuses it with the store's own reason
    if (!checked.writes_value)
        return 0;
    if (store_has_alarm(m->store, STORE_ALARM_NOSPACE))
        return MEMBER_NO_SPACE;
    if (!wal_has_space(m->wal) || store_no_space(m->store))
        return MEMBER_NO_SPACE; // until the disk has room again: no alarm for that
    if (!store_quota_has(m->store, checked.cost)) {
        member_raise_no_space(m);
        return MEMBER_NO_SPACE;
    }
    return 0;
}

static uint64_t chosen_id(uint32_t kind)
{
    if (kind != STORE_LEASE_GRANT)
        return 0;
    uint64_t id;
    do
        id = rt_random_u64() & INT64_MAX;
    while (id == 0);
    return id;
}

/* What a passed deadline means: did the leader that had it go away? */
static int timeout_code(struct member *m, uint64_t changes_before)
{
    if (atomic_load(&m->core.leader) == RAFT_NONE ||
        atomic_load(&m->core.leader_changes) != changes_before)
        return MEMBER_TIMEOUT_LEADER_LOST;
    if (!atomic_load(&m->core.is_leader) && !peers_is_connected(m, atomic_load(&m->core.leader)))
        return MEMBER_TIMEOUT_LINK_LOST;
    return MEMBER_TIMEOUT;
}

/* Wait for the end of it; afterwards nobody else touches the proposal's results. */
static int await(struct member *m, struct proposal *p, int64_t deadline_ns)
{
    uint64_t changes = atomic_load(&m->core.leader_changes);
    if (rt_note_wait(&p->done, deadline_ns) == 0)
        return p->code;
    struct proposal *mine = proposals_claim(&m->proposals, p->request);
    if (!mine) { // somebody is just ending it
        rt_note_wait(&p->done, RT_FOREVER);
        return p->code;
    }
    proposal_unref(mine);
    return timeout_code(m, changes);
}

/* How far one came that failed. It is at apply when its index is committed, and that in the term in which
 * it was proposed: in another one the index may be another entry's. */
static void stamp_failed(struct member *m, struct proposal *p)
{
    struct member_stages *s = p->stages;
    s->failed_ns = stage_now();
    s->taken_ns = atomic_load_explicit(&p->taken_ns, memory_order_relaxed);
    s->index = atomic_load_explicit(&p->appended_index, memory_order_relaxed);
    s->led = s->index != 0;
    uint64_t commit = atomic_load(&m->core.commit);
    uint64_t term =
        atomic_load_explicit(&slot_of(&m->proposals, p->request)->term, memory_order_relaxed);
    s->is_committed = s->led && s->index <= commit && atomic_load(&m->core.term) == term;
}

int member_propose(struct member *m, const struct member_proposal *it, struct member_outcome *out)
{
    assert(out->result);
    out->command = NULL;
    out->stages = (struct member_stages){0};
    if (atomic_load(&m->stopping))
        return MEMBER_STOPPED;
    int err = admit(m, it);
    if (err) {
        if (m->proposals.failed)
            rt_counter_add(m->proposals.failed, 1);
        return err;
    }
    if (it->kind == STORE_TXN || it->kind == STORE_PUT)
        store_prefetch(m->store, it->kind, it->body);

    rt_waitgroup_add(&m->callers, 1);
    err = member_propose_admitted(m, it, out);
    rt_waitgroup_done(&m->callers);
    return err;
}

int member_propose_admitted(struct member *m, const struct member_proposal *it,
                            struct member_outcome *out)
{
    struct command c = {
        .kind = it->kind,
        .proposer = m->id,
        .chosen = chosen_id(it->kind),
        .auth_revision = it->auth_revision,
        .body = it->body,
    };
    struct proposal *p = new_proposal(&c);
    if (!p)
        return MEMBER_TOO_LARGE;
    p->result = out->result;
    p->stages = &out->stages;
    if (!take_slot(&m->proposals, p)) {
        proposal_unref(p);
        return MEMBER_TOO_MANY;
    }
    command_set_request(p->entry, p->request);
    size_t len = p->entry->len;
    uint64_t request = p->request;
    atomic_fetch_add_explicit(&m->proposals.queued_bytes, (int64_t)len, memory_order_relaxed);
    if (m->proposals.pending)
        rt_counter_add(m->proposals.pending, 1);

    p->stages->queued_ns = stage_now();
    proposal_ref(p); // the mailbox's
    core_post(m, &p->item);
    // a stop that began between our look and the slot has seen the slot, or we see it now
    if (atomic_load(&m->stopping))
        proposals_fail(&m->proposals, request, MEMBER_STOPPED);
    int err = await(m, p, it->deadline_ns);

    if (!err) {
        out->command = p->command;
        out->body = p->body;
        out->chosen_id = p->chosen;
        out->index = p->index;
        out->term = p->entry_term;
    } else {
        stamp_failed(m, p);
        if (m->proposals.failed)
            rt_counter_add(m->proposals.failed, 1);
    }
    give_slot_back(&m->proposals, request);
    atomic_fetch_sub_explicit(&m->proposals.queued_bytes, (int64_t)len, memory_order_relaxed);
    if (m->proposals.pending)
        rt_counter_add(m->proposals.pending, -1);
    proposal_unref(p);
    return err;
}
