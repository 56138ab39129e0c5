/* poll/conn.h: streams of a world. What is common to real and simulated sockets (waiting, deadlines,
 * closing, references) is in conn.c; a world gives calls that never wait, and edges on two words.
 *
 * Invariants
 * 1. The descriptor is closed at the last unref, never by rt_conn_close: no call can meet a number
 *    that means something else by now.
 * 2. `closed` is set before both words get their last edge; every call looks at it before the
 *    system call and again after it, and an attempt after which it may park began with a reset word.
 * 3. A timer that is armed at or before the deadline is left alone; firing is just an edge. So a
 *    deadline far away costs nothing per call. timer_ns is stored before the timer is started, and
 *    the timer function stores "not armed" before its edge: who trusts timer_ns gets that edge.
 * 4. `would_block` is true only while every edge since the last attempt is still in the word: who
 *    consumes an edge clears it, so a read may answer -EAGAIN from these two alone. */
#pragma once
#include "rt/net.h"
#include "rt/time.h"
#include "runtime/poll/poller.h"

/* One direction of a connection, or the accepting side of a listener. */
struct conn_side {
    struct poll_word *word;   // outlives the connection (of a real descriptor: poll_desc)
    int64_t deadline_ns;      // whoever uses the direction
    _Atomic int64_t timer_ns; // when the timer fires, RT_FOREVER: not armed
    struct rt_timer timer;
    bool timer_used;  // whoever uses the direction
    bool would_block; // nothing to do until the next edge; whoever uses the direction
};

struct rt_conn {
    const struct rt_net_world *net;
    _Atomic uint32_t refs;
    _Atomic bool closed;
    struct conn_side read, write;
    struct conn_either { // rt_conn_wait for both directions: two waiters, one word to park on
        struct poll_waiter waiter[2];
        struct poll_word woken;
    } either;
    char *local, *remote;
};

struct rt_listener {
    const struct rt_net_world *net;
    _Atomic uint32_t refs;
    _Atomic bool closed;
    struct conn_side accept;
    char *address;
};

/* Sockets of one world; `state` is the world's. Only listen (names) and dial park. */
struct rt_net_world {
    /* A listener filled by conn_listener_init. */
    int (*listen)(void *state, const char *address, struct rt_listener **out, struct why *why);
    /* A new connection, or -EAGAIN (then an edge will come), or -errno. */
    int (*try_accept)(struct rt_listener *l, struct rt_conn **out);
    void (*listener_shut)(struct rt_listener *l); // once: refuse from now on
    void (*listener_free)(struct rt_listener *l); // last reference is gone
    /* A connection filled by conn_init. */
    int (*dial)(void *state, const char *address, int64_t deadline_ns, struct rt_conn **out,
                struct why *why);
    ssize_t (*try_read)(struct rt_conn *c, void *buf, size_t len); // -EAGAIN: an edge will come
    ssize_t (*try_writev)(struct rt_conn *c, const struct iovec *parts, int count);
    bool (*is_drained)(struct rt_conn *c);  // after a short read: an edge will come before more
    bool (*is_readable)(struct rt_conn *c); // bytes, end or error; if not, an edge will come
    int (*shut_write)(struct rt_conn *c);   // end of stream to the peer
    void (*shut)(struct rt_conn *c);        // once: both directions
    void (*conn_free)(struct rt_conn *c);   // last reference is gone
};

extern const struct rt_net_world net_real;

/* For worlds. Names are set once, before anybody else sees the connection; they are copied. */
void conn_init(struct rt_conn *c, const struct rt_net_world *net, struct poll_word *read,
               struct poll_word *write);
void conn_set_names(struct rt_conn *c, const char *local, const char *remote);
void conn_deinit(struct rt_conn *c);
void conn_listener_init(struct rt_listener *l, const struct rt_net_world *net,
                        struct poll_word *accept, const char *address);
void conn_listener_deinit(struct rt_listener *l);
void conn_side_init(struct conn_side *side, struct poll_word *word);
void conn_side_deinit(struct conn_side *side);
/* Wait for an edge on one side, not beyond deadline_ns (the caller looks at the clock).
 * Context: parks. */
void conn_side_wait(struct conn_side *side, int64_t deadline_ns, enum park_reason reason);
bool conn_is_past(int64_t deadline_ns);

/* For select. Arm: true when the case can go on already (nothing was armed), else `w` fires when it
 * may. Disarm follows every arm that returned false. Chosen: the select took this case. Readiness
 * that nobody took stays remembered.  Context: goroutine; never parks. */
bool conn_select_arm(struct rt_conn *c, struct poll_waiter *w);
void conn_select_disarm(struct rt_conn *c, struct poll_waiter *w);
void conn_select_chosen(struct rt_conn *c);
