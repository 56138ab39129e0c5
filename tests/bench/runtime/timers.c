/* Sleep and timers.
 *   timers sleepers N   N goroutines that sleep for an hour: what starting one costs and keeps resident
 *   timers late US      2,000 sleeps of US microseconds with nothing else to do: actual minus asked
 *   timers arm N        N timers an hour ahead: arming one, and stopping it in another order */
#include "tests/bench/runtime/bench.h"
#include <rt/alloc.h>
#include <rt/sync.h>

static int number(char **words, int otherwise) { return words[0] ? atoi(words[0]) : otherwise; }

static void sleep_an_hour(void *arg)
{
    (void)arg;
    rt_sleep_ns(3600 * RT_SECOND);
}

static int sleepers(void *arg)
{
    int count = number(arg, 1000000);
    size_t before = bench_rss_bytes();
    int64_t begun = rt_now_ns();
    for (int i = 0; i < count; i++)
        if (rt_go("sleeps", sleep_an_hour, NULL) != 0)
            bench_fail("too many goroutines");
    rt_yield(); // each has begun to sleep
    while (rt_go_count() < (uint32_t)count + 1)
        rt_yield();
    bench_figure("create", (double)(rt_now_ns() - begun) / count, "ns");
    rt_sleep_ns(900 * RT_MS);
    bench_figure("resident", (double)(bench_rss_bytes() - before) / count, "B");
    return 0;
}

static int late(void *arg)
{
    enum { SLEEPS = 2000 };
    static int64_t late_ns[SLEEPS];
    int64_t ns = number(arg, 1000) * INT64_C(1000);
    for (int i = 0; i < SLEEPS; i++) {
        int64_t begun = rt_now_ns();
        rt_sleep_ns(ns);
        late_ns[i] = rt_now_ns() - begun - ns;
        if (late_ns[i] < 0)
            bench_fail("a sleep ended too early");
    }
    bench_latencies("late", late_ns, SLEEPS);
    return 0;
}

static void never(void *arg) { bench_fail("a timer of an hour has fired at %p", arg); }

static int arm(void *arg)
{
    int count = number(arg, 1000000);
    struct rt_timer *timers = rt_alloc_zero((size_t)count * sizeof(*timers));
    int64_t first_ns = rt_after_ns(3600 * RT_SECOND), begun = rt_now_ns();
    uint32_t random = 1;
    for (int i = 0; i < count; i++) {
        random = random * 1664525 + 1013904223;
        rt_timer_start(&timers[i], first_ns + random, never, NULL);
    }
    bench_figure("start", (double)(rt_now_ns() - begun) / count, "ns");
    begun = rt_now_ns();
    for (int i = 0; i < count; i++)
        if (!rt_timer_stop(&timers[i]))
            bench_fail("a timer could not be stopped");
    bench_figure("stop", (double)(rt_now_ns() - begun) / count, "ns");
    return 0;
}

static const struct bench_work works[] = {{"sleepers", sleepers}, {"late", late}, {"arm", arm}};
static const struct rt_options room = {.max_goroutines = 1100000};
BENCH_MAIN(works, &room)
