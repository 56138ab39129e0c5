/* raft/inflights.h: the window of unanswered append messages to one follower: the last index and the
 * bytes of each, oldest first.
 *
 * Invariant: bytes is the sum over the ring; indexes ascend. Both limits are soft in one way each: a
 * message that starts inside the window may end outside its bytes, and a window made smaller while
 * running drains to its new size. */
#pragma once
#include "raft/raft.h"

struct raft_window {
    uint64_t max_msgs;
    uint64_t max_bytes; // 0: no limit
};

struct raft_inflight {
    uint64_t index, bytes;
};

struct raft_inflights {
    struct raft_inflight *ring;
    size_t cap;   // of the ring; grows to what was needed, at most the window
    size_t first; // place of the oldest
    size_t count;
    uint64_t bytes;
};

bool raft_inflights_full(const struct raft_inflights *in, const struct raft_window *w);
/* Requires: not full; index above all in it. */
void raft_inflights_add(struct raft_inflights *in, const struct raft_env *env,
                        const struct raft_window *w, uint64_t index, uint64_t bytes);
void raft_inflights_free_up_to(struct raft_inflights *in,
                               uint64_t index); // those with an index <= it
void raft_inflights_reset(struct raft_inflights *in);
void raft_inflights_deinit(struct raft_inflights *in, const struct raft_env *env);
