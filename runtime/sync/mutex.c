/* sync/mutex.c: one CAS to lock and one to unlock while nobody waits.
 *
 * A waiter is woken to compete: whoever runs already may be faster, which keeps the lock busy while
 * the woken goroutine is on its way (a wake-up takes longer than most critical sections). A waiter
 * that lost once queues at the head and is handed the lock itself, so nobody starves: it waits for
 * at most two turns of those before it and two of its own.
 *
 * Invariants, for the word:
 * 1. WAITERS is set exactly when the queue is not empty; both change only under the queue's lock.
 * 2. WAKING is set by the owner that wakes a competitor and cleared by that competitor; meanwhile
 *    unlock wakes nobody else.
 * 3. The owner is counted as one whom others wait for (g_lock_taken) from before it has the lock
 *    until after it gave it up.
 *   (A) lock:   CAS, acquire.  Pairs with (B).
 *   (B) unlock: release. The last touch of the mutex: the next owner may free it. A mutex that is
 *       handed over reaches its owner by sched_ready. */
#include "runtime/sync/waitq.h"
#include <assert.h>

enum { LOCKED = 1, WAITERS = 2, WAKING = 4 };
enum { COMPETES, IS_NEXT }; // a waiter's amount

bool rt_mutex_try_lock(struct rt_mutex *m)
{
    uint32_t word = atomic_load_explicit(&m->word, memory_order_relaxed);
    while (!(word & LOCKED))
        if (atomic_compare_exchange_weak_explicit(&m->word, &word, word | LOCKED,
                                                  memory_order_acquire,
                                                  memory_order_relaxed)) { // (A)
            g_lock_taken();
            return true;
        }
    return false;
}

/* Take it if it is free, else announce a waiter. `forget` is WAKING for one that was woken. */
static bool lock_or_announce(struct rt_mutex *m, uint32_t forget)
{
    uint32_t word = atomic_load_explicit(&m->word, memory_order_relaxed), next;
    do
        next = (word & ~forget) | (word & LOCKED ? WAITERS : LOCKED);
    while (!atomic_compare_exchange_weak_explicit(&m->word, &word, next, memory_order_acquire,
                                                  memory_order_relaxed)); // (A)
    return !(word & LOCKED);
}

__attribute__((noinline)) static void lock_slow(struct rt_mutex *m)
{
    bool was_woken = false;
    for (;;) {
        waitq_lock(&m->waiters.lock);
        if (lock_or_announce(m, was_woken ? WAKING : 0)) {
            waitq_unlock(&m->waiters.lock);
            return;
        }
        struct rt_waiter w;
        waiter_init_until(&w, NULL, RT_FOREVER);
        w.amount = was_woken ? IS_NEXT : COMPETES;
        if (was_woken)
            waitq_push_front(&m->waiters, &w);
        else
            waitq_push(&m->waiters, &w);
        waitq_park(&m->waiters, &m->waiters.lock, &w, RT_FOREVER, PARK_MUTEX);
        if (was_woken)
            return; // it was handed over
        was_woken = true;
    }
}

void rt_mutex_lock(struct rt_mutex *m)
{
    uint32_t none = 0;
    g_lock_taken_by(g_here());
    if (likely(is_solo())) {
        if (likely(load_relaxed(&m->word) == 0)) {
            store_relaxed(&m->word, LOCKED);
            return;
        }
    } else if (likely(atomic_compare_exchange_strong_explicit(
                   &m->word, &none, LOCKED, memory_order_acquire, memory_order_relaxed))) { // (A)
        return;
    }
    lock_slow(m);
}

static void unlock_slow(struct rt_mutex *m)
{
    waitq_lock(&m->waiters.lock);
    struct rt_waiter *w = waitq_claim_first(&m->waiters);
    assert(w); // invariant 1
    if (!m->waiters.first)
        atomic_fetch_and_explicit(&m->word, ~(uint32_t)WAITERS, memory_order_relaxed);
    waitq_unlock(&m->waiters.lock);
    if (w->amount == COMPETES) {
        uint32_t word = atomic_load_explicit(&m->word, memory_order_relaxed);
        while (!atomic_compare_exchange_weak_explicit(&m->word, &word,
                                                      (word & ~(uint32_t)LOCKED) | WAKING,
                                                      memory_order_release, memory_order_relaxed))
            ; // (B)
    }
    wait_wake(w);
}

void mutex_release(struct rt_mutex *m)
{
    uint32_t word = LOCKED;
    for (;;) {
        if (atomic_compare_exchange_strong_explicit(&m->word, &word, word & ~(uint32_t)LOCKED,
                                                    memory_order_release,
                                                    memory_order_relaxed)) // (B)
            return;
        assert(word & LOCKED); // the caller holds it
        if ((word & WAITERS) && !(word & WAKING)) {
            unlock_slow(m);
            return;
        }
    }
}

void rt_mutex_unlock(struct rt_mutex *m)
{
    struct g *gp = g_here();
    uint32_t word = LOCKED;
    if (likely(is_solo())) {
        if (likely(load_relaxed(&m->word) == LOCKED))
            store_relaxed(&m->word, 0);
        else
            mutex_release(m);
    } else if (unlikely(!atomic_compare_exchange_strong_explicit(
                   &m->word, &word, 0, memory_order_release, memory_order_relaxed))) { // (B)
        mutex_release(m);
    }
    g_lock_given_by(gp);
    g_exit_call(gp);
}
