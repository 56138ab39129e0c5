/* sched/procs.c: how many Ps there are, changed while they run, and on which CPUs.
 *
 * The world is stopped meanwhile: no P is between two steps of anything. A P that goes is
 * on no list any more, and what was queued on it goes to the global queue. The M that was about to run
 * a goroutine on it wakes up, finds itself without a P and puts the goroutine back (procs_give_up). Its timers
 * and counts stay where they are: timers are run by any P, and whoever adds up counts goes through
 * all Ps that were ever made. A P that comes, again or for the first time, is idle. Room for
 * RT_PROCS_MAX of them is reserved at the start, so that nobody ever sees one move. */
#include "runtime/sched/procs.h"
#include "rt/go.h"
#include "runtime/mem/current.h"
#include "runtime/sched/globq.h"
#include "runtime/sched/idle.h"
#include "runtime/sched/loop.h"
#include "runtime/sched/stop.h"
#include "runtime/sched/usual.h"
#include <assert.h>
#include <errno.h>
#include <linux/membarrier.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

static struct {
    bool pins;         // set before start, then const; so are the next two
    cpu_set_t allowed; // of the process
    int allowed_count;
    struct spinlock solo_lock; // sysmon's looks into rings, and the change to and from solo
} procs;

/* ---- CPUs ---- */

static void choose_cpus(void)
{
    const char *text = getenv("KVD_AFFINITY");
    procs.pins = sched.options.pin_cpus || (text && *text && *text != '0');
    procs.pins = procs.pins && !sched.simulated &&
                 sched_getaffinity(0, sizeof(procs.allowed), &procs.allowed) == 0;
    procs.allowed_count = procs.pins ? CPU_COUNT(&procs.allowed) : 0;
}

/* The CPU of P number `index`: in turn through those that we may use. */
static int cpu_of(unsigned index)
{
    int left = (int)(index % (unsigned)procs.allowed_count);
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET(cpu, &procs.allowed) && left-- == 0)
            return cpu;
    return -1;
}

void procs_use_cpu(struct m *m, const struct p *p)
{
    if (!procs.pins || procs.allowed_count == 0)
        return;
    int cpu = cpu_of(p->index);
    if (cpu < 0 || m->on_cpu == cpu + 1)
        return;
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    // When the CPU was taken from us meanwhile, the thread stays where it may be.
    m->on_cpu = sched_setaffinity(0, sizeof(set), &set) == 0 ? cpu + 1 : 0;
}

/* ---- making ---- */

static size_t ps_bytes(void) { return RT_PROCS_MAX * sizeof(struct p); }

static void make(unsigned i)
{
    struct p *p = &sched.ps[i];
    p->index = i;
    p->until_slow = sched.simulated ? 0 : P_SLOW_TURN; // the world chooses at every turn
    timers_init(&p->timers);
}

static void put_idle(struct p *p)
{
    spin_lock(&sched.idle_lock);
    store_relaxed(&p->m, NULL);
    store_relaxed(&p->status, P_IDLE);
    p->idle_next = sched.idle_ps;
    sched.idle_ps = p;
    atomic_fetch_add(&sched.idle_p_count, 1);
    spin_unlock(&sched.idle_lock);
}

/* The short ways of a ready rest on a barrier that others can have a P pass: spill.h, (C). */
static bool has_barrier(void)
{
#ifdef RT_TSAN
    return false;
#else
    return syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0;
#endif
}

static void set_many(bool many)
{
    bool barrier = has_barrier();
    set_unusual(UNUSUAL_NO_BARRIER, !barrier);
    set_unusual(UNUSUAL_MANY_PS, many || !barrier);
}

void procs_make(unsigned count)
{
    assert(count >= 1);
    assert(count <= RT_PROCS_MAX);
    choose_cpus();
    sched.ps = mmap(NULL, ps_bytes(), PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (sched.ps == MAP_FAILED)
        rt_fatal("out of memory: no room for %d Ps", (int)RT_PROCS_MAX);
    for (unsigned i = 0; i < count; i++) {
        make(i);
        if (i > 0) // the first one is taken at once
            put_idle(&sched.ps[i]);
    }
    sched.made = count;
    sched.procs = count;
    set_many(count > 1);
}

void procs_free(void)
{
    for (unsigned i = 0; i < sched.made; i++)
        timers_deinit(&sched.ps[i].timers);
    struct p *ps = sched.ps;
    sched.ps = NULL;
    munmap(ps, ps_bytes());
}

/* ---- changing ---- */

void procs_give_up(struct m *m, struct g *gp)
{
    assert(!m->p);
    mem_use_cache(NULL);
    globq_put(gp);
    idle_wake_one();
}

/* Nobody has p any more: an M that sleeps on it is without a P when it wakes. */
static void detach(struct p *p)
{
    struct m *m = stop_is_slept_on(p) ? load_relaxed(&p->m) : NULL;
    if (m && m->p == p)
        m->p = NULL;
    store_relaxed(&p->m, NULL);
    store_relaxed(&p->status, P_IDLE);
}

/* The caller's M takes the first P. */
static void change_to_first(struct m *self)
{
    struct p *first = &sched.ps[0];
    detach(first);
    stop_let_go(first);
    stop_own(first);
    idle_attach(self, first);
}

static void end(struct p *p)
{
    detach(p);
    loop_rescue(p);
    stop_let_go(p);
}

static void begin(unsigned i)
{
    struct p *p = &sched.ps[i];
    if (i >= sched.made) {
        make(i);
        sched.made = i + 1;
    }
    store_relaxed(&p->attention, 0);
    p->next_streak = p->burst = 0;
    p->urgent_turn = false;
    p->asks_more = true;
    put_idle(p);
}

static void change(unsigned from, unsigned to)
{
    struct m *self = g_self()->m;
    procs_lock_rings(); // sysmon may be at one, as if there were more Ps
    set_many(to > 1);
    if (self->p->index >= to)
        change_to_first(self);
    for (unsigned i = to; i < from; i++)
        end(&sched.ps[i]);
    for (unsigned i = from; i < to; i++)
        begin(i);
    sched.procs = to;
    procs_unlock_rings();
}

int rt_set_procs(unsigned count)
{
    if (count < 1 || count > RT_PROCS_MAX)
        return -EINVAL;
    if (sched.simulated)
        return -ENOTSUP;
    assert(g_self());
    if (stop_world() && count != sched.procs)
        change(sched.procs, count);
    start_world();
    idle_wake_one(); // for what was moved, and for new Ps
    return 0;
}

void procs_lock_rings(void) { spin_lock(&procs.solo_lock); }

void procs_unlock_rings(void) { spin_unlock(&procs.solo_lock); }

unsigned rt_procs(void) { return sched.procs; }
