/* raft/quorum.c: of n voters sorted by index ascending, place n - (n/2 + 1) and everything above it are a
 * majority. */
#include "raft/quorum.h"
#include "raft/ids.h"
#include <assert.h>

static uint64_t majority_committed(const struct raft_ids *voters,
                                   uint64_t (*acked)(const void *ctx, uint64_t id), const void *ctx)
{
    uint64_t sorted[RAFT_MEMBERS_MAX];
    uint32_t n = voters->count;
    if (n == 0)
        return UINT64_MAX;
    assert(n <= RAFT_MEMBERS_MAX);
    for (uint32_t i = 0; i < n; i++) {
        uint64_t index = acked(ctx, voters->id[i]);
        uint32_t at = i;
        for (; at > 0 && sorted[at - 1] > index; at--)
            sorted[at] = sorted[at - 1];
        sorted[at] = index;
    }
    return sorted[n - (n / 2 + 1)];
}

uint64_t raft_quorum_committed(const struct raft_quorum *q,
                               uint64_t (*acked)(const void *ctx, uint64_t id), const void *ctx)
{
    uint64_t a = majority_committed(q->incoming, acked, ctx);
    uint64_t b = majority_committed(q->outgoing, acked, ctx);
    return a < b ? a : b;
}

static enum raft_vote_result majority_vote(const struct raft_ids *voters,
                                           const struct raft_ids *yes, const struct raft_ids *no)
{
    uint32_t granted = 0, missing = 0, need = voters->count / 2 + 1;
    if (voters->count == 0)
        return RAFT_VOTE_WON;
    for (uint32_t i = 0; i < voters->count; i++) {
        if (raft_ids_has(yes, voters->id[i]))
            granted++;
        else if (!raft_ids_has(no, voters->id[i]))
            missing++;
    }
    if (granted >= need)
        return RAFT_VOTE_WON;
    return granted + missing >= need ? RAFT_VOTE_PENDING : RAFT_VOTE_LOST;
}

enum raft_vote_result raft_quorum_vote(const struct raft_quorum *q, const struct raft_ids *yes,
                                       const struct raft_ids *no)
{
    enum raft_vote_result a = majority_vote(q->incoming, yes, no);
    enum raft_vote_result b = majority_vote(q->outgoing, yes, no);
    if (a == b)
        return a;
    if (a == RAFT_VOTE_LOST || b == RAFT_VOTE_LOST)
        return RAFT_VOTE_LOST;
    return RAFT_VOTE_PENDING;
}
