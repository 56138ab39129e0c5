/* sched/valgrind.h: valgrind beside us. It has to know where stacks lie, or every switch looks to it
 * like one giant frame. It does not model guards, interrupted instructions and stacks that are taken
 * away, so while it watches there are mprotect guards, no asynchronous preemption and no spilling.
 * A build without valgrind's header runs under it, too, but not clean. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#if __has_include(<valgrind/valgrind.h>)
#include <valgrind/valgrind.h>

static inline bool valgrind_watches(void) { return RUNNING_ON_VALGRIND != 0; }

/* [low, high) is a stack from now on, as long as the process lives. */
static inline void valgrind_tell_stack(uintptr_t low, uintptr_t high)
{
    (void)VALGRIND_STACK_REGISTER(low, high - 1);
}
#else
static inline bool valgrind_watches(void) { return false; }
static inline void valgrind_tell_stack(uintptr_t low, uintptr_t high)
{
    (void)low;
    (void)high;
}
#endif
