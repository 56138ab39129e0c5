/* kv/member/core.c: the raft goroutine: input. What comes out of raft is in core_ready.c. */
#include "kv/member/core.h"
#include "kv/member/command.h"
#include "kv/member/core_ready.h"
#include "kv/member/core_stages.h"
#include "kv/member/parts.h"
#include <assert.h>
#include <rt/go.h>

enum { PROPOSE_BYTES = 4 << 20 }; // of one raft_propose

void core_post(struct member *m, struct core_item *item)
{
    rt_mailbox_put(&m->core.inbox, &item->mail);
}

void core_post_event(struct member *m, enum core_kind kind, uint64_t peer, bool ok)
{
    struct core_event *e = rt_alloc(sizeof(*e));
    *e = (struct core_event){.item.kind = kind, .peer = peer, .ok = ok};
    core_post(m, &e->item);
}

/* ---- Proposals ---- */

static void list_push(struct proposal_list *l, struct proposal *p)
{
    p->item.mail.next = NULL;
    if (l->last)
        l->last->item.mail.next = &p->item.mail;
    else
        l->first = p;
    l->last = p;
    l->count++;
}

static struct proposal *list_pop(struct proposal_list *l)
{
    struct proposal *p = l->first;
    if (!p)
        return NULL;
    l->first = (struct proposal *)p->item.mail.next;
    if (!l->first)
        l->last = NULL;
    l->count--;
    return p;
}

/* Nobody waits for it any more, or it is not ours to decide any more. */
static bool is_over(struct member *m, const struct proposal *p)
{
    if (p->request && !proposals_is_waiting(&m->proposals, p->request))
        return true;
    if (!p->leader_only)
        return false;
    return raft_role(m->core.raft) != RAFT_LEADER || raft_term(m->core.raft) != p->term;
}

static void give_up(struct member *m, struct proposal *p)
{
    proposals_fail(&m->proposals, p->request, MEMBER_STALE_LEADER);
    proposal_unref(p);
}

/* Can raft take proposals now? If not they are held: they were promised a deadline, not an attempt. */
static bool can_propose(struct member *m)
{
    uint64_t leader = raft_leader(m->core.raft);
    if (leader == RAFT_NONE || wal_should_hold(m->wal))
        return false;
    return leader == m->id || peers_is_connected(m, leader);
}

static int error_of(int raft_err)
{
    switch (raft_err) {
    case RAFT_NOT_A_MEMBER:
        return MEMBER_NOT_MEMBER;
    case RAFT_NOT_LEADER:
        return MEMBER_NOT_LEADER;
    default:
        return MEMBER_NO_LEADER;
    }
}

static bool is_for_later(int raft_err)
{
    return raft_err == RAFT_NO_LEADER || raft_err == RAFT_TRANSFERRING || raft_err == RAFT_FULL;
}

/* Give raft as many as one call should take, in order. False when it takes none now. */
static bool propose_some(struct member *m, struct proposal_list *from)
{
    struct core *c = &m->core;
    struct raft_entry *entries = c->scratch;
    struct proposal_list taken = {0};
    uint64_t term = raft_term(c->raft);
    size_t bytes = 0;
    int64_t now = stage_now();
    while (from->first && taken.count < CORE_PROPOSE_ENTRIES && bytes < PROPOSE_BYTES) {
        struct proposal *p = list_pop(from);
        if (is_over(m, p)) {
            give_up(m, p);
            continue;
        }
        if (!p->leader_only)
            command_set_term(p->entry, term);
        proposals_set_term(&m->proposals, p->request, term);
        entries[taken.count] = (struct raft_entry){
            .kind = RAFT_ENTRY_NORMAL,
            .data = p->entry->data,
            .len = (uint32_t)p->entry->len,
            .block = p->entry,
        };
        bytes += p->entry->len;
        list_push(&taken, p);
    }
    uint64_t first = 0; // of a leader's log
    int err = taken.count ? raft_propose(c->raft, entries, taken.count, &first) : 0;
    if (taken.count)
        atomic_fetch_add_explicit(&m->latency.proposals, 1, memory_order_relaxed);
    for (struct proposal *p; (p = list_pop(&taken));) {
        if (is_for_later(err)) {
            proposals_set_term(&m->proposals, p->request, 0);
            list_push(&c->held, p);
            continue;
        }
        if (err)
            proposals_fail(&m->proposals, p->request, error_of(err));
        else
            proposal_taken(p, now, first ? first++ : 0);
        proposal_unref(p);
    }
    return !is_for_later(err);
}

static void propose_all(struct member *m)
{
    struct core *c = &m->core;
    // what was held came first
    struct proposal_list all = c->held;
    c->held = (struct proposal_list){0};
    for (struct proposal *p; (p = list_pop(&c->fresh));)
        list_push(&all, p);
    bool taken = can_propose(m);
    while (all.first && taken)
        taken = propose_some(m, &all);
    for (struct proposal *p; (p = list_pop(&all));) {
        if (is_over(m, p))
            give_up(m, p);
        else
            list_push(&c->held, p);
    }
}

/* ---- Input ---- */

static void step_message(struct member *m, struct core_message *message)
{
    struct core *c = &m->core;
    struct raft_message *it = &message->in->message;
    if (message->snapshot)
        it->snapshot->block = message->snapshot; // raft takes a reference of its own
    core_note_message(m, message);
    if (!atomic_load_explicit(&m->refused, memory_order_relaxed)) {
        int err = raft_step(c->raft, it);
        if (err == RAFT_BAD_MESSAGE || err == RAFT_LOCAL_MESSAGE)
            peers_drop_from(m, it->from, raft_error_text(err));
    }
    if (message->snapshot) {
        it->snapshot->block = NULL;
        rt_buf_unref(message->snapshot);
    }
    rt_sem_release(&c->inbox_bytes, (int64_t)message->charged_bytes);
    peer_inbound_free(message->in);
    rt_free(message);
}

static void persisted(struct member *m, struct persist_job *job)
{
    struct core *c = &m->core;
    struct raft_persist *p = &job->persist;
    if (!job->failed) {
        if (p->snapshot)
            log_cache_reset(&c->log, p->snapshot->index, p->snapshot->term);
        log_cache_append(&c->log, p->entries, p->count);
        for (size_t i = 0; i < p->promise_count; i++)
            if (p->promises[i].to == m->id)
                raft_step(c->raft, &p->promises[i]);
        raft_append_done(c->raft, &p->completion);
    }
    raft_persist_free(&m->env, p);
    stage_span_unref(job->span);
    rt_free(job->echoes);
    rt_free(job->records);
    rt_free(job);
    c->jobs_out--;
}

static void fetched(struct member *m, struct fetch_job *job)
{
    raft_entries_arrived(m->core.raft, &job->fetch, job->entries, job->count);
    for (size_t i = 0; i < job->count; i++)
        if (job->entries[i].block)
            rt_buf_unref(job->entries[i].block);
    rt_free(job->entries);
    rt_free(job);
    m->core.jobs_out--;
}

static void take_event(struct member *m, struct core_event *e)
{
    struct core *c = &m->core;
    switch (e->item.kind) {
    case CORE_UNREACHABLE:
        raft_report_unreachable(c->raft, e->peer);
        break;
    case CORE_SNAPSHOT_SENT:
        raft_report_snapshot(c->raft, e->peer, e->ok);
        break;
    case CORE_TRANSFER:
        raft_transfer(c->raft, e->peer);
        break;
    case CORE_WINDOW:
        raft_set_max_inflight_msgs(c->raft, e->peer);
        break;
    case CORE_STOP:
        c->stopping = true;
        break;
    case CORE_END:
        c->ending = true;
        break;
    default:
        break; // CORE_IMAGE_READY: raft asks again with its next chance
    }
    rt_free(e);
}

static void take(struct member *m, struct core_item *item)
{
    switch (item->kind) {
    case CORE_PROPOSAL:
        list_push(&m->core.fresh, (struct proposal *)item);
        break;
    case CORE_READ:
        reads_add(m, (struct read_wait *)item);
        break;
    case CORE_MESSAGE:
        step_message(m, (struct core_message *)item);
        break;
    case CORE_PERSISTED:
        persisted(m, (struct persist_job *)item);
        break;
    case CORE_INSTALLED:
        core_installed(m, (struct apply_job *)item);
        break;
    case CORE_FETCHED:
        fetched(m, (struct fetch_job *)item);
        break;
    default:
        take_event(m, (struct core_event *)item);
        break;
    }
}

/* Apply batches that are done. */
static void take_applied(struct member *m)
{
    struct rt_mail *mail = rt_mailbox_take(&m->core.applied, 0);
    while (mail) {
        struct apply_job *job = (struct apply_job *)core_item_of(mail);
        mail = mail->next;
        assert(job->batch.count > 0);
        m->core.applied_index = job->batch.entries[job->batch.count - 1].index;
        raft_apply_done(m->core.raft, m->core.applied_index, job->batch.size_bytes);
        raft_entries_free(&m->env, job->batch.entries, job->batch.count);
        rt_free(job->confs);
        rt_free(job->times);
        rt_free(job);
        m->core.jobs_out--;
    }
}

/* ---- Turns ---- */

static void tick_fired(void *arg)
{
    struct member *m = arg;
    atomic_store(&m->core.tick_due, true);
    rt_mailbox_wake(&m->core.inbox);
    if (!atomic_load(&m->core.tick_over))
        rt_timer_start(&m->core.tick, rt_after_ns(m->config.heartbeat_ms * RT_MS), tick_fired, m);
}

/* Ticks that we missed are lost, as they should be: a member that was asleep must hear from its leader
 * before it thinks of an election. */
static void take_tick(struct member *m, int64_t now_ns)
{
    if (!atomic_exchange(&m->core.tick_due, false) || m->core.stopping)
        return;
    raft_tick(m->core.raft);
    reads_tick(m, now_ns);
    core_release_log(m);
    if (m->committed)
        rt_gauge_set(m->committed, (int64_t)raft_committed(m->core.raft));
}

static void turn(struct member *m, struct rt_mail *mail)
{
    struct core *c = &m->core;
    int64_t now = rt_now_ns();
    c->turns++;
    while (mail) {
        struct core_item *item = core_item_of(mail);
        mail = mail->next; // before the item is taken: it may be gone then
        take(m, item);
    }
    take_applied(m);
    take_tick(m, now);
    if (atomic_load(&m->stopping)) {
        reads_fail_all(m, MEMBER_STOPPED);
        proposals_fail_before(&m->proposals, UINT64_MAX, MEMBER_STOPPED);
    }
    if (c->stopping) {
        if (!c->installing)
            rt_note_set(&c->quiet);
        return;
    }
    propose_all(m);
    reads_begin_round(m, now);
    while (raft_has_ready(c->raft))
        core_take_ready(m, now);
    core_note_windows(m);
    core_publish(m);
}

static void drop_proposals(struct proposal_list *l)
{
    for (struct proposal *p; (p = list_pop(l));)
        proposal_unref(p);
}

static void core_main(void *arg)
{
    struct member *m = arg;
    struct core *c = &m->core;
    rt_timer_start(&c->tick, rt_after_ns(m->config.heartbeat_ms * RT_MS), tick_fired, m);
    core_begin(m);
    while (!c->ending || c->jobs_out) // what is out points into our memory
        turn(m, rt_mailbox_take(&c->inbox, RT_FOREVER));
    atomic_store(&c->tick_over, true);
    rt_timer_stop(&c->tick);
    rt_timer_stop(&c->tick); // it may have been running before, and armed itself again
    drop_proposals(&c->held);
    drop_proposals(&c->fresh);
    rt_note_set(&c->ended);
}

void core_quiet(struct member *m)
{
    core_post_event(m, CORE_STOP, 0, false);
    rt_note_wait(&m->core.quiet, RT_FOREVER);
}

void core_end(struct member *m)
{
    core_post_event(m, CORE_END, 0, false);
    rt_note_wait(&m->core.ended, RT_FOREVER);
}

void core_start(struct member *m)
{
    int err = rt_go_urgent("raft", core_main, m); // ends by CORE_STOP
    assert(!err);
}
