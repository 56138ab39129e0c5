/* sync/chan.h: the inside of a channel, for chan.c, select.c and context.c.
 *
 * Invariants: 1. receivers wait only when there is nothing to receive and the channel is open;
 * senders wait only when the buffer is full and it is open: so never both, but for waits that were
 * ended otherwise and have not left yet. 2. A value goes straight from the sender to a waiting
 * receiver; who waits does not run, so its stack may be written. */
#pragma once
#include "rt/chan.h"
#include "runtime/sync/waitq.h"

struct rt_chan {
    _Atomic uint32_t lock; // all of it
    bool closed;
    bool is_embedded;                   // not ours to free
    uint32_t cap, head, len;            // of the ring
    size_t value_bytes;                 // const
    uint64_t number;                    // order of creation: in which order a select locks
    struct rt_waitq senders, receivers; // their own locks are not used
    uint8_t *ring;                      // behind the struct
};

/* For a channel without buffer that lies in something else. */
void chan_init(struct rt_chan *c, size_t value_bytes);

/* One step of send or receive under the lock: 0, -EPIPE, or -EAGAIN: it has to wait. The waiter in
 * *wake, if any, is to be woken once the lock is released. */
int chan_try_send_locked(struct rt_chan *c, const void *value, struct rt_waiter **wake);
int chan_try_recv_locked(struct rt_chan *c, void *value, struct rt_waiter **wake);
