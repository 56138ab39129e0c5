/* sync/waitgroup.c: wait until a count is zero. The count lives under the queue's lock. */
#include "runtime/sync/waitq.h"
#include <assert.h>
#include <errno.h>

static inline void add(struct rt_waitgroup *w, int64_t n)
{
    struct rt_waiter *list = NULL;
    waitq_lock(&w->waiters.lock);
    w->count += n;
    assert(w->count >= 0); // more done than added
    if (w->count == 0)
        list = waitq_claim_all(&w->waiters);
    waitq_unlock(&w->waiters.lock); // the last touch: a waiter may free it now
    if (list)
        wait_wake_all(list);
    g_exit_call(g_running());
}

void rt_waitgroup_add(struct rt_waitgroup *w, int64_t n) { add(w, n); }

void rt_waitgroup_done(struct rt_waitgroup *w) { add(w, -1); }

int rt_waitgroup_wait(struct rt_waitgroup *g, int64_t deadline_ns)
{
    waitq_lock(&g->waiters.lock);
    if (g->count == 0 || deadline_ns == 0) {
        int err = g->count == 0 ? 0 : -ETIMEDOUT;
        waitq_unlock(&g->waiters.lock);
        g_exit_call(g_running());
        return err;
    }
    struct rt_wait wait;
    struct rt_waiter w;
    waiter_init_until(&w, &wait, deadline_ns);
    waitq_push(&g->waiters, &w);
    return waitq_park(&g->waiters, &g->waiters.lock, &w, deadline_ns, PARK_WAITGROUP);
}
