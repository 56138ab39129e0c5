/* sync/context.c: a tree of ends. A child holds a reference on its parent; the parent knows its
 * children without holding them, so that a finished request costs nothing while its connection
 * lives.
 *
 * Invariants: 1. A child's deadline is never after its parent's, and each has its own timer, so only
 * cancelling walks the tree. 2. `err` is set once, under ended_lock, before `done` is closed.
 * 3. A child lies in its parent's list from its making until it or its parent ends, or until its
 * last reference is gone; the links are under the parent's children_lock. 4. A child whose count is
 * zero is being freed by somebody who still has to take the parent's lock: whoever walks the list
 * only takes those it could take a reference on.
 *
 *   (A) unref: release. Pairs with (B) acquire by the last one.
 *   (C) err:   release, with the end. Pairs with (D) acquire in rt_context_err. */
#include "rt/context.h"
#include "rt/alloc.h"
#include "runtime/sync/chan.h"
#include <assert.h>
#include <errno.h>

struct rt_context {
    _Atomic uint32_t refs;
    _Atomic int err;           // 0 while alive
    int64_t deadline_ns;       // const
    struct rt_context *parent; // const; referenced
    struct rt_timer timer;
    struct rt_chan done;

    _Atomic uint32_t children_lock;
    bool has_ended;                 // children_lock: nobody joins any more
    struct rt_context *first_child; // children_lock

    struct rt_context *next, *prev;    // the parent's children_lock, while is_child
    bool is_child;                     // the parent's children_lock
    struct rt_context *next_to_cancel; // whoever took it off the parent's list
};

static bool ref_unless_zero(struct rt_context *c)
{
    uint32_t refs = atomic_load_explicit(&c->refs, memory_order_relaxed);
    while (refs > 0)
        if (atomic_compare_exchange_weak_explicit(&c->refs, &refs, refs + 1, memory_order_relaxed,
                                                  memory_order_relaxed))
            return true;
    return false;
}

static void unlink_locked(struct rt_context *parent, struct rt_context *child)
{
    assert(child->is_child);
    if (child->prev)
        child->prev->next = child->next;
    else
        parent->first_child = child->next;
    if (child->next)
        child->next->prev = child->prev;
    child->is_child = false;
}

/* Set the end and take the children off, referenced, linked by next_to_cancel in the order of their
 * making, in front of `later`. Nothing when it had ended. */
static struct rt_context *end_one(struct rt_context *c, int err, struct rt_context *later)
{
    waitq_lock(&c->children_lock);
    if (c->has_ended) {
        waitq_unlock(&c->children_lock);
        return later;
    }
    c->has_ended = true;
    atomic_store_explicit(&c->err, err, memory_order_release); // (C)
    // The newest is first in the list: pushing one after the other turns them round.
    for (struct rt_context *child = c->first_child, *next; child; child = next) {
        next = child->next;
        unlink_locked(c, child);
        if (!ref_unless_zero(child))
            continue; // invariant 4
        child->next_to_cancel = later;
        later = child;
    }
    waitq_unlock(&c->children_lock);
    rt_chan_close(&c->done);
    return later;
}

/* The whole tree under c, without recursion: it may be deep. */
static void end_tree(struct rt_context *c, int err)
{
    struct rt_context *list = end_one(c, err, NULL);
    while (list) {
        struct rt_context *child = list;
        list = end_one(child, err, child->next_to_cancel);
        rt_context_unref(child);
    }
}

/* On a scheduler's stack. Those who free it stop the timer first, which waits for us, unless its
 * last reference goes in here: then the timer sees that it would wait for itself. */
static void expire(void *arg)
{
    struct rt_context *c = arg;
    if (!ref_unless_zero(c))
        return; // being freed
    end_tree(c, -ETIMEDOUT);
    rt_context_unref(c);
}

/* Join the parent's children, or learn how it ended. */
static int join(struct rt_context *parent, struct rt_context *c)
{
    waitq_lock(&parent->children_lock);
    if (!parent->has_ended) {
        c->next = parent->first_child;
        if (c->next)
            c->next->prev = c;
        parent->first_child = c;
        c->is_child = true;
    }
    int err = atomic_load_explicit(&parent->err, memory_order_relaxed);
    waitq_unlock(&parent->children_lock);
    return err;
}

struct rt_context *rt_context_new(struct rt_context *parent, int64_t deadline_ns)
{
    struct rt_context *c = rt_alloc_zero(sizeof(*c));
    if (!c)
        return NULL;
    atomic_init(&c->refs, 1);
    chan_init(&c->done, 0);
    c->deadline_ns = deadline_ns;
    if (parent) {
        c->parent = rt_context_ref(parent);
        if (parent->deadline_ns < deadline_ns)
            c->deadline_ns = parent->deadline_ns;
        int err = join(parent, c);
        if (err)
            end_one(c, err, NULL); // it has no children
    }
    if (c->deadline_ns != RT_FOREVER && rt_context_err(c) == 0)
        rt_timer_start(&c->timer, c->deadline_ns, expire, c);
    return c;
}

struct rt_context *rt_context_ref(struct rt_context *c)
{
    uint32_t before = atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
    assert(before > 0); // else it was freed already
    return c;
}

void rt_context_unref(struct rt_context *c)
{
    while (c) {
        uint32_t before = atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel); // (A) (B)
        assert(before > 0);
        if (before > 1)
            return;
        struct rt_context *parent = c->parent;
        rt_timer_stop(&c->timer);
        if (parent) {
            waitq_lock(&parent->children_lock);
            if (c->is_child)
                unlink_locked(parent, c);
            waitq_unlock(&parent->children_lock);
        }
        assert(!c->first_child); // each would hold a reference
        rt_free(c);
        c = parent;
    }
}

void rt_context_cancel(struct rt_context *c, int err)
{
    assert(err != 0);
    end_tree(c, err);
}

int rt_context_err(struct rt_context *c)
{
    g_exit_call(g_here());
    return atomic_load_explicit(&c->err, memory_order_acquire); // (D)
}

int64_t rt_context_deadline_ns(const struct rt_context *c) { return c->deadline_ns; }

struct rt_chan *rt_context_done(struct rt_context *c) { return &c->done; }
