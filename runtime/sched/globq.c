/* sched/globq.c: two lists under one lock. */
#include "runtime/sched/globq.h"
#include "runtime/sched/gmp.h"
#include "runtime/sched/loop.h"
#include <assert.h>

enum { GLOBQ_BATCH_MAX = RUNQ_SLOTS / 2 };

struct list {
    struct g *first, *last; // lock
    _Atomic uint32_t count; // lock; read without
};

static struct {
    struct spinlock lock;
    struct list queued, woken;
    bool woken_turn; // lock: whose turn it is
} globq;

static void put(struct list *to, struct g *first, struct g *last, uint32_t count)
{
    last->next = NULL;
    spin_lock(&globq.lock);
    if (to->last)
        to->last->next = first;
    else
        to->first = first;
    to->last = last;
    store_seq(&to->count, load_relaxed(&to->count) + count);
    spin_unlock(&globq.lock);
}

void globq_put_list(struct g *first, struct g *last, uint32_t count)
{
    put(&globq.queued, first, last, count);
}

void globq_put_woken(struct g *first, struct g *last, uint32_t count)
{
    put(&globq.woken, first, last, count);
}

void globq_put(struct g *gp) { globq_put_list(gp, gp, 1); }

static struct g *take_from_locked(struct list *from)
{
    struct g *gp = from->first;
    if (!gp)
        return NULL;
    from->first = gp->next;
    if (!from->first)
        from->last = NULL;
    store_relaxed(&from->count, load_relaxed(&from->count) - 1);
    return gp;
}

static struct g *take_first_locked(void)
{
    globq.woken_turn = !globq.woken_turn;
    struct g *gp = take_from_locked(globq.woken_turn ? &globq.woken : &globq.queued);
    return gp ? gp : take_from_locked(globq.woken_turn ? &globq.queued : &globq.woken);
}

struct g *globq_get(struct p *p, int batch)
{
    if (globq_len() == 0)
        return NULL;
    spin_lock(&globq.lock);
    struct g *gp = take_first_locked();
    if (gp && batch) {
        uint32_t share = globq_len() / sched.procs;
        if (share > GLOBQ_BATCH_MAX)
            share = GLOBQ_BATCH_MAX;
        while (share-- > 0 && globq_len() > 0 && runq_len(&p->ring) < RUNQ_SLOTS)
            runq_put(&p->ring, take_first_locked());
    }
    spin_unlock(&globq.lock);
    if (gp)
        count_up(&p->global_gets, 1);
    return gp;
}

uint32_t globq_get_woken(struct p *p)
{
    uint32_t moved = 0;
    if (globq_woken() == 0)
        return 0;
    spin_lock(&globq.lock);
    while (globq.woken.first && runq_len(&p->urgent) < RUNQ_SLOTS) {
        loop_put_urgent(p, take_from_locked(&globq.woken));
        moved++;
    }
    spin_unlock(&globq.lock);
    count_up(&p->global_gets, moved);
    return moved;
}

uint32_t globq_len(void) { return load_seq(&globq.queued.count) + load_seq(&globq.woken.count); }

uint32_t globq_woken(void) { return load_seq(&globq.woken.count); }

void globq_clear(void)
{
    globq.queued.first = globq.queued.last = NULL;
    globq.woken.first = globq.woken.last = NULL;
    store_relaxed(&globq.queued.count, 0);
    store_relaxed(&globq.woken.count, 0);
}
