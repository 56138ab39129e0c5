/* tests/runtime/test_leak.c: the leak detector finds who stays and leaves alone who comes and goes. In
 * simulated worlds, so that periods take no time and every run is the same. */
#include "tests/support/rt_test.h"
#include <errno.h>
#include <rt/chan.h>
#include <rt/leak.h>
#include <rt/sim.h>
#include <rt/sync.h>
#include <string.h>

static struct {
    struct rt_chan *never; // nobody ever sends
    struct rt_chan *abandoned[8];
    int runs;
    struct rt_string lines, stacks;
    struct rt_leak_summary sum;
} seen;

static int in_a_simulated_world(int (*fn)(void *arg))
{
    struct why why;
    int result = -1;
    struct rt_world *world = rt_sim_new(7);
    struct rt_options options = {.world = world};
    rt_string_deinit(&seen.lines);
    rt_string_deinit(&seen.stacks);
    if (rt_run(&options, fn, NULL, &result, &why) != 0)
        fail_msg("%s", why.text);
    rt_sim_free(world);
    return result;
}

static const char *lines(void) { return rt_string_cstr(&seen.lines); }

static void watch(const struct rt_leak_options *o)
{
    struct rt_leak_watch *w = rt_leak_watch_new(o);
    while (rt_leak_watch_look(w))
        ;
    rt_leak_watch_summary(w, &seen.sum);
    rt_leak_watch_report(w, RT_LEAK_LINES, &seen.lines);
    rt_leak_watch_report(w, RT_LEAK_STACKS, &seen.stacks);
    rt_leak_watch_free(w);
}

/* Not the last call of the goroutine, so that it is on the stack. */
static __attribute__((noinline)) int wait_for_what_never_comes(void)
{
    int value = 0;
    int err = rt_chan_recv(seen.never, &value, RT_FOREVER);
    return err + value;
}

static void leak_one(void *arg)
{
    (void)arg;
    volatile int result = wait_for_what_never_comes();
    (void)result;
}

/* One request a second, of which every tenth leaves a goroutine behind. */
static void serve_requests(void *arg)
{
    intptr_t leaks = (intptr_t)arg;
    for (int i = 1;; i++) {
        rt_sleep_ns(RT_SECOND);
        if (i % 10 == 0 && leaks-- > 0)
            rt_go("forgotten", leak_one, NULL);
    }
}

static int leak_three(void *arg)
{
    (void)arg;
    seen.never = seen.abandoned[seen.runs++] = rt_chan_new(sizeof(int), 0);
    rt_go("server", serve_requests, (void *)3);
    watch(&RT_LEAK_DEFAULTS);
    return 0;
}

static void three_forgotten_goroutines_are_found(void **state)
{
    (void)state;
    in_a_simulated_world(leak_three);
    assert_int_equal(seen.sum.rounds, 10);
    assert_int_equal(seen.sum.leaks, 1);
    assert_int_equal(seen.sum.goroutines_now, seen.sum.goroutines_before + 3);
#if !defined(RT_ASAN) && !defined(RT_TSAN) // instrumented code has frames of its own
    static const char wanted[] = "+3 (0 -> 3) forgotten: ";
    if (strncmp(lines(), wanted, strlen(wanted)) != 0 ||
        !strstr(lines(), "wait_for_what_never_comes < leak_one < "))
        fail_msg("not the line we want: %s", lines());
    assert_non_null(strstr(rt_string_cstr(&seen.stacks), "\n    wait_for_what_never_comes+0x"));
    assert_non_null(strstr(rt_string_cstr(&seen.stacks), "\n  created at serve_requests+0x"));
#endif
}

static int leak_two(void *arg)
{
    (void)arg;
    seen.never = seen.abandoned[seen.runs++] = rt_chan_new(sizeof(int), 0);
    rt_go("server", serve_requests, (void *)2);
    watch(&RT_LEAK_DEFAULTS);
    return 0;
}

static void two_are_not_more_than_the_threshold(void **state)
{
    (void)state;
    in_a_simulated_world(leak_two);
    assert_int_equal(seen.sum.leaks, 0);
    assert_string_equal(lines(), "");
}

static int leak_two_with_a_threshold_of_one(void *arg)
{
    (void)arg;
    struct rt_leak_options o = RT_LEAK_DEFAULTS;
    o.threshold = 1;
    seen.never = seen.abandoned[seen.runs++] = rt_chan_new(sizeof(int), 0);
    rt_go("server", serve_requests, (void *)2);
    watch(&o);
    return 0;
}

static void the_threshold_can_be_set(void **state)
{
    (void)state;
    in_a_simulated_world(leak_two_with_a_threshold_of_one);
    assert_int_equal(seen.sum.leaks, 1);
}

static void hold_a_connection(void *arg) { rt_sleep_ns((intptr_t)arg * RT_MS); }

/* A hundred at a time, each for a while that is no multiple of anything. */
static void churn(void *arg)
{
    (void)arg;
    for (int i = 0;; i++) {
        for (int k = 0; k < 100; k++)
            rt_go("connection", hold_a_connection, (void *)(intptr_t)(2000 + 37 * k));
        rt_sleep_ns(4700 * RT_MS);
    }
}

static int look_at_churn(void *arg)
{
    (void)arg;
    rt_go("churn", churn, NULL);
    watch(&RT_LEAK_DEFAULTS);
    return 0;
}

static void who_comes_and_goes_is_no_leak(void **state)
{
    (void)state;
    in_a_simulated_world(look_at_churn);
    assert_true(seen.sum.goroutines_now > 50);
    if (seen.sum.leaks)
        fail_msg("%s", lines());
}

/* They stay long, but each in turn makes place for a new one. */
static void stay_long(void *arg) { rt_sleep_ns((intptr_t)arg * RT_SECOND); }

static void replace(void *arg)
{
    (void)arg;
    for (intptr_t i = 0;; i++) {
        rt_go("long-lived", stay_long, (void *)60); // some 20 at a time
        rt_sleep_ns(3 * RT_SECOND);
    }
}

static int look_at_replacements(void *arg)
{
    (void)arg;
    struct rt_leak_options o = RT_LEAK_DEFAULTS;
    o.rounds = 40;
    rt_go("replacer", replace, NULL);
    rt_sleep_ns(90 * RT_SECOND);
    watch(&o);
    return 0;
}

static void who_takes_the_place_of_another_is_no_leak(void **state)
{
    (void)state;
    in_a_simulated_world(look_at_replacements);
    if (seen.sum.leaks)
        fail_msg("%s", lines());
}

static int ask_for_nonsense(void *arg)
{
    (void)arg;
    struct why why = {""};
    struct rt_leak_options o = RT_LEAK_DEFAULTS;
    o.rounds = 0;
    int rounds = rt_leak_options_check(&o, &why);
    o = RT_LEAK_DEFAULTS;
    o.period_ns = 10;
    int period = rt_leak_options_check(&o, &why);
    o = RT_LEAK_DEFAULTS;
    return rounds == -EINVAL && period == -EINVAL && rt_leak_options_check(&o, &why) == 0;
}

static void options_out_of_range_are_refused(void **state)
{
    (void)state;
    assert_int_equal(in_a_simulated_world(ask_for_nonsense), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(three_forgotten_goroutines_are_found),
        cmocka_unit_test(two_are_not_more_than_the_threshold),
        cmocka_unit_test(the_threshold_can_be_set),
        cmocka_unit_test(who_comes_and_goes_is_no_leak),
        cmocka_unit_test(who_takes_the_place_of_another_is_no_leak),
        cmocka_unit_test(options_out_of_range_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
