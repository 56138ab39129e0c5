/* sync/sem.c: a counting semaphore, served strictly in order: a small request never overtakes a
 * large one. The count lives under the queue's lock. */
#include "runtime/sync/waitq.h"
#include <assert.h>
#include <errno.h>

/* Serve who can be served, in order, and unlock. */
static void grant_and_unlock(struct rt_sem *s)
{
    struct rt_waiter *list = NULL, **end = &list;
    while (s->waiters.first && s->waiters.first->amount <= s->count) {
        // The first may have run out of time; then the next one gets its chance.
        struct rt_waiter *first = s->waiters.first;
        waitq_remove(&s->waiters, first);
        if (!waiter_claim(first))
            continue;
        s->count -= first->amount;
        first->next = NULL;
        *end = first;
        end = &first->next;
    }
    waitq_unlock(&s->waiters.lock);
    wait_wake_all(list);
}

int rt_sem_acquire(struct rt_sem *s, int64_t n, int64_t deadline_ns)
{
    assert(n >= 0);
    waitq_lock(&s->waiters.lock);
    bool can_go = !s->waiters.first && s->count >= n;
    if (can_go || deadline_ns == 0) {
        if (can_go)
            s->count -= n;
        waitq_unlock(&s->waiters.lock);
        g_exit_call(g_running());
        return can_go ? 0 : -ETIMEDOUT;
    }
    struct rt_wait wait;
    struct rt_waiter w;
    waiter_init_until(&w, &wait, deadline_ns);
    w.amount = n;
    waitq_push(&s->waiters, &w);
    int err = waitq_park(&s->waiters, &s->waiters.lock, &w, deadline_ns, PARK_SEM);
    if (err) { // we may have been what held back smaller ones
        waitq_lock(&s->waiters.lock);
        grant_and_unlock(s);
    }
    return err;
}

void rt_sem_release(struct rt_sem *s, int64_t n)
{
    assert(n >= 0);
    waitq_lock(&s->waiters.lock);
    s->count += n;
    grant_and_unlock(s);
    g_exit_call(g_running());
}
