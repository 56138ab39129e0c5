/* sched/fiber.h: switching stacks, told to the sanitizers. In plain builds this is switch_stack. */
#pragma once
#include "runtime/sched/gmp.h"
#include <stdbool.h>

/* From the stack of `from` (NULL: the M's scheduler) to that of `to` (NULL: the scheduler). `dying`:
 * nobody comes back. Returns when somebody switches back. */
void fiber_switch(void **save, struct g *from, bool dying, void *to_sp, struct g *to, struct m *m);
/* First thing on a new stack. */
void fiber_started(struct g *gp);
/* A G gets a new life on its slot. */
void fiber_new(struct g *gp);
/* The scheduler's stack is this thread's. */
void fiber_thread(struct m *m);
/* The slots go away. */
void fiber_free_all(void);
