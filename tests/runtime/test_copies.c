/* tests/runtime/test_copies.c: the pool of compact copies hands out what nobody else has, of every size,
 * and gives memory back. No runtime runs. */
#include "runtime/sched/copies.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { HELD = 400, TURNS = 200000, THREADS = 2 };

struct held {
    uint8_t *copy;
    size_t bytes;
    uint8_t mark;
};

static uint32_t draw(uint32_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

static bool is_whole(const struct held *h)
{
    for (size_t i = 0; i < h->bytes; i++)
        if (h->copy[i] != h->mark)
            return false;
    return true;
}

/* Takes and gives at random; returns how many were found changed. */
static intptr_t churn(uint32_t seed)
{
    struct held *all = calloc(HELD, sizeof(*all));
    uint32_t state = seed;
    intptr_t wrong = 0;
    for (int turn = 0; turn < TURNS / THREADS; turn++) {
        struct held *h = &all[draw(&state) % HELD];
        if (h->copy) {
            wrong += !is_whole(h);
            copies_give(h->copy, h->bytes);
            h->copy = NULL;
            continue;
        }
        h->bytes = 1 + draw(&state) % COPIES_MOST;
        h->mark = (uint8_t)draw(&state);
        h->copy = copies_take(h->bytes);
        wrong += !h->copy;
        if (h->copy)
            memset(h->copy, h->mark, h->bytes);
    }
    for (int i = 0; i < HELD; i++) {
        wrong += all[i].copy && !is_whole(&all[i]);
        if (all[i].copy)
            copies_give(all[i].copy, all[i].bytes);
    }
    free(all);
    return wrong;
}

static void *churn_thread(void *seed) { return (void *)churn((uint32_t)(uintptr_t)seed); }

static void nobody_gets_what_somebody_has(void **state)
{
    (void)state;
    pthread_t threads[THREADS];
    assert_int_equal(copies_start(THREADS * HELD), 0);
    for (uintptr_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, churn_thread, (void *)(i + 77)), 0);
    for (int i = 0; i < THREADS; i++) {
        void *wrong;
        pthread_join(threads[i], &wrong);
        assert_ptr_equal(wrong, NULL);
    }
    copies_stop();
}

static void memory_is_given_back_when_copies_are(void **state)
{
    (void)state;
    enum { COUNT = 100000, BYTES = 500 };
    uint8_t **all = calloc(COUNT, sizeof(*all));
    assert_int_equal(copies_start(COUNT), 0);
    for (int i = 0; i < COUNT; i++) {
        assert_non_null(all[i] = copies_take(BYTES));
        memset(all[i], 1, BYTES);
    }
    size_t most = copies_held_bytes();
    assert_in_range(most, COUNT * BYTES, COUNT * BYTES * 11 / 10);
    for (int i = 0; i < COUNT; i++)
        copies_give(all[i], BYTES);
    assert_in_range(copies_held_bytes(), 0, most / 5);
    for (int i = 0; i < COUNT; i++) // what came back serves again, of another size, too
        assert_non_null(all[i] = copies_take(BYTES + 100));
    for (int i = 0; i < COUNT; i++)
        copies_give(all[i], BYTES + 100);
    copies_stop();
    free(all);
}

static void a_pool_that_is_full_says_so(void **state)
{
    (void)state;
    assert_int_equal(copies_start(1), 0);
    uint8_t *first = copies_take(COPIES_MOST);
    size_t count = 0;
    assert_non_null(first);
    while (copies_take(COPIES_MOST))
        count++;
    assert_in_range(count, 1, 10000);
    copies_give(first, COPIES_MOST);
    assert_ptr_equal(copies_take(COPIES_MOST), first);
    copies_stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nobody_gets_what_somebody_has),
        cmocka_unit_test(memory_is_given_back_when_copies_are),
        cmocka_unit_test(a_pool_that_is_full_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
