/* What a block costs, allocated and freed, by size (alloc_ring.h):
 *   alloc own N     each of N goroutines frees its own
 *   alloc passed N  each frees what others allocated */
#include "tests/bench/runtime/bench.h"
#include <rt/alloc.h>
#include <rt/sync.h>

#define RING_ALLOC(bytes) rt_alloc(bytes)
#define RING_FREE(p)      rt_free(p)
#define RING_CLOCK_NS()   rt_now_ns()
#include "tests/bench/runtime/alloc_ring.h"

struct crew {
    struct ring *rings;
    struct rt_waitgroup group;
    uint32_t bytes;
    int workers, pairs; // of each worker
    bool passed;
    _Atomic int next;
    int64_t *slice_ns; // one worker only
};

static void work(void *arg)
{
    struct crew *c = arg;
    int self = atomic_fetch_add(&c->next, 1);
    ring_work(c->rings, c->workers, self, c->bytes, c->pairs, c->passed, c->slice_ns);
    rt_waitgroup_done(&c->group);
}

static int64_t run_crew(struct crew *c, int pairs)
{
    c->pairs = pairs / c->workers;
    atomic_store(&c->next, 0);
    rt_waitgroup_add(&c->group, c->workers);
    int64_t begun = rt_now_ns();
    for (int i = 0; i < c->workers; i++)
        if (rt_go("allocates", work, c) != 0)
            bench_fail("too many goroutines");
    rt_waitgroup_wait(&c->group, RT_FOREVER);
    return rt_now_ns() - begun;
}

static int measure(char **args, bool passed)
{
    int64_t workers = args[0] ? atoi(args[0]) : 1;
    if (workers < 1 || workers > RING_WORKERS_MAX)
        bench_fail("1 to %d workers", RING_WORKERS_MAX);
    static int64_t slice_ns[RING_SLICES];
    struct crew c = {.workers = (int)workers, .passed = passed, .slice_ns = slice_ns};
    c.rings = rt_alloc_aligned(64, RING_WORKERS_MAX * sizeof(struct ring));
    memset(c.rings, 0, RING_WORKERS_MAX * sizeof(struct ring));
    for (int i = 0; i < RING_SIZES; i++) {
        c.bytes = ring_sizes[i].bytes;
        run_crew(&c, ring_sizes[i].pairs / 8);
        int64_t took = run_crew(&c, ring_sizes[i].pairs);
        bench_figure(ring_sizes[i].name,
                     ring_pair_ns(slice_ns, took, (int)workers, ring_sizes[i].pairs), "ns");
        for (int k = 0; k < RING_WORKERS_MAX; k++)
            ring_empty(&c.rings[k]);
    }
    rt_free(c.rings);
    return 0;
}

static int own(void *args) { return measure(args, false); }
static int passed(void *args) { return measure(args, true); }

static const struct bench_work works[] = {{"own", own}, {"passed", passed}};
BENCH_MAIN(works, NULL)
