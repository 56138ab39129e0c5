/* sched/usual.h: all that is not as usual, in one word, so that a turn, a ready and a lock each pay for
 * it with one look.
 *
 * The most usual of all is one P only (solo). Then whoever has the P is alone with everything that only
 * Ps touch: rings, the locks of sync/, the words of mutexes. Where many Ps need a locked instruction,
 * or a lock, a solo P does with plain ones. What Ms without a P touch too (descriptors, timer heaps,
 * lists of idle things) is not covered; the words of parks are by spill.h's (C). That there are many
 * changes only while no P is between two of these accesses: procs.c. ThreadSanitizer is never told of
 * solo. */
#pragma once
#include "runtime/sched/atomic.h"
#include <stdbool.h>
#include <stdint.h>

enum {
    UNUSUAL_MANY_PS = 1,
    UNUSUAL_TRACED = 2,       // inspect/trace.h
    UNUSUAL_LOOKING = 4,      // stop.h: who is about to run is shown first
    UNUSUAL_BIRTHS = 8,       // stop.h: and who is born
    UNUSUAL_SPILLING = 16,    // spill.h: at every park
    UNUSUAL_WORLD = 32,       // simulated: it chooses who runs
    UNUSUAL_YIELDS = 64,      // at random, in runtime calls
    UNUSUAL_NO_BARRIER = 128, // nobody can have others pass a barrier: spill.h, (C)
};
extern _Atomic uint32_t sched_unusual __attribute__((visibility("hidden")));

static inline bool is_unusual(uint32_t what)
{
    return __builtin_expect((load_relaxed(&sched_unusual) & what) != 0, 0);
}
void set_unusual(uint32_t what, bool on);

/* Context: with a P. */
static inline bool is_solo(void) { return !is_unusual(UNUSUAL_MANY_PS); }

#define likely(x)   __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
