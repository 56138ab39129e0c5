/* poll/poller.h: who tells parked goroutines that a descriptor may go on. One interface, two forms
 * (epoll.c, uring.c), chosen once a run, when the first descriptor is opened.
 *
 * A descriptor is registered once, for both directions, edge-triggered, and stays so until it is
 * closed. Per direction it has a readiness word: two remembered bits and at most one waiter, a
 * parked goroutine or a struct poll_waiter.
 *
 *     EDGE    the kernel said "something changed", a timer fired, the connection was closed
 *     WOKEN   poll_word_wake: somebody has something for the waiter besides bytes
 *
 * A bit that is set anew takes the waiter out and lets it run; a bit stays set until it is reset or
 * consumed by a wait that asked for it. All moves are CAS, so an edge that comes between "it would
 * block" and the park is not lost: whoever does I/O resets EDGE *before* the last system call it
 * tries, and parks when that would block. Edges may be spurious: whoever was woken tries again and looks at
 * its deadline. Only bits that the waiter does not ask for may be set while it lies in the word.
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
#include <sys/types.h>

enum { POLL_EDGE = 1, POLL_WOKEN = 2, POLL_IS_WAITER = 4, POLL_BITS = POLL_EDGE | POLL_WOKEN };

/* Bits, and a struct g or (with POLL_IS_WAITER) a struct poll_waiter or nothing. */
struct poll_word {
    _Atomic uintptr_t value;
};

/* Somebody that waits without being parked on the word itself: a select, a wait for two directions.
 * Needs one of these for each word. Whoever takes it out calls fire once, then sets `fired` as the
 * last touch. */
struct poll_waiter {
    void (*fire)(struct poll_waiter *w); // any thread; never parks; may ready a goroutine
    _Atomic uint32_t fired;
} __attribute__((aligned(8)));

/* Forget the edge seen so far. Before each attempt at I/O.  Context: never parks. */
void poll_word_reset(struct poll_word *w);
/* Consume those of `bits` that are set and return them.  Context: never parks. */
unsigned poll_word_take(struct poll_word *w, unsigned bits);
/* Park until one of `bits` is set (at once when it is), consume and return them. Returns 0 when
 * woken by a bit that was not asked for. One waiter a word.  Context: parks. */
unsigned poll_word_wait(struct poll_word *w, unsigned bits, enum park_reason reason);
/* Set the bit and let the waiter run; returns 1 when one ran, else 0.
 * Context: any thread of the runtime; never parks. */
int poll_word_edge(struct poll_word *w);
int poll_word_wake(struct poll_word *w);
/* Put `waiter` in; false when one of `bits` is set already (they stay) and nothing was put. */
bool poll_word_arm(struct poll_word *w, struct poll_waiter *waiter, unsigned bits);
/* Take it out again. When it was taken by an edge or a wake, wait (spinning) until its fire is
 * over: afterwards nobody touches it.  Context: goroutine; never parks. */
void poll_word_disarm(struct poll_word *w, struct poll_waiter *waiter);

/* One registered descriptor. */
struct poll_desc {
    struct poll_word read, write;
    _Atomic bool ended; // by an edge, before the word says so: end of stream, error, urgent
    _Atomic uint32_t generation; // raised when the slot's use ends
    uint32_t slot;               // const
    int fd;                      // set at open, before it is registered; -1: free
    uint32_t next_free;          // slots_lock
    struct uring_desc {
        struct spinlock lock;     // guards the rest
        struct ring *poll, *recv; // where its requests are under way; NULL: none
        struct ring *pieces;      // whose buffers the list is made of
        uint16_t first, last;     // the list of what arrived
        uint16_t count;           // how many pieces
        bool closing;             // to be closed at the last completion
        bool held_back;           // the receive was ended because nobody reads
        int end;                  // behind the pieces: 1 end of stream, negative an error
        int *accepted;            // descriptors not taken yet; NULL: no listener or none yet
        uint32_t accepted_count, accepted_cap;
    } uring;
};

enum { POLL_MAX_DESCS = 1 << 20, POLL_EVENTS_MAX = 192 };

/* Choose and start a form unless that has happened in this run: as the options say, else KVD_POLLER
 * (uring, epoll), else whichever works, in the order of preference. A form asked for by name that
 * is refused is an error.  0, -EINVAL (KVD_POLLER makes no sense) or -errno, with why.
 * Context: goroutine; never parks. */
int poller_start(struct why *why);

/* Register `fd` (non-blocking), which poll_close will close. 0; -EMFILE when POLL_MAX_DESCS are
 * open; -errno; on failure the descriptor stays the caller's.  Context: goroutine; never parks. */
int poll_open(int fd, struct poll_desc **out);
/* Unregister and close the descriptor, at once or when the kernel has answered its last request.
 * Nobody waits on it or will.  Context: goroutine; never parks. */
void poll_close(struct poll_desc *d);

/* I/O by way of the form, which may have done it already. None of them parks.
 * recv: as recv(2); after -EAGAIN an edge will come. is_drained: an edge will come before there is
 * more to read. want_write: a write would block (or a connect goes on), give the word an edge when
 * that changes. accept: the descriptor, or -EAGAIN and an edge will come. */
ssize_t poll_recv(struct poll_desc *d, void *buf, size_t len);
bool poll_is_readable(struct poll_desc *d);
bool poll_is_drained(struct poll_desc *d);
void poll_want_write(struct poll_desc *d);
int poll_accept(struct poll_desc *d);
/* Write all and make it durable by way of the form; -ENOSYS when the form does not do that.
 * Context: parks. */
int poll_write_durable(int fd, const void *buf, size_t len, uint64_t offset);

/* What a form provides; poller.c does the rest. Functions return 0, a count or -errno. */
struct poller_form {
    const char *name;
    int (*start)(struct why *why); // why: one clause, the reason of the refusal
    void (*stop)(void);
    int (*add)(struct poll_desc *d);
    /* Forget d; poll_desc_closed(d) is called once, now or by a later poll. */
    void (*remove)(struct poll_desc *d);
    int (*poll)(int p, int64_t until_ns); // as sched_poller.poll
    void (*wake)(void);
    /* NULL: the system calls, and edges without being asked. */
    void (*leave)(int p);
    ssize_t (*recv)(struct poll_desc *d, void *buf, size_t len);
    bool (*is_readable)(struct poll_desc *d);
    bool (*is_drained)(struct poll_desc *d);
    void (*want_write)(struct poll_desc *d);
    int (*accept)(struct poll_desc *d);
    int (*write_durable)(int fd, const void *buf, size_t len, uint64_t offset);
    const char *(*features)(void); // for the line that says what was chosen
};
extern const struct poller_form poller_epoll, poller_uring;

/* For the forms: the descriptor a tag names, or NULL when it was for an earlier use. */
struct poll_desc *poll_desc_of(uint64_t tag);
uint64_t poll_desc_tag(const struct poll_desc *d); // under 2^56
void poll_desc_closed(struct poll_desc *d);        // close the descriptor, free the slot
/* Deliver what poll(2) calls `events` to the words; returns how many waiters run because of it. */
int poll_desc_edges(struct poll_desc *d, uint32_t events);
/* The relative timeout of an absolute moment, NULL for RT_FOREVER. */
struct timespec;
struct timespec *poll_timeout(int64_t until_ns, struct timespec *buf);
