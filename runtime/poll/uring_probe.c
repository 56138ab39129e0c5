/* poll/uring_probe.c: see uring_probe.h. The kernel's list of operations does not tell a multishot
 * from a plain one: each is started on a throw-away ring and shows by its first completion (F_MORE)
 * whether it goes on. */
#include "runtime/poll/uring_probe.h"
#include "rt/alloc.h"
#include "runtime/poll/ring.h"
#include "runtime/poll/sys.h"
#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

/* Submit what was filled in; the flags of the first completion, or -errno. */
static int first_completion(struct ring *r)
{
    struct io_uring_cqe *cqe;
    ring_queued(r);
    ring_submit(r);
    int err = sys_uring_wait(r->io.ring_fd, 1, &(struct timespec){.tv_sec = 1});
    if (err < 0)
        return err;
    err = io_uring_peek_cqe(&r->io, &cqe);
    if (err)
        return err;
    int result = cqe->res < 0 ? cqe->res : (int)cqe->flags;
    io_uring_cqe_seen(&r->io, cqe);
    return result;
}

static int goes_on(int flags)
{
    return flags < 0 ? flags : flags & IORING_CQE_F_MORE ? 0 : -ENOSYS;
}

static int try_poll(struct ring *r, const int *ends)
{
    struct io_uring_sqe *sqe = ring_request(r);
    io_uring_prep_poll_multishot(sqe, ends[0], POLLIN);
    return goes_on(first_completion(r));
}

static int try_recv(struct ring *r, const int *ends)
{
    struct io_uring_sqe *sqe = ring_request(r);
    io_uring_prep_recv_multishot(sqe, ends[0], NULL, 0, 0);
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = 0;
    return goes_on(first_completion(r));
}

/* A listener without a name in any directory, and somebody who calls. */
static int try_accept(struct ring *r, const int *ends)
{
    (void)ends;
    struct sockaddr_storage at;
    struct sockaddr_un any = {.sun_family = AF_UNIX};
    socklen_t len = sizeof(at);
    int listener = sys_socket(AF_UNIX, SOCK_STREAM, 0),
        caller = sys_socket(AF_UNIX, SOCK_STREAM, 0);
    int err = listener < 0 ? listener : caller < 0 ? caller : 0;
    if (!err)
        err = sys_bind(listener, (struct sockaddr *)&any, sizeof(any.sun_family));
    if (!err)
        err = sys_listen(listener, 1);
    if (!err)
        err = sys_local(listener, &at, &len);
    if (!err)
        err = sys_connect(caller, (struct sockaddr *)&at, len);
    if (!err) {
        struct io_uring_sqe *sqe = ring_request(r);
        io_uring_prep_multishot_accept(sqe, listener, NULL, NULL, SOCK_CLOEXEC);
        err = goes_on(first_completion(r)); // the connection ends with the process of the peer: us
    }
    if (listener >= 0)
        (void)sys_close(listener);
    if (caller >= 0)
        (void)sys_close(caller);
    return err;
}

/* On a ring of its own, which ends whatever is under way. */
static int try_it(int (*feature)(struct ring *r, const int *ends), bool buffers, struct why *why)
{
    int ends[2];
    struct ring *r = rt_alloc_zero(sizeof(*r));
    if (!r)
        return -ENOMEM;
    int err = ring_open(r, buffers, why);
    if (!err) {
        err = sys_socketpair(ends);
        if (!err) {
            (void)sys_write(ends[1], "x", 1);
            err = feature(r, ends);
            (void)sys_close(ends[0]);
            (void)sys_close(ends[1]);
        }
        ring_close(r);
    }
    rt_free(r);
    return err;
}

static int check_basics(struct why *why)
{
    char text[128];
    struct io_uring_params params = {0};
    struct ring *r = rt_alloc_zero(sizeof(*r));
    int err = r ? ring_open(r, false, why) : -ENOMEM;
    if (!err) {
        params.features = r->io.features;
        struct io_uring_probe *probe = io_uring_get_probe_ring(&r->io);
        if (!probe) {
            why_set(why, "io_uring_register is not allowed");
            err = -EPERM;
        }
        io_uring_free_probe(probe);
        ring_close(r);
    }
    rt_free(r);
    if (err)
        return err;
    if (!(params.features & IORING_FEAT_NODROP)) {
        why_set(why, "this kernel's io_uring drops completions");
        return -ENOSYS;
    }
    err = try_it(try_poll, false, why);
    if (err)
        why_set(why, "io_uring has no multishot poll (%s)",
                err == -ENOSYS ? "kernel older than 5.13" : why_errno(err, text, sizeof(text)));
    return err;
}

int uring_probe(struct uring_features *out, struct why *why)
{
    struct why refusal;
    const char *only = getenv("KVD_URING");
    int err = check_basics(why);
    if (err)
        return err;
    *out = (struct uring_features){
        .recv = (!only || strstr(only, "recv")) && !try_it(try_recv, true, &refusal),
        .accept = (!only || strstr(only, "accept")) && !try_it(try_accept, false, &refusal),
        .write = !only || strstr(only, "write"), // since the first io_uring
    };
    out->accept = out->accept && out->recv; // else the listener is polled like the rest
    return 0;
}

void uring_features_text(const struct uring_features *has, unsigned rings, char *text, size_t cap)
{
    snprintf(text, cap, "a ring for each of %u P, %s%s%s", rings,
             has->recv ? "multishot receive" : "multishot poll",
             has->accept ? ", multishot accept" : "", has->write ? ", durable writes" : "");
}
