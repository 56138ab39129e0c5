/* What excluding others costs: an increment under a mutex.
 *   mutexes alone     by one goroutine
 *   mutexes contended by two, per increment */
#include "tests/bench/runtime/bench.h"
#include <rt/sync.h>

enum { ROUNDS = 20000000 };

struct counter {
    struct rt_mutex lock;
    volatile uint64_t value; // lock; kept in memory, as another goroutine would find it
    struct rt_waitgroup group;
    int each;
};

static void count(void *arg)
{
    struct counter *c = arg;
    for (int i = 0; i < c->each; i++) {
        rt_mutex_lock(&c->lock);
        c->value = c->value + 1;
        rt_mutex_unlock(&c->lock);
    }
    rt_waitgroup_done(&c->group);
}

static void count_with(int goroutines, int rounds, const char *name)
{
    struct counter c = {.each = rounds / goroutines};
    rt_waitgroup_add(&c.group, goroutines);
    int64_t begun = rt_now_ns();
    for (int i = 0; i < goroutines; i++)
        if (rt_go("counts", count, &c) != 0)
            bench_fail("too many goroutines");
    rt_waitgroup_wait(&c.group, RT_FOREVER);
    if (name)
        bench_figure(name, (double)(rt_now_ns() - begun) / rounds, "ns");
    if (c.value != (uint64_t)rounds)
        bench_fail("counted to %lu instead of %d", (unsigned long)c.value, rounds);
}

static int alone(void *arg)
{
    (void)arg;
    count_with(1, ROUNDS / 10, NULL);
    count_with(1, ROUNDS, "mutex");
    return 0;
}

static int contended(void *arg)
{
    (void)arg;
    count_with(2, ROUNDS / 10, NULL);
    count_with(2, ROUNDS, "mutex");
    return 0;
}

static const struct bench_work works[] = {{"alone", alone}, {"contended", contended}};
BENCH_MAIN(works, NULL)
