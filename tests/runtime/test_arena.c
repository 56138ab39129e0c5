/* Arenas: many small allocations, one end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <rt/alloc.h>
#include <string.h>

enum { COUNT = 3000 };

static void allocations_are_aligned_and_do_not_overlap(void **state)
{
    (void)state;
    static uint8_t *blocks[COUNT];
    static size_t sizes[COUNT];
    struct rt_arena a;
    rt_arena_init(&a);
    for (int round = 0; round < 3; round++) {
        size_t sum = 0;
        for (int i = 0; i < COUNT; i++) {
            sizes[i] =
                (size_t)(i * 7919 % 613) + (i % 500 == 0 ? 200000 : 0); // some larger than a block
            blocks[i] = rt_arena_alloc(&a, sizes[i]);
            assert_int_equal((uintptr_t)blocks[i] % 16, 0);
            memset(blocks[i], i & 0xff, sizes[i]);
            sum += sizes[i];
        }
        for (int i = 0; i < COUNT; i++)
            for (size_t k = 0; k < sizes[i]; k += 97)
                assert_int_equal(blocks[i][k], i & 0xff);
        assert_int_equal(a.used_bytes, sum);
        rt_arena_reset(&a);
        assert_int_equal(a.used_bytes, 0);
    }
    rt_arena_deinit(&a);
}

static void a_big_allocation_leaves_the_open_block_in_use(void **state)
{
    (void)state;
#ifndef RT_ASAN // every allocation is a block of its own there
    struct rt_arena a;
    rt_arena_init(&a);
    uint8_t *first = rt_arena_alloc(&a, 16);
    rt_arena_alloc(&a, 1 << 20);
    uint8_t *second = rt_arena_alloc(&a, 16);
    assert_ptr_equal(second, first + 16);
    rt_arena_deinit(&a);
#endif
}

static void copies_and_texts_are_exact(void **state)
{
    (void)state;
    struct rt_arena a;
    rt_arena_init(&a);
    static char long_text[5000];
    memset(long_text, 'k', sizeof(long_text) - 1);
    long_text[sizeof(long_text) - 1] = 0;
    assert_memory_equal(rt_arena_copy(&a, "abc", 3), "abc", 3);
    assert_non_null(rt_arena_copy(&a, NULL, 0));
    assert_string_equal(rt_arena_printf(&a, "%d-%s", 42, "x"), "42-x");
    assert_string_equal(rt_arena_printf(&a, "%s", long_text), long_text);
    rt_arena_reset(&a);
    uint8_t *zero = rt_arena_alloc_zero(&a, 3000);
    for (int i = 0; i < 3000; i++)
        assert_int_equal(zero[i], 0);
    rt_arena_deinit(&a);
    rt_arena_deinit(&a); // an empty one has nothing to give back
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(allocations_are_aligned_and_do_not_overlap),
        cmocka_unit_test(a_big_allocation_leaves_the_open_block_in_use),
        cmocka_unit_test(copies_and_texts_are_exact),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
