/* Notes: one setter, one waiter, once. */
#include "tests/runtime/crew.h"
#include <errno.h>
#include <rt/alloc.h>

static void a_note_that_is_set_ends_every_wait(void **state)
{
    (void)state;
    struct rt_note n = {0};
    assert_false(rt_note_is_set(&n));
    assert_int_equal(rt_note_wait(&n, 0), -ETIMEDOUT);
    assert_int_equal(rt_note_wait(&n, rt_after_ns(RT_MS)), -ETIMEDOUT);
    rt_note_set(&n);
    assert_true(rt_note_is_set(&n));
    assert_int_equal(rt_note_wait(&n, 0), 0);
    rt_note_set(&n); // again: nothing changes
    assert_int_equal(rt_note_wait(&n, RT_FOREVER), 0);
}

struct call {
    struct rt_note done;
    int answer; // before done
    _Atomic int refs;
    struct rt_timer timer;
};

static void answer(void *arg)
{
    struct call *c = arg;
    c->answer = 42;
    rt_note_set(&c->done);
}

static void the_waiter_sees_the_answer_and_may_free_the_note(void **state)
{
    (void)state;
    for (int round = 0; round < 2000; round++) { // AddressSanitizer looks on
        struct call *c = rt_alloc_zero(sizeof(*c));
        assert_int_equal(rt_go("answer", answer, c), 0);
        if (round % 3 == 0)
            rt_yield();
        assert_int_equal(rt_note_wait(&c->done, round % 2 ? RT_FOREVER : CREW_LATE), 0);
        assert_int_equal(c->answer, 42);
        rt_free(c);
    }
}

static void a_timer_may_set_a_note(void **state)
{
    (void)state;
    for (int round = 0; round < 50; round++) {
        struct call c = {.answer = 0};
        rt_timer_start(&c.timer, rt_after_ns(round * 20000), answer, &c);
        assert_int_equal(rt_note_wait(&c.done, CREW_LATE), 0);
        assert_int_equal(c.answer, 42);
        rt_timer_stop(&c.timer);
    }
}

static void unref(struct call *c)
{
    if (atomic_fetch_sub(&c->refs, 1) == 1)
        rt_free(c);
}

static void answer_late(void *arg)
{
    struct call *c = arg;
    rt_sleep_ns(next_random(&(uint32_t){(uint32_t)(uintptr_t)c}) % 60000);
    answer(c);
    unref(c);
}

/* Deadlines that expire just as the note is set. */
static void ask_with_little_patience(int who, void *arg)
{
    _Atomic int *counts = arg;
    uint32_t x = (uint32_t)who;
    for (int i = 0; i < 300; i++) {
        struct call *c = rt_alloc_zero(sizeof(*c));
        atomic_store(&c->refs, 2);
        int err = rt_go("answer-late", answer_late, c);
        assert(err == 0);
        err = rt_note_wait(&c->done, rt_after_ns(next_random(&x) % 120000));
        if (err == 0)
            assert(c->answer == 42);
        else
            assert(err == -ETIMEDOUT);
        atomic_fetch_add(&counts[err == 0], 1);
        if (err)
            err = rt_note_wait(&c->done, CREW_LATE); // the answer still comes
        assert(err == 0);
        assert(c->answer == 42);
        unref(c);
    }
}

static void a_wait_ends_once_by_the_setter_or_by_the_deadline(void **state)
{
    (void)state;
    _Atomic int counts[2] = {0, 0};
    crew_run(4, ask_with_little_patience, counts);
    assert_int_equal(atomic_load(&counts[0]) + atomic_load(&counts[1]), 4 * 300);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_note_that_is_set_ends_every_wait),
    cmocka_unit_test(the_waiter_sees_the_answer_and_may_free_the_note),
    cmocka_unit_test(a_timer_may_set_a_note),
    cmocka_unit_test(a_wait_ends_once_by_the_setter_or_by_the_deadline),
};
RT_TEST_GROUP(group, tests)

int main(void) { return on_one_and_four(group); }
