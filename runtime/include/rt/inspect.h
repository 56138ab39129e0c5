/* rt/inspect.h: seeing inside. */
#pragma once
#include "rt/alloc.h"

/* Goroutines: id, name, state, wait reason and time, stack, creation site; of more than 10,000 the
 * rest is only counted. One that runs is asked for its stack by a signal, and has none when it does
 * not answer at once. The short form counts those that are in the same place as one, most numerous
 * first.  Context: any thread of the runtime; never parks. */
void rt_dump(struct rt_string *out);
void rt_dump_short(struct rt_string *out);

/* The scheduler in figures: since rt_run began, unless said otherwise. Those of a P that runs may be a
 * moment old. The words stay good until rt_run returns. */
struct rt_stats {
    uint64_t goroutines, spawned; // there now; ever started
    uint64_t switches;            // to a goroutine
    uint64_t preempted_slice;     // goroutines stopped because their time was up
    uint64_t preempted_need;      // ... because something else was due and no P was idle
    uint64_t preempt_refused;     // signals that came where a goroutine cannot be stopped
    uint64_t steals, stolen;      // times a P took from another one's queue; goroutines it got so
    uint64_t global_gets;         // goroutines taken out of the global queue
    uint64_t handoffs;            // Ps taken from a thread that blocks
    uint64_t wakeups;             // threads woken for work, and of these
    uint64_t wakeups_for_nothing; // the ones that found none
    uint64_t polls;               // times the poller was asked
    // Of the steals, by why: nothing of its own to run; the same after 10 ms of idling; the other
    // had 64 and more.
    uint64_t steals_empty, steals_idle, steals_long;
    uint64_t threads;         // now, sysmon among them
    const char *poller;       // "io_uring", "epoll", or "none": nobody asked for one yet
    const char *poller_why;   // why that one
    const char *stack_guards; // how stacks are guarded, how many there are, what limits them
    const char *spilling;     // how parked stacks are put away, or why they are not
    const char *preemption;   // how whoever calls nothing is stopped, or why he is not
};
/* SIGQUIT prints the dump on stderr and goes on; rt_run sees to that.
 * Context: goroutine or timer function; never parks. */
void rt_stats(struct rt_stats *out);
