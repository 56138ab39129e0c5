/* A thousand defers, each a call with an argument that counts it.
 *   defers few     125 calls of a function with 8 defers: slots in its frame. Beside Go's open-coded
 *                  form, which a function of up to 8 defers outside a loop has
 *   defers loop    8 calls of a function that defers 125 times in a loop: slots in its frame
 *   defers list    a loop of 1,000 with a linked list: each defer a block of the allocator, hung into the
 *                  goroutine's list and taken out at the end. Exists only here, to compare
 *   defers panic   a panic that is caught in the same function */
#include "tests/bench/runtime/bench.h"
#include <rt/alloc.h>
#include <rt/defer.h>

enum { THOUSANDS = 20000 };

static void count(void *arg) { ++*(volatile int64_t *)arg; }

static __attribute__((noinline)) void defer_eight(int64_t *counted)
{
    RT_DEFER_SCOPE(8);
    rt_defer(count, counted);
    rt_defer(count, counted);
    rt_defer(count, counted);
    rt_defer(count, counted);
    rt_defer(count, counted);
    rt_defer(count, counted);
    rt_defer(count, counted);
    rt_defer(count, counted);
}

static __attribute__((noinline)) void defer_in_a_loop(int64_t *counted)
{
    RT_DEFER_SCOPE(125);
    for (int i = 0; i < 125; i++)
        rt_defer(count, counted);
}

struct link {
    struct link *outer;
    void (*fn)(void *arg);
    void *arg;
};

static void link_defer(struct link **list, void (*fn)(void *arg), void *arg)
{
    struct link *l = rt_alloc(sizeof(*l));
    *l = (struct link){*list, fn, arg};
    *list = l;
}

static __attribute__((noinline)) void defer_into_a_list(int64_t *counted)
{
    struct link *list = NULL;
    for (int i = 0; i < 1000; i++)
        link_defer(&list, count, counted);
    while (list) {
        struct link *l = list;
        list = l->outer;
        l->fn(l->arg);
        rt_free(l);
    }
}

static void measure(void (*fn)(int64_t *counted), int calls)
{
    int64_t counted = 0, begun = 0;
    for (int i = -THOUSANDS / 10; i < THOUSANDS; i++) {
        if (i == 0)
            begun = rt_now_ns();
        for (int k = 0; k < calls; k++)
            fn(&counted);
    }
    bench_figure("thousand", (double)(rt_now_ns() - begun) / THOUSANDS / 1e3, "us");
    if (counted != (THOUSANDS + THOUSANDS / 10) * INT64_C(1000))
        bench_fail("%ld deferred calls were made", (long)counted);
}

static int few(void *arg)
{
    (void)arg;
    measure(defer_eight, 125);
    return 0;
}

static int loop(void *arg)
{
    (void)arg;
    measure(defer_in_a_loop, 8);
    return 0;
}

static int list(void *arg)
{
    (void)arg;
    measure(defer_into_a_list, 1);
    return 0;
}

static void fall(void *arg)
{
    (void)arg;
    rt_panic("falls");
}

static int panic(void *arg)
{
    enum { TIMES = 1000000 };
    (void)arg;
    char text[16];
    int64_t begun = rt_now_ns();
    for (int i = 0; i < TIMES; i++)
        if (rt_try(fall, NULL, text, sizeof(text)))
            bench_fail("a panic was not caught");
    bench_figure("panic", (double)(rt_now_ns() - begun) / TIMES, "ns");
    return 0;
}

static const struct bench_work works[] = {
    {"few", few}, {"loop", loop}, {"list", list}, {"panic", panic}};
BENCH_MAIN(works, NULL)
