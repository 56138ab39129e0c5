/* rt/sync.h: what goroutines wait on. All are zero-initialised, need no destruction, and park the
 * goroutine, never its thread. Waiters are served in order unless said otherwise. Deadlines are
 * absolute, from rt_now_ns; RT_FOREVER waits for ever; 0 only tries. Mutex, rwmutex and once wait
 * without one. */
#pragma once
#include "rt/time.h"
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct rt_waiter;

/* FIFO of parked goroutines behind one spinlock; the others stand on it. Private. */
struct rt_waitq {
    _Atomic uint32_t lock;
    struct rt_waiter *first, *last;
};

struct rt_mutex {
    _Atomic uint32_t word;
    struct rt_waitq waiters;
};
void rt_mutex_lock(struct rt_mutex *m);     // parks
bool rt_mutex_try_lock(struct rt_mutex *m); // never parks
void rt_mutex_unlock(struct rt_mutex *m);   // never parks; the caller holds it

/* Many readers or one writer; a waiting writer holds back new readers. Without deadlines, as the
 * mutex: whoever may have to give up takes a semaphore. */
struct rt_rwmutex {
    struct rt_waitq waiters;
    uint32_t readers;
    bool writer;
};
void rt_rwmutex_rlock(struct rt_rwmutex *m);   // parks
void rt_rwmutex_runlock(struct rt_rwmutex *m); // never parks; the caller holds it
void rt_rwmutex_lock(struct rt_rwmutex *m);    // parks
void rt_rwmutex_unlock(struct rt_rwmutex *m);  // never parks; the caller holds it

struct rt_cond {
    struct rt_waitq waiters;
};
/* Unlock m, wait for a signal, lock m again. 0, or -ETIMEDOUT (m is locked all the same). Wakes
 * only by signal, broadcast or deadline; recheck the condition nevertheless.  Context: parks. */
int rt_cond_wait(struct rt_cond *c, struct rt_mutex *m, int64_t deadline_ns);
void rt_cond_signal(struct rt_cond *c);    // never parks
void rt_cond_broadcast(struct rt_cond *c); // never parks

struct rt_waitgroup {
    struct rt_waitq waiters;
    int64_t count;
};
void rt_waitgroup_add(struct rt_waitgroup *w, int64_t n);           // never parks
void rt_waitgroup_done(struct rt_waitgroup *w);                     // never parks
int rt_waitgroup_wait(struct rt_waitgroup *w, int64_t deadline_ns); // parks; 0 or -ETIMEDOUT

struct rt_once {
    struct rt_mutex m;
    _Atomic bool done;
};
void rt_once_do(struct rt_once *o, void (*fn)(void *arg), void *arg); // parks while another runs fn

struct rt_sem {
    struct rt_waitq waiters;
    int64_t count; // set before first use
};
int rt_sem_acquire(struct rt_sem *s, int64_t n, int64_t deadline_ns); // parks; 0 or -ETIMEDOUT
void rt_sem_release(struct rt_sem *s, int64_t n);                     // never parks

/* A one-shot event that one goroutine waits for: cheaper than the rest. Set from anywhere,
 * a timer function included; once set it stays set. The setter touches the note last in
 * rt_note_set, so the waiter may free it as soon as wait has returned 0. After -ETIMEDOUT a set
 * may still come: whoever holds the note must arrange (by a lock or a reference) that it is not
 * freed under the setter. */
struct rt_note {
    _Atomic uintptr_t state; // 0, set, or the waiter
};
int rt_note_wait(struct rt_note *n, int64_t deadline_ns); // parks; 0 or -ETIMEDOUT
void rt_note_set(struct rt_note *n);                      // never parks
bool rt_note_is_set(const struct rt_note *n);             // never parks

/* A mailbox: many putters, one taker, which drains it whole, so that one wake-up carries a batch.
 * Unbounded by itself: whoever puts counts and refuses at its own limit. */
struct rt_mail {
    struct rt_mail *next;
};
struct rt_mailbox {
    _Atomic(struct rt_mail *) newest; // lock-free stack
    _Atomic uintptr_t taker;          // 0, or who is parked on it
};
/* Put `mail` in; it belongs to the mailbox until taken. True when the box was empty before: a
 * taker that does not wait with rt_mailbox_take (but, say, in rt_conn_wait) must then be woken by
 * the caller.  Context: goroutine or timer function; never parks. */
bool rt_mailbox_put(struct rt_mailbox *box, struct rt_mail *mail);
/* Everything put so far, oldest first, linked by next; waits while there is nothing. NULL at the
 * deadline.  Context: one goroutine; parks. */
struct rt_mail *rt_mailbox_take(struct rt_mailbox *box, int64_t deadline_ns);
/* Make a waiting (or the next) take return, even with nothing.  Context: never parks. */
void rt_mailbox_wake(struct rt_mailbox *box);
