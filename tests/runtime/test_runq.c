/* tests/runtime/test_runq.c: the ring of one P by itself, without a scheduler. */
#include "runtime/sched/gmp.h"
#include "runtime/sched/runq.h"
#include "tests/support/rt_test.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { GS = 1024 };

static struct g gs[GS];

/* As after so many Gs. */
static void begin_at(struct runq *q, uint32_t count)
{
    memset(q, 0, sizeof(*q));
    store_relaxed(&q->head, count);
    store_relaxed(&q->tail, count);
}

static void put_some(struct runq *q, int from, int count)
{
    for (int i = from; i < from + count; i++)
        assert_true(runq_put(q, &gs[i]));
}

static void expect(struct runq *q, int from, int count)
{
    for (int i = from; i < from + count; i++)
        assert_ptr_equal(runq_get(q), &gs[i]);
}

static void who_came_first_goes_first(void **state)
{
    (void)state;
    static struct runq q;
    begin_at(&q, 0);
    assert_null(runq_get(&q));
    assert_null(runq_get_solo(&q));
    put_some(&q, 0, 10);
    expect(&q, 0, 4);
    assert_ptr_equal(runq_get_solo(&q), &gs[4]);
    assert_int_equal(runq_len(&q), 5);
    assert_false(runq_is_empty(&q));
    expect(&q, 5, 5);
    assert_true(runq_is_empty(&q));
    assert_null(runq_get(&q));
}

static void a_full_ring_takes_no_more_and_changes_nothing(void **state)
{
    (void)state;
    static struct runq q;
    begin_at(&q, 0);
    put_some(&q, 0, RUNQ_SLOTS);
    assert_false(runq_put(&q, &gs[RUNQ_SLOTS]));
    assert_int_equal(runq_len(&q), RUNQ_SLOTS);
    expect(&q, 0, 1);
    put_some(&q, RUNQ_SLOTS, 1);
    assert_false(runq_put(&q, &gs[RUNQ_SLOTS + 1]));
    expect(&q, 1, RUNQ_SLOTS);
    assert_true(runq_is_empty(&q));
}

/* The last counts before they begin anew, and every place of the ring to be at then. */
static void nothing_is_lost_where_the_counters_wrap(void **state)
{
    (void)state;
    for (uint32_t before = 0; before <= RUNQ_SLOTS; before++) {
        static struct runq q, to;
        struct g *first, *last;
        uint32_t moved = 0;
        begin_at(&q, 0u - before);
        begin_at(&to, UINT32_MAX);
        put_some(&q, 0, RUNQ_SLOTS);
        assert_false(runq_put(&q, &gs[RUNQ_SLOTS]));
        assert_int_equal(runq_len(&q), RUNQ_SLOTS);
        assert_ptr_equal(runq_steal_half(&q, &to, &moved), &gs[RUNQ_SLOTS / 2 - 1]);
        assert_int_equal(moved, RUNQ_SLOTS / 2);
        expect(&to, 0, RUNQ_SLOTS / 2 - 1);
        put_some(&q, RUNQ_SLOTS, RUNQ_SLOTS / 2);
        assert_int_equal(runq_take_half(&q, &first, &last), RUNQ_SLOTS / 2);
        assert_ptr_equal(first, &gs[RUNQ_SLOTS / 2]);
        assert_ptr_equal(last, &gs[RUNQ_SLOTS - 1]);
        expect(&q, RUNQ_SLOTS, RUNQ_SLOTS / 2);
        assert_null(runq_get(&q));
    }
}

static void a_thief_takes_the_older_half_and_at_least_one(void **state)
{
    (void)state;
    static const struct {
        uint32_t there, moved;
    } rows[] = {{0, 0}, {1, 1}, {2, 1}, {3, 2}, {64, 32}, {255, 128}, {256, 128}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int there = (int)rows[i].there, moved = (int)rows[i].moved;
        static struct runq from, to;
        uint32_t moved_out = 0;
        begin_at(&from, 0);
        begin_at(&to, 0);
        put_some(&from, 0, there);
        struct g *gp = runq_steal_half(&from, &to, &moved_out);
        assert_ptr_equal(gp, moved ? &gs[moved - 1] : NULL); // the newest of them
        assert_int_equal(moved_out, moved);
        expect(&to, 0, moved ? moved - 1 : 0);
        assert_null(runq_get(&to));
        expect(&from, moved, there - moved);
        assert_null(runq_get(&from));
    }
}

static void half_is_taken_as_a_list_in_order(void **state)
{
    (void)state;
    static struct runq q;
    struct g *first, *last;
    begin_at(&q, 0);
    assert_int_equal(runq_take_half(&q, &first, &last), 0);
    put_some(&q, 0, 7);
    assert_int_equal(runq_take_half(&q, &first, &last), 4);
    for (int i = 0; i < 4; i++, first = first->next)
        assert_ptr_equal(first, &gs[i]);
    assert_null(first);
    assert_ptr_equal(last, &gs[3]);
    expect(&q, 4, 3);
}

/* ---- an owner and a thief ---- */

enum { ROUNDS = 20000 };

struct market {
    struct runq ring, stolen; // of the owner; of the thief
    _Atomic bool ends;
    uint32_t given[GS], had[GS], taken[GS]; // owner, owner, thief: how often each
    uint64_t out_of_order;                  // owner
};

static void *take_by_all_ways(void *arg)
{
    struct market *m = arg;
    bool ended;
    do {
        struct g *gp, *last;
        uint32_t moved;
        ended = load_acquire(&m->ends);
        if ((gp = runq_steal_half(&m->ring, &m->stolen, &moved)))
            m->taken[gp - gs]++;
        while ((gp = runq_get(&m->stolen)))
            m->taken[gp - gs]++;
        if ((gp = runq_get(&m->ring)))
            m->taken[gp - gs]++;
        if (runq_take_half(&m->ring, &gp, &last) > 0) {
            for (; gp != last; gp = gp->next)
                m->taken[gp - gs]++;
            m->taken[last - gs]++;
        }
    } while (!ended || !runq_is_empty(&m->ring));
    return NULL;
}

/* Puts as many as there is room for, takes some back: what it gets is in order. */
static void put_and_get(struct market *m)
{
    uint32_t next = 0, oldest = 0; // by number, of which a G's place is the rest
    for (int round = 0; round < ROUNDS; round++) {
        while (next - oldest < GS - RUNQ_SLOTS && runq_put(&m->ring, &gs[next % GS]))
            m->given[next++ % GS]++;
        for (int i = 0; i < round % 300; i++) {
            struct g *gp = runq_get(&m->ring);
            if (!gp)
                break;
            uint32_t ahead = ((uint32_t)(gp - gs) - oldest) % GS;
            m->out_of_order += ahead >= next - oldest;
            oldest += ahead + 1;
            m->had[gp - gs]++;
        }
        if (runq_is_empty(&m->ring))
            oldest = next;
    }
}

static void each_is_taken_once_by_owner_or_thief(void **state)
{
    (void)state;
    struct market *m = calloc(1, sizeof(*m));
    pthread_t thief;
    assert_non_null(m);
    begin_at(&m->ring, 0u - GS); // the counters wrap on the way
    begin_at(&m->stolen, 0);
    assert_int_equal(pthread_create(&thief, NULL, take_by_all_ways, m), 0);
    put_and_get(m);
    store_release(&m->ends, true);
    pthread_join(thief, NULL);
    assert_true(runq_is_empty(&m->ring));
    for (int i = 0; i < GS; i++)
        assert_int_equal(m->given[i], m->had[i] + m->taken[i]);
    assert_int_equal(m->out_of_order, 0);
    free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_came_first_goes_first),
        cmocka_unit_test(a_full_ring_takes_no_more_and_changes_nothing),
        cmocka_unit_test(nothing_is_lost_where_the_counters_wrap),
        cmocka_unit_test(a_thief_takes_the_older_half_and_at_least_one),
        cmocka_unit_test(half_is_taken_as_a_list_in_order),
        cmocka_unit_test(each_is_taken_once_by_owner_or_thief),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
