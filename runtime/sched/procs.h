/* sched/procs.h: the Ps: made at the start, more or fewer later (rt_set_procs), and their CPUs. */
#pragma once
#include "runtime/sched/gmp.h"

/* Make `count` Ps; all but the first are idle.  Context: no M runs. */
void procs_make(unsigned count);
void procs_free(void);

/* m has lost its P to a change, and was about to run gp: put that back into the global queue.
 *  Context: scheduler's stack. */
void procs_give_up(struct m *m, struct g *gp);

/* The CPU of p, when Ps have CPUs.  Context: the M itself, which takes p. */
void procs_use_cpu(struct m *m, const struct p *p);

/* Hold off a change to or from a single P: for one without a P who looks into the rings of others. */
void procs_lock_rings(void);
void procs_unlock_rings(void);
