/* kv/member/reads.c: see reads.h. */
#include "kv/member/reads.h"
#include "kv/member/parts.h"
#include <assert.h>

enum { ASK_AGAIN_MS = 500 };

static void unref(struct read_wait *w)
{
    if (atomic_fetch_sub_explicit(&w->refs, 1, memory_order_acq_rel) == 1)
        rt_free(w);
}

static void push(struct read_list *l, struct read_wait *w)
{
    w->next = NULL;
    if (l->last)
        l->last->next = w;
    else
        l->first = w;
    l->last = w;
    l->count++;
}

/* What stands in `from` goes behind what is in `to`. */
static void append(struct read_list *to, struct read_list *from)
{
    if (!from->first)
        return;
    if (to->last)
        to->last->next = from->first;
    else
        to->first = from->first;
    to->last = from->last;
    to->count += from->count;
    *from = (struct read_list){0};
}

/* Wake everybody in it; the list is gone. */
static void finish(struct read_list *l, int code)
{
    for (struct read_wait *w = l->first, *next; w; w = next) {
        next = w->next;
        w->code = code;
        rt_note_set(&w->done);
        unref(w);
    }
    *l = (struct read_list){0};
}

void reads_init(struct reads *r, uint64_t generation)
{
    *r = (struct reads){.next_id = generation << 40};
    atomic_init(&r->lowest_index, UINT64_MAX);
}

void reads_add(struct member *m, struct read_wait *w) { push(&m->reads.pending, w); }

void reads_begin_round(struct member *m, int64_t now_ns)
{
    struct reads *r = &m->reads;
    if (r->asked.first || !r->pending.first)
        return;
    if (raft_leader(m->core.raft) == RAFT_NONE)
        return; // held until there is one, or their deadlines pass
    uint64_t id = ++r->next_id;
    if (raft_read_index(m->core.raft, id))
        return; // tried again with the next turn
    append(&r->asked, &r->pending);
    r->asked_id = id;
    r->asked_ns = now_ns;
}

void reads_confirmed(struct member *m, uint64_t read_id, uint64_t index)
{
    struct reads *r = &m->reads;
    if (!r->asked.first || read_id != r->asked_id)
        return; // a round that was asked again under another name
    struct read_list done = r->asked;
    r->asked = (struct read_list){0};
    if (atomic_load_explicit(&m->applied, memory_order_acquire) >= index) {
        finish(&done, 0);
        return;
    }
    for (struct read_wait *w = done.first; w; w = w->next)
        atomic_store_explicit(&w->has_index, true, memory_order_relaxed);
    struct read_round *round = rt_alloc(sizeof(*round));
    rt_mutex_lock(&r->apply_lock);
    *round = (struct read_round){.next = r->rounds, .index = index, .waits = done};
    r->rounds = round;
    if (index < atomic_load_explicit(&r->lowest_index, memory_order_relaxed))
        atomic_store(&r->lowest_index, index);
    rt_mutex_unlock(&r->apply_lock);
    // apply may have passed the index before it could see the round
    reads_applied(m, atomic_load(&m->applied));
}

void reads_applied(struct member *m, uint64_t applied)
{
    struct reads *r = &m->reads;
    if (atomic_load(&r->lowest_index) > applied)
        return;
    struct read_list done = {0};
    uint64_t lowest = UINT64_MAX;
    rt_mutex_lock(&r->apply_lock);
    for (struct read_round **at = &r->rounds; *at;) {
        struct read_round *round = *at;
        if (round->index <= applied) {
            append(&done, &round->waits);
            *at = round->next;
            rt_free(round);
            continue;
        }
        if (round->index < lowest)
            lowest = round->index;
        at = &round->next;
    }
    atomic_store(&r->lowest_index, lowest);
    rt_mutex_unlock(&r->apply_lock);
    finish(&done, 0);
}

void reads_leader_changed(struct member *m)
{
    struct reads *r = &m->reads;
    struct read_list again = r->asked;
    r->asked = (struct read_list){0};
    append(&again, &r->pending);
    r->pending = again;
}

void reads_tick(struct member *m, int64_t now_ns)
{
    struct reads *r = &m->reads;
    lease_clock_tick(m, now_ns);
    if (!r->asked.first || now_ns - r->asked_ns < ASK_AGAIN_MS * RT_MS)
        return;
    if (m->slow_reads)
        rt_counter_add(m->slow_reads, 1);
    reads_leader_changed(m); // the same: the round is lost, its waiters are not
}

void reads_fail_all(struct member *m, int code)
{
    struct reads *r = &m->reads;
    finish(&r->pending, code);
    finish(&r->asked, code);
    rt_mutex_lock(&r->apply_lock);
    struct read_round *rounds = r->rounds;
    r->rounds = NULL;
    atomic_store(&r->lowest_index, UINT64_MAX);
    rt_mutex_unlock(&r->apply_lock);
    for (struct read_round *next; rounds; rounds = next) {
        next = rounds->next;
        finish(&rounds->waits, code);
        rt_free(rounds);
    }
}

static int wait_barrier(struct member *m, int64_t deadline_ns)
{
    struct read_wait *w = rt_alloc_zero(sizeof(*w));
    atomic_init(&w->refs, 2);
    w->item.kind = CORE_READ;
    core_post(m, &w->item);
    int code;
    if (rt_note_wait(&w->done, deadline_ns) == 0)
        code = w->code;
    else if (atomic_load_explicit(&w->has_index, memory_order_relaxed))
        code = MEMBER_TIMEOUT_APPLY;
    else if (atomic_load(&m->core.leader) == RAFT_NONE)
        code = MEMBER_TIMEOUT_LEADER_LOST;
    else
        code = MEMBER_TIMEOUT;
    unref(w);
    if (code && m->failed_reads)
        rt_counter_add(m->failed_reads, 1);
    return code;
}

int member_read_barrier(struct member *m, int64_t deadline_ns)
{
    if (atomic_load(&m->stopping))
        return MEMBER_STOPPED;
    int code = MEMBER_TOO_MANY;
    rt_waitgroup_add(&m->callers, 1);
    if (atomic_fetch_add(&m->reads.inside, 1) < MEMBER_READERS)
        code = wait_barrier(m, deadline_ns);
    atomic_fetch_sub(&m->reads.inside, 1);
    rt_waitgroup_done(&m->callers);
    return code;
}
