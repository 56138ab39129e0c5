/* raft/election.c: campaigns, votes, PreVote, CheckQuorum.
 *
 * A vote is a promise: the answer waits until term and vote are durable, our own vote for ourselves too.
 * PreVote asks whether an election could be won before any term is disturbed; CheckQuorum makes a leader
 * that hears no quorum step down, and a member that hears a leader refuse to vote. Either alone can lose
 * liveness under partial partitions, so members run both (Raft thesis 9.6, 6.4.1). */
#include "raft/core.h"
#include <assert.h>

bool raft_election_is_promotable(const struct raft *r)
{
    const struct raft_progress *self = raft_members_find(&r->members, r->id);
    return self && !self->is_learner && !r->log.snapshot;
}

bool raft_election_is_sticky(const struct raft *r)
{
    return r->config.check_quorum && r->leader != RAFT_NONE &&
           r->election_elapsed < r->config.election_ticks;
}

static void ask(struct raft *r, uint64_t id, enum raft_message_type type, uint64_t term,
                bool transfer)
{
    uint64_t last = raft_log_last_index(&r->log), last_term = raft_log_last_term(&r->log);
    if (id == r->id) {
        enum raft_message_type own =
            type == RAFT_MSG_VOTE ? RAFT_MSG_VOTE_RESP : RAFT_MSG_PRE_VOTE_RESP;
        raft_send(r, (struct raft_message){.type = own, .to = id, .term = term});
        return;
    }
    raft_say(&r->voice, RAFT_INFO,
             "%" PRIx64 " [logterm: %" PRIu64 ", index: %" PRIu64 "] sent %s request to %" PRIx64
             " at term %" PRIu64,
             r->id, last_term, last, raft_message_type_text(type), id, r->term);
    raft_send(r, (struct raft_message){.type = type,
                                       .to = id,
                                       .term = term,
                                       .index = last,
                                       .log_term = last_term,
                                       .transfer = transfer});
}

static void campaign(struct raft *r, enum raft_campaign_kind kind)
{
    enum raft_message_type type = RAFT_MSG_VOTE;
    uint64_t term;
    assert(raft_election_is_promotable(r));
    if (kind == RAFT_CAMPAIGN_PRE) {
        raft_become_pre_candidate(r);
        type = RAFT_MSG_PRE_VOTE;
        term = r->term + 1; // the one we would stand for
    } else {
        raft_become_candidate(r);
        term = r->term;
    }
    for (uint32_t i = 0; i < r->members.peer_count; i++)
        if (raft_members_is_voter(&r->members, r->members.peer[i]->id))
            ask(r, r->members.peer[i]->id, type, term, kind == RAFT_CAMPAIGN_TRANSFER);
}

void raft_election_hup(struct raft *r, bool transfer)
{
    if (r->role == RAFT_LEADER) {
        raft_say(&r->voice, RAFT_DEBUG, "%" PRIx64 " ignoring MsgHup because already leader",
                 r->id);
        return;
    }
    if (!raft_election_is_promotable(r)) {
        raft_say(&r->voice, RAFT_WARN, "%" PRIx64 " is unpromotable and can not campaign", r->id);
        return;
    }
    // It may remove us, or add voters that must be asked: with several of them applied late, two
    // members could win the same term with disjoint quorums.
    if (raft_log_has_conf_change_after(&r->log, r->log.applied, r->log.committed)) {
        raft_say(&r->voice, RAFT_WARN,
                 "%" PRIx64 " cannot campaign at term %" PRIu64
                 " since there are still pending configuration changes to apply",
                 r->id, r->term);
        return;
    }
    raft_say(&r->voice, RAFT_INFO, "%" PRIx64 " is starting a new election at term %" PRIu64, r->id,
             r->term);
    if (transfer)
        campaign(r, RAFT_CAMPAIGN_TRANSFER);
    else
        campaign(r, r->config.pre_vote ? RAFT_CAMPAIGN_PRE : RAFT_CAMPAIGN_REAL);
}

static enum raft_message_type answer_type(const struct raft_message *m)
{
    return m->type == RAFT_MSG_VOTE ? RAFT_MSG_VOTE_RESP : RAFT_MSG_PRE_VOTE_RESP;
}

static void say_vote(struct raft *r, const char *verb, const struct raft_message *m,
                     const char *joint)
{
    raft_say(&r->voice, RAFT_INFO,
             "%" PRIx64 " [logterm: %" PRIu64 ", index: %" PRIu64 ", vote: %" PRIx64
             "] %s %s %s %" PRIx64 " [logterm: %" PRIu64 ", index: %" PRIu64 "] at term %" PRIu64,
             r->id, raft_log_last_term(&r->log), raft_log_last_index(&r->log), r->vote, verb,
             raft_message_type_text(m->type), joint, m->from, m->log_term, m->index, r->term);
}

void raft_election_refuse(struct raft *r, const struct raft_message *m, bool say)
{
    if (say)
        say_vote(r, "rejected", m, "from");
    raft_send(r, (struct raft_message){
                     .type = answer_type(m), .to = m->from, .term = r->term, .reject = true});
}

void raft_election_handle_vote(struct raft *r, const struct raft_message *m)
{
    bool free_to = r->vote == m->from || (r->vote == RAFT_NONE && r->leader == RAFT_NONE) ||
                   (m->type == RAFT_MSG_PRE_VOTE && m->term > r->term);
    // A learner votes like others: it may be a voter without knowing, if the change reaches it late.
    if (!free_to || !raft_log_is_up_to_date(&r->log, m->log_term, m->index)) {
        raft_election_refuse(r, m, true);
        return;
    }
    say_vote(r, "cast", m, "for");
    // The asker's term: in a pre-vote it is ahead of ours, and the asker drops what is behind its own.
    raft_send(r, (struct raft_message){.type = answer_type(m), .to = m->from, .term = m->term});
    if (m->type == RAFT_MSG_VOTE) {
        r->election_elapsed = 0;
        r->vote = m->from;
    }
}

void raft_election_handle_answer(struct raft *r, const struct raft_message *m)
{
    const char *type = raft_message_type_text(m->type);
    uint32_t granted, rejected;
    raft_say(&r->voice, RAFT_INFO, "%" PRIx64 " received %s%s from %" PRIx64 " at term %" PRIu64,
             r->id, type, m->reject ? " rejection" : "", m->from, r->term);
    raft_members_record_vote(&r->members, m->from, !m->reject);
    enum raft_vote_result result = raft_members_tally(&r->members, &granted, &rejected);
    raft_say(&r->voice, RAFT_INFO, "%" PRIx64 " has received %u %s votes and %u vote rejections",
             r->id, granted, type, rejected);
    switch (result) {
    case RAFT_VOTE_WON:
        if (!raft_election_is_promotable(r)) {
            raft_become_follower(r, r->term,
                                 RAFT_NONE); // removed or demoted while the votes came in
        } else if (r->role == RAFT_PRE_CANDIDATE) {
            campaign(r, RAFT_CAMPAIGN_REAL);
        } else {
            raft_become_leader(r);
            raft_replicate_to_all(r);
        }
        break;
    case RAFT_VOTE_LOST:
        raft_become_follower(r, r->term,
                             RAFT_NONE); // a lost pre-vote too: its term is one ahead of ours
        break;
    case RAFT_VOTE_PENDING:
        break;
    }
}

void raft_election_check_quorum(struct raft *r)
{
    struct raft_progress *self = raft_members_find(&r->members, r->id);
    assert(r->role == RAFT_LEADER);
    if (self)
        self->recently_active = true;
    if (!raft_members_quorum_active(&r->members)) {
        raft_say(&r->voice, RAFT_WARN,
                 "%" PRIx64 " stepped down to follower since quorum is not active", r->id);
        raft_become_follower(r, r->term, RAFT_NONE);
    }
    for (uint32_t i = 0; i < r->members.peer_count; i++)
        if (r->members.peer[i]->id != r->id)
            r->members.peer[i]->recently_active = false;
}
