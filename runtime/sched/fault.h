/* sched/fault.h: traps of this process: a stack that is away, an overflow, a wild pointer. */
#pragma once
#include "rt/why.h"
#include <stdbool.h>

/* 0 or -errno with why. Threads that may touch a goroutine's stack must not hold SIGSEGV and SIGBUS
 * back, and a thread that runs goroutines needs a stack for signals. */
int fault_start(struct why *why);
void fault_stop(void);

/* Do traps come to us still? A program that sets a handler of its own while it runs (one that was set
 * before is called for what is not ours) gets no more stacks put away.  Context: any thread. */
bool fault_is_ours(void);
