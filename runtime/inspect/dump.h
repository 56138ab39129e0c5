/* inspect/dump.h: the goroutine dump's side doors. */
#pragma once
#include <stdint.h>

struct g;

/* The dump of a process that dies of a signal in `gp` (NULL: in no goroutine) at `pc`, with that
 * frame pointer.  Context: signal-safe. */
void sched_dump_fault_to_fd(int fd, const struct g *gp, uintptr_t pc, uintptr_t frame);
