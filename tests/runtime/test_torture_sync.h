/* tests/runtime/test_torture_sync.h: goroutines, channels, select, locks, timers, panics. */
#pragma once
#include "tests/runtime/test_torture.h"
#include <errno.h>
#include <rt/chan.h>
#include <rt/context.h>
#include <rt/defer.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <unistd.h>

/* ---- a pipeline over unbuffered and small channels; stages come and go with each round ---- */

enum { STAGES = 4, PASSED = 60 };

struct stage {
    struct tortured *t;
    struct rt_chan *in, *out;
};

static void run_stage(void *arg)
{
    struct stage *s = arg;
    int64_t value;
    while (rt_chan_recv(s->in, &value, TORTURE_LATE) == 0) {
        value++;
        rt_chan_send(s->out, &value, TORTURE_LATE);
    }
    rt_chan_close(s->out);
}

static bool pipeline_round(struct tortured *t)
{
    struct rt_chan *chans[STAGES + 1];
    struct stage stages[STAGES];
    struct helpers helpers = {.busy = {.count = 0}};
    for (int i = 0; i <= STAGES; i++)
        chans[i] = rt_chan_new(sizeof(int64_t), (uint32_t)draw_below(t, 3));
    for (int i = 0; i < STAGES; i++) {
        stages[i] = (struct stage){t, chans[i], chans[i + 1]};
        helper_start(&helpers, run_stage, &stages[i]);
    }
    int64_t sent = 0, got = 0, value = 0;
    bool closed = false;
    while (got < PASSED) {
        struct rt_case cases[2] = {
            {.kind = sent < PASSED ? RT_CASE_SEND : RT_CASE_NONE, .chan = chans[0], .value = &sent},
            {.kind = RT_CASE_RECV, .chan = chans[STAGES], .value = &value}};
        int which = rt_select(cases, 2, TORTURE_LATE);
        if (which < 0)
            rt_fatal("a pipeline stands still at %d of %d", (int)got, PASSED);
        sent += which == 0;
        if (which == 1 && (cases[1].result != 0 || value != got++ + STAGES))
            torture_wrong(t, "a pipeline gave %ld as number %ld", (long)value, (long)got);
        if (sent == PASSED && !closed) {
            rt_chan_close(chans[0]);
            closed = true;
        }
        if (draw_below(t, 4) == 0)
            stroll(t);
    }
    if (!helpers_wait(&helpers))
        rt_fatal("the stages of a pipeline do not end");
    for (int i = 0; i <= STAGES; i++)
        rt_chan_free(chans[i]);
    return !t->wrong[0];
}

/* ---- locks around what is wrong for a moment ---- */

struct locked {
    struct rt_mutex lock;
    uint64_t a, b; // lock: equal
    struct rt_rwmutex table_lock;
    uint64_t table[16]; // table_lock: all equal
    struct rt_sem permits;
    _Atomic int inside; // of the three permits
    struct rt_cond not_empty, not_full;
    struct rt_mutex queue_lock;
    uint64_t queue[8], put, taken, put_sum, taken_sum; // queue_lock
    _Atomic uint64_t counted;
};

static void *locks_open(const char *folder)
{
    (void)folder;
    struct locked *l = rt_alloc_zero(sizeof(*l));
    l->permits.count = 3;
    return l;
}

static bool locks_close(void *shared, char *wrong, size_t cap)
{
    struct locked *l = shared;
    bool right = l->a == atomic_load(&l->counted) && l->a == l->b && l->permits.count == 3;
    snprintf(wrong, cap, "%lu increments are %lu and %lu, %ld permits of 3 are back",
             (unsigned long)atomic_load(&l->counted), (unsigned long)l->a, (unsigned long)l->b,
             (long)l->permits.count);
    while (l->taken < l->put)
        l->taken_sum += l->queue[l->taken++ % 8];
    right = right && l->put_sum == l->taken_sum;
    rt_free(l);
    return right;
}

static bool under_mutex(struct tortured *t, struct locked *l)
{
    rt_mutex_lock(&l->lock);
    bool right = l->a == l->b;
    l->a++;
    stroll(t);
    l->b++;
    rt_mutex_unlock(&l->lock);
    atomic_fetch_add(&l->counted, 1);
    return right ? true : torture_wrong(t, "a mutex let two in");
}

static bool under_rwmutex(struct tortured *t, struct locked *l)
{
    bool right = true;
    if (draw_below(t, 4) == 0) {
        rt_rwmutex_lock(&l->table_lock);
        for (int i = 0; i < 16; i++)
            l->table[i]++;
        stroll(t);
        rt_rwmutex_unlock(&l->table_lock);
        return true;
    }
    rt_rwmutex_rlock(&l->table_lock);
    uint64_t first = l->table[0];
    stroll(t);
    for (int i = 0; i < 16; i++)
        right = right && l->table[i] == first;
    rt_rwmutex_runlock(&l->table_lock);
    return right ? true : torture_wrong(t, "a writer was inside with readers");
}

static bool with_permit(struct tortured *t, struct locked *l)
{
    int64_t wanted = (int64_t)draw_below(t, 2) + 1;
    if (rt_sem_acquire(&l->permits, wanted, TORTURE_LATE) != 0)
        rt_fatal("a semaphore gives nothing");
    int inside = atomic_fetch_add(&l->inside, (int)wanted) + (int)wanted;
    stroll(t);
    atomic_fetch_sub(&l->inside, (int)wanted);
    rt_sem_release(&l->permits, wanted);
    return inside <= 3 ? true : torture_wrong(t, "%d of 3 permits were given", inside);
}

/* Puts one number and takes one, so that whoever waits is served in the end. */
static bool through_queue(struct tortured *t, struct locked *l)
{
    uint64_t value = draw(t);
    rt_mutex_lock(&l->queue_lock);
    while (l->put - l->taken == 8)
        if (rt_cond_wait(&l->not_full, &l->queue_lock, TORTURE_LATE) != 0)
            rt_fatal("nobody takes from a full queue");
    l->queue[l->put++ % 8] = value;
    l->put_sum += value;
    rt_cond_signal(&l->not_empty);
    rt_mutex_unlock(&l->queue_lock);
    stroll(t);
    rt_mutex_lock(&l->queue_lock);
    while (l->put == l->taken)
        if (rt_cond_wait(&l->not_empty, &l->queue_lock, TORTURE_LATE) != 0)
            rt_fatal("nobody puts into an empty queue");
    l->taken_sum += l->queue[l->taken++ % 8];
    rt_cond_signal(&l->not_full);
    rt_mutex_unlock(&l->queue_lock);
    return true;
}

static bool locks_round(struct tortured *t)
{
    struct locked *l = t->shared;
    return under_mutex(t, l) && under_rwmutex(t, l) && with_permit(t, l) && through_queue(t, l);
}

/* ---- time ---- */

struct alarm {
    struct rt_timer timer;
    struct rt_note rung;
    _Atomic int64_t at_ns;
};

static void ring(void *arg)
{
    struct alarm *a = arg;
    atomic_store(&a->at_ns, rt_now_ns());
    rt_note_set(&a->rung);
}

static bool sleep_round(struct tortured *t)
{
    int64_t until = rt_now_ns() + (int64_t)draw_below(t, 400000);
    rt_sleep_until(until);
    if (rt_now_ns() < until)
        return torture_wrong(t, "a sleep ended too early");
    return true;
}

static bool timer_round(struct tortured *t)
{
    struct alarm *a = t->own ? t->own : rt_alloc_zero(sizeof(*a));
    t->own = a;
    memset(a, 0, sizeof(*a));
    int64_t when = rt_now_ns() + (int64_t)draw_below(t, 200000);
    rt_timer_start(&a->timer, when, ring, a);
    if (draw_below(t, 2) == 0) {
        if (rt_note_wait(&a->rung, TORTURE_LATE) != 0)
            rt_fatal("a timer does not fire");
        return atomic_load(&a->at_ns) >= when ? true : torture_wrong(t, "a timer fired too early");
    }
    stroll(t);
    rt_yield();
    bool stopped = rt_timer_stop(&a->timer);
    if (stopped == rt_note_is_set(&a->rung))
        return torture_wrong(t, stopped ? "a stopped timer has fired" : "a timer was lost");
    return true;
}

static void own_free(struct tortured *t) { rt_free(t->own); }

static void cancel_later(void *arg)
{
    rt_sleep_ns(100000);
    rt_context_cancel(arg, -ECANCELED);
}

static bool context_round(struct tortured *t)
{
    struct helpers helpers = {.busy = {.count = 0}};
    bool by_time = draw_below(t, 2);
    struct rt_context *parent = rt_context_new(NULL, RT_FOREVER);
    struct rt_context *child = rt_context_new(parent, by_time ? rt_now_ns() + 80000 : RT_FOREVER);
    if (!by_time)
        helper_start(&helpers, cancel_later, parent);
    struct rt_case end = {.kind = RT_CASE_RECV, .chan = rt_context_done(child), .value = NULL};
    char nothing[16];
    end.value = nothing;
    if (rt_select(&end, 1, TORTURE_LATE) != 0)
        rt_fatal("a context does not end");
    int err = rt_context_err(child), want = by_time ? -ETIMEDOUT : -ECANCELED;
    if (!helpers_wait(&helpers))
        rt_fatal("a helper does not end");
    rt_context_unref(child);
    rt_context_unref(parent);
    return err == want ? true : torture_wrong(t, "a context ended with %d, not %d", err, want);
}

/* ---- mail: order by sender, nothing lost ---- */

enum { SENDERS = 3, LETTERS = 40 };

struct letter {
    struct rt_mail mail;
    int sender, number;
};

struct post {
    struct rt_mailbox box;
    struct letter letters[SENDERS][LETTERS];
    struct sender {
        struct post *post;
        int who;
    } senders[SENDERS];
};

static void send_letters(void *arg)
{
    struct sender *s = arg;
    for (int i = 0; i < LETTERS; i++) {
        struct letter *l = &s->post->letters[s->who][i];
        *l = (struct letter){.sender = s->who, .number = i};
        rt_mailbox_put(&s->post->box, &l->mail);
        if (i % 8 == 0)
            rt_yield();
    }
}

static bool mail_round(struct tortured *t)
{
    struct post *p = t->own ? t->own : rt_alloc(sizeof(*p));
    t->own = p;
    memset(p, 0, sizeof(*p));
    struct helpers helpers = {.busy = {.count = 0}};
    int next[SENDERS] = {0}, got = 0;
    bool right = true;
    for (int i = 0; i < SENDERS; i++) {
        p->senders[i] = (struct sender){p, i};
        helper_start(&helpers, send_letters, &p->senders[i]);
    }
    while (got < SENDERS * LETTERS) {
        struct rt_mail *m = rt_mailbox_take(&p->box, TORTURE_LATE);
        if (!m)
            rt_fatal("%d letters of %d have come", got, SENDERS * LETTERS);
        for (struct rt_mail *following; m; m = following) {
            following = m->next;
            struct letter *l = (struct letter *)m;
            right = right && l->number == next[l->sender]++;
            got++;
        }
    }
    if (!helpers_wait(&helpers))
        rt_fatal("a sender does not end");
    return right ? true : torture_wrong(t, "letters came in another order than they were sent");
}

/* ---- goroutines that start goroutines; panics; threads ---- */

struct family {
    struct helpers helpers;
    _Atomic int members;
};
struct person {
    struct family *family;
    int depth;
};

static void have_children(void *arg)
{
    struct person *me = arg;
    struct family *f = me->family;
    int depth = me->depth;
    rt_free(me);
    atomic_fetch_add(&f->members, 1);
    for (int i = 0; depth > 0 && i < 2; i++) {
        struct person *child = rt_alloc(sizeof(*child));
        *child = (struct person){f, depth - 1};
        if (!helper_start(&f->helpers, have_children, child))
            rt_fatal("too many goroutines");
    }
}

static bool family_round(struct tortured *t)
{
    struct family f = {.members = 0};
    struct person *first = rt_alloc(sizeof(*first));
    *first = (struct person){&f, 4};
    helper_start(&f.helpers, have_children, first);
    if (!helpers_wait(&f.helpers))
        rt_fatal("a family does not end");
    int members = atomic_load(&f.members);
    return members == 31 ? true : torture_wrong(t, "a family of 31 has %d members", members);
}

struct fall {
    struct tortured *t;
    char marks[16];
    int count;
};
struct mark {
    struct fall *fall;
    char what;
};

static void leave_mark(void *arg)
{
    struct mark *m = arg;
    m->fall->marks[m->fall->count++] = m->what;
}

static void fall_at(struct fall *f, int depth)
{
    struct mark a = {f, (char)('a' + 2 * depth)}, b = {f, (char)('b' + 2 * depth)};
    RT_DEFER_SCOPE(2);
    rt_defer(leave_mark, &a);
    stroll(f->t);
    rt_defer(leave_mark, &b);
    if (depth == 3)
        rt_panic("fell at %d", depth);
    if (f->count == 0) // nothing deferred has run yet
        fall_at(f, depth + 1);
    stroll(f->t);
}

static void begin_to_fall(void *arg) { fall_at(arg, 0); }

static bool panic_round(struct tortured *t)
{
    struct fall f = {.t = t};
    char text[32];
    if (rt_try(begin_to_fall, &f, text, sizeof(text)) || strcmp(text, "fell at 3") != 0)
        return torture_wrong(t, "a panic arrived as '%s'", text);
    if (f.count != 8 || memcmp(f.marks, "hgfedcba", 8) != 0)
        return torture_wrong(t, "what was deferred ran as '%.*s'", f.count, f.marks);
    return true;
}

static int64_t nap(void *arg)
{
    usleep((useconds_t)(intptr_t)arg % 200);
    return (intptr_t)arg * 3;
}

static bool blocking_round(struct tortured *t)
{
    int64_t value = (int64_t)draw_below(t, 1000000);
    if (rt_blocking(nap, (void *)(intptr_t)value) != value * 3)
        return torture_wrong(t, "a blocking call gave another result");
    rt_pin_thread();
    long before = syscall(SYS_gettid);
    stroll(t);
    rt_yield();
    stroll(t);
    long after = syscall(SYS_gettid);
    rt_unpin_thread();
    return before == after ? true : torture_wrong(t, "a pinned goroutine has changed its thread");
}

static const struct work sync_works[] = {
    {"channels and select", 4, NULL, pipeline_round, NULL, NULL},
    {"locks", 5, locks_open, locks_round, NULL, locks_close},
    {"sleep", 3, NULL, sleep_round, NULL, NULL},
    {"timers", 3, NULL, timer_round, own_free, NULL},
    {"contexts", 2, NULL, context_round, NULL, NULL},
    {"mailboxes", 2, NULL, mail_round, own_free, NULL},
    {"families of goroutines", 2, NULL, family_round, NULL, NULL},
    {"panics", 2, NULL, panic_round, NULL, NULL},
    {"blocking calls and pins", 2, NULL, blocking_round, NULL, NULL},
};
