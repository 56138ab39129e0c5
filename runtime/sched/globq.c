/* sched/globq.c: a locked list. */
#include "runtime/sched/globq.h"
#include "runtime/sched/gmp.h"
#include <assert.h>

enum { GLOBQ_BATCH_MAX = RUNQ_SLOTS / 2 };

static struct {
    struct spinlock lock;
    _Atomic uint32_t count; // lock; read without
    struct g *first, *last; // lock
} globq;

void globq_put_list(struct g *first, struct g *last, uint32_t count)
{
    last->next = NULL;
    spin_lock(&globq.lock);
    if (globq.last)
        globq.last->next = first;
    else
        globq.first = first;
    globq.last = last;
    store_seq(&globq.count, load_relaxed(&globq.count) + count);
    spin_unlock(&globq.lock);
}

void globq_put(struct g *gp) { globq_put_list(gp, gp, 1); }

static struct g *take_first_locked(void)
{
    struct g *gp = globq.first;
    globq.first = gp->next;
    if (!globq.first)
        globq.last = NULL;
    store_relaxed(&globq.count, load_relaxed(&globq.count) - 1);
    return gp;
}

struct g *globq_get(struct p *p, int batch)
{
    if (globq_len() == 0)
        return NULL;
    spin_lock(&globq.lock);
    struct g *gp = globq.first ? take_first_locked() : NULL;
    if (gp && batch) {
        uint32_t share = load_relaxed(&globq.count) / sched.procs;
        if (share > GLOBQ_BATCH_MAX)
            share = GLOBQ_BATCH_MAX;
        while (share-- > 0 && globq.first && runq_len(&p->ring) < RUNQ_SLOTS)
            runq_put(&p->ring, take_first_locked());
    }
    spin_unlock(&globq.lock);
    if (gp)
        count_up(&p->global_gets, 1);
    return gp;
}

uint32_t globq_len(void) { return load_seq(&globq.count); }

void globq_clear(void)
{
    globq.first = globq.last = NULL;
    store_relaxed(&globq.count, 0);
}
