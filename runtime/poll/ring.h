/* poll/ring.h: one io_uring and the buffers it receives into. There is one for each P.
 *
 *     submission queue   filled and submitted by the M that holds the P (sq_lock covers the rare
 *                        case of two: a request that ended is made anew by whoever reaped that)
 *     completion queue   read by one M at a time (`reaping`): the P's own as a rule, another one
 *                        when that is busy or gone
 *     buffers            RING_BUFFERS of RING_BUFFER_BYTES; the kernel takes one for each piece that
 *                        arrives; whoever has read it gives it back, from any P (buffers_lock)
 *
 * What was queued goes with the next submission: when anybody looks at the poller, before the P is
 * left, or when RING_BATCH requests wait; and at once while somebody waits in the poller, since then
 * nobody looks until something comes, and the P may compute for long.
 *   (A) queue: `queued`, barrier, is somebody waiting.   Pairs with
 *   (B) wait:  says that he waits, barrier (idle.c), `queued`.   One of the two sees the other. */
#pragma once
#include "rt/why.h"
#include "runtime/sched/park.h"
#include <liburing.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum {
    RING_ENTRIES = 256,
    RING_COMPLETIONS = 8192,
    RING_BUFFERS = 2048,
    RING_BUFFER_BYTES = 2048,
    RING_BATCH = 64,
    RING_NO_BUFFER = UINT16_MAX,
};

/* user_data of a cancellation: its completion says nothing that the request's own does not. */
#define RING_CANCEL_TAG UINT64_MAX

/* A piece that arrived and was not read yet; in the list of its connection, whose lock guards it. */
struct ring_piece {
    uint16_t next; // RING_NO_BUFFER: the last one
    uint16_t begin, end;
};

struct ring {
    struct io_uring io;
    struct spinlock sq_lock;
    _Atomic uint32_t queued; // requests that were not submitted yet; sq_lock writes
    _Atomic bool reaping;
    bool has_buffers; // const after open
    struct spinlock buffers_lock;
    struct io_uring_buf_ring *free; // what the kernel may take; buffers_lock
    uint8_t *memory;
    struct ring_piece piece[RING_BUFFERS];
};

/* `buffers`: with buffers to receive into. 0 or -errno with why (one clause). */
int ring_open(struct ring *r, bool buffers, struct why *why);
void ring_close(struct ring *r);

/* A request to be filled in; `r->sq_lock` is held from here to ring_queued.
 * Context: never parks. */
struct io_uring_sqe *ring_request(struct ring *r);
/* It is filled in. Submits when many wait, or nobody would soon. */
void ring_queued(struct ring *r);
/* Submit what is queued; what the kernel is too busy for stays. */
void ring_submit(struct ring *r);

/* End the request with this tag, from any thread; its own completion tells. */
void ring_cancel(struct ring *r, uint64_t tag);

static inline uint8_t *ring_buffer(const struct ring *r, uint16_t id)
{
    return r->memory + (size_t)id * RING_BUFFER_BYTES;
}
/* Its bytes have been read. */
void ring_give_back(struct ring *r, uint16_t id);
