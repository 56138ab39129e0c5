/* kv/store/doorbell.c: see doorbell.h. */
#include "kv/store/doorbell.h"

void doorbell_listen(struct doorbell *b)
{
    atomic_store(&b->listening, 1); // (C)
}

void doorbell_wait(struct doorbell *b, int64_t deadline_ns)
{
    rt_mutex_lock(&b->lock);
    while (!b->rung)
        if (rt_cond_wait(&b->rung_cond, &b->lock, deadline_ns))
            break;
    b->rung = false;
    atomic_store(&b->listening, 0);
    rt_mutex_unlock(&b->lock);
}

void doorbell_ring(struct doorbell *b)
{
    if (!atomic_load(&b->listening)) // (D)
        return;
    rt_mutex_lock(&b->lock);
    b->rung = true;
    rt_cond_signal(&b->rung_cond);
    rt_mutex_unlock(&b->lock);
}
