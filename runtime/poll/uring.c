/* poll/uring.c: the poller on io_uring: one multishot POLL_ADD for each descriptor, edge-triggered
 * by nature, on one ring shared by all Ps.
 *
 * Why one ring, and not one a P: with readiness only (no reads and writes on the ring) a descriptor
 * costs one submission in its life, so the lock below is taken at open and close alone, and whoever
 * waits hears of everything. A ring a P pays when each read is a submission of its own; then the
 * ring comes with the P (`p` of sched_poller.poll), filled and reaped only by the M that holds it.
 *
 * ring_lock guards the submission queue and each descriptor's `in_kernel` and `closing`. `reaping`
 * is held by the one M that reads completions, also while it blocks; others find it taken and go.
 * Completions carry the descriptor's tag. One without F_MORE is the last of its request: the
 * descriptor is then closed if it was to be (never before: closing it would not end the request),
 * else the request is made anew. That happens when completions overflowed, and when the thread that
 * submitted the request has ended, since the kernel cancels what a thread leaves behind.
 *
 * liburing 2.3's inlines are used for both queues; waiting is a raw call that submits nothing, so
 * that it needs no lock. Default flags: completions interrupt the submitting thread, which may be
 * spinning in a goroutine, and never wait for it to enter the kernel by itself. */
#include "runtime/poll/poller.h"
#include "runtime/poll/sys.h"
#include <assert.h>
#include <errno.h>
#include <liburing.h>
#include <poll.h>
#include <time.h>

enum { RING_ENTRIES = 256, RING_COMPLETIONS = 8192, REFUSALS_MAX = 1000 };
static const uint64_t wake_tag = UINT64_MAX, cancel_tag = UINT64_MAX - 1;

static struct {
    struct io_uring ring;
    int wake_fd;
    bool wake_armed;   // reaping
    unsigned refusals; // reaping: requests in a row that the kernel did not take
    struct spinlock ring_lock;
    _Atomic bool left_over; // the kernel was too busy for what is in the submission queue
    _Atomic bool reaping;
    _Atomic bool wake_sent; // set by wake, cleared by the next poll that may block
} uring = {.wake_fd = -1};

/* Room for one request; submits what is there when the queue is full. ring_lock is held. */
static struct io_uring_sqe *get_request_locked(void)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&uring.ring);
    while (!sqe) {
        int n = io_uring_submit(&uring.ring);
        assert(n >= 0 || n == -EINTR || n == -EAGAIN || n == -EBUSY);
        sqe = io_uring_get_sqe(&uring.ring);
    }
    return sqe;
}

/* What -EAGAIN or -EBUSY leaves in the queue goes with the next submission or the next poll. */
static int submit_locked(void)
{
    int n;
    do
        n = io_uring_submit(&uring.ring);
    while (n == -EINTR);
    bool busy = n == -EAGAIN || n == -EBUSY;
    atomic_store_explicit(&uring.left_over, busy, memory_order_relaxed);
    return busy ? 0 : n;
}

static int watch_locked(int fd, uint32_t events, uint64_t tag)
{
    struct io_uring_sqe *sqe = get_request_locked();
    io_uring_prep_poll_multishot(sqe, fd, events);
    io_uring_sqe_set_data64(sqe, tag);
    int n = submit_locked();
    return n < 0 ? n : 0;
}

static int watch_desc_locked(struct poll_desc *d)
{
    d->in_kernel = true;
    return watch_locked(d->fd, POLLIN | POLLPRI | POLLOUT | POLLRDHUP, poll_desc_tag(d));
}

static void uring_stop(void)
{
    io_uring_queue_exit(&uring.ring);
    if (uring.wake_fd >= 0)
        (void)sys_close(uring.wake_fd);
    uring.wake_fd = -1;
    uring.wake_armed = false;
    uring.refusals = 0;
    atomic_store(&uring.wake_sent, false);
}

static int check_operations(struct why *why)
{
    static const struct {
        int code;
        const char *name;
    } needed[] = {{IORING_OP_POLL_ADD, "POLL_ADD"}, {IORING_OP_ASYNC_CANCEL, "ASYNC_CANCEL"}};
    const unsigned features = IORING_FEAT_NODROP | IORING_FEAT_EXT_ARG;
    if ((uring.ring.features & features) != features) {
        why_set(why, "this kernel's io_uring drops completions or cannot wait with a timeout");
        return -ENOSYS;
    }
    struct io_uring_probe *probe = io_uring_get_probe_ring(&uring.ring);
    if (!probe) {
        why_set(why, "io_uring_register is not allowed");
        return -EPERM;
    }
    int err = 0;
    for (size_t i = 0; i < sizeof needed / sizeof needed[0] && !err; i++)
        if (!io_uring_opcode_supported(probe, needed[i].code)) {
            why_set(why, "this kernel's io_uring has no %s", needed[i].name);
            err = -ENOSYS;
        }
    io_uring_free_probe(probe);
    return err;
}

/* Multishot has no bit in the probe: watch the eventfd and see whether the first completion says
 * that more will come. */
static int check_multishot(struct why *why)
{
    char text[128];
    struct io_uring_cqe *cqe;
    uint64_t one = 1;
    int err = uring.wake_fd = sys_eventfd();
    if (err >= 0)
        err = watch_locked(uring.wake_fd, POLLIN, wake_tag);
    if (err >= 0) {
        (void)sys_write(uring.wake_fd, &one, sizeof one);
        err = sys_uring_wait(uring.ring.ring_fd, 1, &(struct timespec){.tv_sec = 1});
    }
    if (err >= 0 && io_uring_peek_cqe(&uring.ring, &cqe) == 0) {
        uring.wake_armed = cqe->flags & IORING_CQE_F_MORE;
        io_uring_cqe_seen(&uring.ring, cqe);
    }
    if (err < 0 || !uring.wake_armed) {
        why_set(why, "io_uring has no multishot poll (%s)",
                err < 0 ? why_errno(err, text, sizeof text) : "kernel older than 5.13");
        return err < 0 ? err : -ENOSYS;
    }
    (void)sys_read(uring.wake_fd, &one, sizeof one);
    return 0;
}

static int uring_start(struct why *why)
{
    char text[128];
    struct io_uring_params params = {.flags = IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP,
                                     .cq_entries = RING_COMPLETIONS};
    int err = io_uring_queue_init_params(RING_ENTRIES, &uring.ring, &params);
    if (err) {
        why_set(why, "io_uring_setup: %s%s", why_errno(err, text, sizeof text),
                err == -EPERM ? " (kernel.io_uring_disabled, or a container's seccomp profile)"
                              : "");
        return err;
    }
    io_uring_ring_dontfork(&uring.ring); // a failure only leaves the ring visible to children
    err = check_operations(why);
    if (!err)
        err = check_multishot(why);
    if (err)
        uring_stop();
    return err;
}

static int uring_add(struct poll_desc *d)
{
    spin_lock(&uring.ring_lock);
    int err = watch_desc_locked(d);
    spin_unlock(&uring.ring_lock);
    return err;
}

static void uring_remove(struct poll_desc *d)
{
    spin_lock(&uring.ring_lock);
    d->closing = true;
    bool wait = d->in_kernel;
    if (wait) {
        struct io_uring_sqe *sqe = get_request_locked();
        io_uring_prep_cancel64(sqe, poll_desc_tag(d), 0);
        io_uring_sqe_set_data64(sqe, cancel_tag);
        int n = submit_locked();
        assert(n >= 0);
    }
    spin_unlock(&uring.ring_lock);
    if (!wait)
        poll_desc_closed(d);
}

/* The last completion of the descriptor's request. */
static void request_ended(struct poll_desc *d, int result)
{
    spin_lock(&uring.ring_lock);
    bool closing = d->closing;
    d->in_kernel = false;
    if (!closing) {
        uring.refusals = result < 0 && result != -ECANCELED ? uring.refusals + 1 : 0;
        int err = watch_desc_locked(d);
        if (err || uring.refusals > REFUSALS_MAX)
            rt_fatal("io_uring does not watch descriptor %d any more: error %d", d->fd,
                     err ? err : result);
    }
    spin_unlock(&uring.ring_lock);
    if (closing)
        poll_desc_closed(d);
}

static int completed(uint64_t tag, int result, unsigned flags)
{
    if (tag == cancel_tag)
        return 0; // found, not found or too late: the request's own completion tells
    bool last = !(flags & IORING_CQE_F_MORE);
    if (tag == wake_tag) {
        if (last)
            uring.wake_armed = false;
        return 0;
    }
    struct poll_desc *d = poll_desc_of(tag);
    assert(d); // the slot is not reused before the last completion
    int ran = result > 0 ? poll_desc_edges(d, (uint32_t)result) : 0;
    if (last)
        request_ended(d, result);
    return ran;
}

static int reap(void)
{
    struct io_uring_cqe *cqes[POLL_EVENTS_MAX];
    unsigned count = io_uring_peek_batch_cqe(&uring.ring, cqes, POLL_EVENTS_MAX);
    int ran = 0;
    for (unsigned i = 0; i < count; i++)
        ran += completed(cqes[i]->user_data, cqes[i]->res, cqes[i]->flags);
    io_uring_cq_advance(&uring.ring, count);
    return ran;
}

/* Take back the eventfd's count and forget that a wake was sent: an RMW, so that what the waker
 * published before is seen by whoever looks at its queues after this. */
static bool take_wake(void)
{
    uint64_t wakes;
    if (!atomic_load(&uring.wake_sent))
        return false;
    (void)sys_read(uring.wake_fd, &wakes, sizeof wakes); // -EAGAIN: not written yet
    return atomic_exchange(&uring.wake_sent, false);
}

static void push_what_is_left(void)
{
    spin_lock(&uring.ring_lock);
    if (!uring.wake_armed) {
        uring.wake_armed = true;
        int err = watch_locked(uring.wake_fd, POLLIN, wake_tag);
        if (err)
            rt_fatal("io_uring does not watch its eventfd any more: error %d", err);
    } else {
        (void)submit_locked(); // still too busy: the next poll tries again
    }
    spin_unlock(&uring.ring_lock);
}

static int uring_poll(int64_t until_ns)
{
    if (atomic_exchange_explicit(&uring.reaping, true, memory_order_acquire))
        return 0;
    if (!uring.wake_armed || atomic_load_explicit(&uring.left_over, memory_order_relaxed))
        push_what_is_left();
    int ran = reap();
    if (ran == 0 && until_ns && !take_wake()) {
        struct timespec buf;
        (void)sys_uring_wait(uring.ring.ring_fd, 1, poll_timeout(until_ns, &buf)); // any reason
        ran = reap();
        take_wake();
    }
    atomic_store_explicit(&uring.reaping, false, memory_order_release);
    return ran;
}

static void uring_wake(void)
{
    if (!atomic_exchange(&uring.wake_sent, true))
        (void)sys_write(uring.wake_fd, &(uint64_t){1}, sizeof(uint64_t)); // cannot be full
}

const struct poller_form poller_uring = {
    "io_uring", uring_start, uring_stop, uring_add, uring_remove, uring_poll, uring_wake,
};
