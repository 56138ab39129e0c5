/* raft/quorum.h: majority and joint majority. An empty set of voters decides nothing by itself: it has
 * committed everything and won every vote, so that a joint configuration whose other half is empty is
 * just the one half. */
#pragma once
#include "raft/raft.h"

/* Decided by a majority of each half: the answer is the worse of the two. */
struct raft_quorum {
    const struct raft_ids *incoming;
    const struct raft_ids *outgoing;
};

enum raft_vote_result { RAFT_VOTE_PENDING, RAFT_VOTE_LOST, RAFT_VOTE_WON };

/* The highest index that a majority of each half has reached; UINT64_MAX when both are empty.
 * acked(ctx, id): the index this voter has reached, 0 when nothing is known of it. */
uint64_t raft_quorum_committed(const struct raft_quorum *q,
                               uint64_t (*acked)(const void *ctx, uint64_t id), const void *ctx);

/* yes, no: who has voted so far; ids that are not voters do not count. */
enum raft_vote_result raft_quorum_vote(const struct raft_quorum *q, const struct raft_ids *yes,
                                       const struct raft_ids *no);
