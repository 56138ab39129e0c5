/* sched/timer.h: the timers of one P: a heap under a lock. Any M may run what is due in any heap, so
 * a P that is idle or busy needs nobody of its own.
 *
 * Stopping a timer only empties its place, so that it costs the same however many there are; when a
 * quarter of the places are empty, they are all removed at once. Comparing needs no look at a timer:
 * most lie on stacks that nobody has touched for long.
 *
 * A timer remembers the heap it was last in. While its function runs, the heap points at it
 * (`firing`), and nobody touches the timer itself: the function may end the life of its memory. */
#pragma once
#include "rt/time.h"
#include "runtime/sched/park.h"
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct timer_place {
    int64_t when_ns;
    struct rt_timer *timer; // NULL: it was stopped
};

struct timers {
    struct spinlock lock;
    _Atomic int64_t next_ns;  // of the first timer, RT_FOREVER when empty; read without the lock
    struct timer_place *heap; // lock; four children a node, the first is never a stopped one
    uint32_t count, cap;      // lock
    uint32_t stopped;         // lock: of `count`; at most a quarter, but for a few
    struct rt_timer *firing;  // lock
    const void *runner;       // lock; which M runs it
};

void timers_init(struct timers *t);
void timers_deinit(struct timers *t);
/* Run what is due by now_ns. Returns how many ran.  Context: scheduler's stack; never parks. */
int timers_run(struct timers *t, int64_t now_ns);
