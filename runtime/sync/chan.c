/* sync/chan.c: channels: one lock, a ring, two queues of waiters, values handed over directly. */
#include "runtime/sync/chan.h"
#include "rt/alloc.h"
#include "rt/defer.h"
#include <assert.h>
#include <errno.h>
#include <string.h>

static _Atomic uint64_t last_number;

void chan_init(struct rt_chan *c, size_t value_bytes)
{
    *c = (struct rt_chan){.value_bytes = value_bytes, .is_embedded = true};
    c->number = atomic_fetch_add_explicit(&last_number, 1, memory_order_relaxed) + 1;
}

struct rt_chan *rt_chan_new(size_t value_bytes, uint32_t cap)
{
    size_t ring_bytes, bytes;
    if (__builtin_mul_overflow(value_bytes, cap, &ring_bytes) ||
        __builtin_add_overflow(ring_bytes, sizeof(struct rt_chan), &bytes))
        return NULL;
    struct rt_chan *c = rt_alloc(bytes);
    if (!c)
        return NULL;
    chan_init(c, value_bytes);
    c->is_embedded = false;
    c->cap = cap;
    c->ring = (uint8_t *)(c + 1);
    return c;
}

void rt_chan_free(struct rt_chan *c)
{
    if (!c)
        return;
    assert(!c->is_embedded);
    assert(!c->senders.first);
    assert(!c->receivers.first);
    rt_free(c);
}

static inline void copy(void *to, const void *from, size_t bytes)
{
    if (likely(bytes == sizeof(uint64_t) && to))
        memcpy(to, from, sizeof(uint64_t)); // a word or a pointer: one move
    else if (bytes > 0 && to)
        memcpy(to, from, bytes);
}

static inline uint8_t *ring_slot(struct rt_chan *c, uint32_t behind_head)
{
    uint64_t slot = (uint64_t)c->head + behind_head;
    return c->ring + (slot >= c->cap ? slot - c->cap : slot) * c->value_bytes;
}

/* Both: 0, -EPIPE, or -EAGAIN with *wake NULL. */
static inline __attribute__((always_inline)) int
try_send_locked(struct rt_chan *c, const void *value, struct rt_waiter **wake)
{
    struct rt_waiter *receiver = waitq_claim_first(&c->receivers);
    *wake = receiver;
    if (receiver) { // so nothing is in the ring, and it is open: invariant 1
        assert(c->len == 0);
        copy(receiver->value, value, c->value_bytes);
        return 0;
    }
    if (unlikely(c->closed))
        return -EPIPE;
    if (c->len == c->cap)
        return -EAGAIN;
    copy(ring_slot(c, c->len), value, c->value_bytes);
    c->len++;
    return 0;
}

static inline __attribute__((always_inline)) int try_recv_locked(struct rt_chan *c, void *value,
                                                                 struct rt_waiter **wake)
{
    struct rt_waiter *sender;
    *wake = NULL;
    if (c->len > 0) {
        copy(value, ring_slot(c, 0), c->value_bytes);
        c->head = c->head + 1 == c->cap ? 0 : c->head + 1;
        c->len--;
        sender = waitq_claim_first(&c->senders);
        *wake = sender;
        if (unlikely(sender)) { // its value takes the place that has become free
            assert(!c->closed); // invariant 1
            copy(ring_slot(c, c->len), sender->value, c->value_bytes);
            c->len++;
        }
        return 0;
    }
    if (c->cap == 0 && (sender = waitq_claim_first(&c->senders))) {
        assert(!c->closed); // invariant 1
        copy(value, sender->value, c->value_bytes);
        *wake = sender;
        return 0;
    }
    return c->closed ? -EPIPE : -EAGAIN;
}

int chan_try_send_locked(struct rt_chan *c, const void *value, struct rt_waiter **wake)
{
    return try_send_locked(c, value, wake);
}

int chan_try_recv_locked(struct rt_chan *c, void *value, struct rt_waiter **wake)
{
    return try_recv_locked(c, value, wake);
}

/* Queue the caller and park; the lock is held, and released meanwhile. */
static inline int wait_in(struct rt_chan *c, struct rt_waitq *q, void *value,
                          enum park_reason reason)
{
    struct rt_waiter w;
    struct g *self = g_running();
    assert(self); // only goroutines wait
    waiter_init(&w, self, NULL);
    w.value = value;
    waitq_push(q, &w);
    g_park_unlocking(self, &c->lock, reason);
    return w.result;
}

__attribute__((noinline)) static int wait_in_until(struct rt_chan *c, struct rt_waitq *q,
                                                   void *value, int64_t deadline_ns,
                                                   enum park_reason reason)
{
    struct rt_wait wait;
    struct rt_waiter w;
    waiter_init_until(&w, &wait, deadline_ns);
    w.value = value;
    waitq_push(q, &w);
    int err = waitq_park(q, &c->lock, &w, deadline_ns, reason);
    return err ? err : w.result;
}

/* The end of a call that did not wait. */
static inline int leave(struct rt_chan *c, struct rt_waiter *wake, int err)
{
    struct g *self = g_running();
    waitq_unlock(&c->lock);
    if (wake)
        g_ready(self, wake->gp);
    g_exit_call(self);
    return err;
}

int rt_chan_send(struct rt_chan *c, const void *value, int64_t deadline_ns)
{
    struct rt_waiter *wake;
    waitq_lock(&c->lock);
    int err = try_send_locked(c, value, &wake);
    if (err != -EAGAIN || deadline_ns == 0)
        return leave(c, wake, err);
    if (likely(deadline_ns == RT_FOREVER))
        return wait_in(c, &c->senders, (void *)value, PARK_CHAN_SEND);
    return wait_in_until(c, &c->senders, (void *)value, deadline_ns, PARK_CHAN_SEND);
}

int rt_chan_recv(struct rt_chan *c, void *value, int64_t deadline_ns)
{
    struct rt_waiter *wake;
    waitq_lock(&c->lock);
    int err = try_recv_locked(c, value, &wake);
    if (err != -EAGAIN || deadline_ns == 0)
        return leave(c, wake, err);
    if (likely(deadline_ns == RT_FOREVER))
        return wait_in(c, &c->receivers, value, PARK_CHAN_RECV);
    return wait_in_until(c, &c->receivers, value, deadline_ns, PARK_CHAN_RECV);
}

static struct rt_waiter *end_all(struct rt_waitq *q)
{
    struct rt_waiter *list = waitq_claim_all(q);
    for (struct rt_waiter *w = list; w; w = w->next)
        w->result = -EPIPE;
    return list;
}

void rt_chan_close(struct rt_chan *c)
{
    waitq_lock(&c->lock);
    if (c->closed) {
        waitq_unlock(&c->lock);
        rt_panic("a channel was closed twice");
    }
    c->closed = true;
    struct rt_waiter *receivers = end_all(&c->receivers), *senders = end_all(&c->senders);
    waitq_unlock(&c->lock);
    wait_wake_all(receivers);
    wait_wake_all(senders);
    g_exit_call(g_running());
}

uint32_t rt_chan_len(const struct rt_chan *c)
{
    struct rt_chan *locked = (struct rt_chan *)c;
    waitq_lock(&locked->lock);
    uint32_t len = c->len;
    waitq_unlock(&locked->lock);
    g_exit_call(g_running());
    return len;
}
