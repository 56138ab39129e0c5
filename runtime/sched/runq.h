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
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct g;

enum { RUNQ_SLOTS = 256 };

struct runq {
    _Atomic uint32_t head; // any P, by CAS
    _Atomic uint32_t tail; // owner P
    _Atomic(struct g *) slot[RUNQ_SLOTS];
};

/* Append gp. False, changing nothing, when full.  Context: owner P; never parks. */
bool runq_put(struct runq *q, struct g *gp);
/* The oldest, or NULL.  Context: any P; never parks. */
struct g *runq_get(struct runq *q);
/* Take half of `from` (at least one): the newest of them is returned, the others go to the tail of
 * the empty or half empty `to`. NULL when there was nothing. *moved_out: how many in all.
 * Context: owner P of `to`; never parks. */
struct g *runq_steal_half(struct runq *from, struct runq *to, uint32_t *moved_out);
/* Take half (at least one) out as a list linked by next, oldest first. 0 when there was nothing.
 * Context: any thread; never parks. */
uint32_t runq_take_half(struct runq *q, struct g **first, struct g **last);
/* A hint when somebody else's. */
uint32_t runq_len(const struct runq *q);
