/* raft/describe.c: state as text, for tests and logs, in the words of etcd's raft. */
#include "raft/core.h"
#include <assert.h>
#include <string.h>

/* A text under construction that counts what does not fit. */
struct text {
    char *buf;
    size_t cap, len;
};

#define say(t, ...)                                                                                \
    do {                                                                                           \
        struct text *t_ = (t);                                                                     \
        size_t left_ = t_->len < t_->cap ? t_->cap - t_->len : 0;                                  \
        t_->len += (size_t)snprintf(left_ ? t_->buf + t_->len : NULL, left_, __VA_ARGS__);         \
    } while (0)

static struct text start(char *buf, size_t cap)
{
    if (cap)
        buf[0] = 0;
    return (struct text){buf, cap, 0};
}

const char *raft_error_text(int err)
{
    switch ((enum raft_error)err) {
    case RAFT_OK:
        return "done";
    case RAFT_NO_LEADER:
        return "no leader";
    case RAFT_FULL:
        return "too much is waiting";
    case RAFT_TRANSFERRING:
        return "leadership is being transferred";
    case RAFT_NOT_A_MEMBER:
        return "not a member";
    case RAFT_NOT_LEADER:
        return "not the leader";
    case RAFT_BAD_CONF_CHANGE:
        return "this configuration change is not possible";
    case RAFT_BAD_MESSAGE:
        return "a message that no correct peer sends";
    case RAFT_LOCAL_MESSAGE:
        return "cannot step raft local message";
    case RAFT_UNKNOWN_PEER:
        return "cannot step as peer not found";
    case RAFT_COMPACTED:
        return "the entry is compacted";
    case RAFT_UNAVAILABLE:
        return "the entry is not in the log";
    case RAFT_LATER:
        return "not in memory";
    case RAFT_BAD_CONFIG:
        return "settings, hard state and log contradict each other";
    }
    return "unknown error";
}

const char *raft_role_text(enum raft_role role)
{
    static const char *const text[] = {"StateFollower", "StatePreCandidate", "StateCandidate",
                                       "StateLeader"};
    assert(role <= RAFT_LEADER);
    return text[role];
}

const char *raft_message_type_text(enum raft_message_type type)
{
    static const char *const text[] = {
        "MsgNone",    "MsgApp",         "MsgAppResp",       "MsgVote",           "MsgVoteResp",
        "MsgPreVote", "MsgPreVoteResp", "MsgHeartbeat",     "MsgHeartbeatResp",  "MsgSnap",
        "MsgProp",    "MsgReadIndex",   "MsgReadIndexResp", "MsgTransferLeader", "MsgTimeoutNow"};
    return (size_t)type < sizeof(text) / sizeof(text[0]) ? text[type] : "MsgUnknown";
}

static void put_quoted(struct text *t, const uint8_t *data, size_t len)
{
    say(t, "\"");
    for (size_t i = 0; i < len; i++) {
        uint8_t c = data[i];
        if (c == '"' || c == '\\')
            say(t, "\\%c", c);
        else if (c == '\n')
            say(t, "\\n");
        else if (c == '\t')
            say(t, "\\t");
        else if (c == '\r')
            say(t, "\\r");
        else if (c < 0x20 || c >= 0x7f)
            say(t, "\\x%02x", c);
        else
            say(t, "%c", c);
    }
    say(t, "\"");
}

static void put_ops(struct text *t, const struct raft_conf_change *cc)
{
    static const char letter[] = {'v', 'r', 'u', 'l'};
    for (uint32_t i = 0; i < cc->count; i++)
        say(t, "%s%c%" PRIu64, i ? " " : "", letter[cc->change[i].op], cc->change[i].id);
}

static void put_entry(struct text *t, const struct raft_entry *e)
{
    static const char *const kind[] = {"EntryNormal", "EntryConfChange", "EntryConfChangeV2"};
    struct raft_conf_change cc;
    say(t, "%" PRIu64 "/%" PRIu64 " %s", e->term, e->index,
        e->kind < 3 ? kind[e->kind] : "EntryUnknown");
    if (e->kind == RAFT_ENTRY_NORMAL) {
        say(t, " ");
        put_quoted(t, e->data, e->len);
    } else if (raft_conf_change_decode(e->data, e->len, &cc)) {
        say(t, " ?");
    } else if (cc.count) {
        say(t, " ");
        put_ops(t, &cc);
    }
}

size_t raft_describe_entry(const struct raft_entry *e, char *buf, size_t cap)
{
    struct text t = start(buf, cap);
    put_entry(&t, e);
    return t.len;
}

static void put_ids(struct text *t, const char *name, const struct raft_ids *s, const char *open,
                    const char *close)
{
    say(t, "%s%s", name, open);
    for (uint32_t i = 0; i < s->count; i++)
        say(t, "%s%" PRIu64, i ? " " : "", s->id[i]);
    say(t, "%s", close);
}

static void put_conf_state(struct text *t, const struct raft_conf_state *cs)
{
    put_ids(t, "Voters:", &cs->voters, "[", "]");
    put_ids(t, " VotersOutgoing:", &cs->outgoing, "[", "]");
    put_ids(t, " Learners:", &cs->learners, "[", "]");
    put_ids(t, " LearnersNext:", &cs->learners_next, "[", "]");
    say(t, " AutoLeave:%s", cs->auto_leave ? "true" : "false");
}

size_t raft_describe_conf_state(const struct raft_conf_state *cs, char *buf, size_t cap)
{
    struct text t = start(buf, cap);
    put_conf_state(&t, cs);
    return t.len;
}

static void put_id(struct text *t, uint64_t id)
{
    if (id == RAFT_NONE)
        say(t, "None");
    else
        say(t, "%" PRIx64, id);
}

size_t raft_describe_message(const struct raft_message *m, char *buf, size_t cap)
{
    struct text t = start(buf, cap);
    put_id(&t, m->from);
    say(&t, "->");
    put_id(&t, m->to);
    say(&t, " %s Term:%" PRIu64 " Log:%" PRIu64 "/%" PRIu64, raft_message_type_text(m->type),
        m->term, m->log_term, m->index);
    if (m->reject)
        say(&t, " Rejected (Hint: %" PRIu64 ")", m->reject_hint);
    if (m->commit)
        say(&t, " Commit:%" PRIu64, m->commit);
    if (m->count == 1) {
        say(&t, " Entries:[");
        put_entry(&t, &m->entries[0]);
        say(&t, "]");
    } else if (m->count) {
        say(&t, " Entries:[");
        for (uint32_t i = 0; i < m->count; i++) {
            say(&t, "\n  ");
            put_entry(&t, &m->entries[i]);
        }
        say(&t, "\n]");
    }
    if (m->snapshot) {
        say(&t, "\n  Snapshot: Index:%" PRIu64 " Term:%" PRIu64 " ConfState:", m->snapshot->index,
            m->snapshot->term);
        put_conf_state(&t, &m->snapshot->conf);
    }
    return t.len;
}

size_t raft_describe_config(const struct raft_conf_state *conf, char *buf, size_t cap)
{
    struct text t = start(buf, cap);
    put_ids(&t, "voters=", &conf->voters, "(", ")");
    if (conf->outgoing.count)
        put_ids(&t, "&&", &conf->outgoing, "(", ")");
    if (conf->learners.count)
        put_ids(&t, " learners=", &conf->learners, "(", ")");
    if (conf->learners_next.count)
        put_ids(&t, " learners_next=", &conf->learners_next, "(", ")");
    if (conf->auto_leave)
        say(&t, " autoleave");
    return t.len;
}

size_t raft_describe_progress(const struct raft_progress *p, const struct raft_window *w, char *buf,
                              size_t cap)
{
    static const char *const flow[] = {"StateProbe", "StateReplicate", "StateSnapshot"};
    struct text t = start(buf, cap);
    say(&t, "%s match=%" PRIu64 " next=%" PRIu64, flow[p->flow], p->match, p->next);
    if (p->is_learner)
        say(&t, " learner");
    if (raft_progress_is_paused(p))
        say(&t, " paused");
    if (p->pending_snapshot)
        say(&t, " pendingSnap=%" PRIu64, p->pending_snapshot);
    if (!p->recently_active)
        say(&t, " inactive");
    if (p->inflights.count)
        say(&t, " inflight=%zu%s", p->inflights.count,
            raft_inflights_full(&p->inflights, w) ? "[full]" : "");
    return t.len;
}

const char *raft_text_of_conf(struct raft *r)
{
    raft_describe_config(&r->members.conf, r->voice.part, sizeof(r->voice.part));
    return r->voice.part;
}

const char *raft_text_of_progress(struct raft *r, const struct raft_progress *p)
{
    raft_describe_progress(p, &r->window, r->voice.part, sizeof(r->voice.part));
    return r->voice.part;
}

const char *raft_text_of_change(struct raft *r, const struct raft_conf_change *cc)
{
    static const char *const op[] = {"AddNode", "RemoveNode", "UpdateNode", "AddLearnerNode"};
    static const char *const transition[] = {"Auto", "JointImplicit", "JointExplicit"};
    struct text t = start(r->voice.part, sizeof(r->voice.part));
    say(&t, "transition:ConfChangeTransition%s", transition[cc->transition]);
    for (uint32_t i = 0; i < cc->count; i++)
        say(&t, " changes:{type:ConfChange%s node_id:%" PRIu64 "}", op[cc->change[i].op],
            cc->change[i].id);
    return r->voice.part;
}
