/* sync/once.c: run something once. A panic in it counts as having run, as in Go.
 *   (A) done, release, after fn.   Pairs with (B): who sees it done sees what fn did.
 *   (B) done, acquire. */
#include "rt/defer.h"
#include "rt/sync.h"
#include "runtime/sched/here.h"

static void finish(void *arg)
{
    struct rt_once *o = arg;
    atomic_store_explicit(&o->done, true, memory_order_release); // (A)
    rt_mutex_unlock(&o->m);
}

void rt_once_do(struct rt_once *o, void (*fn)(void *arg), void *arg)
{
    if (atomic_load_explicit(&o->done, memory_order_acquire)) { // (B)
        g_exit_call(g_here());
        return;
    }
    rt_mutex_lock(&o->m);
    if (atomic_load_explicit(&o->done, memory_order_relaxed)) {
        rt_mutex_unlock(&o->m);
        return;
    }
    RT_DEFER_SCOPE(1);
    rt_defer(finish, o);
    fn(arg);
}
