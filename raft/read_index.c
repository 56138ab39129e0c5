/* raft/read_index.c: rounds of heartbeats that confirm reads. A quorum of one is confirmed by itself. */
#include "raft/core.h"
#include "raft/ids.h"
#include <assert.h>
#include <string.h>

static bool term_has_commit(const struct raft *r)
{
    return raft_log_term_or_zero(&r->log, r->log.committed) == r->term;
}

void raft_reads_answer(struct raft *r, uint64_t read_id, uint64_t index)
{
    struct raft_reads *rs = &r->reads;
    rs->answers = raft_grown(r->env, rs->answers, sizeof(*rs->answers), &rs->answer_cap,
                             rs->answer_count + 1);
    rs->answers[rs->answer_count++] = (struct raft_read){read_id, index};
}

static bool is_confirmed(const struct raft *r)
{
    struct raft_quorum q = raft_members_quorum(&r->members);
    struct raft_ids none = {0};
    return raft_quorum_vote(&q, &r->reads.acks, &none) == RAFT_VOTE_WON;
}

static void answer_round(struct raft *r)
{
    struct raft_reads *rs = &r->reads;
    for (size_t i = 0; i < rs->in_round; i++) {
        const struct raft_waiting_read *w = &rs->queue[i];
        assert(w->index != 0);
        if (w->from == r->id)
            raft_reads_answer(r, w->read_id, w->index);
        else
            raft_send(r, (struct raft_message){.type = RAFT_MSG_READ_INDEX_RESP,
                                               .to = w->from,
                                               .read_id = w->read_id,
                                               .index = w->index});
    }
    rs->count -= rs->in_round;
    memmove(rs->queue, rs->queue + rs->in_round, rs->count * sizeof(*rs->queue));
    rs->in_round = 0;
    rs->under_way = false;
}

/* Begin a round for all that wait. */
static void begin_round(struct raft *r)
{
    struct raft_reads *rs = &r->reads;
    assert(!rs->under_way);
    if (rs->count == 0 || !term_has_commit(r))
        return;
    rs->round++;
    rs->under_way = true;
    rs->in_round = rs->count;
    rs->acks.count = 0;
    raft_ids_add(&rs->acks, r->id);
    if (is_confirmed(r))
        answer_round(r);
    else
        raft_replicate_heartbeat_all(r);
}

int raft_reads_add(struct raft *r, uint64_t from, uint64_t read_id)
{
    struct raft_reads *rs = &r->reads;
    if (rs->count >= RAFT_READS_MAX)
        return RAFT_FULL;
    rs->queue = raft_grown(r->env, rs->queue, sizeof(*rs->queue), &rs->cap, rs->count + 1);
    rs->queue[rs->count++] =
        (struct raft_waiting_read){from, read_id, term_has_commit(r) ? r->log.committed : 0};
    if (!rs->under_way)
        begin_round(r);
    return 0;
}

void raft_reads_committed(struct raft *r)
{
    struct raft_reads *rs = &r->reads;
    assert(term_has_commit(r));
    for (size_t i = 0; i < rs->count; i++)
        if (rs->queue[i].index == 0)
            rs->queue[i].index = r->log.committed;
    if (!rs->under_way)
        begin_round(r);
}

void raft_reads_acked(struct raft *r, uint64_t from, uint64_t round)
{
    struct raft_reads *rs = &r->reads;
    if (!rs->under_way || round != rs->round)
        return; // no round, an older one, or a number we never used
    raft_ids_add(&rs->acks, from);
    if (!is_confirmed(r))
        return;
    answer_round(r);
    begin_round(r);
}

uint64_t raft_reads_round(const struct raft *r) { return r->reads.under_way ? r->reads.round : 0; }

void raft_reads_reset(struct raft *r)
{
    struct raft_reads *rs = &r->reads;
    rs->count = rs->in_round = 0;
    rs->round = 0;
    rs->under_way = false;
    rs->acks.count = 0;
}
