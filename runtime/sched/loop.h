/* sched/loop.h: what an M does between goroutines: find one, run it. */
#pragma once
#include "runtime/sched/gmp.h"
#include "runtime/sched/usual.h"

/* The scheduler of this thread; returns when the runtime stops.  Context: scheduler's stack. */
void loop_run(struct m *m);
/* The next G of our own P, without clock, lock or system call; NULL: look elsewhere. */
struct g *loop_next_local(struct p *p);
/* A new slice of p begins, of which `used_ns` are gone already. */
static inline void loop_begin_slice(struct p *p, int64_t used_ns)
{
    if (load_relaxed(&p->slice_used_ns) != used_ns)
        store_relaxed(&p->slice_used_ns, used_ns);
    store_relaxed(&p->slice, load_relaxed(&p->slice) + 1);
}
/* The same G as loop_next_local gives, with the two commonest cases at hand. */
static inline __attribute__((always_inline)) struct g *loop_next_fast(struct p *p, bool solo)
{
    if (unlikely(p->asks_more))
        return loop_next_local(p);
    struct g *gp = load_relaxed(&p->next);
    if (gp && unlikely(p->next_streak >= P_NEXT_STREAK))
        return loop_next_local(p);
    if (gp && solo)
        store_relaxed(&p->next, NULL);
    else if (gp)
        gp = atomic_exchange(&p->next, NULL); // or a thief's by now
    if (gp) {
        p->next_streak++;
        return gp;
    }
    p->next_streak = 0;
    gp = solo ? runq_get_solo(&p->ring) : runq_get(&p->ring);
    if (likely(gp))
        loop_begin_slice(p, 0);
    return gp;
}
/* Put gp among those that run first. False when there are too many.  Context: owner P. */
static inline bool loop_put_urgent(struct p *p, struct g *gp)
{
    p->asks_more = true;
    return runq_put(&p->urgent, gp);
}
/* Take work from another P; what is to run now becomes m->picked. */
bool loop_steal(struct m *m);
/* A number of the M's own sequence. */
uint32_t loop_random(struct m *m);
/* Move all that is queued on p to the global queue; how many. For a P whose turn does not end.
 * Context: any thread; never parks. */
uint32_t loop_rescue(struct p *p);
/* Put `gp` at the end of our ring, or half the ring and it into the global queue. */
void loop_put_last(struct p *p, struct g *gp);
/* In a simulated world: the runnable Gs in order of arrival. */
void loop_sim_put(struct g *gp);
void loop_sim_reset(void);
