/* sync/rwmutex.c: many readers or one writer, strictly in order of arrival. The lock is handed over
 * under the queue's lock, which guards the counts, too. */
#include "runtime/sync/waitq.h"
#include <assert.h>

enum { READS, WRITES }; // a waiter's amount

static bool can_go_locked(const struct rt_rwmutex *m, int64_t how)
{
    return how == READS ? !m->writer : !m->writer && m->readers == 0;
}

static void take_locked(struct rt_rwmutex *m, int64_t how)
{
    if (how == READS)
        m->readers++;
    else
        m->writer = true;
}

static void lock_as(struct rt_rwmutex *m, int64_t how)
{
    waitq_lock(&m->waiters.lock);
    if (!m->waiters.first && can_go_locked(m, how)) {
        take_locked(m, how);
        waitq_unlock(&m->waiters.lock);
        return;
    }
    struct rt_waiter w;
    waiter_init_until(&w, NULL, RT_FOREVER);
    w.amount = how;
    waitq_push(&m->waiters, &w);
    waitq_park(&m->waiters, &m->waiters.lock, &w, RT_FOREVER, PARK_RWMUTEX);
}

/* Let in whoever can go now, in order, and unlock. */
static void grant_and_unlock(struct rt_rwmutex *m)
{
    struct rt_waiter *list = NULL, **end = &list;
    while (m->waiters.first && can_go_locked(m, m->waiters.first->amount)) {
        struct rt_waiter *w = waitq_claim_first(&m->waiters); // no deadlines: always the first
        take_locked(m, w->amount);
        w->next = NULL;
        *end = w;
        end = &w->next;
    }
    waitq_unlock(&m->waiters.lock);
    wait_wake_all(list);
    // Not where it is taken: others would wait for who was stopped with it.
    g_exit_call(g_running());
}

void rt_rwmutex_rlock(struct rt_rwmutex *m) { lock_as(m, READS); }

void rt_rwmutex_lock(struct rt_rwmutex *m) { lock_as(m, WRITES); }

void rt_rwmutex_runlock(struct rt_rwmutex *m)
{
    waitq_lock(&m->waiters.lock);
    assert(m->readers > 0);
    m->readers--;
    grant_and_unlock(m);
}

void rt_rwmutex_unlock(struct rt_rwmutex *m)
{
    waitq_lock(&m->waiters.lock);
    assert(m->writer);
    m->writer = false;
    grant_and_unlock(m);
}
