/* mem/central.h: what the caches of all Ps share: for each size class the spans that have room, and a
 * stash of blocks that one P gave up and the next one may want. Private to mem/. */
#pragma once
#include "runtime/mem/heap.h"

/* At most `count` blocks of the class into `out`; how many came. 0: out of memory.
 * Context: any thread; never parks. */
unsigned central_take(unsigned class, void **out, unsigned count);

/* `count` blocks go back. A block that is none, or was given back before, is rt_fatal.
 * Context: any thread; never parks. */
void central_give(unsigned class, void *const *blocks, unsigned count);

/* Give the stash of one more class back to its spans, and empty spans to the heap, when nobody used
 * the class since the last look.  Context: the trimmer; never parks. */
void central_trim(void);

/* Is it a block that its span gave out? For messages and debug checks. */
bool central_has_out(const struct span *s, const void *block);

struct central_figures {
    uint32_t spans;        // in use
    uint64_t blocks_out;   // given out by the spans, to callers, caches or the stash
    uint64_t stashed;      // of them in the stash
    uint64_t takes, gives; // batches
};
void central_figures(unsigned class, struct central_figures *out);
