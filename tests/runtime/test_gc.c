/* tests/runtime/test_gc.c: what can be reached stays, in each mode, whatever reaches it; what cannot
 * be goes; limits and pacing hold. The storm of mutators is in test_gc_storm.c. */
#include "runtime/mem/gc.h"
#include "runtime/sched/stop.h"
#include "tests/support/rt_test.h"
#include <errno.h>
#include <poll.h>
#include <rt/alloc.h>
#include <rt/gc.h>
#include <rt/hdr.h>
#include <rt/sync.h>
#include <rt/time.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

struct node {
    struct node *left, *right;
    uint64_t value;
};
static const uint32_t node_pointers[] = {offsetof(struct node, left), offsetof(struct node, right)};
static const struct rt_gc_type node_type = {"node", sizeof(struct node), 2, node_pointers};
static const struct rt_gc_type bytes_type = {"bytes", 1, 0, NULL};
static const uint32_t pointer_offsets[] = {0};
static const struct rt_gc_type pointer_type = {"pointer", sizeof(void *), 1, pointer_offsets};

static void *root;

static struct rt_gc_stats stats(void)
{
    struct rt_gc_stats s;
    rt_gc_stats(&s);
    return s;
}

/* An address as a number that no scan takes for one. */
static uintptr_t hide(const void *p) { return ~(uintptr_t)p; }
static bool exists(uintptr_t hidden) { return rt_gc_object_of((void *)~hidden, NULL) != NULL; }

static struct node *new_node(uint64_t value)
{
    struct node *n = rt_gc_new(&node_type);
    assert_non_null(n);
    n->value = value;
    return n;
}

/* Overwrite what older calls left below on this stack: it would keep objects alive. */
static __attribute__((noinline)) void wash_stack(void)
{
    volatile uint8_t room[3072];
    memset((void *)room, 0, sizeof(room));
    __asm__ volatile("" : : "r"(room) : "memory");
}

static void collect(void)
{
    wash_stack();
    rt_gc_collect();
}

static void for_each_mode(void (*fn)(void))
{
    for (enum rt_gc_mode mode = 0; mode < RT_GC_MODES; mode++) {
        rt_gc_set_mode(mode);
        fn();
    }
    rt_gc_set_mode(RT_GC_HYBRID);
}

/* ---- reaching ---- */

static __attribute__((noinline)) void make_chain(uintptr_t *hidden, int n)
{
    for (int i = 0; i < n; i++) {
        struct node *one = new_node((uint64_t)i);
        rt_gc_write(&one->left, root);
        rt_gc_write(&root, one);
        hidden[i] = hide(one);
    }
}

static void chain_lives_and_dies(void)
{
    enum { LENGTH = 5000 };
    uintptr_t *hidden = calloc(LENGTH, sizeof(*hidden));
    make_chain(hidden, LENGTH);
    for (int round = 0; round < 3; round++) {
        collect();
        uint64_t i = LENGTH;
        for (struct node *n = root; n; n = n->left)
            assert_int_equal(n->value, --i);
        assert_int_equal(i, 0);
    }
    rt_gc_write(&root, NULL);
    collect();
    collect();
    int left = 0;
    for (int i = 0; i < LENGTH; i++)
        left += exists(hidden[i]);
    free(hidden);
    assert_in_range(left, 0, LENGTH / 100); // a stale word may hold some
}

static void a_chain_from_a_root_lives_until_the_root_lets_go(void **state)
{
    (void)state;
    for_each_mode(chain_lives_and_dies);
}

static __attribute__((noinline)) void interior_body(void)
{
    struct node *array = rt_gc_new_array(&node_type, 100);
    uint8_t *end = rt_gc_new_array(&bytes_type, 56); // fills its block: the end is the next one's
    memset(end, 7, 56);
    struct node *inside = &array[57];
    inside->value = 57;
    end += 56;
    array = NULL;
    __asm__ volatile("" : "+r"(inside), "+r"(end), "+r"(array));
    collect();
    assert_int_equal(inside->value, 57);
    for (int i = 1; i <= 56; i++)
        assert_int_equal(end[-i], 7);
}

static void a_pointer_into_an_object_or_to_its_end_keeps_it(void **state)
{
    (void)state;
    for_each_mode(interior_body);
}

static void big_array_body(void)
{
    enum { LENGTH = 40000 };
    void **array = rt_gc_new_array(&pointer_type, LENGTH);
    assert_non_null(array);
    rt_gc_write(&root, array);
    for (uint64_t i = 0; i < LENGTH; i += 7)
        rt_gc_write(&array[i], new_node(i));
    collect();
    collect();
    for (uint64_t i = 0; i < LENGTH; i++) {
        struct node *n = array[i];
        assert_true(i % 7 == 0 ? n && n->value == i : !n);
    }
    rt_gc_write(&root, NULL);
}

static void an_array_of_its_own_pages_keeps_all_that_it_points_to(void **state)
{
    (void)state;
    for_each_mode(big_array_body);
}

enum { PINS = 64 };
static uintptr_t pinned[PINS];

static __attribute__((noinline)) void pin_all(void)
{
    for (int i = 0; i < PINS; i++) {
        struct node *n = new_node((uint64_t)i);
        rt_gc_write(&n->left, new_node(4712));
        rt_gc_pin(n);
        rt_gc_pin(&n->right); // the same object
        pinned[i] = hide(n);
    }
}

static __attribute__((noinline)) void unpin_all(void)
{
    for (int i = 0; i < PINS; i++)
        rt_gc_unpin((void *)~pinned[i]);
}

static __attribute__((noinline)) int pinned_left(void)
{
    int left = 0;
    for (int i = 0; i < PINS; i++)
        left += exists(pinned[i]);
    return left;
}

static void pin_body(void)
{
    pin_all();
    collect();
    collect();
    for (int i = 0; i < PINS; i++)
        assert_int_equal(((struct node *)~pinned[i])->left->value, 4712);
    unpin_all();
    collect();
    assert_int_equal(pinned_left(), PINS); // they were pinned twice
    assert_int_equal(stats().pins, PINS);
    unpin_all();
    assert_int_equal(stats().pins, 0);
    collect();
    collect();
    assert_in_range(pinned_left(), 0, PINS / 8); // a stale word may hold some
}

static void a_pinned_object_stays_until_as_many_unpins(void **state)
{
    (void)state;
    for_each_mode(pin_body);
}

static void roots_are_counted_and_known(void **state)
{
    (void)state;
    static void *slots[2];
    uint64_t before = stats().roots;
    assert_int_equal(rt_gc_root_add(slots, 2), 0);
    assert_int_equal(rt_gc_root_add(slots, 2), -EEXIST);
    assert_int_equal(stats().roots, before + 1);
    rt_gc_write(&slots[1], new_node(5));
    collect();
    assert_int_equal(((struct node *)slots[1])->value, 5);
    assert_int_equal(rt_gc_root_remove(slots), 0);
    assert_int_equal(rt_gc_root_remove(slots), -ENOENT);
    slots[1] = NULL;
}

/* ---- stacks ---- */

static struct rt_sem go_on, is_there;
static _Atomic int bad;

static int64_t wait_blocked(void *arg)
{
    (void)arg;
    return poll(NULL, 0, 20);
}

static void hold_on_stack(void *arg)
{
    int how = (int)(intptr_t)arg;
    struct node *n = rt_gc_new(&node_type);
    n->value = 900 + (uint64_t)how;
    rt_sem_release(&is_there, 1);
    switch (how % 3) {
    case 0:
        rt_sem_acquire(&go_on, 1, RT_FOREVER);
        break;
    case 1:
        while (rt_sem_acquire(&go_on, 1, 0) != 0)
            rt_yield();
        break;
    case 2:
        while (rt_sem_acquire(&go_on, 1, 0) != 0)
            rt_blocking(wait_blocked, NULL);
        break;
    }
    if (n->value != 900 + (uint64_t)how)
        atomic_fetch_add(&bad, 1);
    rt_sem_release(&is_there, 1);
}

static void stacks_body(void)
{
    enum { HOLDERS = 12 };
    for (int i = 0; i < HOLDERS; i++)
        assert_int_equal(rt_go("holder", hold_on_stack, (void *)(intptr_t)i), 0);
    rt_sem_acquire(&is_there, HOLDERS, RT_FOREVER);
    collect();
    collect();
    rt_sem_release(&go_on, HOLDERS);
    rt_sem_acquire(&is_there, HOLDERS, RT_FOREVER);
    assert_int_equal(atomic_load(&bad), 0);
}

static void stacks_of_parked_running_and_blocked_goroutines_hold_objects(void **state)
{
    (void)state;
    for_each_mode(stacks_body);
}

static void take_argument(void *arg)
{
    struct node *n = arg;
    rt_yield();
    if (n->value != 77)
        atomic_fetch_add(&bad, 1);
    rt_sem_release(&is_there, 1);
}

static void argument_body(void)
{
    for (int i = 0; i < 200; i++) {
        assert_int_equal(rt_go("taker", take_argument, new_node(77)), 0);
        if (i % 50 == 0)
            collect();
    }
    collect();
    rt_sem_acquire(&is_there, 200, RT_FOREVER);
    assert_int_equal(atomic_load(&bad), 0);
}

static void the_argument_of_a_new_goroutine_is_seen(void **state)
{
    (void)state;
    for_each_mode(argument_body);
}

/* ---- a pointer that moves from the heap to a stack ---- */

#ifdef RT_TSAN
enum { CHAIN = 20000 }; // each node is many times as dear
#else
enum { CHAIN = 200000 };
#endif
static uintptr_t far_end; // hidden: the chain's last node, which is marked last

static __attribute__((noinline)) void make_long_chain(void)
{
    struct node *last = new_node(1);
    far_end = hide(last);
    rt_gc_write(&root, last);
    for (int i = 0; i < CHAIN; i++) {
        struct node *n = rt_gc_new(&node_type);
        rt_gc_write(&n->left, root);
        rt_gc_write(&root, n);
    }
}

static __attribute__((noinline)) void hang_on_far_end(uint64_t value)
{
    struct node *last = (struct node *)~far_end;
    rt_gc_write(&last->right, new_node(value));
}

static _Atomic bool collected;

static void collect_in_background(void *arg)
{
    (void)arg;
    rt_gc_collect();
    atomic_store(&collected, true);
    rt_sem_release(&is_there, 1);
}

/* All stacks were looked at, and the chain's end is not marked yet. False: the cycle was over before we
 * saw it. */
static bool wait_until_marking_beside(uint64_t looks)
{
    while (load_seq(&gc.phase) != GC_MARKING || load_seq(&gc.alloc_grey) || stop_looks() == looks ||
           is_unusual(UNUSUAL_LOOKING)) {
        if (atomic_load(&collected))
            return false;
        rt_yield();
    }
    return true;
}

/* Take what hangs at the chain's end. NULL: too late. */
static struct node *take_from_far_end(uint64_t looks)
{
    if (!wait_until_marking_beside(looks))
        return NULL;
    struct node *last = (struct node *)~far_end, *taken = last->right;
    rt_gc_write(&last->right, NULL);
    return taken;
}

static void move_body(void)
{
    enum { WANTED = 10, TRIES = 100 };
    int taken_in_time = 0;
    make_long_chain();
    for (uint64_t round = 0; round < TRIES && taken_in_time < WANTED; round++) {
        hang_on_far_end(round);
        wash_stack();
        uint64_t looks = stop_looks();
        atomic_store(&collected, false);
        assert_int_equal(rt_go("collect", collect_in_background, NULL), 0);
        struct node *taken = take_from_far_end(looks);
        rt_sem_acquire(&is_there, 1, RT_FOREVER);
        if (taken)
            assert_int_equal(taken->value, round); // the dead are spoilt
        taken_in_time += taken != NULL;
    }
    assert_true(taken_in_time > 0);
    rt_gc_write(&root, NULL);
}

static void what_is_cut_off_the_heap_while_marking_lives_on_a_stack(void **state)
{
    (void)state;
    rt_gc_set_mode(RT_GC_DIJKSTRA);
    move_body();
    rt_gc_set_mode(RT_GC_HYBRID);
    move_body();
}

/* ---- a pointer that is written to the stack of another ---- */

static void *_Atomic lent;

static void lend_and_wait(void *arg)
{
    (void)arg;
    void *result = NULL;
    atomic_store(&lent, &result);
    rt_sem_release(&is_there, 1);
    rt_sem_acquire(&go_on, 1, RT_FOREVER);
    __asm__ volatile("" : "+m"(result));
    const struct node *n = result;
    if (n && n->value != 4713) // the dead are spoilt
        atomic_fetch_add(&bad, 1);
    rt_sem_release(&is_there, 1);
}

static bool is_marked(const void *object)
{
    struct span *s;
    uint32_t i;
    return gc_find((uintptr_t)object, &s, &i) && span_is_marked(s, i);
}

static __attribute__((noinline)) bool write_white_to_lent(void)
{
    struct node *last = (struct node *)~far_end, *white = last->right;
    if (load_seq(&gc.phase) != GC_MARKING || is_marked(white))
        return false;
    rt_gc_write(atomic_load(&lent), white);
    if (!is_marked(white))
        fail_msg("not told to the collector");
    return true;
}

static void lent_body(void)
{
    enum { WANTED = 10, TRIES = 100 };
    int in_time = 0;
    make_long_chain();
    for (int round = 0; round < TRIES && in_time < WANTED; round++) {
        hang_on_far_end(4713);
        wash_stack();
        assert_int_equal(rt_go("lender", lend_and_wait, NULL), 0);
        rt_sem_acquire(&is_there, 1, RT_FOREVER);
        uint64_t looks = stop_looks();
        atomic_store(&collected, false);
        assert_int_equal(rt_go("collect", collect_in_background, NULL), 0);
        if (wait_until_marking_beside(looks) && write_white_to_lent()) {
            in_time++;
            rt_gc_write(&((struct node *)~far_end)->right, NULL); // only the stack has it
        }
        rt_sem_acquire(&is_there, 1, RT_FOREVER);
        collect();
        rt_sem_release(&go_on, 1);
        rt_sem_acquire(&is_there, 1, RT_FOREVER);
        assert_int_equal(atomic_load(&bad), 0);
    }
    assert_true(in_time > 0);
    rt_gc_write(&root, NULL);
}

static void what_is_written_to_the_stack_of_another_is_seen(void **state)
{
    (void)state;
    rt_gc_set_mode(RT_GC_DIJKSTRA);
    lent_body();
    rt_gc_set_mode(RT_GC_HYBRID);
    lent_body();
}

/* ---- helping ---- */

/* Grey objects are made by hand here, between two cycles: what is looked into is garbage and leaves. */
static void push_grey(void *object)
{
    gc_p_push_grey(gc_here(), (uintptr_t *)object - 1);
    gc_p_give_grey(gc_here());
}

static __attribute__((noinline)) void **array_of(size_t length, void *leaf)
{
    void **array = rt_gc_new_array(&pointer_type, length);
    assert_non_null(array);
    for (size_t i = 0; i < length; i++)
        rt_gc_write(&array[i], leaf);
    return array;
}

static void finish_by_hand(void)
{
    g_nopreempt_begin();
    gc_drain(false);
    g_nopreempt_end();
    assert_int_equal(load_seq(&gc.grey_chunks), 0);
}

static void who_helps_looks_at_a_bounded_number_of_objects(void **state)
{
    (void)state;
    enum { SOME_BYTES = 96 << 10, ARRAYS = 200, LENGTH = 500 };
    rt_gc_set_percent(-1);
    collect();
    void *leaf = rt_gc_new(&bytes_type), *arrays[8];
    for (int i = 0; i < 8; i++)
        arrays[i] = array_of(LENGTH, leaf);
    g_nopreempt_begin();
    for (int i = 0; i < ARRAYS; i++)
        push_grey(arrays[i % 8]);
    int64_t marked = gc_drain_some(SOME_BYTES);
    uint32_t left = load_seq(&gc.grey_chunks);
    g_nopreempt_end();
    assert_in_range(marked, 0, 64);             // the leaf, once
    assert_in_range(left, ARRAYS - 40, ARRAYS); // 500 pointers each to what is marked already
    finish_by_hand();
    collect();
    rt_gc_set_percent(100);
}

static void who_helps_leaves_big_arrays_to_the_collector(void **state)
{
    (void)state;
    enum { SOME_BYTES = 96 << 10, LENGTH = 1 << 20 };
    rt_gc_set_percent(-1);
    collect();
    void *leaf = rt_gc_new(&bytes_type);
    void **array = array_of(LENGTH, leaf);
    g_nopreempt_begin();
    push_grey(array);
    int64_t marked = gc_drain_some(SOME_BYTES);
    uint32_t left = load_seq(&gc.grey_chunks);
    bool leaf_marked = is_marked(leaf);
    g_nopreempt_end();
    assert_int_equal(marked, 0);
    assert_int_equal(left, 1);
    assert_false(leaf_marked);
    finish_by_hand();
    assert_true(is_marked(leaf));
    collect();
    rt_gc_set_percent(100);
}

/* ---- looking at roots while they change ---- */

enum { STABLE = 5000, COMING = 64 };
static void *stable[STABLE], *coming[COMING];
static bool seen[STABLE];
static _Atomic bool walk_is_over;
static _Atomic uint64_t changes;

static void see_slot(void **slot, void *arg)
{
    uint64_t *changes_seen = arg;
    if (slot >= stable && slot < stable + STABLE)
        seen[slot - stable] = true;
    *changes_seen = atomic_load(&changes);
    store_relaxed(&g_self()->preempt_pending, PREEMPT_SLICE); // make room as soon as you may
}

static void see_pin(uintptr_t *header, void *arg)
{
    (void)header;
    (void)arg;
}

static void come_and_go(void *arg)
{
    (void)arg;
    for (unsigned i = 0; !atomic_load(&walk_is_over); i++) {
        if (rt_gc_root_add(&coming[i * 7 % COMING], 1) != 0)
            rt_gc_root_remove(&coming[i * 7 % COMING]);
        atomic_fetch_add(&changes, 1);
        rt_yield();
    }
    for (int i = 0; i < COMING; i++)
        rt_gc_root_remove(&coming[i]);
    rt_sem_release(&is_there, 1);
}

static void all_roots_are_seen_while_others_come_and_go(void **state)
{
    (void)state;
    for (int i = 0; i < STABLE; i++) {
        seen[i] = false;
        assert_int_equal(rt_gc_root_add(&stable[i], 1), 0);
        if (i < COMING)
            assert_int_equal(rt_gc_root_add(&coming[i], 1), 0);
    }
    atomic_store(&walk_is_over, false);
    assert_int_equal(rt_go("come and go", come_and_go, NULL), 0);
    rt_yield();
    uint64_t before = atomic_load(&changes), last = before;
    gc_each_root(see_slot, see_pin, &last);
    atomic_store(&walk_is_over, true);
    rt_sem_acquire(&is_there, 1, RT_FOREVER);
    if (rt_procs() == 1)            // else the other one's thread may just not run
        assert_true(last > before); // others had their turns
    int missed = 0;
    for (int i = 0; i < STABLE; i++) {
        missed += !seen[i];
        assert_int_equal(rt_gc_root_remove(&stable[i]), 0);
    }
    assert_int_equal(missed, 0);
}

/* ---- copying ---- */

static void copies_overlap_as_memmove_does(void **state)
{
    (void)state;
    struct node *a = rt_gc_new_array(&node_type, 10);
    for (int i = 0; i < 10; i++) {
        a[i].value = (uint64_t)i;
        rt_gc_write(&a[i].left, new_node(100 + (uint64_t)i));
    }
    rt_gc_copy(&node_type, &a[2], &a[0], 8);
    collect();
    for (int i = 2; i < 10; i++) {
        assert_int_equal(a[i].value, i - 2);
        assert_int_equal(a[i].left->value, 100 + i - 2);
    }
    rt_gc_copy(&node_type, &a[0], &a[2], 8);
    for (int i = 0; i < 8; i++)
        assert_int_equal(a[i].left->value, 100 + i);
}

/* ---- pace and limit ---- */

static void churn(size_t bytes)
{
    for (size_t done = 0; done < bytes; done += 32)
        if (!rt_gc_new(&node_type))
            fail_msg("refused after %zu bytes", done);
}

static void pace_body(void)
{
    static uintptr_t hidden[1000];
    make_chain(hidden, 1000);
    struct rt_gc_stats before = stats();
    churn(64 << 20);
    struct rt_gc_stats after = stats();
    assert_true(after.cycles > before.cycles + 2);
    assert_true(after.freed_bytes - before.freed_bytes > 32 << 20);
    assert_true(after.heap_system_bytes < 32 << 20); // 64 MiB went through it
    rt_gc_write(&root, NULL);
}

static void a_heap_that_is_churned_stays_small(void **state)
{
    (void)state;
    for_each_mode(pace_body);
}

static void nothing_collects_by_itself_when_told_so(void **state)
{
    (void)state;
    rt_gc_set_percent(-1);
    uint64_t before = stats().cycles;
    churn(16 << 20);
    assert_int_equal(stats().cycles, before);
    rt_gc_set_percent(100);
    collect();
    assert_true(stats().cycles > before);
}

static void limit_body(void)
{
    collect();
    rt_gc_set_limit(8 << 20);
    churn(32 << 20); // garbage is no reason to refuse
    bool refused = false;
    for (int i = 0; i < 400000 && !refused; i++) {
        struct node *n = rt_gc_new(&node_type);
        refused = !n;
        if (n) {
            rt_gc_write(&n->left, root);
            rt_gc_write(&root, n);
        }
    }
    assert_true(refused);
    assert_null(rt_gc_new_array(&bytes_type, 16 << 20));
    assert_null(rt_gc_new_array(&node_type, SIZE_MAX / 8));
    rt_gc_write(&root, NULL);
    collect();
    collect();
    assert_non_null(rt_gc_new(&node_type));
    rt_gc_set_limit(0);
}

static void over_the_limit_is_refused_until_something_dies(void **state)
{
    (void)state;
    for_each_mode(limit_body);
}

static void each_stop_is_counted_and_the_hybrid_has_none(void **state)
{
    (void)state;
    struct rt_gc_stats before = stats();
    rt_gc_set_checked(false);
    rt_gc_set_mode(RT_GC_HYBRID);
    collect();
    struct rt_gc_stats hybrid = stats();
    assert_int_equal(hybrid.world_stops, before.world_stops);
    assert_true(hybrid.handshakes >= before.handshakes + 5);
    rt_gc_set_mode(RT_GC_DIJKSTRA);
    collect();
    struct rt_gc_stats dijkstra = stats();
    assert_int_equal(dijkstra.world_stops, hybrid.world_stops + 1);
    assert_true(dijkstra.stacks_again > hybrid.stacks_again);
    rt_gc_set_mode(RT_GC_STOPPED);
    collect();
    assert_int_equal(stats().world_stops, dijkstra.world_stops + 1);
    struct rt_hdr_counts *stops = rt_hdr_counts_new(), *holds = rt_hdr_counts_new();
    rt_gc_pauses(stops, holds);
    assert_int_equal(stops->count, stats().world_stops);
    assert_true(holds->count > 0);
    rt_free(stops);
    rt_free(holds);
    rt_gc_set_mode(RT_GC_HYBRID);
    rt_gc_set_checked(true);
}

/* ---- runs ---- */

static int setup(void **state)
{
    (void)state;
    rt_gc_set_checked(true);
    return rt_gc_root_add(&root, 1);
}

static int run_all(void *arg)
{
    (void)arg;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_chain_from_a_root_lives_until_the_root_lets_go),
        cmocka_unit_test(a_pointer_into_an_object_or_to_its_end_keeps_it),
        cmocka_unit_test(an_array_of_its_own_pages_keeps_all_that_it_points_to),
        cmocka_unit_test(a_pinned_object_stays_until_as_many_unpins),
        cmocka_unit_test(roots_are_counted_and_known),
        cmocka_unit_test(stacks_of_parked_running_and_blocked_goroutines_hold_objects),
        cmocka_unit_test(the_argument_of_a_new_goroutine_is_seen),
        cmocka_unit_test(what_is_cut_off_the_heap_while_marking_lives_on_a_stack),
        cmocka_unit_test(what_is_written_to_the_stack_of_another_is_seen),
        cmocka_unit_test(who_helps_looks_at_a_bounded_number_of_objects),
        cmocka_unit_test(who_helps_leaves_big_arrays_to_the_collector),
        cmocka_unit_test(all_roots_are_seen_while_others_come_and_go),
        cmocka_unit_test(copies_overlap_as_memmove_does),
        cmocka_unit_test(a_heap_that_is_churned_stays_small),
        cmocka_unit_test(nothing_collects_by_itself_when_told_so),
        cmocka_unit_test(over_the_limit_is_refused_until_something_dies),
        cmocka_unit_test(each_stop_is_counted_and_the_hybrid_has_none),
    };
    root = NULL;
    rt_pin_thread();
    int failed = cmocka_run_group_tests(tests, setup, NULL);
    rt_unpin_thread();
    return failed;
}

int main(void)
{
    int failed = 0;
    for (unsigned procs = 1; procs <= 4; procs *= 2)
        failed += rt_test_main(&(struct rt_options){.procs = procs}, run_all);
    return failed != 0;
}
