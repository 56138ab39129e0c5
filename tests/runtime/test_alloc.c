/* rt_alloc and its family. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <rt/alloc.h>
#include <string.h>

static void every_block_is_aligned_and_writable_to_its_end(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 15, 16, 17, 100, 4096, 40000, 1 << 20, 5 << 20};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        uint8_t *p = rt_alloc(sizes[i]);
        assert_non_null(p);
        assert_int_equal((uintptr_t)p % 16, 0);
        memset(p, 0xa5, sizes[i]);
        rt_free(p);
        p = rt_alloc_aligned(4096, sizes[i]);
        assert_non_null(p);
        assert_int_equal((uintptr_t)p % 4096, 0);
        memset(p, 0x5a, sizes[i]);
        rt_free(p);
    }
    rt_free(NULL);
}

static void zeroed_memory_is_zero_after_dirty_memory_was_freed(void **state)
{
    (void)state;
    for (int round = 0; round < 50; round++) {
        void *dirty = rt_alloc(500);
        memset(dirty, 0xff, 500);
        rt_free(dirty);
        uint8_t *p = rt_alloc_zero(500);
        for (int i = 0; i < 500; i++)
            assert_int_equal(p[i], 0);
        rt_free(p);
    }
}

static void growing_keeps_what_was_there(void **state)
{
    (void)state;
    uint8_t *p = rt_realloc(NULL, 10);
    for (int i = 0; i < 10; i++)
        p[i] = (uint8_t)i;
    p = rt_realloc(p, 100000);
    for (int i = 0; i < 10; i++)
        assert_int_equal(p[i], i);
    rt_free(p);
    char *s = rt_strdup("segment");
    assert_string_equal(s, "segment");
    rt_free(s);
}

static void a_huge_request_is_refused_and_not_fatal(void **state)
{
    (void)state;
    volatile size_t bytes = SIZE_MAX / 4;
#ifndef RT_ASAN // which stops the process there, by its own choice
#ifndef RT_TSAN
    assert_null(rt_alloc(bytes));
    assert_null(rt_buf_new(bytes));
#endif
#endif
    (void)bytes;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_block_is_aligned_and_writable_to_its_end),
        cmocka_unit_test(zeroed_memory_is_zero_after_dirty_memory_was_freed),
        cmocka_unit_test(growing_keeps_what_was_there),
        cmocka_unit_test(a_huge_request_is_refused_and_not_fatal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
