/* sync/waitword.c: see the header for the word. */
#include "runtime/sync/waitword.h"
#include <assert.h>
#include <stdbool.h>

struct rt_wordwait {
    struct g *gp;
    _Atomic uintptr_t *word;
    int64_t deadline_ns;
    _Atomic bool is_leaving; // release by the waiter, acquire by publish: see waitq.c
    struct rt_timer timer;
} __attribute__((aligned(16)));

static struct rt_wordwait *waiter_in(uintptr_t word)
{
    return (struct rt_wordwait *)(word & ~(uintptr_t)(WORD_TOKENS | WORD_LEAVING));
}

void waitword_set(_Atomic uintptr_t *word, uintptr_t tokens)
{
    assert(tokens != 0);
    assert((tokens & ~(uintptr_t)WORD_TOKENS) == 0);
    uintptr_t seen = atomic_load_explicit(word, memory_order_relaxed), next;
    do
        next = (seen & WORD_TOKENS) | tokens;
    while (!atomic_compare_exchange_weak_explicit(word, &seen, next, memory_order_acq_rel,
                                                  memory_order_relaxed)); // (A)
    if (waiter_in(seen) && !(seen & WORD_LEAVING))
        sched_ready(waiter_in(seen)->gp); // its stack stays until we have done this
}

/* The timer takes the waiter out, unless a setter did. The record exists: its goroutine stops the
 * timer before it goes on, and that waits for us. */
static void expire(void *arg)
{
    struct rt_wordwait *w = arg;
    uintptr_t parked = (uintptr_t)w, leaving = parked | WORD_LEAVING;
    struct g *gp = w->gp;
    _Atomic uintptr_t *word = w->word;
    for (;;) {
        uintptr_t seen = leaving;
        if (atomic_compare_exchange_strong_explicit(word, &seen, 0, memory_order_acq_rel,
                                                    memory_order_relaxed))
            return; // it is not parked yet and finds the zero
        if (seen != parked)
            return; // a setter was first
        if (atomic_compare_exchange_strong_explicit(word, &seen, 0, memory_order_acq_rel,
                                                    memory_order_relaxed)) {
            sched_ready(gp);
            return;
        }
    }
}

/* Off the stack. Without a deadline the address goes in at once; with one it goes in as LEAVING,
 * the timer is armed, and then LEAVING is taken off: so the timer never looks for an address that
 * is not there yet, and is never armed for a goroutine that runs again. */
static bool publish(struct g *gp, void *arg)
{
    struct rt_wordwait *w = arg;
    _Atomic uintptr_t *word = w->word;
    uintptr_t none = 0, parked = (uintptr_t)w, leaving = parked | WORD_LEAVING;
    bool is_leaving = atomic_load_explicit(&w->is_leaving, memory_order_acquire);
    assert(is_leaving);
    assert(gp == w->gp);
    bool has_timer = w->deadline_ns != RT_FOREVER;
    if (!atomic_compare_exchange_strong_explicit(word, &none, has_timer ? leaving : parked,
                                                 memory_order_acq_rel, memory_order_acquire)) {
        assert(!waiter_in(none)); // two goroutines wait on one word
        return false;             // (B) set meanwhile
    }
    if (!has_timer)
        return true;
    rt_timer_start(&w->timer, w->deadline_ns, expire, w);
    return atomic_compare_exchange_strong_explicit(word, &leaving, parked, memory_order_acq_rel,
                                                   memory_order_acquire); // false: ended meanwhile
}

uintptr_t waitword_wait(_Atomic uintptr_t *word, int64_t deadline_ns, enum park_reason reason)
{
    uintptr_t seen = atomic_load_explicit(word, memory_order_acquire); // (B)
    if (seen != 0 || deadline_ns == 0) {
        assert(!waiter_in(seen)); // two goroutines wait on one word
        return seen;
    }
    struct rt_wordwait w = {.gp = g_self(), .word = word, .deadline_ns = deadline_ns};
    assert(w.gp); // only goroutines wait
    atomic_store_explicit(&w.is_leaving, true, memory_order_release);
    sched_park(publish, &w, reason);
    if (deadline_ns != RT_FOREVER)
        rt_timer_stop(&w.timer); // also when it fired: it may still be running
    seen = atomic_load_explicit(word, memory_order_acquire); // (B)
    assert(!waiter_in(seen));
    return seen;
}

uintptr_t waitword_take(_Atomic uintptr_t *word)
{
    if (atomic_load_explicit(word, memory_order_relaxed) == 0)
        return 0;
    return atomic_exchange_explicit(word, 0, memory_order_acquire);
}
