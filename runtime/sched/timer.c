/* sched/timer.c: heaps of timers, and sleeping.
 *
 * A timer is armed exactly while it lies in the heap it names. The name is only ever changed under
 * the lock of the heap that is named (or, the first time, by the one goroutine that knows the
 * timer), and never while that heap has it armed or firing: so locking the named heap and looking
 * again at the name is enough to own the timer. */
#include "runtime/sched/timer.h"
#include "rt/alloc.h"
#include "runtime/sched/gmp.h"
#include "runtime/sched/here.h"
#include "runtime/sched/idle.h"
#include <assert.h>
#include <string.h>

enum { HEAP_ARITY = 4, HEAP_FIRST_CAP = 64, HEAP_STOPPED_FEW = 64 };
enum { TIMER_IDLE, TIMER_ARMED };

void timers_init(struct timers *t)
{
    memset(t, 0, sizeof(*t));
    store_relaxed(&t->next_ns, RT_FOREVER);
}

void timers_deinit(struct timers *t)
{
    rt_free(t->heap);
    t->heap = NULL;
}

static void place(struct timers *h, uint32_t pos, struct timer_place p)
{
    h->heap[pos] = p;
    if (p.timer)
        p.timer->pos = pos;
}

static void sift_up(struct timers *h, uint32_t pos)
{
    struct timer_place p = h->heap[pos];
    while (pos > 0) {
        uint32_t parent = (pos - 1) / HEAP_ARITY;
        if (h->heap[parent].when_ns <= p.when_ns)
            break;
        place(h, pos, h->heap[parent]);
        pos = parent;
    }
    place(h, pos, p);
}

static void sift_down(struct timers *h, uint32_t pos)
{
    struct timer_place p = h->heap[pos];
    for (;;) {
        uint32_t first = pos * HEAP_ARITY + 1, least = pos;
        int64_t least_ns = p.when_ns;
        for (uint32_t i = first; i < first + HEAP_ARITY && i < h->count; i++) {
            if (h->heap[i].when_ns < least_ns) {
                least = i;
                least_ns = h->heap[i].when_ns;
            }
        }
        if (least == pos)
            break;
        place(h, pos, h->heap[least]);
        pos = least;
    }
    place(h, pos, p);
}

static void take_first(struct timers *h)
{
    assert(h->count > 0);
    struct timer_place last = h->heap[--h->count];
    if (h->count > 0) {
        h->heap[0] = last;
        sift_down(h, 0);
    }
}

static void resize(struct timers *h, uint32_t cap)
{
    struct timer_place *heap = rt_realloc(h->heap, cap * sizeof(*heap));
    if (!heap)
        rt_fatal("out of memory: no room for %u timers", cap);
    h->heap = heap;
    h->cap = cap;
}

/* Remove all empty places, and give memory back that is far too much. */
static void sweep(struct timers *h)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < h->count; i++)
        if (h->heap[i].timer)
            h->heap[kept++] = h->heap[i];
    h->count = kept;
    h->stopped = 0;
    for (uint32_t pos = kept; pos-- > 0;)
        sift_down(h, pos); // places those without children, too
    if (h->cap > HEAP_FIRST_CAP && kept < h->cap / 8)
        resize(h, h->cap / 4 > HEAP_FIRST_CAP ? h->cap / 4 : HEAP_FIRST_CAP);
}

/* After any change: the first place is a timer's, and others may read when it is due. */
static void note_first(struct timers *h)
{
    while (h->count > 0 && !h->heap[0].timer) {
        take_first(h);
        h->stopped--;
    }
    int64_t next_ns = h->count ? h->heap[0].when_ns : RT_FOREVER;
    if (next_ns != load_relaxed(&h->next_ns))
        store_seq(&h->next_ns, next_ns);
}

static void insert_locked(struct timers *h, struct rt_timer *t)
{
    if (h->count == h->cap)
        resize(h, h->cap ? h->cap * 2 : HEAP_FIRST_CAP);
    t->state = TIMER_ARMED;
    h->heap[h->count++] = (struct timer_place){t->when_ns, t};
    sift_up(h, h->count - 1);
    note_first(h);
}

/* An armed timer gets another time. */
static void move_locked(struct timers *h, struct rt_timer *t)
{
    uint32_t pos = t->pos;
    assert(pos < h->count);
    assert(h->heap[pos].timer == t);
    h->heap[pos].when_ns = t->when_ns;
    sift_up(h, pos);
    sift_down(h, t->pos);
    note_first(h);
}

static void remove_locked(struct timers *h, struct rt_timer *t)
{
    uint32_t pos = t->pos;
    assert(pos < h->count);
    assert(h->heap[pos].timer == t);
    h->heap[pos].timer = NULL;
    h->stopped++;
    t->state = TIMER_IDLE;
    if (h->stopped > HEAP_STOPPED_FEW && h->stopped > h->count / 4)
        sweep(h);
    note_first(h);
}

/* Lock the heap the timer names; NULL when it was never armed. */
static struct timers *lock_heap_of(struct rt_timer *t)
{
    for (;;) {
        struct timers *h = __atomic_load_n(&t->heap, __ATOMIC_ACQUIRE);
        if (!h)
            return NULL;
        spin_lock(&h->lock);
        if (__atomic_load_n(&t->heap, __ATOMIC_RELAXED) == h)
            return h;
        spin_unlock(&h->lock);
    }
}

/* The heap for a timer that is nowhere: this P's, or any when we have no P. */
static struct timers *home_heap(void)
{
    int p = sched_p_index();
    return &sched.ps[p == SCHED_NO_P ? 0 : p].timers;
}

void rt_timer_start(struct rt_timer *t, int64_t when_ns, void (*fn)(void *arg), void *arg)
{
    assert(fn);
    struct timers *h = lock_heap_of(t);
    bool is_armed = h && t->state == TIMER_ARMED;
    if (!is_armed && (!h || h->firing != t)) { // free to move
        struct timers *home = home_heap();
        if (h != home) {
            __atomic_store_n(&t->heap, home, __ATOMIC_RELEASE);
            if (h)
                spin_unlock(&h->lock);
            spin_lock(&home->lock);
            h = home;
        }
    }
    t->when_ns = when_ns;
    t->fn = fn;
    t->arg = arg;
    if (is_armed)
        move_locked(h, t);
    else
        insert_locked(h, t);
    spin_unlock(&h->lock);
    idle_timer_armed(when_ns);
    g_exit_call(g_here());
}

static bool stop(struct rt_timer *t)
{
    for (;;) {
        struct timers *h = lock_heap_of(t);
        if (!h)
            return false;
        if (t->state == TIMER_ARMED) {
            remove_locked(h, t);
            spin_unlock(&h->lock);
            return true;
        }
        // Running to its end before we return; from within itself there is nothing to wait for.
        bool running = h->firing == t && h->runner != (const void *)m_current();
        spin_unlock(&h->lock);
        if (!running)
            return false;
        cpu_relax();
    }
}

bool rt_timer_stop(struct rt_timer *t)
{
    bool was_armed = stop(t);
    g_exit_call(g_here());
    return was_armed;
}

int timers_run(struct timers *h, int64_t now_ns)
{
    int ran = 0;
    if (load_acquire(&h->next_ns) > now_ns)
        return 0;
    spin_lock(&h->lock);
    while (!h->firing && h->count && h->heap[0].when_ns <= now_ns) {
        struct rt_timer *t = h->heap[0].timer;
        assert(t); // the first is never a stopped one
        take_first(h);
        t->state = TIMER_IDLE;
        note_first(h);
        void (*fn)(void *arg) = t->fn;
        void *arg = t->arg;
        h->firing = t;
        h->runner = m_current();
        spin_unlock(&h->lock);
        fn(arg); // from here on t may be gone
        ran++;
        spin_lock(&h->lock);
        h->firing = NULL;
    }
    spin_unlock(&h->lock);
    return ran;
}

static void wake_sleeper(void *arg) { sched_ready(arg); }

static bool arm_sleep(struct g *gp, void *until_ns)
{
    rt_timer_start(&gp->sleep, *(int64_t *)until_ns, wake_sleeper, gp);
    return true;
}

void rt_sleep_until(int64_t deadline_ns)
{
    struct g *gp = g_self();
    assert(gp);
    if (deadline_ns <= rt_now_ns()) {
        rt_yield();
        return;
    }
    if (deadline_ns == RT_FOREVER)
        sched_park(NULL, NULL, PARK_FOREVER);
    else
        sched_park(arm_sleep, &deadline_ns, PARK_SLEEP);
}

void rt_sleep_ns(int64_t ns) { rt_sleep_until(rt_after_ns(ns)); }
