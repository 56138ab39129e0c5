/* sched/loop.c: what an M does between goroutines.
 *
 * Where it looks, in order: due timers and, at every 61st turn, the global queue and the poller; its
 * own P (urgent ones at most every other turn, then `next`, `resume`, the ring); the global queue;
 * the poller, without waiting; other Ps. Then it spins a while, and sleeps (idle.c). */
#include "runtime/sched/loop.h"
#include "runtime/sched/fiber.h"
#include "runtime/sched/globq.h"
#include "runtime/sched/idle.h"
#include "runtime/sched/life.h"
#include "rt/alloc.h"
#include "rt/sim.h"
#include <assert.h>

enum { POLL_EVERY_NS = 100 * 1000 }; // by a P that never runs out of work

static _Thread_local struct m *this_m __attribute__((tls_model("initial-exec")));

/* Never inlined, so that no caller keeps the thread's address across a switch. */
__attribute__((noinline)) struct m *m_self(void) { return this_m; }
__attribute__((noinline)) void m_set_self(struct m *m) { this_m = m; }

int64_t sched_now_ns(void)
{
    return sched.world ? sched.world->now_ns(sched.world->state) : clock_real_now_ns();
}

static void begin_slice(struct p *p)
{
    store_relaxed(&p->slice, load_relaxed(&p->slice) + 1);
    p->next_streak = 0;
}

static struct g *take_slot(struct g *_Atomic *slot)
{
    return load_relaxed(slot) ? atomic_exchange(slot, NULL) : NULL;
}

static struct g *next_urgent(struct p *p)
{
    if (runq_len(&p->urgent) == 0)
        return NULL;
    struct g *gp = runq_get(&p->urgent);
    if (gp) {
        p->urgent_turn = true;
        begin_slice(p);
    }
    return gp;
}

struct g *loop_next_local(struct p *p)
{
    struct g *gp;
    if (!p->urgent_turn && (gp = next_urgent(p)))
        return gp;
    p->urgent_turn = false;
    // A pair that readies each other through `next` shares one slice, and stands back now and then.
    if (p->next_streak < P_NEXT_STREAK) {
        if ((gp = take_slot(&p->next))) {
            p->next_streak++;
            return gp;
        }
    } else {
        if ((gp = take_slot(&p->next)))
            loop_put_last(p, gp);
        p->next_streak = 0;
    }
    if ((gp = take_slot(&p->resume)))
        return gp; // with the rest of its slice
    if ((gp = runq_get(&p->ring))) {
        begin_slice(p);
        return gp;
    }
    return next_urgent(p);
}

void loop_put_last(struct p *p, struct g *gp)
{
    while (!runq_put(&p->ring, gp)) {
        struct g *first, *last;
        uint32_t n = runq_take_half(&p->ring, &first, &last);
        if (n == 0)
            continue; // a thief made room
        last->next = gp;
        globq_put_list(first, gp, n + 1);
        idle_wake_one();
        return;
    }
}

static uint32_t next_random(struct m *m)
{
    m->random = m->random * 1664525 + 1013904223;
    return m->random >> 8;
}

/* A G from `victim`'s P for us to run; others of its ring go to our ring. */
static struct g *steal_from(struct p *victim, struct p *p)
{
    uint32_t moved = 0;
    struct g *gp = runq_get(&victim->urgent);
    if (gp) {
        moved = 1;
    } else if (!(gp = runq_steal_half(&victim->ring, &p->ring, &moved))) {
        struct g *next = load_relaxed(&victim->next);
        if (next && (next == load_relaxed(&victim->old_next) ||
                     load_relaxed(&victim->status) != P_RUNNING) &&
            atomic_compare_exchange_strong(&victim->next, &next, NULL))
            gp = next;
        else
            gp = take_slot(&victim->resume);
        moved = gp ? 1 : 0;
    }
    if (gp) {
        count_up(&p->steals, 1);
        count_up(&p->stolen, moved);
    }
    return gp;
}

bool loop_steal(struct m *m)
{
    struct p *p = m->p;
    unsigned first = next_random(m) % sched.procs;
    for (unsigned i = 0; i < sched.procs; i++) {
        struct p *victim = &sched.ps[(first + i) % sched.procs];
        struct g *gp = victim == p ? NULL : steal_from(victim, p);
        if (gp) {
            assert(!m->picked);
            begin_slice(p);
            m->picked = gp;
            return true;
        }
    }
    return false;
}

/* Timers of our own P, and of others that nobody runs in time. */
static int run_timers(struct p *p, int64_t now)
{
    int ran = timers_run(&p->timers, now);
    for (unsigned i = 0; i < sched.procs; i++)
        if (load_relaxed(&sched.ps[i].timers.next_ns) <= now)
            ran += timers_run(&sched.ps[i].timers, now);
    return ran;
}

static struct g *find(struct m *m)
{
    for (;;) {
        if (load_relaxed(&sched.stopping))
            return NULL;
        struct p *p = m->p;
        struct g *gp = m->picked;
        if (gp) {
            m->picked = NULL;
            return gp;
        }
        bool slow_turn = p->until_slow == 0;
        bool attention = load_relaxed(&p->attention);
        if (slow_turn)
            p->until_slow = P_SLOW_TURN;
        int64_t now = clock_real_now_ns();
        store_relaxed(&sched.coarse_ns, now);
        if (attention)
            store_relaxed(&p->attention, 0);
        run_timers(p, now);
        if (attention || (slow_turn && now - load_relaxed(&sched.last_poll_ns) > POLL_EVERY_NS))
            idle_poll(m);
        if (slow_turn && (gp = globq_get(p, 0))) {
            begin_slice(p);
            return gp;
        }
        if ((gp = loop_next_local(p)))
            return gp;
        if ((gp = globq_get(p, 1))) {
            begin_slice(p);
            return gp;
        }
        if (idle_poll(m) > 0 || loop_steal(m))
            continue;
        if (!idle_find_or_sleep(m))
            return NULL;
    }
}

/* ---- a simulated world: one M, one P, the world chooses ---- */

static struct {
    struct g **runnable; // in order of arrival
    uint32_t count, cap;
} sim;

void loop_sim_put(struct g *gp)
{
    if (sim.count == sim.cap) {
        sim.cap = sim.cap ? sim.cap * 2 : 256;
        sim.runnable = rt_realloc(sim.runnable, sim.cap * sizeof(struct g *));
        if (!sim.runnable)
            rt_fatal("out of memory: %u runnable goroutines", sim.count);
    }
    sim.runnable[sim.count++] = gp;
}

void loop_sim_reset(void)
{
    rt_free(sim.runnable);
    sim.runnable = NULL;
    sim.count = sim.cap = 0;
}

static struct g *sim_find(struct m *m)
{
    const struct rt_world *world = sched.world;
    for (;;) {
        if (load_relaxed(&sched.stopping))
            return NULL;
        int64_t now = world->now_ns(world->state);
        store_relaxed(&sched.coarse_ns, now);
        timers_run(&m->p->timers, now);
        if (sim.count > 0) {
            uint32_t at = world->pick(world->state, sim.count);
            assert(at < sim.count);
            struct g *gp = sim.runnable[at];
            sim.count--;
            for (uint32_t i = at; i < sim.count; i++)
                sim.runnable[i] = sim.runnable[i + 1];
            return gp;
        }
        if (!world->idle(world->state, load_relaxed(&m->p->timers.next_ns)))
            rt_fatal("deadlock: in the simulated world no goroutine can ever run again");
    }
}

/* ---- the loop ---- */

static void run(struct m *m, struct g *gp)
{
    life_switch_in(m, gp);
    fiber_switch(&m->g0_sp, NULL, false, gp->sp, gp, m);
    life_arrive(m);
}

/* gp is wired to another thread: our P goes there, we wait for another one. */
static bool hand_to_pinned(struct m *m, struct g *gp)
{
    struct p *p = m->p;
    idle_found(m);
    m->p = NULL;
    idle_give(gp->pinned_m, p, false);
    return idle_sleep(m);
}

/* Our goroutine left, and nothing else may run here: the P goes on without us. */
static bool await_pinned(struct m *m)
{
    struct p *p = m->p;
    if (p) {
        m->p = NULL;
        struct g *picked = m->picked;
        if (picked) {
            m->picked = NULL;
            globq_put(picked);
        }
        idle_hand_off(p);
    }
    return idle_await_p(m);
}

void loop_run(struct m *m)
{
    for (;;) {
        if (m->pinned_g) {
            if (!await_pinned(m))
                return;
            run(m, m->pinned_g);
            continue;
        }
        if (!m->p && !idle_sleep(m))
            return;
        struct g *gp = sched.simulated ? sim_find(m) : find(m);
        if (!gp)
            return;
        if (gp->pinned_m && gp->pinned_m != m) {
            if (!hand_to_pinned(m, gp))
                return;
            continue;
        }
        idle_found(m);
        run(m, gp);
    }
}
