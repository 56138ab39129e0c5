/* Latency beside goroutines that compute and never call anything, one on every P.
 *   hogs tick      a goroutine sleeps to the next point of a 10 ms grid, 250 times: how late it runs
 *   hogs article   main starts a goroutine that sleeps 10 ms, then computes for 300 ms: when does the
 *                  sleeper run? asleep: it slept already when main began to compute; unstarted: it was
 *                  only started, so its sleep begins when it first gets the P. Medians of 7. */
#include "tests/bench/runtime/bench.h"
#include <rt/sync.h>
#include <stdatomic.h>

static void hog(void *arg)
{
    _Atomic bool *stop = arg;
    while (!atomic_load_explicit(stop, memory_order_relaxed))
        ;
}

static int tick(void *arg)
{
    enum { TICKS = 250, GRID = 10 * 1000 * 1000 };
    static int64_t late_ns[TICKS];
    static _Atomic bool stop;
    (void)arg;
    for (unsigned i = 0; i < rt_procs(); i++)
        if (rt_go("hog", hog, &stop) != 0)
            bench_fail("too many goroutines");
    for (int i = 0; i < TICKS; i++) {
        int64_t until = (rt_now_ns() / GRID + 1) * GRID;
        rt_sleep_until(until);
        late_ns[i] = rt_now_ns() - until;
    }
    atomic_store(&stop, true);
    bench_latencies("late", late_ns, TICKS);
    return 0;
}

/* No call inside: only a signal can stop it. */
static void compute(volatile uint64_t *x, int64_t rounds)
{
    for (int64_t i = 0; i < rounds; i++)
        *x = *x * 6364136223846793005u + (uint64_t)i;
}

static void sleep_a_little(void *arg)
{
    rt_sleep_ns(10 * RT_MS);
    atomic_store((_Atomic int64_t *)arg, rt_now_ns());
}

static int64_t one_sleeper(bool asleep_first, int64_t rounds)
{
    volatile uint64_t x = 1;
    _Atomic int64_t ran_ns = 0;
    if (rt_go("sleeper", sleep_a_little, &ran_ns) != 0)
        bench_fail("too many goroutines");
    if (asleep_first)
        rt_yield();
    int64_t begun = rt_now_ns();
    compute(&x, rounds);
    while (atomic_load(&ran_ns) == 0)
        rt_yield();
    return atomic_load(&ran_ns) - begun;
}

static int article(void *arg)
{
    enum { TIMES = 7, TRIAL = 3000000 };
    (void)arg;
    volatile uint64_t x = 1;
    int64_t begun = rt_now_ns(), ran_ns[TIMES];
    compute(&x, TRIAL);
    double trial_ns = (double)(rt_now_ns() - begun + 1);
    int64_t rounds = (int64_t)(TRIAL * (300.0 * RT_MS / trial_ns));
    for (int asleep_first = 1; asleep_first >= 0; asleep_first--) {
        for (int i = 0; i < TIMES; i++)
            ran_ns[i] = one_sleeper(asleep_first, rounds);
        bench_sort(ran_ns, TIMES);
        bench_figure(asleep_first ? "asleep" : "unstarted",
                     bench_quantile(ran_ns, TIMES, 0.5) / 1e6, "ms");
    }
    return 0;
}

static const struct bench_work works[] = {{"tick", tick}, {"article", article}};
BENCH_MAIN(works, NULL)
