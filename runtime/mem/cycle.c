/* mem/cycle.c: the collector's goroutine.
 *
 * Hybrid, without a stop of the world. Each arrow is a handshake: every P passes it at a turn of its
 * own (sched/stop.h), so for a moment some Ps are in the old phase and some in the new one.
 *
 *     off ──1──► barrier, new objects grey ──2──► marking ──3...──► nothing grey ──4──► no barrier
 *         ──5──► spans given back, new objects white: swept from now on
 *
 *   1. The barrier is on before anything is black: or a P that does not know it yet could put a white
 *      object into a black one. So new objects are grey at first. (A P that greys before others know
 *      the barrier does no harm.)
 *   2. Roots and stacks: from now on new objects are black. Each stack is looked at once; it is black
 *      then and stays so.
 *   3. Mark until nothing is grey; then every P hands over what its barrier greyed; again, until from
 *      before the marking to the last handing no grey object has changed hands. Then at the first of
 *      these handings nothing was grey anywhere, so nothing reachable was white, and nothing can have
 *      become grey since: what had been grey was with a P, which would have handed it over, or with a
 *      goroutine that helps, which counts when it is done (grey_moves) and is done before its P's
 *      handing.
 *   4. The barrier is off everywhere before the first span is swept: or it could mark an object in a
 *      span whose marks are those of the next cycle.
 *   5. The generation is raised: spans are unswept, those that Ps own when they come back. A P that has
 *      not passed 5 still allocates black, in spans of the old generation only (gc.c, make).
 *
 * Dijkstra: the same up to 3; then the world stops, all stacks and roots are looked at again, the rest
 * is marked, and 4 and 5 happen at once. Stopped: all of it in one stop. */
#include "runtime/mem/gc.h"
#include "runtime/sched/fiber.h"
#include "runtime/sched/gmp.h"
#include "runtime/sched/stop.h"
#include <assert.h>

static void record_longest(_Atomic int64_t *longest, int64_t ns)
{
    int64_t before = load_relaxed(longest);
    while (ns > before && !atomic_compare_exchange_weak(longest, &before, ns))
        ;
}

static void record_hold(int64_t began)
{
    int64_t took = clock_real_now_ns() - began;
    rt_hdr_record(gc.holds, took);
    record_longest(&gc.longest_hold_ns, took);
}

/* ---- what Ps do in a handshake ---- */

/* Its part, made if it is in use; NULL: not in use, and never was. */
static struct gc_p *part_of(unsigned p)
{
    return p < sched.procs ? gc_p_of(p) : load_acquire(&gc.ps[p]);
}

static void p_begin(unsigned p, void *arg)
{
    (void)arg;
    int64_t began = clock_real_now_ns();
    struct gc_p *pc = part_of(p);
    if (!pc)
        return;
    pc->marks = true;
    pc->mark_gen = load_relaxed(&gc.mark_gen);
    record_hold(began);
}

static void p_hand_over(unsigned p, void *arg)
{
    (void)arg;
    int64_t began = clock_real_now_ns();
    struct gc_p *pc = part_of(p);
    if (pc)
        gc_p_give_grey(pc);
    record_hold(began);
}

static void p_nothing(unsigned p, void *arg)
{
    (void)p;
    (void)arg;
}

static void p_end(unsigned p, void *arg)
{
    (void)arg;
    int64_t began = clock_real_now_ns();
    struct gc_p *pc = part_of(p);
    if (!pc)
        return;
    gc_p_give_spans(pc);
    pc->marks = false;
    record_hold(began);
}

/* With the world stopped: for all Ps there ever were. */
static void every_p(void (*fn)(unsigned p, void *arg), void *arg)
{
    for (unsigned p = 0; p < RT_PROCS_MAX; p++)
        fn(p, arg);
}

static bool handshake(void (*fn)(unsigned p, void *arg), void *arg)
{
    atomic_fetch_add_explicit(&gc.handshakes, 1, memory_order_relaxed);
    return stop_each(fn, arg);
}

/* ---- roots ---- */

static void look_at_stack(const void *low, const void *high)
{
    int64_t began = clock_real_now_ns();
    gc_grey_words(low, high);
    record_hold(began);
}

static void grey_slot(void **slot, void *arg)
{
    gc_grey(arg, load_relaxed((_Atomic uintptr_t *)slot));
}

static void grey_pin(uintptr_t *header, void *arg) { gc_grey(arg, (uintptr_t)(header + 1)); }

static void grey_roots(void)
{
    struct gc_greyer w = {NULL, 0, 0};
    gc_each_root(grey_slot, grey_pin, &w);
    gc_greyer_done(&w);
}

/* ---- stops ---- */

static bool stop(void)
{
    atomic_fetch_add_explicit(&gc.world_stops, 1, memory_order_relaxed);
    return stop_world();
}

static void go_on(bool counted)
{
    int64_t asked = stop_asked_ns();
    start_world();
    if (!counted)
        return;
    int64_t took = clock_real_now_ns() - asked;
    rt_hdr_record(gc.stops, took);
    record_longest(&gc.longest_stop_ns, took);
}

/* World stopped: nothing is grey any more. Ps leave marking all at once. */
static void end_stopped(void)
{
    if (load_relaxed(&gc.checked))
        gc_verify();
    store_seq(&gc.barrier_on, false);
    stop_watch_births(NULL);
    gc_pace_ended();
    fiber_release_all(&gc);
    heap_sweep_gen_raise();
    store_seq(&gc.phase, GC_OFF);
    every_p(p_end, NULL);
}

static void mark_rest_stopped(void)
{
    uint64_t before = stop_looks();
    stop_look_stopped(look_at_stack);
    atomic_fetch_add(&gc.stacks_again, stop_looks() - before);
    grey_roots();
    do {
        gc_drain(false);
        every_p(p_hand_over, NULL);
    } while (load_acquire(&gc.grey_chunks) > 0);
}

/* ---- cycles ---- */

/* Up to 3. False: the run is ending. */
static bool mark_beside(bool deletes_too)
{
    store_relaxed(&gc.deletes_too, deletes_too);
    store_relaxed(&gc.mark_gen, heap_sweep_gen());
    store_seq(&gc.alloc_grey, true);
    store_seq(&gc.phase, GC_MARKING);
    store_seq(&gc.barrier_on, true);
    stop_watch_births(gc_grey_words);
    if (!handshake(p_begin, NULL)) // 1
        return false;
    store_seq(&gc.alloc_grey, false);
    grey_roots();
    atomic_fetch_add_explicit(&gc.handshakes, 1, memory_order_relaxed);
    if (!stop_look(look_at_stack)) // 2
        return false;
    uint64_t moves;
    do {
        moves = load_seq(&gc.grey_moves); // before: who helps may hand over while we find no more
        gc_drain(true);
        if (!handshake(p_hand_over, NULL)) // 3
            return false;
    } while (load_seq(&gc.grey_moves) != moves);
    return true;
}

static bool check_beside(void)
{
    if (!load_relaxed(&gc.checked))
        return true;
    if (stop_world())
        gc_verify();
    go_on(false);
    return !load_seq(&sched.stopping);
}

static bool run_hybrid(void)
{
    if (!mark_beside(true) || !check_beside())
        return false;
    store_seq(&gc.barrier_on, false);
    stop_watch_births(NULL);
    if (!handshake(p_nothing, NULL)) // 4
        return false;
    gc_pace_ended();
    fiber_release_all(&gc);
    heap_sweep_gen_raise();
    store_seq(&gc.phase, GC_OFF);
    return handshake(p_end, NULL); // 5
}

static bool run_dijkstra(void)
{
    if (!mark_beside(false))
        return false;
    bool all = stop();
    if (all) {
        mark_rest_stopped();
        end_stopped();
    }
    go_on(true);
    return all;
}

static bool run_stopped(void)
{
    bool all = stop();
    if (all) {
        mark_rest_stopped();
        end_stopped();
    }
    go_on(true);
    return all;
}

static bool run_cycle(void)
{
    enum rt_gc_mode mode = sched.simulated ? RT_GC_STOPPED : rt_gc_get_mode();
    do // what the last cycle left, and whoever is still at a span of it
        gc_sweep_all(!sched.simulated);
    while (central_managed_unswept() > 0);
    int64_t began = clock_real_now_ns();
    gc_pace_marking();
    bool done = mode == RT_GC_HYBRID     ? run_hybrid()
                : mode == RT_GC_DIJKSTRA ? run_dijkstra()
                                         : run_stopped();
    int64_t took = clock_real_now_ns() - began;
    store_relaxed(&gc.last_mark_ns, took);
    atomic_fetch_add(&gc.mark_ns, took);
    return done;
}

/* ---- whose turn it is ---- */

void gc_kick(void)
{
    if (load_relaxed(&gc.kicked) || atomic_exchange(&gc.kicked, true))
        return;
    rt_sem_release(&gc.kick, 1);
}

void gc_wait_cycle(void)
{
    rt_mutex_lock(&gc.lock);
    uint64_t mine = gc.started + 1;
    if (load_relaxed(&gc.wanted) < mine)
        store_relaxed(&gc.wanted, mine);
    gc_kick();
    while (load_relaxed(&gc.ended) < mine)
        rt_cond_wait(&gc.cycle_ended, &gc.lock, RT_FOREVER);
    rt_mutex_unlock(&gc.lock);
}

static bool is_wanted(void) { return load_relaxed(&gc.wanted) > gc.started; }

static void cycle(void)
{
    rt_mutex_lock(&gc.lock);
    gc.started++;
    rt_mutex_unlock(&gc.lock);
    quiet_begin();
    bool done = run_cycle();
    quiet_end();
    if (!done)
        sched_park(NULL, NULL, PARK_FOREVER); // the run is ending
    rt_mutex_lock(&gc.lock);
    count_up(&gc.ended, 1);
    rt_cond_broadcast(&gc.cycle_ended);
    rt_mutex_unlock(&gc.lock);
    quiet_begin();
    gc_sweep_all(!sched.simulated);
    quiet_end();
}

void gc_collector(void *arg)
{
    (void)arg;
    for (;;) {
        rt_sem_acquire(&gc.kick, 1, RT_FOREVER);
        atomic_store(&gc.kicked, false);
        if (gc_pace_is_due() || is_wanted())
            do
                cycle();
            while (is_wanted());
    }
}
