/* Mailboxes: many putters, one taker. */
#include "tests/runtime/crew.h"
#include <errno.h>
#include <rt/alloc.h>

struct letter {
    struct rt_mail mail;
    int from, number;
};

static void mail_is_taken_whole_and_in_order(void **state)
{
    (void)state;
    struct rt_mailbox box = {.newest = NULL};
    struct letter letters[3];
    assert_null(rt_mailbox_take(&box, 0));
    assert_true(rt_mailbox_put(&box, &letters[0].mail)); // it was empty
    assert_false(rt_mailbox_put(&box, &letters[1].mail));
    assert_false(rt_mailbox_put(&box, &letters[2].mail));
    struct rt_mail *m = rt_mailbox_take(&box, RT_FOREVER);
    for (int i = 0; i < 3; i++, m = m->next)
        assert_ptr_equal(m, &letters[i].mail);
    assert_null(m);
    assert_null(rt_mailbox_take(&box, rt_after_ns(RT_MS)));
    assert_true(rt_mailbox_put(&box, &letters[0].mail));
    assert_ptr_equal(rt_mailbox_take(&box, 0), &letters[0].mail);
}

static void a_wake_ends_exactly_one_take(void **state)
{
    (void)state;
    struct rt_mailbox box = {.newest = NULL};
    struct letter letter;
    rt_mailbox_wake(&box);
    assert_null(rt_mailbox_take(&box, RT_FOREVER));
    assert_null(rt_mailbox_take(&box, rt_after_ns(RT_MS)));
    rt_mailbox_put(&box, &letter.mail);
    rt_mailbox_wake(&box);
    assert_ptr_equal(rt_mailbox_take(&box, RT_FOREVER), &letter.mail);
    // An empty box that was filled and drained before does not end a take for nothing.
    assert_null(rt_mailbox_take(&box, rt_after_ns(RT_MS)));
}

static void wake_it(void *box) { rt_mailbox_wake(box); }

static void a_wake_reaches_a_taker_that_is_parked(void **state)
{
    (void)state;
    struct rt_mailbox box = {.newest = NULL};
    struct rt_timer timer = {0};
    for (int i = 0; i < 20; i++) {
        rt_timer_start(&timer, rt_after_ns(i * 30000), wake_it, &box);
        assert_null(rt_mailbox_take(&box, CREW_LATE));
        rt_timer_stop(&timer);
    }
}

enum { PUTTERS = 6, LETTERS = 5000 };

struct post {
    struct rt_mailbox box;
    _Atomic int empties;
};

static void put_many(int who, void *arg)
{
    struct post *p = arg;
    uint32_t x = (uint32_t)who;
    for (int i = 0; i < LETTERS; i++) {
        struct letter *l = rt_alloc(sizeof(*l));
        l->from = who;
        l->number = i;
        if (rt_mailbox_put(&p->box, &l->mail))
            atomic_fetch_add(&p->empties, 1);
        if (next_random(&x) % 8 == 0)
            rt_yield();
    }
}

static void nothing_is_lost_doubled_or_out_of_a_putters_order(void **state)
{
    (void)state;
    struct post p = {.empties = 0};
    struct crew crew;
    int next[PUTTERS] = {0}, taken = 0, batches = 0;
    crew_start(&crew, PUTTERS, put_many, &p);
    while (taken < PUTTERS * LETTERS) {
        // Mixed: patient takes, short deadlines that race with a put, and looks.
        int64_t deadline = batches % 3 == 0 ? CREW_LATE : batches % 3 == 1 ? rt_after_ns(20000) : 0;
        struct rt_mail *m = rt_mailbox_take(&p.box, deadline);
        assert_true(m || batches % 3 != 0);
        batches++;
        if (!m)
            rt_yield();
        for (struct rt_mail *after; m; m = after, taken++) {
            struct letter *l = (struct letter *)m;
            after = m->next;
            assert_int_equal(l->number, next[l->from]++);
            rt_free(l);
        }
    }
    crew_wait(&crew);
    assert_null(rt_mailbox_take(&p.box, 0));
    assert_true(atomic_load(&p.empties) <= batches);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(mail_is_taken_whole_and_in_order),
    cmocka_unit_test(a_wake_ends_exactly_one_take),
    cmocka_unit_test(a_wake_reaches_a_taker_that_is_parked),
    cmocka_unit_test(nothing_is_lost_doubled_or_out_of_a_putters_order),
};
RT_TEST_GROUP(group, tests)

int main(void) { return on_one_and_four(group); }
