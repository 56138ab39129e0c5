/* sched/loop.h: what an M does between goroutines: find one, run it. */
#pragma once
#include "runtime/sched/gmp.h"

/* The scheduler of this thread; returns when the runtime stops.  Context: scheduler's stack. */
void loop_run(struct m *m);
/* The next G of our own P, without clock, lock or system call; NULL: look elsewhere. */
struct g *loop_next_local(struct p *p);
/* Take work from another P; what is to run now becomes m->picked. */
bool loop_steal(struct m *m);
/* Put `gp` at the end of our ring, or half the ring and it into the global queue. */
void loop_put_last(struct p *p, struct g *gp);
/* In a simulated world: the runnable Gs in order of arrival. */
void loop_sim_put(struct g *gp);
void loop_sim_reset(void);
