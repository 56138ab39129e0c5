/* inspect/trace.h: where the scheduler tells the execution tracer what it does. While no trace is
 * taken each hook is a load and a branch that is predicted right; what it does otherwise is in
 * trace.c, and for the latency of scheduling in latency.c.
 *
 *     hook             where it belongs                                           shown as
 *     trace_go         start(): the new G is made, not yet queued                 arrow to its first slice
 *     trace_ready      whenever a G is put into a queue, before that: life_queue, arrow to its next slice
 *                      and in finish_preempted
 *     trace_run        life_switch_in(), with m->p set                            begin of a slice of the P
 *     trace_stop       leave() and leave_for_good(), before the next is picked    end of it, with the reason
 *     trace_block      rt_blocking, on the way in, while m->p is still set        end of it, too; begin of a
 *                                                                                 slice of the thread
 *     trace_unblock    rt_blocking, on the way out, m->p set when it has one      the reverse
 *     trace_steal      after a steal that moved something                         instant on the P
 *     trace_hand_off   a P is taken from a thread in a blocking call              instant on that P
 *     trace_wait       a thread goes to sleep without a P (futex, poller)         begin of a slice of the thread
 *     trace_woken      it goes on                                                 end of it
 *
 * Each event is written to a buffer of the M that it happens on, which nobody else writes; code of
 * the runtime is not preempted, so an event is whole before the next one begins. Hooks may be called
 * under a lock of the runtime, on any stack, with preemption on or off (the caller is runtime code). */
#pragma once
#include "runtime/sched/gmp.h"
#include "runtime/sched/usual.h"
#include <stdbool.h>
#include <stdint.h>

static inline bool trace_is_on(void) { return is_unusual(UNUSUAL_TRACED); }

void trace_record_go(struct m *m, const struct g *child);
void trace_record_ready(struct m *m, const struct g *gp);
void trace_record_run(struct m *m, const struct g *gp);
void trace_record_stop(struct m *m, const struct g *gp, int left);
void trace_record_block(struct m *m, const struct g *gp);
void trace_record_unblock(struct m *m, const struct g *gp);
void trace_record_steal(struct m *m, uint32_t victim, uint32_t count);
void trace_record_hand_off(struct m *m, uint32_t p);
void trace_record_wait(struct m *m, bool polls);
void trace_record_woken(struct m *m);

/* A run begins, with so many Ps; it is over, and its Ms are about to be freed: a trace that was not
 * stopped is dropped.  Context: no M runs. */
void trace_begin_run(unsigned procs);
void trace_end_run(void);

/* ---- The latency of scheduling: from ready to running ----
 *
 * One of LATENCY_EVERY readies of an M is timed, as a clock read is dearer than a switch. */

enum { LATENCY_EVERY = 64 };

/* gp->ready_ns is nonzero while gp waits to be run and is timed.  Context: as the hooks. */
void latency_begin(struct g *gp);
void latency_end(struct g *gp);

/* ---- The hooks. m: the M they happen on, never NULL ---- */

static inline void trace_go(struct m *m, const struct g *child)
{
    if (trace_is_on())
        trace_record_go(m, child);
}

/* In place of trace_ready, where nothing is traced: count one that need not be timed. False, and nothing
 * is counted: this one is to be. */
static inline bool trace_count_untimed(struct m *m)
{
    if (__builtin_expect((m->trace.readied + 1) % LATENCY_EVERY == 0, 0))
        return false;
    m->trace.readied++;
    return true;
}

static inline void trace_ready(struct m *m, struct g *gp)
{
    if (__builtin_expect(++m->trace.readied % LATENCY_EVERY == 0, 0))
        latency_begin(gp);
    if (trace_is_on())
        trace_record_ready(m, gp);
}

static inline void trace_run(struct m *m, struct g *gp)
{
    if (__builtin_expect(gp->ready_ns != 0, 0))
        latency_end(gp);
    if (trace_is_on())
        trace_record_run(m, gp);
}

/* `left` is an enum left. */
static inline void trace_stop(struct m *m, const struct g *gp, int left)
{
    if (trace_is_on())
        trace_record_stop(m, gp, left);
}

static inline void trace_block(struct m *m, const struct g *gp)
{
    if (trace_is_on())
        trace_record_block(m, gp);
}

static inline void trace_unblock(struct m *m, const struct g *gp)
{
    if (trace_is_on())
        trace_record_unblock(m, gp);
}

static inline void trace_steal(struct m *m, uint32_t victim, uint32_t count)
{
    if (trace_is_on())
        trace_record_steal(m, victim, count);
}

static inline void trace_hand_off(struct m *m, uint32_t p)
{
    if (trace_is_on())
        trace_record_hand_off(m, p);
}

/* `polls`: it waits for descriptors and timers, else for somebody to give it a P. */
static inline void trace_wait(struct m *m, bool polls)
{
    if (trace_is_on())
        trace_record_wait(m, polls);
}

static inline void trace_woken(struct m *m)
{
    if (trace_is_on())
        trace_record_woken(m);
}
