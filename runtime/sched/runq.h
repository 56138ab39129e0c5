/* sched/runq.h: the run queue of one P: a ring with one producer (the owner) and many consumers.
 *
 * Invariant: tail - head <= RUNQ_SLOTS. The counters wrap; their unsigned difference is exact.
 * slot[k % RUNQ_SLOTS] belongs to the consumers while head <= k < tail, else to the owner.
 *   (A) put:   slot, then tail, release.   Pairs with (C): who sees the tail sees the G behind it.
 *   (B) put:   head, acquire.              Pairs with (D): a slot is reused only when read.
 *   (C) get, steal: tail, acquire.
 *   (D) get, steal: head, CAS release. A consumer copies first and claims after: if the CAS fails,
 *              the copy may be stale and is dropped. Only a won CAS makes a G the taker's. */
#pragma once
#include "runtime/sched/atomic.h"
#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct g;

enum { RUNQ_SLOTS = 256 };

struct runq {
    _Atomic uint32_t head; // any P, by CAS
    _Atomic uint32_t tail; // owner P
    _Atomic(struct g *) slot[RUNQ_SLOTS];
};

/* Append gp. False, changing nothing, when full.  Context: owner P; never parks. */
static inline bool runq_put(struct runq *q, struct g *gp)
{
    uint32_t tail = load_relaxed(&q->tail); // only we write it
    uint32_t head = load_acquire(&q->head); // (B)
    assert(tail - head <= RUNQ_SLOTS);
    if (tail - head == RUNQ_SLOTS)
        return false;
    store_relaxed(&q->slot[tail % RUNQ_SLOTS], gp);
    store_release(&q->tail, tail + 1); // (A)
    return true;
}

/* The oldest, or NULL.  Context: any P; never parks. */
static inline struct g *runq_get(struct runq *q)
{
    for (;;) {
        uint32_t head = load_acquire(&q->head);
        uint32_t tail = load_acquire(&q->tail); // (C)
        if (tail == head)
            return NULL;
        struct g *gp = load_relaxed(&q->slot[head % RUNQ_SLOTS]);
        if (atomic_compare_exchange_weak_explicit(&q->head, &head, head + 1, memory_order_release,
                                                  memory_order_relaxed)) // (D)
            return gp;
    }
}

/* The same where there are no thieves.  Context: owner P, solo. */
static inline struct g *runq_get_solo(struct runq *q)
{
    uint32_t head = load_relaxed(&q->head);
    if (head == load_relaxed(&q->tail))
        return NULL;
    struct g *gp = load_relaxed(&q->slot[head % RUNQ_SLOTS]);
    store_release(&q->head, head + 1);
    return gp;
}

/* Context: owner P. A hint when somebody else's. */
static inline bool runq_is_empty(const struct runq *q)
{
    return load_relaxed(&q->head) == load_relaxed(&q->tail);
}

/* Take half of `from` (at least one): the newest of them is returned, the others go to the tail of
 * the empty or half empty `to`. NULL when there was nothing. *moved_out: how many in all.
 * Context: owner P of `to`; never parks. */
struct g *runq_steal_half(struct runq *from, struct runq *to, uint32_t *moved_out);
/* Take half (at least one) out as a list linked by next, oldest first. 0 when there was nothing.
 * Context: any thread; never parks. */
uint32_t runq_take_half(struct runq *q, struct g **first, struct g **last);
/* A hint when somebody else's. */
uint32_t runq_len(const struct runq *q);
