/* mem/cache.h: the blocks that a P has at hand. Private to mem/.
 *
 * A magazine a class: an array of free blocks, taken from and put to the top, so what was freed last
 * serves first. Empty, it gets a batch from the central list; full, its older half goes there. No lock:
 * code of the runtime is never preempted, so between two calls that park the P is ours.
 *
 * All of a magazine that the fast path needs is `top`: the places end at a multiple of their size, so
 * a full one is told by its address, and below the first place lies a NULL, so an empty one is told by
 * what it gives.
 *
 *     ... NULL  b0  b1  b2  .   .   .   | multiple of MAGAZINE_BYTES
 *                           top
 *
 * A freed block carries a mark in its second word for as long as it is free. Who frees a block with
 * the mark frees it twice; taking the block removes it. The mark is the address of the heap's first
 * page, which is never given out.
 *
 * Each thread knows the cache of its P (mem/current.h); without a P, one that is empty and full. */
#pragma once
#include "runtime/mem/central.h"

enum {
    MAGAZINE_PLACES = 64,
    MAGAZINE_BYTES = MAGAZINE_PLACES * sizeof(void *),
    MAGAZINE_BATCHES = 2,
};

struct magazine {
    void *place[MAGAZINE_PLACES];
} __attribute__((aligned(MAGAZINE_BYTES)));

struct mem_cache {
    void **_Atomic top[SIZECLASS_COUNT]; // owner P; others look. Class 0: always empty and full
    struct magazine *magazine;           // one a class
} __attribute__((aligned(64)));

extern _Thread_local struct mem_cache *cache_here __attribute__((tls_model("initial-exec")));

static inline uint64_t cache_freed_mark(void) { return heap_range.base; }

/* The newest block; NULL: empty.  Context: owner P. */
static inline void *magazine_take(struct mem_cache *c, unsigned class)
{
    void **top = load_relaxed(&c->top[class]);
    void *block = top[-1];
    if (block)
        store_relaxed(&c->top[class], top - 1);
    return block;
}

/* False, changing nothing: full.  Context: owner P. */
static inline bool magazine_put(struct mem_cache *c, unsigned class, void *block)
{
    void **top = load_relaxed(&c->top[class]);
    if ((uintptr_t)top % MAGAZINE_BYTES == 0)
        return false;
    *top = block;
    store_relaxed(&c->top[class], top + 1);
    return true;
}

/* The cache of the P that we run on, made if it has none. NULL: no P, or caches are not used. */
struct mem_cache *cache_attach(void);

/* Fill an empty magazine by a batch (false: out of memory); empty the older half of a full one.
 * Context: owner P. */
bool cache_fill(struct mem_cache *c, unsigned class);
void cache_spill(struct mem_cache *c, unsigned class);

/* One block for who has no P: from a cache that all of them share, under a lock.
 * Context: any thread; never parks. */
void *cache_take_shared(unsigned class);
void cache_put_shared(unsigned class, void *block);

/* How many blocks of a class lie in caches; roughly, while Ps run. */
uint64_t cache_blocks(unsigned class);
