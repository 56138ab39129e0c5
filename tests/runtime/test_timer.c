/* tests/runtime/test_timer.c: timers fire once, in order, not early, and stop means stopped. */
#include "runtime/sched/gmp.h"
#include "tests/support/rt_test.h"
#include <assert.h>
#include <rt/sim.h>
#include <rt/sync.h>
#include <rt/time.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#ifdef RT_TSAN
enum { TIMERS = 500 };
#else
enum { TIMERS = 5000 };
#endif

static int on_procs(unsigned procs, int (*fn)(void *arg))
{
    struct why why = {""};
    int result = -1;
    if (rt_run(&(struct rt_options){.procs = procs}, fn, NULL, &result, &why) != 0)
        fail_msg("%s", why.text);
    return result;
}

struct shot {
    struct rt_timer timer;
    struct shots *all;
    int64_t due_ns;
    _Atomic int fired;
};

struct shots {
    struct shot shot[TIMERS];
    _Atomic int early, fired;
    struct rt_waitgroup done;
};

static struct shots shots;

static void shoot(void *arg)
{
    struct shot *s = arg;
    if (clock_real_now_ns() < s->due_ns)
        atomic_fetch_add(&s->all->early, 1);
    atomic_fetch_add(&s->fired, 1);
    atomic_fetch_add(&s->all->fired, 1);
    rt_waitgroup_done(&s->all->done);
}

static uint32_t next_random(uint32_t *state)
{
    return (*state = *state * 1664525 + 1013904223) >> 8;
}

static int fire_thousands(void *arg)
{
    (void)arg;
    uint32_t random = 7;
    memset(&shots, 0, sizeof(shots));
    rt_waitgroup_add(&shots.done, TIMERS);
    for (int i = 0; i < TIMERS; i++) {
        struct shot *s = &shots.shot[i];
        s->all = &shots;
        s->due_ns = rt_now_ns() + next_random(&random) % (20 * RT_MS);
        rt_timer_start(&s->timer, s->due_ns, shoot, s);
        if (i % 64 == 0)
            rt_yield();
    }
    if (rt_waitgroup_wait(&shots.done, rt_after_ns(60 * RT_SECOND)) != 0)
        return -1;
    int wrong = atomic_load(&shots.early);
    for (int i = 0; i < TIMERS; i++)
        wrong += atomic_load(&shots.shot[i].fired) != 1;
    return wrong;
}

static void every_timer_fires_once_and_not_early(void **state)
{
    (void)state;
    assert_int_equal(on_procs(1, fire_thousands), 0);
    assert_int_equal(on_procs(4, fire_thousands), 0);
}

/* Stop half of them: either stop says it will never fire, or it has fired. */
static int stop_some(void *arg)
{
    (void)arg;
    uint32_t random = 11;
    memset(&shots, 0, sizeof(shots));
    rt_waitgroup_add(&shots.done, TIMERS);
    for (int i = 0; i < TIMERS; i++) {
        struct shot *s = &shots.shot[i];
        s->all = &shots;
        rt_timer_start(&s->timer, rt_now_ns() + next_random(&random) % (5 * RT_MS), shoot, s);
    }
    int stopped = 0, wrong = 0;
    for (int i = 0; i < TIMERS; i += 2) {
        bool never = rt_timer_stop(&shots.shot[i].timer);
        if (never) {
            stopped++;
            rt_waitgroup_done(&shots.done);
        }
        wrong += never == (atomic_load(&shots.shot[i].fired) == 1);
        wrong += rt_timer_stop(&shots.shot[i].timer); // a second stop has nothing to do
    }
    if (rt_waitgroup_wait(&shots.done, rt_after_ns(60 * RT_SECOND)) != 0)
        return -1;
    return wrong + (atomic_load(&shots.fired) + stopped != TIMERS);
}

static void a_stopped_timer_never_fires_and_a_fired_one_is_not_stopped(void **state)
{
    (void)state;
    assert_int_equal(on_procs(1, stop_some), 0);
    assert_int_equal(on_procs(4, stop_some), 0);
}

static void note_order(void *arg)
{
    struct shot *s = arg;
    s->due_ns = atomic_fetch_add(&s->all->fired, 1);
    rt_waitgroup_done(&s->all->done);
}

static int fire_in_order(void *arg)
{
    (void)arg;
    memset(&shots, 0, sizeof(shots));
    int64_t base = rt_now_ns() + 20 * RT_MS;
    rt_waitgroup_add(&shots.done, 200);
    for (int i = 0; i < 200; i++) { // 0, 73, 146, ...: every place once, in a mixed order
        int place = i * 73 % 200;
        shots.shot[place].all = &shots;
        rt_timer_start(&shots.shot[place].timer, base + place * 1000, note_order,
                       &shots.shot[place]);
    }
    rt_waitgroup_wait(&shots.done, RT_FOREVER);
    int wrong = 0;
    for (int i = 0; i < 200; i++)
        wrong += shots.shot[i].due_ns != i;
    return wrong;
}

static void timers_of_one_p_fire_in_order(void **state)
{
    (void)state;
    assert_int_equal(on_procs(1, fire_in_order), 0);
}

static int arm_again(void *arg)
{
    (void)arg;
    memset(&shots, 0, sizeof(shots));
    struct shot *s = &shots.shot[0];
    s->all = &shots;
    rt_waitgroup_add(&shots.done, 1);
    rt_timer_start(&s->timer, rt_after_ns(3600 * RT_SECOND), shoot, s);
    rt_timer_start(&s->timer, rt_after_ns(RT_MS), shoot, s); // earlier: the first is forgotten
    if (rt_waitgroup_wait(&shots.done, rt_after_ns(60 * RT_SECOND)) != 0)
        return -1;
    return atomic_load(&s->fired) == 1 && !rt_timer_stop(&s->timer) ? 0 : -2;
}

static void arming_again_replaces_the_first_time(void **state)
{
    (void)state;
    assert_int_equal(on_procs(1, arm_again), 0);
    assert_int_equal(on_procs(2, arm_again), 0);
}

struct ticker {
    struct rt_timer timer;
    int left;
    struct rt_note done;
};

static void tick(void *arg)
{
    struct ticker *t = arg;
    if (--t->left > 0)
        rt_timer_start(&t->timer, rt_now_ns(), tick, t);
    else
        rt_note_set(&t->done);
}

static int tick_by_itself(void *arg)
{
    (void)arg;
    struct ticker t = {.left = 100};
    rt_timer_start(&t.timer, rt_now_ns(), tick, &t);
    return rt_note_wait(&t.done, rt_after_ns(60 * RT_SECOND));
}

static void a_timer_may_arm_itself_again(void **state)
{
    (void)state;
    assert_int_equal(on_procs(1, tick_by_itself), 0);
    assert_int_equal(on_procs(4, tick_by_itself), 0);
}

struct sleepers {
    _Atomic int early;
    struct rt_waitgroup done;
};

static void sleep_and_check(void *arg)
{
    struct sleepers *s = arg;
    for (int i = 0; i < 10; i++) {
        int64_t until = rt_now_ns() + (i + 1) * 100000;
        rt_sleep_until(until);
        if (rt_now_ns() < until)
            atomic_fetch_add(&s->early, 1);
    }
    rt_sleep_ns(0);
    rt_sleep_ns(-5);
    rt_waitgroup_done(&s->done);
}

static int sleep_in_many(void *arg)
{
    (void)arg;
    struct sleepers s = {.early = 0};
    rt_waitgroup_add(&s.done, 300);
    for (int i = 0; i < 300; i++)
        rt_go("sleeper", sleep_and_check, &s);
    if (rt_waitgroup_wait(&s.done, rt_after_ns(60 * RT_SECOND)) != 0)
        return -1;
    return atomic_load(&s.early);
}

static void nobody_wakes_early(void **state)
{
    (void)state;
    assert_int_equal(on_procs(1, sleep_in_many), 0);
    assert_int_equal(on_procs(4, sleep_in_many), 0);
}

static int look_at_clocks(void *arg)
{
    (void)arg;
    int64_t now = rt_now_ns();
    uint64_t a = rt_random_u64(), b = rt_random_u64();
    return rt_after_ns(RT_FOREVER) == RT_FOREVER && rt_after_ns(5) >= now + 5 &&
                   rt_wall_ns() > INT64_C(1700000000) * RT_SECOND && a != b
               ? 0
               : -1;
}

static void clocks_and_random_numbers_are_sane(void **state)
{
    (void)state;
    assert_int_equal(on_procs(1, look_at_clocks), 0);
}

/* ---- very many ---- */

#ifdef RT_TSAN
enum { VERY_MANY = 20000 };
#else
enum { VERY_MANY = 1000000 };
#endif
enum { REMAIN = 10 };

static void count_one(void *arg) { atomic_fetch_add((_Atomic int *)arg, 1); }

/* The places of the only P's heap. */
static uint32_t places(void) { return sched.ps[0].timers.count; }

static int arm_very_many(void *arg)
{
    (void)arg;
    struct rt_timer *timers = calloc(VERY_MANY, sizeof(*timers));
    _Atomic int fired = 0;
    uint32_t random = 11, others = places();
    int64_t hour = rt_after_ns(3600 * RT_SECOND);
    assert(timers);
    for (int i = 0; i < VERY_MANY; i++)
        rt_timer_start(&timers[i], hour + next_random(&random), count_one, &fired);
    if (places() != others + VERY_MANY || sched.ps[0].timers.cap > 2 * VERY_MANY + 64)
        return 1;
    // In an order that has nothing to do with time; each tells whether it was stopped.
    for (uint32_t i = 0; i < VERY_MANY; i++) {
        uint32_t at = (uint32_t)((uint64_t)i * 7919 % VERY_MANY);
        if (at >= REMAIN && !rt_timer_stop(&timers[at]))
            return 2;
        if (places() > 2 * (VERY_MANY - i) + 4 * 64 + others)
            return 3; // what was stopped must not stay for ever
    }
    if (sched.ps[0].timers.cap > VERY_MANY / 4)
        return 4;
    for (int i = 0; i < REMAIN; i++)
        rt_timer_start(&timers[i], rt_after_ns(RT_MS), count_one, &fired);
    while (atomic_load(&fired) < REMAIN)
        rt_sleep_ns(RT_MS);
    for (int i = 0; i < VERY_MANY; i++)
        if (rt_timer_stop(&timers[i]))
            return 5;
    free(timers);
    return 0;
}

static void a_million_timers_leave_no_more_than_their_share_behind(void **state)
{
    (void)state;
    assert_int_equal(on_procs(1, arm_very_many), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_timer_fires_once_and_not_early),
        cmocka_unit_test(a_stopped_timer_never_fires_and_a_fired_one_is_not_stopped),
        cmocka_unit_test(timers_of_one_p_fire_in_order),
        cmocka_unit_test(arming_again_replaces_the_first_time),
        cmocka_unit_test(a_million_timers_leave_no_more_than_their_share_behind),
        cmocka_unit_test(a_timer_may_arm_itself_again),
        cmocka_unit_test(nobody_wakes_early),
        cmocka_unit_test(clocks_and_random_numbers_are_sane),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
