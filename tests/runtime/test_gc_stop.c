/* tests/runtime/test_gc_stop.c: every P is reached wherever it is, nobody runs in a stopped world, and
 * each goroutine's stack is looked at, whatever it is doing. */
#include "runtime/sched/gmp.h"
#include "runtime/sched/stop.h"
#include "tests/support/rt_test.h"
#include <poll.h>
#include <rt/sync.h>
#include <rt/time.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MOST = 16 };

static _Atomic bool finish;
static struct {
    _Atomic uint64_t count;
    uint64_t padding[7];
} hogs[MOST] __attribute__((aligned(64)));
static struct rt_waitgroup running;

static int run_on(unsigned procs, int (*fn)(void *arg), void *arg)
{
    struct why why = {""};
    int result = -1;
    if (rt_run(&(struct rt_options){.procs = procs}, fn, arg, &result, &why) != 0)
        fail_msg("%s", why.text);
    return result;
}

/* Counts, without a call but the one that sanitized builds need to be stopped at all. */
static void hog(void *arg)
{
    _Atomic uint64_t *count = arg;
    while (!atomic_load_explicit(&finish, memory_order_relaxed)) {
        atomic_fetch_add_explicit(count, 1, memory_order_relaxed);
#if defined(RT_TSAN) || defined(RT_ASAN)
        rt_now_ns();
#endif
    }
    rt_waitgroup_done(&running);
}

static void sleeper(void *arg)
{
    _Atomic uint64_t *count = arg;
    while (!atomic_load_explicit(&finish, memory_order_relaxed)) {
        rt_sleep_ns(20 * 1000);
        atomic_fetch_add_explicit(count, 1, memory_order_relaxed);
    }
    rt_waitgroup_done(&running);
}

static int64_t wait_a_little(void *arg)
{
    (void)arg;
    return poll(NULL, 0, 1);
}

static void blocker(void *arg)
{
    _Atomic uint64_t *count = arg;
    while (!atomic_load_explicit(&finish, memory_order_relaxed)) {
        rt_blocking(wait_a_little, NULL);
        atomic_fetch_add_explicit(count, 1, memory_order_relaxed);
    }
    rt_waitgroup_done(&running);
}

static void start_crowd(void)
{
    atomic_store(&finish, false);
    memset(&running, 0, sizeof(running));
    rt_waitgroup_add(&running, 9);
    for (int i = 0; i < 9; i++)
        rt_go("crowd", i < 3 ? hog : i < 6 ? sleeper : blocker, &hogs[i].count);
    rt_sleep_ns(2 * RT_MS);
}

static void end_crowd(void)
{
    atomic_store(&finish, true);
    rt_waitgroup_wait(&running, RT_FOREVER);
}

static uint64_t all_counts(void)
{
    uint64_t sum = 0;
    for (int i = 0; i < 9; i++)
        sum += atomic_load(&hogs[i].count);
    return sum;
}

static int stop_often(void *arg)
{
    (void)arg;
    start_crowd();
    int moved = 0;
    for (int i = 0; i < 50; i++) {
        if (!stop_world())
            abort();
        uint64_t before = all_counts();
        poll(NULL, 0, 1); // the whole thread: nobody else may run
        moved += all_counts() != before;
        start_world();
        rt_sleep_ns(100 * 1000);
    }
    uint64_t before = all_counts();
    rt_sleep_ns(5 * RT_MS);
    if (all_counts() == before)
        abort(); // the world did not go on
    end_crowd();
    return moved;
}

static void nobody_runs_in_a_stopped_world(void **state)
{
    (void)state;
    for (unsigned procs = 1; procs <= 4; procs *= 2)
        assert_int_equal(run_on(procs, stop_often, NULL), 0);
}

static _Atomic uint32_t called[MOST], inside[MOST];
static _Atomic bool overlapped;

static void call(unsigned p, void *arg)
{
    (void)arg;
    if (p >= MOST)
        return;
    if (atomic_fetch_add(&inside[p], 1) != 0)
        atomic_store(&overlapped, true);
    atomic_fetch_add(&called[p], 1);
    atomic_fetch_sub(&inside[p], 1);
}

static int ask_often(void *arg)
{
    (void)arg;
    start_crowd();
    for (int i = 1; i <= 100; i++) {
        if (!stop_each(call, NULL))
            abort();
        for (unsigned p = 0; p < rt_procs(); p++)
            if (atomic_load(&called[p]) != (uint32_t)i)
                return (int)p + 1;
        if (i % 10 == 0)
            rt_sleep_ns(200 * 1000); // Ps idle and in calls
    }
    end_crowd();
    return atomic_load(&overlapped) ? -1 : 0;
}

static void each_p_is_asked_exactly_once(void **state)
{
    (void)state;
    for (unsigned procs = 1; procs <= 4; procs *= 2) {
        memset(called, 0, sizeof(called));
        assert_int_equal(run_on(procs, ask_often, NULL), 0);
    }
}

/* ---- looking ---- */

enum { MARKED = 24 };
static const uintptr_t magic = 0x5a17c0de0000;
static _Atomic uint32_t seen[MARKED];
static _Atomic uint32_t ready;

/* Outside the section rt_go: who looks must not be preempted. */
__attribute__((section("looking"), noinline, no_sanitize("address", "thread"))) static void
look(const void *low, const void *high)
{
    for (const uintptr_t *at = low; at < (const uintptr_t *)high; at++)
        if (*at - magic < MARKED * 16 && *at % 16 == 0)
            atomic_store(&seen[(*at - magic) / 16], 1);
}

/* The word is only in a callee-saved register while fn runs; a sanitized build may keep it where it
 * likes. */
static void keep_in_register(int i, void (*fn)(void))
{
    uintptr_t word = magic + (uintptr_t)i * 16;
    __asm__ volatile("" : "+r"(word));
    fn();
    __asm__ volatile("" : : "r"(word));
}

static void sleep_once(void) { rt_sleep_ns(50 * 1000); }
static void block_once(void) { rt_blocking(wait_a_little, NULL); }
static void yield_once(void) { rt_yield(); }
static void spin_once(void)
{
    for (volatile int i = 0; i < 10000; i++)
        ;
#if defined(RT_TSAN) || defined(RT_ASAN)
    rt_now_ns();
#endif
}

static void holder(void *arg)
{
    int i = (int)(intptr_t)arg;
    static void (*const ways[])(void) = {sleep_once, block_once, yield_once, spin_once};
    atomic_fetch_add(&ready, 1);
    while (!atomic_load(&finish))
        keep_in_register(i, ways[i % 4]);
    rt_waitgroup_done(&running);
}

static int look_often(void *arg)
{
    (void)arg;
    atomic_store(&finish, false);
    atomic_store(&ready, 0);
    memset(&running, 0, sizeof(running));
    rt_waitgroup_add(&running, MARKED);
    for (int i = 0; i < MARKED; i++)
        rt_go("holder", holder, (void *)(intptr_t)i);
    while (atomic_load(&ready) < MARKED)
        rt_yield();
    int missed = 0;
    for (int round = 0; round < 40; round++) {
        memset(seen, 0, sizeof(seen));
        bool stopped = round % 4 == 3;
        if (stopped) {
            if (!stop_world())
                abort();
            stop_look_stopped(look);
            start_world();
        } else if (!stop_look(look)) {
            abort();
        }
        for (int i = 0; i < MARKED; i++) // between two calls the word is nowhere
            missed += !atomic_load(&seen[i]) && i % 4 != 3;
    }
    atomic_store(&finish, true);
    rt_waitgroup_wait(&running, RT_FOREVER);
    return missed;
}

static void what_only_a_register_held_is_seen_on_the_stack(void **state)
{
    (void)state;
    for (unsigned procs = 1; procs <= 4; procs *= 2)
        assert_in_range(run_on(procs, look_often, NULL), 0, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nobody_runs_in_a_stopped_world),
        cmocka_unit_test(each_p_is_asked_exactly_once),
        cmocka_unit_test(what_only_a_register_held_is_seen_on_the_stack),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
