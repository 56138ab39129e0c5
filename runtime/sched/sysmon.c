/* sched/sysmon.c: a thread without a P that looks after those that have one: ends slices, takes Ps
 * back from blocked threads, runs what waits too long, polls when nobody does.
 *
 * It looks every 20 us while there is something to do, and backs off otherwise: to 1 ms while a P is
 * busy, to 10 ms while all are idle (until somebody leaves the poll role for a P); and it wakes for the
 * next timer when nobody else would. While
 * every P computes and nobody polls, it is the one that waits for descriptors (idle_stand_in). */
#include "runtime/sched/sysmon.h"
#include "runtime/mem/current.h"
#include "runtime/sched/globq.h"
#include "runtime/sched/idle.h"
#include "runtime/sched/loop.h"
#include "runtime/sched/preempt.h"
#include "runtime/sched/procs.h"
#include "runtime/sched/stack.h"

enum {
    TICK_NS = 20 * 1000,
    QUIET_ROUNDS = 50, // at the shortest tick before it doubles
    BUSY_TICK_MAX_NS = 1000 * 1000,
    IDLE_TICK_MAX_NS = 10 * 1000 * 1000,
    POLL_AFTER_NS = 10 * 1000 * 1000,
    NOBODY_WAITS_NS = 200 * 1000, // nobody in the poll role and nobody polled: wake an idle M
    ASK_AGAIN_NS = 1000 * 1000,   // a refused preemption
    DEAF_SLICES = 2,              // it does not hear us: others take what it keeps
    OVERDUE_SLICES = 10,          // the holder of a mutex, too
    TRIM_EVERY_NS = 1000 * 1000 * 1000,
    TRIM_BATCHES = 1, // some 50 us: others wait for this thread
    TRIM_BATCHES_IDLE = 32,
};

static struct {
    struct m m; // collects what its poll readies
    _Atomic uint32_t word;
    int64_t trimmed_ns;
    int64_t still_since_ns; // none of the Ps has gone from one goroutine to another since
    _Atomic bool sleeps_long;
} sysmon;

void sysmon_break(void)
{
    store_release(&sysmon.word, 1);
    futex_wake(&sysmon.word, 1);
}

void sysmon_poll_left(void)
{
    full_barrier(); // (B)
    if (load_relaxed(&sysmon.sleeps_long))
        sysmon_break();
}

/* A G in `next` that has been there for a whole tick without any switch: its P's M is not about to
 * turn to it. (A pair that readies each other is seen there often, and is better left together.) */
static bool mark_old_next(struct p *p, bool is_still)
{
    struct g *next = load_relaxed(&p->next);
    bool old = next && next == p->seen_next && is_still;
    p->seen_next = next;
    store_relaxed(&p->old_next, old ? next : NULL);
    return old;
}

/* A solo P's rings are nobody's but its own, and nobody else could run what is in them. */
static bool rescue(struct p *p)
{
    procs_lock_rings();
    bool moved = !is_solo() && loop_rescue(p) > 0;
    procs_unlock_rings();
    return moved;
}

/* True when something had to be done. */
static bool look_at(struct p *p, int64_t now)
{
    uint32_t status = load_acquire(&p->status);
    uint64_t switches = load_relaxed(&p->switches);
    bool is_still = status == P_RUNNING && switches == p->seen_switches;
    p->seen_switches = switches;
    if (!is_still)
        sysmon.still_since_ns = now;
    if (status != P_RUNNING)
        store_relaxed(&p->seen_since_ns, now); // who comes back to it has used nothing meanwhile
    if (status == P_SYSCALL) {
        bool wanted = idle_work_is_visible() || load_relaxed(&p->next);
        if (wanted && idle_retake(p)) {
            idle_hand_off(p);
            return true;
        }
        return false;
    }
    if (status != P_RUNNING)
        return false;
    bool waiting = mark_old_next(p, is_still) || runq_len(&p->ring) > 0 ||
                   runq_len(&p->urgent) > 0 || load_relaxed(&p->resume);
    bool offered =
        waiting && load_relaxed(&sched.idle_p_count) > 0 && !load_relaxed(&sched.no_steals);
    if (offered)
        idle_wake_one();
    uint32_t slice = load_relaxed(&p->slice);
    if (slice != load_relaxed(&p->seen_slice)) {
        store_relaxed(&p->seen_since_ns, now);
        store_relaxed(&p->seen_slice, slice);
        return offered; // a queue alone is nothing to hurry for: every P works
    }
    int64_t used = now - load_relaxed(&p->seen_since_ns) + load_relaxed(&p->slice_used_ns);
    if (used >= DEAF_SLICES * load_relaxed(&sched.slice_ns) && waiting && rescue(p))
        idle_wake_one();
    if (used >= load_relaxed(&sched.slice_ns) && now - p->asked_ns >= ASK_AGAIN_NS) {
        p->asked_ns = now;
        preempt_request(p, used < OVERDUE_SLICES * load_relaxed(&sched.slice_ns) ? PREEMPT_SLICE
                                                                                 : PREEMPT_OVERDUE);
        return true;
    }
    return false;
}

/* Timers and descriptors, when nobody in the poll role cares for them. */
static bool look_at_events(int64_t now)
{
    bool all_busy = !idle_p_is_free(); // nobody in a blocking call either, whose P could be taken
    bool due = idle_next_timer_ns() <= now;
    bool did = false;
    if (load_relaxed(&sched.poll_taken))
        return false;
    int64_t since_poll = now - load_relaxed(&sched.last_poll_ns);
    if (load_acquire(&sched.poller) && since_poll > POLL_AFTER_NS) {
        store_relaxed(&sched.last_poll_ns, now);
        did = idle_poll(&sysmon.m) > 0;
    }
    if ((due || globq_woken() > 0) && all_busy) {
        preempt_by_need();
        did = true;
    } else if (!all_busy && (due || since_poll > NOBODY_WAITS_NS)) {
        idle_wake_one();
        did |= due;
    }
    return did;
}

static int64_t next_look_ns(int64_t now, int64_t delay)
{
    int64_t until = now + delay;
    if (!load_relaxed(&sched.poll_taken)) {
        int64_t timer = idle_next_timer_ns();
        if (timer < until)
            until = timer > now + TICK_NS ? timer : now + TICK_NS;
    }
    return until;
}

/* Longer than while Ps are busy only when somebody has the poll role, who tells when he leaves it.
 *   (A) here:     sleeps_long, barrier, a look at the role.
 *   (B) who left: the role given up, barrier, a look at sleeps_long.
 * Returns the delay that the next one starts from. */
static int64_t sleep_for(int64_t now, int64_t delay)
{
    if (delay > BUSY_TICK_MAX_NS) {
        store_relaxed(&sysmon.sleeps_long, true);
        full_barrier(); // (A)
        if (!load_relaxed(&sched.poll_taken))
            delay = BUSY_TICK_MAX_NS;
    }
    futex_wait(&sysmon.word, 0, next_look_ns(now, delay));
    bool was_told = load_relaxed(&sysmon.sleeps_long) && load_relaxed(&sysmon.word);
    store_relaxed(&sysmon.sleeps_long, false);
    return was_told ? NOBODY_WAITS_NS : delay;
}

/* Until the next look, in the poller where every P computes and would not hear of an event. */
static int64_t wait(int64_t now, int64_t delay)
{
    bool nobody_turns = now - sysmon.still_since_ns >= PREEMPT_NEED_MIN_RUN_NS;
    bool all_told = globq_woken() == 0 && idle_next_timer_ns() > now; // else they are asked again
    if (!nobody_turns || !all_told || !idle_stand_in(&sysmon.m, now + BUSY_TICK_MAX_NS))
        delay = sleep_for(now, delay);
    store_relaxed(&sysmon.word, 0);
    return delay;
}

void sysmon_run(void)
{
    m_set_self(&sysmon.m);
    int64_t delay = TICK_NS;
    int quiet = 0;
    while (!load_seq(&sched.stopping)) {
        int64_t now = clock_real_now_ns();
        delay = wait(now, delay);
        now = clock_real_now_ns();
        store_relaxed(&sched.coarse_ns, now);
        bool did = look_at_events(now);
        for (unsigned i = 0; i < sched.procs; i++)
            did |= look_at(&sched.ps[i], now);
        mem_trim(now);
        bool all_idle = load_relaxed(&sched.idle_p_count) == sched.procs;
        if (now - sysmon.trimmed_ns > TRIM_EVERY_NS &&
            !stack_trim(all_idle ? TRIM_BATCHES_IDLE : TRIM_BATCHES))
            sysmon.trimmed_ns = now; // else more of it at the next look
        quiet = did ? 0 : quiet + 1;
        int64_t longest = all_idle ? IDLE_TICK_MAX_NS : BUSY_TICK_MAX_NS;
        if (quiet == 0)
            delay = TICK_NS;
        else if (quiet > QUIET_ROUNDS)
            delay = delay * 2;
        if (delay > longest)
            delay = longest;
    }
    m_set_self(NULL);
}

void rt_set_slice_ns(int64_t ns)
{
    int64_t least = RT_MS, most = RT_SECOND;
    store_relaxed(&sched.slice_ns, ns < least ? least : ns > most ? most : ns);
}

int64_t rt_get_slice_ns(void) { return load_relaxed(&sched.slice_ns); }
