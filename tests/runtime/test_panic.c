/* Defer, panic, recover. */
#include "tests/runtime/crew.h"
#include <rt/alloc.h>
#include <rt/defer.h>
#include <string.h>

struct trace {
    char text[64];
    size_t len;
};

static void add(struct trace *t, char c)
{
    assert(t->len < sizeof(t->text) - 1);
    t->text[t->len++] = c;
    t->text[t->len] = 0;
}

static void add_a(void *arg) { add(arg, 'a'); }
static void add_b(void *arg) { add(arg, 'b'); }
static void add_c(void *arg) { add(arg, 'c'); }

static int returns_early(struct trace *t, int when)
{
    RT_DEFER_SCOPE(3);
    rt_defer(add_a, t);
    if (when == 0)
        return 0;
    rt_defer(add_b, t);
    for (int i = 0; i < 2; i++) {
        RT_DEFER_SCOPE(1);
        rt_defer(add_c, t);
        add(t, '.');
    }
    add(t, '!');
    return when;
}

static void deferred_calls_run_last_first_at_the_end_of_their_scope(void **state)
{
    (void)state;
    struct trace t = {0};
    assert_int_equal(returns_early(&t, 0), 0);
    assert_string_equal(t.text, "a");
    t.len = 0;
    assert_int_equal(returns_early(&t, 7), 7);
    assert_string_equal(t.text, ".c.c!ba");
}

static __attribute__((noinline)) void deep(struct trace *t, int depth)
{
    RT_DEFER_SCOPE(1);
    rt_defer(add_b, t);
    if (depth == 0)
        rt_panic("bad field %d of %s", 3, "request");
    if (depth > 0) // which it is: a panic does not return
        deep(t, depth - 1);
    add(t, '?'); // never
}

static void call_deep(void *arg)
{
    RT_DEFER_SCOPE(1);
    rt_defer(add_a, arg);
    deep(arg, 2);
}

static void a_panic_runs_deferred_calls_down_to_the_try(void **state)
{
    (void)state;
    struct trace t = {0};
    char text[64], small[6];
    RT_DEFER_SCOPE(1); // outside the try: not touched by the panic
    rt_defer(add_c, &t);
    assert_false(rt_try(call_deep, &t, text, sizeof(text)));
    assert_string_equal(text, "bad field 3 of request");
    assert_string_equal(t.text, "bbba");
    assert_false(rt_try(call_deep, &t, small, sizeof(small)));
    assert_string_equal(small, "bad f");
    assert_false(rt_try(call_deep, &t, NULL, 0));
    t.len = 0;
    assert_true(rt_try(add_b, &t, text, sizeof(text)));
    assert_string_equal(t.text, "b");
}

static void panic_again(void *arg)
{
    add(arg, 'p');
    rt_panic("second");
}

static void panic_in_defer(void *arg)
{
    RT_DEFER_SCOPE(3);
    rt_defer(add_a, arg);
    rt_defer(panic_again, arg);
    rt_defer(add_b, arg);
    rt_panic("first");
}

static void a_panic_in_a_deferred_call_goes_on_with_the_rest(void **state)
{
    (void)state;
    struct trace t = {0};
    char text[64];
    assert_false(rt_try(panic_in_defer, &t, text, sizeof(text)));
    assert_string_equal(text, "second");
    assert_string_equal(t.text, "bpa");
}

static void recover_inside(void *arg)
{
    char text[64];
    if (rt_try(call_deep, arg, text, sizeof(text)))
        add(arg, '?');
    add(arg, 'r');
}

static void defer_that_recovers(void *arg)
{
    RT_DEFER_SCOPE(2);
    rt_defer(add_c, arg);
    rt_defer(recover_inside, arg);
    rt_panic("outer");
}

static void a_deferred_call_may_recover_panics_of_its_own(void **state)
{
    (void)state;
    struct trace t = {0};
    char text[64];
    assert_false(rt_try(defer_that_recovers, &t, text, sizeof(text)));
    assert_string_equal(text, "outer");
    assert_string_equal(t.text, "bbbarc");
}

struct keeper {
    uint64_t before[6];
    double fraction;
    bool panics;
};

static void maybe_panic_after_yields(void *arg)
{
    struct keeper *k = arg;
    rt_yield(); // perhaps on another thread from here on
    if (k->panics)
        rt_panic("after a yield");
    rt_yield();
}

/* Values that the compiler likes to keep in registers across the call. */
static void try_often(int who, void *arg)
{
    (void)arg;
    struct keeper k = {.panics = false};
    uint64_t a = (uint64_t)who * 3, b = a ^ 77, c = a + 5, d = b * 9, e = ~a;
    double f = (double)who + 0.25;
    for (int i = 0; i < 500; i++) {
        char text[32];
        k.panics = (i + who) % 2 == 0;
        bool ok = rt_try(maybe_panic_after_yields, &k, text, sizeof(text));
        assert(ok == !k.panics);
        a += 1, b += a, c ^= b, d -= c, e += d, f += 0.5;
    }
    uint64_t a2 = (uint64_t)who * 3, b2 = a2 ^ 77, c2 = a2 + 5, d2 = b2 * 9, e2 = ~a2;
    for (int i = 0; i < 500; i++)
        a2 += 1, b2 += a2, c2 ^= b2, d2 -= c2, e2 += d2;
    assert(a == a2 && b == b2 && c == c2 && d == d2 && e == e2);
    assert(f == (double)who + 0.25 + 250);
}

static void goroutines_panic_each_on_its_own_and_keep_their_registers(void **state)
{
    (void)state;
    crew_run(8, try_often, NULL);
}

static void panic_without_preemption(void *arg)
{
    (void)arg;
    rt_nopreempt_begin();
    rt_nopreempt_begin();
    rt_panic("inside");
}

static void a_panic_out_of_a_nopreempt_section_ends_the_section(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        assert_false(rt_try(panic_without_preemption, NULL, NULL, 0));
        rt_yield(); // the runtime refuses to park inside such a section
    }
}

static void unlock(void *arg) { rt_mutex_unlock(arg); }

static void panic_under_lock(void *arg)
{
    RT_DEFER_SCOPE(1);
    rt_mutex_lock(arg);
    rt_defer(unlock, arg);
    rt_panic("under lock");
}

static void a_deferred_unlock_runs_in_a_panic(void **state)
{
    (void)state;
    struct rt_mutex m = {0};
    assert_false(rt_try(panic_under_lock, &m, NULL, 0));
    assert_true(rt_mutex_try_lock(&m));
    rt_mutex_unlock(&m);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(deferred_calls_run_last_first_at_the_end_of_their_scope),
    cmocka_unit_test(a_panic_runs_deferred_calls_down_to_the_try),
    cmocka_unit_test(a_panic_in_a_deferred_call_goes_on_with_the_rest),
    cmocka_unit_test(a_deferred_call_may_recover_panics_of_its_own),
    cmocka_unit_test(goroutines_panic_each_on_its_own_and_keep_their_registers),
    cmocka_unit_test(a_panic_out_of_a_nopreempt_section_ends_the_section),
    cmocka_unit_test(a_deferred_unlock_runs_in_a_panic),
};
RT_TEST_GROUP(group, tests)

static const struct CMUnitTest without_goroutines[] = {
    cmocka_unit_test(deferred_calls_run_last_first_at_the_end_of_their_scope),
    cmocka_unit_test(a_panic_runs_deferred_calls_down_to_the_try),
};

int main(void)
{
    int failed = cmocka_run_group_tests(without_goroutines, NULL, NULL);
    return failed + on_one_and_four(group);
}
