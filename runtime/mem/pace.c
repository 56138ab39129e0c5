/* mem/pace.c: when a cycle begins, and what keeps those who allocate from running away from it.
 *
 *     live ──────────────────────── trigger ───────────── goal ────────── wall
 *     found by the last cycle       a cycle begins        it should end   who allocates waits for it
 *
 * The goal is live plus the percentage. The trigger is as far before it as the last cycle saw being
 * allocated while it marked, and a fifth. From the trigger on, whoever takes a span marks in proportion:
 * what is left to mark over what is left to the goal. That is bounded, so the goal may be missed; a
 * quarter beyond it one waits for the cycle's end. */
#include "runtime/mem/gc.h"
#include "runtime/sched/gmp.h"
#include <assert.h>

enum {
    LEAST_HEAP_BYTES = 4 << 20, // the goal's, at 100 percent
    LEAST_GROWTH_BYTES = 1 << 20,
    ASSIST_MAX_BYTES = 96 << 10, // some 30 us of marking
    SIMULATED_GROWTH_BYTES = 8 << 20,
};

int64_t gc_heap_bytes(void)
{
    int64_t since = load_relaxed(&gc.added_bytes) - load_relaxed(&gc.added_at_end);
    int64_t bytes = load_relaxed(&gc.live_bytes) + since;
    return bytes > 0 ? bytes : 0;
}

static int64_t allocated_bytes(void)
{
    int64_t sum = 0;
    for (unsigned i = 0; i < sched.made; i++) {
        struct gc_p *pc = load_acquire(&gc.ps[i]);
        sum += pc ? (int64_t)load_relaxed(&pc->allocated_bytes) : 0;
    }
    return sum;
}

static void set_goal(int64_t runway)
{
    int64_t live = load_relaxed(&gc.live_bytes), percent = load_relaxed(&gc.percent);
    int64_t limit = (int64_t)load_relaxed(&gc.limit_bytes), goal = INT64_MAX;
    if (percent >= 0) {
        int64_t least = LEAST_HEAP_BYTES * percent / 100;
        int64_t grown = live + live * percent / 100;
        goal = grown > least ? grown : least;
        if (goal < live + LEAST_GROWTH_BYTES)
            goal = live + LEAST_GROWTH_BYTES;
    }
    if (limit > 0 && goal > limit)
        goal = limit > live ? limit : live;
    store_relaxed(&gc.goal_bytes, goal);
    if (goal == INT64_MAX) {
        store_relaxed(&gc.trigger_bytes, INT64_MAX);
        return;
    }
    int64_t room = goal - live, least = room / 20, most = room * 7 / 10;
    if (load_relaxed(&gc.mode) == RT_GC_STOPPED)
        runway = least = 0;
    runway = runway < least ? least : runway > most ? most : runway;
    store_relaxed(&gc.trigger_bytes, goal - runway);
}

void gc_pace_set(void)
{
    int64_t room = load_relaxed(&gc.live_bytes) / 3;
    set_goal(room);
}

void gc_pace_marking(void)
{
    int64_t last = load_relaxed(&gc.live_bytes), heap = gc_heap_bytes();
    store_relaxed(&gc.work_expected, last > 0 && last < heap ? last + (heap - last) / 4 : heap);
    store_relaxed(&gc.marked_bytes, 0);
    store_relaxed(&gc.marked_objects, 0);
    gc.added_at_mark = load_relaxed(&gc.added_bytes);
}

void gc_pace_ended(void)
{
    int64_t added = load_relaxed(&gc.added_bytes), during = added - gc.added_at_mark;
    during = during > 0 ? during : 0;
    store_relaxed(&gc.live_bytes, (int64_t)load_relaxed(&gc.marked_bytes) + during);
    store_relaxed(&gc.added_at_end, added);
    gc.allocated_at_end = allocated_bytes();
    set_goal(during + during / 5);
}

/* A goroutine that takes `bytes` while marking goes on. */
static void assist(int64_t bytes)
{
    int64_t heap = gc_heap_bytes(), goal = load_relaxed(&gc.goal_bytes);
    int64_t left = load_relaxed(&gc.work_expected) - (int64_t)load_relaxed(&gc.marked_bytes);
    if (left < heap / 16)
        left = heap / 16; // it was more than expected
    int64_t room = goal - heap;
    int64_t share =
        room > bytes ? (int64_t)((double)bytes * (double)left / (double)room) : ASSIST_MAX_BYTES;
    share = share > ASSIST_MAX_BYTES ? ASSIST_MAX_BYTES : share;
    if (share > 0 && gc_drain_some(share) > 0)
        count_up(&gc_here()->assists, 1);
}

/* In a simulated world what is alive, and so what is free in a span, depends on addresses: only what
 * was allocated may decide. */
static int64_t simulated_growth(void) { return allocated_bytes() - gc.allocated_at_end; }

bool gc_pace_is_due(void)
{
    if (sched.simulated)
        return load_relaxed(&gc.percent) >= 0 && simulated_growth() >= SIMULATED_GROWTH_BYTES;
    return gc_heap_bytes() >= load_relaxed(&gc.trigger_bytes);
}

void gc_pace_simulated(void)
{
    if (gc_pace_is_due())
        gc_kick();
    if (gc_pace_is_due() && simulated_growth() > SIMULATED_GROWTH_BYTES * 5 / 4)
        gc_wait_cycle();
}

static bool is_over_limit(int64_t bytes)
{
    int64_t limit = (int64_t)load_relaxed(&gc.limit_bytes);
    return limit > 0 && gc_heap_bytes() + bytes > limit;
}

bool gc_pace_allocate(size_t want)
{
    int64_t bytes = (int64_t)want;
    // Nothing may become black before every P knows the barrier.
    if (load_acquire(&gc.phase) == GC_MARKING && !load_acquire(&gc.alloc_grey))
        assist(bytes);
    int64_t heap = gc_heap_bytes() + bytes, goal = load_relaxed(&gc.goal_bytes);
    if (sched.simulated)
        goal = INT64_MAX; // gc_pace_simulated
    else if (heap >= load_relaxed(&gc.trigger_bytes))
        gc_kick();
    if (goal != INT64_MAX && heap > goal + goal / 4 + bytes)
        gc_wait_cycle();
    for (int tries = 0; tries < 2 && is_over_limit(bytes); tries++)
        gc_wait_cycle();
    return !is_over_limit(bytes);
}
