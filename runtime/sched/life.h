/* sched/life.h: a G's life, for the rest of sched/. */
#pragma once
#include "runtime/sched/gmp.h"

/* A new G, not queued; NULL when no slot is left.  Context: owner P. */
struct g *life_new(struct p *p, const char *name, void (*fn)(void *arg), void *arg, bool urgent,
                   void *created_at);
/* Queue a G that was parked.  Context: any thread; never parks. */
void life_queue(struct g *gp);
/* Finish for the G that left this M last: it is off its stack now. */
void life_arrive(struct m *m);
/* The M is about to switch to gp's stack, or that of the G that is returned: a new one may live in
 * another slot than the one it waited in. */
struct g *life_switch_in(struct m *m, struct g *gp);
/* A new run: nobody is in a blocking call of the last one, or waits in line for one. */
void blocking_forget(void);
/* The calling goroutine has no P (its blocking call is over, and all are busy): wait for one. */
void life_no_p(struct g *gp);
