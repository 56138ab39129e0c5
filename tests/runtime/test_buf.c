/* Refcounted buffers, and strings under construction. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <rt/alloc.h>
#include <stdio.h>
#include <string.h>

static _Atomic int released;

static void count_release(struct rt_buf *b)
{
    atomic_fetch_add(&released, 1);
    rt_free(b);
}

static void a_buffer_is_released_once_by_the_last_reference(void **state)
{
    (void)state;
    atomic_store(&released, 0);
    struct rt_buf *b = rt_buf_copy("value", 5);
    b->release = count_release;
    assert_int_equal(rt_buf_bytes(b).len, 5);
    assert_memory_equal(rt_buf_bytes(b).data, "value", 5);
    rt_buf_unref(rt_buf_ref(b));
    assert_int_equal(atomic_load(&released), 0);
    rt_buf_unref(b);
    assert_int_equal(atomic_load(&released), 1);
    rt_buf_unref(NULL);
    assert_int_equal(rt_buf_bytes(NULL).len, 0);
}

enum { THREADS = 4, ROUNDS = 20000 };

static void *drop_and_take(void *arg)
{
    struct rt_buf *b = arg;
    for (int i = 0; i < ROUNDS; i++)
        rt_buf_unref(rt_buf_ref(b));
    rt_buf_unref(b);
    return NULL;
}

static void references_counted_by_many_threads_end_exactly_once(void **state)
{
    (void)state;
    atomic_store(&released, 0);
    pthread_t threads[THREADS];
    struct rt_buf *b = rt_buf_copy("x", 1);
    b->release = count_release;
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, drop_and_take, rt_buf_ref(b)), 0);
    rt_buf_unref(b);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(atomic_load(&released), 1);
}

static void a_string_holds_all_that_was_appended(void **state)
{
    (void)state;
    struct rt_string s = {0};
    assert_string_equal(rt_string_cstr(&s), "");
    static char expected[40000];
    size_t len = 0;
    for (int i = 0; i < 3000; i++) {
        len +=
            (size_t)snprintf(expected + len, sizeof(expected) - len, "%d,%s", i, i % 3 ? "" : "ab");
        rt_string_printf(&s, "%d,", i);
        rt_string_append(&s, "ab", i % 3 ? 0 : 2);
    }
    assert_int_equal(s.len, len);
    assert_string_equal(rt_string_cstr(&s), expected);
    rt_string_deinit(&s);
    rt_string_printf(&s, "%s", ""); // an empty print makes no garbage
    assert_string_equal(rt_string_cstr(&s), "");
    rt_string_append(&s, "a\0b", 3);
    assert_int_equal(s.len, 3);
    rt_string_deinit(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_buffer_is_released_once_by_the_last_reference),
        cmocka_unit_test(references_counted_by_many_threads_end_exactly_once),
        cmocka_unit_test(a_string_holds_all_that_was_appended),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
