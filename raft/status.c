/* raft/status.c: looking in. */
#include "raft/core.h"
#include <string.h>

enum raft_role raft_role(const struct raft *r) { return r->role; }
uint64_t raft_leader(const struct raft *r) { return r->leader; }
uint64_t raft_term(const struct raft *r) { return r->term; }
uint64_t raft_committed(const struct raft *r) { return r->log.committed; }

uint64_t raft_compactable(const struct raft *r)
{
    uint64_t index = r->log.applied;
    if (r->role != RAFT_LEADER)
        return index;
    for (uint32_t i = 0; i < r->members.peer_count; i++) {
        const struct raft_progress *p = r->members.peer[i];
        if (p->recently_active && p->match < index)
            index = p->match;
    }
    return index;
}

static void peer_status(const struct raft_progress *p, struct raft_peer_status *out)
{
    *out = (struct raft_peer_status){.id = p->id,
                                     .match = p->match,
                                     .next = p->next,
                                     .pending_snapshot = p->pending_snapshot,
                                     .inflight_msgs = p->inflights.count,
                                     .inflight_bytes = p->inflights.bytes,
                                     .flow = p->flow,
                                     .learner = p->is_learner,
                                     .paused = raft_progress_is_paused(p),
                                     .recently_active = p->recently_active};
}

void raft_status(const struct raft *r, struct raft_status *out)
{
    memset(out, 0, sizeof(*out));
    out->id = r->id;
    out->leader = r->leader;
    out->transferee = r->transferee;
    out->role = r->role;
    out->hard_state = (struct raft_hard_state){r->term, r->vote, r->log.committed};
    out->applied = r->log.applied;
    out->first_index = raft_log_first_index(&r->log);
    out->last_index = raft_log_last_index(&r->log);
    out->uncommitted_bytes = r->uncommitted_bytes;
    out->reads_waiting = r->reads.count;
    out->pending_conf_change = r->role == RAFT_LEADER && r->pending_conf_index > r->log.applied;
    out->conf = r->members.conf;
    if (r->role != RAFT_LEADER)
        return;
    out->peer_count = r->members.peer_count;
    for (uint32_t i = 0; i < r->members.peer_count; i++)
        peer_status(r->members.peer[i], &out->peer[i]);
}

bool raft_is_stalled(const struct raft *r, uint64_t peer)
{
    if (r->role != RAFT_LEADER)
        return false;
    for (uint32_t i = 0; i < r->members.peer_count; i++) {
        const struct raft_progress *p = r->members.peer[i];
        if (p->id == peer)
            return p->flow == RAFT_REPLICATE && p->next <= raft_log_last_index(&r->log) &&
                   p->inflights.count >= r->window.max_msgs;
    }
    return false;
}
