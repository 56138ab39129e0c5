/* tests/runtime/test_counters.c: the scheduler's counters, each in a scene in which only one number can
 * be right. Whoever keeps a P to itself here computes with rt_stats, which is no point of preemption,
 * and has slices of a second. */
#include "runtime/sched/gmp.h"
#include "tests/support/rt_test.h"
#include <rt/chan.h>
#include <rt/inspect.h>
#include <rt/net.h>
#include <rt/sync.h>
#include <rt/time.h>
#include <stdatomic.h>

enum { PATIENCE_S = 60, LONG_IDLE_MS = 20, CROWD = 100 };

static struct rt_stats stats(void)
{
    struct rt_stats s;
    rt_stats(&s);
    return s;
}

static int run_on(unsigned procs, int (*fn)(void *arg))
{
    struct rt_options options = {.procs = procs, .slice_ms = 1000, .no_async_preempt = true};
    struct why why = {""};
    int result = -1;
    if (rt_run(&options, fn, NULL, &result, &why) != 0)
        fail_msg("%s", why.text);
    return result;
}

/* ---- steals ---- */

struct crowd {
    struct rt_waitgroup done;
    _Atomic bool computes, ends;
};

static void be_one_of_many(void *arg)
{
    struct crowd *c = arg;
    rt_waitgroup_done(&c->done);
}

static bool gather(struct crowd *c)
{
    rt_waitgroup_add(&c->done, CROWD);
    for (int i = 0; i < CROWD; i++)
        if (rt_go("crowd", be_one_of_many, c) != 0)
            return false;
    return true;
}

/* Compute until the other P has had nothing to run for that long. */
static void await_idle_p(int64_t ns)
{
    int64_t since = clock_real_now_ns();
    while (clock_real_now_ns() - since < ns)
        if (atomic_load(&sched.idle_p_count) == 0)
            since = clock_real_now_ns();
}

/* Keep this P busy until the other one has stolen, if it does: a caller that was stopped, or stood still
 * for long, may have had the crowd run here. */
static bool await_steal(const struct rt_stats *before, struct rt_stats *after)
{
    int64_t until = clock_real_now_ns() + RT_SECOND;
    do
        *after = stats();
    while (after->steals == before->steals && clock_real_now_ns() < until);
    return after->steals != before->steals;
}

/* The other P runs something, so that it is known since when it does not. */
static bool begin_with_a_steal(struct crowd *c)
{
    struct rt_stats before = stats(), after;
    await_idle_p(RT_MS);
    bool stolen = gather(c) && await_steal(&before, &after);
    rt_waitgroup_wait(&c->done, RT_FOREVER);
    return stolen;
}

static int steal_after_idling(void *arg)
{
    (void)arg;
    struct crowd c = {.ends = false};
    int64_t until = clock_real_now_ns() + PATIENCE_S * RT_SECOND;
    while (clock_real_now_ns() < until) {
        struct rt_stats before, after;
        bool stolen = begin_with_a_steal(&c);
        await_idle_p(LONG_IDLE_MS * RT_MS);
        before = stats();
        stolen = stolen && gather(&c) && await_steal(&before, &after);
        rt_waitgroup_wait(&c.done, RT_FOREVER);
        if (stolen && after.steals_idle == before.steals_idle + 1)
            return after.stolen > before.stolen ? 0 : 1;
    }
    return 2;
}

static void a_steal_after_20_ms_without_work_counts_as_idle(void **state)
{
    (void)state;
    assert_int_equal(run_on(2, steal_after_idling), 0);
}

/* A timer brings it to the P that is idle: no steal. */
static void compute_until_told(void *arg)
{
    struct crowd *c = arg;
    rt_sleep_ns(RT_MS);
    atomic_store(&c->computes, true);
    while (!atomic_load(&c->ends))
        ;
    rt_waitgroup_done(&c->done);
}

static int steal_after_computing(void *arg)
{
    (void)arg;
    int64_t until = clock_real_now_ns() + PATIENCE_S * RT_SECOND;
    while (clock_real_now_ns() < until) {
        struct crowd c = {.ends = false};
        struct rt_stats before, after;
        bool stolen = begin_with_a_steal(&c);
        rt_waitgroup_add(&c.done, 1);
        if (rt_go("computes", compute_until_told, &c) != 0)
            return 1;
        rt_yield(); // it sleeps
        while (!atomic_load(&c.computes))
            ; // the other P took it: this one did not run
        int64_t busy_until = clock_real_now_ns() + LONG_IDLE_MS * RT_MS;
        while (clock_real_now_ns() < busy_until)
            ;
        if (!gather(&c))
            return 1;
        before = stats();
        atomic_store(&c.ends, true);
        stolen = await_steal(&before, &after) && stolen;
        rt_waitgroup_wait(&c.done, RT_FOREVER);
        if (stolen && after.steals_empty > before.steals_empty)
            return after.steals_idle == before.steals_idle ? 0 : 2;
    }
    return 3;
}

static void a_steal_after_20_ms_of_work_does_not(void **state)
{
    (void)state;
    assert_int_equal(run_on(2, steal_after_computing), 0);
}

/* ---- hand-offs ---- */

struct call {
    _Atomic bool inside, ends;
    struct rt_note over;
};

static int64_t block_until_told(void *arg)
{
    struct call *c = arg;
    atomic_store(&c->inside, true);
    while (!atomic_load(&c->ends))
        ;
    return 0;
}

static void call_that_blocks(void *arg)
{
    struct call *c = arg;
    rt_blocking(block_until_told, c);
    rt_note_set(&c->over);
}

static int run_beside_a_call(void *arg)
{
    (void)arg;
    struct call c = {.ends = false};
    uint64_t before = stats().handoffs;
    if (rt_go("blocks", call_that_blocks, &c) != 0)
        return 1;
    while (!atomic_load(&c.inside))
        rt_yield(); // into the queue of the only P
    uint64_t handoffs = stats().handoffs - before;
    atomic_store(&c.ends, true);
    rt_note_wait(&c.over, RT_FOREVER);
    return handoffs == 1 ? 0 : 2;
}

static void a_blocking_call_whose_p_is_needed_hands_it_off_once(void **state)
{
    (void)state;
    assert_int_equal(run_on(1, run_beside_a_call), 0);
}

/* ---- wake-ups and polls ---- */

static void echo(void *arg)
{
    struct rt_chan **ends = arg;
    int value;
    while (rt_chan_recv(ends[0], &value, RT_FOREVER) == 0)
        (void)rt_chan_send(ends[1], &value, RT_FOREVER); // open until we have ended
    rt_chan_close(ends[1]);
}

static int play_ping_pong(void *arg)
{
    (void)arg;
    struct rt_chan *ends[2] = {rt_chan_new(sizeof(int), 0), rt_chan_new(sizeof(int), 0)};
    int value = 0, err = rt_go("echo", echo, ends);
    rt_yield();
    uint64_t before = stats().wakeups;
    for (int i = 0; i < 1000 && !err; i++) {
        err = rt_chan_send(ends[0], &value, RT_FOREVER);
        err = err ? err : rt_chan_recv(ends[1], &value, RT_FOREVER);
    }
    uint64_t wakeups = stats().wakeups - before;
    rt_chan_close(ends[0]);
    (void)rt_chan_recv(ends[1], &value, RT_FOREVER); // -EPIPE: it is gone
    rt_chan_free(ends[0]);
    rt_chan_free(ends[1]);
    return err ? 1 : wakeups == 0 ? 0 : 2;
}

static void ping_pong_on_one_p_wakes_nobody(void **state)
{
    (void)state;
    assert_int_equal(run_on(1, play_ping_pong), 0);
}

/* Turning stealing on asks for a look into the queues; there is nothing in them. */
static int wake_for_nothing(void *arg)
{
    (void)arg;
    int64_t until = rt_after_ns(PATIENCE_S * RT_SECOND);
    struct rt_stats before = stats(), after = before;
    while (after.wakeups_for_nothing == before.wakeups_for_nothing) {
        if (clock_real_now_ns() > until)
            return 1;
        await_idle_p(RT_MS);
        rt_set_steal(true);
        after = stats();
    }
    return after.wakeups > before.wakeups ? 0 : 2;
}

static void who_is_woken_and_finds_nothing_is_counted(void **state)
{
    (void)state;
    assert_int_equal(run_on(2, wake_for_nothing), 0);
}

static int yield_until_polled(void *arg)
{
    (void)arg;
    int64_t until = rt_after_ns(PATIENCE_S * RT_SECOND);
    struct rt_conn *c = NULL;
    // To a port that nobody listens on: what matters is that there is a poller from here on.
    (void)rt_dial("127.0.0.1:1", until, &c, NULL);
    if (c)
        rt_conn_unref(c);
    uint64_t before = stats().polls;
    while (stats().polls == before) {
        if (clock_real_now_ns() > until)
            return 1;
        rt_yield();
    }
    return 0;
}

static void a_p_that_never_runs_out_of_work_asks_the_poller(void **state)
{
    (void)state;
    assert_int_equal(run_on(1, yield_until_polled), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_steal_after_20_ms_without_work_counts_as_idle),
        cmocka_unit_test(a_steal_after_20_ms_of_work_does_not),
        cmocka_unit_test(a_blocking_call_whose_p_is_needed_hands_it_off_once),
        cmocka_unit_test(ping_pong_on_one_p_wakes_nobody),
        cmocka_unit_test(who_is_woken_and_finds_nothing_is_counted),
        cmocka_unit_test(a_p_that_never_runs_out_of_work_asks_the_poller),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
