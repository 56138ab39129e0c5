/* raft/progress.c: the flow of appends to one follower. The trap is next: it may run ahead of match
 * (REPLICATE) but never fall to or below it, and every move backwards takes sent_commit along. */
#include "raft/progress.h"
#include <assert.h>

static uint64_t min64(uint64_t a, uint64_t b) { return a < b ? a : b; }
static uint64_t max64(uint64_t a, uint64_t b) { return a > b ? a : b; }

static void enter(struct raft_progress *p, enum raft_flow flow)
{
    p->flow = flow;
    p->paused = false;
    p->pending_snapshot = 0;
    p->fetch_lo = 0;
    p->fetch_new = false;
    raft_inflights_reset(&p->inflights); // counts what was lost as no longer under way
}

void raft_progress_become_probe(struct raft_progress *p)
{
    uint64_t after_snapshot = p->flow == RAFT_SNAPSHOT ? p->pending_snapshot + 1 : 0;
    enter(p, RAFT_PROBE);
    p->next = max64(p->match + 1, after_snapshot);
    p->sent_commit = min64(p->sent_commit, p->next - 1);
}

void raft_progress_become_replicate(struct raft_progress *p)
{
    enter(p, RAFT_REPLICATE);
    p->next = p->match + 1;
}

void raft_progress_become_snapshot(struct raft_progress *p, uint64_t index)
{
    enter(p, RAFT_SNAPSHOT);
    p->pending_snapshot = index;
    p->next = index + 1;
    p->sent_commit = index;
}

bool raft_progress_is_paused(const struct raft_progress *p)
{
    return p->flow == RAFT_SNAPSHOT || p->paused;
}

void raft_progress_sent(struct raft_progress *p, const struct raft_env *env,
                        const struct raft_window *w, size_t count, uint64_t bytes)
{
    assert(!raft_progress_is_paused(p));
    assert(p->flow != RAFT_SNAPSHOT);
    if (p->flow == RAFT_PROBE) {
        if (count)
            p->paused = true;
        return;
    }
    if (count) {
        p->next += count;
        raft_inflights_add(&p->inflights, env, w, p->next - 1, bytes);
    }
    p->paused = raft_inflights_full(&p->inflights, w);
}

bool raft_progress_acked(struct raft_progress *p, uint64_t index)
{
    assert(p->match < p->next);
    if (index <= p->match)
        return false;
    p->match = index;
    p->next = max64(p->next, index + 1);
    p->paused = false;
    return true;
}

bool raft_progress_rejected(struct raft_progress *p, uint64_t rejected, uint64_t hint)
{
    if (p->flow == RAFT_REPLICATE) {
        if (rejected <= p->match)
            return false;
        p->next = p->match + 1;
        p->sent_commit = min64(p->sent_commit, p->next - 1);
        return true;
    }
    if (p->next - 1 != rejected)
        return false;
    p->next = max64(hint < rejected ? hint + 1 : rejected, p->match + 1);
    p->sent_commit = min64(p->sent_commit, p->next - 1);
    p->paused = false;
    return true;
}

bool raft_progress_can_bump_commit(const struct raft_progress *p, uint64_t commit)
{
    return commit > p->sent_commit && p->sent_commit < p->next - 1;
}

void raft_progress_deinit(struct raft_progress *p, const struct raft_env *env)
{
    raft_inflights_deinit(&p->inflights, env);
}
