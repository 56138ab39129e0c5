/* kv/member/core_stages.c: see core_stages.h.
 *
 *     leader                          follower
 *     D: sender stamps sent_ns  --->  reader stamps received_ns; remembered by the last index, until
 *                                     raft makes the answer to it; when that is durable it takes back
 *     E: received - sent_ns     <---  sent_ns, wait, write, sync
 *
 * A clock's reading is only ever compared with another of the same clock: the members' need not agree. */
#include "kv/member/core_stages.h"
#include "kv/member/parts.h"

static int64_t positive(int64_t ns) { return ns > 0 ? ns : 0; }

/* ---- A leader: answers ---- */

static bool is_voter(const struct raft_conf_state *conf, uint64_t id)
{
    for (uint32_t i = 0; i < conf->voters.count; i++)
        if (conf->voters.id[i] == id)
            return true;
    return false;
}

static void note_answer(struct member *m, const struct core_message *message)
{
    struct core *c = &m->core;
    const struct raft_message *it = &message->in->message;
    uint32_t count = atomic_load_explicit(&m->peers.count, memory_order_acquire), at = 0;
    while (at < count && m->peers.peer[at]->id != it->from)
        at++;
    if (it->reject || at == count || raft_role(c->raft) != RAFT_LEADER ||
        it->term != raft_term(c->raft))
        return;
    const struct peer_stamps *stamps = &message->in->stamps;
    if (stamps->sent_ns)
        follower_answered(&m->peers.peer[at]->latency, message->received_ns, stamps);
    const struct raft_conf_state *conf = &c->confs[c->conf_count - 1].conf;
    if (c->conf_count && is_voter(conf, it->from))
        stage_spans_answered(&c->spans, at, it->index, conf->voters.count / 2, message->received_ns,
                             stamps);
}

/* ---- A follower: appends, until they are answered ---- */

static void note_append(struct member *m, const struct core_message *message)
{
    const struct raft_message *it = &message->in->message;
    if (!it->count || !message->in->stamps.sent_ns)
        return;
    uint64_t last = it->entries[it->count - 1].index;
    m->core.echoes[last % CORE_ECHOES] = (struct stage_echo){.index = last,
                                                             .from = it->from,
                                                             .turn = m->core.turns,
                                                             .sent_ns = message->in->stamps.sent_ns,
                                                             .received_ns = message->received_ns};
}

void core_note_message(struct member *m, const struct core_message *message)
{
    if (!STAGE_STAMPS)
        return;
    if (message->in->message.type == RAFT_MSG_APP_RESP)
        note_answer(m, message);
    else if (message->in->message.type == RAFT_MSG_APP)
        note_append(m, message);
}

void core_note_promises(struct member *m, struct persist_job *job)
{
    const struct raft_persist *p = &job->persist;
    if (!STAGE_STAMPS || !p->promise_count)
        return;
    job->echoes = rt_alloc_zero(p->promise_count * sizeof(*job->echoes));
    for (size_t i = 0; i < p->promise_count; i++) {
        const struct raft_message *it = &p->promises[i];
        struct stage_echo *echo = &m->core.echoes[it->index % CORE_ECHOES];
        if (it->type != RAFT_MSG_APP_RESP || it->reject || it->to == m->id || !it->index ||
            echo->index != it->index || echo->from != it->to || echo->turn != m->core.turns)
            continue; // of another append: raft answers what it takes in the same turn
        job->echoes[i] = *echo;
        *echo =
            (struct stage_echo){0}; // once: a later answer to the same index is of another append
    }
}

struct peer_stamps persist_stamps(const struct persist_job *job, size_t i)
{
    const struct wal_times *t = &job->request.times;
    if (!job->echoes || !job->echoes[i].index)
        return (struct peer_stamps){0};
    int64_t written =
        t->written_ns == t->synced_ns ? t->begun_ns : t->written_ns; // one call: STAGES.md
    return (struct peer_stamps){
        .sent_ns = job->echoes[i].sent_ns,
        .wait_ns = (uint64_t)positive(t->building_ns - job->echoes[i].received_ns),
        .write_ns = (uint64_t)positive(written - t->building_ns),
        .sync_ns = (uint64_t)positive(t->synced_ns - written),
    };
}

/* ---- Windows ---- */

void core_note_windows(struct member *m)
{
    struct core *c = &m->core;
    bool leads = raft_role(c->raft) == RAFT_LEADER;
    if (!leads && !c->watched_windows)
        return;
    uint32_t count = atomic_load_explicit(&m->peers.count, memory_order_acquire);
    int64_t now = rt_now_ns();
    for (uint32_t i = 0; i < count; i++) {
        struct peer *p = m->peers.peer[i];
        follower_stalled(&p->latency, leads && raft_is_stalled(c->raft, p->id), now);
    }
    c->watched_windows = leads;
}
