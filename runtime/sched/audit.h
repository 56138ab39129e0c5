/* sched/audit.h: with KVD_TORTURE=1 in the environment each asynchronous preemption looks who is below
 * on the stack. A library there may hold a lock or a thread's state: somebody forgot to wrap a call
 * that calls back (rt_nopreempt_begin), and nothing else would ever tell. */
#pragma once

void audit_start(void);
/* Walk the chain of frame pointers from `frame`; ends the process with words when a return address
 * lies in no text of ours.  Context: goroutine, on its own stack; never parks. */
void audit_frames(void *frame);
