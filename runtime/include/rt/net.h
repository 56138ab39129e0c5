/* rt/net.h: stream sockets with deadlines. Every call tries first and parks only when it would
 * block. A connection is read by one goroutine at a time and written by one at a time (they may be
 * two). rt_conn_close wakes both with -ECANCELED; memory is freed by the last unref. No ref, unref or
 * look at an address parks. */
#pragma once
#include "rt/bytes.h"
#include "rt/time.h"
#include "rt/why.h"
#include <sys/types.h>
#include <sys/uio.h>

struct rt_conn;
struct rt_listener;

/* Listen on "host:port" (port 0: any; "[::1]:80", "*:80" work) or "unix:/path" (a socket that
 * nobody serves any more is replaced). A name that has several addresses takes the first that
 * works. An address in use is tried again for 0.3 s. 0, -EINVAL for what is no address, or -errno;
 * `why` gets the facts only ("address already in use"), the caller says what it wanted to do.
 * Context: parks. */
int rt_listen(const char *address, struct rt_listener **out, struct why *why);
/* The address in use, for port 0.  Context: never parks. */
const char *rt_listener_address(const struct rt_listener *l);
/* Next connection (TCP_NODELAY set), or -ECANCELED when closed, or -EMFILE and the like after
 * which trying again later is right. One goroutine at a time.  Context: parks. */
int rt_accept(struct rt_listener *l, struct rt_conn **out);
/* From the next rt_accept on, which then gives -ETIMEDOUT at that moment; RT_FOREVER at first.
 * Context: whoever accepts; never parks. */
void rt_listener_set_deadline(struct rt_listener *l, int64_t deadline_ns);
/* Refuse from now on, wake accept (-ECANCELED), and give up the reference that rt_listen gave.
 * A goroutine that loops in rt_accept while another closes holds a reference of its own.
 * Context: never parks. */
void rt_listener_close(struct rt_listener *l);
struct rt_listener *rt_listener_ref(struct rt_listener *l);
void rt_listener_unref(struct rt_listener *l);

/* Connect within the deadline, finding out what a name means included: -ETIMEDOUT, -ECONNREFUSED, ...,
 * with the facts in `why`. (A resolver that does not answer is left behind with a thread.)
 * Context: parks. */
int rt_dial(const char *address, int64_t deadline_ns, struct rt_conn **out, struct why *why);

struct rt_conn *rt_conn_ref(struct rt_conn *c);
void rt_conn_unref(struct rt_conn *c);
/* Shut both directions, wake whoever waits; later calls give -ECANCELED. The reference stays the
 * caller's; the last unref of a connection that is still open closes it. Idempotent.
 * Context: never parks. */
void rt_conn_close(struct rt_conn *c);
/* Say "end of stream" to the peer; reading goes on. 0 or -errno.  Context: never parks. */
int rt_conn_shut_write(struct rt_conn *c);

/* Bytes read (any number up to len), 0 at the end of the stream, or -errno: -ETIMEDOUT at the read
 * deadline, -ECANCELED after close.  Context: parks. */
ssize_t rt_conn_read(struct rt_conn *c, void *buf, size_t len);
/* The same, but never parks: -EAGAIN. */
ssize_t rt_conn_try_read(struct rt_conn *c, void *buf, size_t len);
/* Write all; 0 or -errno (then some bytes may have gone).  Context of both: parks. */
int rt_conn_write(struct rt_conn *c, const void *buf, size_t len);
int rt_conn_writev(struct rt_conn *c, const struct iovec *parts, int count);
/* What fits now; -EAGAIN when nothing does.  Context: never parks. */
ssize_t rt_conn_try_writev(struct rt_conn *c, const struct iovec *parts, int count);

/* Wait until a read would not block, or a write would not (flags, 0: neither), or rt_conn_wake was
 * called since the last wait returned, or the deadline. Owns no buffer while it waits. It trusts
 * the last attempt in each direction: it waits only for what ended in -EAGAIN (or was never wanted)
 * and returns at once otherwise, so a caller tries before it waits. It, like the READABLE case of a
 * select, may end early; callers loop.
 * Counts as the reader. 0, -ETIMEDOUT, -ECANCELED.  Context: parks. */
enum { RT_CONN_READABLE = 1, RT_CONN_WRITABLE = 2 };
int rt_conn_wait(struct rt_conn *c, int flags, int64_t deadline_ns);
/* Make the present or the next rt_conn_wait return: "there is something for you besides bytes".
 * Context: never parks. */
void rt_conn_wake(struct rt_conn *c);

/* From the next call on, by whoever uses that direction. A call that begins after its deadline
 * gives -ETIMEDOUT even when bytes are there, so that a trickle cannot hold it off. RT_FOREVER at first.
 * Context: never parks. */
void rt_conn_set_read_deadline(struct rt_conn *c, int64_t deadline_ns);
void rt_conn_set_write_deadline(struct rt_conn *c, int64_t deadline_ns);
const char *rt_conn_remote(const struct rt_conn *c); // "127.0.0.1:40312"
const char *rt_conn_local(const struct rt_conn *c);
