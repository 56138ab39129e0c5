/* sched/runq.c: one P's ring. The proof is at the top of runq.h; letters refer to it. */
#include "runtime/sched/runq.h"
#include "runtime/sched/gmp.h"
#include <assert.h>

/* Claim up to half of `q`, copying into `batch`. */
static uint32_t claim_half(struct runq *q, struct g *batch[RUNQ_SLOTS / 2])
{
    for (;;) {
        uint32_t head = load_acquire(&q->head);
        uint32_t tail = load_acquire(&q->tail); // (C)
        uint32_t n = tail - head;
        n -= n / 2;
        if (n == 0)
            return 0;
        if (n > RUNQ_SLOTS / 2)
            continue; // head and tail were not of one moment
        for (uint32_t i = 0; i < n; i++)
            batch[i] = load_relaxed(&q->slot[(head + i) % RUNQ_SLOTS]);
        if (atomic_compare_exchange_weak_explicit(&q->head, &head, head + n, memory_order_release,
                                                  memory_order_relaxed)) // (D)
            return n;
    }
}

struct g *runq_steal_half(struct runq *from, struct runq *to, uint32_t *moved_out)
{
    struct g *batch[RUNQ_SLOTS / 2];
    assert(runq_len(to) <= RUNQ_SLOTS / 2);
    uint32_t n = claim_half(from, batch);
    if (n == 0)
        return NULL;
    for (uint32_t i = 0; i + 1 < n; i++) {
        bool fits = runq_put(to, batch[i]);
        assert(fits);
    }
    *moved_out = n;
    return batch[n - 1];
}

uint32_t runq_take_half(struct runq *q, struct g **first, struct g **last)
{
    struct g *batch[RUNQ_SLOTS / 2];
    uint32_t n = claim_half(q, batch);
    if (n == 0)
        return 0;
    for (uint32_t i = 0; i + 1 < n; i++)
        batch[i]->next = batch[i + 1];
    batch[n - 1]->next = NULL;
    *first = batch[0];
    *last = batch[n - 1];
    return n;
}

uint32_t runq_len(const struct runq *q)
{
    uint32_t head = load_acquire(&q->head);
    uint32_t tail = load_acquire(&q->tail);
    uint32_t n = tail - head;
    return n <= RUNQ_SLOTS ? n : 0;
}
