/* raft/raft.c: terms and roles; who handles which message.
 *
 *                    timeout                 majority of pre-votes
 *      FOLLOWER ----------------> PRE_CANDIDATE -----------> CANDIDATE ----- majority of votes --> LEADER
 *         ^  ^                        |    |                     |                                   |
 *         |  '---- leader's message --'----'--- or lost ---------'                                   |
 *         '------- a higher term; no quorum heard (CheckQuorum); removed ----------------------------'
 *
 * Without PreVote a follower becomes CANDIDATE at once. The order of the checks in raft_step matters: a
 * message of a higher term is believed first and handled after, but a (pre-)vote is believed only if no
 * leader was heard of lately, or one disconnected member would depose every leader. */
#include "raft/core.h"
#include "raft/ids.h"
#include <assert.h>
#include <string.h>

static uint32_t draw_timeout(struct raft *r)
{
    uint64_t extra = r->env->random(r->env->ctx, r->config.election_ticks);
    assert(extra < r->config.election_ticks);
    return r->config.election_ticks + (uint32_t)extra;
}

static bool is_promise(enum raft_message_type t)
{
    return t == RAFT_MSG_APP_RESP || t == RAFT_MSG_VOTE_RESP || t == RAFT_MSG_PRE_VOTE_RESP;
}

static bool has_no_term(enum raft_message_type t)
{
    return t == RAFT_MSG_PROP || t == RAFT_MSG_READ_INDEX || t == RAFT_MSG_TRANSFER_LEADER;
}

void raft_send(struct raft *r, struct raft_message m)
{
    assert(m.to != RAFT_NONE);
    if (m.from == RAFT_NONE)
        m.from = r->id;
    if (has_no_term(m.type))
        assert(m.term == 0);
    else if (m.term == 0)
        m.term = r->term;
    if (is_promise(m.type)) {
        raft_outbox_put(r->env, &r->promises, &m);
    } else {
        assert(m.to != r->id);
        raft_outbox_put(r->env, &r->messages, &m);
    }
}

/* ---- Roles ------------------------------------------------------------------------------------ */

static void reset(struct raft *r, uint64_t term)
{
    uint64_t last = raft_log_last_index(&r->log);
    assert(term >= r->term);
    if (r->term != term) {
        r->term = term;
        r->vote = RAFT_NONE;
    }
    r->leader = RAFT_NONE;
    r->transferee = RAFT_NONE;
    r->election_elapsed = r->heartbeat_elapsed = 0;
    r->election_timeout = draw_timeout(r);
    raft_members_reset_votes(&r->members);
    for (uint32_t i = 0; i < r->members.peer_count; i++) {
        struct raft_progress *p = r->members.peer[i];
        p->match = p->id == r->id ? last : 0;
        p->sent_commit = 0;
        p->recently_active = false;
        p->flow = RAFT_PROBE;
        raft_progress_become_probe(p);
        p->next = last + 1;
    }
    r->pending_conf_index = 0;
    r->uncommitted_bytes = 0;
    raft_reads_reset(r);
}

void raft_become_follower(struct raft *r, uint64_t term, uint64_t leader)
{
    reset(r, term);
    r->leader = leader;
    r->role = RAFT_FOLLOWER;
    raft_say(&r->voice, RAFT_INFO, "%" PRIx64 " became follower at term %" PRIu64, r->id, r->term);
}

void raft_become_candidate(struct raft *r)
{
    assert(r->role != RAFT_LEADER);
    reset(r, r->term + 1);
    r->vote = r->id;
    r->role = RAFT_CANDIDATE;
    raft_say(&r->voice, RAFT_INFO, "%" PRIx64 " became candidate at term %" PRIu64, r->id, r->term);
}

void raft_become_pre_candidate(struct raft *r)
{
    assert(r->role != RAFT_LEADER);
    // Neither term nor vote: a pre-candidate changes its role and nothing that must be durable.
    raft_members_reset_votes(&r->members);
    r->leader = RAFT_NONE;
    r->role = RAFT_PRE_CANDIDATE;
    raft_say(&r->voice, RAFT_INFO, "%" PRIx64 " became pre-candidate at term %" PRIu64, r->id,
             r->term);
}

static uint64_t uncommitted_payload(const struct raft *r)
{
    uint64_t bytes = 0;
    for (uint64_t i = r->log.committed + 1; i <= raft_log_last_index(&r->log); i++) {
        struct raft_entry_info info;
        if (raft_log_info(&r->log, i, &info) == 0)
            bytes += info.len;
    }
    return bytes;
}

void raft_become_leader(struct raft *r)
{
    struct raft_entry empty = {.kind = RAFT_ENTRY_NORMAL};
    struct raft_progress *self;
    bool taken;
    assert(r->role == RAFT_CANDIDATE);
    reset(r, r->term);
    r->leader = r->id;
    r->role = RAFT_LEADER;
    self = raft_members_find(&r->members, r->id);
    assert(self);
    raft_progress_become_replicate(self);
    self->recently_active = true;
    // One of the entries before may be a conf change; none is proposed until all of them are applied.
    r->pending_conf_index = raft_log_last_index(&r->log);
    r->uncommitted_bytes = uncommitted_payload(r);
    taken = raft_replicate_append_own(r, &empty, 1);
    assert(taken);
    raft_say(&r->voice, RAFT_INFO, "%" PRIx64 " became leader at term %" PRIu64, r->id, r->term);
}

/* ---- Life ------------------------------------------------------------------------------------- */

static bool config_is_sound(const struct raft_env *env, const struct raft_config *c)
{
    uint64_t first = env->first_index(env->ctx), last = env->last_index(env->ctx);
    if (c->id == RAFT_NONE || c->heartbeat_ticks == 0 || c->election_ticks <= c->heartbeat_ticks)
        return false;
    if (c->max_inflight_msgs == 0)
        return false;
    if (c->max_inflight_bytes != 0 && c->max_inflight_bytes < c->max_size_per_msg)
        return false;
    if (!raft_conf_is_sound(&c->conf))
        return false;
    if (c->applied != 0 && (c->applied + 1 < first || c->applied > last))
        return false;
    // A commit index that is a little old, even older than the log, is normal: it is not synced for its
    // own sake. One past the log's end means that the log is not the one it was.
    return c->hard_state.commit <= last;
}

static void say_hello(struct raft *r)
{
    char *peers = r->voice.part;
    size_t at = 0;
    peers[0] = 0;
    for (uint32_t i = 0; i < r->config.conf.voters.count && at + 20 < sizeof(r->voice.part); i++)
        at += (size_t)snprintf(peers + at, sizeof(r->voice.part) - at, "%s%" PRIx64, i ? "," : "",
                               r->config.conf.voters.id[i]);
    raft_say(&r->voice, RAFT_INFO,
             "newRaft %" PRIx64 " [peers: [%s], term: %" PRIu64 ", commit: %" PRIu64
             ", applied: %" PRIu64 ", lastindex: %" PRIu64 ", lastterm: %" PRIu64 "]",
             r->id, peers, r->term, r->log.committed, r->log.applied, raft_log_last_index(&r->log),
             raft_log_last_term(&r->log));
}

int raft_new(const struct raft_env *env, const struct raft_config *config, struct raft **out)
{
    struct raft *r;
    if (!config_is_sound(env, config))
        return RAFT_BAD_CONFIG;
    r = raft_alloc(env, sizeof(*r));
    r->env = env;
    r->config = *config;
    r->id = config->id;
    r->voice.env = env;
    r->voice.level = config->log_level;
    r->window = (struct raft_window){config->max_inflight_msgs, config->max_inflight_bytes};
    raft_log_init(&r->log, env, &r->voice);
    r->log.apply_unstable = config->apply_unstable;
    r->log.max_applying_bytes =
        config->max_apply_bytes ? config->max_apply_bytes : config->max_size_per_msg;
    if (r->log.max_applying_bytes == 0)
        r->log.max_applying_bytes = 1; // one entry at a time
    raft_switch_conf(r, &config->conf, NULL);
    r->term = config->hard_state.term;
    r->vote = config->hard_state.vote;
    if (config->hard_state.commit > r->log.committed)
        r->log.committed = config->hard_state.commit;
    if (config->applied) {
        if (config->applied > r->log.committed)
            r->log.committed = config->applied; // what was applied was committed
        raft_log_applied_to(&r->log, config->applied, 0);
    }
    r->last_hard = (struct raft_hard_state){r->term, r->vote, r->log.committed};
    raft_become_follower(r, r->term, RAFT_NONE);
    say_hello(r);
    *out = r;
    return 0;
}

void raft_free(struct raft *r)
{
    const struct raft_env *env = r->env;
    raft_reads_reset(r);
    raft_release(env, r->reads.queue, r->reads.cap * sizeof(*r->reads.queue));
    raft_release(env, r->reads.answers, r->reads.answer_cap * sizeof(*r->reads.answers));
    raft_outbox_deinit(env, &r->messages);
    raft_outbox_deinit(env, &r->promises);
    raft_members_deinit(&r->members, env);
    raft_log_deinit(&r->log);
    raft_release(env, r, sizeof(*r));
}

/* ---- Messages --------------------------------------------------------------------------------- */

static bool kinds_are_sound(const struct raft_message *m)
{
    for (uint32_t i = 0; i < m->count; i++)
        if (m->entries[i].kind > RAFT_ENTRY_CONF_CHANGE_V2)
            return false;
    return true;
}

static bool append_is_sound(const struct raft_message *m)
{
    uint64_t term = m->log_term;
    for (uint32_t i = 0; i < m->count; i++) {
        if (m->entries[i].index != m->index + 1 + i || m->entries[i].term < term ||
            m->entries[i].term > m->term)
            return false;
        term = m->entries[i].term;
    }
    return m->log_term <= m->term && m->index <= UINT64_MAX - m->count &&
           (m->count == 0 || term > 0);
}

/* What no correct peer sends. Checked before anything changes. */
static int check_message(struct raft *r, const struct raft_message *m)
{
    if (m->type < RAFT_MSG_APP || m->type > RAFT_MSG_TIMEOUT_NOW)
        return RAFT_LOCAL_MESSAGE;
    if (m->from == RAFT_NONE || (m->term == 0) != has_no_term(m->type) || !kinds_are_sound(m))
        return RAFT_BAD_MESSAGE;
    if (m->from == r->id && !is_promise(m->type) && m->type != RAFT_MSG_TRANSFER_LEADER)
        return RAFT_BAD_MESSAGE;
    switch (m->type) {
    case RAFT_MSG_APP:
        return append_is_sound(m) ? 0 : RAFT_BAD_MESSAGE;
    case RAFT_MSG_HEARTBEAT:
        if (m->term < r->term || m->commit <= raft_log_last_index(&r->log))
            return 0;
        raft_say(&r->voice, RAFT_ERROR,
                 "tocommit(%" PRIu64 ") is out of range [lastIndex(%" PRIu64
                 ")]. Was the raft log corrupted, truncated, or lost?",
                 m->commit, raft_log_last_index(&r->log));
        return RAFT_BAD_MESSAGE;
    case RAFT_MSG_SNAP:
        return m->snapshot && m->snapshot->index != 0 && m->snapshot->term != 0 &&
                       m->snapshot->term <= m->term && raft_conf_is_sound(&m->snapshot->conf)
                   ? 0
                   : RAFT_BAD_MESSAGE;
    case RAFT_MSG_PROP:
        return m->count ? 0 : RAFT_BAD_MESSAGE;
    case RAFT_MSG_APP_RESP:
        if (!m->reject && r->role == RAFT_LEADER && m->term == r->term &&
            m->index > raft_log_last_index(&r->log))
            return RAFT_BAD_MESSAGE;
        // fall through
    case RAFT_MSG_VOTE_RESP:
    case RAFT_MSG_PRE_VOTE_RESP:
    case RAFT_MSG_HEARTBEAT_RESP:
        return raft_members_find(&r->members, m->from) || m->from == r->id ? 0 : RAFT_UNKNOWN_PEER;
    default:
        return 0;
    }
}

static bool is_from_leader(enum raft_message_type t)
{
    return t == RAFT_MSG_APP || t == RAFT_MSG_HEARTBEAT || t == RAFT_MSG_SNAP;
}

static bool is_vote(enum raft_message_type t)
{
    return t == RAFT_MSG_VOTE || t == RAFT_MSG_PRE_VOTE;
}

/* A higher term. False: the message goes no further. */
static bool meet_higher_term(struct raft *r, const struct raft_message *m)
{
    if (is_vote(m->type) && !m->transfer && raft_election_is_sticky(r)) {
        raft_say(&r->voice, RAFT_INFO,
                 "%" PRIx64 " [logterm: %" PRIu64 ", index: %" PRIu64 ", vote: %" PRIx64
                 "] ignored %s from %" PRIx64 " [logterm: %" PRIu64 ", index: %" PRIu64
                 "] at term %" PRIu64 ": lease is not expired (remaining ticks: %u)",
                 r->id, raft_log_last_term(&r->log), raft_log_last_index(&r->log), r->vote,
                 raft_message_type_text(m->type), m->from, m->log_term, m->index, r->term,
                 r->config.election_ticks - r->election_elapsed);
        return false;
    }
    // A pre-vote asks about a term that nobody is in yet; a granted answer repeats that term.
    if (m->type == RAFT_MSG_PRE_VOTE || (m->type == RAFT_MSG_PRE_VOTE_RESP && !m->reject))
        return true;
    raft_say(&r->voice, RAFT_INFO,
             "%" PRIx64 " [term: %" PRIu64 "] received a %s message with higher term from %" PRIx64
             " [term: %" PRIu64 "]",
             r->id, r->term, raft_message_type_text(m->type), m->from, m->term);
    raft_become_follower(r, m->term, is_from_leader(m->type) ? m->from : RAFT_NONE);
    return true;
}

static void meet_lower_term(struct raft *r, const struct raft_message *m)
{
    bool guarded = r->config.check_quorum || r->config.pre_vote;
    if (guarded && (m->type == RAFT_MSG_HEARTBEAT || m->type == RAFT_MSG_APP)) {
        // We may be ahead in term and yet never campaign (PreVote), nor be heard (CheckQuorum): our term,
        // in an answer, makes that leader step down, or we would be stuck for ever.
        raft_send(r, (struct raft_message){.type = RAFT_MSG_APP_RESP, .to = m->from});
    } else if (m->type == RAFT_MSG_PRE_VOTE) {
        raft_election_refuse(r, m,
                             true); // an answer, for a mixed cluster's sake: it learns our term
    } else {
        raft_say(&r->voice, RAFT_INFO,
                 "%" PRIx64 " [term: %" PRIu64
                 "] ignored a %s message with lower term from %" PRIx64 " [term: %" PRIu64 "]",
                 r->id, r->term, raft_message_type_text(m->type), m->from, m->term);
    }
}

static int step_leader(struct raft *r, const struct raft_message *m)
{
    struct raft_progress *p;
    if (m->type == RAFT_MSG_PROP)
        return raft_replicate_propose(r, m->entries, m->count, NULL);
    if (m->type == RAFT_MSG_READ_INDEX)
        return raft_reads_add(r, m->from, m->read_id);
    p = raft_members_find(&r->members, m->from);
    if (!p) {
        raft_say(&r->voice, RAFT_DEBUG, "%" PRIx64 " no progress available for %" PRIx64, r->id,
                 m->from);
        return 0;
    }
    switch (m->type) {
    case RAFT_MSG_APP_RESP:
        raft_replicate_handle_append_answer(r, p, m);
        break;
    case RAFT_MSG_HEARTBEAT_RESP:
        raft_replicate_handle_heartbeat_answer(r, p, m);
        break;
    case RAFT_MSG_TRANSFER_LEADER:
        raft_replicate_handle_transfer(r, p);
        break;
    default:
        break; // late votes
    }
    return 0;
}

static int no_leader(struct raft *r, const char *dropped)
{
    raft_say(&r->voice, RAFT_INFO, "%" PRIx64 " no leader at term %" PRIu64 "; dropping %s", r->id,
             r->term, dropped);
    return RAFT_NO_LEADER;
}

static int forward(struct raft *r, const struct raft_message *m, const char *what)
{
    struct raft_message f = *m;
    if (r->role != RAFT_FOLLOWER || r->leader == RAFT_NONE)
        return no_leader(r, what);
    if (m->type == RAFT_MSG_PROP && r->config.no_proposal_forwarding) {
        raft_say(&r->voice, RAFT_INFO,
                 "%" PRIx64 " not forwarding to leader %" PRIx64 " at term %" PRIu64
                 "; dropping proposal",
                 r->id, r->leader, r->term);
        return RAFT_NOT_LEADER;
    }
    f.to = r->leader;
    f.snapshot = NULL;
    f.entries = raft_entries_copy(r->env, m->entries, m->count);
    raft_send(r, f);
    return 0;
}

static int step_follower(struct raft *r, const struct raft_message *m)
{
    switch (m->type) {
    case RAFT_MSG_APP:
    case RAFT_MSG_HEARTBEAT:
    case RAFT_MSG_SNAP:
        r->election_elapsed = 0;
        r->leader = m->from;
        if (m->type == RAFT_MSG_APP)
            return raft_replicate_handle_append(r, m);
        if (m->type == RAFT_MSG_HEARTBEAT)
            raft_replicate_handle_heartbeat(r, m);
        else
            raft_replicate_handle_snapshot(r, m);
        return 0;
    case RAFT_MSG_TIMEOUT_NOW:
        raft_say(&r->voice, RAFT_INFO,
                 "%" PRIx64 " [term %" PRIu64 "] received MsgTimeoutNow from %" PRIx64
                 " and starts an election to get leadership.",
                 r->id, r->term, m->from);
        raft_election_hup(r, true); // the leader knows that we may: no PreVote
        return 0;
    case RAFT_MSG_PROP:
        return forward(r, m, "proposal");
    case RAFT_MSG_TRANSFER_LEADER:
        return forward(r, m, "leader transfer msg");
    case RAFT_MSG_READ_INDEX:
        return forward(r, m, "index reading msg");
    case RAFT_MSG_READ_INDEX_RESP:
        raft_reads_answer(r, m->read_id, m->index);
        return 0;
    default:
        return 0; // answers to an election that is over
    }
}

static int step_candidate(struct raft *r, const struct raft_message *m)
{
    enum raft_message_type own =
        r->role == RAFT_PRE_CANDIDATE ? RAFT_MSG_PRE_VOTE_RESP : RAFT_MSG_VOTE_RESP;
    if (is_from_leader(m->type)) {
        raft_become_follower(r, m->term, m->from); // of our term: somebody won
        return step_follower(r, m);
    }
    if (m->type == own)
        raft_election_handle_answer(r, m);
    else if (m->type == RAFT_MSG_PROP)
        return no_leader(r, "proposal");
    else if (m->type == RAFT_MSG_READ_INDEX)
        return no_leader(r, "index reading msg");
    else if (m->type == RAFT_MSG_TRANSFER_LEADER)
        return no_leader(r, "leader transfer msg");
    else if (m->type == RAFT_MSG_TIMEOUT_NOW)
        raft_say(&r->voice, RAFT_DEBUG,
                 "%" PRIx64 " [term %" PRIu64 " state %s] ignored MsgTimeoutNow from %" PRIx64,
                 r->id, r->term, raft_role_text(r->role), m->from);
    return 0;
}

int raft_step(struct raft *r, const struct raft_message *m)
{
    int err = check_message(r, m);
    if (err)
        return err;
    if (m->term != 0 && m->term > r->term && !meet_higher_term(r, m))
        return 0;
    // A pre-vote of a higher term has left ours alone.
    if (m->term != 0 && m->term < r->term) {
        meet_lower_term(r, m);
        return 0;
    }
    if (is_vote(m->type)) {
        raft_election_handle_vote(r, m);
        return 0;
    }
    switch (r->role) {
    case RAFT_LEADER:
        return step_leader(r, m);
    case RAFT_FOLLOWER:
        return step_follower(r, m);
    default:
        return step_candidate(r, m);
    }
}

/* ---- Other inputs ----------------------------------------------------------------------------- */

void raft_tick(struct raft *r)
{
    r->election_elapsed++;
    if (r->role != RAFT_LEADER) {
        if (raft_election_is_promotable(r) && r->election_elapsed >= r->election_timeout) {
            r->election_elapsed = 0;
            raft_election_hup(r, false);
        }
        return;
    }
    r->heartbeat_elapsed++;
    if (r->election_elapsed >= r->config.election_ticks) {
        r->election_elapsed = 0;
        if (r->config.check_quorum)
            raft_election_check_quorum(r);
        if (r->role == RAFT_LEADER)
            r->transferee = RAFT_NONE; // it had its time; proposals are taken again
    }
    if (r->role == RAFT_LEADER && r->heartbeat_elapsed >= r->config.heartbeat_ticks) {
        r->heartbeat_elapsed = 0;
        raft_replicate_heartbeat_all(r);
    }
}

int raft_propose(struct raft *r, const struct raft_entry *entries, size_t count,
                 uint64_t *first_index_out)
{
    struct raft_message m = {.type = RAFT_MSG_PROP, .from = r->id};
    int err;
    assert(count > 0);
    assert(count <= UINT32_MAX);
    if (r->role == RAFT_LEADER)
        return raft_replicate_propose(r, entries, count, first_index_out);
    m.entries = raft_entries_copy(r->env, entries, count);
    m.count = (uint32_t)count;
    for (uint32_t i = 0; i < m.count; i++)
        m.entries[i].term = m.entries[i].index = 0;
    err = r->role == RAFT_FOLLOWER ? forward(r, &m, "proposal") : no_leader(r, "proposal");
    raft_entries_free(r->env, m.entries, m.count);
    if (!err && first_index_out)
        *first_index_out = 0;
    return err;
}

int raft_read_index(struct raft *r, uint64_t read_id)
{
    struct raft_message m = {.type = RAFT_MSG_READ_INDEX, .from = r->id, .read_id = read_id};
    if (r->role == RAFT_LEADER)
        return raft_reads_add(r, r->id, read_id);
    return forward(r, &m, "index reading msg");
}

void raft_campaign(struct raft *r) { raft_election_hup(r, false); }

int raft_transfer(struct raft *r, uint64_t to)
{
    struct raft_message m = {.type = RAFT_MSG_TRANSFER_LEADER, .from = to};
    struct raft_progress *p;
    if (r->role != RAFT_LEADER)
        return forward(r, &m, "leader transfer msg");
    p = raft_members_find(&r->members, to);
    if (!p || p->is_learner)
        return RAFT_NOT_A_MEMBER;
    raft_replicate_handle_transfer(r, p);
    return 0;
}

void raft_forget_leader(struct raft *r)
{
    if (r->role != RAFT_FOLLOWER)
        return;
    if (r->config.read_only == RAFT_READ_LEASE) {
        raft_say(&r->voice, RAFT_ERROR, "ignoring MsgForgetLeader due to ReadOnlyLeaseBased");
        return;
    }
    if (r->leader == RAFT_NONE)
        return;
    raft_say(&r->voice, RAFT_INFO, "%" PRIx64 " forgetting leader %" PRIx64 " at term %" PRIu64,
             r->id, r->leader, r->term);
    r->leader = RAFT_NONE;
}

void raft_report_unreachable(struct raft *r, uint64_t peer)
{
    struct raft_progress *p = r->role == RAFT_LEADER ? raft_members_find(&r->members, peer) : NULL;
    if (!p)
        return;
    if (p->flow == RAFT_REPLICATE)
        raft_progress_become_probe(p); // what was under way is probably lost
    raft_say(&r->voice, RAFT_DEBUG,
             "%" PRIx64 " failed to send message to %" PRIx64 " because it is unreachable [%s]",
             r->id, p->id, raft_text_of_progress(r, p));
}

void raft_report_snapshot(struct raft *r, uint64_t peer, bool installed)
{
    struct raft_progress *p = r->role == RAFT_LEADER ? raft_members_find(&r->members, peer) : NULL;
    if (!p || p->flow != RAFT_SNAPSHOT)
        return; // late: the follower has answered itself
    if (!installed)
        p->pending_snapshot = 0;
    raft_progress_become_probe(p);
    raft_say(&r->voice, RAFT_DEBUG,
             "%" PRIx64 " snapshot %s, resumed sending replication messages to %" PRIx64 " [%s]",
             r->id, installed ? "succeeded" : "failed", p->id, raft_text_of_progress(r, p));
    p->paused = true; // until it answers, or a heartbeat is answered
}

void raft_set_max_inflight_msgs(struct raft *r, uint64_t max)
{
    assert(max > 0);
    r->window.max_msgs = max;
}

void raft_set_log_level(struct raft *r, enum raft_level level) { r->voice.level = level; }
