/* raft/members.h: who is in the cluster, and the leader's progress of each: joint consensus and learners.
 *
 *     simple change        (A)   ------ at most one voter more or less ------>  (B)
 *     joint consensus      (A)   -- enter_joint -->  (B)&&(A)  -- leave_joint -->  (B)
 *
 * Invariants: (1) a learner is no voter of either half; one that still votes in the outgoing half waits in
 * learners_next. (2) learners_next lies in outgoing. (3) A progress exists for exactly the members of
 * voters, outgoing and learners. (4) auto_leave only while joint. A configuration takes effect when its
 * entry is applied, not when it is appended (unlike Raft's thesis, like etcd). */
#pragma once
#include "raft/progress.h"
#include "raft/quorum.h"

struct raft_members {
    struct raft_conf_state conf;
    struct raft_progress *peer[RAFT_MEMBERS_MAX]; // by id, ascending
    uint32_t peer_count;
    struct raft_ids granted, rejected; // of the election under way
};

/* What a change makes of a configuration. `renewed` are members that left and came back within it: what
 * was known of their log is void. Each returns NULL, or why it is refused; then *conf is unchanged. */
const char *raft_conf_simple(struct raft_conf_state *conf, const struct raft_conf_change *cc,
                             struct raft_ids *renewed);
const char *raft_conf_enter_joint(struct raft_conf_state *conf, bool auto_leave,
                                  const struct raft_conf_change *cc, struct raft_ids *renewed);
const char *raft_conf_leave_joint(struct raft_conf_state *conf);
/* The one of the three that cc asks for. */
const char *raft_conf_apply(struct raft_conf_state *conf, const struct raft_conf_change *cc,
                            struct raft_ids *renewed);
/* True when it keeps invariants 1, 2 and 4 and its bounds: for configurations from disk and network. */
bool raft_conf_is_sound(const struct raft_conf_state *conf);
bool raft_conf_is_joint(const struct raft_conf_state *conf);
bool raft_conf_wants_leave(const struct raft_conf_change *cc);

struct raft_progress *raft_members_find(const struct raft_members *ms,
                                        uint64_t id); // NULL: not there
struct raft_quorum raft_members_quorum(const struct raft_members *ms);
bool raft_members_is_voter(const struct raft_members *ms, uint64_t id); // of either half

/* Take conf, and make progress match it. New ones start at the end of a log that ends at last_index. */
void raft_members_set(struct raft_members *ms, const struct raft_env *env,
                      const struct raft_conf_state *conf, const struct raft_ids *renewed,
                      uint64_t last_index);
void raft_members_deinit(struct raft_members *ms, const struct raft_env *env);

uint64_t raft_members_committed(const struct raft_members *ms);
bool raft_members_quorum_active(const struct raft_members *ms);
void raft_members_reset_votes(struct raft_members *ms);
void raft_members_record_vote(struct raft_members *ms, uint64_t id,
                              bool granted); // the first counts
enum raft_vote_result raft_members_tally(const struct raft_members *ms, uint32_t *granted,
                                         uint32_t *rejected);
