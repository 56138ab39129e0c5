/* sched/start.h: the beginning and the end of a run. */
#pragma once
#include "runtime/sched/gmp.h"

/* Start a thread as an M that takes `p`. */
void start_m(struct p *p, bool spinning);
/* Main has returned: make every M leave.  Context: any thread; never parks. */
void start_the_end(int result);
