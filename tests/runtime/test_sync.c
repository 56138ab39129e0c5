/* Condition variables, wait groups, once, semaphores. */
#include "tests/runtime/crew.h"
#include <errno.h>
#include <rt/alloc.h>
#include <rt/defer.h>

struct club {
    struct rt_mutex m;
    struct rt_cond c;
    int waiting, woken, timed_out; // m
};

static void wait_for_signal(int who, void *arg)
{
    struct club *club = arg;
    (void)who;
    rt_mutex_lock(&club->m);
    club->waiting++;
    int err = rt_cond_wait(&club->c, &club->m, CREW_LATE);
    assert(err == 0);
    club->woken++;
    rt_mutex_unlock(&club->m);
}

static void await_waiting(struct club *club, int count)
{
    for (;;) {
        rt_mutex_lock(&club->m);
        int waiting = club->waiting;
        rt_mutex_unlock(&club->m);
        if (waiting == count)
            return;
        rt_yield();
    }
}

static void await_woken(struct club *club, int count)
{
    for (;;) {
        rt_mutex_lock(&club->m);
        int woken = club->woken;
        rt_mutex_unlock(&club->m);
        if (woken >= count)
            return;
        rt_yield();
    }
}

static void a_signal_wakes_one_and_a_broadcast_all(void **state)
{
    (void)state;
    struct club club = {0};
    struct crew crew;
    crew_start(&crew, 10, wait_for_signal, &club);
    await_waiting(&club, 10);
    for (int i = 1; i <= 3; i++) {
        rt_cond_signal(&club.c);
        await_woken(&club, i);
        let_others_park();
        rt_mutex_lock(&club.m);
        assert_int_equal(club.woken, i);
        rt_mutex_unlock(&club.m);
    }
    rt_cond_broadcast(&club.c);
    crew_wait(&crew);
    assert_int_equal(club.woken, 10);
    rt_cond_signal(&club.c); // nobody waits: nothing happens
}

static void a_wait_that_times_out_holds_the_mutex(void **state)
{
    (void)state;
    struct club club = {0};
    rt_mutex_lock(&club.m);
    assert_int_equal(rt_cond_wait(&club.c, &club.m, 0), -ETIMEDOUT);
    assert_false(rt_mutex_try_lock(&club.m));
    assert_int_equal(rt_cond_wait(&club.c, &club.m, rt_after_ns(RT_MS)), -ETIMEDOUT);
    assert_false(rt_mutex_try_lock(&club.m));
    rt_mutex_unlock(&club.m);
    assert_null(club.c.waiters.first);
}

/* Waiters and signals meet under deadlines that expire just then. */
static void wait_a_little(int who, void *arg)
{
    struct club *club = arg;
    uint32_t x = (uint32_t)who;
    for (int i = 0; i < 300; i++) {
        rt_mutex_lock(&club->m);
        club->waiting++;
        int err = rt_cond_wait(&club->c, &club->m, rt_after_ns(next_random(&x) % 300000));
        if (err == 0)
            club->woken++;
        else
            club->timed_out++;
        assert(err == 0 || err == -ETIMEDOUT);
        rt_mutex_unlock(&club->m);
    }
}

struct signaller {
    struct club *club;
    _Atomic bool stop;
    int signals;
};

static void signal_all_the_time(int who, void *arg)
{
    struct signaller *s = arg;
    (void)who;
    while (!atomic_load(&s->stop)) {
        rt_cond_signal(&s->club->c);
        s->signals++;
        rt_yield();
    }
}

static void every_wait_ends_once_by_signal_or_by_deadline(void **state)
{
    (void)state;
    struct club club = {0};
    struct signaller s = {.club = &club};
    struct crew signallers;
    crew_start(&signallers, 1, signal_all_the_time, &s);
    crew_run(8, wait_a_little, &club);
    atomic_store(&s.stop, true);
    crew_wait(&signallers);
    assert_int_equal(club.woken + club.timed_out, 8 * 300);
    assert_true(club.woken <= s.signals); // a signal wakes at most one
    assert_null(club.c.waiters.first);
}

struct counted_group {
    struct rt_waitgroup g;
};

static void finish_one(int who, void *arg)
{
    struct counted_group *w = arg;
    (void)who;
    rt_yield();
    rt_waitgroup_done(&w->g);
}

static void a_wait_group_may_be_freed_when_the_wait_is_over(void **state)
{
    (void)state;
    for (int round = 0; round < 300; round++) {
        struct counted_group *w = rt_alloc_zero(sizeof(*w));
        struct crew crew;
        rt_waitgroup_add(&w->g, 4);
        crew_start(&crew, 4, finish_one, w);
        assert_int_equal(rt_waitgroup_wait(&w->g, CREW_LATE), 0);
        rt_free(w);
        crew_wait(&crew);
    }
}

static void a_wait_group_is_not_over_before_its_count_is_zero(void **state)
{
    (void)state;
    struct rt_waitgroup g = {0};
    assert_int_equal(rt_waitgroup_wait(&g, 0), 0);
    rt_waitgroup_add(&g, 2);
    rt_waitgroup_done(&g);
    assert_int_equal(rt_waitgroup_wait(&g, 0), -ETIMEDOUT);
    assert_int_equal(rt_waitgroup_wait(&g, rt_after_ns(RT_MS)), -ETIMEDOUT);
    rt_waitgroup_done(&g);
    assert_int_equal(rt_waitgroup_wait(&g, RT_FOREVER), 0);
}

struct once {
    struct rt_once o;
    int runs;
};

static void slow_first_run(void *arg)
{
    struct once *o = arg;
    let_others_park();
    o->runs++;
}

static void do_once(int who, void *arg)
{
    struct once *o = arg;
    (void)who;
    rt_once_do(&o->o, slow_first_run, o);
    assert(o->runs == 1); // nobody comes back before it is done
}

static void once_runs_once_and_all_wait_for_it(void **state)
{
    (void)state;
    struct once o = {0};
    crew_run(8, do_once, &o);
    assert_int_equal(o.runs, 1);
}

static void panics(void *arg)
{
    (*(int *)arg)++;
    rt_panic("in once");
}

struct once_panic {
    struct rt_once o;
    int runs;
};

static void do_panicking_once(void *arg)
{
    struct once_panic *p = arg;
    rt_once_do(&p->o, panics, &p->runs);
}

static void once_that_panicked_has_run(void **state)
{
    (void)state;
    struct once_panic p = {0};
    char text[32];
    assert_false(rt_try(do_panicking_once, &p, text, sizeof(text)));
    assert_string_equal(text, "in once");
    assert_true(rt_try(do_panicking_once, &p, text, sizeof(text)));
    assert_int_equal(p.runs, 1);
}

struct queue {
    struct rt_sem s;
    int64_t wants[3];
    _Atomic int order[3], next;
};

static void acquire_in_line(int who, void *arg)
{
    struct queue *q = arg;
    int err = rt_sem_acquire(&q->s, q->wants[who], CREW_LATE);
    assert(err == 0);
    atomic_store(&q->order[atomic_fetch_add(&q->next, 1)], who);
}

static void a_small_request_does_not_overtake_a_large_one(void **state)
{
    (void)state;
    if (rt_procs() != 1)
        return; // the order of arrival is only known on one P
    struct queue q = {.wants = {3, 1, 1}};
    struct crew crew;
    crew_start_in_line(&crew, 3, acquire_in_line, &q);
    rt_sem_release(&q.s, 2);
    let_others_park();
    assert_int_equal(q.next, 0);
    assert_int_equal(rt_sem_acquire(&q.s, 1, 0), -ETIMEDOUT); // nor does one that only tries
    rt_sem_release(&q.s, 1);
    let_others_park();
    assert_int_equal(q.next, 1);
    assert_int_equal(q.order[0], 0);
    rt_sem_release(&q.s, 2);
    crew_wait(&crew);
    assert_int_equal(q.s.count, 0);
}

static void wait_for_more_than_there_will_be(int who, void *arg)
{
    struct rt_sem *s = arg;
    int err = who == 0 ? rt_sem_acquire(s, 100, rt_after_ns(20 * RT_MS))
                       : rt_sem_acquire(s, 1, CREW_LATE);
    assert(err == (who == 0 ? -ETIMEDOUT : 0));
}

static void a_large_request_that_gives_up_lets_the_small_ones_go(void **state)
{
    (void)state;
    struct rt_sem s = {.count = 1};
    crew_run(2, wait_for_more_than_there_will_be, &s);
    assert_int_equal(s.count, 0);
}

enum { UNITS = 5 };

struct pool {
    struct rt_sem s;
    _Atomic int in_use;
    _Atomic int served, gave_up;
};

static void use_pool(int who, void *arg)
{
    struct pool *p = arg;
    uint32_t x = (uint32_t)who * 77;
    for (int i = 0; i < 400; i++) {
        int n = 1 + (int)(next_random(&x) % UNITS);
        uint32_t patience = next_random(&x) % 200000;
        if (rt_sem_acquire(&p->s, n, i % 3 ? CREW_LATE : rt_after_ns(patience))) {
            atomic_fetch_add(&p->gave_up, 1);
            continue;
        }
        int in_use = atomic_fetch_add(&p->in_use, n) + n;
        assert(in_use <= UNITS);
        rt_yield();
        atomic_fetch_sub(&p->in_use, n);
        rt_sem_release(&p->s, n);
        atomic_fetch_add(&p->served, 1);
    }
}

static void a_semaphore_never_gives_more_than_it_has(void **state)
{
    (void)state;
    struct pool p = {.s.count = UNITS};
    crew_run(8, use_pool, &p);
    assert_int_equal(p.s.count, UNITS);
    assert_int_equal(atomic_load(&p.served) + atomic_load(&p.gave_up), 8 * 400);
    assert_null(p.s.waiters.first);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_signal_wakes_one_and_a_broadcast_all),
    cmocka_unit_test(a_wait_that_times_out_holds_the_mutex),
    cmocka_unit_test(every_wait_ends_once_by_signal_or_by_deadline),
    cmocka_unit_test(a_wait_group_may_be_freed_when_the_wait_is_over),
    cmocka_unit_test(a_wait_group_is_not_over_before_its_count_is_zero),
    cmocka_unit_test(once_runs_once_and_all_wait_for_it),
    cmocka_unit_test(once_that_panicked_has_run),
    cmocka_unit_test(a_small_request_does_not_overtake_a_large_one),
    cmocka_unit_test(a_large_request_that_gives_up_lets_the_small_ones_go),
    cmocka_unit_test(a_semaphore_never_gives_more_than_it_has),
};
RT_TEST_GROUP(group, tests)

int main(void) { return on_one_and_four(group); }
