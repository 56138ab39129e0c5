/* sched/copies.h: blocks of 64 to some 3,000 bytes for stacks that are away. A pool of its own, since
 * a copy is taken and given back inside a signal handler, where no allocator may be asked. */
#pragma once
#include <stddef.h>
#include <stdint.h>

enum { COPIES_MOST = 3 << 10, COPIES_CHUNK = 64 << 10 };

/* Room for `count` copies. 0 or -errno.  Context: before and after any thread runs. */
int copies_start(uint32_t count);
void copies_stop(void);

/* A block of at least `bytes`, 1 to COPIES_MOST, or NULL when there is no room; give it back with the
 * same number.  Context: any thread, signal-safe; never parks. */
uint8_t *copies_take(size_t bytes);
void copies_give(uint8_t *copy, size_t bytes);

/* Bytes of the pool that are in pages of the process's, or may be. */
size_t copies_held_bytes(void);
