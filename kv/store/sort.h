/* kv/store/sort.h: a stable sort of pointers. Not libc's: its callback would run inside libc, where
 * a goroutine may not be preempted. */
#pragma once
#include <stddef.h>

/* `compare` as for qsort, with the caller's arg.  Context: never parks. */
void sort_pointers(void **items, size_t count, int (*compare)(void *a, void *b, void *arg),
                   void *arg);
