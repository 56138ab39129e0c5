/* raft/limits.h: every bound of the core, and what happens at it. */
#pragma once

enum {
    RAFT_MEMBERS_MAX = 32,  // voters, outgoing voters, learners: a larger configuration is refused
    RAFT_READS_MAX = 65536, // reads waiting for confirmation: RAFT_FULL beyond
    RAFT_FETCHES_MAX =
        RAFT_MEMBERS_MAX, // one request for old entries a follower, and one for apply
};
