/* What a goroutine costs that only waits: N of them receive from one channel.
 *   parked plain N     each keeps its stack
 *   parked spilled N   those parked for 300 ms keep a compact copy; measured when all do
 * Prints what starting one takes, resident bytes of each and, where they keep their stacks, what waking
 * one takes to its end. (To bring a million stacks back takes minutes, and test_spill.c looks whether
 * they are right.) */
#include "runtime/sched/spill.h"
#include "tests/bench/runtime/bench.h"
#include <rt/chan.h>
#include <rt/sync.h>
#include <stdatomic.h>

enum { SETTLE_MS = 900, LOOK_MS = 50, PATIENCE_S = 300 };

static struct {
    struct rt_chan *gate;
    struct rt_waitgroup started, ended;
    _Atomic int wrong;
} all;

static void wait_at_the_gate(void *arg)
{
    int value;
    (void)arg;
    rt_waitgroup_done(&all.started);
    if (rt_chan_recv(all.gate, &value, RT_FOREVER) == 0)
        atomic_fetch_add(&all.wrong, 1); // nobody sends
    rt_waitgroup_done(&all.ended);
}

/* Until all but a few are away: on a busy machine that takes its time. */
static void settle(uint64_t away)
{
    struct spill_stats stats;
    int64_t end_ns = rt_after_ns(PATIENCE_S * RT_SECOND);
    rt_sleep_ns(SETTLE_MS * RT_MS);
    do {
        rt_sleep_ns(LOOK_MS * RT_MS);
        spill_read_stats(&stats);
    } while (stats.away < away && rt_now_ns() < end_ns);
    if (stats.away < away)
        bench_fail("stacks are not put away within five minutes");
}

static int park(char **words, bool spilled)
{
    int count = words[0] ? atoi(words[0]) : 1000000;
    all.gate = rt_chan_new(sizeof(int), 0);
    rt_waitgroup_add(&all.started, count);
    rt_waitgroup_add(&all.ended, count);
    size_t before = bench_rss_bytes();
    int64_t start = rt_now_ns();
    for (int i = 0; i < count; i++)
        if (rt_go("waits", wait_at_the_gate, NULL) != 0)
            bench_fail("too many goroutines");
    rt_waitgroup_wait(&all.started, RT_FOREVER);
    bench_figure("create", (double)(rt_now_ns() - start) / count, "ns");
    settle(spilled && spill_is_able() ? (uint64_t)count / 1000 * 999 : 0);
    bench_figure("resident", ((double)bench_rss_bytes() - (double)before) / count, "B");
    if (spilled) {
        fflush(stdout);
        rt_exit(0);
    }
    start = rt_now_ns();
    rt_chan_close(all.gate);
    rt_waitgroup_wait(&all.ended, RT_FOREVER);
    bench_figure("wake", (double)(rt_now_ns() - start) / count, "ns");
    rt_chan_free(all.gate);
    return all.wrong != 0;
}

static int plain(void *arg) { return park(arg, false); }
static int spilled(void *arg) { return park(arg, true); }

static const struct bench_work works[] = {{"plain", plain}, {"spilled", spilled}};

int main(int argc, char **argv)
{
    bool spills = argc > 1 && strcmp(argv[1], "spilled") == 0;
    struct rt_options options = {.spill_after_ms = spills ? 300 : RT_SPILL_OFF,
                                 .max_goroutines = (1 << 20) + 1000};
    return bench_main(argv, works, sizeof(works) / sizeof(works[0]), &options);
}
