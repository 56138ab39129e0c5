/* The number of goroutines, asked for while they start on one P and end on another. */
#include "tests/support/rt_test.h"
#include <rt/sync.h>
#include <stdatomic.h>

enum { PROCS = 4, STARTERS = 2, EACH = 200000 };

static struct rt_waitgroup starters;
static _Atomic bool over;
static _Atomic uint32_t most;

static void come_and_go(void *unused) { (void)unused; }

static void start_many(void *unused)
{
    (void)unused;
    for (int i = 0; i < EACH; i++) {
        while (rt_go("short", come_and_go, NULL) != 0)
            rt_yield();
        if (i % 64 == 0)
            rt_yield(); // others have taken some meanwhile
    }
    rt_waitgroup_done(&starters);
}

static void count_again_and_again(void *unused)
{
    (void)unused;
    while (!atomic_load(&over)) {
        uint32_t count = rt_go_count();
        if (count > atomic_load(&most))
            atomic_store(&most, count);
    }
    rt_waitgroup_done(&starters);
}

static void there_are_never_more_than_were_started(void **state)
{
    (void)state;
    rt_waitgroup_add(&starters, STARTERS);
    for (int i = 0; i < STARTERS; i++)
        assert_int_equal(rt_go("starter", start_many, NULL), 0);
    assert_int_equal(rt_go("count", count_again_and_again, NULL), 0);
    rt_waitgroup_wait(&starters, RT_FOREVER);
    rt_waitgroup_add(&starters, 1);
    atomic_store(&over, true);
    rt_waitgroup_wait(&starters, RT_FOREVER);
    assert_in_range(atomic_load(&most), 1, STARTERS * EACH + 8); // and not some less than none
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(there_are_never_more_than_were_started),
};

RT_TEST_GROUP(run_all, tests)

int main(void) { return rt_test_main(&(struct rt_options){.procs = PROCS}, run_all); }
