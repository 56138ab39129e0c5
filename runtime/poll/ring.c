/* poll/ring.c: see ring.h. Default flags: completion work interrupts the thread that submitted the
 * request wherever it is (only not in the middle of a disk write), so nothing waits for that thread
 * to enter the kernel by itself. SINGLE_ISSUER and DEFER_TASKRUN would bind the ring to one thread,
 * and a P to its first M. */
#include "runtime/poll/ring.h"
#include "runtime/poll/sys.h"
#include "runtime/sched/gmp.h"
#include <assert.h>
#include <errno.h>
#include <sys/mman.h>

enum { BUFFER_GROUP = 0 };
static const size_t memory_bytes = (size_t)RING_BUFFERS * RING_BUFFER_BYTES;
static const size_t free_bytes = RING_BUFFERS * sizeof(struct io_uring_buf);

static void *map(size_t bytes)
{
    void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return at == MAP_FAILED ? NULL : at;
}

static void close_buffers(struct ring *r)
{
    if (r->free)
        munmap(r->free, free_bytes);
    if (r->memory)
        munmap(r->memory, memory_bytes);
    r->free = NULL;
    r->memory = NULL;
}

static int open_buffers(struct ring *r)
{
    r->free = map(free_bytes);
    r->memory = map(memory_bytes);
    if (!r->free || !r->memory) {
        close_buffers(r);
        return -ENOMEM;
    }
    struct io_uring_buf_reg reg = {
        .ring_addr = (uint64_t)(uintptr_t)r->free,
        .ring_entries = RING_BUFFERS,
        .bgid = BUFFER_GROUP,
    };
    int err = io_uring_register_buf_ring(&r->io, &reg, 0);
    if (err) {
        close_buffers(r);
        return err;
    }
    io_uring_buf_ring_init(r->free);
    for (unsigned i = 0; i < RING_BUFFERS; i++)
        io_uring_buf_ring_add(r->free, ring_buffer(r, (uint16_t)i), RING_BUFFER_BYTES, (uint16_t)i,
                              io_uring_buf_ring_mask(RING_BUFFERS), (int)i);
    io_uring_buf_ring_advance(r->free, RING_BUFFERS);
    return 0;
}

int ring_open(struct ring *r, bool buffers, struct why *why)
{
    char text[128];
    struct io_uring_params params = {.flags = IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP,
                                     .cq_entries = RING_COMPLETIONS};
    int err = io_uring_queue_init_params(RING_ENTRIES, &r->io, &params);
    if (err) {
        why_set(why, "io_uring_setup: %s%s", why_errno(err, text, sizeof(text)),
                err == -EPERM ? " (kernel.io_uring_disabled, or a container's seccomp profile)"
                              : "");
        return err;
    }
    io_uring_ring_dontfork(&r->io); // a failure only leaves the ring visible to children
    if (buffers)
        err = open_buffers(r);
    r->has_buffers = buffers && !err;
    if (err) {
        why_set(why, "no rings of provided buffers: %s", why_errno(err, text, sizeof(text)));
        io_uring_queue_exit(&r->io);
    }
    return err;
}

void ring_close(struct ring *r)
{
    io_uring_queue_exit(&r->io);
    close_buffers(r);
}

static void submit_locked(struct ring *r)
{
    int n;
    do
        n = io_uring_submit(&r->io);
    while (n == -EINTR);
    if (n < 0 && n != -EAGAIN && n != -EBUSY)
        rt_fatal("io_uring_enter gave error %d", n);
    atomic_store_explicit(&r->queued, io_uring_sq_ready(&r->io), memory_order_relaxed);
}

struct io_uring_sqe *ring_request(struct ring *r)
{
    spin_lock(&r->sq_lock);
    struct io_uring_sqe *sqe;
    while (!(sqe = io_uring_get_sqe(&r->io)))
        submit_locked(r);
    return sqe;
}

void ring_queued(struct ring *r)
{
    uint32_t queued = atomic_load_explicit(&r->queued, memory_order_relaxed) + 1;
    atomic_store_explicit(&r->queued, queued, memory_order_relaxed);
    full_barrier(); // (A)
    if (queued >= RING_BATCH || load_relaxed(&sched.poll_taken))
        submit_locked(r);
    spin_unlock(&r->sq_lock);
}

void ring_submit(struct ring *r)
{
    spin_lock(&r->sq_lock);
    submit_locked(r);
    spin_unlock(&r->sq_lock);
}

/* By a system call of its own where there is one, so that no queue is touched. Not there any more, or just ending: its
 * completion comes or is there already. */
void ring_cancel(struct ring *r, uint64_t tag)
{
    struct io_uring_sync_cancel_reg reg = {.addr = tag, .fd = -1};
    int err = io_uring_register_sync_cancel(&r->io, &reg);
    if (err != -EINVAL)
        return;
    struct io_uring_sqe *sqe = ring_request(r); // a kernel before 6.0
    io_uring_prep_cancel64(sqe, tag, 0);
    io_uring_sqe_set_data64(sqe, RING_CANCEL_TAG);
    ring_queued(r);
    ring_submit(r);
}

void ring_give_back(struct ring *r, uint16_t id)
{
    spin_lock(&r->buffers_lock);
    io_uring_buf_ring_add(r->free, ring_buffer(r, id), RING_BUFFER_BYTES, id,
                          io_uring_buf_ring_mask(RING_BUFFERS), 0);
    io_uring_buf_ring_advance(r->free, 1);
    spin_unlock(&r->buffers_lock);
}
