/* What passing a value costs.
 *   channels pingpong         two unbuffered channels, one send and receive each way
 *   channels buffered         one producer, one consumer, a channel of 100, per item
 *   channels alone            a channel of 1, send and receive by one goroutine
 *   channels select_ready     select of 4, one of them ready (its send included)
 *   channels select_blocking  select of 4 unbuffered ones, a producer that sends to them in turn
 *   channels select_default   select of 4, none ready, that does not wait */
#include "tests/bench/runtime/bench.h"
#include <errno.h>
#include <rt/chan.h>
#include <rt/sync.h>

enum { WAYS = 4 };

static struct rt_chan *make(uint32_t cap)
{
    struct rt_chan *c = rt_chan_new(sizeof(int64_t), cap);
    if (!c)
        bench_fail("out of memory");
    return c;
}

static void start(void (*fn)(void *arg), void *arg)
{
    if (rt_go("partner", fn, arg) != 0)
        bench_fail("too many goroutines");
}

struct pair {
    struct rt_chan *there, *back;
    int64_t count;
};

static void answer(void *arg)
{
    struct pair *p = arg;
    int64_t value;
    while (rt_chan_recv(p->there, &value, RT_FOREVER) == 0) {
        value++;
        rt_chan_send(p->back, &value, RT_FOREVER);
    }
}

static int pingpong(void *arg)
{
    enum { ROUNDS = 2000000 };
    (void)arg;
    struct pair p = {make(0), make(0), 0};
    start(answer, &p);
    int64_t value = 0, begun = 0;
    for (int i = -ROUNDS / 10; i < ROUNDS; i++) {
        if (i == 0)
            begun = rt_now_ns();
        rt_chan_send(p.there, &value, RT_FOREVER);
        rt_chan_recv(p.back, &value, RT_FOREVER);
    }
    bench_figure("roundtrip", (double)(rt_now_ns() - begun) / ROUNDS, "ns");
    if (value != ROUNDS + ROUNDS / 10)
        bench_fail("%ld answers instead of %d", (long)value, ROUNDS + ROUNDS / 10);
    return 0;
}

static void produce(void *arg)
{
    struct pair *p = arg;
    for (int64_t i = 0; i < p->count; i++)
        rt_chan_send(p->there, &i, RT_FOREVER);
    rt_chan_close(p->there);
}

static int64_t consume(int64_t count)
{
    struct pair p = {make(100), NULL, count};
    int64_t sum = 0, value;
    start(produce, &p);
    while (rt_chan_recv(p.there, &value, RT_FOREVER) == 0)
        sum += value;
    return sum;
}

static int buffered(void *arg)
{
    enum { ITEMS = 10000000 };
    (void)arg;
    consume(ITEMS / 10);
    int64_t begun = rt_now_ns();
    int64_t sum = consume(ITEMS);
    bench_figure("item", (double)(rt_now_ns() - begun) / ITEMS, "ns");
    if (sum != (int64_t)ITEMS * (ITEMS - 1) / 2)
        bench_fail("the items add up to %ld", (long)sum);
    return 0;
}

static int alone(void *arg)
{
    enum { ITEMS = 10000000 };
    (void)arg;
    struct rt_chan *c = make(1);
    int64_t begun = rt_now_ns(), sum = 0, value;
    for (int64_t i = 0; i < ITEMS; i++) {
        rt_chan_send(c, &i, RT_FOREVER);
        rt_chan_recv(c, &value, RT_FOREVER);
        sum += value;
    }
    bench_figure("item", (double)(rt_now_ns() - begun) / ITEMS, "ns");
    if (sum != (int64_t)ITEMS * (ITEMS - 1) / 2)
        bench_fail("the items add up to %ld", (long)sum);
    return 0;
}

struct fan {
    struct rt_chan *ways[WAYS];
    int64_t count;
};

static void make_fan(struct fan *f, struct rt_case *cases, int64_t *value, uint32_t cap)
{
    memset(cases, 0, sizeof(cases[0]) * WAYS);
    for (int i = 0; i < WAYS; i++) {
        f->ways[i] = make(cap);
        cases[i] = (struct rt_case){.kind = RT_CASE_RECV, .chan = f->ways[i], .value = value};
    }
}

static int select_ready(void *arg)
{
    enum { ITEMS = 5000000 };
    (void)arg;
    struct fan f;
    struct rt_case cases[WAYS];
    int64_t value = -1;
    make_fan(&f, cases, &value, 1);
    int64_t begun = rt_now_ns();
    for (int64_t i = 0; i < ITEMS; i++) {
        rt_chan_send(f.ways[i % WAYS], &i, RT_FOREVER);
        if (rt_select(cases, WAYS, RT_FOREVER) != i % WAYS || value != i)
            bench_fail("a select took the wrong case");
    }
    bench_figure("select", (double)(rt_now_ns() - begun) / ITEMS, "ns");
    return 0;
}

static void produce_in_turn(void *arg)
{
    struct fan *f = arg;
    for (int64_t i = 0; i < f->count; i++)
        rt_chan_send(f->ways[i % WAYS], &i, RT_FOREVER);
}

static int select_blocking(void *arg)
{
    enum { ITEMS = 2000000 };
    (void)arg;
    struct fan f = {.count = ITEMS};
    struct rt_case cases[WAYS];
    int64_t value = -1;
    make_fan(&f, cases, &value, 0);
    start(produce_in_turn, &f);
    int64_t begun = rt_now_ns();
    for (int64_t i = 0; i < ITEMS; i++)
        if (rt_select(cases, WAYS, RT_FOREVER) != i % WAYS || value != i)
            bench_fail("a select took the wrong case");
    bench_figure("select", (double)(rt_now_ns() - begun) / ITEMS, "ns");
    return 0;
}

static int select_default(void *arg)
{
    enum { ROUNDS = 5000000 };
    (void)arg;
    struct fan f;
    struct rt_case cases[WAYS];
    int64_t value = -1;
    make_fan(&f, cases, &value, 0);
    int64_t begun = rt_now_ns();
    for (int i = 0; i < ROUNDS; i++)
        if (rt_select(cases, WAYS, 0) != -EAGAIN)
            bench_fail("a select found something where nothing was");
    bench_figure("select", (double)(rt_now_ns() - begun) / ROUNDS, "ns");
    return 0;
}

static const struct bench_work works[] = {
    {"pingpong", pingpong},
    {"buffered", buffered},
    {"alone", alone},
    {"select_ready", select_ready},
    {"select_blocking", select_blocking},
    {"select_default", select_default},
};
BENCH_MAIN(works, NULL)
