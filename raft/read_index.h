/* raft/read_index.h: linearizable reads without writing. The leader takes its commit index when the read
 * arrives, then makes sure, by a round of heartbeats sent after that, that it still led at that time.
 *
 *     queue:  [ confirmed by the round under way | next round | not stamped: no commit in this term yet ]
 *              <------------ in_round ---------->
 *
 * Invariants: (1) A round confirms only reads that were in the queue when it began. (2) One round at a
 * time; what arrives meanwhile shares the next. (3) A round's token is the leader's term and a counter
 * of its own, never something a caller chose: a delayed answer to an older round confirms nothing.
 * (4) No read is stamped before an entry of this term is committed: until then the commit index may lie
 * behind what an earlier leader acknowledged. */
#pragma once
#include "raft/raft.h"

struct raft_waiting_read {
    uint64_t from;    // who asked
    uint64_t read_id; // its name there
    uint64_t index;   // 0: not stamped
};

struct raft_reads {
    struct raft_waiting_read *queue;
    size_t count, cap, in_round;
    uint64_t round; // the last one begun in this term
    bool under_way;
    struct raft_ids acks;
    struct raft_read *answers; // for the next ready
    size_t answer_count, answer_cap;
};

/* All on the leader but the last. */
int raft_reads_add(struct raft *r, uint64_t from, uint64_t read_id); // 0 or RAFT_FULL
void raft_reads_committed(struct raft *r); // the commit index rose, to an entry of this term
void raft_reads_acked(struct raft *r, uint64_t from, uint64_t round);
uint64_t raft_reads_round(const struct raft *r); // what heartbeats carry; 0: no round
void raft_reads_reset(struct raft *r);           // a new role or term: nobody is answered
void raft_reads_answer(struct raft *r, uint64_t read_id, uint64_t index);
