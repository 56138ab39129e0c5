/* sched/atomic.h: the orderings by name, and the two things C11 has no word for. */
#pragma once
#include <stdatomic.h>

#define load_relaxed(at)     atomic_load_explicit((at), memory_order_relaxed)
#define load_acquire(at)     atomic_load_explicit((at), memory_order_acquire)
#define load_seq(at)         atomic_load_explicit((at), memory_order_seq_cst)
#define store_relaxed(at, v) atomic_store_explicit((at), (v), memory_order_relaxed)
#define store_release(at, v) atomic_store_explicit((at), (v), memory_order_release)
#define store_seq(at, v)     atomic_store_explicit((at), (v), memory_order_seq_cst)

static inline void cpu_relax(void) { __builtin_ia32_pause(); }

/* Whatever was stored before is visible to others before anything is loaded after. */
static inline void full_barrier(void)
{
#ifdef RT_TSAN // knows no fences; a locked instruction is one on this CPU, and orders enough for it
    static _Atomic int word;
    atomic_fetch_add(&word, 1);
#else
    atomic_thread_fence(memory_order_seq_cst);
#endif
}
