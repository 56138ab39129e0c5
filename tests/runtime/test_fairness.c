/* tests/runtime/test_fairness.c: who is runnable runs soon, whatever the others are. Slices of an
 * hour (or a second) leave only the rule under test to end a turn; who is starved hangs, and the dump says where. */
#include "tests/runtime/crew.h"
#include <rt/file.h>
#include <rt/inspect.h>
#include <rt/time.h>
#include <sched.h>
#include <stdatomic.h>

enum { NEVER_MS = 3600 * 1000, LONG_MS = 1000 };

static int run(struct rt_options options, int (*fn)(void *arg))
{
    struct why why = {""};
    int result = -1;
    if (rt_run(&options, fn, NULL, &result, &why) != 0)
        fail_msg("%s", why.text);
    return result;
}

#ifdef RT_TSAN // delivers no signal to a loop without calls
static void breathe(void) { rt_now_ns(); }
#else
static void breathe(void) {}
#endif

struct scene {
    _Atomic bool done, ran;
    _Atomic int count;
    struct rt_mutex m;
};

/* ---- turns ---- */

static void block_often(void *arg)
{
    struct scene *s = arg;
    for (int i = 0; i < 100; i++) {
        rt_exists("/tmp");
        atomic_fetch_add(&s->count, 1);
    }
    atomic_store(&s->done, true);
}

static int yield_pinned(void *arg)
{
    (void)arg;
    struct scene s = {.done = false};
    rt_pin_thread();
    rt_go("blocker", block_often, &s);
    while (!atomic_load(&s.done))
        rt_yield();
    rt_unpin_thread();
    return atomic_load(&s.count);
}

static void a_pinned_yielder_leaves_turns_to_those_back_from_blocking_calls(void **state)
{
    (void)state;
    assert_int_equal(run((struct rt_options){.procs = 1, .slice_ms = NEVER_MS}, yield_pinned), 100);
    assert_int_equal(run((struct rt_options){.procs = 2, .slice_ms = NEVER_MS}, yield_pinned), 100);
}

/* Two that wake each other for ever, so that one of them is always queued. */
struct pair {
    struct scene *scene;
    struct rt_note note[2];
};

static void pass_on(struct pair *p, int me)
{
    while (!atomic_load(&p->scene->done)) {
        rt_note_set(&p->note[!me]);
        rt_note_wait(&p->note[me], RT_FOREVER);
        p->note[me] = (struct rt_note){0};
    }
    rt_note_set(&p->note[!me]);
    atomic_fetch_add(&p->scene->count, 1);
}

static void pass_left(void *arg) { pass_on(arg, 0); }
static void pass_right(void *arg) { pass_on(arg, 1); }

static void end_the_scene(void *arg)
{
    struct scene *s = arg;
    for (int i = 0; i < 100; i++)
        rt_yield(); // to the end of the ring
    atomic_store(&s->done, true);
    atomic_fetch_add(&s->count, 1);
}

static int urgent_pairs_and_pairs(void *arg)
{
    (void)arg;
    struct scene s = {.done = false};
    struct pair urgent = {.scene = &s}, other = {.scene = &s};
    rt_go_urgent("urgent left", pass_left, &urgent);
    rt_go_urgent("urgent right", pass_right, &urgent);
    rt_go("left", pass_left, &other);
    rt_go("right", pass_right, &other);
    rt_go("ender", end_the_scene, &s);
    while (atomic_load(&s.count) < 5)
        rt_yield();
    return 0;
}

static void urgent_and_readied_ones_together_do_not_starve_the_ring(void **state)
{
    (void)state;
    assert_int_equal(
        run((struct rt_options){.procs = 1, .slice_ms = NEVER_MS}, urgent_pairs_and_pairs), 0);
}

/* ---- other Ps ---- */

static void say_ran(void *arg) { atomic_store(&((struct scene *)arg)->ran, true); }

static int queue_urgent_and_compute(void *arg)
{
    (void)arg;
    struct scene s = {.ran = false};
    rt_go_urgent("urgent", say_ran, &s);
    while (!atomic_load(&s.ran))
        breathe();
    return 0;
}

static void an_urgent_one_behind_a_long_turn_is_fetched_by_an_idle_p(void **state)
{
    (void)state;
    assert_int_equal(
        run((struct rt_options){.procs = 2, .slice_ms = NEVER_MS}, queue_urgent_and_compute), 0);
}

static void compute_until_done(void *arg)
{
    struct scene *s = arg;
    atomic_fetch_add(&s->count, 1);
    while (!atomic_load(&s->done))
        breathe();
    atomic_fetch_add(&s->count, 1);
}

static void compute_unpreempted(void *arg)
{
    rt_nopreempt_begin();
    compute_until_done(arg);
    rt_nopreempt_end();
}

static void say_done(void *arg) { atomic_store(&((struct scene *)arg)->done, true); }

static int one_is_deaf(void *arg)
{
    (void)arg;
    struct scene s = {.done = false};
    rt_go("deaf", compute_unpreempted, &s);
    rt_go("hog", compute_until_done, &s);
    while (atomic_load(&s.count) < 1)
        rt_yield();
    rt_go("ender", say_done, &s);
    compute_until_done(&s);
    while (atomic_load(&s.count) < 6)
        rt_yield();
    return 0;
}

static void a_p_that_cannot_be_preempted_does_not_protect_the_others(void **state)
{
    (void)state;
    for (int i = 0; i < 5; i++)
        assert_int_equal(run((struct rt_options){.procs = 2, .slice_ms = 1}, one_is_deaf), 0);
}

/* ---- need ---- */

static void sleep_often(void *arg)
{
    struct scene *s = arg;
    for (int i = 0; i < 50; i++) {
        rt_sleep_ns(RT_MS / 2);
        atomic_fetch_add(&s->count, 1);
    }
    atomic_store(&s->done, true);
}

static int sleep_beside_hogs(void *arg)
{
    (void)arg;
    struct scene s = {.done = false};
    rt_go("sleeper", sleep_often, &s);
    rt_yield(); // it sleeps
    for (int i = 0; i < 3; i++)
        rt_go("hog", compute_until_done, &s);
    compute_until_done(&s);
    struct rt_stats stats;
    rt_stats(&stats);
    // A sleeper that is found due at an ordinary turn waits behind the hogs; but not every time.
    return stats.preempted_slice < 25 ? 0 : (int)stats.preempted_slice;
}

static void a_due_timer_does_not_wait_for_the_end_of_a_slice(void **state)
{
    (void)state;
    assert_int_equal(run((struct rt_options){.procs = 1, .slice_ms = LONG_MS}, sleep_beside_hogs),
                     0);
    assert_int_equal(run((struct rt_options){.procs = 2, .slice_ms = LONG_MS}, sleep_beside_hogs),
                     0);
}

static void sleep_for_ever(void *arg)
{
    struct scene *s = arg;
    while (!atomic_load(&s->done))
        rt_sleep_ns(RT_MS / 5);
    atomic_fetch_add(&s->count, 1);
}

static int need_and_two_hogs(void *arg)
{
    (void)arg;
    struct scene s = {.done = false};
    rt_go("sleeper", sleep_for_ever, &s);
    rt_yield();
    rt_go("ender", say_done, &s); // in the ring, behind us, who are stopped by need all the time
    compute_until_done(&s);
    while (atomic_load(&s.count) < 3)
        rt_yield();
    return 0;
}

static void who_is_stopped_by_need_uses_up_its_slice(void **state)
{
    (void)state;
    assert_int_equal(run((struct rt_options){.procs = 1, .slice_ms = 20}, need_and_two_hogs), 0);
}

/* What a due timer sets off: somebody who readies two others, of whom one waits in the ring. */
struct relay {
    _Atomic int *ran;
    struct rt_note start;
};

static void relay_on(void *arg)
{
    struct relay *r = arg;
    rt_note_wait(&r->start, RT_FOREVER);
    atomic_fetch_add(r->ran, 1);
}

static void sleep_and_relay(void *arg)
{
    struct scene *s = arg;
    for (int i = 0; i < 20; i++) {
        _Atomic int ran = 0;
        struct relay urgent = {.ran = &ran}, one = {.ran = &ran}, other = {.ran = &ran};
        rt_go_urgent("urgent", relay_on, &urgent);
        rt_go("one", relay_on, &one);
        rt_go("other", relay_on, &other);
        rt_sleep_ns(RT_MS / 2);
        rt_note_set(&urgent.start);
        rt_note_set(&one.start);
        rt_note_set(&other.start);
        while (atomic_load(&ran) < 3)
            rt_yield();
    }
    atomic_store(&s->done, true);
}

static int relay_beside_a_hog(void *arg)
{
    (void)arg;
    struct scene s = {.done = false};
    rt_go_urgent("sleeper", sleep_and_relay, &s);
    rt_yield();
    compute_until_done(&s);
    struct rt_stats stats;
    rt_stats(&stats);
    return stats.preempted_slice < 10 ? 0 : (int)stats.preempted_slice;
}

static void what_an_event_sets_off_goes_ahead_of_a_computation(void **state)
{
    (void)state;
    assert_int_equal(run((struct rt_options){.procs = 1, .slice_ms = LONG_MS}, relay_beside_a_hog),
                     0);
}

static int block_beside_a_hog(void *arg)
{
    (void)arg;
    struct scene s = {.done = false};
    rt_go("blocker", block_often, &s);
    rt_yield();
    compute_until_done(&s);
    struct rt_stats stats;
    rt_stats(&stats);
    return stats.preempted_slice < 50 ? 0 : (int)stats.preempted_slice;
}

static void who_is_back_from_a_blocking_call_does_not_wait_for_the_end_of_a_slice(void **state)
{
    (void)state;
    assert_int_equal(run((struct rt_options){.procs = 1, .slice_ms = LONG_MS}, block_beside_a_hog),
                     0);
}

/* ---- who holds a mutex ---- */

static void lock_and_say(void *arg)
{
    struct scene *s = arg;
    rt_sleep_ns(RT_MS);
    atomic_store(&s->ran, true);
}

static int hold_while_needed(void *arg)
{
    (void)arg;
    struct scene s = {.ran = false};
    rt_go("sleeper", lock_and_say, &s);
    rt_yield();
    rt_mutex_lock(&s.m);
    for (int64_t until = rt_after_ns(50 * RT_MS); rt_now_ns() < until;)
        ;
    bool stopped = atomic_load(&s.ran);
    rt_mutex_unlock(&s.m);
    while (!atomic_load(&s.ran))
        breathe();
    struct rt_stats stats;
    rt_stats(&stats);
    return stopped ? -1 : stats.preempted_need + stats.preempted_slice > 0 ? 0 : -2;
}

static void need_does_not_stop_who_holds_a_mutex(void **state)
{
    (void)state;
    assert_int_equal(run((struct rt_options){.procs = 1, .slice_ms = LONG_MS}, hold_while_needed),
                     0);
}

static void take_turns(void *arg)
{
    struct scene *s = arg;
    while (!atomic_load(&s->done)) {
        atomic_fetch_add(&s->count, 1);
        rt_yield();
    }
    atomic_store(&s->ran, true);
}

static int hold_for_several_slices(void *arg)
{
    (void)arg;
    struct scene s = {.done = false};
    struct rt_stats before, after;
    rt_go("other", take_turns, &s);
    rt_mutex_lock(&s.m);
    rt_stats(&before);
    for (int64_t until = rt_after_ns(400 * RT_MS); rt_now_ns() < until;)
        ;
    rt_stats(&after);
    rt_mutex_unlock(&s.m);
    atomic_store(&s.done, true);
    while (!atomic_load(&s.ran))
        rt_yield();
    return (int)(after.preempted_slice - before.preempted_slice);
}

static void the_end_of_a_slice_stops_who_holds_a_mutex_once(void **state)
{
    (void)state;
    int stops = run((struct rt_options){.procs = 1, .slice_ms = 100}, hold_for_several_slices);
    assert_in_range(stops, 0, 1);
}

static int hold_and_wait_for_another(void *arg)
{
    (void)arg;
    struct scene s = {.done = false};
    rt_mutex_lock(&s.m);
    for (int i = 0; i < 3; i++) { // a mistake, but not one that may stop the P
        atomic_store(&s.done, false);
        rt_go("ender", say_done, &s);
        while (!atomic_load(&s.done))
            breathe();
    }
    rt_mutex_unlock(&s.m);
    return 0;
}

static void who_holds_a_mutex_for_ever_is_stopped_all_the_same(void **state)
{
    (void)state;
    assert_int_equal(run((struct rt_options){.procs = 1, .slice_ms = 2}, hold_and_wait_for_another),
                     0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pinned_yielder_leaves_turns_to_those_back_from_blocking_calls),
        cmocka_unit_test(urgent_and_readied_ones_together_do_not_starve_the_ring),
        cmocka_unit_test(an_urgent_one_behind_a_long_turn_is_fetched_by_an_idle_p),
        cmocka_unit_test(a_p_that_cannot_be_preempted_does_not_protect_the_others),
        cmocka_unit_test(a_due_timer_does_not_wait_for_the_end_of_a_slice),
        cmocka_unit_test(who_is_stopped_by_need_uses_up_its_slice),
        cmocka_unit_test(what_an_event_sets_off_goes_ahead_of_a_computation),
        cmocka_unit_test(who_is_back_from_a_blocking_call_does_not_wait_for_the_end_of_a_slice),
        cmocka_unit_test(need_does_not_stop_who_holds_a_mutex),
        cmocka_unit_test(the_end_of_a_slice_stops_who_holds_a_mutex_once),
        cmocka_unit_test(who_holds_a_mutex_for_ever_is_stopped_all_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
