/* tests/bench/runtime/alloc_threads.h: alloc.c's work by threads, for allocators that know nothing of
 * goroutines. Whoever includes it has defined RING_ALLOC and RING_FREE. */
#pragma once
#include "tests/bench/runtime/alloc_ring.h"
#include "tests/bench/runtime/bench.h"
#include <pthread.h>

struct crew {
    struct ring *rings;
    uint32_t bytes;
    int workers, pairs; // of each worker
    bool passed;
    _Atomic int next;
    int64_t *slice_ns; // one worker only
};

static void *work(void *arg)
{
    struct crew *c = arg;
    int self = atomic_fetch_add(&c->next, 1);
    ring_work(c->rings, c->workers, self, c->bytes, c->pairs, c->passed, c->slice_ns);
    return NULL;
}

static int64_t run_crew(struct crew *c, int pairs)
{
    pthread_t threads[RING_WORKERS_MAX];
    c->pairs = pairs / c->workers;
    atomic_store(&c->next, 0);
    int64_t begun = bench_clock_ns();
    for (int i = 0; i < c->workers; i++)
        if (pthread_create(&threads[i], NULL, work, c) != 0)
            bench_fail("no more threads");
    for (int i = 0; i < c->workers; i++)
        pthread_join(threads[i], NULL);
    return bench_clock_ns() - begun;
}

int main(int argc, char **argv)
{
    static struct ring rings[RING_WORKERS_MAX];
    int workers = argc > 2 ? atoi(argv[2]) : 1;
    if (argc < 2 || workers < 1 || workers > RING_WORKERS_MAX)
        bench_fail("usage: %s own|passed WORKERS", argv[0]);
    static int64_t slice_ns[RING_SLICES];
    struct crew c = {.rings = rings,
                     .workers = workers,
                     .passed = strcmp(argv[1], "passed") == 0,
                     .slice_ns = slice_ns};
    for (int i = 0; i < RING_SIZES; i++) {
        c.bytes = ring_sizes[i].bytes;
        run_crew(&c, ring_sizes[i].pairs / 8);
        int64_t took = run_crew(&c, ring_sizes[i].pairs);
        bench_figure(ring_sizes[i].name,
                     ring_pair_ns(slice_ns, took, (int)workers, ring_sizes[i].pairs), "ns");
        for (int k = 0; k < RING_WORKERS_MAX; k++)
            ring_empty(&rings[k]);
    }
    return 0;
}
