/* sync/cond.c: wait for a condition that a mutex guards. The mutex is unlocked once the goroutine is
 * off its stack and in the queue, so a signal under the mutex cannot fall in between. */
#include "runtime/sync/waitq.h"
#include <errno.h>

int rt_cond_wait(struct rt_cond *c, struct rt_mutex *m, int64_t deadline_ns)
{
    struct rt_wait wait;
    struct rt_waiter w;
    if (deadline_ns == 0)
        return -ETIMEDOUT;
    waiter_init_until(&w, &wait, deadline_ns);
    waitq_lock(&c->waiters.lock);
    waitq_push(&c->waiters, &w);
    // Whoever signals needs this queue's lock, which publish releases last: the order is mutex,
    // timer, lock, and after that nothing of ours is touched.
    int err = waitq_park_unlocking(&c->waiters, &w, m, deadline_ns, PARK_COND);
    rt_mutex_lock(m);
    return err;
}

void rt_cond_signal(struct rt_cond *c)
{
    waitq_lock(&c->waiters.lock);
    struct rt_waiter *w = waitq_claim_first(&c->waiters);
    waitq_unlock(&c->waiters.lock);
    if (w)
        wait_wake(w);
    g_exit_call(g_running());
}

void rt_cond_broadcast(struct rt_cond *c)
{
    waitq_lock(&c->waiters.lock);
    struct rt_waiter *list = waitq_claim_all(&c->waiters);
    waitq_unlock(&c->waiters.lock);
    wait_wake_all(list);
    g_exit_call(g_running());
}
