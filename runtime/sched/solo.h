/* sched/solo.h: one P only. Then whoever has the P is alone with everything that only Ps touch: its
 * rings, and the locks of sync/. Code of the runtime is never preempted, and between its leaving a
 * goroutine and arriving at the next one no other code runs; so where several Ps need a locked
 * instruction, a solo P does with plain ones. What Ms without a P touch too (the words of parks and
 * descriptors, timer heaps, lists of idle things) is not covered.
 *
 * It changes only while no P is between two of these accesses: procs.c. ThreadSanitizer is never
 * told of it. */
#pragma once
#include "runtime/sched/atomic.h"
#include <stdbool.h>
#include <stdint.h>

extern _Atomic bool sched_solo __attribute__((visibility("hidden")));

/* What `preempt_pending` is when a turn begins: PREEMPT_NONE, or PREEMPT_AT_RANDOM. */
extern _Atomic uint8_t sched_first_pending __attribute__((visibility("hidden")));

/* Context: with a P. */
static inline bool is_solo(void)
{
#ifdef RT_TSAN
    return false;
#else
    return load_relaxed(&sched_solo);
#endif
}

#define likely(x)   __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
