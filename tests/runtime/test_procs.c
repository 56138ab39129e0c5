/* tests/runtime/test_procs.c: more and fewer Ps while goroutines run, wait and block. */
#include "tests/support/rt_test.h"
#include <assert.h>
#include <errno.h>
#include <rt/chan.h>
#include <rt/sim.h>
#include <rt/sync.h>
#include <rt/time.h>
#include <sched.h>
#include <stdatomic.h>
#include <unistd.h>

enum { WORKERS = 12, ROUNDS = 40 };

struct load {
    struct rt_waitgroup group;
    struct rt_chan *work;
    struct rt_mutex lock;
    uint64_t under_lock;
    _Atomic uint64_t slept, received, blocked;
    _Atomic bool ends;
};

static void take_turns(void *arg)
{
    struct load *l = arg;
    while (!atomic_load(&l->ends)) {
        rt_mutex_lock(&l->lock);
        l->under_lock++;
        rt_mutex_unlock(&l->lock);
        rt_yield();
    }
    rt_waitgroup_done(&l->group);
}

static void sleep_often(void *arg)
{
    struct load *l = arg;
    while (!atomic_load(&l->ends)) {
        rt_sleep_ns(200 * 1000);
        atomic_fetch_add(&l->slept, 1);
    }
    rt_waitgroup_done(&l->group);
}

static void compute(void *arg)
{
    struct load *l = arg;
    while (!atomic_load(&l->ends)) {
        // Nothing but preemption stops it, and ThreadSanitizer lets no signal through.
#ifdef RT_TSAN
        rt_yield();
#endif
    }
    rt_waitgroup_done(&l->group);
}

static int64_t nap(void *arg)
{
    (void)arg;
    usleep(300);
    return 7;
}

static void block(void *arg)
{
    struct load *l = arg;
    while (!atomic_load(&l->ends)) {
        int64_t result = rt_blocking(nap, NULL);
        assert(result == 7);
        atomic_fetch_add(&l->blocked, 1);
    }
    rt_waitgroup_done(&l->group);
}

static void pin_and_wait(void *arg)
{
    struct load *l = arg;
    rt_pin_thread();
    while (!atomic_load(&l->ends)) {
        rt_sleep_ns(500 * 1000);
        rt_yield();
    }
    rt_unpin_thread();
    rt_waitgroup_done(&l->group);
}

static void receive(void *arg)
{
    struct load *l = arg;
    uint64_t value;
    while (rt_chan_recv(l->work, &value, RT_FOREVER) == 0)
        atomic_fetch_add(&l->received, 1);
    rt_waitgroup_done(&l->group);
}

static void start(struct load *l, void (*fn)(void *arg), int count)
{
    rt_waitgroup_add(&l->group, count);
    for (int i = 0; i < count; i++)
        assert_int_equal(rt_go("load", fn, l), 0);
}

static void nothing_is_lost_while_the_number_changes(void **state)
{
    (void)state;
    struct load l = {.work = rt_chan_new(sizeof(uint64_t), 4)};
    unsigned before = rt_procs(), seed = 1;
    uint64_t sent = 0;
    rt_set_slice_ns(RT_MS); // it computes, too
    start(&l, take_turns, WORKERS);
    start(&l, sleep_often, 3);
    start(&l, compute, 1);
    start(&l, block, 2);
    start(&l, pin_and_wait, 1);
    start(&l, receive, 2);
    for (int round = 0; round < ROUNDS; round++) {
        seed = seed * 1103515245 + 12345;
        unsigned wanted = 1 + (seed >> 16) % 6;
        assert_int_equal(rt_set_procs(wanted), 0);
        assert_int_equal(rt_procs(), wanted);
        for (int i = 0; i < 3; i++, sent++)
            assert_int_equal(rt_chan_send(l.work, &sent, RT_FOREVER), 0);
    }
    uint64_t slept = atomic_load(&l.slept), blocked = atomic_load(&l.blocked);
    while (atomic_load(&l.slept) == slept || atomic_load(&l.blocked) == blocked)
        rt_sleep_ns(RT_MS); // both still get their turn
    atomic_store(&l.ends, true);
    rt_chan_close(l.work);
    rt_waitgroup_wait(&l.group, RT_FOREVER);
    assert_int_equal(atomic_load(&l.received), sent);
    rt_set_slice_ns(10 * RT_MS);
    rt_chan_free(l.work);
    assert_int_equal(rt_set_procs(before), 0);
}

static void set_often(void *arg)
{
    struct load *l = arg;
    for (unsigned i = 0; i < 30; i++) {
        int err = rt_set_procs(1 + i % 3);
        assert(err == 0);
    }
    rt_waitgroup_done(&l->group);
}

static void several_may_change_it_at_once(void **state)
{
    (void)state;
    struct load l = {.under_lock = 0};
    unsigned before = rt_procs();
    start(&l, set_often, 3);
    rt_waitgroup_wait(&l.group, RT_FOREVER);
    assert_true(rt_procs() <= 3);
    assert_int_equal(rt_set_procs(before), 0);
}

static void an_armed_timer_outlives_its_p(void **state)
{
    (void)state;
    struct load l = {.under_lock = 0};
    unsigned before = rt_procs();
    assert_int_equal(rt_set_procs(4), 0);
    start(&l, sleep_often, 40);
    rt_sleep_ns(RT_MS);
    assert_int_equal(rt_set_procs(1), 0);
    uint64_t slept = atomic_load(&l.slept);
    while (atomic_load(&l.slept) < slept + 400)
        rt_sleep_ns(RT_MS);
    atomic_store(&l.ends, true);
    rt_waitgroup_wait(&l.group, RT_FOREVER);
    assert_int_equal(rt_set_procs(before), 0);
}

static void a_number_that_cannot_be_is_refused(void **state)
{
    (void)state;
    unsigned before = rt_procs();
    assert_int_equal(rt_set_procs(0), -EINVAL);
    assert_int_equal(rt_set_procs(RT_PROCS_MAX + 1), -EINVAL);
    assert_int_equal(rt_procs(), before);
}

static void the_most_there_can_be_are_made(void **state)
{
    (void)state;
    unsigned before = rt_procs();
    assert_int_equal(rt_set_procs(RT_PROCS_MAX), 0);
    struct load l = {.under_lock = 0};
    start(&l, sleep_often, WORKERS);
    rt_sleep_ns(5 * RT_MS);
    atomic_store(&l.ends, true);
    rt_waitgroup_wait(&l.group, RT_FOREVER);
    assert_int_equal(rt_set_procs(before), 0);
}

/* ---- CPUs ---- */

struct seen {
    _Atomic int running; // at once, so on two Ps
    struct rt_waitgroup done;
    cpu_set_t cpus[2];
    int errs[2];
};

struct looker {
    struct seen *seen;
    int number;
};

static void look_at_cpus(void *arg)
{
    struct looker *l = arg;
    rt_nopreempt_begin(); // or it might move to the other one's P
    atomic_fetch_add(&l->seen->running, 1);
    while (atomic_load(&l->seen->running) < 2)
        ;
    l->seen->errs[l->number] =
        sched_getaffinity(0, sizeof(l->seen->cpus[l->number]), &l->seen->cpus[l->number]);
    rt_nopreempt_end();
    rt_waitgroup_done(&l->seen->done);
}

/* The first goroutine. 0, or what is wrong. */
static int look_on_both(void *arg)
{
    (void)arg;
    static struct seen seen;
    static struct looker lookers[2];
    rt_waitgroup_add(&seen.done, 2);
    for (int i = 0; i < 2; i++) {
        lookers[i] = (struct looker){&seen, i};
        rt_go("looks", look_at_cpus, &lookers[i]);
    }
    rt_waitgroup_wait(&seen.done, RT_FOREVER);
    if (seen.errs[0] != 0 || seen.errs[1] != 0)
        return 1;
    if (CPU_COUNT(&seen.cpus[0]) != 1 || CPU_COUNT(&seen.cpus[1]) != 1)
        return 2;
    return CPU_EQUAL(&seen.cpus[0], &seen.cpus[1]) ? 3 : 0;
}

static void pinned_ps_have_a_cpu_each(void **state)
{
    (void)state;
    cpu_set_t allowed;
    struct why why = {""};
    int result = -1;
    assert_int_equal(sched_getaffinity(0, sizeof(allowed), &allowed), 0);
    if (CPU_COUNT(&allowed) < 2) {
        print_message("# this machine has one CPU for us\n");
        skip();
    }
    struct rt_options options = {.procs = 2, .pin_cpus = true};
    if (rt_run(&options, look_on_both, NULL, &result, &why) != 0)
        fail_msg("%s", why.text);
    assert_int_equal(result, 0);
}

static int try_in_simulation(void *arg)
{
    (void)arg;
    return rt_set_procs(2);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(nothing_is_lost_while_the_number_changes),
    cmocka_unit_test(several_may_change_it_at_once),
    cmocka_unit_test(an_armed_timer_outlives_its_p),
    cmocka_unit_test(a_number_that_cannot_be_is_refused),
    cmocka_unit_test(the_most_there_can_be_are_made),
};
RT_TEST_GROUP(group, tests)
static const struct CMUnitTest tests_outside[] = {cmocka_unit_test(pinned_ps_have_a_cpu_each)};

int main(void)
{
    struct why why;
    int result = 0;
    struct rt_world *world = rt_sim_new(1);
    if (rt_run(&(struct rt_options){.world = world}, try_in_simulation, NULL, &result, &why) != 0 ||
        result != -ENOTSUP) {
        printf("not ok - a simulated world has one P\n");
        return 1;
    }
    rt_sim_free(world);
    int failed = cmocka_run_group_tests(tests_outside, NULL, NULL);
    failed += rt_test_main(NULL, group);
    struct rt_options pinned = {.pin_cpus = true};
    return failed + rt_test_main(&pinned, group);
}
