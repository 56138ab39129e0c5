/* tests/runtime/test_sysmon.c: what the watchman sees to when nobody else does. */
#include "tests/support/rt_test.h"
#include <rt/inspect.h>
#include <rt/sync.h>
#include <rt/time.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static int on_procs(unsigned procs, int (*fn)(void *arg))
{
    struct why why = {""};
    int result = -1;
    if (rt_run(&(struct rt_options){.procs = procs}, fn, NULL, &result, &why) != 0)
        fail_msg("%s", why.text);
    return result;
}

static _Atomic int flag;

static void raise_in_10_ms(void *arg)
{
    (void)arg;
    rt_sleep_ns(10 * RT_MS);
    atomic_store(&flag, 1);
}

/* Ends when the flag is up; says how often it looked in vain, every millisecond, 3 s at most. */
static int64_t wait_for_flag(void *arg)
{
    (void)arg;
    for (int i = 0; i < 3000; i++) {
        if (atomic_load(&flag))
            return 0;
        usleep(1000);
    }
    return -1;
}

static int block_until_the_sleeper_ran(void *arg)
{
    (void)arg;
    atomic_store(&flag, 0);
    if (rt_go("sleeper", raise_in_10_ms, NULL) != 0)
        return -1;
    rt_yield();
    return (int)rt_blocking(wait_for_flag, NULL);
}

/* Also when the watchman itself waited for events as the call began, as in a run's first moment. */
static void a_timer_that_falls_due_during_a_blocking_call_is_served(void **state)
{
    (void)state;
    for (int i = 0; i < 5; i++)
        assert_int_equal(on_procs(1, block_until_the_sleeper_ran), 0);
}

static int64_t sleep_ms(void *arg)
{
    usleep((useconds_t)(intptr_t)arg * 1000);
    return 0;
}

static int64_t compute_ns(int64_t ns)
{
    int64_t began = rt_now_ns();
    volatile uint64_t sum = 0;
    while (rt_now_ns() - began < ns)
        for (int i = 0; i < 1000; i++)
            sum += (uint64_t)i;
    return rt_now_ns() - began;
}

enum { ROUNDS = 20 };

/* How many of those rounds, that are over well within a slice, saw one end. */
static int blocked_then_computing(void *arg)
{
    (void)arg;
    int ended = 0;
    for (int i = 0; i < ROUNDS; i++) {
        struct rt_stats before, after;
        rt_blocking(sleep_ms, (void *)15);
        rt_stats(&before);
        int64_t took = compute_ns(3 * RT_MS);
        rt_stats(&after);
        ended += took < 6 * RT_MS && after.preempted_slice != before.preempted_slice;
    }
    return ended;
}

static void the_time_in_a_blocking_call_is_no_part_of_a_slice(void **state)
{
    (void)state;
    assert_in_range(on_procs(1, blocked_then_computing), 0, ROUNDS / 4);
}

static void turn_until_flag(void *arg)
{
    (void)arg;
    while (!atomic_load(&flag)) {
        for (volatile int i = 0; i < 2000; i++)
            ;
        rt_yield();
    }
}

enum { TURNERS = 20, CALLS = 200 };

/* How many were stopped by need for one that came back from a blocking call, to a P that turns. */
static int come_back_among_those_who_turn(void *arg)
{
    (void)arg;
    struct rt_stats before, after;
    atomic_store(&flag, 0);
    for (int i = 0; i < TURNERS; i++)
        if (rt_go("turner", turn_until_flag, NULL) != 0)
            return -1;
    rt_stats(&before);
    for (int i = 0; i < CALLS; i++)
        rt_blocking(sleep_ms, (void *)1);
    rt_stats(&after);
    atomic_store(&flag, 1);
    return (int)(after.preempted_need - before.preempted_need);
}

static void nobody_is_stopped_for_an_event_on_a_p_that_turns_by_itself(void **state)
{
    (void)state;
    assert_in_range(on_procs(1, come_back_among_those_who_turn), 0, CALLS / 4);
}

static _Atomic int inside;

static int64_t enter_and_sleep(void *arg)
{
    (void)arg;
    atomic_fetch_add(&inside, 1);
    usleep(200 * 1000);
    return 0;
}

static void block_for_long(void *arg)
{
    (void)arg;
    rt_blocking(enter_and_sleep, NULL);
}

static int leave_many_behind(void *arg)
{
    (void)arg;
    atomic_store(&inside, 0);
    for (int i = 0; i < 100; i++)
        if (rt_go("left behind", block_for_long, NULL) != 0)
            return -1;
    while (atomic_load(&inside) < 90)
        rt_sleep_ns(RT_MS);
    return 0;
}

static void make_a_call(void *arg)
{
    rt_blocking(sleep_ms, (void *)1);
    rt_note_set(arg);
}

static int make_a_call_in_time(void *arg)
{
    (void)arg;
    struct rt_note done = {0};
    if (rt_go("caller", make_a_call, &done) != 0)
        return -1;
    return rt_note_wait(&done, rt_after_ns(10 * RT_SECOND));
}

static void calls_of_a_run_that_has_ended_take_no_places_of_the_next(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++)
        assert_int_equal(on_procs(2, leave_many_behind), 0);
    assert_int_equal(on_procs(2, make_a_call_in_time), 0);
}

enum { LONG_SLICE_NS = 101 * 1000 };

static int64_t kernel_slice_ns(void)
{
    struct {
        uint32_t size, policy;
        uint64_t flags;
        int32_t nice;
        uint32_t priority;
        uint64_t runtime_ns, deadline_ns, period_ns;
    } attr = {0};
    return syscall(SYS_sched_getattr, 0, &attr, sizeof(attr), 0) == 0 ? (int64_t)attr.runtime_ns
                                                                      : 0;
}

static _Atomic int64_t slice_of_another;

static void note_slice(void *arg)
{
    (void)arg;
    atomic_store(&slice_of_another, kernel_slice_ns());
    atomic_store(&flag, 1);
}

/* The first thread computes; only the watchman can have started the second one. */
static int let_it_start_a_thread(void *arg)
{
    (void)arg;
    atomic_store(&flag, 0);
    if (rt_go("other thread", note_slice, NULL) != 0)
        return -1;
    for (int64_t until = rt_now_ns() + 5 * RT_SECOND; !atomic_load(&flag);)
        if (rt_now_ns() > until)
            return -1;
    return 0;
}

/* Its own is 100 us; Linux 6.12 and later tell. */
static void a_thread_that_it_starts_has_the_usual_slice_of_the_kernel(void **state)
{
    (void)state;
    if (kernel_slice_ns() < LONG_SLICE_NS) {
        print_message("no slices to be seen on this kernel\n");
        skip();
    }
    assert_int_equal(on_procs(2, let_it_start_a_thread), 0);
    assert_true(atomic_load(&slice_of_another) >= LONG_SLICE_NS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_timer_that_falls_due_during_a_blocking_call_is_served),
        cmocka_unit_test(the_time_in_a_blocking_call_is_no_part_of_a_slice),
        cmocka_unit_test(nobody_is_stopped_for_an_event_on_a_p_that_turns_by_itself),
        cmocka_unit_test(calls_of_a_run_that_has_ended_take_no_places_of_the_next),
        cmocka_unit_test(a_thread_that_it_starts_has_the_usual_slice_of_the_kernel),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
