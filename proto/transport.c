#include "proto/transport.h"
#include <errno.h>
#include <rt/alloc.h>

static ssize_t plain_try_read(struct transport *t, void *buf, size_t len)
{
    return rt_conn_try_read(t->conn, buf, len);
}

static ssize_t plain_try_writev(struct transport *t, const struct iovec *parts, int count)
{
    return rt_conn_try_writev(t->conn, parts, count);
}

static int plain_wait(struct transport *t, int flags, int64_t deadline_ns)
{
    return rt_conn_wait(t->conn, flags, deadline_ns);
}

static void plain_free(struct transport *t)
{
    rt_conn_close(t->conn);
    rt_conn_unref(t->conn);
    rt_free(t);
}

static const struct transport_ops plain_ops = {plain_try_read, plain_try_writev, plain_wait,
                                               plain_free};

struct transport *transport_plain(struct rt_conn *conn)
{
    struct transport *t = rt_alloc(sizeof *t);
    *t = (struct transport){&plain_ops, conn};
    return t;
}

ssize_t transport_read(struct transport *t, void *buf, size_t len, int64_t deadline_ns)
{
    for (;;) {
        ssize_t n = transport_try_read(t, buf, len);
        if (n != -EAGAIN)
            return n;
        int err = transport_wait(t, RT_CONN_READABLE, deadline_ns);
        if (err)
            return err;
    }
}

int transport_advance(struct iovec *parts, int count, size_t n)
{
    int done = 0;
    while (done < count && n >= parts[done].iov_len)
        n -= parts[done++].iov_len;
    if (n) {
        parts[done].iov_base = (uint8_t *)parts[done].iov_base + n;
        parts[done].iov_len -= n;
    }
    return done;
}

int transport_writev(struct transport *t, struct iovec *parts, int count, int64_t deadline_ns)
{
    while (count) {
        ssize_t n = transport_try_writev(t, parts, count);
        if (n == -EAGAIN) {
            int err = transport_wait(t, RT_CONN_WRITABLE, deadline_ns);
            if (err)
                return err;
            continue;
        }
        if (n < 0)
            return (int)n;
        int done = transport_advance(parts, count, (size_t)n);
        parts += done;
        count -= done;
    }
    return 0;
}
