/* Calls that block their thread.
 *   blocking handoff   one P: main reads from an empty pipe, a blocking descriptor; how long after does
 *                      the goroutine that was ready all the time run? 400 times
 *   blocking call      getppid: bare, and as a call that may block */
#include "tests/bench/runtime/bench.h"
#include <rt/sync.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <unistd.h>

static struct pipe_ends {
    int read, write;
} ends;

static int64_t read_one(void *arg)
{
    char byte;
    (void)arg;
    return read(ends.read, &byte, 1);
}

static void write_one(void *arg)
{
    atomic_store((_Atomic int64_t *)arg, rt_now_ns());
    if (write(ends.write, "x", 1) != 1) // never blocks: the pipe is empty
        bench_fail("cannot write into the pipe");
}

static int handoff(void *arg)
{
    enum { TIMES = 400 };
    static int64_t after_ns[TIMES];
    (void)arg;
    int fds[2];
    if (pipe(fds) != 0)
        bench_fail("no pipe");
    ends = (struct pipe_ends){fds[0], fds[1]};
    for (int i = 0; i < TIMES; i++) {
        _Atomic int64_t ran_ns = 0;
        if (rt_go("writes", write_one, &ran_ns) != 0)
            bench_fail("too many goroutines");
        int64_t begun = rt_now_ns();
        if (rt_blocking(read_one, NULL) != 1)
            bench_fail("cannot read from the pipe");
        after_ns[i] = atomic_load(&ran_ns) - begun;
        rt_sleep_ns(RT_MS); // whatever hurried calms down
    }
    bench_latencies("handoff", after_ns, TIMES);
    return 0;
}

static int64_t who_is_my_parent(void *arg)
{
    (void)arg;
    return syscall(SYS_getppid);
}

static int64_t bare_calls(int times)
{
    int64_t begun = rt_now_ns();
    for (int i = 0; i < times; i++)
        who_is_my_parent(NULL);
    return rt_now_ns() - begun;
}

static int64_t blocking_calls(int times)
{
    int64_t begun = rt_now_ns();
    for (int i = 0; i < times; i++)
        rt_blocking(who_is_my_parent, NULL);
    return rt_now_ns() - begun;
}

/* In turns of a few milliseconds, and medians of these: the difference is small. */
static int call(void *arg)
{
    enum { TURNS = 41, TIMES = 50000 };
    int64_t bare[TURNS], whole[TURNS];
    (void)arg;
    for (int i = 0; i < TURNS; i++) {
        bare[i] = bare_calls(TIMES);
        whole[i] = blocking_calls(TIMES);
    }
    bench_sort(bare, TURNS);
    bench_sort(whole, TURNS);
    double bare_ns = bench_quantile(bare, TURNS, 0.5) / TIMES;
    double whole_ns = bench_quantile(whole, TURNS, 0.5) / TIMES;
    bench_figure("bare", bare_ns, "ns");
    bench_figure("whole", whole_ns, "ns");
    bench_figure("added", whole_ns - bare_ns, "ns");
    return 0;
}

static const struct bench_work works[] = {{"handoff", handoff}, {"call", call}};
BENCH_MAIN(works, NULL)
