/* poll/poller.h: who tells parked goroutines that a descriptor may go on. One interface, two forms
 * (epoll.c, uring.c), chosen once when the runtime starts.
 *
 * A descriptor is registered once, for both directions, edge-triggered, and stays so until it is
 * closed. Per direction it has a readiness word:
 *
 *     NIL ---- edge ----> READY ---- poll_word_reset, or a wait that finds it ----> NIL
 *     NIL ---- wait ----> G or waiter ---- edge: becomes READY, the waiter runs ----> NIL
 *                                     ---- poll_word_wake: becomes NIL, the waiter runs
 *
 * All moves are CAS, so an edge that comes between "it would block" and the park is not lost:
 * whoever does I/O resets the word *before* the system call, tries, and parks when it would block.
 * Edges may be spurious (a timer fires one, a reused descriptor may get a stale one): whoever was
 * woken tries again and looks at its deadline.
 *
 * Descriptors live in slabs that are never given back while the runtime runs, and events name them
 * by slot and generation: an event for an earlier use of the slot is dropped. */
#pragma once
#include "rt/go.h"
#include "rt/why.h"
#include "runtime/sched/park.h"
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* Somebody that waits on words without being parked on one of them: a select, a wait for two
 * directions. It lies in a word (several are allowed, with one waiter each) until an edge or a wake
 * takes it out, which calls fire once, then sets `fired` as the last touch. */
struct poll_waiter {
    void (*fire)(struct poll_waiter *w); // any thread; never parks; may ready a goroutine
    _Atomic uint32_t fired;
} __attribute__((aligned(8)));

enum { POLL_NIL = 0, POLL_READY = 1, POLL_WAITER_TAG = 2 };

/* NIL, READY, a parked struct g, or a struct poll_waiter with the tag. */
struct poll_word {
    _Atomic uintptr_t value;
};

/* Forget edges seen so far. Before each attempt at I/O.  Context: never parks. */
void poll_word_reset(struct poll_word *w);
/* Park until an edge or a wake; at once when an edge is remembered or stop(arg) is true (asked
 * after the word is published, so that who sets what stop reads and then wakes is never missed;
 * stop may be NULL, never parks). True when an edge was consumed, false when woken without one.
 * One waiter a word.  Context: parks. */
bool poll_word_wait(struct poll_word *w, bool (*stop)(void *arg), void *arg,
                    enum park_reason reason);
/* An edge: remember it and let the waiter run.  Context: any thread of the runtime; never parks. */
void poll_word_edge(struct poll_word *w);
/* Let the waiter run, remember nothing.  Context: as above. */
void poll_word_wake(struct poll_word *w);
/* Put `waiter` in. False when an edge is remembered (it stays remembered) and nothing was put. */
bool poll_word_arm(struct poll_word *w, struct poll_waiter *waiter);
/* Take it out again. When it was taken by an edge or a wake, wait (spinning) until its fire is
 * over; afterwards nobody touches it.  Context: goroutine; never parks. */
void poll_word_disarm(struct poll_word *w, struct poll_waiter *waiter);

/* One registered descriptor. */
struct poll_desc {
    struct poll_word read, write;
    _Atomic uint32_t generation; // even: free; raised at open and at the end of each use
    uint32_t slot;               // const
    int fd;                      // set at open, before it is registered
    uint32_t next_free;          // free list, slots_lock
    uint32_t polls_in_kernel;    // uring: requests whose last completion is due; ring_lock
    bool closing;                // uring: ring_lock
};

/* Register `fd`, which poll_close will close. 0; -EMFILE when POLL_MAX_DESCS are open; -errno.
 * Context: goroutine; never parks. */
int poll_open(int fd, struct poll_desc **out);
/* Unregister and close the descriptor (at once, or when the kernel has answered its last request).
 * Nobody waits on it or will.  Context: goroutine; never parks. */
void poll_close(struct poll_desc *d);

enum { POLL_MAX_DESCS = 1 << 20, POLL_EVENTS_MAX = 192 };

/* Choose a form, by `which`, else by KVD_POLLER (uring, epoll), else the default; a form that was
 * asked for by name and is refused is an error, else the other one is taken and poller_why says
 * why. 0, -EINVAL (KVD_POLLER makes no sense) or -errno.  Context: before any M runs. */
int poller_start(enum rt_poller which, struct why *why);
/* Close every descriptor that is still registered.  Context: when no M runs any more. */
void poller_stop(void);
const char *poller_name(void); // "io_uring" or "epoll"; "none" when not started
const char *poller_why(void);  // one clause: why this one

/* Collect readiness and run who waits: with until_ns 0 what is there now, else wait for something,
 * for poller_break or for that time (RT_FOREVER: no limit). Takes at most POLL_EVENTS_MAX events.
 * Returns how many waiters it let run. One M at a time may wait; a second one gets 0 at once.
 * Context: an M with or without a P, on its scheduler stack; blocks the thread. */
int poller_poll(int64_t until_ns);
/* Make the present poller_poll that waits, or the next one, return.  Context: any thread; never
 * parks; signal-safe. */
void poller_break(void);
/* Is anybody waiting inside poller_poll? A hint. */
bool poller_is_waiting(void);
/* Is any descriptor registered at all? When not, nobody need poll. A hint. */
bool poller_has_descs(void);

/* What a form provides; poller.c does the rest. Functions return 0, a count or -errno. */
struct poller_form {
    const char *name;
    int (*start)(struct why *why);
    void (*stop)(void);
    int (*add)(struct poll_desc *d);
    /* Forget d; afterwards poll_desc_closed(d) is called once, now or from a later poll. */
    void (*remove)(struct poll_desc *d);
    int (*poll)(int64_t until_ns);
    void (*wake)(void);
};
extern const struct poller_form poller_epoll, poller_uring;

/* For the forms: the descriptor an event names, or NULL when it was for an earlier use. */
struct poll_desc *poll_desc_of(uint64_t tag);
uint64_t poll_desc_tag(const struct poll_desc *d); // slot and generation, fits 63 bits
void poll_desc_closed(struct poll_desc *d);        // close the descriptor, free the slot
/* Deliver readiness to the words; returns how many waiters run because of it. */
int poll_desc_edges(struct poll_desc *d, bool readable, bool writable);
