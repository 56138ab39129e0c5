/* sched/loop.h: what an M does between goroutines: find one, run it. */
#pragma once
#include "runtime/sched/gmp.h"

/* The scheduler of this thread; returns when the runtime stops.  Context: scheduler's stack. */
void loop_run(struct m *m);
/* The next G of our own P, without clock, lock or system call; NULL: look elsewhere. */
struct g *loop_next_local(struct p *p);
/* A new slice of p begins, of which `used_ns` are gone already. */
void loop_begin_slice(struct p *p, int64_t used_ns);
/* Take work from another P; what is to run now becomes m->picked. */
bool loop_steal(struct m *m);
/* Move all that is queued on p to the global queue; how many. For a P whose turn does not end.
 * Context: any thread; never parks. */
uint32_t loop_rescue(struct p *p);
/* Put `gp` at the end of our ring, or half the ring and it into the global queue. */
void loop_put_last(struct p *p, struct g *gp);
/* In a simulated world: the runnable Gs in order of arrival. */
void loop_sim_put(struct g *gp);
void loop_sim_reset(void);
