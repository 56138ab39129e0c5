/* sched/futex.c: how threads of the runtime sleep, and the runtime's spinlock. */
#include "runtime/sched/gmp.h"
#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

void futex_wait(_Atomic uint32_t *word, uint32_t expected, int64_t until_ns)
{
    struct timespec until = {.tv_sec = until_ns / RT_SECOND, .tv_nsec = until_ns % RT_SECOND};
    syscall(SYS_futex, word, FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG, expected,
            until_ns == RT_FOREVER ? NULL : &until, NULL, FUTEX_BITSET_MATCH_ANY);
}

void futex_wake(_Atomic uint32_t *word, int count)
{
    syscall(SYS_futex, word, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, count, NULL, NULL, 0);
}

/* The holder may have lost its CPU to another thread or process: after a short while give ours. */
static void spin_lock_slow(struct spinlock *l)
{
    enum { SPINS_BEFORE_YIELD = 200 };
    for (unsigned spins = 0;; spins++) {
        if (load_relaxed(&l->word) == 0 &&
            atomic_exchange_explicit(&l->word, 1, memory_order_acquire) == 0)
            return;
        if (spins < SPINS_BEFORE_YIELD)
            cpu_relax();
        else
            sched_yield();
    }
}

void spin_lock(struct spinlock *l)
{
    g_nopreempt_begin();
    if (atomic_exchange_explicit(&l->word, 1, memory_order_acquire) != 0)
        spin_lock_slow(l);
}

/* Lowers the count without honouring a request: the caller is often in the middle of scheduling,
 * with a P in its hands, or holds another lock. The exit of the runtime call sees to it. */
void spin_unlock(struct spinlock *l)
{
    store_release(&l->word, 0);
    struct g *gp = g_self();
    if (gp)
        gp->nopreempt -= NOPREEMPT_RUNTIME;
}
