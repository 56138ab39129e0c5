/* raft/ready.c: what to persist, send and apply, in which order.
 *
 * Taking a ready hands everything in it out once. Three things come back: that a batch is durable
 * (raft_append_done, after its promises), that entries are applied (raft_apply_done), and that old
 * entries were read (raft_entries_arrived).
 *
 * A completion names the last entry of the *whole* unstable log at the time it was made, not of its own
 * batch: batches are written in order, so when this one is durable, so are those before it. And it is
 * made whenever there is an unstable tail, also for a batch that holds only a hard state: after a change
 * of term, completions of the old term are ignored, and this one attests the tail again. */
#include "raft/core.h"
#include <assert.h>
#include <string.h>

static struct raft_soft_state soft_state(const struct raft *r)
{
    return (struct raft_soft_state){r->leader, r->role};
}

static struct raft_hard_state hard_state(const struct raft *r)
{
    return (struct raft_hard_state){r->term, r->vote, r->log.committed};
}

static bool soft_changed(const struct raft *r)
{
    return r->leader != r->last_soft.leader || r->role != r->last_soft.role;
}

static bool hard_changed(const struct raft *r)
{
    struct raft_hard_state now = hard_state(r), *was = (struct raft_hard_state *)&r->last_hard;
    if (now.term == 0 && now.vote == RAFT_NONE && now.commit == 0)
        return false;
    return now.term != was->term || now.vote != was->vote || now.commit != was->commit;
}

static bool has_fetch(const struct raft *r)
{
    if (r->role != RAFT_LEADER)
        return false;
    for (uint32_t i = 0; i < r->members.peer_count; i++)
        if (r->members.peer[i]->fetch_new)
            return true;
    return false;
}

bool raft_has_ready(const struct raft *r)
{
    return soft_changed(r) || hard_changed(r) || raft_log_has_new_snapshot(&r->log) ||
           raft_log_has_unstable(&r->log) || r->messages.count || r->promises.count ||
           r->reads.answer_count || raft_log_can_apply(&r->log) || has_fetch(r);
}

static void take_persist(struct raft *r, struct raft_persist *p)
{
    struct raft_log *l = &r->log;
    uint64_t fresh = l->in_progress - l->offset; // how many unstable entries were handed out before
    if (hard_changed(r)) {
        p->has_hard_state = true;
        p->hard_state = hard_state(r);
        p->must_sync = r->term != r->last_hard.term || r->vote != r->last_hard.vote;
        r->last_hard = p->hard_state;
    }
    p->count = l->count - fresh;
    if (p->count)
        p->entries = raft_entries_copy(r->env, l->unstable + l->head + fresh, p->count);
    p->must_sync = p->must_sync || p->count > 0;
    l->in_progress = l->offset + l->count;
    if (raft_log_has_new_snapshot(l)) {
        p->snapshot = raft_snapshot_copy(r->env, l->snapshot);
        l->snapshot_in_progress = true;
        p->completion.snapshot_index = p->snapshot->index;
    }
    p->promises = raft_outbox_take(r->env, &r->promises, &p->promise_count);
    p->needed = p->has_hard_state || p->count || p->snapshot || p->promise_count;
    p->completion.term = r->term;
    if (l->count) {
        p->completion.index = raft_log_last_index(l);
        p->completion.log_term = raft_log_last_term(l);
    }
    p->completion.needed = l->count || p->snapshot;
}

/* The next entries to apply: those a fetch brought, or from the log. */
static size_t next_to_apply(struct raft *r, struct raft_entry **out)
{
    struct raft_log *l = &r->log;
    uint64_t room = l->max_applying_bytes - l->applying_bytes;
    struct raft_entry *entries = l->arrived;
    size_t count = l->arrived_count;
    int n;
    if (entries) {
        l->arrived = NULL;
        l->arrived_count = 0;
        *out = entries;
        return count;
    }
    n = raft_log_slice(l, l->applying + 1, raft_log_appliable(l) + 1, room);
    if (n == RAFT_LATER) {
        l->fetch_wanted = true;
        return 0;
    }
    assert(n > 0); // what is not applied must not be compacted
    *out = raft_alloc(r->env, (size_t)n * sizeof(**out));
    memcpy(*out, l->scratch, (size_t)n * sizeof(**out));
    return (size_t)n;
}

static void take_apply(struct raft *r, struct raft_apply *a)
{
    if (!raft_log_can_apply(&r->log))
        return;
    a->count = next_to_apply(r, &a->entries);
    if (a->count == 0)
        return;
    assert(a->entries[0].index == r->log.applying + 1);
    a->size_bytes = raft_entries_size(a->entries, a->count);
    raft_log_applying_to(&r->log, a->entries[a->count - 1].index, a->size_bytes);
}

static void take_reads(struct raft *r, struct raft_ready *rd)
{
    rd->read_count = r->reads.answer_count;
    if (rd->read_count) {
        rd->reads = raft_alloc(r->env, rd->read_count * sizeof(*rd->reads));
        memcpy(rd->reads, r->reads.answers, rd->read_count * sizeof(*rd->reads));
    }
    r->reads.answer_count = 0;
}

static void take_fetches(struct raft *r, struct raft_ready *rd)
{
    struct raft_fetch f[RAFT_FETCHES_MAX + 1];
    size_t n = 0;
    uint64_t bytes = r->config.max_size_per_msg;
    for (uint32_t i = 0; r->role == RAFT_LEADER && i < r->members.peer_count; i++) {
        struct raft_progress *p = r->members.peer[i];
        if (!p->fetch_new)
            continue;
        p->fetch_new = false;
        // Up to the unstable entries: what storage holds from there on may be about to be replaced.
        f[n++] = (struct raft_fetch){p->id, p->fetch_lo, r->log.offset, bytes};
    }
    if (r->log.fetch_wanted && !r->log.fetch_asked) {
        r->log.fetch_asked = true;
        f[n++] = (struct raft_fetch){r->id, r->log.applying + 1, raft_log_appliable(&r->log) + 1,
                                     r->log.max_applying_bytes};
    }
    rd->fetch_count = n;
    if (n) {
        rd->fetches = raft_alloc(r->env, n * sizeof(*rd->fetches));
        memcpy(rd->fetches, f, n * sizeof(*rd->fetches));
    }
}

void raft_ready(struct raft *r, struct raft_ready *rd)
{
    memset(rd, 0, sizeof(*rd));
    rd->has_soft_state = soft_changed(r);
    rd->soft_state = r->last_soft = soft_state(r);
    take_persist(r, &rd->persist);
    take_apply(r, &rd->apply);
    take_reads(r, rd);
    take_fetches(r, rd);
    rd->messages = raft_outbox_take(r->env, &r->messages, &rd->message_count);
}

/* Entries up to index are applied. Who leads a joint configuration that is to be left by itself proposes
 * that now, and again at every apply until it is in the log: a transfer may have dropped it. */
static void applied_to(struct raft *r, uint64_t index, uint64_t bytes)
{
    struct raft_entry leave = {.kind = RAFT_ENTRY_CONF_CHANGE_V2};
    int err;
    raft_log_applied_to(&r->log, index > r->log.applied ? index : r->log.applied, bytes);
    if (r->role != RAFT_LEADER || !r->members.conf.auto_leave ||
        r->log.applied < r->pending_conf_index)
        return;
    err = raft_replicate_propose(r, &leave, 1, NULL);
    if (err)
        raft_say(&r->voice, RAFT_DEBUG,
                 "not initiating automatic transition out of joint configuration %s: %s",
                 raft_text_of_conf(r), raft_error_text(err));
    else
        raft_say(&r->voice, RAFT_INFO,
                 "initiating automatic transition out of joint configuration %s",
                 raft_text_of_conf(r));
}

void raft_apply_done(struct raft *r, uint64_t index, uint64_t size_bytes)
{
    assert(index <= r->log.applying);
    applied_to(r, index, size_bytes);
}

void raft_append_done(struct raft *r, const struct raft_completion *done)
{
    assert(done->term <= r->term);
    if (done->term < r->term) {
        // Its entries may have been replaced since, and the same (index, term) come back in a write that
        // is still under way. A later completion attests what is there.
        if (done->index)
            raft_say(&r->voice, RAFT_INFO,
                     "%" PRIx64 " [term: %" PRIu64
                     "] ignored entry appends from a MsgStorageAppendResp message with lower term "
                     "[term: %" PRIu64 "]",
                     r->id, r->term, done->term);
    } else if (done->index) {
        raft_log_stable_to(&r->log, done->index, done->log_term);
    }
    if (done->snapshot_index) { // committed state: true in every term
        raft_log_snapshot_stable(&r->log, done->snapshot_index);
        applied_to(r, done->snapshot_index, 0);
    }
}
