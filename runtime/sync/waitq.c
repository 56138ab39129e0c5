/* sync/waitq.c: queues of waiters and the end of a wait. The trap: from the moment the last lock is
 * released in `publish`, the goroutine may run and its stack, with all that is waited on, may be
 * gone. A goroutine that was ended by anything but the queue therefore takes every lock once more
 * before it goes on, which holds it back until publish has released them all. */
#include "runtime/sync/waitq.h"
#include <assert.h>
#include <errno.h>
#include <immintrin.h>
#include <sched.h>
#include <stddef.h>

enum { SPINS_BEFORE_YIELD = 64 };

void waitq_lock_slow(_Atomic uint32_t *lock)
{
    for (unsigned tries = 0;; tries++) {
        uint32_t free = 0;
        if (atomic_load_explicit(lock, memory_order_relaxed) == 0 &&
            atomic_compare_exchange_weak_explicit(lock, &free, 1, memory_order_acquire,
                                                  memory_order_relaxed))
            return;
        if (tries % SPINS_BEFORE_YIELD == SPINS_BEFORE_YIELD - 1)
            sched_yield(); // the holder's thread may have lost its core to us
        else
            _mm_pause();
    }
}

void waitq_push_front(struct rt_waitq *q, struct rt_waiter *w)
{
    if (q->first)
        q->first->prev = w;
    else
        q->last = w;
    w->next = q->first;
    q->first = w;
    w->is_queued = true;
}

void waitq_remove(struct rt_waitq *q, struct rt_waiter *w)
{
    if (!w->is_queued)
        return;
    if (q->first == w)
        q->first = w->next;
    else
        w->prev->next = w->next;
    if (w->next)
        w->next->prev = w->prev;
    else
        q->last = w->prev;
    w->is_queued = false;
}

struct rt_waiter *waitq_claim_some(struct rt_waitq *q)
{
    struct rt_waiter *w;
    while ((w = q->first) != NULL) {
        waitq_remove(q, w);
        if (waiter_claim(w))
            return w;
    }
    return NULL;
}

struct rt_waiter *waitq_claim_all(struct rt_waitq *q)
{
    struct rt_waiter *list = NULL, **end = &list, *w;
    while ((w = waitq_claim_first(q)) != NULL) {
        w->next = NULL;
        *end = w;
        end = &w->next;
    }
    return list;
}

void wait_wake_all(struct rt_waiter *list)
{
    for (struct rt_waiter *w = list, *next; w; w = next) {
        next = w->next; // before its stack goes
        wait_wake(w);
    }
}

bool wait_claim(struct rt_wait *wait, uint16_t pos, bool *must_ready)
{
    uint32_t ended = WAIT_ENDED | (uint32_t)pos << WAIT_POS_SHIFT;
    uint32_t state = atomic_load_explicit(&wait->state, memory_order_relaxed);
    while (state == WAIT_ARMING || state == WAIT_PARKED) {
        if (atomic_compare_exchange_weak_explicit(&wait->state, &state, ended, memory_order_acq_rel,
                                                  memory_order_relaxed)) { // (A)
            *must_ready = state == WAIT_PARKED;
            return true;
        }
    }
    return false;
}

/* The timer's end of the race. The wait exists: its goroutine stops the timer before it goes on,
 * and that waits for us. */
static void wait_expire(void *arg)
{
    struct rt_wait *wait = arg;
    struct g *gp = wait->gp;
    bool must_ready;
    if (wait_claim(wait, WAIT_TIMED_OUT, &must_ready) && must_ready)
        sched_ready(gp);
}

struct parking {
    struct rt_wait *wait; // or NULL
    _Atomic uint32_t *const *locks;
    int lock_count;
    int64_t deadline_ns;
    struct rt_mutex *unlocks; // or NULL
    _Atomic bool is_leaving;
};

/* Off the stack: let the timer and the wakers at it. False: it was ended before. */
static bool publish(struct g *gp, void *arg)
{
    struct parking *p = arg;
    struct rt_wait *wait = p->wait;
    _Atomic uint32_t *const *locks = p->locks;
    int lock_count = p->lock_count;
    bool parked = true;
    bool is_leaving = atomic_load_explicit(&p->is_leaving, memory_order_acquire); // (E)
    assert(is_leaving);
    if (p->unlocks)
        mutex_release(p->unlocks); // who takes it now still has to wait for the queue's lock
    if (p->deadline_ns != RT_FOREVER)
        rt_timer_start(&wait->timer, p->deadline_ns, wait_expire, wait);
    if (wait) {
        assert(gp == wait->gp);
        uint32_t arming = WAIT_ARMING;
        parked = atomic_compare_exchange_strong_explicit(
            &wait->state, &arming, WAIT_PARKED, memory_order_acq_rel, memory_order_acquire); // (B)
    }
    for (int i = 0; i < lock_count; i++)
        waitq_unlock(locks[i]); // after the last one, nothing of the goroutine's may be touched
    return parked;
}

static uint16_t park(struct parking *p, enum park_reason reason)
{
    // For the reader, and ThreadSanitizer, which knows nothing of what two goroutines on one thread
    // owe each other: all up to here happens before publish, which releases our locks.
    atomic_store_explicit(&p->is_leaving, true, memory_order_release); // (E)
    sched_park(publish, p, reason);
    if (!p->wait)
        return 0;
    if (p->deadline_ns != RT_FOREVER)
        rt_timer_stop(&p->wait->timer); // also when it fired: it may still be running
    uint32_t state = atomic_load_explicit(&p->wait->state, memory_order_acquire); // (B)
    assert((state & ((1u << WAIT_POS_SHIFT) - 1)) == WAIT_ENDED);
    return (uint16_t)(state >> WAIT_POS_SHIFT);
}

uint16_t wait_park(struct rt_wait *wait, _Atomic uint32_t *const *locks, int lock_count,
                   int64_t deadline_ns, enum park_reason reason)
{
    struct parking p = {wait, locks, lock_count, deadline_ns, NULL, false};
    return park(&p, reason);
}

static int park_until(struct rt_waitq *q, _Atomic uint32_t *lock, struct rt_waiter *w,
                      struct rt_mutex *unlocks, int64_t deadline_ns, enum park_reason reason)
{
    struct parking p = {w->wait, &lock, 1, deadline_ns, unlocks, false};
    assert(w->wait || deadline_ns == RT_FOREVER);
    if (park(&p, reason) != WAIT_TIMED_OUT)
        return 0;
    waitq_lock(lock);
    waitq_remove(q, w);
    waitq_unlock(lock);
    return -ETIMEDOUT;
}

int waitq_park_until(struct rt_waitq *q, _Atomic uint32_t *lock, struct rt_waiter *w,
                     int64_t deadline_ns, enum park_reason reason)
{
    return park_until(q, lock, w, NULL, deadline_ns, reason);
}

int waitq_park_unlocking(struct rt_waitq *q, struct rt_waiter *w, struct rt_mutex *m,
                         int64_t deadline_ns, enum park_reason reason)
{
    g_lock_forgotten();
    return park_until(q, &q->lock, w, m, deadline_ns, reason);
}
