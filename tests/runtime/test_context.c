/* Contexts: who ends whom, and when. */
#include "tests/runtime/crew.h"
#include <errno.h>
#include <rt/context.h>

static void the_first_end_counts_and_closes_done(void **state)
{
    (void)state;
    struct rt_context *c = rt_context_new(NULL, RT_FOREVER);
    assert_int_equal(rt_context_err(c), 0);
    assert_int_equal(rt_chan_recv(rt_context_done(c), NULL, 0), -EAGAIN);
    rt_context_cancel(c, -ECANCELED);
    rt_context_cancel(c, -EPIPE);
    assert_int_equal(rt_context_err(c), -ECANCELED);
    assert_int_equal(rt_chan_recv(rt_context_done(c), NULL, RT_FOREVER), -EPIPE);
    rt_context_unref(c);
}

static void an_end_goes_down_and_never_up(void **state)
{
    (void)state;
    struct rt_context *root = rt_context_new(NULL, RT_FOREVER);
    struct rt_context *left = rt_context_new(root, RT_FOREVER);
    struct rt_context *right = rt_context_new(root, RT_FOREVER);
    struct rt_context *leaf = rt_context_new(left, RT_FOREVER);
    rt_context_unref(left); // the leaf holds it: ends still pass through
    rt_context_cancel(right, -EPIPE);
    assert_int_equal(rt_context_err(root), 0);
    assert_int_equal(rt_context_err(leaf), 0);
    rt_context_cancel(root, -ECANCELED);
    assert_int_equal(rt_context_err(leaf), -ECANCELED);
    assert_int_equal(rt_context_err(right), -EPIPE);
    struct rt_context *late = rt_context_new(leaf, RT_FOREVER);
    assert_int_equal(rt_context_err(late), -ECANCELED); // born ended
    assert_int_equal(rt_chan_recv(rt_context_done(late), NULL, 0), -EPIPE);
    rt_context_unref(late);
    rt_context_unref(leaf);
    rt_context_unref(right);
    rt_context_unref(root);
}

static void a_deadline_ends_it_and_the_earlier_one_holds(void **state)
{
    (void)state;
    int64_t soon = rt_after_ns(5 * RT_MS);
    struct rt_context *parent = rt_context_new(NULL, soon);
    struct rt_context *child = rt_context_new(parent, rt_after_ns(3600 * RT_SECOND));
    assert_true(rt_context_deadline_ns(child) == soon);
    assert_int_equal(rt_chan_recv(rt_context_done(child), NULL, CREW_LATE), -EPIPE);
    assert_int_equal(rt_context_err(child), -ETIMEDOUT);
    assert_true(rt_now_ns() >= soon);
    assert_int_equal(rt_chan_recv(rt_context_done(parent), NULL, CREW_LATE), -EPIPE);
    rt_context_unref(child);
    rt_context_unref(parent);
    struct rt_context *past = rt_context_new(NULL, rt_now_ns() - 1);
    assert_int_equal(rt_chan_recv(rt_context_done(past), NULL, CREW_LATE), -EPIPE);
    rt_context_unref(past);
}

static void a_deep_tree_ends_without_deep_recursion(void **state)
{
    (void)state;
    enum { DEPTH = 20000 };
    struct rt_context *root = rt_context_new(NULL, RT_FOREVER), *leaf = rt_context_ref(root);
    for (int i = 0; i < DEPTH; i++) {
        struct rt_context *child = rt_context_new(leaf, RT_FOREVER);
        rt_context_unref(leaf);
        leaf = child;
    }
    rt_context_cancel(root, -ECANCELED);
    assert_int_equal(rt_context_err(leaf), -ECANCELED);
    rt_context_unref(leaf);
    rt_context_unref(root);
}

struct tree {
    struct rt_context *root;
    _Atomic int ended[2]; // by deadline, by cancel
};

/* Children come, go, time out and are cancelled from above, all at once. */
static void live_under(int who, void *arg)
{
    struct tree *t = arg;
    uint32_t x = (uint32_t)who;
    for (int i = 0; i < 300; i++) {
        struct rt_context *c = rt_context_new(t->root, rt_after_ns(next_random(&x) % 100000));
        struct rt_context *grandchild = rt_context_new(c, RT_FOREVER);
        if (next_random(&x) % 4 == 0)
            rt_context_cancel(c, -ECANCELED);
        rt_context_unref(c);
        if (next_random(&x) % 4 != 0) {
            int err = rt_chan_recv(rt_context_done(grandchild), NULL, CREW_LATE);
            assert(err == -EPIPE);
            err = rt_context_err(grandchild);
            assert(err == -ETIMEDOUT || err == -ECANCELED);
            atomic_fetch_add(&t->ended[err == -ECANCELED], 1);
        }
        rt_context_unref(grandchild);
    }
}

static void cancel_root(void *arg) { rt_context_cancel(arg, -ECANCELED); }

static void ends_and_frees_may_meet(void **state)
{
    (void)state;
    for (int round = 0; round < 5; round++) {
        struct tree t = {.root = rt_context_new(NULL, RT_FOREVER)};
        struct rt_timer timer = {0};
        rt_timer_start(&timer, rt_after_ns(round * 5 * RT_MS), cancel_root, t.root);
        crew_run(6, live_under, &t);
        assert_true(atomic_load(&t.ended[0]) + atomic_load(&t.ended[1]) > 0);
        rt_timer_stop(&timer);
        rt_context_unref(t.root);
    }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(the_first_end_counts_and_closes_done),
    cmocka_unit_test(an_end_goes_down_and_never_up),
    cmocka_unit_test(a_deadline_ends_it_and_the_earlier_one_holds),
    cmocka_unit_test(a_deep_tree_ends_without_deep_recursion),
    cmocka_unit_test(ends_and_frees_may_meet),
};
RT_TEST_GROUP(group, tests)

int main(void) { return on_one_and_four(group); }
