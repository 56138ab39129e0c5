/* sched/preempt.h: stopping a goroutine that does not stop by itself. The request is a byte in its
 * G, looked at when the no-preempt count drops to zero and at the exit of runtime calls, and a
 * SIGURG, whose handler makes the goroutine call the scheduler wherever it is, if it is in text
 * that may be interrupted. preempt.c has the rules. */
#pragma once
#include "rt/why.h"
#include "runtime/sched/gmp.h"

int preempt_start(struct why *why); // install the handlers
void preempt_stop(void);
void preempt_thread_start(struct m *m); // signal stack and mask of this thread
void preempt_thread_stop(struct m *m);

/* Ask the G that runs on p to stop.  Context: any thread; never parks. */
void preempt_request(struct p *p, enum preempt_kind kind);
/* Something is due or ready and no P is idle: stop whoever has run longest, if it has run for
 * min_run_ns.  Context: as above. */
void preempt_by_need(int64_t min_run_ns);
