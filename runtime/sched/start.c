/* sched/start.c: rt_run: threads come, threads go.
 *
 * The calling thread runs no goroutine (unless the world is simulated, where it runs them all): it
 * takes the process's signals and waits for the end. The end: main's goroutine has returned,
 * `stopping` is set, every M leaves at its next turn, and this thread keeps knocking until all have.
 * One that sits in a blocking call or in text that cannot be interrupted is left behind after a
 * while, with everything it may touch; the process cannot start a runtime again then. */
#include "runtime/sched/start.h"
#include "rt/alloc.h"
#include "rt/sim.h"
#include "runtime/inspect/trace.h"
#include "runtime/panic/fatal.h"
#include "runtime/sched/fiber.h"
#include "runtime/sched/globq.h"
#include "runtime/sched/idle.h"
#include "runtime/sched/life.h"
#include "runtime/sched/loop.h"
#include "runtime/sched/preempt.h"
#include "runtime/sched/procs.h"
#include "runtime/sched/signals.h"
#include "runtime/sched/spill.h"
#include "runtime/sched/stack.h"
#include "runtime/sched/stop.h"
#include "runtime/sched/sysmon.h"
#include <assert.h>
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
    THREAD_STACK_BYTES = 256 << 10,
    END_PATIENCE_NS = 5 * 1000 * 1000 * 1000L, // for a thread that waits for the disk
    END_KNOCK_NS = 1000 * 1000,
    DEFAULT_SLICE_MS = 10,
    SYSMON_SLICE_NS = 100 * 1000, // of the kernel's scheduler
    RESET_ON_FORK = 1,            // SCHED_FLAG_RESET_ON_FORK
};
#if defined(RT_TSAN)
enum { DEFAULT_GOROUTINES = 4096 }; // a fiber is as dear as a thread
#elif defined(RT_ASAN)
enum { DEFAULT_GOROUTINES = 16384 }; // guards by mprotect
#else
enum { DEFAULT_GOROUTINES = 1 << 20 };
#endif

static struct {
    int (*fn)(void *arg);
    void *arg;
    bool left_behind;         // threads of the last run still exist
    _Atomic uint32_t made_ms; // of this run
} program;

const struct rt_options *sched_options(void)
{
    return load_acquire(&sched.running) ? &sched.options : NULL;
}

const struct rt_world *sched_world(void)
{
    return load_acquire(&sched.running) ? sched.world : NULL;
}

bool sched_poller_set(const struct sched_poller *poller)
{
    const struct sched_poller *none = NULL;
    if (!atomic_compare_exchange_strong(&sched.poller, &none, poller))
        return false;
    idle_break_poll(); // whoever slept on the futex waits in the poller from now on
    return true;
}

/* Runs for microseconds, and others wait for it: a short slice lets it on a busy CPU as soon as it
 * wakes (Linux 6.12; older kernels refuse, or take no notice). */
static void ask_for_short_slices(void)
{
    struct {
        uint32_t size, policy;
        uint64_t flags;
        int32_t nice;
        uint32_t priority;
        uint64_t runtime_ns, deadline_ns, period_ns;
    } attr = {.size = 0};
    if (syscall(SYS_sched_getattr, 0, &attr, sizeof(attr), 0) != 0 || attr.policy != SCHED_OTHER)
        return; // somebody has chosen otherwise
    attr.runtime_ns = SYSMON_SLICE_NS;
    attr.flags |= RESET_ON_FORK; // the threads that it starts run for longer
    syscall(SYS_sched_setattr, 0, &attr, 0);
}

static void *sysmon_thread(void *arg)
{
    (void)arg;
    prctl(PR_SET_TIMERSLACK, 1UL);
    ask_for_short_slices();
    quiet_begin();
    sysmon_run();
    quiet_end();
    atomic_fetch_sub(&sched.live_ms, 1);
    return NULL;
}

static void *spill_thread(void *arg)
{
    (void)arg;
    quiet_begin();
    spill_run();
    quiet_end();
    atomic_fetch_sub(&sched.live_ms, 1);
    return NULL;
}

static void *m_thread(void *arg)
{
    struct m *m = arg;
    prctl(PR_SET_TIMERSLACK, 1UL); // timers come 50 us late otherwise
    m->tid = (pid_t)syscall(SYS_gettid);
    fpu_set_control(fpu_usual); // a thread inherits its maker's
    m_set_self(m);
    fiber_thread(m);
    preempt_thread_start(m);
    struct p *p = load_acquire(&m->next_p);
    store_relaxed(&m->next_p, NULL);
    quiet_begin();
    idle_attach(m, p);
    loop_run(m);
    quiet_end();
    preempt_thread_stop(m);
    m_set_self(NULL);
    store_release(&m->ended, true);
    atomic_fetch_sub(&sched.live_ms, 1);
    return NULL;
}

static struct m *new_m(void)
{
    struct m *m = rt_alloc_aligned(64, sizeof(*m));
    memset(m, 0, sizeof(*m));
    uint32_t number = atomic_fetch_add(&program.made_ms, 1) + 1;
    m->random = (number + (uint32_t)sched.options.random_yield) * 2654435761u;
    m->all_next = load_relaxed(&sched.all_ms);
    while (!atomic_compare_exchange_weak(&sched.all_ms, &m->all_next, m))
        ;
    return m;
}

static int start_thread(pthread_t *out, void *(*fn)(void *arg), void *arg)
{
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, THREAD_STACK_BYTES);
    // It sets its own mask once it has a stack for signals. Any thread may touch a stack that is away.
    sigset_t all, before;
    sigfillset(&all);
    sigdelset(&all, SIGSEGV);
    sigdelset(&all, SIGBUS);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    atomic_fetch_add(&sched.live_ms, 1);
    int err = pthread_create(out, &attr, fn, arg);
    if (err)
        atomic_fetch_sub(&sched.live_ms, 1);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    return err;
}

void start_m(struct p *p, bool spinning)
{
    struct m *m = new_m();
    m->spinning = spinning;
    m->woken = spinning;
    store_relaxed(&p->m, NULL);
    store_release(&m->next_p, p);
    int err = start_thread(&m->thread, m_thread, m);
    if (err)
        rt_fatal("cannot start a thread: errno %d; raise the limit of threads (ulimit -u, "
                 "TasksMax=, pids.max)",
                 err);
}

void start_the_end(int result)
{
    sched.main_result = result;
    store_seq(&sched.stopping, true);
    for (unsigned i = 0; i < sched.procs; i++)
        store_relaxed(&sched.ps[i].attention, 1);
    atomic_fetch_add(&sched.end_word, 1);
    futex_wake(&sched.end_word, 1);
}

static void main_goroutine(void *unused)
{
    (void)unused;
    start_the_end(program.fn(program.arg));
}

/* ---- options ---- */

static unsigned cpus(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof(set), &set) != 0)
        return 1;
    int count = CPU_COUNT(&set);
    return count > 0 ? (unsigned)count : 1;
}

static int choose_procs(unsigned asked, _Atomic unsigned *out, struct why *why)
{
    const char *text = getenv("KVD_MAXPROCS");
    unsigned procs = asked;
    if (!procs && text && *text) {
        for (const char *at = text; *at; at++) {
            if (*at < '0' || *at > '9' || procs > RT_PROCS_MAX) {
                procs = 0;
                break;
            }
            procs = procs * 10 + (unsigned)(*at - '0');
        }
        if (procs == 0 || procs > RT_PROCS_MAX) {
            why_set(why, "KVD_MAXPROCS is '%s'; it must be a number from 1 to %d", text,
                    RT_PROCS_MAX);
            return -EINVAL;
        }
    }
    if (!procs)
        procs = cpus();
    *out = procs > RT_PROCS_MAX ? RT_PROCS_MAX : procs;
    return 0;
}

static int choose_random_yield(uint64_t *seed, struct why *why)
{
    const char *text = getenv("KVD_RANDOM_YIELD");
    if (!*seed && text && *text) {
        char *end;
        *seed = strtoull(text, &end, 10);
        if (*end || *text == '-') {
            why_set(why, "KVD_RANDOM_YIELD is '%s'; it must be a number, 0 for no such yields",
                    text);
            return -EINVAL;
        }
    }
    set_unusual(UNUSUAL_YIELDS, *seed != 0);
    return 0;
}

static int choose(const struct rt_options *asked, struct why *why)
{
    static const struct rt_options defaults;
    sched.options = asked ? *asked : defaults;
    struct rt_options *o = &sched.options;
    sched.world = o->world;
    sched.simulated = o->world && o->world->pick;
    set_unusual(UNUSUAL_WORLD, sched.simulated);
    int err = choose_procs(o->procs, &sched.procs, why);
    if (err)
        return err;
    if (sched.simulated)
        sched.procs = 1;
    o->procs = sched.procs;
    err = choose_random_yield(&o->random_yield, why);
    if (err)
        return err;
    if (!o->slice_ms)
        o->slice_ms = DEFAULT_SLICE_MS;
    if (!o->max_goroutines || o->max_goroutines > (1u << 24))
        o->max_goroutines = DEFAULT_GOROUTINES;
    store_relaxed(&sched.slice_ns, o->slice_ms * RT_MS);
    return 0;
}

/* ---- beginning and end ---- */

static void forget_state(void)
{
    blocking_forget();
    sched.idle_ps = NULL;
    sched.idle_ms = NULL;
    store_relaxed(&sched.all_ms, NULL);
    store_relaxed(&sched.idle_p_count, 0);
    store_relaxed(&sched.syscall_p_count, 0);
    store_relaxed(&sched.spinning, 0);
    store_relaxed(&sched.useless_spins, 0);
    store_relaxed(&sched.poll_taken, false);
    store_relaxed(&sched.poll_until_ns, 0);
    store_relaxed(&sched.poll_word, 0);
    store_relaxed(&sched.stopping, false);
    store_relaxed(&sched.no_steals, false);
    store_relaxed(&program.made_ms, 0);
    store_relaxed(&sched.next_id, 1);
    store_relaxed(&sched.poller, NULL);
    store_relaxed(&sched.wakeups, 0);
    store_relaxed(&sched.wakeups_for_nothing, 0);
    store_relaxed(&sched.handoffs, 0);
    store_relaxed(&sched.preempted_slice, 0);
    store_relaxed(&sched.preempted_need, 0);
    store_relaxed(&sched.preempt_refused, 0);
    set_unusual(UNUSUAL_MANY_PS, true); // procs.c knows better
    globq_clear();
    loop_sim_reset();
}

static void run_simulated(void)
{
    struct m *m = new_m();
    m->tid = (pid_t)syscall(SYS_gettid);
    m_set_self(m);
    fiber_thread(m);
    idle_attach(m, &sched.ps[0]);
    loop_sim_put(sched.main_g);
    loop_run(m);
    m_set_self(NULL);
}

static int run_real(struct why *why)
{
    pthread_t thread, spiller;
    int err = start_thread(&thread, sysmon_thread, NULL);
    if (err) {
        why_set(why, "cannot start a thread: errno %d", err);
        return -err;
    }
    bool spills = start_thread(&spiller, spill_thread, NULL) == 0; // else stacks stay in place
    runq_put(&sched.ps[0].ring, sched.main_g);
    start_m(&sched.ps[0], false);
    while (!load_seq(&sched.stopping)) {
        uint32_t word = load_seq(&sched.end_word);
        signals_deliver();
        if (load_seq(&sched.stopping))
            break;
        // Some sanitizers deliver a signal late: look now and then.
        futex_wait(&sched.end_word, word, clock_real_now_ns() + 100 * RT_MS);
    }
    int64_t patience = clock_real_now_ns() + END_PATIENCE_NS;
    while (load_seq(&sched.live_ms) > 0 && clock_real_now_ns() < patience) {
        sysmon_break();
        spill_break();
        idle_break_poll();
        for (struct m *m = load_acquire(&sched.all_ms); m; m = m->all_next) {
            store_release(&m->wake, 1);
            futex_wake(&m->wake, 1);
        }
        for (unsigned i = 0; i < sched.procs; i++) {
            store_relaxed(&sched.ps[i].attention, 1); // it may have been taken down meanwhile
            preempt_request(&sched.ps[i], PREEMPT_SLICE);
        }
        futex_wait(&sched.end_word, load_seq(&sched.end_word), clock_real_now_ns() + END_KNOCK_NS);
    }
    program.left_behind = load_seq(&sched.live_ms) > 0;
    if (program.left_behind) {
        pthread_detach(thread);
        if (spills)
            pthread_detach(spiller);
        return 0;
    }
    pthread_join(thread, NULL);
    if (spills)
        pthread_join(spiller, NULL);
    for (struct m *m = load_acquire(&sched.all_ms); m; m = m->all_next)
        pthread_join(m->thread, NULL);
    return 0;
}

static void free_all(void)
{
    const struct sched_poller *poller = load_acquire(&sched.poller);
    if (poller)
        poller->stop();
    stop_run_ended();
    trace_end_run();
    fiber_free_all();
    for (struct m *m = load_acquire(&sched.all_ms), *next; m; m = next) {
        next = m->all_next;
        rt_free(m);
    }
    procs_free();
    stack_release();
    forget_state();
}

/* Everything but the checks of rt_run's caller. */
static int run(const struct rt_options *options, void (*first)(void *arg), void *created_at,
               struct why *why)
{
    forget_state();
    int err = choose(options, why);
    if (err)
        return err;
    // Each P may keep some free slots to itself.
    err = stack_reserve(sched.options.max_goroutines + sched.procs * STACK_FREE_MAX, why);
    if (err)
        return err;
    procs_make(sched.procs);
    trace_begin_run(sched.procs);
    store_relaxed(&sched.coarse_ns, sched_now_ns());
    err = preempt_start(why);
    if (err) {
        free_all();
        return err;
    }
    sched.main_g = life_new(&sched.ps[0], "main", first, NULL, false, created_at);
    store_release(&sched.running, true);
    rt_fatal_hook = sched_dump_to_fd;
    if (sched.simulated) {
        run_simulated();
    } else {
        signals_start();
        err = run_real(why);
        signals_stop();
    }
    rt_fatal_hook = NULL;
    if (program.left_behind) // they may still touch everything
        return err;
    store_release(&sched.running, false);
    preempt_stop();
    free_all();
    return err;
}

int rt_run(const struct rt_options *options, int (*fn)(void *arg), void *arg, int *result,
           struct why *why)
{
    assert(fn);
    assert(!g_self());
    if (load_acquire(&sched.running) || program.left_behind) {
        why_set(why, program.left_behind
                         ? "a thread of the last run is still inside a call that blocks"
                         : "the goroutine runtime is already running");
        return -EBUSY;
    }
    program.fn = fn;
    program.arg = arg;
    quiet_begin(); // goroutines hand nothing over to whoever comes after them
    int err = run(options, main_goroutine, (char *)fn + 1, why); // as a return address in it
    int main_result = sched.main_result;
    quiet_end();
    if (!err && result)
        *result = main_result;
    return err;
}

void rt_exit(int status) { _exit(status); }
