/* sched/blocking.c: calls that block their thread.
 *
 * The P stays behind, marked SYSCALL: whoever needs one may take it by a CAS, and the returning M
 * takes it back the same way if nobody did, so that a short call with nothing else to do costs two
 * locked instructions. It is handed on at once when something is queued on it or in the global
 * queue, or when nobody else waits for timers and descriptors. */
#include "runtime/inspect/trace.h"
#include "runtime/mem/current.h"
#include "runtime/sched/fiber.h"
#include "runtime/sched/globq.h"
#include "runtime/sched/idle.h"
#include "runtime/sched/life.h"
#include "runtime/sched/stop.h"
#include <assert.h>

/* Each call holds a thread. More than this wait in line, without a thread. */
enum { BLOCKING_MAX = 256 };

static struct {
    struct spinlock lock;
    uint32_t inside;        // lock
    struct g *first, *last; // lock: in line
} line;

void blocking_forget(void)
{
    line.inside = 0;
    line.first = line.last = NULL;
}

static bool queue_up(struct g *gp, void *arg)
{
    (void)arg;
    gp->next = NULL;
    if (line.last)
        line.last->next = gp;
    else
        line.first = gp;
    line.last = gp;
    spin_unlock(&line.lock);
    return true;
}

static void enter_line(void)
{
    spin_lock(&line.lock);
    if (line.inside < BLOCKING_MAX) {
        line.inside++;
        spin_unlock(&line.lock);
        return;
    }
    sched_park(queue_up, NULL, PARK_BLOCKING); // who leaves gives us its place
}

static void leave_line(void)
{
    spin_lock(&line.lock);
    assert(line.inside > 0);
    struct g *gp = line.first;
    if (gp) {
        line.first = gp->next;
        if (!line.first)
            line.last = NULL;
    } else {
        line.inside--;
    }
    spin_unlock(&line.lock);
    if (gp)
        sched_ready(gp);
}

static void enter(struct m *m)
{
    struct p *p = m->p;
    idle_leave_poller(p);
    mem_use_cache(NULL);
    m->p = NULL;
    m->blocking_p = p;
    store_release(&p->status, P_SYSCALL);
    atomic_fetch_add(&sched.syscall_p_count, 1); // as (D) of idle.h: whoever submits now sees it
    full_barrier();
    bool wanted = runq_len(&p->ring) || runq_len(&p->urgent) || load_relaxed(&p->next) ||
                  load_relaxed(&p->resume) || globq_len() > 0 || !load_seq(&sched.poll_taken);
    if (wanted && idle_retake(p)) {
        trace_hand_off(m, p->index);
        idle_hand_off(p);
    }
}

/* False: we come back without a P. */
static bool leave(struct m *m)
{
    struct p *p = m->blocking_p;
    uint32_t status = P_SYSCALL;
    if (!load_relaxed(&sched.stopping)) {
        if (load_acquire(&p->m) == m &&
            atomic_compare_exchange_strong(&p->status, &status, P_RUNNING)) {
            atomic_fetch_sub(&sched.syscall_p_count, 1);
            idle_attach(m, p); // another M may have had it, and be in a call itself
            return true;
        }
        p = idle_take_p();
        if (p) {
            idle_attach(m, p);
            return true;
        }
    }
    return false;
}

int64_t rt_blocking(int64_t (*fn)(void *arg), void *arg)
{
    struct g *gp = g_self();
    assert(gp);
    assert(gp->nopreempt == 0);
    if (sched.simulated)
        return fn(arg);
    enter_line();
    g_nopreempt_begin();
    store_relaxed(&gp->since_ns, load_relaxed(&sched.coarse_ns));
    store_relaxed(&gp->status, G_BLOCKING);
    struct stop_registers registers;
    quiet_begin();
    stop_rest(gp, &registers);
    trace_block(gp->m, gp);
    enter(gp->m);
    quiet_end();
    int64_t result = fn(arg);
    quiet_begin();
    bool has_p = leave(gp->m);
    trace_unblock(gp->m, gp);
    quiet_end();
    if (!has_p)
        life_no_p(gp);
    stop_before_run(gp);
    store_relaxed(&gp->status, G_RUNNING);
    g_nopreempt_end();
    leave_line();
    return result;
}
