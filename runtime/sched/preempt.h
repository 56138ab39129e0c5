/* sched/preempt.h: stopping a goroutine that does not stop by itself. The request is a byte in its
 * G, looked at when the no-preempt count drops to zero and at the exit of runtime calls, and a
 * SIGURG, whose handler makes the goroutine call the scheduler wherever it is, if it is in text
 * that may be interrupted. preempt.c has the rules. */
#pragma once
#include "rt/why.h"
#include "runtime/sched/gmp.h"

enum { PREEMPT_NEED_MIN_RUN_NS = 100 * 1000 }; // a goroutine runs this long before need stops it

int preempt_start(struct why *why); // install the handlers
void preempt_stop(void);
void preempt_thread_start(struct m *m); // signal stack and mask of this thread
void preempt_thread_stop(struct m *m);

/* Are goroutines stopped between calls, how, and if not, why not, in a few words. */
const char *preempt_why(void);

/* Ask the G that runs on p to stop.  Context: any thread; never parks. */
void preempt_request(struct p *p, enum preempt_kind kind);
/* Something is due or ready and no P is idle: stop whoever has run longest, if that is long enough,
 * and has not been asked in vain just now.  Context: as above. */
void preempt_by_need(void);
