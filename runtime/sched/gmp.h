/* sched/gmp.h: the three things the scheduler is made of. Private to sched/ and inspect/dump.
 *
 *     G  a goroutine: a slot of the stack arena and its entry in a dense table
 *     M  a thread; runs its scheduler on the thread's own stack ("g0") and goroutines on theirs
 *     P  the right to run goroutines: a queue, timers, caches. Who has a P may touch its fields
 *        marked "owner P" without a lock; it passes from M to M through an atomic or idle_lock.
 *
 * The current G is found from the stack pointer, the current M from the G (or, on a scheduler's
 * stack, which never moves, from a thread-local). Code of the runtime is never preempted
 * asynchronously, so between two calls that park, M and P do not change. */
#pragma once
#include "rt/go.h"
#include "rt/time.h"
#include "runtime/inspect/trace_writer.h"
#include "runtime/sched/atomic.h"
#include "runtime/sched/park.h"
#include "runtime/sched/proc.h"
#include "runtime/sched/runq.h"
#include "runtime/sched/switch.h"
#include "runtime/sched/timer.h"
#include "runtime/sched/usual.h"
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* For dumps; what decides is `parking` and being in a queue. */
enum g_status { G_FREE, G_RUNNABLE, G_RUNNING, G_PARKED, G_BLOCKING };

/* A park and its ready meet here.
 *   (A) park, once off the stack: CAS NOT_PARKED -> PARKED. Finds WOKEN: the ready came first. With a
 *       commit, which publishes the G, nobody can have readied it: PARKED is stored, before the commit.
 *   (B) ready: exchange WOKEN. Found PARKED: the G is ours to queue. Found NOT_PARKED: (A) will
 *       find the token, or the next sched_park, which then returns at once. */
enum { NOT_PARKED, PARKED, WOKEN };

/* Where its stack is, and who may have it: spill.h. Whoever is about to run a G that is not
 * AWAY_NOT calls stack_bring_back. */
enum g_away { AWAY_NOT, AWAY_HELD, AWAY_TOUCHED };

/* By need, at the end of a slice, and after several slices: who holds an rt_mutex is not stopped by
 * need, and by slice at most once before it unlocks; OVERDUE stops it all the same. AT_RANDOM is no
 * request: it stays on for all, and now and then a runtime call yields at its exit. */
enum preempt_kind { PREEMPT_NONE, PREEMPT_NEED, PREEMPT_SLICE, PREEMPT_OVERDUE, PREEMPT_AT_RANDOM };

/* Why one P took from another: its own queue was empty; the same, after it had been idle for 10 ms and
 * more; or the other's queue was long, and its own short. */
enum steal_reason { STEAL_EMPTY, STEAL_IDLE, STEAL_LONG, STEAL_REASONS };

/* The no-preempt count: runtime's in the low half, the program's (rt_nopreempt_begin) above. */
enum { NOPREEMPT_RUNTIME = 1, NOPREEMPT_USER = 1 << 16 };

/* What is special about a G's turns: it is wired to a thread; its wait for one is timed; it has
 * floating-point control words of its own; it has had none yet. */
enum { MARK_PINNED = 1, MARK_TIMED = 2, MARK_FPU = 4, MARK_NEW = 8 };

struct g {
    // all that a switch touches
    void *sp;                        // where it goes on; while off the CPU
    struct m *m;                     // while running
    struct g *next;                  // link of whatever list it is in
    uint32_t nopreempt;              // its own thread only (the signal handler included)
    _Atomic uint8_t preempt_pending; // enum preempt_kind; any thread sets, switching in clears
    _Atomic uint8_t parking;         // (A), (B)
    _Atomic uint8_t status;
    _Atomic uint8_t reason;   // enum park_reason, while parked
    _Atomic uint8_t away;     // enum g_away: look before running it; spill.h
    bool urgent;              // const while it lives
    bool goes_round;          // const while it lives: when readied, not by the short way to `next`
    uint8_t marks;            // MARK_...; who has it
    uint32_t taken, given;    // itself: rt_mutexes, in all; it holds the difference
    uint32_t sliced;          // itself: when a slice ended while it held some: `given` + 1
    struct m *pinned_m;       // itself; NULL: runs anywhere
    _Atomic int64_t since_ns; // parked since, by the coarse clock
    int64_t ready_ns;         // inspect/trace.h: queued since, when that is timed; else 0

    // and a start
    void (*fn)(void *arg); // set before start, then const
    void *arg;
    const char *name;
    void *created_at; // return address of rt_go
    uint64_t id;      // 0: never lived
    struct g_wait wait;
    void *defers; // itself: panic/, innermost scope; NULL at its end

    void *tries;            // the same of rt_try
    uint32_t pins;          // itself
    struct fpu_control fpu; // itself: while off the CPU, with MARK_FPU
    struct rt_timer sleep;
#if defined(RT_ASAN) || defined(RT_TSAN)
    void *fiber;    // TSan's fiber, ASan's fake stack
    unsigned quiet; // fiber.h; itself
#endif
} __attribute__((aligned(64)));

/* Why a G left its M: what arrive() has to do once it is off its stack. */
enum left {
    LEFT_NOTHING,
    LEFT_YIELD,
    LEFT_IN_RING, // it yielded, and that is done
    LEFT_PARK,
    LEFT_PARK_UNLOCKING, // commit_arg is the lock, nothing else is to be done
    LEFT_EXIT,
    LEFT_PREEMPTED,
    LEFT_NEEDED,
    LEFT_NO_P
};

struct m {
    // this thread
    struct g *_Atomic cur; // the G on it, NULL on the scheduler; others look
    struct p *p;
    void *g0_sp;
    enum left left;
    struct g *left_g;
    bool (*commit)(struct g *gp, void *arg);
    void *commit_arg;
    int on_cpu;         // this CPU + 1 only; 0: any
    struct g *picked;   // chosen by the fast path, to be run by the loop
    struct g *pinned_g; // wired to this thread
    bool spinning;
    bool woken;                         // to search, and has not found anything yet
    bool events_first;                  // what is readied now goes ahead of the queue
    struct p *blocking_p;               // the P it had before a blocking call
    struct g *ready_first, *ready_last; // readied while it had no P
    uint32_t random;
    struct trace_writer trace;

    // others
    struct p *_Atomic next_p;     // handed over, then `wake`
    _Atomic uint32_t wake;        // futex
    _Atomic uint8_t preempt_want; // enum preempt_kind: set with the signal, taken by the handler
    _Atomic bool ended;
    struct m *idle_next; // idle_lock
    struct m *all_next;  // set before it is published, then const
    pid_t tid;           // set by itself before it takes a P
    pthread_t thread;
    void *signal_stack;
    void *fiber; // sanitizers
    const void *stack_bottom;
    size_t stack_size;
} __attribute__((aligned(64)));

enum p_status { P_IDLE, P_RUNNING, P_SYSCALL };

enum { P_SLOW_TURN = 61, P_NEXT_STREAK = 32, P_RESUME_WAITS = 64 };

struct p {
    // owner P
    uint32_t until_slow;       // turns until the global queue, clock and poller get a look
    uint32_t next_streak;      // turns taken from `next` since the ring had one
    uint32_t resume_waits;     // turns the ring may have before `resume`
    uint32_t burst;            // this many urgent turns may follow each other
    bool urgent_turn;          // the last turn was an urgent one
    bool asks_more;            // false: there is nothing but `next` and `ring` to be asked
    uint32_t free_count;       // of `free`
    uint32_t fresh_streak;     // slots taken that were never used, since one was given back
    struct g *free;            // warm slots, newest first
    struct g *spare;           // a full batch of them, or NULL
    uint64_t next_id, last_id; // ids left of its block
    uint32_t index;
    struct mem_cache *cache; // of small blocks: mem/cache.h; NULL until it allocates
    _Atomic uint64_t switches, spawned, exited, steals, stolen, global_gets, polls; // others read
    _Atomic uint64_t steals_by[STEAL_REASONS];                                      // others read
    int64_t idle_since_ns; // has run nothing since; 0: it runs. idle_lock when idle

    // shared
    struct g *_Atomic next __attribute__((aligned(64))); // runs next; owner puts, anybody takes
    struct g *_Atomic resume;                            // preempted by need; same
    _Atomic uint32_t attention;    // set by sysmon: look at timers and poller at the next turn
    _Atomic uint32_t stop;         // stop.c: what is asked of it, between two goroutines
    _Atomic uint32_t slice;        // bumped by the owner when a new slice begins
    _Atomic int64_t slice_used_ns; // what the one who runs had used of it before
    int64_t resume_used_ns;        // owner P: the same of `resume`
    _Atomic uint32_t status;       // enum p_status; leaves SYSCALL by CAS
    struct m *_Atomic m;           // while RUNNING
    struct p *idle_next;           // idle_lock
    struct runq ring __attribute__((aligned(64)));
    struct runq urgent __attribute__((aligned(64)));
    struct timers timers __attribute__((aligned(64)));

    // sysmon only
    _Atomic uint32_t seen_slice;   // others read
    _Atomic int64_t seen_since_ns; // since when that slice is seen; others read
    int64_t asked_ns;              // when its G was last asked to end its slice
    uint64_t seen_switches;
    struct g *seen_next;
    _Atomic int64_t need_asked_ns; // when it was last asked to make room; any thread
    struct g *_Atomic old_next;    // set by sysmon: waits too long, thieves may take it
} __attribute__((aligned(64)));

struct sched {
    // set before start, then const
    struct rt_options options;
    const struct rt_world *world; // NULL: the real one
    bool simulated;
    _Atomic unsigned procs; // in use: the first ones; changes with the world stopped
    _Atomic unsigned made;  // ever in use
    struct p *ps;
    struct g *main_g;
    _Atomic int64_t slice_ns; // rt_set_slice_ns
    _Atomic bool no_steals;   // rt_set_steal

    // any thread
    _Atomic bool running;
    _Atomic bool stopping; // main has returned: every M leaves at its next turn
    const struct sched_poller *_Atomic poller;
    _Atomic uint32_t end_word; // futex of rt_run's thread
    _Atomic uint32_t live_ms;  // threads, sysmon included, that have not ended
    _Atomic uint64_t next_id;
    _Atomic int64_t coarse_ns; // monotonic time, as of the last look of anybody
    int main_result;           // main goroutine; read after every M has ended

    // idle.c
    struct spinlock idle_lock __attribute__((aligned(64)));
    struct p *idle_ps; // idle_lock
    struct m *idle_ms; // idle_lock
    _Atomic uint32_t idle_p_count;
    _Atomic uint32_t syscall_p_count;
    _Atomic uint32_t spinning;
    _Atomic uint32_t useless_spins; // in a row; a hint
    _Atomic bool poll_taken;        // an M waits for descriptors and timers, without a P
    _Atomic int64_t poll_until_ns;  // until when; 0: it does not wait
    _Atomic uint32_t poll_word;     // futex it waits on when there is no poller
    _Atomic int64_t last_poll_ns;
    struct m *_Atomic all_ms; // list, only ever pushed
    _Atomic uint64_t wakeups, wakeups_for_nothing, handoffs;
    _Atomic uint64_t preempted_slice, preempted_need, preempt_refused;
};
extern struct sched sched;

/* A counter with one writer at a time. */
static inline void count_up(_Atomic uint64_t *counter, uint64_t by)
{
    store_relaxed(counter, load_relaxed(counter) + by);
}

/* The M of the calling thread; NULL on threads that are none.  Context: not signal-safe. */
struct m *m_self(void);
void m_set_self(struct m *m);

int64_t clock_real_now_ns(void);

/* futex.c: private futexes; timeout absolute on the monotonic clock, RT_FOREVER for none. */
void futex_wait(_Atomic uint32_t *word, uint32_t expected, int64_t until_ns);
void futex_wake(_Atomic uint32_t *word, int count);

/* The M we are on, from the G or the thread.  Context: not signal-safe. */
struct m *m_current(void);

/* Time as the scheduler sees it: the simulated world's, else the real clock. */
int64_t sched_now_ns(void);

/* It holds a lock that others may need, and a request of this kind has to wait for its unlock.
 * Context: signal-safe; its own thread. */
static inline bool g_is_let_go_on(const struct g *gp, uint8_t kind)
{
    return gp->taken != gp->given &&
           (kind == PREEMPT_NEED || (kind == PREEMPT_SLICE && gp->sliced == gp->given + 1));
}

/* Honour a pending request for preemption, unless it is held off. At the exit of runtime calls. */
void g_check_preempt(void);
