/* The heap's pages, spans and managed spans. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/mem/heap.h"
#include <cmocka.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { COUNT = 200, CLASS_64 = 4 };

static void every_offset_of_every_class_belongs_to_the_right_block(void **state)
{
    (void)state;
    heap_init();
    for (unsigned class = 1; class < SIZECLASS_COUNT; class ++) {
        const struct sizeclass *c = &sizeclass[class];
        struct span s = {.magic = c->magic, .elem_bytes = c->elem_bytes};
        for (uint32_t offset = 0; offset < c->pages * SPAN_PAGE_BYTES; offset++)
            if (span_index_of(&s, (void *)(uintptr_t)offset) != offset / c->elem_bytes)
                fail_msg("class %u, offset %u", class, offset);
        assert_in_range(c->elems, 4, SPAN_ELEMS_MAX);
        assert_true(c->elems * c->elem_bytes <= c->pages * SPAN_PAGE_BYTES);
    }
}

static void a_class_holds_what_is_asked_and_wastes_an_eighth_at_most(void **state)
{
    (void)state;
    heap_init();
    for (size_t bytes = 0; bytes <= SIZECLASS_SMALL_MAX; bytes++) {
        const struct sizeclass *c = &sizeclass[sizeclass_of(bytes)];
        assert_true(c->elem_bytes >= bytes);
        if (bytes > 128)
            assert_true((c->elem_bytes - bytes) * 8 <= bytes + 8 * 64);
    }
}

static void spans_do_not_overlap_and_are_found_from_each_of_their_pages(void **state)
{
    (void)state;
    static struct span *spans[COUNT];
    heap_init();
    srand(7);
    for (int round = 0; round < 40; round++)
        for (int i = 0; i < COUNT; i++) {
            if (spans[i] && rand() % 2) {
                assert_int_equal(*(int *)spans[i]->start, i); // nobody else wrote there
                heap_give(spans[i]);
                spans[i] = NULL;
            } else if (!spans[i]) {
                uint32_t pages = 1 + (uint32_t)(rand() % (i % 10 ? 12 : 300));
                uint32_t align = 1u << rand() % 4;
                struct span *s = heap_take(pages, align, 0, SPAN_PLAIN, false);
                assert_int_equal(s->start % (align * SPAN_PAGE_BYTES), 0);
                for (uint32_t page = 0; page < pages; page++)
                    assert_ptr_equal(span_of((char *)s->start + page * SPAN_PAGE_BYTES + 5), s);
                if (s->zeroed)
                    assert_int_equal(*(int *)s->start, 0);
                *(int *)s->start = i;
                spans[i] = s;
            }
        }
    uintptr_t where = spans[0] ? spans[0]->start : 0;
    for (int i = 0; i < COUNT; i++)
        if (spans[i])
            heap_give(spans[i]);
    assert_null(span_of((void *)where));
    assert_null(span_of(&where));
    assert_null(span_of(NULL));
}

static void freed_neighbours_become_one_run_again(void **state)
{
    (void)state;
    enum { PAGES = 1000 };
    heap_init();
    struct span *whole = heap_take(PAGES, 1, 0, SPAN_PLAIN, false);
    uintptr_t start = whole->start;
    heap_give(whole);
    struct span *parts[10];
    for (int i = 0; i < 10; i++)
        parts[i] = heap_take(PAGES / 10, 1, 0, SPAN_PLAIN, false);
    for (int i = 0; i < 10; i += 2)
        heap_give(parts[i]);
    for (int i = 1; i < 10; i += 2)
        heap_give(parts[i]);
    whole = heap_take(PAGES, 1, 0, SPAN_PLAIN, false);
    assert_int_equal(whole->start, start);
    heap_give(whole);
}

static size_t resident_pages(void)
{
    char line[64] = {0};
    FILE *f = fopen("/proc/self/statm", "r");
    assert_non_null(f);
    assert_non_null(fgets(line, sizeof(line), f));
    fclose(f);
    return strtoul(strchr(line, ' '), NULL, 10);
}

static void pages_go_back_to_the_system_after_a_while_and_read_as_zero_then(void **state)
{
    (void)state;
    enum { BYTES = 32 << 20 };
    struct heap_figures before, after;
    do {
        heap_trim();
        heap_figures(&before);
    } while (before.free_bytes > 0); // what the other tests left
    struct span *s = heap_take(BYTES / SPAN_PAGE_BYTES, 1, 0, SPAN_PLAIN, false);
    uint8_t *at = (uint8_t *)s->start;
    memset(at, 0xff, BYTES);
    size_t touched = resident_pages();
    heap_give(s);
    heap_figures(&before);
    assert_int_equal(before.free_bytes, BYTES);
    for (int tick = 0; tick < HEAP_TRIM_TICKS - 1; tick++)
        assert_int_equal(heap_trim(), 0); // not yet
    size_t returned = 0;
    for (int tick = 0; tick < 2 + BYTES / HEAP_TRIM_BYTES; tick++) {
        size_t step = heap_trim();
        assert_true(step <= HEAP_TRIM_BYTES);
        returned += step;
    }
    heap_figures(&after);
    assert_int_equal(returned, BYTES);
    assert_int_equal(after.free_bytes, before.free_bytes - returned);
    assert_int_equal(after.returned_bytes, before.returned_bytes + returned);
#if !defined(RT_ASAN) && !defined(RT_TSAN) // what they keep beside is resident, too
    assert_true(resident_pages() + BYTES / 4096 / 10 * 9 < touched);
#endif
    (void)touched;
    s = heap_take(BYTES / SPAN_PAGE_BYTES, 1, 0, SPAN_PLAIN, false);
    assert_true(s->zeroed);
    for (int i = 0; i < BYTES; i += 4096)
        assert_int_equal(((uint8_t *)s->start)[i], 0);
    heap_give(s);
}

/* ---- managed ---- */

static void a_managed_span_gives_each_block_once_and_finds_objects_from_inside(void **state)
{
    (void)state;
    struct span *s = central_managed_take(CLASS_64, false), *found;
    uint32_t i;
    unsigned count = 0;
    for (uint8_t *p; (p = span_managed_next(s)) != NULL; count++) {
        assert_ptr_equal(p, (uint8_t *)s->start + count * 64);
        assert_ptr_equal(span_managed_object(p + 63, &found, &i), p);
        assert_ptr_equal(found, s);
        assert_int_equal(i, count);
        if (count + 1 < s->elems)
            assert_null(span_managed_object(p + 64, &found, &i)); // not allocated yet
    }
    assert_int_equal(count, s->elems);
    assert_null(span_managed_object(&count, &found, &i));
    struct span *plain = heap_take(1, 1, CLASS_64, SPAN_PLAIN, false);
    assert_null(span_managed_object((void *)plain->start, &found, &i));
    heap_give(plain);
    central_managed_give(s);
    heap_sweep_gen_raise(); // nothing is marked: all die
    assert_true(central_managed_unswept() > 0);
    central_managed_sweep(0);
    assert_int_equal(central_managed_unswept(), 0);
    assert_null(span_of((void *)s->start));
}

static void sweeping_keeps_what_is_marked_and_hands_the_rest_out_again(void **state)
{
    (void)state;
    struct span *s = central_managed_take(CLASS_64, true);
    void *kept = NULL, *block;
    for (unsigned i = 0; (block = span_managed_next(s)) != NULL; i++)
        if (i == 37)
            kept = block;
    assert_true(span_mark(s, 37));
    assert_false(span_mark(s, 37)); // only the first one wins
    central_managed_give(s);
    assert_ptr_not_equal(central_managed_take(CLASS_64, true), s); // it is full
    heap_sweep_gen_raise();
    struct span *again = central_managed_take(CLASS_64, true); // sweeps it by the way
    assert_ptr_equal(again, s);
    assert_int_equal(again->used, 1);
    assert_false(span_is_marked(again, 37));
    unsigned free_blocks = 0;
    for (; (block = span_managed_next(again)) != NULL; free_blocks++)
        assert_ptr_not_equal(block, kept);
    assert_int_equal(free_blocks, again->elems - 1);
    central_managed_give(again);
    heap_sweep_gen_raise();
    central_managed_sweep(0);
}

static void a_span_owned_over_a_raise_is_swept_when_it_comes_back(void **state)
{
    (void)state;
    struct span *s = central_managed_take(CLASS_64, false);
    span_managed_next(s);
    heap_sweep_gen_raise();
    assert_int_equal(central_managed_unswept(), 0); // it is in no list
    span_mark(s, 0);
    central_managed_give(s);
    assert_int_equal(central_managed_unswept(), 1);
    assert_int_equal(central_managed_sweep(0), 1);
    assert_int_equal(s->used, 1);
    heap_sweep_gen_raise();
    central_managed_sweep(0);
    assert_null(span_of((void *)s->start));
}

/* Allocates, gives the span back, and looks whether what it allocated is still there: while the
 * generation is the one it was allocated in, nothing of it may die, marked or not. */
static struct {
    _Atomic bool stop;
    uint64_t checked, lost; // by the thread, until it has ended
} beside;

static void *allocate_beside_raises(void *unused)
{
    (void)unused;
    while (!load_relaxed(&beside.stop)) {
        struct span *s = central_managed_take(SIZECLASS_COUNT - 1, false);
        uint32_t i, gen = load_relaxed(&s->sweep_gen);
        if (span_managed_peek(s, &i)) {
            span_mark(s, i); // it may be an old span by now
            if (heap_sweep_gen() == gen)
                atomic_fetch_and(&s->mark_bits[0], ~(UINT64_C(1) << i));
            span_managed_commit(s, i);
        }
        central_managed_give(s);
        for (int looks = 0; looks < 3000 && heap_sweep_gen() == gen; looks++) {
            bool is_there = load_acquire(&s->alloc_bits[0]) >> i & 1;
            if (heap_sweep_gen() == gen) {
                beside.checked++;
                beside.lost += !is_there;
            }
        }
    }
    return NULL;
}

static void what_is_allocated_while_the_generation_is_raised_lives(void **state)
{
    (void)state;
    enum { OTHERS = 2000, ROUNDS = 1500 };
    static struct span *others[OTHERS]; // the raise takes a while to come to the last class
    pthread_t thread;
    for (int i = 0; i < OTHERS; i++) {
        others[i] = central_managed_take(1, false);
        while (span_managed_next(others[i]))
            ;
        central_managed_give(others[i]);
    }
    assert_int_equal(pthread_create(&thread, NULL, allocate_beside_raises, NULL), 0);
    for (int round = 0; round < ROUNDS; round++) {
        while (central_managed_unswept() > 0)
            central_managed_sweep(0);
        for (int i = 0; i < OTHERS; i++)
            span_mark(others[i], 0);
        heap_sweep_gen_raise();
        central_managed_sweep(0);
    }
    store_relaxed(&beside.stop, true);
    pthread_join(thread, NULL);
    assert_int_not_equal(beside.checked, 0);
    assert_int_equal(beside.lost, 0);
    central_managed_sweep(0);
    heap_sweep_gen_raise();
    central_managed_sweep(0);
}

static void
a_large_managed_object_is_found_once_it_is_committed_and_freed_when_it_dies(void **state)
{
    (void)state;
    enum { BYTES = 300000 };
    size_t before = heap_managed_bytes();
    struct span *s = central_managed_large(BYTES, false), *found;
    uint32_t i;
    assert_true(heap_managed_bytes() >= before + BYTES);
    assert_null(span_managed_object((void *)s->start, &found, &i)); // it has no type yet
    for (int at = 0; s->zeroed && at < BYTES; at += 100)
        assert_int_equal(((uint8_t *)s->start)[at], 0);
    span_managed_commit(s, 0);
    assert_ptr_equal(span_managed_object((uint8_t *)s->start + BYTES - 1, &found, &i),
                     (void *)s->start);
    span_mark(s, 0);
    central_managed_give(s);
    heap_sweep_gen_raise();
    central_managed_sweep(0);
    assert_ptr_equal(span_of((void *)s->start), s);
    heap_sweep_gen_raise();
    central_managed_sweep(0);
    assert_null(span_of((void *)s->start));
    assert_int_equal(heap_managed_bytes(), before);
}

static bool count_spans(struct span *s, void *arg)
{
    unsigned *counts = arg;
    counts[load_relaxed(&s->kind)]++;
    return true;
}

static void every_span_in_use_is_visited(void **state)
{
    (void)state;
    unsigned before[4] = {0}, after[4] = {0};
    heap_each_span(count_spans, before);
    struct span *plain = heap_take(3, 1, 0, SPAN_PLAIN, false);
    struct span *managed = heap_take(3, 1, CLASS_64, SPAN_MANAGED, false);
    heap_each_span(count_spans, after);
    assert_int_equal(after[SPAN_PLAIN], before[SPAN_PLAIN] + 1);
    assert_int_equal(after[SPAN_MANAGED], before[SPAN_MANAGED] + 1);
    assert_int_equal(after[SPAN_FREE] + after[SPAN_UNUSED], 0);
    heap_give(plain);
    heap_give(managed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(freed_neighbours_become_one_run_again), // wants an empty heap
        cmocka_unit_test(every_offset_of_every_class_belongs_to_the_right_block),
        cmocka_unit_test(a_class_holds_what_is_asked_and_wastes_an_eighth_at_most),
        cmocka_unit_test(spans_do_not_overlap_and_are_found_from_each_of_their_pages),
        cmocka_unit_test(pages_go_back_to_the_system_after_a_while_and_read_as_zero_then),
        cmocka_unit_test(a_managed_span_gives_each_block_once_and_finds_objects_from_inside),
        cmocka_unit_test(sweeping_keeps_what_is_marked_and_hands_the_rest_out_again),
        cmocka_unit_test(a_span_owned_over_a_raise_is_swept_when_it_comes_back),
        cmocka_unit_test(what_is_allocated_while_the_generation_is_raised_lives),
        cmocka_unit_test(
            a_large_managed_object_is_found_once_it_is_committed_and_freed_when_it_dies),
        cmocka_unit_test(every_span_in_use_is_visited),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
