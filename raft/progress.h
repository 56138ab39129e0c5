/* raft/progress.h: what the leader knows about one follower's log. It says what may be sent next and when
 * to hold back; it sends nothing itself.
 *
 *     PROBE --- accepted ---> REPLICATE --- rejected or lost ---> PROBE
 *     either --- entry `next` is compacted away ---> SNAPSHOT --- installed or failed ---> PROBE
 *                                                    SNAPSHOT --- accepted an append ---> REPLICATE
 *
 * Invariants: match < next; in REPLICATE, entries in (match, next) are in flight; at most a window of
 * messages is unanswered; sent_commit is what the follower will commit if nothing more is sent and
 * nothing is lost. Source: Raft thesis 10.2.2; behaviour as in etcd's raft. */
#pragma once
#include "raft/inflights.h"

struct raft_progress {
    uint64_t id;
    uint64_t match; // highest index the follower is known to have stored
    uint64_t next;  // index of the next entry to send
    uint64_t
        sent_commit; // highest commit index sent in a message that can carry the follower there
    uint64_t pending_snapshot; // SNAPSHOT only: index of the one under way
    uint64_t fetch_lo;         // entries from here on were asked for (a fetch); 0: none
    bool fetch_new;            // the request was not handed out yet
    bool paused; // PROBE: a message is unanswered. REPLICATE: one was sent in a full window
    bool recently_active; // heard from since the last CheckQuorum
    bool is_learner;
    enum raft_flow flow;
    struct raft_inflights inflights; // REPLICATE only
};

void raft_progress_become_probe(struct raft_progress *p);
void raft_progress_become_replicate(struct raft_progress *p);
void raft_progress_become_snapshot(struct raft_progress *p, uint64_t index);

/* Nothing at all may be sent now, until an answer or a heartbeat's answer. */
bool raft_progress_is_paused(const struct raft_progress *p);

/* Record an append message with count entries from next on. Requires: not paused, not SNAPSHOT; without
 * entries when the window is full. */
void raft_progress_sent(struct raft_progress *p, const struct raft_env *env,
                        const struct raft_window *w, size_t count, uint64_t bytes);

/* Record that the follower has stored the log up to `index`: raises match, moves next past it. Returns
 * true if that was news. A late or repeated answer returns false and changes nothing. Requires: `index`
 * is in our log; the caller has refused a message that claims more. */
bool raft_progress_acked(struct raft_progress *p, uint64_t index);

/* Record that the append at `rejected` was refused and that the logs may agree at `hint`: moves next back.
 * False, changing nothing, for an answer to something we have since moved on from. */
bool raft_progress_rejected(struct raft_progress *p, uint64_t rejected, uint64_t hint);

/* An empty message would tell the follower of a commit index that it does not know and can use. */
bool raft_progress_can_bump_commit(const struct raft_progress *p, uint64_t commit);

void raft_progress_deinit(struct raft_progress *p, const struct raft_env *env);
