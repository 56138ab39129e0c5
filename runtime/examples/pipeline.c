/* runtime/examples/pipeline.c: the numbers, their squares, their sum: three stages joined by
 * channels, with a context that ends them all. Prints what the last stage saw.
 *
 *     build/runtime/examples/pipeline [how many]        (1000000) */
#include <rt/chan.h>
#include <rt/context.h>
#include <rt/go.h>
#include <rt/parse.h>
#include <rt/sync.h>

#include <inttypes.h>
#include <stdio.h>

enum { SQUARERS = 4, BUFFER = 128 };

struct pipeline {
    uint64_t count;
    struct rt_context *context;
    struct rt_chan *numbers, *squares;
    struct rt_waitgroup squarers;
    struct rt_waitgroup
        closers; // who closes a channel may be inside of it still when others see it
};

/* False when the pipeline was ended from outside. */
static bool pass_on(struct pipeline *p, struct rt_chan *to, uint64_t value)
{
    struct rt_case cases[] = {
        {.kind = RT_CASE_SEND, .chan = to, .value = &value},
        {.kind = RT_CASE_RECV, .chan = rt_context_done(p->context)},
    };
    return rt_select(cases, 2, RT_FOREVER) == 0;
}

/* Ends when it has sent all, or with the context. */
static void produce(void *arg)
{
    struct pipeline *p = arg;
    for (uint64_t i = 1; i <= p->count; i++)
        if (!pass_on(p, p->numbers, i))
            break;
    rt_chan_close(p->numbers);
    rt_waitgroup_done(&p->closers);
}

/* Ends with the numbers, or with the context. */
static void square(void *arg)
{
    struct pipeline *p = arg;
    uint64_t n;
    while (rt_chan_recv(p->numbers, &n, RT_FOREVER) == 0)
        if (!pass_on(p, p->squares, n * n))
            break;
    rt_waitgroup_done(&p->squarers);
}

/* Ends when the last squarer has. */
static void close_squares(void *arg)
{
    struct pipeline *p = arg;
    rt_waitgroup_wait(&p->squarers, RT_FOREVER);
    rt_chan_close(p->squares);
    rt_waitgroup_done(&p->closers);
}

static int run(void *arg)
{
    struct pipeline *p = arg;
    uint64_t sum = 0, seen = 0, value;
    int64_t started_ns = rt_now_ns();
    p->context = rt_context_new(NULL, rt_after_ns(60 * RT_SECOND));
    p->numbers = rt_chan_new(sizeof(uint64_t), BUFFER);
    p->squares = rt_chan_new(sizeof(uint64_t), BUFFER);
    rt_waitgroup_add(&p->squarers, SQUARERS);
    rt_waitgroup_add(&p->closers, 2);
    int err = rt_go("produce", produce, p);
    for (int i = 0; i < SQUARERS && !err; i++)
        err = rt_go("square", square, p);
    if (!err)
        err = rt_go("close-squares", close_squares, p);
    if (err)
        return 1;
    while (rt_chan_recv(p->squares, &value, RT_FOREVER) == 0) {
        sum += value;
        seen++;
    }
    char took[32];
    printf("%" PRIu64 " squares, sum %" PRIu64 " (modulo 2^64), in %s on %u Ps\n", seen, sum,
           rt_format_duration(rt_now_ns() - started_ns, took), rt_procs());
    bool complete = rt_context_err(p->context) == 0;
    if (!complete)
        printf("ended early: it took more than a minute\n");
    rt_waitgroup_wait(&p->closers, RT_FOREVER);
    rt_chan_free(p->numbers);
    rt_chan_free(p->squares);
    rt_context_unref(p->context);
    return complete ? 0 : 1;
}

int main(int argc, char **argv)
{
    struct pipeline p = {.count = 1000000};
    struct why why;
    int result = 1;
    if (argc > 2 || (argc == 2 && rt_parse_u64(argv[1], &p.count))) {
        fprintf(stderr, "usage: pipeline [how many numbers]\n");
        return 2;
    }
    if (rt_run(NULL, run, &p, &result, &why)) {
        fprintf(stderr, "the runtime does not start: %s\n", why.text);
        return 1;
    }
    return result;
}
