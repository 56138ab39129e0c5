/* poll/uring.c: the poller on io_uring: a ring for each P (ring.h).
 *
 *     reading     one multishot receive a connection: the kernel puts what comes into a buffer of the
 *                 ring, the completion puts that buffer into the connection's list of pieces, a read
 *                 copies out of it and gives the buffer back
 *     accepting   one multishot accept a listener; descriptors wait in the listener's list
 *     writing     by the system call; only when that would block a multishot poll for room
 *     the log     one write with RWF_DSYNC; the goroutine parks
 *
 * A read on a connection whose receive is not under way tries the system call first and starts the
 * receive, on the ring of its P, when that would block: so one that moved to another P follows it
 * after the next pause, and the pieces of a list are all of one ring. A receive ends when
 * - PIECES_MAX pieces wait: nobody reads. It is cancelled, the socket's buffer fills, the peer stops;
 * - the ring has no buffer left: reads go by the system call until there are some;
 * - the stream ends; what is known of that lies behind the pieces in `end`.
 *
 * Who owns what: a desc's `uring` part belongs to its lock, a ring's parts to theirs (ring.h). Order:
 * the desc's lock before those of a ring; nobody is woken under one. The last completion of a
 * request has no F_MORE; a descriptor is closed when the last one of both its requests has come,
 * never before: closing would not end them.
 *
 * Whoever waits for events waits in an epoll instance for the rings' own descriptors and the eventfd
 * of wake. Completion work is done by the thread that submitted the request, which it interrupts in
 * anything but an uninterruptible sleep: a goroutine's write to a disk holds up what its thread had
 * submitted. So log writes take the ring (the kernel's workers sleep for us), and so a kernel without
 * multishot receive is served with multishot polls, which have the same weakness. */
#include "rt/alloc.h"
#include "runtime/poll/poller.h"
#include "runtime/poll/ring.h"
#include "runtime/poll/sys.h"
#include "runtime/poll/uring_probe.h"
#include "runtime/sched/proc.h"
#include "runtime/sched/stack.h"
#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>

enum { PIECES_MAX = 16, ACCEPTED_MAX = 64, FIRST_ACCEPTED = 64, RINGS_MAX = 1024 };

/* What a completion is for: the upper byte of user_data; the rest is the desc's tag or a G. */
enum kind { KIND_POLL = 1, KIND_RECV, KIND_ACCEPT, KIND_WRITE };
static const uint64_t who_mask = (1ull << 56) - 1;
static const uint64_t wake_tag = UINT64_MAX;

static struct {
    struct ring *rings;
    unsigned count;
    struct uring_features has;
    char words[160];
    int epoll, wake_fd;
    _Atomic bool wake_sent; // set by wake, cleared by the blocked poll that has seen it
} uring = {.epoll = -1, .wake_fd = -1};

static uint64_t tag_of(enum kind kind, const struct poll_desc *d)
{
    return (uint64_t)kind << 56 | poll_desc_tag(d);
}

/* The ring of the P we are on; of the first one where there is no P. */
static struct ring *own_ring(void)
{
    int p = sched_p_index();
    return &uring.rings[p < 0 ? 0 : (unsigned)p % uring.count];
}

/* ---- requests; the desc's lock is held ----------------------------------------------------- */

static void start_poll_locked(struct poll_desc *d, uint32_t events)
{
    assert(!d->uring.poll);
    struct ring *r = d->uring.poll = own_ring();
    struct io_uring_sqe *sqe = ring_request(r);
    io_uring_prep_poll_multishot(sqe, d->fd, events);
    io_uring_sqe_set_data64(sqe, tag_of(KIND_POLL, d));
    ring_queued(r);
}

static void start_recv_locked(struct poll_desc *d)
{
    assert(!d->uring.recv);
    assert(d->uring.count == 0);
    struct ring *r = d->uring.recv = own_ring();
    struct io_uring_sqe *sqe = ring_request(r);
    io_uring_prep_recv_multishot(sqe, d->fd, NULL, 0, 0);
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = 0;
    io_uring_sqe_set_data64(sqe, tag_of(KIND_RECV, d));
    ring_queued(r);
    d->uring.pieces = r;
    d->uring.held_back = false;
}

static void start_accept_locked(struct poll_desc *d)
{
    assert(!d->uring.recv);
    struct ring *r = d->uring.recv = own_ring();
    struct io_uring_sqe *sqe = ring_request(r);
    io_uring_prep_multishot_accept(sqe, d->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    io_uring_sqe_set_data64(sqe, tag_of(KIND_ACCEPT, d));
    ring_queued(r);
    d->uring.held_back = false;
}

static bool is_over_locked(const struct poll_desc *d)
{
    return d->uring.closing && !d->uring.poll && !d->uring.recv;
}

/* ---- what arrived; the desc's lock is held ------------------------------------------------- */

static void put_piece_locked(struct poll_desc *d, uint16_t id, uint16_t len)
{
    struct uring_desc *u = &d->uring;
    struct ring *r = u->pieces;
    r->piece[id] = (struct ring_piece){.next = RING_NO_BUFFER, .begin = 0, .end = len};
    if (u->count++ > 0)
        r->piece[u->last].next = id;
    else
        u->first = id;
    u->last = id;
}

static void drop_first_locked(struct poll_desc *d)
{
    struct uring_desc *u = &d->uring;
    uint16_t id = u->first;
    u->first = u->pieces->piece[id].next;
    u->count--;
    ring_give_back(u->pieces, id);
}

static size_t read_pieces_locked(struct poll_desc *d, uint8_t *buf, size_t len)
{
    struct uring_desc *u = &d->uring;
    size_t done = 0;
    while (u->count > 0 && done < len) {
        struct ring_piece *piece = &u->pieces->piece[u->first];
        size_t n = (size_t)(piece->end - piece->begin);
        if (n > len - done)
            n = len - done;
        memcpy(buf + done, ring_buffer(u->pieces, u->first) + piece->begin, n);
        done += n;
        piece->begin = (uint16_t)(piece->begin + n);
        if (piece->begin == piece->end)
            drop_first_locked(d);
    }
    return done;
}

/* Descriptors that the kernel accepted before it could be stopped: as many as the process may have.
 * malloc, since this runs on a scheduler's stack, without a P. */
static void put_accepted_locked(struct poll_desc *d, int fd)
{
    struct uring_desc *u = &d->uring;
    if (u->accepted_count == u->accepted_cap) {
        uint32_t cap = u->accepted_cap ? u->accepted_cap * 2 : FIRST_ACCEPTED;
        int *more = realloc(u->accepted, cap * sizeof(*more));
        if (!more) {
            (void)sys_close(fd); // the peer sees its connection end, as with a full backlog
            return;
        }
        u->accepted = more;
        u->accepted_cap = cap;
    }
    u->accepted[u->accepted_count++] = fd;
}

static void forget_arrived_locked(struct poll_desc *d)
{
    struct uring_desc *u = &d->uring;
    while (u->count > 0)
        drop_first_locked(d);
    while (u->accepted_count > 0)
        (void)sys_close(u->accepted[--u->accepted_count]);
    free(u->accepted);
    u->accepted = NULL;
    u->accepted_cap = 0;
}

/* ---- I/O ----------------------------------------------------------------------------------- */

static ssize_t uring_recv(struct poll_desc *d, void *buf, size_t len)
{
    if (!uring.has.recv)
        return sys_recv(d->fd, buf, len, 0);
    struct uring_desc *u = &d->uring;
    ssize_t n = -EAGAIN;
    spin_lock(&u->lock);
    if (u->count > 0)
        n = (ssize_t)read_pieces_locked(d, buf, len);
    else if (u->end)
        n = u->end > 0 ? 0 : u->end;
    else if (!u->recv && (n = sys_recv(d->fd, buf, len, 0)) == -EAGAIN)
        start_recv_locked(d);
    spin_unlock(&u->lock);
    return n;
}

static bool uring_is_readable(struct poll_desc *d)
{
    char byte;
    if (!uring.has.recv)
        return sys_recv(d->fd, &byte, 1, MSG_PEEK) != -EAGAIN;
    struct uring_desc *u = &d->uring;
    bool readable = true;
    spin_lock(&u->lock);
    if (u->count == 0 && !u->end) {
        readable = !u->recv && sys_recv(d->fd, &byte, 1, MSG_PEEK) != -EAGAIN;
        if (!readable && !u->recv)
            start_recv_locked(d);
    }
    spin_unlock(&u->lock);
    return readable;
}

/* While a receive is under way, whatever comes makes an edge when it is put into the list. */
static bool uring_is_drained(struct poll_desc *d)
{
    if (!uring.has.recv)
        return !atomic_load(&d->ended);
    struct uring_desc *u = &d->uring;
    spin_lock(&u->lock);
    bool drained = u->recv && !u->held_back && u->count == 0 && !u->end;
    spin_unlock(&u->lock);
    return drained;
}

static void uring_want_write(struct poll_desc *d)
{
    if (!uring.has.recv)
        return; // watched all the time
    spin_lock(&d->uring.lock);
    if (!d->uring.poll)
        start_poll_locked(d, POLLOUT);
    spin_unlock(&d->uring.lock);
}

static int uring_accept(struct poll_desc *d)
{
    struct uring_desc *u = &d->uring;
    int fd = -EAGAIN;
    spin_lock(&u->lock);
    if (u->accepted_count > 0) {
        fd = u->accepted[0];
        u->accepted_count--;
        memmove(u->accepted, u->accepted + 1, u->accepted_count * sizeof(*u->accepted));
    } else if (!u->recv && (fd = sys_accept(d->fd, NULL, NULL)) == -EAGAIN) {
        if (uring.has.accept)
            start_accept_locked(d);
        else if (!u->poll)
            start_poll_locked(d, POLLIN);
    }
    spin_unlock(&u->lock);
    return fd;
}

/* Submitted at once: whoever writes the log has nothing better to do than to wait for it. The
 * kernel's worker reads from `buf` while we are parked, and a parked goroutine's stack, ours or that of
 * another, may be put away: what lies there goes by the system call. */
static int uring_write_durable(int fd, const void *buf, size_t len, uint64_t offset)
{
    if (!uring.has.write || stack_g_of((uintptr_t)buf) || len > INT32_MAX)
        return -ENOSYS;
    struct g *gp = g_self();
    struct ring *r = own_ring();
    for (size_t done = 0; done < len;) {
        struct io_uring_sqe *sqe = ring_request(r);
        io_uring_prep_write(sqe, fd, (const char *)buf + done, (unsigned)(len - done),
                            offset + done);
        sqe->rw_flags = RWF_DSYNC;
        io_uring_sqe_set_data64(sqe, (uint64_t)KIND_WRITE << 56 | (uint64_t)(uintptr_t)gp);
        ring_queued(r);
        ring_submit(r);
        sched_park(NULL, NULL, PARK_FILE);
        intptr_t n = g_wait(gp)->result;
        if (n < 0)
            return (int)n;
        if (n == 0)
            return -EIO; // no progress and no reason
        done += (size_t)n;
        r = own_ring();
    }
    return 0;
}

/* ---- completions --------------------------------------------------------------------------- */

static int write_completed(uint64_t who, int result)
{
    struct g *gp = (struct g *)(uintptr_t)who;
    g_wait(gp)->result = result;
    sched_ready(gp);
    return 1;
}

static int poll_completed(struct poll_desc *d, int result, bool more)
{
    uint32_t events = POLLIN | POLLPRI | POLLOUT | POLLRDHUP;
    int ran = result > 0 ? poll_desc_edges(d, (uint32_t)result) : 0;
    if (more)
        return ran;
    spin_lock(&d->uring.lock);
    d->uring.poll = NULL;
    if (!d->uring.closing && !uring.has.recv)
        start_poll_locked(d, events); // completions overflowed
    bool over = is_over_locked(d);
    spin_unlock(&d->uring.lock);
    if (over)
        poll_desc_closed(d);
    else
        ran += poll_word_edge(&d->read) + poll_word_edge(&d->write); // who waits asks for another
    return ran;
}

/* Errors that say something of the request, not of the stream. */
static bool is_of_the_request(int result)
{
    return result == -ENOBUFS || result == -ECANCELED || result == -EINTR || result == -EAGAIN;
}

static int recv_completed(struct poll_desc *d, int result, unsigned flags)
{
    struct uring_desc *u = &d->uring;
    bool more = flags & IORING_CQE_F_MORE, cancel = false;
    spin_lock(&u->lock);
    struct ring *r = u->recv;
    if (flags & IORING_CQE_F_BUFFER) {
        uint16_t id = (uint16_t)(flags >> IORING_CQE_BUFFER_SHIFT);
        if (result > 0 && !u->closing)
            put_piece_locked(d, id, (uint16_t)result);
        else
            ring_give_back(r, id);
    }
    if (more && !u->held_back && (u->closing || u->count >= PIECES_MAX))
        cancel = u->held_back = true;
    if (!more) {
        u->recv = NULL;
        if (result <= 0 && !is_of_the_request(result))
            u->end = result ? result : 1;
    }
    bool over = is_over_locked(d);
    uint64_t tag = tag_of(KIND_RECV, d);
    spin_unlock(&u->lock);
    if (cancel)
        ring_cancel(r, tag);
    if (over)
        poll_desc_closed(d);
    return over ? 0 : poll_word_edge(&d->read);
}

static int accept_completed(struct poll_desc *d, int result, bool more)
{
    struct uring_desc *u = &d->uring;
    bool cancel = false;
    spin_lock(&u->lock);
    struct ring *r = u->recv;
    if (result >= 0 && u->closing)
        (void)sys_close(result);
    else if (result >= 0)
        put_accepted_locked(d, result);
    if (more && !u->held_back && (u->closing || u->accepted_count >= ACCEPTED_MAX))
        cancel = u->held_back = true;
    if (!more)
        u->recv = NULL; // an error is met again by the system call
    bool over = is_over_locked(d);
    uint64_t tag = tag_of(KIND_ACCEPT, d);
    spin_unlock(&u->lock);
    if (cancel)
        ring_cancel(r, tag);
    if (over)
        poll_desc_closed(d);
    return over ? 0 : poll_word_edge(&d->read);
}

static int completed(uint64_t tag, int result, unsigned flags)
{
    if (tag == RING_CANCEL_TAG)
        return 0;
    uint64_t who = tag & who_mask;
    bool more = flags & IORING_CQE_F_MORE;
    if (tag >> 56 == KIND_WRITE)
        return write_completed(who, result);
    struct poll_desc *d = poll_desc_of(who);
    assert(d); // the slot is not reused before the last completion
    switch (tag >> 56) {
    case KIND_POLL:
        return poll_completed(d, result, more);
    case KIND_RECV:
        return recv_completed(d, result, flags);
    case KIND_ACCEPT:
        return accept_completed(d, result, more);
    default:
        assert(!"a completion of no request");
    }
    return 0;
}

/* One M at a time; who finds it busy goes: the other one is looking. */
static int reap(struct ring *r)
{
    struct io_uring_cqe *cqes[POLL_EVENTS_MAX];
    if (!io_uring_cq_ready(&r->io) && !io_uring_cq_has_overflow(&r->io))
        return 0;
    if (atomic_exchange_explicit(&r->reaping, true, memory_order_acquire))
        return 0;
    unsigned count = io_uring_peek_batch_cqe(&r->io, cqes, POLL_EVENTS_MAX);
    int ran = 0;
    for (unsigned i = 0; i < count; i++)
        ran += completed(cqes[i]->user_data, cqes[i]->res, cqes[i]->flags);
    io_uring_cq_advance(&r->io, count);
    atomic_store_explicit(&r->reaping, false, memory_order_release);
    return ran;
}

/* Our own ring, and when that has nothing, those of Ps that are busy with something else. */
static int reap_from(unsigned first)
{
    int ran = 0;
    for (unsigned i = 0; i < uring.count && ran == 0; i++)
        ran = reap(&uring.rings[(first + i) % uring.count]);
    return ran;
}

/* ---- the form ------------------------------------------------------------------------------ */

static void submit_queued(struct ring *r)
{
    if (atomic_load_explicit(&r->queued, memory_order_relaxed) > 0)
        ring_submit(r);
}

static void uring_leave(int p) { submit_queued(&uring.rings[(unsigned)p % uring.count]); }

static void wait_for_rings(int64_t until_ns)
{
    struct epoll_event events[8];
    struct timespec buf;
    int count = sys_epoll_wait(uring.epoll, events, 8, poll_timeout(until_ns, &buf));
    for (int i = 0; i < count; i++) {
        uint64_t wakes;
        if (events[i].data.u64 != wake_tag)
            continue;
        (void)sys_read(uring.wake_fd, &wakes, sizeof(wakes)); // -EAGAIN: read already
        atomic_exchange(&uring.wake_sent, false); // an RMW: sees what the waker published
    }
}

/* Those of all rings: the others' Ps may compute, or have gone out of use. */
static int uring_poll(int p, int64_t until_ns)
{
    unsigned first = p < 0 ? 0 : (unsigned)p % uring.count;
    for (unsigned i = 0; i < uring.count; i++)
        submit_queued(&uring.rings[i]); // (B) of ring.h
    int ran = reap_from(first);
    if (ran == 0 && until_ns) {
        wait_for_rings(until_ns);
        ran = reap_from(first);
    }
    return ran;
}

static void uring_wake(void)
{
    if (!atomic_exchange(&uring.wake_sent, true))
        (void)sys_write(uring.wake_fd, &(uint64_t){1}, sizeof(uint64_t)); // cannot be full
}

static int uring_add(struct poll_desc *d)
{
    if (uring.has.recv)
        return 0; // the first read or write that would block asks
    spin_lock(&d->uring.lock);
    start_poll_locked(d, POLLIN | POLLPRI | POLLOUT | POLLRDHUP);
    spin_unlock(&d->uring.lock);
    return 0;
}

static void uring_remove(struct poll_desc *d)
{
    struct uring_desc *u = &d->uring;
    uint64_t poll_tag = tag_of(KIND_POLL, d), recv_tag = tag_of(KIND_RECV, d);
    spin_lock(&u->lock);
    u->closing = true;
    forget_arrived_locked(d);
    if (u->recv && u->held_back)
        recv_tag = 0; // cancelled already
    struct ring *poll = u->poll, *recv = u->recv;
    spin_unlock(&u->lock);
    if (poll) {
        submit_queued(poll); // what was never submitted cannot be cancelled
        ring_cancel(poll, poll_tag);
    }
    if (recv && recv_tag) {
        submit_queued(recv);
        ring_cancel(recv, recv_tag);
        ring_cancel(recv, tag_of(KIND_ACCEPT, d)); // it is one of the two
    }
    if (!poll && !recv)
        poll_desc_closed(d);
}

/* No durable write is under way: a thread that submitted some does not end before the kernel's workers
 * have done with them, and all threads have ended. */
static void uring_stop(void)
{
    for (unsigned i = 0; i < uring.count; i++)
        ring_close(&uring.rings[i]);
    rt_free(uring.rings);
    uring.rings = NULL;
    uring.count = 0;
    if (uring.wake_fd >= 0)
        (void)sys_close(uring.wake_fd);
    if (uring.epoll >= 0)
        (void)sys_close(uring.epoll);
    uring.wake_fd = uring.epoll = -1;
    atomic_store(&uring.wake_sent, false);
}

static int open_rings(struct why *why)
{
    unsigned wanted = rt_procs() < RINGS_MAX ? rt_procs() : RINGS_MAX;
    uring.rings = rt_alloc_zero(wanted * sizeof(*uring.rings));
    if (!uring.rings)
        return -ENOMEM;
    for (; uring.count < wanted; uring.count++) {
        struct ring *r = &uring.rings[uring.count];
        int err = ring_open(r, uring.has.recv, why);
        if (!err) {
            err = sys_epoll_add(uring.epoll, r->io.ring_fd, EPOLLIN, uring.count);
            if (err)
                ring_close(r);
        }
        if (err)
            return err;
    }
    return 0;
}

static int uring_start(struct why *why)
{
    char text[128];
    int err = uring_probe(&uring.has, why);
    if (err)
        return err;
    err = uring.epoll = sys_epoll_create();
    if (err >= 0)
        err = uring.wake_fd = sys_eventfd();
    if (err >= 0)
        err = sys_epoll_add(uring.epoll, uring.wake_fd, EPOLLIN, wake_tag);
    if (err >= 0)
        err = sys_epoll_wait(uring.epoll, &(struct epoll_event){0}, 1, &(struct timespec){0});
    if (err < 0)
        why_set(why, "epoll for the rings: %s", why_errno(err, text, sizeof(text)));
    else
        err = open_rings(why);
    if (err < 0)
        uring_stop();
    else
        uring_features_text(&uring.has, uring.count, uring.words, sizeof(uring.words));
    return err < 0 ? err : 0;
}

static const char *uring_words(void) { return uring.words; }

const struct poller_form poller_uring = {
    .name = "io_uring",
    .start = uring_start,
    .stop = uring_stop,
    .add = uring_add,
    .remove = uring_remove,
    .poll = uring_poll,
    .wake = uring_wake,
    .leave = uring_leave,
    .recv = uring_recv,
    .is_readable = uring_is_readable,
    .is_drained = uring_is_drained,
    .want_write = uring_want_write,
    .accept = uring_accept,
    .write_durable = uring_write_durable,
    .features = uring_words,
};
