/* proto/transport.h: the byte stream under a connection, plain or encrypted. The HTTP code above
 * sees only this, so TLS goes in between by another table. Same words and results as rt/net.h. */
#pragma once
#include <rt/net.h>

struct transport;

struct transport_ops {
    ssize_t (*try_read)(struct transport *t, void *buf, size_t len);
    ssize_t (*try_writev)(struct transport *t, const struct iovec *parts, int count);
    int (*wait)(struct transport *t, int flags, int64_t deadline_ns);
    void (*free)(struct transport *t); // closes, too
};

/* What every kind has; a kind's own state follows it. */
struct transport {
    const struct transport_ops *ops;
    struct rt_conn *conn; // at the bottom: for wake, close and addresses
};

/* Bytes as they are. Takes over the caller's reference.  Context: never parks. */
struct transport *transport_plain(struct rt_conn *conn);

static inline ssize_t transport_try_read(struct transport *t, void *buf, size_t len)
{
    return t->ops->try_read(t, buf, len);
}
static inline ssize_t transport_try_writev(struct transport *t, const struct iovec *parts,
                                           int count)
{
    return t->ops->try_writev(t, parts, count);
}
static inline int transport_wait(struct transport *t, int flags, int64_t deadline_ns)
{
    return t->ops->wait(t, flags, deadline_ns);
}
static inline void transport_free(struct transport *t) { t->ops->free(t); }

/* Read what there is, waiting until the deadline: bytes, 0 at the end, -ETIMEDOUT, or -errno.
 * Context: parks. */
ssize_t transport_read(struct transport *t, void *buf, size_t len, int64_t deadline_ns);
/* Write all: 0, -ETIMEDOUT, or -errno. `parts` is used up.  Context: parks. */
int transport_writev(struct transport *t, struct iovec *parts, int count, int64_t deadline_ns);
/* Move `parts` past n written bytes; returns how many parts are done with. */
int transport_advance(struct iovec *parts, int count, size_t n);
