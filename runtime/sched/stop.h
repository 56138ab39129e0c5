/* sched/stop.h: for whoever has to see every P or every goroutine at rest: the garbage collector,
 * and changes to the set of Ps. Three tools, from the gentlest:
 *
 *     stop_each    each P calls a function once, at a turn of its own, between two goroutines
 *     stop_look    every goroutine's stack is looked at once while it is off its thread; the others
 *                  run meanwhile
 *     stop_world   no goroutine runs but the caller, until start_world
 *
 * A P is reached where it is: an idle one is taken off the list, one whose M is in a blocking call is
 * taken from it, and the G on a running one is stopped by need (that keeps its place), then as an
 * overdue one. Its M looks at what is asked of its P between two goroutines, on the scheduler's
 * stack (stop_here, in loop.c's run); `attention` keeps it off the fast path. So nothing is asked of
 * goroutines that switch, but for one flag.
 *
 * Looking at stacks. While the flag is up, whoever is about to run a goroutine shows it first, unless
 * it was shown already (stop_before_run); a word for each slot says by whom, so it is looked at once
 * and nobody runs it meanwhile. Every P passes a turn of its own after the flag went up (stop_each);
 * from then on every goroutine that runs was shown before, all others are off their threads, and the
 * caller goes through them. One in rt_blocking has left its stack at rest and its registers on it
 * (stop_rest); it is shown when it comes back, once it has a P. */
#pragma once
#include "runtime/sched/gmp.h"
#include "runtime/sched/usual.h"

/* Call fn(p, arg) once for each P, with no goroutine running on it (but the caller, on his), then for
 * the numbers of Ps that are not in use, up to RT_PROCS_MAX. fn is short text of the runtime, never
 * parks, and may run on several Ps at once. False when the run is ending: not all were called.
 * Context: goroutine; parks. */
bool stop_each(void (*fn)(unsigned p, void *arg), void *arg);

/* No goroutine runs but the caller, who must not park until start_world, which must be called even
 * when this returns false (the run is ending, not all are held).  Context: goroutine; parks before. */
bool stop_world(void);
void start_world(void);
/* With the world stopped, for changes to the set of Ps: does an M sleep on p; have it wake up now (or
 * forget that we hold p); p is the caller's own from now on. */
bool stop_is_slept_on(const struct p *p);
void stop_let_go(struct p *p);
void stop_own(struct p *p);
/* When the stop that is on, or the last one, was asked for: monotonic. */
int64_t stop_asked_ns(void);

/* What a look shows: words of memory in [low, high), 8-aligned: a stack from its pointer up, or what
 * else belongs to a goroutine. The function is text of the runtime (never preempted), and may be in
 * the middle of a switch: it takes no lock but short ones of its own, wakes nobody, never parks. */
typedef void stop_look_fn(const void *low, const void *high);

/* Show every goroutine's stack once, but the caller's. Each that is started from now on is shown its
 * argument by `born` instead. False when the run is ending.  Context: goroutine; parks. */
bool stop_look(stop_look_fn *look);
/* The same with the world stopped: at all of them, whatever was shown before. */
void stop_look_stopped(stop_look_fn *look);
/* Show the argument of each goroutine that is started from now on; NULL: no more.
 * Context: goroutine; never parks. */
void stop_watch_births(stop_look_fn *born);

/* How many stacks were looked at since the start of the run, and the longest look. */
uint64_t stop_looks(void);
int64_t stop_longest_look_ns(void);

/* Called, with the runtime still whole, when the run ends: to free what hangs on it. Set once a run.
 * False: there is one already. */
bool stop_at_end(void (*fn)(void));

/* ---- the hooks ---- */

void stop_here(struct m *m); // m has a P, of which something is asked, and runs no goroutine
void stop_show(struct g *gp);
void stop_show_birth(struct g *gp);
void stop_run_ended(void);

/* gp is about to run, and has not touched its stack yet. */
static inline void stop_before_run(struct g *gp)
{
    if (is_unusual(UNUSUAL_LOOKING))
        stop_show(gp);
}

/* gp was made, with its argument, and is not queued yet. */
static inline void stop_born(struct g *gp)
{
    if (is_unusual(UNUSUAL_BIRTHS))
        stop_show_birth(gp);
}

/* The callee-saved registers, in a frame of the calling goroutine, which will not touch what lies
 * above while it is away: its stack can be looked at from here up. */
struct stop_registers {
    uintptr_t kept[6];
};
#define stop_rest(gp, registers)                                                                   \
    do {                                                                                           \
        __asm__ volatile("mov %%rbx, 0(%0)\n\tmov %%rbp, 8(%0)\n\tmov %%r12, 16(%0)\n\t"           \
                         "mov %%r13, 24(%0)\n\tmov %%r14, 32(%0)\n\tmov %%r15, 40(%0)"             \
                         :                                                                         \
                         : "r"((registers)->kept)                                                  \
                         : "memory");                                                              \
        (gp)->sp = (registers)->kept;                                                              \
    } while (0)
