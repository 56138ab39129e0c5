/* sched/stop.c: asking each P, holding all of them, and showing each goroutine's stack.
 *
 * What is asked of a P stands in p->stop: (A) set by the one who asks, release, and `attention` after
 * it; (B) read by the M that has the P, between two goroutines. Whoever has the P alone (its M, or the
 * asker who took it off the idle list or out of a blocking call) answers: it clears the word, or says
 * that the P is held. The asker looks again and again, since a P may be on its way between two owners
 * when he looks, and a word set while `attention` is being cleared may be overlooked once. */
#include "runtime/sched/stop.h"
#include "rt/sync.h"
#include "runtime/panic/fatal.h"
#include "runtime/sched/idle.h"
#include "runtime/sched/preempt.h"
#include "runtime/sched/stack.h"
#include <assert.h>
#include <sys/mman.h>

enum { ASK_NOTHING, ASK_CALL, ASK_HOLD, HELD_BY_M, HELD_BY_US };

enum {
    LOOK_AGAIN_NS = 50 * 1000, // at Ps that have not answered
    LOOK_AGAIN_MAX_NS = 1000 * 1000,
    POLITE_ROUNDS = 3, // by need; then as an overdue one, also inside a mutex
};

/* A slot's word: the number of the look, and whether somebody is at it or it was shown. */
enum { SHOWN_BUSY = 1, SHOWN_DONE = 2, SHOWN_STEP = 4 };

static struct {
    struct rt_mutex user;              // one at a time asks
    void (*fn)(unsigned p, void *arg); // user; read by Ps that are asked
    void *arg;
    _Atomic uint32_t missing; // Ps that have not answered
    struct rt_note answered;  // set by the last one
    bool world;               // user: everybody is held
    _Atomic int64_t asked_ns;

    stop_look_fn *_Atomic look, *_Atomic born;
    _Atomic uint32_t *shown; // a word for each slot; made by the first look of a run
    size_t shown_bytes;
    _Atomic uint32_t look_number;
    _Atomic uint64_t looks;
    _Atomic int64_t longest_look_ns;

    void (*at_end)(void);
} stop;

/* ---- each P ---- */

static void answer(struct p *p)
{
    stop.fn(p->index, stop.arg);
    store_release(&p->stop, ASK_NOTHING);
    if (atomic_fetch_sub(&stop.missing, 1) == 1)
        rt_note_set(&stop.answered);
}

/* False: nobody asks any more. */
static bool hold(struct p *p, uint32_t by)
{
    uint32_t asked = ASK_HOLD;
    if (!atomic_compare_exchange_strong(&p->stop, &asked, by))
        return false;
    atomic_fetch_sub(&stop.missing, 1);
    futex_wake(&stop.missing, 1);
    return true;
}

void stop_here(struct m *m)
{
    struct p *p = m->p;
    uint32_t asked = load_acquire(&p->stop); // (B)
    if (asked == ASK_CALL) {
        answer(p);
    } else if (asked == ASK_HOLD && hold(p, HELD_BY_M)) {
        while (load_acquire(&p->stop) == HELD_BY_M && m->p == p) // procs.c may have taken it
            futex_wait(&p->stop, HELD_BY_M, RT_FOREVER);
    }
}

/* Take p off the idle list, if it is there. */
static bool take_idle(struct p *p)
{
    bool found = false;
    spin_lock(&sched.idle_lock);
    for (struct p **at = &sched.idle_ps; *at && !found; at = &(*at)->idle_next)
        if (*at == p) {
            *at = p->idle_next;
            atomic_fetch_sub(&sched.idle_p_count, 1);
            found = true;
            break;
        }
    spin_unlock(&sched.idle_lock);
    return found;
}

/* Nobody runs on p and now it is ours, or its goroutine was asked to make room. */
static bool reach(struct p *p, unsigned round)
{
    if (take_idle(p) || idle_retake(p))
        return true;
    store_release(&p->attention, 1); // (A)
    preempt_request(p, round < POLITE_ROUNDS ? PREEMPT_NEED : PREEMPT_OVERDUE);
    return false;
}

static int64_t patience_ns(unsigned round)
{
    int64_t ns = (int64_t)LOOK_AGAIN_NS << (round < 8 ? round / 2 : 4);
    return ns < LOOK_AGAIN_MAX_NS ? ns : LOOK_AGAIN_MAX_NS;
}

static void ask_all(uint32_t what)
{
    store_relaxed(&stop.asked_ns, clock_real_now_ns());
    atomic_store(&stop.missing, sched.procs);
    for (unsigned i = 0; i < sched.procs; i++)
        store_release(&sched.ps[i].stop, what); // (A)
}

bool stop_each(void (*fn)(unsigned p, void *arg), void *arg)
{
    assert(fn);
    rt_mutex_lock(&stop.user);
    stop.fn = fn;
    stop.arg = arg;
    atomic_store(&stop.answered.state, 0);
    ask_all(ASK_CALL);
    bool all = false;
    for (unsigned round = 0; !all && !load_seq(&sched.stopping); round++) {
        for (unsigned i = 0; i < sched.procs; i++) {
            struct p *p = &sched.ps[i];
            if (load_acquire(&p->stop) != ASK_CALL)
                continue;
            g_nopreempt_begin(); // not with p in our hands
            if (p == g_self()->m->p) {
                answer(p);
            } else if (reach(p, round)) {
                if (load_acquire(&p->stop) == ASK_CALL) // not by its M, just before
                    answer(p);
                idle_hand_off(p);
            }
            g_nopreempt_end();
        }
        all = rt_note_wait(&stop.answered, rt_now_ns() + patience_ns(round)) == 0;
    }
    for (unsigned i = sched.procs; all && i < RT_PROCS_MAX; i++)
        fn(i, arg);
    rt_mutex_unlock(&stop.user);
    return all;
}

/* ---- the world ---- */

bool stop_world(void)
{
    rt_mutex_lock(&stop.user);
    g_nopreempt_begin();
    struct p *ours = g_self()->m->p;
    ask_all(ASK_HOLD);
    hold(ours, HELD_BY_M);
    unsigned round = 0;
    for (uint32_t missing; (missing = load_seq(&stop.missing)) > 0; round++) {
        if (load_seq(&sched.stopping))
            break;
        for (unsigned i = 0; i < sched.procs; i++) {
            struct p *p = &sched.ps[i];
            if (load_acquire(&p->stop) == ASK_HOLD && reach(p, round))
                hold(p, HELD_BY_US);
        }
        missing = load_seq(&stop.missing);
        if (missing > 0 && !sched.simulated)
            futex_wait(&stop.missing, missing, clock_real_now_ns() + patience_ns(round));
    }
    stop.world = true;
    return load_seq(&stop.missing) == 0;
}

void start_world(void)
{
    assert(stop.world);
    stop.world = false;
    struct p *ours = g_self()->m->p;
    for (unsigned i = 0; i < sched.procs; i++) {
        struct p *p = &sched.ps[i];
        uint32_t was = atomic_exchange(&p->stop, ASK_NOTHING);
        if (p == ours)
            continue;
        if (was == HELD_BY_US)
            idle_hand_off(p);
        else if (was == HELD_BY_M)
            futex_wake(&p->stop, INT32_MAX); // one may sleep there that has lost p
    }
    g_nopreempt_end();
    rt_mutex_unlock(&stop.user);
}

bool stop_is_slept_on(const struct p *p) { return load_acquire(&p->stop) == HELD_BY_M; }

void stop_let_go(struct p *p)
{
    if (atomic_exchange(&p->stop, ASK_NOTHING) == HELD_BY_M)
        futex_wake(&p->stop, INT32_MAX);
}

void stop_own(struct p *p) { store_release(&p->stop, HELD_BY_US); } // who slept on it wakes

int64_t stop_asked_ns(void) { return load_relaxed(&stop.asked_ns); }

/* ---- looking ---- */

static void make_table(void)
{
    if (stop.shown)
        return;
    stop.shown_bytes = stack_arena_bytes / STACK_SLOT * sizeof(*stop.shown);
    void *table = mmap(NULL, stop.shown_bytes, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (table == MAP_FAILED)
        rt_fatal("out of memory: cannot reserve %zu bytes for looking at stacks", stop.shown_bytes);
    stop.shown = table;
}

/* gp does not run, and cannot meanwhile. Somebody may be at its stack, putting it away or looking at it
 * (spill.h), for some microseconds: it is not left out for that. */
static void look_at(struct g *gp, stop_look_fn *look)
{
    struct stack_view view;
    look(&gp->arg, &gp->arg + 1);
    while (!stack_hold_stopped(gp, &view)) {
        uintptr_t sp = (uintptr_t)gp->sp;
        if (sp < stack_slot_of(gp) + STACK_GUARD || sp >= stack_top_of(gp))
            return; // it is being made, or on its way out
        cpu_relax();
    }
    look(view.bytes, view.bytes + (view.top - view.sp)); // in its slot, or a copy (spill.h)
    stack_unhold(gp);
}

void stop_show(struct g *gp)
{
    uint32_t number = load_acquire(&stop.look_number);
    _Atomic uint32_t *word = &stop.shown[gp - stack_table];
    uint32_t seen = load_acquire(word);
    do {
        while (seen == (number | SHOWN_BUSY)) {
            cpu_relax();
            seen = load_acquire(word);
        }
        if (seen == (number | SHOWN_DONE))
            return;
    } while (!atomic_compare_exchange_weak(word, &seen, number | SHOWN_BUSY));
    int64_t began = clock_real_now_ns();
    look_at(gp, load_acquire(&stop.look));
    store_release(word, number | SHOWN_DONE);
    int64_t took = clock_real_now_ns() - began;
    atomic_fetch_add_explicit(&stop.looks, 1, memory_order_relaxed);
    int64_t longest = load_relaxed(&stop.longest_look_ns);
    while (took > longest && !atomic_compare_exchange_weak(&stop.longest_look_ns, &longest, took))
        ;
}

static void nothing(unsigned p, void *arg)
{
    (void)p;
    (void)arg;
}

bool stop_look(stop_look_fn *look)
{
    struct g *self = g_self();
    make_table();
    store_release(&stop.look, look);
    uint32_t number = load_relaxed(&stop.look_number) + SHOWN_STEP;
    store_release(&stop.shown[self - stack_table], number | SHOWN_DONE);
    store_seq(&stop.look_number, number);
    set_unusual(UNUSUAL_LOOKING, true);
    bool all = stop_each(nothing, NULL);
    uint32_t used = stack_used_slots();
    for (uint32_t slot = 0; all && slot < used; slot++) {
        struct g *gp = &stack_table[slot];
        if (load_acquire(&gp->status) != G_FREE)
            stop_show(gp);
        g_check_preempt();
    }
    set_unusual(UNUSUAL_LOOKING, false);
    return all;
}

void stop_look_stopped(stop_look_fn *look)
{
    assert(stop.world);
    struct g *self = g_self();
    uint32_t used = stack_used_slots();
    for (uint32_t slot = 0; slot < used; slot++) {
        struct g *gp = &stack_table[slot];
        if (gp == self || load_acquire(&gp->status) == G_FREE)
            continue;
        look_at(gp, look);
        atomic_fetch_add_explicit(&stop.looks, 1, memory_order_relaxed);
    }
}

void stop_watch_births(stop_look_fn *born)
{
    store_release(&stop.born, born);
    set_unusual(UNUSUAL_BIRTHS, born != NULL);
}

void stop_show_birth(struct g *gp)
{
    stop_look_fn *born = load_acquire(&stop.born);
    if (born)
        born(&gp->arg, &gp->arg + 1);
}

uint64_t stop_looks(void) { return load_relaxed(&stop.looks); }

int64_t stop_longest_look_ns(void) { return load_relaxed(&stop.longest_look_ns); }

/* ---- the end ---- */

bool stop_at_end(void (*fn)(void))
{
    if (stop.at_end)
        return false;
    stop.at_end = fn;
    return true;
}

void stop_run_ended(void)
{
    void (*fn)(void) = stop.at_end;
    stop.at_end = NULL;
    if (fn)
        fn();
    if (stop.shown)
        munmap(stop.shown, stop.shown_bytes);
    stop.shown = NULL;
    stop.world = false;
    set_unusual(UNUSUAL_LOOKING | UNUSUAL_BIRTHS, false);
    store_relaxed(&stop.looks, 0);
    store_relaxed(&stop.longest_look_ns, 0);
    store_relaxed(&stop.look, NULL);
    store_relaxed(&stop.born, NULL);
    stop.user = (struct rt_mutex){.word = 0};
}
