/* rt/inspect.h: seeing inside. */
#pragma once
#include "rt/alloc.h"

/* Goroutines: id, name, state, wait reason and time, stack, creation site; of more than 10,000 the
 * rest is only counted. One that runs is asked for its stack by a signal, and has none when it does
 * not answer at once. The short form counts those that are in the same place as one, most numerous
 * first.  Context: any thread of the runtime; never parks. */
void rt_dump(struct rt_string *out);
void rt_dump_short(struct rt_string *out);

/* SIGQUIT prints the dump to stderr and goes on. Called by rt_run.*/
struct rt_stats {
    uint64_t goroutines, spawned, switches, preempted_slice, preempted_need, preempt_refused;
    uint64_t steals, stolen, global_gets, handoffs, wakeups, wakeups_for_nothing, polls;
    // Why: nothing of its own to run; the same after 10 ms of idling; the other had 64 and more.
    uint64_t steals_empty, steals_idle, steals_long;
    uint64_t threads;   // now, sysmon among them
    const char *poller; // "io_uring" or "epoll"
    const char *poller_why;
};
void rt_stats(struct rt_stats *out);
