/* sched/loop.c: what an M does between goroutines.
 *
 * Where it looks, in order: due timers and, at every 61st turn, the global queue and the poller; its
 * own P (urgent ones at most every other turn, then `next`, `resume`, the ring); the global queue;
 * the poller, without waiting; other Ps. Then it spins a while, and sleeps (idle.c).
 *
 * Whoever is runnable runs within a bounded number of turns of the P it is queued on:
 *   1. Every turn of a P is counted, on the fast path (pick_fast) or here, pinned ones too, so the
 *      global queue gives one at least every 61 turns, and as many as the ring has room for when
 *      that is not half full. It is a FIFO. While it holds some, a busy P looks for new events at
 *      most once a millisecond: else what connections in a closed loop bring would keep the ring
 *      full, and those that overflowed it away.
 *   2. No two urgent turns follow each other while somebody else is runnable, but in a burst, which
 *      holds what one look at timers and poller readied and comes only after somebody ran for
 *      100 us.
 *   3. Of the turns that are not urgent, at most 32 are from `next` before the ring has one; who
 *      waits in `next` then goes to the ring's end.
 *   4. `resume` stands back for what it was stopped for and for whom those ready in their turn: for the
 *      burst, and then at most 64 turns. It keeps what it has used of its slice, 100 us more each time it is
 *      stopped by need. So it is there at most 100 times before it goes to the global queue, and all
 *      of the ring has its turn; and it runs 100 us for every 64 turns at least.
 *   5. The ring is a FIFO; who overflows it goes to the global queue.
 *   6. A turn that does not end although its slice has (a library's call, no preemption allowed) keeps
 *      nobody: sysmon moves what is queued behind it to the global queue. */
#include "runtime/sched/loop.h"
#include "rt/alloc.h"
#include "rt/sim.h"
#include "runtime/inspect/trace.h"
#include "runtime/mem/current.h"
#include "runtime/sched/fiber.h"
#include "runtime/sched/globq.h"
#include "runtime/sched/idle.h"
#include "runtime/sched/life.h"
#include "runtime/sched/procs.h"
#include "runtime/sched/stop.h"
#include <assert.h>

enum {
    POLL_EVERY_NS = 100 * 1000,   // by a P that never runs out of work
    POLL_BEHIND_NS = 1000 * 1000, // the same, while the global queue holds some
    LONG_QUEUE = 64,
    LONG_IDLE_NS = 10 * 1000 * 1000,
};

static _Thread_local struct m *this_m __attribute__((tls_model("initial-exec")));

/* Never inlined, so that no caller keeps the thread's address across a switch. */
__attribute__((noinline)) struct m *m_self(void) { return this_m; }
__attribute__((noinline)) void m_set_self(struct m *m)
{
    this_m = m;
    if (!m)
        mem_use_cache(NULL);
}

int64_t sched_now_ns(void)
{
    return sched.world ? sched.world->now_ns(sched.world->state) : clock_real_now_ns();
}

static struct g *take_slot(struct g *_Atomic *slot)
{
    return load_relaxed(slot) ? atomic_exchange(slot, NULL) : NULL;
}

static struct g *next_urgent(struct p *p)
{
    struct g *gp = runq_len(&p->urgent) > 0 ? runq_get(&p->urgent) : NULL;
    if (gp) {
        p->urgent_turn = true;
        if (p->burst > 0)
            p->burst--;
        loop_begin_slice(p, 0);
    } else {
        p->burst = 0; // all have run, here or elsewhere
    }
    return gp;
}

static struct g *next_resume(struct p *p)
{
    struct g *gp = take_slot(&p->resume);
    if (gp) {
        p->urgent_turn = false;
        loop_begin_slice(p, p->resume_used_ns); // it has the rest of it
    }
    return gp;
}

static struct g *next_local(struct p *p)
{
    struct g *gp;
    if (load_relaxed(&p->resume) && p->burst == 0) {
        if (p->resume_waits == 0 && (gp = next_resume(p)))
            return gp;
        p->resume_waits -= p->resume_waits > 0; // one turn, of whatever kind
    }
    if ((!p->urgent_turn || p->burst > 0) && (gp = next_urgent(p)))
        return gp;
    p->urgent_turn = false;
    // A pair that readies each other through `next` shares one slice, and stands back now and then.
    if ((gp = take_slot(&p->next))) {
        if (p->next_streak < P_NEXT_STREAK) {
            p->next_streak++;
            return gp;
        }
        loop_put_last(p, gp);
    }
    bool others = runq_len(&p->ring) > 0 || runq_len(&p->urgent) > 0;
    if (!others && (gp = next_resume(p)))
        return gp;
    p->next_streak = 0;
    if ((gp = runq_get(&p->ring))) {
        loop_begin_slice(p, 0);
        return gp;
    }
    return next_urgent(p);
}

struct g *loop_next_local(struct p *p)
{
    struct g *gp = next_local(p);
    p->asks_more =
        p->urgent_turn || p->burst || !runq_is_empty(&p->urgent) || load_relaxed(&p->resume);
    return gp;
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

static uint32_t rescue_ring(struct runq *ring)
{
    struct g *first, *last;
    uint32_t all = 0, n;
    while ((n = runq_take_half(ring, &first, &last)) > 0) {
        globq_put_list(first, last, n);
        all += n;
    }
    return all;
}

static uint32_t rescue_slot(struct g *_Atomic *slot)
{
    struct g *gp = take_slot(slot);
    if (gp)
        globq_put(gp);
    return gp ? 1 : 0;
}

uint32_t loop_rescue(struct p *p)
{
    uint32_t n = rescue_ring(&p->urgent);
    n += rescue_slot(&p->next);
    n += rescue_slot(&p->resume);
    return n + rescue_ring(&p->ring);
}

uint32_t loop_random(struct m *m)
{
    quiet_begin(); // also by goroutines: who of them drew last is nothing to each other
    m->random = m->random * 1664525 + 1013904223;
    uint32_t random = m->random >> 8;
    quiet_end();
    return random;
}

static void count_steal(struct p *p, enum steal_reason reason, uint32_t moved)
{
    count_up(&p->steals, 1);
    count_up(&p->steals_by[reason], 1);
    count_up(&p->stolen, moved);
}

static enum steal_reason idle_reason(const struct p *p)
{
    int64_t since = p->idle_since_ns;
    return since && load_relaxed(&sched.coarse_ns) - since > LONG_IDLE_NS ? STEAL_IDLE
                                                                          : STEAL_EMPTY;
}

/* Our queue is short and some other one is long: half of that comes to ours, although we have work. */
static void steal_from_long(struct m *m)
{
    struct p *p = m->p;
    uint32_t moved = 0;
    if (is_solo() || load_relaxed(&sched.no_steals) || runq_len(&p->ring) > LONG_QUEUE / 4)
        return;
    struct p *victim = &sched.ps[loop_random(m) % sched.procs];
    if (victim == p || runq_len(&victim->ring) < LONG_QUEUE)
        return;
    struct g *gp = runq_steal_half(&victim->ring, &p->ring, &moved);
    if (gp) {
        loop_put_last(p, gp);
        count_steal(p, STEAL_LONG, moved);
        trace_steal(m, victim->index, moved);
    }
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
        if (next &&
            (next == load_relaxed(&victim->old_next) ||
             load_relaxed(&victim->status) != P_RUNNING) &&
            atomic_compare_exchange_strong(&victim->next, &next, NULL))
            gp = next;
        else
            gp = take_slot(&victim->resume);
        moved = gp ? 1 : 0;
    }
    if (gp) {
        count_steal(p, idle_reason(p), moved);
        trace_steal(m_self(), victim->index, moved);
    }
    return gp;
}

bool loop_steal(struct m *m)
{
    struct p *p = m->p;
    if (load_relaxed(&sched.no_steals))
        return false;
    unsigned first = loop_random(m) % sched.procs;
    for (unsigned i = 0; i < sched.procs; i++) {
        struct p *victim = &sched.ps[(first + i) % sched.procs];
        struct g *gp = victim == p ? NULL : steal_from(victim, p);
        if (gp) {
            assert(!m->picked);
            loop_begin_slice(p, 0);
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
    for (unsigned i = 0; i < sched.made; i++)
        if (load_relaxed(&sched.ps[i].timers.next_ns) <= now)
            ran += timers_run(&sched.ps[i].timers, now);
    return ran;
}

/* Somebody was stopped for what is due or ready: it goes ahead of everybody, in a burst. */
static void look_at_events(struct m *m, int64_t now)
{
    struct p *p = m->p;
    store_relaxed(&p->attention, 0);
    m->events_first = true;
    run_timers(p, now);
    idle_poll(m);
    p->burst += globq_get_woken(p);
    m->events_first = false;
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
        bool slow_turn = p->until_slow == 0 || --p->until_slow == 0;
        int64_t now = clock_real_now_ns();
        store_relaxed(&sched.coarse_ns, now);
        if (load_relaxed(&p->attention))
            look_at_events(m, now);
        else
            run_timers(p, now);
        if (slow_turn) {
            p->until_slow = P_SLOW_TURN;
            int64_t polled = now - load_relaxed(&sched.last_poll_ns);
            if (polled > (globq_len() > 0 ? POLL_BEHIND_NS : POLL_EVERY_NS))
                idle_poll(m);
            steal_from_long(m);
            if ((gp = globq_get(p, runq_len(&p->ring) < RUNQ_SLOTS / 2))) {
                loop_begin_slice(p, 0);
                return gp;
            }
        }
        if ((gp = loop_next_local(p)))
            return gp;
        if ((gp = globq_get(p, 1))) {
            loop_begin_slice(p, 0);
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

void rt_set_steal(bool on)
{
    store_relaxed(&sched.no_steals, !on);
    if (on)
        idle_wake_one();
}

bool rt_get_steal(void) { return !load_relaxed(&sched.no_steals); }

/* ---- the loop ---- */

static void run(struct m *m, struct g *gp)
{
    if (unlikely(load_relaxed(&m->p->stop))) {
        stop_here(m);
        if (!m->p) {
            procs_give_up(m, gp);
            return;
        }
    }
    m->p->idle_since_ns = 0;
    gp = life_switch_in(m, gp); // m->left is LEFT_NOTHING
    fiber_switch(&m->g0_sp, NULL, false, gp->sp, gp, m);
    life_arrive(m);
}

/* gp is wired to another thread: our P goes there, we wait for another one. */
static bool hand_to_pinned(struct m *m, struct g *gp)
{
    struct p *p = m->p;
    idle_found(m);
    idle_leave_poller(p);
    mem_use_cache(NULL);
    m->p = NULL;
    idle_give(gp->pinned_m, p, false);
    return idle_sleep(m);
}

/* Our goroutine left, and nothing else may run here: the P goes on without us. */
static bool await_pinned(struct m *m)
{
    struct p *p = m->p;
    if (p) {
        idle_leave_poller(p);
        mem_use_cache(NULL);
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
