/* sched/proc.c: a G's life: start, park, ready, yield, exit.
 *
 * A G that leaves picks who goes on and switches straight to its stack; only when nothing is at hand,
 * or it is time to look at clock and poller, does it switch to the M's scheduler. Either way the one
 * who arrives finishes for the one who left (arrive): only then are its registers saved, so only
 * then may anybody else see it as parked or runnable. */
#include "runtime/sched/proc.h"
#include "runtime/inspect/trace.h"
#include "runtime/sched/audit.h"
#include "runtime/sched/fiber.h"
#include "runtime/sched/globq.h"
#include "runtime/sched/here.h"
#include "runtime/sched/idle.h"
#include "runtime/sched/life.h"
#include "runtime/sched/loop.h"
#include "runtime/sched/preempt.h"
#include "runtime/sched/stack.h"
#include "runtime/sched/start.h"
#include "runtime/sched/stop.h"
#include "runtime/sched/switch.h"
#include <assert.h>
#include <errno.h>

struct sched sched;
_Atomic uint32_t sched_unusual __attribute__((visibility("hidden"))) = UNUSUAL_MANY_PS;

enum { ID_BLOCK = 256, RANDOM_YIELD_EVERY = 4 };

void set_unusual(uint32_t what, bool on)
{
    if (on)
        atomic_fetch_or(&sched_unusual, what);
    else
        atomic_fetch_and(&sched_unusual, ~what);
}

struct g *g_self(void) { return g_here(); }

struct g_wait *g_wait(struct g *gp) { return &gp->wait; }

struct m *m_current(void)
{
    struct g *gp = g_self();
    return gp ? gp->m : m_self();
}

int sched_p_index(void)
{
    struct g *gp = g_self();
    struct m *m = gp ? gp->m : m_self();
    return m && m->p ? (int)m->p->index : SCHED_NO_P;
}

uint64_t rt_go_id(void)
{
    struct g *gp = g_self();
    return gp ? gp->id : 0;
}

/* ---- holding preemption off ---- */

void g_honour_pending(struct g *gp)
{
    uint8_t kind = load_relaxed(&gp->preempt_pending);
    if (kind == PREEMPT_NONE || gp->nopreempt != 0 || g_is_let_go_on(gp, kind))
        return;
    if (kind != PREEMPT_AT_RANDOM)
        preempt_switch();
    else if (loop_random(gp->m) % RANDOM_YIELD_EVERY == 0)
        rt_yield();
}

void g_check_preempt(void) { g_exit_call(g_here()); }

void g_lock_taken(void) { g_lock_taken_by(g_running()); }

void g_lock_forgotten(void) { g_lock_given_by(g_running()); }

void g_lock_dropped(void)
{
    struct g *gp = g_here();
    g_lock_given_by(gp);
    g_exit_call(gp);
}

void g_nopreempt_begin(void)
{
    struct g *gp = g_self();
    if (gp)
        gp->nopreempt += NOPREEMPT_RUNTIME;
    atomic_signal_fence(memory_order_seq_cst);
}

void g_nopreempt_end(void)
{
    atomic_signal_fence(memory_order_seq_cst);
    struct g *gp = g_self();
    if (!gp)
        return;
    assert(gp->nopreempt & (NOPREEMPT_USER - 1));
    gp->nopreempt -= NOPREEMPT_RUNTIME;
    g_exit_call(gp);
}

void rt_nopreempt_begin(void)
{
    struct g *gp = g_self();
    if (gp)
        gp->nopreempt += NOPREEMPT_USER;
    atomic_signal_fence(memory_order_seq_cst);
}

void rt_nopreempt_end(void)
{
    atomic_signal_fence(memory_order_seq_cst);
    struct g *gp = g_self();
    if (!gp)
        return;
    assert(gp->nopreempt >= NOPREEMPT_USER);
    gp->nopreempt -= NOPREEMPT_USER;
    g_exit_call(gp);
}

/* ---- leaving and arriving ---- */

/* (A): the G is off its stack. Parks it, or queues it at once when its ready came first. */
static void finish_park(struct m *m, struct g *gp)
{
    bool (*commit)(struct g * gp, void *arg) = m->commit;
    void *arg = m->commit_arg;
    uint8_t was = NOT_PARKED;
    bool parked = true;
    if (commit) {
        store_release(&gp->parking, PARKED); // nobody knows of it yet
        fiber_acquire(gp);                   // it continues what gp did, and releases gp's locks
    } else {
        parked = atomic_compare_exchange_strong(&gp->parking, &was, PARKED);
        assert(parked || was == WOKEN);
    }
    if (commit && !commit(gp, arg)) {
        // It was not published: nobody else may have readied it. But its stack may be held.
        atomic_exchange(&gp->parking, NOT_PARKED);
        life_queue(gp);
    } else if (!parked) {
        store_relaxed(&gp->parking, NOT_PARKED);
        life_queue(gp);
    } else if (is_unusual(UNUSUAL_SPILLING)) {
        stack_parked(gp);
    }
    // gp may already run elsewhere: not another look at it
}

static void finish_preempted(struct m *m, struct g *gp, bool by_need)
{
    struct p *p = m->p;
    store_relaxed(&gp->status, G_RUNNABLE);
    trace_ready(m, gp);
    if (sched.simulated) {
        loop_sim_put(gp);
    } else if (by_need) { // back to the head, with the rest of its slice
        atomic_fetch_add_explicit(&sched.preempted_need, 1, memory_order_relaxed);
        int64_t ran = load_relaxed(&p->seen_slice) == load_relaxed(&p->slice)
                          ? load_relaxed(&sched.coarse_ns) - load_relaxed(&p->seen_since_ns)
                          : 0;
        struct g *other = atomic_exchange(&p->resume, gp);
        p->asks_more = true;
        p->resume_waits = P_RESUME_WAITS;
        if (other)
            loop_put_last(p, other);
        p->resume_used_ns = load_relaxed(&p->slice_used_ns) +
                            (ran > PREEMPT_NEED_MIN_RUN_NS ? ran : PREEMPT_NEED_MIN_RUN_NS);
    } else {
        atomic_fetch_add_explicit(&sched.preempted_slice, 1, memory_order_relaxed);
        loop_begin_slice(p, 0);
        globq_put(gp);
        idle_wake_one();
    }
}

/* The park that is nothing but the release of a lock. */
static inline void finish_park_unlocking(struct m *m, struct g *gp)
{
    _Atomic uint32_t *lock = m->commit_arg;
    store_release(&gp->parking, PARKED);
    fiber_acquire(gp);
    store_release(lock, 0); // from here on gp may run elsewhere
    if (is_unusual(UNUSUAL_SPILLING))
        stack_parked(gp);
}

static inline void finish_yield(struct m *m, struct g *gp)
{
    store_relaxed(&gp->status, G_RUNNABLE);
    if (is_unusual(UNUSUAL_WORLD))
        loop_sim_put(gp);
    else if (unlikely(!runq_put(&m->p->ring, gp)))
        loop_put_last(m->p, gp);
}

static inline void finish_exit(struct m *m, struct g *gp)
{
    store_relaxed(&gp->status, G_FREE);
    count_up(&m->p->exited, 1);
    stack_give(m->p, gp);
}

__attribute__((noinline)) static void finish_rest(struct m *m, struct g *gp, enum left left)
{
    switch (left) {
    case LEFT_PARK:
        finish_park(m, gp);
        return;
    case LEFT_PREEMPTED:
    case LEFT_NEEDED:
        finish_preempted(m, gp, left == LEFT_NEEDED);
        return;
    case LEFT_NO_P: // what it waited for has come, as for one that the poller readies
        store_relaxed(&gp->status, G_RUNNABLE);
        globq_put_woken(gp, gp, 1);
        idle_wake_one();
        if (!idle_p_is_free())
            preempt_by_need();
        return;
    case LEFT_NOTHING:
    case LEFT_YIELD:
    case LEFT_IN_RING:
    case LEFT_EXIT:
    case LEFT_PARK_UNLOCKING:
        return;
    }
}

static inline __attribute__((always_inline)) void finish(struct m *m)
{
    enum left left = m->left;
    struct g *gp = m->left_g;
    if (left == LEFT_PARK_UNLOCKING) {
        finish_park_unlocking(m, gp);
    } else if (left == LEFT_IN_RING) { // now it looks like it
        store_relaxed(&gp->status, G_RUNNABLE);
    } else if (left == LEFT_YIELD) {
        finish_yield(m, gp);
    } else if (left == LEFT_EXIT) {
        finish_exit(m, gp);
    } else if (left != LEFT_NOTHING) {
        // The commit of the one who left runs on the stack of the one who arrives: its unlocks lower
        // the wrong count, and must not preempt here.
        struct g *self = load_relaxed(&m->cur);
        uint32_t count = self ? self->nopreempt : 0;
        if (self)
            self->nopreempt = count + NOPREEMPT_USER / 2;
        finish_rest(m, gp, left);
        if (self)
            self->nopreempt = count;
    }
}

void life_arrive(struct m *m)
{
    finish(m);
    m->left = LEFT_NOTHING;
}

/* ---- floating-point control words ---- */

void rt_keep_fpu_control(void)
{
    struct g *gp = g_self();
    assert(gp);
    gp->marks |= MARK_FPU;
}

__attribute__((noinline)) static void leave_control(struct g *gp)
{
    if (!(gp->marks & MARK_FPU))
        return;
    gp->fpu = fpu_get_control();
    fpu_set_control(fpu_usual);
}

/* gp is about to leave its M. */
static inline void leaving(struct g *gp)
{
    if (unlikely(gp->marks))
        leave_control(gp);
#if defined(RT_ASAN) || defined(RT_TSAN) // nobody leaves others what he has changed without asking
    enum { MXCSR_SETTINGS = 0xffc0 };    // the low bits say what has happened
    struct fpu_control now = fpu_get_control();
    assert((now.mxcsr & MXCSR_SETTINGS) == fpu_usual.mxcsr);
    assert(now.x87 == fpu_usual.x87);
#endif
}

/* ---- who goes on ---- */

/* Show gp to whoever watches, wait for its stack, load what is its own. */
__attribute__((noinline)) static void prepare(struct m *m, struct g *gp)
{
    if (gp->marks & MARK_FPU)
        fpu_set_control(gp->fpu);
    if (load_acquire(&gp->away) != AWAY_NOT)
        stack_bring_back(gp);
    stop_before_run(gp);
    trace_run(m, gp);
}

#if defined(RT_ASAN) || defined(RT_TSAN)
enum { SLOTS_ARE_SWAPPED = false }; // the tools know it by its first one
#else
enum { SLOTS_ARE_SWAPPED = true };
#endif

static inline void begin_life(struct g *gp, struct g *as)
{
    gp->id = as->id;
    gp->urgent = as->urgent;
    gp->goes_round = as->goes_round;
    gp->fn = as->fn;
    gp->arg = as->arg;
    gp->name = as->name;
    gp->created_at = as->created_at;
}

/* A new one's first turn. Nobody knows it yet but by its number, so it may live in another slot than
 * the one it waited in: in the one that was left last, whose stack is still in the cache, while the
 * other goes back untouched. (No free slot's stack is away, whatever `away` still says.) Returns where
 * it lives.  Context: with a P. */
static inline struct g *first_turn(struct p *p, struct g *gp)
{
    struct g *hot = p->free;
    gp->marks = 0;
    if (SLOTS_ARE_SWAPPED && likely(hot) && !is_unusual(~(uint32_t)UNUSUAL_MANY_PS)) {
        begin_life(hot, gp);
        store_relaxed(&gp->status, G_FREE);
        gp->next = hot->next;
        p->free = gp;
        gp = hot;
    }
    // What its last life had to leave behind: nothing.
    assert(gp->nopreempt == 0);
    assert(!gp->pinned_m);
    assert(gp->marks == 0);
    store_relaxed(&gp->parking, NOT_PARKED);
    gp->taken = gp->given = gp->sliced = 0;
    gp->sp = switch_new_stack((void *)stack_top_of(gp));
    return gp;
}

static inline void switch_in(struct m *m, struct p *p, struct g *gp, uint8_t first_pending)
{
    gp->m = m;
    store_relaxed(&gp->status, G_RUNNING);
    store_relaxed(&gp->preempt_pending, first_pending);
    count_up(&p->switches, 1);
    store_relaxed(&m->cur, gp);
}

struct g *life_switch_in(struct m *m, struct g *gp)
{
    if (gp->marks & MARK_NEW)
        gp = first_turn(m->p, gp);
    prepare(m, gp);
    switch_in(m, m->p, gp, is_unusual(UNUSUAL_YIELDS) ? PREEMPT_AT_RANDOM : PREEMPT_NONE);
    return gp;
}

/* Who may go on at once, or NULL: let the scheduler decide. */
static inline __attribute__((always_inline)) struct g *pick_fast(struct m *m, struct p *p,
                                                                 bool solo)
{
    // It stays 0 where pinned ones follow each other from M to M. attention is up when the run ends.
    if (unlikely(p->until_slow == 0 || --p->until_slow == 0 || load_relaxed(&p->attention) ||
                 m->pinned_g))
        return NULL;
    return loop_next_fast(p, solo);
}

/* One that is wired to its thread is the loop's to run. */
static bool is_for_loop(struct m *m, struct g *gp)
{
    if (gp->marks & MARK_PINNED)
        m->picked = gp;
    return gp->marks & MARK_PINNED;
}

/* gp leaves: who goes on, all prepared, or NULL. `usual`: nothing is unusual. */
static inline __attribute__((always_inline)) struct g *
next_turn(struct m *m, struct p *p, struct g *gp, enum left how, bool usual)
{
    struct g *to = pick_fast(m, p, usual);
    if (likely(to) && unlikely(load_acquire(&to->away) | to->marks)) {
        if (likely(to->marks == MARK_NEW))
            to = first_turn(p, to);
        else if (is_for_loop(m, to))
            to = NULL;
        else
            prepare(m, to);
    }
    m->left_g = gp;
    m->left = how;
    if (unlikely(!to)) {
        store_relaxed(&m->cur, NULL);
        return NULL;
    }
    // Done before it is off its stack: nobody else could run it.
    if (usual && how == LEFT_YIELD && likely(runq_put(&p->ring, gp)))
        m->left = LEFT_IN_RING;
    switch_in(m, p, to, PREEMPT_NONE);
    return to;
}

__attribute__((noinline)) static struct g *next_turn_unusual(struct m *m, struct g *gp,
                                                             enum left how)
{
    struct g *to = NULL;
    if (load_relaxed(&sched_unusual) == UNUSUAL_MANY_PS)
        return next_turn(m, m->p, gp, how, false);
    m->left = how;
    m->left_g = gp;
    trace_stop(m, gp, how == LEFT_PARK_UNLOCKING ? LEFT_PARK : how);
    if (!is_unusual(UNUSUAL_WORLD))
        to = pick_fast(m, m->p, is_solo());
    if (to && is_for_loop(m, to))
        to = NULL;
    if (to)
        return life_switch_in(m, to);
    store_relaxed(&m->cur, NULL);
    return NULL;
}

static inline __attribute__((always_inline)) struct g *who_is_next(struct m *m, struct g *gp,
                                                                   enum left how, bool usual)
{
    return likely(usual) ? next_turn(m, sched.ps, gp, how, true) : next_turn_unusual(m, gp, how);
}

/* From here on nothing of before the switch is in a register, or worth one: m may be another. */
static inline __attribute__((always_inline)) void arrived(void)
{
    struct m *m = likely(is_solo()) ? m_solo() : g_here()->m;
    fiber_acquire(g_here());
    finish(m);
    quiet_end();
}

static inline __attribute__((always_inline)) void leave_as(struct g *gp, struct m *m, enum left how,
                                                           bool usual)
{
    fiber_release(gp); // to the end of the run
    quiet_begin();
    leaving(gp);
    struct g *to = who_is_next(m, gp, how, usual);
    fiber_switch(&gp->sp, gp, false, likely(to) ? to->sp : m->g0_sp, to, m);
    arrived();
}

static inline __attribute__((always_inline)) void leave(struct g *gp, struct m *m, enum left how)
{
    leave_as(gp, m, how, !load_relaxed(&sched_unusual));
}

/* Not instrumented, as it never returns: the slot's fiber would keep the frame for its next life. */
FIBER_ENDS _Noreturn static inline void leave_for_good(struct g *gp)
{
    struct m *m = gp->m;
    fiber_release(gp);
    leaving(gp);
    gp->marks = 0;
    struct g *to = who_is_next(m, gp, LEFT_EXIT, !load_relaxed(&sched_unusual));
    fiber_end(&gp->sp, gp, to ? to->sp : m->g0_sp, to, m);
}

FIBER_ENDS void goroutine_main(void)
{
    struct g *gp = g_here();
    fiber_started(gp);
    quiet_begin();
    fiber_acquire(gp);
    finish(gp->m);
    quiet_end();
    gp->fn(gp->arg);
    gp = g_here();
    assert(gp->nopreempt == 0);
    quiet_begin();
    if (unlikely(gp->pinned_m)) {
        gp->pinned_m->pinned_g = NULL;
        gp->pinned_m = NULL;
        gp->pins = 0;
    } else if (unlikely(sched.simulated)) {
        gp->pins = 0;
    }
    leave_for_good(gp);
}

/* ---- starting ---- */

__attribute__((noinline)) static void wake_for_more(struct p *p)
{
    if (!load_relaxed(&sched.no_steals) &&
        runq_len(&p->ring) + runq_len(&p->urgent) + (load_relaxed(&p->next) != NULL) > 1)
        idle_wake_one();
}

/* One G alone is run by our own M at its next turn, sooner than anybody could be woken; and a solo P
 * has nobody to wake. */
static inline void wake_for_what_stays(struct p *p)
{
    if (!is_solo() && (!runq_is_empty(&p->ring) || p->asks_more))
        wake_for_more(p);
}

static uint64_t new_id(struct p *p)
{
    if (p->next_id == p->last_id) {
        p->next_id = atomic_fetch_add(&sched.next_id, ID_BLOCK);
        p->last_id = p->next_id + ID_BLOCK;
    }
    return p->next_id++;
}

struct g *life_new(struct p *p, const char *name, void (*fn)(void *arg), void *arg, bool urgent,
                   void *created_at)
{
    struct g *gp = p->free;
    if (likely(gp)) {
        p->free = gp->next;
        p->free_count--;
    } else {
        gp = stack_take(p);
        if (!gp)
            return NULL;
    }
    gp->id = new_id(p);
    gp->urgent = urgent;
    gp->goes_round = urgent || sched.simulated;
    gp->fn = fn;
    gp->arg = arg;
    gp->name = name;
    gp->created_at = created_at;
    gp->marks = MARK_NEW;
    gp->sp = NULL; // nothing to be looked at
    fiber_new(gp);
    stop_born(gp);
    store_release(&gp->status, G_RUNNABLE);
    count_up(&p->spawned, 1);
    return gp;
}

static inline void queue_new(struct p *p, struct g *gp)
{
    if (sched.simulated) {
        loop_sim_put(gp);
        return;
    }
    if (likely(!gp->urgent) || !loop_put_urgent(p, gp))
        if (unlikely(!runq_put(&p->ring, gp)))
            loop_put_last(p, gp);
    wake_for_what_stays(p);
}

static inline int start(const char *name, void (*fn)(void *arg), void *arg, bool urgent, void *from)
{
    assert(fn);
    struct g *self = g_running();
    assert(self);
    quiet_begin();
    struct p *p = m_running(self)->p;
    struct g *gp = life_new(p, name, fn, arg, urgent, from);
    if (likely(gp)) {
        fiber_release(gp);
        trace_go(self->m, gp);
        queue_new(p, gp);
    }
    quiet_end();
    g_exit_call(self);
    return likely(gp) ? 0 : -EAGAIN;
}

int rt_go(const char *name, void (*fn)(void *arg), void *arg)
{
    return start(name, fn, arg, false, __builtin_return_address(0));
}

int rt_go_urgent(const char *name, void (*fn)(void *arg), void *arg)
{
    return start(name, fn, arg, true, __builtin_return_address(0));
}

/* Who started on one P may have ended on another: who is counted as ended is counted as started, since
 * all the ends are read first. */
uint32_t rt_go_count(void)
{
    uint64_t started = 0, ended = 0;
    for (unsigned i = 0; i < sched.made; i++)
        ended += load_acquire(&sched.ps[i].exited);
    for (unsigned i = 0; i < sched.made; i++)
        started += load_acquire(&sched.ps[i].spawned);
    return (uint32_t)(started - ended);
}

/* ---- parking and readying ---- */

static inline void begin_park(struct g *gp, struct m *m, enum park_reason reason)
{
    (void)m;
    store_relaxed(&gp->reason, (uint8_t)reason);
    store_relaxed(&gp->since_ns, load_relaxed(&sched.coarse_ns));
    store_relaxed(&gp->status, G_PARKED);
}

void sched_park(bool (*commit)(struct g *gp, void *arg), void *arg, enum park_reason reason)
{
    struct g *gp = g_here();
    assert(gp);
    assert(gp->nopreempt < NOPREEMPT_USER); // rt_nopreempt_begin forbids parking
    assert(commit || gp->nopreempt == 0);   // a lock held, and nobody to release it
    uint8_t woken = WOKEN;
    if (!commit && load_relaxed(&gp->parking) == WOKEN &&
        atomic_compare_exchange_strong(&gp->parking, &woken, NOT_PARKED)) {
        fiber_acquire(gp);
        return;
    }
    fiber_release(gp); // to whoever runs commit
    struct m *m = gp->m;
    quiet_begin();
    m->commit = commit;
    m->commit_arg = arg;
    quiet_end();
    begin_park(gp, m, reason);
    leave(gp, m, LEFT_PARK);
    g_running()->nopreempt = 0; // commit's unlocks happened on another stack
}

void g_park_unlocking(struct g *gp, _Atomic uint32_t *lock, enum park_reason reason)
{
    assert(gp->nopreempt == 0); // rt_nopreempt_begin forbids parking
    struct m *m = m_running(gp);
    quiet_begin();
    m->commit_arg = lock;
    quiet_end();
    begin_park(gp, m, reason);
    leave(gp, m, LEFT_PARK_UNLOCKING);
}

/* Queue a runnable G where it will run soonest. */
__attribute__((noinline)) static void queue_rest(struct m *m, struct g *self, struct g *gp)
{
    if (sched.simulated) {
        loop_sim_put(gp);
        return;
    }
    struct p *p = m ? m->p : NULL;
    if (!m) { // a thread of none of ours
        globq_put(gp);
        idle_wake_one();
        return;
    }
    if (!p) { // waiting for events: queued when a P is found
        gp->next = NULL;
        if (m->ready_last)
            m->ready_last->next = gp;
        else
            m->ready_first = gp;
        m->ready_last = gp;
        return;
    }
    if ((gp->urgent || m->events_first) && loop_put_urgent(p, gp)) {
        p->burst += m->events_first; // else ahead of everything but the next turn of the others
    } else if (self) {
        struct g *other = atomic_exchange(&p->next, gp);
        if (other)
            loop_put_last(p, other);
    } else {
        loop_put_last(p, gp); // in the order of events
    }
    wake_for_what_stays(p);
}

/* Queue it, and wake somebody if need be. */
static inline __attribute__((always_inline)) void queue(struct g *self, struct g *gp)
{
    struct m *m = self ? self->m : m_self();
    store_relaxed(&gp->status, G_RUNNABLE);
    if (likely(m))
        trace_ready(m, gp);
    // Readied by a goroutine, and nobody in its way: only the owner puts into `next`.
    if (likely(self && m->p)) {
        struct p *p = m->p;
        if (likely(!gp->goes_round && !load_relaxed(&p->next))) {
            store_release(&p->next, gp);
            wake_for_what_stays(p);
            return;
        }
    }
    queue_rest(m, self, gp);
}

void life_queue(struct g *gp) { queue(g_here(), gp); }

/* The usual ready: nothing is unusual but the number of Ps, a goroutine makes it, `next` is empty, and
 * nobody times it. False: nothing was done. */
static inline __attribute__((always_inline)) bool ready_usual(struct g *self, struct g *gp)
{
    uint32_t unusual = load_relaxed(&sched_unusual);
    if (unlikely((unusual & ~(uint32_t)UNUSUAL_MANY_PS) || !self ||
                 load_acquire(&gp->parking) != PARKED || gp->goes_round))
        return false;
    struct m *m = likely(unusual == 0) ? m_solo() : self->m;
    struct p *p = likely(unusual == 0) ? sched.ps : m->p;
    if (unlikely(load_relaxed(&p->next) || !trace_count_untimed(m)))
        return false;
    // (B) of who is PARKED: nobody else readies it, and who holds its stack is seen by spill.h's (C).
    store_relaxed(&gp->parking, NOT_PARKED);
    store_relaxed(&gp->status, G_RUNNABLE);
    store_release(&p->next, gp);
    if (unusual)
        wake_for_what_stays(p);
    return true;
}

/* A function of its own, so that the usual one needs no frame. */
__attribute__((noinline)) static void ready_rest(struct g *self, struct g *gp)
{
    fiber_release(gp);
    uint8_t was = atomic_exchange(&gp->parking, WOKEN); // (B)
    if (unlikely(was == NOT_PARKED))
        return;
    assert(was == PARKED); // else it was readied twice in one park
    store_relaxed(&gp->parking, NOT_PARKED);
    quiet_begin();
    queue(self, gp);
    quiet_end();
}

void g_ready(struct g *self, struct g *gp)
{
    if (unlikely(!ready_usual(self, gp)))
        ready_rest(self, gp);
}

void sched_ready(struct g *gp)
{
    assert(gp);
    g_ready(g_here(), gp);
}

void rt_yield(void)
{
    bool usual = !load_relaxed(&sched_unusual);
    struct g *gp = likely(usual) ? load_relaxed(&m_solo()->cur) : g_here();
    assert(gp);
    assert(gp->nopreempt == 0);
    leave_as(gp, likely(usual) ? m_solo() : gp->m, LEFT_YIELD, usual);
}

void preempt_injected(void *frame)
{
    audit_frames(frame);
    preempt_switch();
}

/* The injected call, and a pending request that is honoured: on the goroutine's stack. */
void preempt_switch(void)
{
    struct g *gp = g_self();
    assert(gp);
    assert(gp->nopreempt == 0);
    uint8_t kind = load_relaxed(&gp->preempt_pending);
    store_relaxed(&gp->preempt_pending, PREEMPT_NONE);
    if (gp->taken != gp->given)
        gp->sliced = gp->given + 1;
    leave(gp, gp->m, kind == PREEMPT_NEED ? LEFT_NEEDED : LEFT_PREEMPTED);
}

/* ---- threads ---- */

void rt_pin_thread(void)
{
    struct g *gp = g_self();
    assert(gp);
    if (gp->pins++ == 0 && !sched.simulated) {
        quiet_begin();
        gp->pinned_m = gp->m;
        gp->marks |= MARK_PINNED;
        gp->m->pinned_g = gp;
        quiet_end();
    }
}

void rt_unpin_thread(void)
{
    struct g *gp = g_self();
    assert(gp);
    assert(gp->pins > 0);
    if (--gp->pins == 0 && !sched.simulated) {
        quiet_begin();
        gp->m->pinned_g = NULL;
        gp->pinned_m = NULL;
        gp->marks &= (uint8_t)~MARK_PINNED;
        quiet_end();
    }
}

void life_no_p(struct g *gp)
{
    struct m *m = gp->m;
    fiber_release(gp);
    quiet_begin();
    leaving(gp);
    m->left = LEFT_NO_P;
    m->left_g = gp;
    trace_stop(m, gp, LEFT_NO_P);
    store_relaxed(&m->cur, NULL);
    fiber_switch(&gp->sp, gp, false, m->g0_sp, NULL, m);
    fiber_acquire(gp);
    finish(gp->m);
    quiet_end();
}
