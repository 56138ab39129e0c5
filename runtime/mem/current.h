/* mem/current.h: telling the allocator which cache this thread may use. For the scheduler. */
#pragma once

struct mem_cache;

/* The calling thread has a P from now on (its cache: NULL when it has none yet), or has none any more
 * (NULL). Between the two nobody else has that P.  Context: the M itself; never parks. */
void mem_use_cache(struct mem_cache *c);
