/* tests/runtime/test_steal.c: when one P takes work from another, and yields at random calls. */
#include "tests/support/rt_test.h"
#include <rt/inspect.h>
#include <rt/sync.h>
#include <rt/time.h>
#include <stdatomic.h>
#include <stdlib.h>

enum { PATIENCE_S = 60 };

struct turns {
    struct rt_waitgroup group;
    int each;
    _Atomic bool ends;
};

static void take_turns(void *arg)
{
    struct turns *t = arg;
    for (int i = 0; i < t->each; i++)
        rt_yield();
    rt_waitgroup_done(&t->group);
}

static void take_turns_until_told(void *arg)
{
    struct turns *t = arg;
    while (!atomic_load(&t->ends))
        rt_yield();
    rt_waitgroup_done(&t->group);
}

/* All are started where the caller runs. */
static void run_lopsided(int count, int each)
{
    struct turns t = {.each = each};
    rt_waitgroup_add(&t.group, count);
    for (int i = 0; i < count; i++)
        assert_int_equal(rt_go("turns", take_turns, &t), 0);
    rt_waitgroup_wait(&t.group, RT_FOREVER);
}

static struct rt_stats stats(void)
{
    struct rt_stats s;
    rt_stats(&s);
    return s;
}

static void a_p_without_work_takes_some_from_another(void **state)
{
    (void)state;
    int64_t until = rt_after_ns(PATIENCE_S * RT_SECOND);
    uint64_t before = stats().steals_empty + stats().steals_idle;
    while (stats().steals_empty + stats().steals_idle == before) {
        assert_true(rt_now_ns() < until);
        run_lopsided(100, 200);
    }
    assert_true(stats().stolen >= stats().steals);
    assert_int_equal(stats().steals,
                     stats().steals_empty + stats().steals_idle + stats().steals_long);
}

static void nothing_is_taken_while_stealing_is_off(void **state)
{
    (void)state;
    rt_set_steal(false);
    assert_false(rt_get_steal());
    run_lopsided(10, 10); // one that had begun before is over
    uint64_t before = stats().steals;
    for (int i = 0; i < 20; i++)
        run_lopsided(100, 50);
    // Each P may have been about to take some when it was turned off.
    assert_true(stats().steals - before < rt_procs());
    rt_set_steal(true);
    assert_true(rt_get_steal());
}

static void a_long_queue_is_shared_by_one_that_has_work_itself(void **state)
{
    (void)state;
    int64_t until = rt_after_ns(PATIENCE_S * RT_SECOND);
    uint64_t before = stats().steals_long;
    while (stats().steals_long == before) {
        assert_true(rt_now_ns() < until);
        struct turns few = {.ends = false};
        rt_waitgroup_add(&few.group, 8);
        for (int i = 0; i < 8; i++)
            assert_int_equal(rt_go("few", take_turns_until_told, &few), 0);
        rt_sleep_ns(200 * 1000); // some of them are elsewhere by now
        run_lopsided(200, 50);
        atomic_store(&few.ends, true);
        rt_waitgroup_wait(&few.group, RT_FOREVER);
    }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_p_without_work_takes_some_from_another),
    cmocka_unit_test(nothing_is_taken_while_stealing_is_off),
    cmocka_unit_test(a_long_queue_is_shared_by_one_that_has_work_itself),
};
RT_TEST_GROUP(group, tests)

/* ---- yields at random ---- */

struct pair {
    struct rt_mutex lock;
    struct rt_waitgroup group;
    _Atomic uint64_t turns_of_other;
    _Atomic bool ends;
};

static void be_the_other(void *arg)
{
    struct pair *p = arg;
    while (!atomic_load(&p->ends)) {
        atomic_fetch_add(&p->turns_of_other, 1);
        rt_yield();
    }
    rt_waitgroup_done(&p->group);
}

/* How often the other one ran while we made a thousand calls, none of which waits. */
static int count_interruptions(void *arg)
{
    (void)arg;
    struct pair p = {.turns_of_other = 0};
    int interruptions = 0;
    rt_waitgroup_add(&p.group, 1);
    if (rt_go("other", be_the_other, &p) != 0)
        return -1;
    rt_yield();
    for (int i = 0; i < 1000; i++) {
        uint64_t before = atomic_load(&p.turns_of_other);
        rt_mutex_lock(&p.lock);
        rt_mutex_unlock(&p.lock);
        interruptions += atomic_load(&p.turns_of_other) != before;
    }
    atomic_store(&p.ends, true);
    rt_waitgroup_wait(&p.group, RT_FOREVER);
    return interruptions;
}

static int interruptions_with(uint64_t seed)
{
    struct rt_options options = {.procs = 1, .random_yield = seed, .no_async_preempt = true};
    struct why why;
    int result = -1;
    assert_int_equal(rt_run(&options, count_interruptions, NULL, &result, &why), 0);
    return result;
}

static void random_yields_let_others_run_in_between(void **state)
{
    (void)state;
    assert_true(interruptions_with(7) > 100);
    assert_true(interruptions_with(0) < 100); // but for the end of a slice
}

static const struct CMUnitTest outside[] = {
    cmocka_unit_test(random_yields_let_others_run_in_between),
};

int main(void)
{
    unsetenv("KVD_RANDOM_YIELD");
    struct rt_options two = {.procs = 2};
    return rt_test_main(&two, group) + cmocka_run_group_tests(outside, NULL, NULL);
}
