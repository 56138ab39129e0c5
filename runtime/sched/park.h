/* sched/park.h: how the rest of the runtime makes a goroutine wait and run again. Everything in
 * sync/ and poll/ stands on these four calls. */
#pragma once
#include "rt/time.h"
#include <stdbool.h>
#include <stdint.h>

struct g;

/* A parked goroutine's stack may be put away (spill.h), where the kernel cannot write: who has given
 * it an address there, for a call or a request that is not over, parks as PARK_FILE, which stays. */
enum park_reason {
    PARK_NONE,
    PARK_YIELD,
    PARK_SLEEP,
    PARK_CHAN_SEND,
    PARK_CHAN_RECV,
    PARK_SELECT,
    PARK_MUTEX,
    PARK_RWMUTEX,
    PARK_COND,
    PARK_WAITGROUP,
    PARK_SEM,
    PARK_NOTE,
    PARK_MAILBOX,
    PARK_READ,
    PARK_WRITE,
    PARK_CONN,
    PARK_FILE,
    PARK_BLOCKING,
    PARK_FOREVER,
    PARK_REASONS
};

/* The calling goroutine, from the stack pointer; NULL on a scheduler's or foreign stack.
 * Context: signal-safe. */
struct g *g_self(void);

/* Stop running the calling goroutine. Once it is off its stack, commit(gp, arg) is called (on
 * another stack, never parks): it publishes gp to whoever will ready it, typically by releasing the
 * lock under which gp was queued; when it returns false gp runs on at once. NULL commit: gp was
 * published before, and a sched_ready that comes before the park is complete is not lost (it waits
 * for the switch).  Context: goroutine, no runtime lock but the one commit releases; parks. */
void sched_park(bool (*commit)(struct g *gp, void *arg), void *arg, enum park_reason reason);

/* Make a parked goroutine runnable: exactly once per park.  Context: goroutine, timer function,
 * poller, or any thread of the runtime; never parks. */
void sched_ready(struct g *gp);

/* Runtime code holds off preemption by a count in the G: raise before taking a spinlock, lower
 * after releasing it. A pending request is honoured when it drops to zero. No-ops on scheduler
 * stacks (never preempted). */
void g_nopreempt_begin(void);
void g_nopreempt_end(void);

/* The calling goroutine takes and gives back something that makes others wait for it (an rt_mutex):
 * taken before, dropped after. Dropping the last one honours a pending request.
 * Context: goroutine (else nothing); dropped may switch to others, as rt_go may. */
void g_lock_taken(void);
void g_lock_dropped(void);
/* The same without honouring anything: the caller is about to park. */
void g_lock_forgotten(void);

/* Spinlocks of the runtime: short sections, never parks, preemption held off inside. Unlocking
 * honours no pending request: g_nopreempt_end and the exits of rt_go and rt_now_ns do. */
struct spinlock {
    _Atomic uint32_t word;
};
void spin_lock(struct spinlock *l);
void spin_unlock(struct spinlock *l);

/* Two words for whoever waits in a list or a word: what the waker hands over. Kept in the G, so
 * that nothing but the owner touches a parked stack. */
struct g_wait {
    void *object;    // set by the waiter: what it waits on
    intptr_t result; // set by the waker before sched_ready
};
struct g_wait *g_wait(struct g *gp);
