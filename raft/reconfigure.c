/* raft/reconfigure.c: a configuration takes effect: when its entry is applied, a snapshot restored, or a
 * member started. */
#include "raft/core.h"
#include <assert.h>

void raft_switch_conf(struct raft *r, const struct raft_conf_state *conf,
                      const struct raft_ids *renewed)
{
    struct raft_progress *self;
    raft_members_set(&r->members, r->env, conf, renewed, raft_log_last_index(&r->log));
    raft_say(&r->voice, RAFT_INFO, "%" PRIx64 " switched to configuration %s", r->id,
             raft_text_of_conf(r));
    self = raft_members_find(&r->members, r->id);
    r->is_learner = self && self->is_learner;
    if (r->role != RAFT_LEADER)
        return;
    if (!self || r->is_learner) {
        // We lead without being in the quorum. Our term's entry is committed, so stepping down is safe.
        if (r->config.step_down_on_removal)
            raft_become_follower(r, r->term, RAFT_NONE);
        return;
    }
    if (conf->voters.count == 0)
        return;
    if (raft_replicate_advance_commit(r)) { // the new quorum may be smaller
        raft_replicate_to_all(r);
    } else {
        for (uint32_t i = 0; i < r->members.peer_count; i++)
            if (r->members.peer[i]->id != r->id)
                raft_replicate_more_to(r, r->members.peer[i]);
    }
    if (r->transferee != RAFT_NONE && !raft_members_is_voter(&r->members, r->transferee))
        r->transferee = RAFT_NONE;
}

int raft_apply_conf_change(struct raft *r, const struct raft_entry *e,
                           struct raft_conf_state *conf_out, const char **reason_out)
{
    struct raft_conf_change cc;
    struct raft_conf_state conf = r->members.conf;
    struct raft_ids renewed;
    const char *reason = "not a configuration change";
    if (e->kind != RAFT_ENTRY_NORMAL && raft_conf_change_decode(e->data, e->len, &cc) == 0)
        reason = raft_conf_apply(&conf, &cc, &renewed);
    if (!reason)
        raft_switch_conf(r, &conf, &renewed);
    else
        raft_say(&r->voice, RAFT_WARN, "%" PRIx64 " applied conf change %" PRIu64 " as nothing: %s",
                 r->id, e->index, reason);
    if (conf_out)
        *conf_out = r->members.conf;
    if (reason_out)
        *reason_out = reason;
    return reason ? RAFT_BAD_CONF_CHANGE : 0;
}
