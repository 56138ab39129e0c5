/* tests/runtime/test_sched.c: goroutines start, share, wait, move and end; on 1, 2, 4 and 8 Ps. */
#include "runtime/sched/gmp.h"
#include "runtime/sched/park.h"
#include "tests/support/rt_test.h"
#include <assert.h>
#include <errno.h>
#include <rt/inspect.h>
#include <rt/sim.h>
#include <rt/sync.h>
#include <rt/time.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifdef RT_TSAN
enum { MANY = 500, SPAWNS = 20000 }; // each order costs it time by threads
#elif defined(RT_ASAN)
enum { MANY = 5000, SPAWNS = 100000 };
#else
enum { MANY = 20000, SPAWNS = 1000000 };
#endif

static const unsigned proc_counts[] = {1, 2, 4, 8};

/* Run fn on `procs` Ps and return what it returned. */
static int on_procs(unsigned procs, int (*fn)(void *arg), void *arg)
{
    struct why why = {""};
    int result = -1;
    int err = rt_run(&(struct rt_options){.procs = procs}, fn, arg, &result, &why);
    if (err)
        fail_msg("%u Ps: %s", procs, why.text);
    return result;
}

#define ON_EVERY_PROC_COUNT(fn, want)                                                              \
    for (size_t i_ = 0; i_ < ARRAY_LEN(proc_counts); i_++) {                                       \
        int got_ = on_procs(proc_counts[i_], fn, NULL);                                            \
        if (got_ != (want))                                                                        \
            fail_msg("%u Ps: got %d, wanted %d", proc_counts[i_], got_, (int)(want));              \
    }

static int give(void *arg) { return *(int *)arg; }

static void results_come_back_from_main(void **state)
{
    (void)state;
    int result = 0;
    assert_int_equal(rt_run(NULL, give, &(int){42}, &result, NULL), 0);
    assert_int_equal(result, 42);
    assert_int_equal(rt_run(NULL, give, &(int){43}, &result, NULL), 0);
    assert_int_equal(result, 43);
}

/* Nothing but the end of the run orders what they wrote before what we read. */
static void write_and_wait(void *arg)
{
    *(int *)arg = 7;
    rt_sleep_until(RT_FOREVER);
}

static void write_and_end(void *arg) { *(int *)arg = 8; }

static int let_two_write(void *arg)
{
    int *numbers = arg;
    rt_go("waiter", write_and_wait, &numbers[0]);
    rt_go("ender", write_and_end, &numbers[1]);
    for (int i = 0; i < 100; i++)
        rt_yield();
    return 0;
}

static void what_goroutines_wrote_is_there_after_the_run(void **state)
{
    (void)state;
    struct rt_world *world = rt_sim_new(1);
    for (int run = 0; run < 4; run++) {
        int numbers[2] = {0, 0};
        struct rt_options options = {.procs = 1, .world = run % 2 ? world : NULL};
        assert_int_equal(rt_run(&options, let_two_write, numbers, NULL, NULL), 0);
        assert_int_equal(numbers[0], 7);
        assert_int_equal(numbers[1], 8);
    }
    rt_sim_free(world);
}

struct tally {
    _Atomic int count;
    struct rt_waitgroup done;
};

static void yield_and_count(void *arg)
{
    struct tally *t = arg;
    for (int i = 0; i < 5; i++)
        rt_yield();
    atomic_fetch_add(&t->count, 1);
    rt_waitgroup_done(&t->done);
}

static int start_many(void *arg)
{
    (void)arg;
    struct tally t = {.count = 0};
    rt_waitgroup_add(&t.done, MANY);
    for (int i = 0; i < MANY; i++)
        if (rt_go("counter", yield_and_count, &t) != 0)
            return -1;
    rt_waitgroup_wait(&t.done, RT_FOREVER);
    return atomic_load(&t.count);
}

static void every_goroutine_runs_to_its_end(void **state)
{
    (void)state;
    ON_EVERY_PROC_COUNT(start_many, MANY);
}

static void count_one(void *arg)
{
    struct tally *t = arg;
    atomic_fetch_add(&t->count, 1);
    rt_waitgroup_done(&t->done);
}

static int spawn_a_million(void *arg)
{
    (void)arg;
    struct tally t = {.count = 0};
    for (int done = 0; done < SPAWNS; done += 1000) {
        rt_waitgroup_add(&t.done, 1000);
        for (int i = 0; i < 1000; i++)
            if (rt_go("one", count_one, &t) != 0)
                return -1;
        rt_waitgroup_wait(&t.done, RT_FOREVER);
    }
    for (int i = 0; rt_go_count() != 1 && i < 1000000; i++)
        rt_yield(); // the last ones are still leaving their stacks
    return rt_go_count() == 1 ? atomic_load(&t.count) : -2;
}

static void a_million_goroutines_leave_nothing_behind(void **state)
{
    (void)state;
    assert_int_equal(on_procs(1, spawn_a_million, NULL), SPAWNS);
    assert_int_equal(on_procs(2, spawn_a_million, NULL), SPAWNS);
}

/* ---- parking ---- */

struct duel {
    struct g *_Atomic parked;
    _Atomic int rounds;
    struct rt_waitgroup done;
};

static bool publish(struct g *gp, void *arg)
{
    struct duel *d = arg;
    atomic_store(&d->parked, gp);
    return true;
}

static void park_often(void *arg)
{
    struct duel *d = arg;
    for (int i = 0; i < MANY; i++)
        sched_park(publish, d, PARK_NOTE);
    rt_waitgroup_done(&d->done);
}

static void ready_often(void *arg)
{
    struct duel *d = arg;
    while (atomic_load(&d->rounds) < MANY) {
        struct g *gp = atomic_exchange(&d->parked, NULL);
        if (gp) {
            atomic_fetch_add(&d->rounds, 1);
            sched_ready(gp);
        } else {
            rt_yield();
        }
    }
    rt_waitgroup_done(&d->done);
}

static int duel_with_commit(void *arg)
{
    (void)arg;
    struct duel d = {.rounds = 0};
    rt_waitgroup_add(&d.done, 2);
    rt_go("parker", park_often, &d);
    rt_go("waker", ready_often, &d);
    rt_waitgroup_wait(&d.done, RT_FOREVER);
    return atomic_load(&d.rounds);
}

static void no_wakeup_is_lost_between_commit_and_ready(void **state)
{
    (void)state;
    ON_EVERY_PROC_COUNT(duel_with_commit, MANY);
}

static void park_published(void *arg)
{
    struct duel *d = arg;
    for (int i = 0; i < MANY; i++) {
        atomic_store(&d->parked, g_self());
        sched_park(NULL, NULL, PARK_NOTE);
    }
    rt_waitgroup_done(&d->done);
}

static int duel_without_commit(void *arg)
{
    (void)arg;
    struct duel d = {.rounds = 0};
    rt_waitgroup_add(&d.done, 2);
    rt_go("parker", park_published, &d);
    rt_go("waker", ready_often, &d);
    rt_waitgroup_wait(&d.done, RT_FOREVER);
    return atomic_load(&d.rounds);
}

static void a_ready_that_comes_before_the_park_is_kept(void **state)
{
    (void)state;
    ON_EVERY_PROC_COUNT(duel_without_commit, MANY);
}

static bool refuse(struct g *gp, void *arg)
{
    (void)gp;
    ++*(int *)arg;
    return false;
}

static int park_refused(void *arg)
{
    (void)arg;
    int asked = 0;
    for (int i = 0; i < 1000; i++)
        sched_park(refuse, &asked, PARK_NOTE);
    return asked;
}

static void a_park_that_commit_refuses_runs_on(void **state)
{
    (void)state;
    ON_EVERY_PROC_COUNT(park_refused, 1000);
}

/* ---- fairness ---- */

/* Two goroutines that ready each other for ever, through `next`. */
struct table {
    struct g *_Atomic seat[2];
    _Atomic bool stop;
    struct rt_waitgroup done;
};

struct player {
    struct table *table;
    int seat;
};

static void play(void *arg)
{
    struct player *me = arg;
    struct table *t = me->table;
    while (!atomic_load(&t->stop)) {
        struct g *other = atomic_exchange(&t->seat[!me->seat], NULL);
        if (other)
            sched_ready(other);
        atomic_store(&t->seat[me->seat], g_self());
        if (atomic_load(&t->stop))
            break;
        sched_park(NULL, NULL, PARK_NOTE);
    }
    struct g *other = atomic_exchange(&t->seat[!me->seat], NULL);
    if (other)
        sched_ready(other);
    rt_waitgroup_done(&t->done);
}

static void stop_the_game(void *arg)
{
    struct table *t = arg;
    for (int i = 0; i < 100; i++)
        rt_yield();
    atomic_store(&t->stop, true);
    rt_waitgroup_done(&t->done);
}

static int others_get_turns(void *arg)
{
    (void)arg;
    struct table t = {.stop = false};
    rt_waitgroup_add(&t.done, 3);
    rt_go("player", play, &(struct player){&t, 0});
    rt_go("player", play, &(struct player){&t, 1});
    rt_go("stopper", stop_the_game, &t);
    return rt_waitgroup_wait(&t.done, rt_after_ns(60 * RT_SECOND));
}

static void a_pair_that_readies_each_other_cannot_keep_the_p(void **state)
{
    (void)state;
    assert_int_equal(on_procs(1, others_get_turns, NULL), 0);
}

/* A goroutine from the global queue (an overflow put it there) runs although the ring is never
 * empty. */
struct flood {
    _Atomic bool stop;
    _Atomic int began, ended;
    int started;
};

static void keep_yielding(void *arg)
{
    struct flood *f = arg;
    atomic_fetch_add(&f->began, 1);
    while (!atomic_load(&f->stop))
        rt_yield();
    atomic_fetch_add(&f->ended, 1);
}

static int overflow_the_ring(void *arg)
{
    (void)arg;
    struct flood f = {.stop = false};
    for (f.started = 0; f.started < 2 * RUNQ_SLOTS; f.started++)
        if (rt_go("yielder", keep_yielding, &f) != 0)
            return -1;
    while (atomic_load(&f.began) < f.started) // those in the global queue, too
        rt_yield();
    struct rt_stats stats;
    rt_stats(&stats);
    atomic_store(&f.stop, true);
    while (atomic_load(&f.ended) < f.started)
        rt_yield();
    return stats.global_gets > 0 ? 0 : -2;
}

static void the_global_queue_is_not_starved(void **state)
{
    (void)state;
    ON_EVERY_PROC_COUNT(overflow_the_ring, 0);
}

/* An urgent goroutine that is always ready takes at most every other turn. */
static void count_turns(void *arg)
{
    struct flood *f = arg;
    while (!atomic_load(&f->stop)) {
        atomic_fetch_add(&f->ended, 1);
        atomic_store(&f->stop, atomic_load(&f->ended) > 100000);
        rt_yield();
    }
}

static int urgent_and_others(void *arg)
{
    (void)arg;
    struct flood f = {.stop = false};
    rt_go_urgent("urgent", count_turns, &f);
    int turns = 0;
    while (!atomic_load(&f.stop) && turns < 1000) {
        rt_yield();
        turns++;
    }
    bool shared = turns == 1000;
    atomic_store(&f.stop, true);
    return shared ? 0 : -1;
}

static void an_urgent_goroutine_leaves_turns_to_others(void **state)
{
    (void)state;
    assert_int_equal(on_procs(1, urgent_and_others, NULL), 0);
}

/* ---- stealing ---- */

static void work_and_count(void *arg)
{
    struct tally *t = arg;
    volatile uint64_t x = 1;
    for (int i = 0; i < 20000; i++)
        x = x * 3 + 1;
    atomic_fetch_add(&t->count, 1);
    rt_waitgroup_done(&t->done);
}

static int make_work_for_thieves(void *arg)
{
    (void)arg;
    struct rt_stats stats;
    for (int round = 0; round < 1000; round++) {
        struct tally t = {.count = 0};
        rt_waitgroup_add(&t.done, 100);
        for (int i = 0; i < 100; i++)
            rt_go("worker", work_and_count, &t);
        rt_waitgroup_wait(&t.done, RT_FOREVER);
        rt_stats(&stats);
        if (stats.steals > 0)
            return atomic_load(&t.count);
    }
    return -1;
}

static void an_idle_p_steals_from_a_busy_one(void **state)
{
    (void)state;
    assert_int_equal(on_procs(2, make_work_for_thieves, NULL), 100);
    assert_int_equal(on_procs(4, make_work_for_thieves, NULL), 100);
}

/* ---- threads ---- */

struct thread_check {
    struct rt_waitgroup done;
    _Atomic int moved;
};

static void stay_on_thread(void *arg)
{
    struct thread_check *c = arg;
    rt_pin_thread();
    pid_t tid = gettid();
    for (int i = 0; i < 200; i++) {
        if (i % 20 == 0)
            rt_sleep_ns(100000);
        else
            rt_yield();
        if (gettid() != tid)
            atomic_fetch_add(&c->moved, 1);
    }
    rt_unpin_thread();
    rt_waitgroup_done(&c->done);
}

static int pin_several(void *arg)
{
    (void)arg;
    struct thread_check c = {.moved = 0};
    rt_waitgroup_add(&c.done, 8);
    for (int i = 0; i < 8; i++)
        rt_go("pinned", stay_on_thread, &c);
    rt_waitgroup_wait(&c.done, RT_FOREVER);
    return atomic_load(&c.moved);
}

static void a_pinned_goroutine_stays_on_its_thread(void **state)
{
    (void)state;
    ON_EVERY_PROC_COUNT(pin_several, 0);
}

static int look_at_identity(void *arg)
{
    (void)arg;
    uint64_t id = rt_go_id();
    struct g *self = g_self();
    for (int i = 0; i < 100; i++) {
        rt_yield();
        if (rt_go_id() != id || g_self() != self)
            return -1;
    }
    return id != 0 && rt_go_count() == 1 ? 0 : -2;
}

static void a_goroutine_knows_itself(void **state)
{
    (void)state;
    ON_EVERY_PROC_COUNT(look_at_identity, 0);
    assert_null(g_self());
    assert_int_equal(rt_go_id(), 0);
}

static void wait_for_ever(void *arg)
{
    (void)arg;
    rt_sleep_until(RT_FOREVER);
}

static int start_up_to_the_limit(void *arg)
{
    (void)arg;
    int started = 0, err = 0;
    while (started < 100000 && (err = rt_go("waiter", wait_for_ever, NULL)) == 0) {
        started++;
        rt_yield();
    }
    return err == -EAGAIN ? started : -1;
}

static void goroutines_are_bounded(void **state)
{
    (void)state;
    int started = 0;
    struct rt_options options = {.procs = 1, .max_goroutines = 500};
    assert_int_equal(rt_run(&options, start_up_to_the_limit, NULL, &started, NULL), 0);
    assert_in_range(started, 499, 499 + 64);
}

static int do_nothing(void *arg)
{
    (void)arg;
    return 0;
}

static void maxprocs_must_be_a_number(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int err;
    } rows[] = {
        {"3", 0},
        {"1", 0},
        {"", 0},
        {"0", -EINVAL},
        {"two", -EINVAL},
        {"-1", -EINVAL},
        {"99999999999", -EINVAL},
        {"2x", -EINVAL},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct why why = {""};
        setenv("KVD_MAXPROCS", rows[i].text, 1);
        int err = rt_run(NULL, do_nothing, NULL, NULL, &why);
        unsetenv("KVD_MAXPROCS");
        if (err != rows[i].err)
            fail_msg("KVD_MAXPROCS='%s' gave %d (%s)", rows[i].text, err, why.text);
        if (err)
            assert_non_null(strstr(why.text, "KVD_MAXPROCS"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(results_come_back_from_main),
        cmocka_unit_test(what_goroutines_wrote_is_there_after_the_run),
        cmocka_unit_test(every_goroutine_runs_to_its_end),
        cmocka_unit_test(a_million_goroutines_leave_nothing_behind),
        cmocka_unit_test(no_wakeup_is_lost_between_commit_and_ready),
        cmocka_unit_test(a_ready_that_comes_before_the_park_is_kept),
        cmocka_unit_test(a_park_that_commit_refuses_runs_on),
        cmocka_unit_test(a_pair_that_readies_each_other_cannot_keep_the_p),
        cmocka_unit_test(the_global_queue_is_not_starved),
        cmocka_unit_test(an_urgent_goroutine_leaves_turns_to_others),
        cmocka_unit_test(an_idle_p_steals_from_a_busy_one),
        cmocka_unit_test(a_pinned_goroutine_stays_on_its_thread),
        cmocka_unit_test(a_goroutine_knows_itself),
        cmocka_unit_test(goroutines_are_bounded),
        cmocka_unit_test(maxprocs_must_be_a_number),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
