/* A lopsided load: one goroutine starts all tasks, so that they lie on its P, and who has none must take
 * them from there.
 *   steal on     Ps without work steal
 *   steal off    what was started on a P stays on it
 * Every 5 ms 200 tasks are due (fewer than a P's queue holds: what overflows is everybody's), each of
 * about 10 us of arithmetic. A task's latency is from when its batch was due to its end. Prints moved (the
 * part of the tasks that another P took, in percent) and the latencies. */
#include "tests/bench/runtime/bench.h"
#include <rt/alloc.h>
#include <rt/inspect.h>
#include <rt/sync.h>

enum { BATCHES = 400, TASKS = 200, WARM = 20, PERIOD_MS = 5, STEPS = 6000 };

struct batch {
    struct rt_waitgroup group;
    int64_t due_ns;
    _Atomic uint64_t sum;
};
struct task {
    struct batch *batch;
    uint64_t seed;
    int64_t *latency_ns; // NULL: warming up
};

static uint64_t compute(uint64_t x)
{
    for (int i = 0; i < STEPS; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
    }
    return x;
}

static void run_task(void *arg)
{
    struct task *t = arg;
    struct batch *b = t->batch;
    atomic_fetch_add(&b->sum, compute(t->seed));
    if (t->latency_ns)
        *t->latency_ns = rt_now_ns() - b->due_ns;
    rt_waitgroup_done(&b->group);
}

/* One batch, from when it was due (or, when the last one took longer, at once) to its end. */
static void run_batch(struct task *tasks, int64_t due_ns, uint64_t wanted, int64_t *latencies)
{
    struct batch b = {.due_ns = due_ns};
    rt_waitgroup_add(&b.group, TASKS);
    for (int i = 0; i < TASKS; i++) {
        tasks[i] = (struct task){&b, (uint64_t)i + 1, latencies ? &latencies[i] : NULL};
        if (rt_go("task", run_task, &tasks[i]) != 0)
            bench_fail("too many goroutines");
    }
    rt_waitgroup_wait(&b.group, RT_FOREVER);
    if (atomic_load(&b.sum) != wanted)
        bench_fail("a batch computed something else");
}

static int measure(bool steals)
{
    int64_t *latencies = rt_alloc(BATCHES * TASKS * sizeof(*latencies));
    struct task *tasks = rt_alloc(TASKS * sizeof(*tasks));
    struct rt_stats before, after;
    uint64_t wanted = 0;
    for (int i = 0; i < TASKS; i++)
        wanted += compute((uint64_t)i + 1);
    rt_set_steal(steals);
    int64_t due = rt_after_ns(PERIOD_MS * RT_MS);
    for (int i = -WARM; i < BATCHES; i++, due += PERIOD_MS * RT_MS) {
        if (i == 0)
            rt_stats(&before);
        rt_sleep_until(due);
        run_batch(tasks, due, wanted, i < 0 ? NULL : &latencies[(size_t)i * TASKS]);
    }
    rt_stats(&after);
    bench_figure("moved", 100.0 * (double)(after.stolen - before.stolen) / (BATCHES * TASKS), "%");
    bench_latencies("latency", latencies, BATCHES * TASKS);
    rt_free(tasks);
    rt_free(latencies);
    return 0;
}

static int on(void *arg)
{
    (void)arg;
    return measure(true);
}
static int off(void *arg)
{
    (void)arg;
    return measure(false);
}

static const struct bench_work works[] = {{"on", on}, {"off", off}};
BENCH_MAIN(works, NULL)
