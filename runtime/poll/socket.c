/* poll/socket.c: the sockets of the real world: calls that never wait; readiness comes as edges
 * from the poller to the words of a poll_desc. */
#include "rt/alloc.h"
#include "runtime/poll/address.h"
#include "runtime/poll/conn.h"
#include "runtime/poll/sys.h"
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <sys/stat.h>

enum { BACKLOG = 4096 };
static const int64_t unix_retry_ns = 2 * RT_MS;
/* The kernel ends an io_uring some time after its process, and with it the sockets that were
 * watched: a process that is started again at once may meet its own past on its port. */
static const int64_t port_wait_ns = 300 * RT_MS, port_retry_ns = 10 * RT_MS;

struct socket_conn {
    struct rt_conn base;
    struct poll_desc *desc;
    bool tcp; // set by who connects or accepts, then const
};

struct socket_listener {
    struct rt_listener base;
    struct poll_desc *desc;
    bool tcp;
    char *path; // of a unix socket, to unlink; NULL otherwise
};

static struct socket_conn *conn_of(struct rt_conn *c)
{
    assert(c->net == &net_real);
    return (struct socket_conn *)(void *)c;
}

static struct socket_listener *listener_of(struct rt_listener *l)
{
    assert(l->net == &net_real);
    return (struct socket_listener *)(void *)l;
}

static void say(struct why *why, int err)
{
    char text[128];
    why_set(why, "%s", why_errno(err, text, sizeof text));
}

/* ---- listening --------------------------------------------------------------------------- */

/* Does nobody answer on this unix socket any more? Then a crashed process left it behind. */
static bool is_abandoned(const struct sockaddr_un *a, socklen_t len)
{
    struct stat st;
    if (sys_stat(a->sun_path, &st) || !S_ISSOCK(st.st_mode))
        return false;
    int fd = sys_socket(AF_UNIX, SOCK_STREAM, 0);
    if (fd < 0)
        return false;
    int err = sys_connect(fd, (const struct sockaddr *)a, len);
    (void)sys_close(fd);
    return err == -ECONNREFUSED;
}

static int bind_and_listen(int fd, const struct address *a)
{
    const struct sockaddr *data = (const struct sockaddr *)&a->data;
    int err = 0;
    if (data->sa_family != AF_UNIX)
        err = sys_set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (!err && data->sa_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const void *)data;
        bool any = IN6_IS_ADDR_UNSPECIFIED(&v6->sin6_addr);
        err = sys_set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, !any);
    }
    if (!err)
        err = sys_bind(fd, data, a->len);
    const struct sockaddr_un *path = (const void *)data;
    if (err == -EADDRINUSE && data->sa_family == AF_UNIX && is_abandoned(path, a->len)) {
        (void)sys_unlink(path->sun_path); // if it does not work, bind says so
        err = sys_bind(fd, data, a->len);
    }
    return err ? err : sys_listen(fd, BACKLOG);
}

static int listen_on(const struct address *a, struct rt_listener **out)
{
    int family = a->data.ss_family;
    int fd = sys_socket(family, SOCK_STREAM, 0);
    if (fd < 0)
        return fd;
    int err = bind_and_listen(fd, a);
    struct sockaddr_storage local;
    socklen_t len = 0;
    if (!err)
        err = sys_local(fd, &local, &len);
    struct poll_desc *desc;
    if (!err)
        err = poll_open(fd, &desc);
    if (err) {
        (void)sys_close(fd);
        return err;
    }
    char text[ADDRESS_TEXT];
    struct socket_listener *l = rt_alloc_zero(sizeof *l);
    l->desc = desc;
    l->tcp = family != AF_UNIX;
    l->path =
        family == AF_UNIX ? rt_strdup(((struct sockaddr_un *)(void *)&local)->sun_path) : NULL;
    conn_listener_init(&l->base, &net_real, &desc->read, address_text(&local, len, text));
    *out = &l->base;
    return 0;
}

static int socket_listen(void *state, const char *address, struct rt_listener **out,
                         struct why *why)
{
    (void)state;
    struct addresses found;
    int err = poller_start(why);
    if (!err)
        err = address_resolve(address, true, RT_FOREVER, &found, why);
    if (err)
        return err;
    for (int64_t until = rt_after_ns(port_wait_ns);;) {
        for (int i = 0; i < found.count; i++) {
            err = listen_on(&found.list[i], out);
            if (!err)
                return 0;
        }
        if (err != -EADDRINUSE || rt_now_ns() >= until)
            break;
        rt_sleep_ns(port_retry_ns);
    }
    say(why, err);
    return err;
}

/* The descriptor stays the caller's when this fails. */
static int new_conn(int fd, struct socket_conn **out)
{
    struct poll_desc *desc;
    int err = poll_open(fd, &desc);
    if (err)
        return err;
    struct socket_conn *c = rt_alloc_zero(sizeof *c);
    c->desc = desc;
    conn_init(&c->base, &net_real, &desc->read, &desc->write);
    *out = c;
    return 0;
}

static void connected(struct socket_conn *c, bool tcp)
{
    struct sockaddr_storage a;
    socklen_t len;
    char local[ADDRESS_TEXT] = "", remote[ADDRESS_TEXT] = "";
    c->tcp = tcp;
    if (tcp) // what fails here because the peer is gone shows at the first read
        (void)sys_set_option(c->desc->fd, IPPROTO_TCP, TCP_NODELAY, 1);
    if (sys_local(c->desc->fd, &a, &len) == 0)
        address_text(&a, len, local);
    if (sys_remote(c->desc->fd, &a, &len) == 0)
        address_text(&a, len, remote);
    conn_set_names(&c->base, local, remote);
}

static int socket_try_accept(struct rt_listener *base, struct rt_conn **out)
{
    struct socket_listener *l = listener_of(base);
    int fd;
    do
        fd = poll_accept(l->desc);
    while (fd == -ECONNABORTED || fd == -EPROTO); // this one went away; look at the next
    if (fd < 0)
        return fd;
    struct socket_conn *c;
    int err = new_conn(fd, &c);
    if (err) {
        (void)sys_close(fd);
        return err;
    }
    connected(c, l->tcp);
    *out = &c->base;
    return 0;
}

/* A shut listener refuses at once, although its descriptor lives until the last unref; with
 * SO_REUSEADDR its port may be bound again meanwhile. */
static void socket_listener_shut(struct rt_listener *base)
{
    struct socket_listener *l = listener_of(base);
    if (l->path)
        (void)sys_unlink(l->path); // somebody else may have done it
    (void)sys_shutdown(l->desc->fd, SHUT_RDWR);
}

static void socket_listener_free(struct rt_listener *base)
{
    struct socket_listener *l = listener_of(base);
    conn_listener_deinit(base);
    poll_close(l->desc);
    rt_free(l->path);
    rt_free(l);
}

/* ---- dialling ---------------------------------------------------------------------------- */

static int wait_until_connected(struct socket_conn *c, int64_t deadline_ns)
{
    for (;;) {
        struct pollfd p = {.fd = c->desc->fd, .events = POLLOUT};
        poll_word_reset(c->base.write.word);
        if (sys_poll_now(&p) > 0)
            return sys_socket_error(c->desc->fd);
        if (conn_is_past(deadline_ns))
            return -ETIMEDOUT;
        poll_want_write(c->desc);
        conn_side_wait(&c->base.write, deadline_ns, PARK_CONN);
    }
}

/* TCP lets a socket meet itself when the dialled port is one the system hands out, is free, and was
 * just given to this very socket. Nobody is there: refused. */
static bool is_connected_to_itself(int fd)
{
    struct sockaddr_storage local, remote;
    socklen_t local_len, remote_len;
    return sys_local(fd, &local, &local_len) == 0 && sys_remote(fd, &remote, &remote_len) == 0 &&
           local_len == remote_len && memcmp(&local, &remote, local_len) == 0;
}

/* A full backlog of a unix socket gives -EAGAIN and no edge: there is nothing to wait on but time. */
static int connect_or_wait(struct socket_conn *c, const struct address *a, int64_t deadline_ns)
{
    for (;;) {
        int err = sys_connect(c->desc->fd, (const struct sockaddr *)&a->data, a->len);
        if (err == -EINPROGRESS || err == -EINTR)
            return wait_until_connected(c, deadline_ns);
        if (err != -EAGAIN || a->data.ss_family != AF_UNIX)
            return err;
        if (conn_is_past(deadline_ns))
            return -ETIMEDOUT;
        int64_t next = rt_after_ns(unix_retry_ns);
        rt_sleep_until(next < deadline_ns ? next : deadline_ns);
    }
}

static int dial_one(const struct address *a, int64_t deadline_ns, struct rt_conn **out)
{
    bool tcp = a->data.ss_family != AF_UNIX;
    int fd = sys_socket(a->data.ss_family, SOCK_STREAM, 0);
    if (fd < 0)
        return fd;
    struct socket_conn *c;
    int err = new_conn(fd, &c);
    if (err) {
        (void)sys_close(fd);
        return err;
    }
    err = connect_or_wait(c, a, deadline_ns);
    if (!err && tcp && is_connected_to_itself(fd))
        err = -ECONNREFUSED;
    if (err) {
        rt_conn_unref(&c->base);
        return err;
    }
    connected(c, tcp);
    *out = &c->base;
    return 0;
}

/* Several addresses share the time that is left evenly, so that one that swallows everything does
 * not use it all. */
static int socket_dial(void *state, const char *address, int64_t deadline_ns, struct rt_conn **out,
                       struct why *why)
{
    (void)state;
    struct addresses found;
    int err = poller_start(why);
    if (!err)
        err = address_resolve(address, false, deadline_ns, &found, why);
    if (err)
        return err;
    for (int i = 0; i < found.count; i++) {
        int64_t until = deadline_ns;
        if (deadline_ns != RT_FOREVER) {
            int64_t now = rt_now_ns();
            until = now + (deadline_ns - now) / (found.count - i);
        }
        err = dial_one(&found.list[i], until, out);
        if (!err)
            return 0;
    }
    say(why, err);
    return err;
}

/* ---- connections ------------------------------------------------------------------------- */

static ssize_t socket_try_read(struct rt_conn *base, void *buf, size_t len)
{
    return poll_recv(conn_of(base)->desc, buf, len);
}

static ssize_t socket_try_writev(struct rt_conn *base, const struct iovec *parts, int count)
{
    struct poll_desc *d = conn_of(base)->desc;
    ssize_t n = sys_sendv(d->fd, parts, count);
    if (n == -EAGAIN)
        poll_want_write(d);
    return n;
}

/* Unix sockets also stop short where descriptors are passed. */
static bool socket_is_drained(struct rt_conn *base)
{
    struct socket_conn *c = conn_of(base);
    return c->tcp && poll_is_drained(c->desc);
}

static bool socket_is_readable(struct rt_conn *base)
{
    return poll_is_readable(conn_of(base)->desc);
}

static int socket_shut_write(struct rt_conn *base)
{
    return sys_shutdown(conn_of(base)->desc->fd, SHUT_WR);
}

static void socket_shut(struct rt_conn *base)
{
    (void)sys_shutdown(conn_of(base)->desc->fd, SHUT_RDWR); // -ENOTCONN: the peer was faster
}

static void socket_free(struct rt_conn *base)
{
    struct socket_conn *c = conn_of(base);
    conn_deinit(base);
    poll_close(c->desc);
    rt_free(c);
}

const struct rt_net_world net_real = {
    .listen = socket_listen,
    .try_accept = socket_try_accept,
    .listener_shut = socket_listener_shut,
    .listener_free = socket_listener_free,
    .dial = socket_dial,
    .try_read = socket_try_read,
    .try_writev = socket_try_writev,
    .is_drained = socket_is_drained,
    .is_readable = socket_is_readable,
    .shut_write = socket_shut_write,
    .shut = socket_shut,
    .conn_free = socket_free,
};
