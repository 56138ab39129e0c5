/* Mutexes and reader-writer locks. */
#include "tests/runtime/crew.h"
#include <rt/alloc.h>

enum { WORKERS = 8, ROUNDS = 4000 };

struct shared {
    struct rt_mutex m;
    struct rt_rwmutex rw;
    int count; // plain: only the lock guards it
    int inside;
    _Atomic bool stop;
    _Atomic int got;
};

static void count_under_lock(int who, void *arg)
{
    struct shared *s = arg;
    for (int i = 0; i < ROUNDS; i++) {
        if (i % 7 == 0)
            while (!rt_mutex_try_lock(&s->m))
                rt_yield();
        else
            rt_mutex_lock(&s->m);
        int seen = ++s->inside;
        if ((i + who) % 16 == 0)
            rt_yield(); // others come while it is held
        assert(seen == 1 && s->inside == 1);
        s->inside = 0;
        s->count++;
        rt_mutex_unlock(&s->m);
    }
}

static void only_one_goroutine_is_inside(void **state)
{
    (void)state;
    struct shared s = {0};
    crew_run(WORKERS, count_under_lock, &s);
    assert_int_equal(s.count, WORKERS * ROUNDS);
    assert_int_equal(atomic_load(&s.m.word), 0);
    assert_null(s.m.waiters.first);
}

static void hog_or_take(int who, void *arg)
{
    struct shared *s = arg;
    if (who == 0) {
        for (int i = 0; i < 10000000 && !atomic_load(&s->stop); i++) {
            rt_mutex_lock(&s->m);
            rt_yield();
            rt_mutex_unlock(&s->m); // and at once again
        }
        return;
    }
    for (int i = 0; i < 500; i++) {
        rt_mutex_lock(&s->m);
        atomic_fetch_add(&s->got, 1);
        rt_mutex_unlock(&s->m);
        rt_yield();
    }
    atomic_store(&s->stop, true);
}

static void nobody_starves_beside_a_hog(void **state)
{
    (void)state;
    struct shared s = {0};
    crew_run(2, hog_or_take, &s);
    assert_true(atomic_load(&s.stop));
    assert_int_equal(atomic_load(&s.got), 500);
}

struct counted {
    struct rt_mutex m;
    int users;
};

static void leave_and_free(int who, void *arg)
{
    struct counted *c = arg;
    (void)who;
    rt_mutex_lock(&c->m);
    bool last = --c->users == 0;
    rt_mutex_unlock(&c->m);
    if (last)
        rt_free(c);
}

static void the_last_user_may_free_the_mutex_at_once(void **state)
{
    (void)state;
    for (int round = 0; round < 500; round++) { // AddressSanitizer looks on
        struct counted *c = rt_alloc_zero(sizeof(*c));
        c->users = 4;
        crew_run(4, leave_and_free, c);
    }
}

struct order {
    struct rt_rwmutex rw;
    int at[3];
    _Atomic int next;
};

static void read_or_write_in_turn(int who, void *arg)
{
    struct order *o = arg;
    if (who == 0) {
        rt_rwmutex_lock(&o->rw);
        o->at[who] = o->next++;
        rt_rwmutex_unlock(&o->rw);
    } else {
        rt_rwmutex_rlock(&o->rw);
        o->at[who] = o->next++;
        rt_rwmutex_runlock(&o->rw);
    }
}

static void a_waiting_writer_holds_back_new_readers(void **state)
{
    (void)state;
    if (rt_procs() != 1)
        return; // the order of arrival is only known on one P
    struct order o = {0};
    struct crew c;
    rt_rwmutex_rlock(&o.rw);
    crew_start_in_line(&c, 2, read_or_write_in_turn, &o); // a writer, then a reader
    assert_int_equal(o.next, 0);
    rt_rwmutex_runlock(&o.rw);
    crew_wait(&c);
    assert_true(o.at[0] < o.at[1]);
}

struct readers {
    struct rt_rwmutex rw;
    struct rt_waitgroup both_inside;
};

static void meet_inside(int who, void *arg)
{
    struct readers *r = arg;
    (void)who;
    rt_rwmutex_rlock(&r->rw);
    rt_waitgroup_done(&r->both_inside);
    int err = rt_waitgroup_wait(&r->both_inside, CREW_LATE);
    assert(err == 0);
    rt_rwmutex_runlock(&r->rw);
}

static void readers_are_inside_together(void **state)
{
    (void)state;
    struct readers r = {0};
    rt_waitgroup_add(&r.both_inside, 2);
    crew_run(2, meet_inside, &r);
}

static void read_and_write(int who, void *arg)
{
    struct shared *s = arg;
    uint32_t x = (uint32_t)who;
    for (int i = 0; i < ROUNDS; i++) {
        if (next_random(&x) % 4 == 0) {
            rt_rwmutex_lock(&s->rw);
            int before = s->count++;
            if (i % 16 == 0)
                rt_yield();
            assert(s->count == before + 1);
            rt_rwmutex_unlock(&s->rw);
            atomic_fetch_add(&s->got, 1);
        } else {
            rt_rwmutex_rlock(&s->rw);
            int before = s->count;
            if (i % 16 == 0)
                rt_yield();
            assert(s->count == before);
            rt_rwmutex_runlock(&s->rw);
        }
    }
}

static void readers_never_see_a_writer(void **state)
{
    (void)state;
    struct shared s = {0};
    crew_run(WORKERS, read_and_write, &s);
    assert_int_equal(s.count, atomic_load(&s.got));
    assert_int_equal(s.rw.readers, 0);
    assert_false(s.rw.writer);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(only_one_goroutine_is_inside),
    cmocka_unit_test(nobody_starves_beside_a_hog),
    cmocka_unit_test(the_last_user_may_free_the_mutex_at_once),
    cmocka_unit_test(a_waiting_writer_holds_back_new_readers),
    cmocka_unit_test(readers_are_inside_together),
    cmocka_unit_test(readers_never_see_a_writer),
};
RT_TEST_GROUP(group, tests)

int main(void) { return on_one_and_four(group); }
