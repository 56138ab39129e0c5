/* mem/debug.h: KVD_MEM_DEBUG=1: no caches; a freed block is filled, waits, and is looked at before it
 * serves again; a fresh one is filled with something else. Private to mem/. */
#pragma once
#include "runtime/mem/central.h"

enum { DEBUG_FRESH = 0xa5, DEBUG_FREED = 0xdd, DEBUG_WAITING = 4096 };

/* Contexts: any thread; never park. NULL: out of memory. */
void *debug_take(unsigned class);
/* rt_fatal when the block is not in use, or one that waited was written to. */
void debug_put(unsigned class, void *block);
