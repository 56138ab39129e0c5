/* sched/proc.h: what the rest of the runtime may ask of the scheduler beside parking (park.h): the
 * poller's place in it, which P we are on, the options of this run, names for dumps. */
#pragma once
#include "rt/go.h"
#include "runtime/sched/park.h"
#include <stdbool.h>
#include <stdint.h>

enum { SCHED_NO_P = -1 };

/* The poller as the scheduler sees it. A folder that needs one calls sched_poller_set once a run,
 * before its first descriptor waits; without one idle Ms sleep on a futex. It is stopped, and
 * forgotten, when the run ends.
 *
 * poll: make ready what can go on (sched_ready for each G), at most some 256 at a time, and return
 *     how many; 0 when none. `block_until_ns`: 0 looks without waiting; otherwise wait until
 *     something is ready, wake is called, or that moment (RT_FOREVER: none). `p` is the P whose turn
 *     it is, SCHED_NO_P for sysmon and for an M that blocks without a P. At most one caller blocks
 *     at a time, any number of others may look meanwhile.
 *     Context: scheduler's stack; never parks; blocks the thread only when asked to.
 * wake: make the blocked poll, or the next one that would block, return soon.
 *     Context: any thread of the runtime; never parks.
 * leave: the P is left without a look at the poller: submit what waits for one. May be NULL.
 *     Context: holder of P `p`; never parks.
 * stop: close and free everything; no poll is inside or will come.  Context: no goroutine runs. */
struct sched_poller {
    const char *name; // "epoll", "io_uring": rt_stats
    const char *why;  // in a few words why this one: rt_stats
    int (*poll)(int p, int64_t block_until_ns);
    void (*wake)(void);
    void (*leave)(int p);
    void (*stop)(void);
};

/* Context: goroutine; never parks. `poller` stays until its stop is called. False: there was one. */
bool sched_poller_set(const struct sched_poller *poller);

/* The P of the caller, 0 .. rt_procs() - 1, or SCHED_NO_P. Stays true only while preemption is held
 * off (g_nopreempt_begin).  Context: signal-safe. */
int sched_p_index(void);

/* The options rt_run was given with every default filled in, and the simulated world or NULL.
 * NULL and NULL outside a run.  Context: any thread. */
const struct rt_options *sched_options(void);
const struct rt_world *sched_world(void);

/* "chan receive", "sleep", ...: in dumps. */
const char *park_reason_name(enum park_reason reason);

/* Every goroutine, written to `fd` without malloc or stdio: for the way out (rt_fatal) and SIGQUIT.
 * Nothing outside a run.  Context: any thread, signal-safe. */
void sched_dump_to_fd(int fd);
