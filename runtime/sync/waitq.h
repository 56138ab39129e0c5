/* sync/waitq.h: who waits, in order. Channels, select, mutexes and the rest stand on it.
 *
 *     struct rt_waiter   the place of a goroutine in one queue, on its own stack while it is parked
 *     struct rt_wait     what several may end: its waiters in several queues, its timer, a source of
 *                        readiness. One that waits in a single queue for ever has none.
 *
 * A wait is ended exactly once, by whoever moves its state: a waker that found it in a queue, its
 * timer, or a readiness source. The word holds who it was, so that nothing else need be written
 * before the goroutine may run on. Where there is no rt_wait, taking the waiter out of its queue is
 * what ends it.
 *
 *     ARMING ---- off its stack ----> PARKED ---- claimed ----> ENDED by position
 *        '------------- claimed early: it does not park at all ------^
 *
 * Invariants: 1. Only who moved the state to ENDED may ready the goroutine, and only if it was
 * PARKED before. 2. Who finds a waiter in a queue holds that queue's lock until it is done with a
 * waiter it did not claim. 3. A waiter leaves its queue under the lock: by its waker, or by itself
 * once it was ended otherwise. So nobody looks at a stack whose goroutine runs. 4. In a queue, `prev`
 * is right but for the first waiter's, and `last` when there is a first.
 *
 *   (A) claim: state, CAS acquire and release. Pairs with (B): what the claimer did before is seen
 *       by the goroutine that was not to park; what the goroutine wrote is seen by the claimer.
 *   (B) park:  state ARMING to PARKED, CAS acquire and release, and the look at it afterwards.
 *   (E) leave: release; publish: acquire. The goroutine's last acts before those done for it.
 *   What a claimer writes after (A) (values, results) reaches the goroutine by sched_ready.
 *
 * The locks here do not hold off preemption by the goroutine's count: the runtime's own text is
 * never interrupted, and nothing that could switch is called under them. Only who has a P takes
 * them, so a solo P (usual.h) needs none, and what it unlocks was not locked. */
#pragma once
#include "rt/sync.h"
#include "runtime/sched/here.h"
#include "runtime/sched/park.h"
#include <assert.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum { WAIT_ARMING, WAIT_PARKED, WAIT_ENDED, WAIT_POS_SHIFT = 8 };
enum { WAIT_TIMED_OUT = 0xffff }; // the position that stands for the timer

struct rt_wait {
    struct g *gp;
    _Atomic uint32_t state; // WAIT_..., and for ENDED the position that ended it << 8
    struct rt_timer timer;  // only when there is a deadline
};

struct rt_waiter {
    struct rt_waiter *next, *prev; // the queue's lock
    struct rt_wait *wait;          // NULL: nobody but this queue ends it
    struct g *gp;
    void *value;    // channels: where the value is or goes to
    int result;     // by the waker that claimed it
    uint16_t pos;   // of a select's cases; else 0
    bool is_queued; // the queue's lock; of one that has a wait
    int64_t amount; // what it wants: units of a semaphore, reader or writer
};

/* Unlock on behalf of another goroutine, which has said g_lock_forgotten. Never switches. */
void mutex_release(struct rt_mutex *m);

/* Short sections only; nothing inside may park, ready or allocate.  Context: with a P. */
void waitq_lock_slow(_Atomic uint32_t *lock);
static inline void waitq_lock(_Atomic uint32_t *lock)
{
    uint32_t free = 0;
    if (likely(is_solo()))
        return;
    if (unlikely(!atomic_compare_exchange_strong_explicit(lock, &free, 1, memory_order_acquire,
                                                          memory_order_relaxed)))
        waitq_lock_slow(lock);
}
static inline void waitq_unlock(_Atomic uint32_t *lock) { store_release(lock, 0); }

/* All under the queue's lock. */
static inline void waitq_push(struct rt_waitq *q, struct rt_waiter *w)
{
    w->next = NULL;
    if (q->first) {
        w->prev = q->last;
        q->last->next = w;
    } else {
        q->first = w;
    }
    q->last = w;
    w->is_queued = true;
}
void waitq_push_front(struct rt_waitq *q, struct rt_waiter *w);
void waitq_remove(struct rt_waitq *q, struct rt_waiter *w); // nothing when it is not queued
/* Take the first waiter that is still waiting and claim it; those that were ended otherwise are
 * dropped on the way. NULL when nobody waits. */
struct rt_waiter *waitq_claim_some(struct rt_waitq *q);
static inline struct rt_waiter *waitq_claim_first(struct rt_waitq *q)
{
    struct rt_waiter *w = q->first;
    if (!w)
        return NULL;
    if (unlikely(w->wait))
        return waitq_claim_some(q);
    q->first = w->next;
    return w;
}
/* Claim and take all, linked by next in order. */
struct rt_waiter *waitq_claim_all(struct rt_waitq *q);

/* Ready a claimed waiter, or a list of them. Its stack may be gone when this returns.
 * Context: goroutine or scheduler's stack, no lock held; never parks. */
static inline void wait_wake(struct rt_waiter *w) { sched_ready(w->gp); }
void wait_wake_all(struct rt_waiter *list);

/* A wait of the calling goroutine, which several may end. */
static inline void wait_init(struct rt_wait *wait)
{
    wait->gp = g_running();
    assert(wait->gp); // only goroutines wait
    atomic_init(&wait->state, WAIT_ARMING);
    wait->timer.heap = NULL;
}
/* A waiter of the calling goroutine; `wait` is NULL, or made by wait_init. */
static inline void waiter_init(struct rt_waiter *w, struct g *self, struct rt_wait *wait)
{
    w->wait = wait;
    w->gp = self;
    w->result = 0;
    w->pos = 0;
}
/* The only waiter of its goroutine: with a deadline `wait` is made, too. */
static inline void waiter_init_until(struct rt_waiter *w, struct rt_wait *wait, int64_t deadline_ns)
{
    struct g *self = g_running();
    assert(self); // only goroutines wait
    if (deadline_ns != RT_FOREVER)
        wait_init(wait);
    waiter_init(w, self, deadline_ns != RT_FOREVER ? wait : NULL);
}

/* End the wait by `pos`. True: the claim was won; then *must_ready says whether the goroutine is
 * parked and to be readied by the caller (else it runs on by itself). False: somebody was first.
 * `wait` must be known to exist (invariant 2, or a source's own lock).
 * Context: any; never parks. */
bool wait_claim(struct rt_wait *wait, uint16_t pos, bool *must_ready);
/* The same of a waiter that was taken out of its queue, whose lock is held: it is parked. */
static inline bool waiter_claim(struct rt_waiter *w)
{
    bool must_ready = true;
    bool won = !w->wait || wait_claim(w->wait, w->pos, &must_ready);
    assert(must_ready || !won); // the queue's lock was held until it was PARKED
    return won;
}

/* Park until ended, releasing the locks (in which the waiters are queued) once off the stack; then
 * the timer is dead. Returns the position that ended it. On return no lock is held, and waiters
 * that were not claimed are still queued: the caller takes them out.  Context: parks. */
uint16_t wait_park(struct rt_wait *wait, _Atomic uint32_t *const *locks, int lock_count,
                   int64_t deadline_ns, enum park_reason reason);

/* The common case: one queue whose lock is held and into which `w`, the goroutine's only waiter, was
 * pushed. 0: a waker claimed it; -ETIMEDOUT: the deadline did, and w is out of the queue. The lock is
 * not held on return.  Context: parks. */
int waitq_park_until(struct rt_waitq *q, _Atomic uint32_t *lock, struct rt_waiter *w,
                     int64_t deadline_ns, enum park_reason reason);
static inline int waitq_park(struct rt_waitq *q, _Atomic uint32_t *lock, struct rt_waiter *w,
                             int64_t deadline_ns, enum park_reason reason)
{
    if (unlikely(w->wait))
        return waitq_park_until(q, lock, w, deadline_ns, reason);
    g_park_unlocking(w->gp, lock, reason);
    return 0;
}
/* The same, and `m`, which the caller holds, is unlocked once the goroutine is off its stack. */
int waitq_park_unlocking(struct rt_waitq *q, struct rt_waiter *w, struct rt_mutex *m,
                         int64_t deadline_ns, enum park_reason reason);
