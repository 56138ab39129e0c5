/* tests/bench/runtime/alloc_ring.h: the work by which allocators are compared. Whoever includes it
 * defines RING_ALLOC(bytes), RING_FREE(pointer) and RING_CLOCK_NS() first.
 *
 *   own     a ring of 256 live blocks: the oldest is freed, a new one allocated, its first and last
 *           byte written
 *   passed  the same, but the rings are shared, so a block is freed by another worker than the one
 *           that allocated it
 *
 * One worker alone: the median of slices of its time, since others share the machine. Several: wall
 * time over all, with what they do to each other. */
#pragma once
#include "tests/bench/runtime/bench.h"
#include <stdatomic.h>
#include <stdint.h>

enum { RING_BLOCKS = 256, RING_WORKERS_MAX = 16, RING_SIZES = 4, RING_SLICES = 4000 };

static const struct ring_size {
    const char *name;
    uint32_t bytes;
    int pairs; // allocated and freed, by all workers together
} ring_sizes[RING_SIZES] = {{"b16", 16, 24000000},
                            {"b64", 64, 24000000},
                            {"b1024", 1024, 16000000},
                            {"b16384", 16384, 4000000}};

struct ring {
    uint8_t *_Atomic block[RING_BLOCKS];
} __attribute__((aligned(64)));

static inline void ring_own(struct ring *r, uint32_t bytes, int pairs)
{
    for (int i = 0; i < pairs; i++) {
        unsigned at = (unsigned)i % RING_BLOCKS;
        uint8_t *old = atomic_load_explicit(&r->block[at], memory_order_relaxed);
        if (old)
            RING_FREE(old);
        volatile uint8_t *fresh = RING_ALLOC(bytes);
        fresh[0] = (uint8_t)i;
        fresh[bytes - 1] = (uint8_t)i;
        atomic_store_explicit(&r->block[at], (uint8_t *)fresh, memory_order_relaxed);
    }
}

static inline void ring_passed(struct ring *rings, int workers, int self, uint32_t bytes, int pairs)
{
    for (int i = 0; i < pairs; i++) {
        volatile uint8_t *fresh = RING_ALLOC(bytes);
        fresh[0] = (uint8_t)i;
        fresh[bytes - 1] = (uint8_t)i;
        struct ring *r = &rings[(self + i) % workers];
        unsigned at = (unsigned)(i / workers) % RING_BLOCKS;
        uint8_t *old = atomic_exchange(&r->block[at], (uint8_t *)fresh);
        if (old)
            RING_FREE(old);
    }
}

static inline void ring_work(struct ring *rings, int workers, int self, uint32_t bytes, int pairs,
                             bool passed, int64_t *slice_ns)
{
    for (int i = 0; i < RING_SLICES; i++) {
        int64_t begun = RING_CLOCK_NS();
        if (passed)
            ring_passed(rings, workers, self, bytes, pairs / RING_SLICES);
        else
            ring_own(&rings[self], bytes, pairs / RING_SLICES);
        if (workers == 1)
            slice_ns[i] = RING_CLOCK_NS() - begun;
    }
}

/* What a pair took. */
static inline double ring_pair_ns(int64_t *slice_ns, int64_t wall_ns, int workers, int pairs)
{
    if (workers > 1)
        return (double)wall_ns / pairs;
    bench_sort(slice_ns, RING_SLICES);
    return bench_quantile(slice_ns, RING_SLICES, 0.5) * RING_SLICES / pairs;
}

static inline void ring_empty(struct ring *r)
{
    for (int i = 0; i < RING_BLOCKS; i++) {
        uint8_t *old = atomic_exchange(&r->block[i], NULL);
        if (old)
            RING_FREE(old);
    }
}
