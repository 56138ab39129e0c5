/* tests/bench/runtime/gc.c: the managed heap at about 200 MB live: a binary tree of 56-byte nodes of
 * which two goroutines replace subtrees of 511 nodes for some seconds, while a third one sleeps 1 ms at
 * a time and notes how late it wakes. Pauses are stops of the world, from the request to the release, as
 * Go counts them in /gc/pauses:seconds; the hybrid form has none, so what its handshakes and looks at
 * stacks hold one P or one goroutine back is printed beside (holds).
 *     gc hybrid|dijkstra|stopped [seconds] */
#include "bench.h"
#include <rt/alloc.h>
#include <rt/gc.h>
#include <rt/hdr.h>
#include <rt/sync.h>
#include <stdatomic.h>

struct node {
    struct node *left, *right;
    uint64_t payload[5];
};
static const uint32_t node_pointers[] = {0, 8};
static const struct rt_gc_type node_type = {"node", sizeof(struct node), 2, node_pointers};

/* 6,144 subtrees of 511 nodes in blocks of 64 bytes: 201 MB. */
enum { SUB_DEPTH = 9, SUBTREES = 6144, LATE_MAX = 16384 };

static void *top; // an array of SUBTREES pointers
static _Atomic bool finish;
static _Atomic uint64_t replaced;
static struct rt_waitgroup running;
static int64_t late[LATE_MAX];
static size_t late_count;

static struct node *grow(int depth, uint64_t value)
{
    struct node *n = rt_gc_new(&node_type);
    if (!n)
        bench_fail("out of memory");
    n->payload[0] = value;
    if (depth > 1) {
        rt_gc_write(&n->left, grow(depth - 1, value));
        rt_gc_write(&n->right, grow(depth - 1, value));
    }
    return n;
}

static uint64_t count(const struct node *n, uint64_t value)
{
    if (!n)
        return 0;
    if (n->payload[0] != value)
        bench_fail("a node of another tree");
    return 1 + count(n->left, value) + count(n->right, value);
}

static void churn(void *arg)
{
    uint64_t random = (uint64_t)(uintptr_t)arg;
    while (!atomic_load_explicit(&finish, memory_order_relaxed)) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        uint64_t i = (random >> 33) % SUBTREES;
        struct node *n = grow(SUB_DEPTH, i);
        rt_gc_write(&((void **)top)[i], n);
        atomic_fetch_add_explicit(&replaced, 1, memory_order_relaxed);
    }
    rt_waitgroup_done(&running);
}

static void sleeper(void *arg)
{
    (void)arg;
    while (!atomic_load_explicit(&finish, memory_order_relaxed) && late_count < LATE_MAX) {
        int64_t due = rt_now_ns() + RT_MS;
        rt_sleep_until(due);
        late[late_count++] = rt_now_ns() - due;
    }
    rt_waitgroup_done(&running);
}

static void print_pauses(void)
{
    struct rt_hdr_counts *stops = rt_hdr_counts_new(), *holds = rt_hdr_counts_new();
    rt_gc_pauses(stops, holds);
    bench_figure("pause_p99", (double)rt_hdr_quantile(stops, 0.99) / 1e3, "us");
    bench_figure("pause_max", (double)stops->max_ns / 1e3, "us");
    bench_figure("hold_p99", (double)rt_hdr_quantile(holds, 0.99) / 1e3, "us");
    bench_figure("hold_max", (double)holds->max_ns / 1e3, "us");
    rt_free(stops);
    rt_free(holds);
}

static int run(enum rt_gc_mode mode, char **args)
{
    int64_t seconds = args[0] ? args[0][0] - '0' : 5;
    rt_gc_set_mode(mode);
    rt_gc_root_add(&top, 1);
    static const uint32_t offset[] = {0};
    static const struct rt_gc_type pointer_type = {"pointer", 8, 1, offset};
    rt_gc_write(&top, rt_gc_new_array(&pointer_type, SUBTREES));
    for (uint64_t i = 0; i < SUBTREES; i++)
        rt_gc_write(&((void **)top)[i], grow(SUB_DEPTH, i));
    struct rt_gc_stats before, after;
    rt_gc_stats(&before);
    rt_waitgroup_add(&running, 3);
    rt_go("churn", churn, (void *)1);
    rt_go("churn", churn, (void *)2);
    rt_go("sleeper", sleeper, NULL);
    int64_t began = rt_now_ns();
    rt_sleep_ns(seconds * RT_SECOND);
    atomic_store(&finish, true);
    rt_waitgroup_wait(&running, RT_FOREVER);
    double took_s = (double)(rt_now_ns() - began) / 1e9;
    rt_gc_stats(&after);
    for (uint64_t i = 0; i < SUBTREES; i++)
        if (count(((void **)top)[i], i) != (1 << SUB_DEPTH) - 1)
            bench_fail("a tree of the wrong size");
    bench_latencies("late", late, late_count);
    print_pauses();
    uint64_t cycles = after.cycles - before.cycles;
    bench_figure("cycles", (double)cycles / took_s, "1/s");
    bench_figure(
        "mark", cycles ? (double)(after.mark_ns - before.mark_ns) / 1e6 / (double)cycles : 0, "ms");
    bench_figure("nodes", (double)atomic_load(&replaced) * 511 / took_s / 1e6, "M/s");
    bench_figure("live", (double)after.marked_bytes / 1e6, "MB");
    bench_figure("system", (double)after.heap_system_bytes / 1e6, "MB");
    bench_figure("rss", (double)bench_rss_bytes() / 1e6, "MB");
    return 0;
}

static int hybrid(void *args) { return run(RT_GC_HYBRID, args); }
static int dijkstra(void *args) { return run(RT_GC_DIJKSTRA, args); }
static int stopped(void *args) { return run(RT_GC_STOPPED, args); }

static const struct bench_work works[] = {
    {"hybrid", hybrid},
    {"dijkstra", dijkstra},
    {"stopped", stopped},
};
BENCH_MAIN(works, NULL)
