/* What a goroutine's life and a turn cost.
 *   goroutines spawn     2 M goroutines that do nothing, in batches of 1,000 which are waited for
 *   goroutines yield N   N goroutines that yield 4 M times in all; time over all yields */
#include "tests/bench/runtime/bench.h"
#include <rt/sync.h>

enum { BATCH = 1000, BATCHES = 2000, YIELDS = 4000000 };

static void nothing(void *group) { rt_waitgroup_done(group); }

static void spawn_batch(void)
{
    struct rt_waitgroup group = {.count = 0};
    rt_waitgroup_add(&group, BATCH);
    for (int i = 0; i < BATCH; i++)
        if (rt_go("nothing", nothing, &group) != 0)
            bench_fail("too many goroutines");
    rt_waitgroup_wait(&group, RT_FOREVER);
}

static int spawn(void *arg)
{
    (void)arg;
    for (int i = 0; i < BATCHES / 10; i++)
        spawn_batch();
    int64_t start = rt_now_ns();
    for (int i = 0; i < BATCHES; i++)
        spawn_batch();
    bench_figure("spawn", (double)(rt_now_ns() - start) / BATCH / BATCHES, "ns");
    return 0;
}

struct turns {
    struct rt_waitgroup group;
    int each;
};

static void take_turns(void *arg)
{
    struct turns *t = arg;
    for (int i = 0; i < t->each; i++)
        rt_yield();
    rt_waitgroup_done(&t->group);
}

static void yield_among(int count, int each)
{
    struct turns t = {.each = each};
    rt_waitgroup_add(&t.group, count);
    for (int i = 0; i < count; i++)
        if (rt_go("yields", take_turns, &t) != 0)
            bench_fail("too many goroutines");
    rt_waitgroup_wait(&t.group, RT_FOREVER);
}

static int yield(void *arg)
{
    char **words = arg;
    int count = words[0] ? atoi(words[0]) : 2;
    yield_among(count, YIELDS / count / 10);
    int64_t start = rt_now_ns();
    yield_among(count, YIELDS / count);
    bench_figure("yield", (double)(rt_now_ns() - start) / YIELDS, "ns");
    return 0;
}

static const struct bench_work works[] = {{"spawn", spawn}, {"yield", yield}};
BENCH_MAIN(works, NULL)
