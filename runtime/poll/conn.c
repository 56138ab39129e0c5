/* poll/conn.c: what all sockets have in common. See conn.h for the invariants. */
#include "runtime/poll/conn.h"
#include "rt/alloc.h"
#include "rt/sim.h"
#include "runtime/sched/here.h"
#include "runtime/sched/proc.h"
#include <assert.h>
#include <errno.h>

enum { PARTS_AT_ONCE = 64 };

static const struct rt_net_world *current_net(void **state_out)
{
    const struct rt_world *world = sched_world();
    *state_out = world ? world->state : NULL;
    return world && world->net ? world->net : &net_real;
}

/* ---- one side ---------------------------------------------------------------------------- */

bool conn_is_past(int64_t deadline_ns)
{
    return deadline_ns != RT_FOREVER && rt_now_ns() >= deadline_ns;
}

void conn_side_init(struct conn_side *side, struct poll_word *word)
{
    *side = (struct conn_side){
        .word = word, .deadline_ns = RT_FOREVER, .timer_ns = RT_FOREVER, .would_block = false};
}

void conn_side_deinit(struct conn_side *side)
{
    if (side->timer_used)
        rt_timer_stop(&side->timer);
}

/* The word outlives the side, so an edge that comes late hits nothing that was freed. */
static void deadline_came(void *arg)
{
    struct conn_side *side = arg;
    struct poll_word *word = side->word;
    atomic_store_explicit(&side->timer_ns, RT_FOREVER, memory_order_release);
    poll_word_edge(word);
}

static void arm_timer(struct conn_side *side, int64_t deadline_ns)
{
    if (atomic_load_explicit(&side->timer_ns, memory_order_acquire) <= deadline_ns)
        return;
    side->timer_used = true;
    atomic_store_explicit(&side->timer_ns, deadline_ns, memory_order_release);
    rt_timer_start(&side->timer, deadline_ns, deadline_came, side);
}

void conn_side_wait(struct conn_side *side, int64_t deadline_ns, enum park_reason reason)
{
    arm_timer(side, deadline_ns);
    (void)poll_word_wait(side->word, POLL_EDGE, reason);
    side->would_block = false;
}

/* ---- connections ------------------------------------------------------------------------- */

void conn_init(struct rt_conn *c, const struct rt_net_world *net, struct poll_word *read,
               struct poll_word *write)
{
    c->net = net;
    atomic_store_explicit(&c->refs, 1, memory_order_relaxed);
    atomic_store_explicit(&c->closed, false, memory_order_relaxed);
    conn_side_init(&c->read, read);
    conn_side_init(&c->write, write);
    c->either = (struct conn_either){0};
    c->local = c->remote = NULL;
}

void conn_set_names(struct rt_conn *c, const char *local, const char *remote)
{
    assert(!c->local);
    c->local = rt_strdup(local);
    c->remote = rt_strdup(remote);
}

void conn_deinit(struct rt_conn *c)
{
    conn_side_deinit(&c->read);
    conn_side_deinit(&c->write);
    rt_free(c->local);
    rt_free(c->remote);
}

int rt_dial(const char *address, int64_t deadline_ns, struct rt_conn **out, struct why *why)
{
    void *state;
    const struct rt_net_world *net = current_net(&state);
    return net->dial(state, address, deadline_ns, out, why);
}

struct rt_conn *rt_conn_ref(struct rt_conn *c)
{
    uint32_t before = atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
    assert(before > 0);
    return c;
}

void rt_conn_unref(struct rt_conn *c)
{
    uint32_t before = atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel);
    assert(before > 0);
    if (before > 1)
        return;
    if (!atomic_load_explicit(&c->closed, memory_order_relaxed))
        c->net->shut(c);
    c->net->conn_free(c);
}

static bool is_closed(struct rt_conn *c)
{
    return atomic_load_explicit(&c->closed, memory_order_acquire);
}

void rt_conn_close(struct rt_conn *c)
{
    if (atomic_exchange_explicit(&c->closed, true, memory_order_acq_rel))
        return;
    c->net->shut(c);
    poll_word_edge(c->read.word);
    poll_word_wake(c->read.word);
    poll_word_edge(c->write.word);
}

int rt_conn_shut_write(struct rt_conn *c)
{
    return is_closed(c) ? -ECANCELED : c->net->shut_write(c);
}

ssize_t rt_conn_try_read(struct rt_conn *c, void *buf, size_t len)
{
    assert(len > 0);
    g_exit_call(g_here());
    unsigned edge = poll_word_take(c->read.word, POLL_EDGE);
    if (is_closed(c))
        return -ECANCELED;
    if (c->read.would_block && !edge)
        return -EAGAIN;
    ssize_t n = c->net->try_read(c, buf, len);
    c->read.would_block = n == -EAGAIN || (n > 0 && (size_t)n < len && c->net->is_drained(c));
    return is_closed(c) ? -ECANCELED : n;
}

ssize_t rt_conn_read(struct rt_conn *c, void *buf, size_t len)
{
    for (;;) {
        if (conn_is_past(c->read.deadline_ns))
            return -ETIMEDOUT;
        ssize_t n = rt_conn_try_read(c, buf, len);
        if (n != -EAGAIN)
            return n;
        conn_side_wait(&c->read, c->read.deadline_ns, PARK_READ);
    }
}

ssize_t rt_conn_try_writev(struct rt_conn *c, const struct iovec *parts, int count)
{
    assert(count > 0);
    g_exit_call(g_here());
    if (is_closed(c))
        return -ECANCELED;
    ssize_t n = c->net->try_writev(c, parts, count);
    // Where writes do not block the edge just stays, whatever comes: neither side has to write the
    // word. Only an attempt after it was taken may be one to wait after.
    if (n == -EAGAIN && poll_word_take(c->write.word, POLL_EDGE))
        n = c->net->try_writev(c, parts, count);
    c->write.would_block = n == -EAGAIN;
    return is_closed(c) ? -ECANCELED : n;
}

/* Write all of at most PARTS_AT_ONCE parts, which are used up. */
static int write_parts(struct rt_conn *c, struct iovec *parts, int count)
{
    while (count > 0) {
        if (parts->iov_len == 0) {
            parts++;
            count--;
            continue;
        }
        if (conn_is_past(c->write.deadline_ns))
            return -ETIMEDOUT;
        ssize_t n = rt_conn_try_writev(c, parts, count);
        if (n == -EAGAIN) {
            conn_side_wait(&c->write, c->write.deadline_ns, PARK_WRITE);
            continue;
        }
        if (n < 0)
            return (int)n;
        for (size_t left = (size_t)n; left > 0;) {
            size_t used = left < parts->iov_len ? left : parts->iov_len;
            parts->iov_base = (char *)parts->iov_base + used;
            parts->iov_len -= used;
            left -= used;
            if (parts->iov_len == 0) {
                parts++;
                count--;
            }
        }
    }
    return 0;
}

int rt_conn_writev(struct rt_conn *c, const struct iovec *parts, int count)
{
    struct iovec batch[PARTS_AT_ONCE];
    assert(count >= 0);
    for (int done = 0; done < count;) {
        int n = count - done < PARTS_AT_ONCE ? count - done : PARTS_AT_ONCE;
        memcpy(batch, parts + done, (size_t)n * sizeof *batch);
        int err = write_parts(c, batch, n);
        if (err)
            return err;
        done += n;
    }
    return 0;
}

int rt_conn_write(struct rt_conn *c, const void *buf, size_t len)
{
    struct iovec part = {(void *)(uintptr_t)buf, len};
    return write_parts(c, &part, 1);
}

/* ---- waiting for readiness --------------------------------------------------------------- */

/* Two directions: the goroutine parks on a word of its own, which either waiter sets. */
static void read_side_fired(struct poll_waiter *w)
{
    struct conn_either *e =
        (struct conn_either *)((char *)w - offsetof(struct conn_either, waiter[0]));
    poll_word_edge(&e->woken);
}

static void write_side_fired(struct poll_waiter *w)
{
    struct conn_either *e =
        (struct conn_either *)((char *)w - offsetof(struct conn_either, waiter[1]));
    poll_word_edge(&e->woken);
}

static void wait_for_either(struct rt_conn *c)
{
    struct conn_either *e = &c->either;
    e->waiter[0].fire = read_side_fired;
    e->waiter[1].fire = write_side_fired;
    poll_word_reset(&e->woken);
    if (!poll_word_arm(c->read.word, &e->waiter[0], POLL_EDGE | POLL_WOKEN))
        return;
    if (poll_word_arm(c->write.word, &e->waiter[1], POLL_EDGE)) {
        (void)poll_word_wait(&e->woken, POLL_EDGE, PARK_CONN);
        poll_word_disarm(c->write.word, &e->waiter[1]);
    }
    poll_word_disarm(c->read.word, &e->waiter[0]);
}

int rt_conn_wait(struct rt_conn *c, int flags, int64_t deadline_ns)
{
    g_exit_call(g_here());
    for (bool parked = false;; parked = true) {
        unsigned seen = poll_word_take(c->read.word, POLL_BITS);
        if (seen & POLL_EDGE)
            c->read.would_block = false;
        if ((flags & RT_CONN_WRITABLE) && poll_word_take(c->write.word, POLL_EDGE))
            c->write.would_block = false;
        if (is_closed(c))
            return -ECANCELED;
        if (seen & POLL_WOKEN)
            return 0;
        if (parked && conn_is_past(deadline_ns))
            return -ETIMEDOUT; // its edge looks like readiness; real readiness is remembered
        if ((flags & RT_CONN_READABLE) && !c->read.would_block)
            return 0;
        if ((flags & RT_CONN_WRITABLE) && !c->write.would_block)
            return 0;
        if (conn_is_past(deadline_ns))
            return -ETIMEDOUT;
        arm_timer(&c->read, deadline_ns);
        if (flags & RT_CONN_WRITABLE) {
            wait_for_either(c);
        } else {
            seen = poll_word_wait(c->read.word, POLL_BITS, PARK_CONN);
            if (seen & POLL_EDGE)
                c->read.would_block = false;
            if ((seen & POLL_WOKEN) && !is_closed(c))
                return 0;
        }
    }
}

void rt_conn_wake(struct rt_conn *c) { poll_word_wake(c->read.word); }

bool conn_select_arm(struct rt_conn *c, struct poll_waiter *w)
{
    if (is_closed(c))
        return true;
    if (!c->read.would_block) {
        poll_word_reset(c->read.word);
        if (is_closed(c) || c->net->is_readable(c))
            return true;
        c->read.would_block = true;
    }
    return !poll_word_arm(c->read.word, w, POLL_BITS);
}

void conn_select_disarm(struct rt_conn *c, struct poll_waiter *w)
{
    poll_word_disarm(c->read.word, w);
}

void conn_select_chosen(struct rt_conn *c)
{
    if (poll_word_take(c->read.word, POLL_BITS) & POLL_EDGE)
        c->read.would_block = false;
}

void rt_conn_set_read_deadline(struct rt_conn *c, int64_t deadline_ns)
{
    c->read.deadline_ns = deadline_ns;
}

void rt_conn_set_write_deadline(struct rt_conn *c, int64_t deadline_ns)
{
    c->write.deadline_ns = deadline_ns;
}

const char *rt_conn_remote(const struct rt_conn *c) { return c->remote; }
const char *rt_conn_local(const struct rt_conn *c) { return c->local; }

/* ---- listeners --------------------------------------------------------------------------- */

void conn_listener_init(struct rt_listener *l, const struct rt_net_world *net,
                        struct poll_word *accept, const char *address)
{
    l->net = net;
    atomic_store_explicit(&l->refs, 1, memory_order_relaxed);
    atomic_store_explicit(&l->closed, false, memory_order_relaxed);
    conn_side_init(&l->accept, accept);
    l->address = rt_strdup(address);
}

void conn_listener_deinit(struct rt_listener *l)
{
    conn_side_deinit(&l->accept);
    rt_free(l->address);
}

int rt_listen(const char *address, struct rt_listener **out, struct why *why)
{
    void *state;
    const struct rt_net_world *net = current_net(&state);
    return net->listen(state, address, out, why);
}

const char *rt_listener_address(const struct rt_listener *l) { return l->address; }

struct rt_listener *rt_listener_ref(struct rt_listener *l)
{
    uint32_t before = atomic_fetch_add_explicit(&l->refs, 1, memory_order_relaxed);
    assert(before > 0);
    return l;
}

void rt_listener_unref(struct rt_listener *l)
{
    uint32_t before = atomic_fetch_sub_explicit(&l->refs, 1, memory_order_acq_rel);
    assert(before > 0);
    if (before > 1)
        return;
    if (!atomic_load_explicit(&l->closed, memory_order_relaxed))
        l->net->listener_shut(l);
    l->net->listener_free(l);
}

int rt_accept(struct rt_listener *l, struct rt_conn **out)
{
    g_exit_call(g_here());
    rt_listener_ref(l); // whoever closes meanwhile may hold the only other one
    int err;
    for (;;) {
        poll_word_reset(l->accept.word);
        err = -ECANCELED;
        if (atomic_load_explicit(&l->closed, memory_order_acquire))
            break;
        err = -ETIMEDOUT;
        if (conn_is_past(l->accept.deadline_ns))
            break;
        err = l->net->try_accept(l, out);
        if (err != -EAGAIN)
            break;
        conn_side_wait(&l->accept, l->accept.deadline_ns, PARK_READ);
    }
    if (err == -EINVAL && atomic_load_explicit(&l->closed, memory_order_acquire))
        err = -ECANCELED; // the system's word for a socket that listens no more
    rt_listener_unref(l);
    return err;
}

void rt_listener_set_deadline(struct rt_listener *l, int64_t deadline_ns)
{
    l->accept.deadline_ns = deadline_ns;
}

void rt_listener_close(struct rt_listener *l)
{
    bool before = atomic_exchange_explicit(&l->closed, true, memory_order_acq_rel);
    assert(!before);
    l->net->listener_shut(l);
    poll_word_edge(l->accept.word);
    rt_listener_unref(l);
}
