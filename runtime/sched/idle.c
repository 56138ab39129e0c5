/* sched/idle.c: sleeping and waking. The proof is at the top of idle.h; letters refer to it. */
#include "runtime/sched/idle.h"
#include "runtime/inspect/trace.h"
#include "runtime/mem/current.h"
#include "runtime/sched/globq.h"
#include "runtime/sched/loop.h"
#include "runtime/sched/preempt.h"
#include "runtime/sched/procs.h"
#include "runtime/sched/start.h"
#include "runtime/sched/sysmon.h"
#include <assert.h>

enum {
    SPIN_NS = 30 * 1000,
    SPIN_POLL_EVERY = 16, // rounds of looking at queues between two looks at the poller
    SPIN_USELESS_MAX = 8, // after so many in vain, only every so many-th one spins
};

void idle_attach(struct m *m, struct p *p)
{
    m->p = p;
    mem_use_cache(p->cache);
    procs_use_cpu(m, p);
    store_relaxed(&p->m, m);
    store_release(&p->status, P_RUNNING);
}

static void put_idle_locked(struct p *p)
{
    store_relaxed(&p->m, NULL);
    store_relaxed(&p->status, P_IDLE);
    if (p->idle_since_ns == 0) // else it was woken for nothing
        p->idle_since_ns = load_relaxed(&sched.coarse_ns);
    p->idle_next = sched.idle_ps;
    sched.idle_ps = p;
    atomic_fetch_add(&sched.idle_p_count, 1); // (D)
}

bool idle_retake(struct p *p)
{
    uint32_t status = P_SYSCALL;
    if (load_relaxed(&p->status) != P_SYSCALL ||
        !atomic_compare_exchange_strong(&p->status, &status, P_RUNNING))
        return false;
    store_relaxed(&p->m, NULL); // a signal meant for who runs it would interrupt the call
    atomic_fetch_sub(&sched.syscall_p_count, 1);
    atomic_fetch_add_explicit(&sched.handoffs, 1, memory_order_relaxed);
    return true;
}

bool idle_p_is_free(void)
{
    // It can be taken from a call before it is counted there, and is counted off then: below 0 for a
    // moment.
    return load_seq(&sched.idle_p_count) > 0 || (int32_t)load_seq(&sched.syscall_p_count) > 0;
}

struct p *idle_take_p(void)
{
    if (load_seq(&sched.idle_p_count) > 0) {
        spin_lock(&sched.idle_lock);
        struct p *p = sched.idle_ps;
        if (p) {
            sched.idle_ps = p->idle_next;
            atomic_fetch_sub(&sched.idle_p_count, 1);
        }
        spin_unlock(&sched.idle_lock);
        if (p)
            return p;
    }
    if (load_seq(&sched.syscall_p_count) > 0)
        for (unsigned i = 0; i < sched.procs; i++)
            if (idle_retake(&sched.ps[i]))
                return &sched.ps[i];
    return NULL;
}

void idle_give(struct m *m, struct p *p, bool spinning)
{
    m->spinning = spinning; // it reads these after next_p
    m->woken = spinning;
    store_release(&m->next_p, p);
    store_release(&m->wake, 1);
    futex_wake(&m->wake, 1);
}

/* An M for `p`: a sleeping one, or a new thread. */
static void wake_m(struct p *p, bool spinning)
{
    spin_lock(&sched.idle_lock);
    struct m *m = sched.idle_ms;
    if (m)
        sched.idle_ms = m->idle_next;
    spin_unlock(&sched.idle_lock);
    atomic_fetch_add_explicit(&sched.wakeups, 1, memory_order_relaxed);
    if (m)
        idle_give(m, p, spinning);
    else
        start_m(p, spinning);
}

void idle_wake_one(void)
{
    if (sched.simulated)
        return;
    for (;;) {
        full_barrier(); // (B)
        if (!idle_p_is_free() || load_relaxed(&sched.spinning) > 0 ||
            load_relaxed(&sched.stopping)) // (C)
            return;
        uint32_t none = 0;
        if (!atomic_compare_exchange_strong(&sched.spinning, &none, 1))
            return;
        struct p *p = idle_take_p();
        if (p) {
            wake_m(p, true);
            return;
        }
        // For a moment we were a spinner that finds nothing. Who submitted meanwhile relied on it.
        atomic_fetch_sub(&sched.spinning, 1); // (G)
    }
}

static bool p_has_work(struct p *p)
{
    return runq_len(&p->ring) > 0 || runq_len(&p->urgent) > 0 || load_relaxed(&p->resume) ||
           (load_relaxed(&p->next) && load_relaxed(&p->status) != P_RUNNING);
}

/* Anything that an M without work could run, timers aside. */
bool idle_work_is_visible(void)
{
    if (globq_len() > 0)
        return true;
    if (load_relaxed(&sched.no_steals))
        return false; // what is in the rings of others is theirs
    for (unsigned i = 0; i < sched.procs; i++) {
        struct p *p = &sched.ps[i];
        if (p_has_work(p))
            return true;
        struct g *next = load_relaxed(&p->next);
        if (next && load_relaxed(&p->old_next) == next)
            return true;
    }
    return false;
}

int64_t idle_next_timer_ns(void)
{
    int64_t first = RT_FOREVER;
    for (unsigned i = 0; i < sched.made; i++) {
        int64_t next = load_seq(&sched.ps[i].timers.next_ns);
        if (next < first)
            first = next;
    }
    return first;
}

void idle_timer_armed(int64_t when_ns)
{
    if (sched.simulated)
        return;
    full_barrier(); // (T1)
    if (when_ns < load_relaxed(&sched.poll_until_ns))
        idle_break_poll();
}

void idle_break_poll(void)
{
    const struct sched_poller *poller = load_acquire(&sched.poller);
    if (poller)
        poller->wake();
    store_release(&sched.poll_word, 1);
    futex_wake(&sched.poll_word, 1);
}

void idle_leave_poller(struct p *p)
{
    const struct sched_poller *poller = load_acquire(&sched.poller);
    if (poller && poller->leave)
        poller->leave((int)p->index);
}

void idle_flush_ready(struct m *m)
{
    struct g *gp = m->ready_first, *next;
    if (!gp)
        return;
    m->ready_first = m->ready_last = NULL;
    struct p *p = m->p;
    struct g *first = NULL, *last = NULL; // who finds no room, or waits behind others
    uint32_t count = 0;
    bool behind = globq_len() > 0;
    for (; gp; gp = next) {
        next = gp->next; // once it is in a ring, a thief may run it
        bool ahead = gp->urgent || m->events_first;
        if (p && ahead && loop_put_urgent(p, gp)) {
            p->burst += m->events_first;
        } else if (!p || behind || !runq_put(&p->ring, gp)) {
            behind = true;
            if (last)
                last->next = gp;
            else
                first = gp;
            last = gp;
            count++;
        }
    }
    if (count && p)
        globq_put_list(first, last, count);
    else if (count)
        globq_put_woken(first, last, count);
    if (!p || count || runq_len(&p->ring) + runq_len(&p->urgent) > 1)
        idle_wake_one();
}

int idle_poll(struct m *m)
{
    const struct sched_poller *poller = load_acquire(&sched.poller);
    if (!poller)
        return 0;
    store_relaxed(&sched.last_poll_ns, load_relaxed(&sched.coarse_ns));
    struct p *p = m->p;
    if (p)
        count_up(&p->polls, 1);
    // Collect first, queue after: the first one readied should run first.
    m->p = NULL;
    int n = poller->poll(p ? (int)p->index : SCHED_NO_P, 0);
    m->p = p;
    idle_flush_ready(m);
    return n;
}

void idle_found(struct m *m)
{
    m->woken = false;
    if (!m->spinning)
        return;
    m->spinning = false;
    uint32_t before = atomic_fetch_sub(&sched.spinning, 1);
    assert(before > 0);
    full_barrier();
    if (idle_work_is_visible())
        idle_wake_one();
}

bool idle_sleep(struct m *m)
{
    assert(!m->p);
    spin_lock(&sched.idle_lock);
    m->idle_next = sched.idle_ms;
    sched.idle_ms = m;
    spin_unlock(&sched.idle_lock);
    return idle_await_p(m);
}

bool idle_await_p(struct m *m)
{
    for (;;) {
        // Clear before looking: whoever hands a P over after our look sets it again.
        atomic_exchange(&m->wake, 0);
        if (load_seq(&sched.stopping))
            return false;
        struct p *p = load_acquire(&m->next_p);
        if (p) {
            store_relaxed(&m->next_p, NULL);
            idle_attach(m, p);
            return true;
        }
        trace_wait(m, false);
        futex_wait(&m->wake, 0, RT_FOREVER);
        trace_woken(m);
    }
}

void idle_hand_off(struct p *p)
{
    // Somebody must look at timers and descriptors: that takes an M that runs out of work.
    bool useful = idle_work_is_visible() || p_has_work(p) || load_relaxed(&p->next) ||
                  !load_seq(&sched.poll_taken);
    if (useful && !load_relaxed(&sched.stopping)) {
        wake_m(p, false);
        return;
    }
    spin_lock(&sched.idle_lock);
    put_idle_locked(p);
    spin_unlock(&sched.idle_lock);
    full_barrier(); // (E)
    // (F), and the poll role: its holder may have left it for want of a P.
    if (idle_work_is_visible() || !load_seq(&sched.poll_taken))
        idle_wake_one();
}

/* Look at every place once; true when there is something for us now. */
static bool look_around(struct m *m) { return globq_len() > 0 || loop_steal(m); }

static bool spin(struct m *m)
{
    if (!m->spinning) {
        uint32_t useless = load_relaxed(&sched.useless_spins);
        if (useless >= SPIN_USELESS_MAX) {
            store_relaxed(&sched.useless_spins, useless + 1);
            if (useless % SPIN_USELESS_MAX != 0)
                return false;
        }
        uint32_t none = 0;
        if (!atomic_compare_exchange_strong(&sched.spinning, &none, 1))
            return false;
        m->spinning = true;
    }
    int64_t until = clock_real_now_ns() + SPIN_NS;
    for (unsigned round = 0;; round++) {
        if (look_around(m) || (round % SPIN_POLL_EVERY == 0 && idle_poll(m) > 0)) {
            store_relaxed(&sched.useless_spins, 0);
            return true;
        }
        int64_t now = clock_real_now_ns();
        if (now >= until || idle_next_timer_ns() <= now || load_relaxed(&sched.stopping))
            break;
        cpu_relax();
    }
    store_relaxed(&sched.useless_spins, load_relaxed(&sched.useless_spins) + 1);
    return false;
}

/* The poll role: wait without a P for descriptors and timers, until there is something to run, but no
 * longer than `latest`. */
static void wait_for_events(struct m *m, int64_t latest_ns)
{
    for (;;) {
        store_seq(&sched.poll_until_ns, RT_FOREVER);
        full_barrier(); // (T2)
        int64_t until = idle_next_timer_ns();
        until = until < latest_ns ? until : latest_ns;
        store_seq(&sched.poll_until_ns, until);
        if (load_seq(&sched.stopping))
            break;
        const struct sched_poller *poller = load_acquire(&sched.poller);
        trace_wait(m, true);
        if (poller)
            poller->poll(SCHED_NO_P, until);
        else
            futex_wait(&sched.poll_word, 0, until);
        trace_woken(m);
        store_relaxed(&sched.poll_word, 0);
        int64_t now = clock_real_now_ns();
        store_relaxed(&sched.coarse_ns, now);
        store_relaxed(&sched.last_poll_ns, now);
        if (m->ready_first || now >= latest_ns || idle_next_timer_ns() <= now)
            break;
    }
    store_seq(&sched.poll_until_ns, 0);
    store_seq(&sched.poll_taken, false);
}

bool idle_stand_in(struct m *m, int64_t latest_ns)
{
    if (atomic_exchange(&sched.poll_taken, true))
        return false;
    wait_for_events(m, latest_ns);
    idle_flush_ready(m);
    if (idle_p_is_free())
        idle_wake_one(); // it found the role taken, and gets it now
    return true;
}

bool idle_find_or_sleep(struct m *m)
{
    if (spin(m))
        return true;
    struct p *p = m->p;
    bool was_spinning = m->spinning;
    spin_lock(&sched.idle_lock);
    if (globq_len() > 0) {
        spin_unlock(&sched.idle_lock);
        return true;
    }
    mem_use_cache(NULL);
    m->p = NULL;
    put_idle_locked(p); // (D)
    spin_unlock(&sched.idle_lock);
    if (was_spinning) {
        m->spinning = false;
        atomic_fetch_sub(&sched.spinning, 1); // (D)
    }
    if (m->woken)
        atomic_fetch_add_explicit(&sched.wakeups_for_nothing, 1, memory_order_relaxed);
    m->woken = false;
    full_barrier();                                      // (E)
    if (idle_work_is_visible() && (p = idle_take_p())) { // (F)
        idle_attach(m, p);
        if (was_spinning) {
            m->spinning = true;
            atomic_fetch_add(&sched.spinning, 1);
        }
        return true;
    }
    if (atomic_exchange(&sched.poll_taken, true))
        return idle_sleep(m);
    wait_for_events(m, RT_FOREVER);
    p = idle_take_p();
    if (p) {
        idle_attach(m, p);
        idle_flush_ready(m);
        sysmon_poll_left();
        return !load_seq(&sched.stopping);
    }
    // Every P is busy: take one from whoever has run longest. sysmon follows up when that is not
    // long enough yet, and whoever runs out of work next takes the role.
    idle_flush_ready(m);
    preempt_by_need();
    sysmon_poll_left();
    return idle_sleep(m);
}
