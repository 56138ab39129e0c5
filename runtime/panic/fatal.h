/* panic/fatal.h: the last words of a dying process. */
#pragma once
#include "rt/why.h"

/* Prints the goroutine dump to descriptor `fd` without the allocator's or a scheduler's lock where
 * it can; set by the scheduler while it runs, NULL before and after. Called at most once. */
extern void (*rt_fatal_hook)(int fd);

/* The same as rt_fatal, with the line made already. */
_Noreturn void fatal_die(const char *line);
