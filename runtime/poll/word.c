/* poll/word.c: the readiness word. See poller.h for what its bits mean. */
#include "runtime/poll/poller.h"
#include <assert.h>
#include <sched.h>

static const uintptr_t who_mask = ~(uintptr_t)7;

void poll_word_reset(struct poll_word *w)
{
    if (atomic_load_explicit(&w->value, memory_order_acquire) & POLL_EDGE)
        atomic_fetch_and_explicit(&w->value, ~(uintptr_t)POLL_EDGE, memory_order_acq_rel);
}

unsigned poll_word_take(struct poll_word *w, unsigned bits)
{
    if ((atomic_load_explicit(&w->value, memory_order_acquire) & bits) == 0)
        return 0;
    return (unsigned)(atomic_fetch_and(&w->value, ~(uintptr_t)bits) & bits);
}

/* Put `who` beside the bits that are there, unless one of `bits` is. */
static bool put(struct poll_word *w, uintptr_t who, unsigned bits)
{
    uintptr_t seen = atomic_load_explicit(&w->value, memory_order_acquire);
    do {
        assert((seen & who_mask) == 0); // two goroutines wait for the same direction
        if (seen & bits)
            return false;
    } while (!atomic_compare_exchange_weak_explicit(&w->value, &seen, seen | who,
                                                    memory_order_acq_rel, memory_order_acquire));
    return true;
}

struct park {
    struct poll_word *word;
    unsigned bits;
};

/* The goroutine is off its stack; once it is in the word it may run elsewhere, so nothing of `arg`
 * (on that stack) is read after that. */
static bool publish(struct g *gp, void *arg)
{
    const struct park *p = arg;
    return put(p->word, (uintptr_t)gp, p->bits);
}

unsigned poll_word_wait(struct poll_word *w, unsigned bits, enum park_reason reason)
{
    unsigned taken = poll_word_take(w, bits);
    if (taken)
        return taken;
    struct park p = {w, bits};
    sched_park(publish, &p, reason);
    return poll_word_take(w, bits);
}

static int set(struct poll_word *w, unsigned bit)
{
    uintptr_t seen = atomic_load(&w->value); // in order with poll_desc.ended
    uintptr_t next;
    do {
        if (seen & bit)
            return 0; // remembered already; a waiter beside it has not asked for it
        next = (seen & POLL_BITS) | bit;
    } while (!atomic_compare_exchange_weak_explicit(&w->value, &seen, next, memory_order_acq_rel,
                                                    memory_order_acquire));
    uintptr_t who = seen & who_mask;
    if (who == 0)
        return 0;
    if (seen & POLL_IS_WAITER) {
        struct poll_waiter *waiter = (struct poll_waiter *)who;
        waiter->fire(waiter);
        atomic_store_explicit(&waiter->fired, 1, memory_order_release);
    } else {
        sched_ready((struct g *)who);
    }
    return 1;
}

/* Preemption is held off: between taking a waiter out and the end of its fire somebody may spin. */
int poll_word_edge(struct poll_word *w)
{
    g_nopreempt_begin();
    int ran = set(w, POLL_EDGE);
    g_nopreempt_end();
    return ran;
}

int poll_word_wake(struct poll_word *w)
{
    g_nopreempt_begin();
    int ran = set(w, POLL_WOKEN);
    g_nopreempt_end();
    return ran;
}

bool poll_word_arm(struct poll_word *w, struct poll_waiter *waiter, unsigned bits)
{
    atomic_store_explicit(&waiter->fired, 0, memory_order_relaxed);
    return put(w, (uintptr_t)waiter | POLL_IS_WAITER, bits);
}

void poll_word_disarm(struct poll_word *w, struct poll_waiter *waiter)
{
    uintptr_t mine = (uintptr_t)waiter | POLL_IS_WAITER;
    uintptr_t seen = atomic_load_explicit(&w->value, memory_order_acquire);
    while ((seen & ~(uintptr_t)POLL_BITS) == mine)
        if (atomic_compare_exchange_weak_explicit(&w->value, &seen, seen & POLL_BITS,
                                                  memory_order_acq_rel, memory_order_acquire))
            return;
    while (!atomic_load_explicit(&waiter->fired, memory_order_acquire))
        sched_yield(); // whoever took it out is between two instructions
}
