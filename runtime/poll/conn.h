/* poll/conn.h: streams of a world. What is common to real and simulated sockets (waiting, deadlines,
 * closing, references) is in conn.c; a world gives calls that never wait, and edges on two words.
 *
 * Invariants
 * 1. The descriptor is closed at the last unref, never by rt_conn_close: no call can meet a number
 *    that means something else by now.
 * 2. `closed` is set before both words get their last edge; every call looks at it after it reset
 *    the word and again after the system call.
 * 3. A timer that is armed at or before the deadline is left alone; firing is just an edge. So a
 *    deadline far away costs nothing per call. timer_ns is stored before the timer is started, and
 *    the timer function stores "not armed" before its edge: who trusts timer_ns gets that edge. */
#pragma once
#include "runtime/poll/poller.h"
#include "rt/net.h"
#include "rt/time.h"

/* One direction of a connection, or the accepting side of a listener. */
struct conn_side {
    struct poll_word *word;
    int64_t deadline_ns;         // whoever uses the direction
    _Atomic int64_t timer_ns;    // when the timer fires, RT_FOREVER: not armed
    struct rt_timer timer;
    bool would_block;            // the last attempt said so; whoever uses the direction
    bool in_use;                 // a call is inside: two readers are the caller's mistake
};

struct rt_conn {
    const struct rt_net_world *net;
    _Atomic uint32_t refs;
    _Atomic bool closed;
    _Atomic bool woken;          // rt_conn_wake since the last rt_conn_wait
    struct conn_side read, write;
    struct poll_waiter both;     // rt_conn_wait for two directions
    struct g *both_waiting;      // who fires `both` readies it
    _Atomic uint32_t both_state;
    char *local, *remote;
};

struct rt_listener {
    const struct rt_net_world *net;
    _Atomic uint32_t refs;
    _Atomic bool closed;
    struct conn_side accept;
    char *address;
};

/* Sockets of one world. `state` is the world's. None of them parks but resolve and connect. */
struct rt_net_world {
    /* Make a listener, filled by conn_listener_init. */
    int (*listen)(void *state, const char *address, struct rt_listener **out, struct why *why);
    /* A new connection filled by conn_init, or -EAGAIN (then an edge will come), or -errno. */
    int (*try_accept)(struct rt_listener *l, struct rt_conn **out);
    void (*listener_shut)(struct rt_listener *l); // once: refuse, answer what waits
    void (*listener_free)(struct rt_listener *l); // last reference is gone
    int (*dial)(void *state, const char *address, int64_t deadline_ns, struct rt_conn **out,
                struct why *why); // parks
    ssize_t (*try_read)(struct rt_conn *c, void *buf, size_t len); // -EAGAIN: an edge will come
    ssize_t (*try_writev)(struct rt_conn *c, const struct iovec *parts, int count);
    /* Is there something to read (bytes, end, error)? */
    bool (*is_readable)(struct rt_conn *c);
    void (*shut)(struct rt_conn *c);              // once: both directions
    void (*shut_write)(struct rt_conn *c);        // end of stream to the peer
    void (*free)(struct rt_conn *c);              // last reference is gone
};

extern const struct rt_net_world net_real;

/* For worlds. Strings are copied; words outlive the connection's last reference. */
void conn_init(struct rt_conn *c, const struct rt_net_world *net, struct poll_word *read,
               struct poll_word *write, const char *local, const char *remote);
void conn_deinit(struct rt_conn *c);
void conn_listener_init(struct rt_listener *l, const struct rt_net_world *net,
                        struct poll_word *accept, const char *address);
void conn_listener_deinit(struct rt_listener *l);
/* Wait for an edge on one side, or its deadline. 0, -ETIMEDOUT.  Context: parks. */
int conn_side_wait(struct conn_side *side, enum park_reason reason);

/* For select. Arm: true when the case can go on already (nothing was armed), else `w` fires when it
 * may. Disarm follows every arm that returned false. Chosen: the select took this case. Readiness
 * that nobody took stays remembered.  Context: goroutine; never parks. */
bool conn_select_arm(struct rt_conn *c, struct poll_waiter *w);
void conn_select_disarm(struct rt_conn *c, struct poll_waiter *w);
void conn_select_chosen(struct rt_conn *c);
