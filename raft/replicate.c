/* raft/replicate.c: the log's way to the followers: append, accept, reject, commit.
 *
 * The leader's own log counts towards the commit index only when its own append answer comes back from
 * storage, like everybody's. Commit is by counting only for entries of the current term (Raft paper,
 * figure 8); what lies before is committed with it. */
#include "raft/core.h"
#include <assert.h>
#include <string.h>

static uint64_t min64(uint64_t a, uint64_t b) { return a < b ? a : b; }

/* ---- The leader's log ------------------------------------------------------------------------- */

bool raft_replicate_append_own(struct raft *r, struct raft_entry *entries, size_t count)
{
    uint64_t last = raft_log_last_index(&r->log), payload = raft_entries_payload(entries, count);
    uint64_t max = r->config.max_uncommitted_bytes;
    // Entries without payload are never refused: a new leader's first one, and leaving a joint
    // configuration, are what makes progress possible. Nor is anything when the tail is empty.
    if (max && payload && r->uncommitted_bytes && r->uncommitted_bytes + payload > max)
        return false;
    for (size_t i = 0; i < count; i++) {
        entries[i].term = r->term;
        entries[i].index = last + 1 + i;
    }
    r->uncommitted_bytes += payload;
    raft_log_append(&r->log, entries, count);
    raft_send(r,
              (struct raft_message){.type = RAFT_MSG_APP_RESP, .to = r->id, .index = last + count});
    return true;
}

/* Why this conf change may not be proposed now; NULL if it may. */
static const char *conf_change_refused(const struct raft *r, const struct raft_conf_change *cc,
                                       char *buf, size_t cap)
{
    bool joint = raft_conf_is_joint(&r->members.conf);
    bool leaves = cc->count == 0;
    if (r->pending_conf_index > r->log.applied) {
        snprintf(buf, cap,
                 "possible unapplied conf change at index %" PRIu64 " (applied to %" PRIu64 ")",
                 r->pending_conf_index, r->log.applied);
        return buf;
    }
    if (joint && !leaves)
        return "must transition out of joint config first";
    if (!joint && leaves)
        return "not in joint state; refusing empty conf change";
    return NULL;
}

/* Look at a proposed conf change: one that may not be proposed becomes an empty entry, so that its
 * proposer learns of it in the log's order. */
static void admit_conf_change(struct raft *r, struct raft_entry *e, uint64_t index)
{
    struct raft_conf_change cc;
    char buf[128];
    const char *why;
    int err = raft_conf_change_decode(e->data, e->len, &cc);
    assert(err == 0); // checked before
    why = conf_change_refused(r, &cc, buf, sizeof(buf));
    if (!why || r->config.skip_conf_validation) {
        r->pending_conf_index = index;
        return;
    }
    if (r->voice.level <= RAFT_INFO) {
        char config[512];
        raft_describe_config(&r->members.conf, config, sizeof(config));
        raft_say(&r->voice, RAFT_INFO, "%" PRIx64 " ignoring conf change %s at config %s: %s",
                 r->id, raft_text_of_change(r, &cc), config, why);
    }
    raft_block_unref(r->env, e->block);
    *e = (struct raft_entry){.kind = RAFT_ENTRY_NORMAL};
}

static int check_proposal(const struct raft_entry *entries, size_t count)
{
    struct raft_conf_change cc;
    for (size_t i = 0; i < count; i++)
        if (entries[i].kind != RAFT_ENTRY_NORMAL &&
            raft_conf_change_decode(entries[i].data, entries[i].len, &cc))
            return RAFT_BAD_CONF_CHANGE;
    return 0;
}

int raft_replicate_propose(struct raft *r, const struct raft_entry *entries, size_t count,
                           uint64_t *first_out)
{
    uint64_t first = raft_log_last_index(&r->log) + 1, pending = r->pending_conf_index;
    struct raft_entry *own;
    bool taken;
    int err;
    if (!raft_members_find(&r->members, r->id))
        return RAFT_NOT_A_MEMBER; // removed, and leading on without ourselves
    if (r->transferee != RAFT_NONE) {
        raft_say(&r->voice, RAFT_DEBUG,
                 "%" PRIx64 " [term %" PRIu64 "] transfer leadership to %" PRIx64
                 " is in progress; dropping proposal",
                 r->id, r->term, r->transferee);
        return RAFT_TRANSFERRING;
    }
    err = check_proposal(entries, count);
    if (err)
        return err;
    own = raft_entries_copy(r->env, entries, count);
    for (size_t i = 0; i < count; i++)
        if (own[i].kind != RAFT_ENTRY_NORMAL)
            admit_conf_change(r, &own[i], first + i);
    taken = raft_replicate_append_own(r, own, count);
    raft_entries_free(r->env, own, count);
    if (!taken) {
        r->pending_conf_index = pending;
        raft_say(
            &r->voice, RAFT_DEBUG,
            "%" PRIx64
            " appending new entries to log would exceed uncommitted entry size limit; dropping "
            "proposal",
            r->id);
        return RAFT_FULL;
    }
    if (first_out)
        *first_out = first;
    raft_replicate_to_all(r);
    return 0;
}

/* Payload that is no longer uncommitted. */
static void release_uncommitted(struct raft *r, uint64_t from, uint64_t to)
{
    for (uint64_t i = from + 1; i <= to; i++) {
        struct raft_entry_info info;
        if (raft_log_info(&r->log, i, &info))
            continue;
        r->uncommitted_bytes -= min64(info.len, r->uncommitted_bytes);
    }
}

bool raft_replicate_advance_commit(struct raft *r)
{
    uint64_t index = raft_members_committed(&r->members), before = r->log.committed, term;
    if (index <= before || raft_log_term(&r->log, index, &term) || term != r->term)
        return false;
    raft_log_commit_to(&r->log, index);
    release_uncommitted(r, before, index);
    raft_reads_committed(r);
    return true;
}

/* ---- Sending ---------------------------------------------------------------------------------- */

static bool send_snapshot(struct raft *r, struct raft_progress *p)
{
    struct raft_snapshot s = {0};
    if (!p->recently_active) {
        raft_say(&r->voice, RAFT_DEBUG,
                 "ignore sending snapshot to %" PRIx64 " since it is not recently active", p->id);
        return false;
    }
    if (r->env->snapshot(r->env->ctx, p->id, &s)) {
        raft_say(&r->voice, RAFT_DEBUG,
                 "%" PRIx64 " failed to send snapshot to %" PRIx64
                 " because snapshot is temporarily unavailable",
                 r->id, p->id);
        return false;
    }
    assert(s.index != 0);
    raft_say(&r->voice, RAFT_DEBUG,
             "%" PRIx64 " [firstindex: %" PRIu64 ", commit: %" PRIu64
             "] sent snapshot[index: %" PRIu64 ", term: %" PRIu64 "] to %" PRIx64 " [%s]",
             r->id, raft_log_first_index(&r->log), r->log.committed, s.index, s.term, p->id,
             raft_text_of_progress(r, p));
    raft_progress_become_snapshot(p, s.index);
    raft_say(&r->voice, RAFT_DEBUG,
             "%" PRIx64 " paused sending replication messages to %" PRIx64 " [%s]", r->id, p->id,
             raft_text_of_progress(r, p));
    raft_send(r, (struct raft_message){.type = RAFT_MSG_SNAP,
                                       .to = p->id,
                                       .snapshot = raft_snapshot_copy(r->env, &s)});
    raft_block_unref(r->env, s.block);
    return true;
}

/* Send an append of count entries from p->next on, after an entry of log_term; takes the entries. */
static void send_append(struct raft *r, struct raft_progress *p, uint64_t log_term,
                        struct raft_entry *entries, size_t count)
{
    raft_send(r, (struct raft_message){.type = RAFT_MSG_APP,
                                       .to = p->id,
                                       .index = p->next - 1,
                                       .log_term = log_term,
                                       .commit = r->log.committed,
                                       .entries = entries,
                                       .count = (uint32_t)count});
    raft_progress_sent(p, r->env, &r->window, count, raft_entries_payload(entries, count));
    p->sent_commit = r->log.committed;
}

static bool append_to(struct raft *r, struct raft_progress *p, bool also_empty)
{
    uint64_t last = raft_log_last_index(&r->log), log_term;
    struct raft_entry *entries = NULL;
    int n = 0;
    if (raft_progress_is_paused(p))
        return false;
    if (raft_log_term(&r->log, p->next - 1, &log_term))
        return send_snapshot(r, p); // compacted away
    if (p->next <= last &&
        (p->flow != RAFT_REPLICATE || !raft_inflights_full(&p->inflights, &r->window)))
        n = raft_log_slice(&r->log, p->next, last + 1, r->config.max_size_per_msg);
    if (n == RAFT_LATER) {
        p->fetch_new = p->fetch_new || p->fetch_lo != p->next;
        p->fetch_lo = p->next;
        n = 0;
    }
    if (n == 0 && !also_empty)
        return false;
    if (n < 0)
        return send_snapshot(r, p);
    if (n > 0) { // scratch's references go into the message
        entries = raft_alloc(r->env, (size_t)n * sizeof(*entries));
        memcpy(entries, r->log.scratch, (size_t)n * sizeof(*entries));
    }
    send_append(r, p, log_term, entries, (size_t)n);
    return true;
}

void raft_replicate_to(struct raft *r, struct raft_progress *p) { append_to(r, p, true); }

bool raft_replicate_more_to(struct raft *r, struct raft_progress *p)
{
    return append_to(r, p, false);
}

void raft_replicate_to_all(struct raft *r)
{
    for (uint32_t i = 0; i < r->members.peer_count; i++)
        if (r->members.peer[i]->id != r->id)
            append_to(r, r->members.peer[i], true);
}

void raft_replicate_heartbeat_all(struct raft *r)
{
    for (uint32_t i = 0; i < r->members.peer_count; i++) {
        struct raft_progress *p = r->members.peer[i];
        // Not our commit index: the follower's log may differ from ours above what it has matched.
        uint64_t commit = min64(p->match, r->log.committed);
        if (p->id == r->id)
            continue;
        raft_send(r, (struct raft_message){.type = RAFT_MSG_HEARTBEAT,
                                           .to = p->id,
                                           .commit = commit,
                                           .read_round = raft_reads_round(r)});
        p->sent_commit = commit;
    }
}

/* How many of the entries read are the ones our log has: the log may have changed while they were read. */
static size_t count_ours(const struct raft *r, const struct raft_entry *entries, size_t count,
                         uint64_t hi)
{
    size_t n = 0;
    while (n < count && entries[n].index < hi &&
           raft_log_matches(&r->log, entries[n].index, entries[n].term))
        n++;
    return n;
}

static void arrived_for_apply(struct raft *r, const struct raft_fetch *f,
                              const struct raft_entry *entries, size_t count)
{
    struct raft_log *l = &r->log;
    if (!l->fetch_asked || f->lo != l->applying + 1)
        return;
    l->fetch_asked = l->fetch_wanted = false;
    count = count_ours(r, entries, count, raft_log_appliable(l) + 1);
    l->arrived = raft_entries_copy(r->env, entries, count);
    l->arrived_count = count;
}

void raft_entries_arrived(struct raft *r, const struct raft_fetch *f,
                          const struct raft_entry *entries, size_t count)
{
    struct raft_progress *p;
    uint64_t log_term;
    size_t ours;
    for (size_t i = 0; i < count; i++)
        assert(entries[i].index == f->lo + i);
    if (f->to == r->id) {
        arrived_for_apply(r, f, entries, count);
        return;
    }
    p = r->role == RAFT_LEADER ? raft_members_find(&r->members, f->to) : NULL;
    if (!p || p->fetch_lo != f->lo)
        return;
    p->fetch_lo = 0;
    p->fetch_new = false;
    if (p->next != f->lo || raft_progress_is_paused(p))
        return; // it moved on, or back; its next answer asks again
    if (count == 0 || raft_log_term(&r->log, p->next - 1, &log_term)) {
        send_snapshot(r, p);
        return;
    }
    if (p->flow == RAFT_REPLICATE && raft_inflights_full(&p->inflights, &r->window))
        return;
    ours = count_ours(r, entries, count, UINT64_MAX);
    if (ours)
        send_append(r, p, log_term, raft_entries_copy(r->env, entries, ours), ours);
    while (raft_replicate_more_to(r, p))
        ;
}

/* ---- A follower's side ------------------------------------------------------------------------ */

int raft_replicate_handle_append(struct raft *r, const struct raft_message *m)
{
    struct raft_message answer = {.type = RAFT_MSG_APP_RESP, .to = m->from};
    uint64_t last, hint_term;
    int err;
    if (m->index < r->log.committed) {
        answer.index = r->log.committed; // all of that is known to agree
        raft_send(r, answer);
        return 0;
    }
    err =
        raft_log_try_append(&r->log, m->index, m->log_term, m->commit, m->entries, m->count, &last);
    if (err == RAFT_BAD_MESSAGE)
        return err;
    if (err == 0) {
        answer.index = last;
        raft_send(r, answer);
        return 0;
    }
    raft_say(&r->voice, RAFT_DEBUG,
             "%" PRIx64 " [logterm: %" PRIu64 ", index: %" PRIu64
             "] rejected MsgApp [logterm: %" PRIu64 ", index: %" PRIu64 "] from %" PRIx64,
             r->id, raft_log_term_or_zero(&r->log, m->index), m->index, m->log_term, m->index,
             m->from);
    // Where we may agree: entries of a term above log_term cannot be the leader's at that place. So a
    // whole term of ours is skipped by one answer, and a whole term of the leader's by its reading of it.
    answer.reject = true;
    answer.index = m->index;
    answer.reject_hint = raft_log_find_by_term(
        &r->log, min64(m->index, raft_log_last_index(&r->log)), m->log_term, &hint_term);
    answer.log_term = hint_term;
    raft_send(r, answer);
    return 0;
}

void raft_replicate_handle_heartbeat(struct raft *r, const struct raft_message *m)
{
    raft_log_commit_to(&r->log, m->commit);
    raft_send(r, (struct raft_message){
                     .type = RAFT_MSG_HEARTBEAT_RESP, .to = m->from, .read_round = m->read_round});
}

static bool concerns_us(const struct raft *r, const struct raft_conf_state *c)
{
    for (uint32_t i = 0; i < RAFT_MEMBERS_MAX; i++)
        if ((i < c->voters.count && c->voters.id[i] == r->id) ||
            (i < c->outgoing.count && c->outgoing.id[i] == r->id) ||
            (i < c->learners.count && c->learners.id[i] == r->id))
            return true;
    return false;
}

/* True if the snapshot replaces our log. */
static bool restore(struct raft *r, const struct raft_snapshot *s)
{
    if (s->index <= r->log.committed)
        return false;
    if (!concerns_us(r, &s->conf)) {
        raft_say(
            &r->voice, RAFT_WARN,
            "%" PRIx64
            " attempted to restore snapshot but it is not in the ConfState; should never happen",
            r->id);
        return false;
    }
    if (raft_log_matches(&r->log, s->index, s->term)) {
        raft_say(&r->voice, RAFT_INFO,
                 "%" PRIx64 " [commit: %" PRIu64 ", lastindex: %" PRIu64 ", lastterm: %" PRIu64
                 "] fast-forwarded commit to snapshot [index: %" PRIu64 ", term: %" PRIu64 "]",
                 r->id, r->log.committed, raft_log_last_index(&r->log), raft_log_last_term(&r->log),
                 s->index, s->term);
        raft_log_commit_to(&r->log, s->index);
        return false;
    }
    raft_log_restore(&r->log, s);
    raft_switch_conf(r, &s->conf, NULL);
    raft_say(&r->voice, RAFT_INFO,
             "%" PRIx64 " [commit: %" PRIu64 ", lastindex: %" PRIu64 ", lastterm: %" PRIu64
             "] restored snapshot [index: %" PRIu64 ", term: %" PRIu64 "]",
             r->id, r->log.committed, raft_log_last_index(&r->log), raft_log_last_term(&r->log),
             s->index, s->term);
    return true;
}

void raft_replicate_handle_snapshot(struct raft *r, const struct raft_message *m)
{
    const struct raft_snapshot *s = m->snapshot;
    bool taken = restore(r, s);
    raft_say(&r->voice, RAFT_INFO,
             "%" PRIx64 " [commit: %" PRIu64 "] %s snapshot [index: %" PRIu64 ", term: %" PRIu64
             "]",
             r->id, r->log.committed, taken ? "restored" : "ignored", s->index, s->term);
    raft_send(r, (struct raft_message){
                     .type = RAFT_MSG_APP_RESP, .to = m->from, .index = r->log.committed});
}

/* ---- Answers at the leader -------------------------------------------------------------------- */

static void hand_over(struct raft *r, uint64_t to)
{
    raft_send(r, (struct raft_message){.type = RAFT_MSG_TIMEOUT_NOW, .to = to});
}

static void handle_rejection(struct raft *r, struct raft_progress *p, const struct raft_message *m)
{
    uint64_t hint = m->reject_hint, ignored;
    raft_say(&r->voice, RAFT_DEBUG,
             "%" PRIx64 " received MsgAppResp(rejected, hint: (index %" PRIu64 ", term %" PRIu64
             ")) from %" PRIx64 " for index %" PRIu64,
             r->id, m->reject_hint, m->log_term, m->from, m->index);
    if (m->log_term > 0)
        hint = raft_log_find_by_term(&r->log, m->reject_hint, m->log_term, &ignored);
    if (!raft_progress_rejected(p, m->index, hint))
        return; // stale
    raft_say(&r->voice, RAFT_DEBUG, "%" PRIx64 " decreased progress of %" PRIx64 " to [%s]", r->id,
             p->id, raft_text_of_progress(r, p));
    if (p->flow == RAFT_REPLICATE)
        raft_progress_become_probe(p);
    raft_replicate_to(r, p);
}

static void update_flow(struct raft *r, struct raft_progress *p, uint64_t index)
{
    switch (p->flow) {
    case RAFT_PROBE:
        raft_progress_become_replicate(p);
        break;
    case RAFT_REPLICATE:
        raft_inflights_free_up_to(&p->inflights, index);
        break;
    case RAFT_SNAPSHOT:
        // Whatever snapshot it came by: what follows its match is in our log.
        if (p->match + 1 < raft_log_first_index(&r->log))
            break;
        raft_say(
            &r->voice, RAFT_DEBUG,
            "%" PRIx64
            " recovered from needing snapshot, resumed sending replication messages to %" PRIx64
            " [%s]",
            r->id, p->id, raft_text_of_progress(r, p));
        raft_progress_become_probe(p);
        raft_progress_become_replicate(p);
        break;
    }
}

void raft_replicate_handle_append_answer(struct raft *r, struct raft_progress *p,
                                         const struct raft_message *m)
{
    uint64_t id = p->id;
    p->recently_active = true;
    if (m->reject) {
        handle_rejection(r, p, m);
        return;
    }
    if (!raft_progress_acked(p, m->index) && !(p->match == m->index && p->flow == RAFT_PROBE))
        return;
    update_flow(r, p, m->index);
    if (raft_replicate_advance_commit(r)) {
        raft_replicate_to_all(r);
    } else if (id != r->id && raft_progress_can_bump_commit(p, r->log.committed)) {
        raft_replicate_to(r, p);
    }
    if (id == r->id)
        return;
    while (raft_replicate_more_to(r, p))
        ;
    if (id == r->transferee && p->match == raft_log_last_index(&r->log)) {
        raft_say(&r->voice, RAFT_INFO,
                 "%" PRIx64 " sent MsgTimeoutNow to %" PRIx64 " after received MsgAppResp", r->id,
                 id);
        hand_over(r, id);
    }
}

void raft_replicate_handle_heartbeat_answer(struct raft *r, struct raft_progress *p,
                                            const struct raft_message *m)
{
    uint64_t id = p->id;
    p->recently_active = true;
    p->paused = false; // if all that was under way was lost, this restarts the flow
    if (p->match < raft_log_last_index(&r->log) || p->flow == RAFT_PROBE)
        raft_replicate_to(r, p);
    raft_reads_acked(r, id, m->read_round);
}

void raft_replicate_handle_transfer(struct raft *r, struct raft_progress *p)
{
    if (p->is_learner) {
        raft_say(&r->voice, RAFT_DEBUG, "%" PRIx64 " is learner. Ignored transferring leadership",
                 p->id);
        return;
    }
    if (r->transferee == p->id) {
        raft_say(&r->voice, RAFT_INFO,
                 "%" PRIx64 " [term %" PRIu64 "] transfer leadership to %" PRIx64
                 " is in progress, ignores request to same node %" PRIx64,
                 r->id, r->term, p->id, p->id);
        return;
    }
    if (r->transferee != RAFT_NONE)
        raft_say(&r->voice, RAFT_INFO,
                 "%" PRIx64 " [term %" PRIu64
                 "] abort previous transferring leadership to %" PRIx64,
                 r->id, r->term, r->transferee);
    r->transferee = RAFT_NONE;
    if (p->id == r->id) {
        raft_say(&r->voice, RAFT_DEBUG,
                 "%" PRIx64 " is already leader. Ignored transferring leadership to self", r->id);
        return;
    }
    raft_say(&r->voice, RAFT_INFO,
             "%" PRIx64 " [term %" PRIu64 "] starts to transfer leadership to %" PRIx64, r->id,
             r->term, p->id);
    r->election_elapsed = 0; // it has one election timeout
    r->transferee = p->id;
    if (p->match == raft_log_last_index(&r->log)) {
        hand_over(r, p->id);
        raft_say(&r->voice, RAFT_INFO,
                 "%" PRIx64 " sends MsgTimeoutNow to %" PRIx64 " immediately as %" PRIx64
                 " already has up-to-date log",
                 r->id, p->id, p->id);
    } else {
        p->paused = false;
        raft_replicate_to(r, p);
    }
}
