/* mem/current.h: what the scheduler does for the allocator: tells it which cache a thread may use, and
 * has it tidy up. */
#pragma once
#include <stdint.h>

struct mem_cache;

/* The calling thread has a P from now on (its cache: NULL when it has none yet), or has none any more
 * (NULL). Between the two nobody else has that P.  Context: the M itself; never parks. */
void mem_use_cache(struct mem_cache *c);

/* Give back what nobody used for a while: blocks to their spans, spans to the heap, pages to the
 * system. A bounded part at a time (4 MiB), at most every 100 ms; else it costs a comparison.
 * Context: sysmon; never parks. */
void mem_trim(int64_t now_ns);
