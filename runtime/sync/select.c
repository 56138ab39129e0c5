/* sync/select.c: wait for the first of several channels and connections.
 *
 * 1. Arm the connections (they may end the wait from here on: see ARMING in waitq.h). 2. Lock all
 * channels and collect what is ready; if anything is, one of it is chosen, each with the same
 * chance. 3. Else queue one waiter per channel case and park. 4. Take out the waiters that did not
 * win; disarm.
 *
 * With one P steps 1 and 2 are a look (go_on_solo), which does without all that when something is
 * ready.
 *
 * Channels are locked in the order of their creation: any total order prevents deadlock, and this
 * one is the same in each run of a simulated world, which addresses are not. */
#include "rt/chan.h"
#include "runtime/poll/conn.h"
#include "runtime/sched/proc.h"
#include "runtime/sync/chan.h"
#include <assert.h>
#include <errno.h>
#include <string.h>

enum { SELECT_MAX_CASES = 16 };

/* What a connection fires when it is ready. */
struct source {
    struct poll_waiter waiter;
    struct rt_wait *wait;
    uint16_t pos;
    bool is_armed;
};

struct selection {
    struct rt_case *cases;
    int count;
    struct rt_wait wait;
    struct rt_waiter waiters[SELECT_MAX_CASES]; // of channel cases
    struct source sources[SELECT_MAX_CASES];    // of connection cases
    struct rt_chan *channels[SELECT_MAX_CASES]; // each once, in order of creation
    _Atomic uint32_t *locks[SELECT_MAX_CASES];  // theirs
    int channel_count;
    uint16_t ready[SELECT_MAX_CASES];
    int ready_count;
};

static bool is_channel_case(const struct rt_case *c)
{
    return c->chan && (c->kind == RT_CASE_SEND || c->kind == RT_CASE_RECV);
}

/* A number for choosing among the ready. In a simulated world from its seed; else any that is not
 * predictable by position will do, and a counter, scattered, is cheaper than asking the kernel. */
static uint64_t draw(void)
{
    static _Atomic uint64_t drawn;
    if (sched_world())
        return rt_random_u64();
    uint64_t x = atomic_fetch_add_explicit(&drawn, 0x9e3779b97f4a7c15u, memory_order_relaxed);
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

/* Insert each channel once, in order. At most 16: insertion it is. */
static void collect_channels(struct selection *s)
{
    for (int i = 0; i < s->count; i++) {
        struct rt_chan *c = s->cases[i].chan;
        int at = s->channel_count;
        if (!is_channel_case(&s->cases[i]))
            continue;
        while (at > 0 && s->channels[at - 1]->number > c->number)
            at--;
        if (at > 0 && s->channels[at - 1] == c)
            continue;
        memmove(&s->channels[at + 1], &s->channels[at],
                (size_t)(s->channel_count - at) * sizeof(s->channels[0]));
        s->channels[at] = c;
        s->channel_count++;
    }
    for (int i = 0; i < s->channel_count; i++)
        s->locks[i] = &s->channels[i]->lock;
}

static void lock_all(struct selection *s)
{
    for (int i = 0; i < s->channel_count; i++)
        waitq_lock(s->locks[i]);
}

static void unlock_all(struct selection *s)
{
    for (int i = 0; i < s->channel_count; i++)
        waitq_unlock(s->locks[i]);
}

static void source_fires(struct poll_waiter *waiter)
{
    struct source *source = (struct source *)waiter;
    struct g *gp = source->wait->gp;
    bool must_ready;
    if (wait_claim(source->wait, source->pos, &must_ready) && must_ready)
        sched_ready(gp);
}

static void arm_sources(struct selection *s)
{
    static_assert(offsetof(struct source, waiter) == 0, "a waiter is its source");
    for (int i = 0; i < s->count; i++) {
        if (s->cases[i].kind != RT_CASE_READABLE)
            continue;
        s->sources[i] = (struct source){.wait = &s->wait, .pos = (uint16_t)i};
        s->sources[i].waiter.fire = source_fires;
        if (conn_select_arm(s->cases[i].conn, &s->sources[i].waiter))
            s->ready[s->ready_count++] = (uint16_t)i;
        else
            s->sources[i].is_armed = true;
    }
}

static void disarm_sources(struct selection *s)
{
    for (int i = 0; i < s->count; i++)
        if (s->cases[i].kind == RT_CASE_READABLE && s->sources[i].is_armed)
            conn_select_disarm(s->cases[i].conn, &s->sources[i].waiter);
}

/* Could the case go on? A wait that has been ended otherwise may still be in a queue: then this
 * says yes, and the try says -EAGAIN. */
static bool may_go_locked(const struct rt_case *c)
{
    const struct rt_chan *ch = c->chan;
    if (ch->closed)
        return true;
    if (c->kind == RT_CASE_SEND)
        return ch->len < ch->cap || ch->receivers.first;
    return ch->len > 0 || ch->senders.first;
}

static int try_locked(struct rt_case *c, struct rt_waiter **wake)
{
    if (c->kind == RT_CASE_SEND)
        return chan_try_send_locked(c->chan, c->value, wake);
    return chan_try_recv_locked(c->chan, c->value, wake);
}

/* Do one of the cases that can go on, chosen at random; its position, or -EAGAIN. */
static int go_on_locked(struct selection *s, struct rt_waiter **wake)
{
    *wake = NULL;
    for (int i = 0; i < s->count; i++)
        if (is_channel_case(&s->cases[i]) && may_go_locked(&s->cases[i]))
            s->ready[s->ready_count++] = (uint16_t)i;
    while (s->ready_count > 0) {
        int choice = s->ready_count == 1 ? 0 : (int)(draw() % (unsigned)s->ready_count);
        int pos = s->ready[choice];
        struct rt_case *c = &s->cases[pos];
        int err = c->kind == RT_CASE_READABLE ? 0 : try_locked(c, wake);
        if (err != -EAGAIN) {
            c->result = err;
            return pos;
        }
        s->ready[choice] = s->ready[--s->ready_count];
    }
    return -EAGAIN;
}

static void queue_all_locked(struct selection *s)
{
    for (int i = 0; i < s->count; i++) {
        struct rt_case *c = &s->cases[i];
        if (!is_channel_case(c))
            continue;
        waiter_init(&s->waiters[i], s->wait.gp, &s->wait);
        s->waiters[i].pos = (uint16_t)i;
        s->waiters[i].value = c->value;
        waitq_push(c->kind == RT_CASE_SEND ? &c->chan->senders : &c->chan->receivers,
                   &s->waiters[i]);
    }
}

static void leave_queues_locked(struct selection *s)
{
    for (int i = 0; i < s->count; i++) {
        struct rt_case *c = &s->cases[i];
        if (is_channel_case(c))
            waitq_remove(c->kind == RT_CASE_SEND ? &c->chan->senders : &c->chan->receivers,
                         &s->waiters[i]);
    }
}

/* Park until a case was done for us; its position, or -ETIMEDOUT. The locks are held on entry. */
static int park_until_done(struct selection *s, int64_t deadline_ns)
{
    queue_all_locked(s);
    uint16_t pos = wait_park(&s->wait, s->locks, s->channel_count, deadline_ns, PARK_SELECT);
    lock_all(s);
    leave_queues_locked(s);
    unlock_all(s);
    if (pos == WAIT_TIMED_OUT)
        return -ETIMEDOUT;
    struct rt_case *c = &s->cases[pos];
    c->result = c->kind == RT_CASE_READABLE ? 0 : s->waiters[pos].result;
    return pos;
}

/* On a solo P what a look at the channels shows stays so: no locks, and nothing to be prepared. The
 * position of a case that was done, -EAGAIN when no case can go on, or -ENOSYS: take the long way. */
static int go_on_solo(struct rt_case *cases, int count)
{
    uint16_t ready[SELECT_MAX_CASES];
    unsigned ready_count = 0;
    for (int i = 0; i < count; i++) {
        if (unlikely(cases[i].kind == RT_CASE_READABLE))
            return -ENOSYS;
        if (is_channel_case(&cases[i]) && may_go_locked(&cases[i]))
            ready[ready_count++] = (uint16_t)i;
    }
    if (ready_count == 0)
        return -EAGAIN;
    int pos = ready[ready_count == 1 ? 0 : draw() % ready_count];
    struct rt_waiter *wake;
    int err = try_locked(&cases[pos], &wake);
    if (unlikely(err == -EAGAIN)) // who waited there has been ended otherwise
        return -ENOSYS;
    cases[pos].result = err;
    if (wake)
        wait_wake(wake);
    return pos;
}

int rt_select(struct rt_case *cases, int count, int64_t deadline_ns)
{
    assert(count >= 0);
    assert(count <= SELECT_MAX_CASES);
    if (is_solo()) {
        int pos = go_on_solo(cases, count);
        if (pos >= 0 || (pos == -EAGAIN && deadline_ns == 0)) {
            g_exit_call(g_running());
            return pos;
        }
    }
    struct selection s;
    struct rt_waiter *wake;
    s.cases = cases;
    s.count = count;
    s.channel_count = 0;
    s.ready_count = 0;
    wait_init(&s.wait);
    collect_channels(&s);
    arm_sources(&s);
    lock_all(&s);
    int pos = go_on_locked(&s, &wake);
    if (pos == -EAGAIN && deadline_ns != 0) {
        pos = park_until_done(&s, deadline_ns);
    } else {
        unlock_all(&s);
        if (wake)
            wait_wake(wake);
    }
    disarm_sources(&s);
    if (pos >= 0 && cases[pos].kind == RT_CASE_READABLE)
        conn_select_chosen(cases[pos].conn);
    g_exit_call(s.wait.gp);
    return pos;
}
