/* sched/torture.c: each M's state is thread-local: it is touched in the handler, on the M's stack for
 * signals, and at the thread's two ends; never on a goroutine's stack. timer_settime may be called in a
 * handler (POSIX). A signal that gets lost would end the gusts, so the timer also repeats by itself. */
#include "runtime/sched/torture.h"
#include "runtime/sched/gmp.h"
#include "runtime/sched/preempt.h"
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid // glibc names it from 2.40 on
#endif

enum {
    GUST_MIN_NS = 20 * 1000,
    GUST_SPREAD_NS = 30 * 1000,
    IDLE_NS = 500 * 1000,
    REQUEST_MIN_NS = 100 * 1000,
    REQUEST_SPREAD_NS = 900 * 1000,
};

static struct {
    bool on; // set before start, then const
    bool has_thread;
    pthread_t thread;
    _Atomic uint32_t ending; // futex
} storm;

static __thread struct {
    timer_t timer;
    uint32_t random;
    _Atomic bool
        has_timer; // its own; atomic for ThreadSanitizer, to which a handler is somebody else
} gust;

static uint32_t next_random(uint32_t *x)
{
    *x = *x * 1664525u + 1013904223u;
    return *x >> 8;
}

/* Mostly the two that occur; the one that mutexes do not hold back now and then. */
static uint8_t random_kind(uint32_t random)
{
    uint32_t of_16 = random % 16;
    return of_16 < 8 ? PREEMPT_SLICE : of_16 < 15 ? PREEMPT_NEED : PREEMPT_OVERDUE;
}

static void arm(int64_t ns)
{
    struct itimerspec when = {.it_value.tv_nsec = ns, .it_interval.tv_nsec = 2 * IDLE_NS};
    timer_settime(gust.timer, 0, &when, NULL); // cannot fail for a timer of ours and these values
}

uint8_t torture_gust(bool idle)
{
    if (!load_relaxed(&gust.has_timer))
        return PREEMPT_NONE;
    uint32_t random = next_random(&gust.random);
    arm(idle ? IDLE_NS : GUST_MIN_NS + random % GUST_SPREAD_NS);
    return rt_get_preempt() ? random_kind(random >> 16) : PREEMPT_NONE;
}

void torture_thread_start(void)
{
    if (!storm.on || !rt_get_preempt())
        return;
    pid_t tid = (pid_t)syscall(SYS_gettid);
    struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGURG};
    event.sigev_notify_thread_id = tid;
    if (timer_create(CLOCK_MONOTONIC, &event, &gust.timer) != 0)
        rt_fatal("KVD_TORTURE=storm: no timer for a thread");
    gust.random = (uint32_t)tid * 2654435761u;
    store_relaxed(&gust.has_timer, true);
    arm(GUST_MIN_NS);
}

void torture_thread_stop(void)
{
    if (load_relaxed(&gust.has_timer))
        timer_delete(gust.timer);
    store_relaxed(&gust.has_timer, false);
}

static void *ask_at_random(void *arg)
{
    (void)arg;
    uint32_t random = (uint32_t)getpid();
    while (!load_acquire(&storm.ending)) {
        uint32_t drawn = next_random(&random);
        preempt_request(&sched.ps[drawn % sched.procs], random_kind(next_random(&random)));
        int64_t pause_ns = REQUEST_MIN_NS + next_random(&random) % REQUEST_SPREAD_NS;
        futex_wait(&storm.ending, 0, clock_real_now_ns() + pause_ns);
    }
    return NULL;
}

void torture_start(void)
{
    const char *text = getenv("KVD_TORTURE");
    storm.on = text && strncmp(text, "storm", 5) == 0 && !sched.simulated;
    if (!storm.on)
        return;
    store_relaxed(&storm.ending, 0);
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    storm.has_thread = pthread_create(&storm.thread, NULL, ask_at_random, NULL) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!storm.has_thread)
        rt_fatal("KVD_TORTURE=storm: no thread for it");
}

void torture_stop(void)
{
    if (!storm.has_thread)
        return;
    store_release(&storm.ending, 1);
    futex_wake(&storm.ending, 1);
    pthread_join(storm.thread, NULL);
    storm.has_thread = false;
}
