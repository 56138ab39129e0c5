/* tests/runtime/test_call_points.c: without signals, each call into the runtime is where its caller can be
 * stopped: a loop over one of them keeps nobody from running, and which of the calls yield at random
 * is a matter of the seed alone. */
#include "runtime/sched/gmp.h"
#include "tests/support/rt_test.h"
#include <rt/chan.h>
#include <rt/context.h>
#include <rt/net.h>
#include <rt/sync.h>
#include <rt/time.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { PATIENCE_S = 10, BEATS = 3 };

/* ---- a loop over one call ---- */

struct things {
    struct rt_rwmutex rw;
    struct rt_sem many, none;
    struct rt_cond cond;
    struct rt_chan *chan;
    struct rt_mailbox box;
    struct rt_once once;
    struct rt_note note;
    struct rt_waitgroup group;
    struct rt_timer timer;
    struct rt_context *context;
    struct rt_conn *conn, *peer;

    void (*call)(struct things *t);
    _Atomic bool stop, gave_up;
    struct rt_note ended;
};

static void nothing(void *arg) { (void)arg; }

static void read_lock(struct things *t)
{
    rt_rwmutex_rlock(&t->rw);
    rt_rwmutex_runlock(&t->rw);
}

static void write_lock(struct things *t)
{
    rt_rwmutex_lock(&t->rw);
    rt_rwmutex_unlock(&t->rw);
}

static void acquire(struct things *t) { (void)rt_sem_acquire(&t->many, 1, RT_FOREVER); }
static void acquire_in_vain(struct things *t) { (void)rt_sem_acquire(&t->none, 1, 0); }
static void release(struct things *t) { rt_sem_release(&t->many, 1); }
static void signal_nobody(struct things *t) { rt_cond_signal(&t->cond); }
static void broadcast(struct things *t) { rt_cond_broadcast(&t->cond); }
static void look_at_len(struct things *t) { (void)rt_chan_len(t->chan); }
static void receive_in_vain(struct things *t) { (void)rt_chan_recv(t->chan, &(int){0}, 0); }

static void close_one(struct things *t)
{
    (void)t;
    struct rt_chan *c = rt_chan_new(sizeof(int), 1);
    rt_chan_close(c);
    rt_chan_free(c);
}

/* Each in a box of its own, on a list that is never taken. */
static void put_mail(struct things *t)
{
    struct rt_mail mail;
    memset(&t->box, 0, sizeof(t->box));
    (void)rt_mailbox_put(&t->box, &mail);
}

static void take_no_mail(struct things *t)
{
    memset(&t->box, 0, sizeof(t->box));
    (void)rt_mailbox_take(&t->box, 0);
}

static void wake_taker(struct things *t) { rt_mailbox_wake(&t->box); }
static void do_once(struct things *t) { rt_once_do(&t->once, nothing, NULL); }
static void look_at_note(struct things *t) { (void)rt_note_is_set(&t->note); }
static void wait_for_group(struct things *t) { (void)rt_waitgroup_wait(&t->group, RT_FOREVER); }
static void look_at_context(struct things *t) { (void)rt_context_err(t->context); }
static void stop_timer(struct things *t) { (void)rt_timer_stop(&t->timer); }

static void start_timer(struct things *t)
{
    rt_timer_start(&t->timer, RT_FOREVER - 1, nothing, NULL);
}

static void try_to_read(struct things *t) { (void)rt_conn_try_read(t->conn, &(char){0}, 1); }

static void try_to_write(struct things *t)
{
    struct iovec part = {.iov_base = &(char){0}, .iov_len = 1};
    (void)rt_conn_try_writev(t->conn, &part, 1);
}

/* It is, until a write has found it full. */
static void wait_until_writable(struct things *t)
{
    (void)rt_conn_wait(t->conn, RT_CONN_WRITABLE, RT_FOREVER);
}

static const struct {
    const char *name;
    void (*call)(struct things *t);
} calls[] = {
    {"a lock to read", read_lock},
    {"a lock to write", write_lock},
    {"a semaphore that has enough", acquire},
    {"a semaphore that has nothing", acquire_in_vain},
    {"a release", release},
    {"a signal", signal_nobody},
    {"a broadcast", broadcast},
    {"the length of a channel", look_at_len},
    {"a receive that does not wait", receive_in_vain},
    {"the end of a channel", close_one},
    {"a mail", put_mail},
    {"no mail", take_no_mail},
    {"a wake of a mailbox", wake_taker},
    {"something done before", do_once},
    {"a note", look_at_note},
    {"a group of nobody", wait_for_group},
    {"the end of a context", look_at_context},
    {"the start of a timer", start_timer},
    {"the stop of a timer", stop_timer},
    {"a read that finds nothing", try_to_read},
    {"a wait for what is ready", wait_until_writable},
    {"a write", try_to_write},
};

/* Gives up at last, so that a test that fails also ends. */
static void call_until_told(void *arg)
{
    struct things *t = arg;
    int64_t until = clock_real_now_ns() + PATIENCE_S * RT_SECOND;
    while (!atomic_load(&t->stop) && !atomic_load(&t->gave_up)) {
        t->call(t);
        atomic_store(&t->gave_up, clock_real_now_ns() > until);
    }
    rt_note_set(&t->ended);
}

/* Its peer neither reads nor writes. */
static bool connect_things(struct things *t)
{
    struct rt_listener *l;
    int64_t deadline_ns = rt_after_ns(PATIENCE_S * RT_SECOND);
    if (rt_listen("127.0.0.1:0", &l, NULL) != 0)
        return false;
    int err = rt_dial(rt_listener_address(l), deadline_ns, &t->conn, NULL);
    err = err ? err : rt_accept(l, &t->peer);
    rt_listener_close(l);
    return err == 0;
}

static int try_all_calls(void *arg)
{
    const char **starved = arg;
    static struct things t;
    t = (struct things){.chan = rt_chan_new(sizeof(int), 1),
                        .context = rt_context_new(NULL, RT_FOREVER)};
    if (!t.chan || !t.context || !connect_things(&t))
        return 1;
    rt_sem_release(&t.many, INT64_MAX / 2);
    rt_once_do(&t.once, nothing, NULL);
    for (size_t i = 0; i < ARRAY_LEN(calls) && !*starved; i++) {
        t.call = calls[i].call;
        t.ended = (struct rt_note){0};
        atomic_store(&t.stop, false);
        if (rt_go("caller", call_until_told, &t) != 0)
            return 1;
        for (int beats = 0; beats < BEATS; beats++)
            rt_sleep_ns(RT_MS);
        atomic_store(&t.stop, true);
        rt_note_wait(&t.ended, RT_FOREVER);
        if (atomic_load(&t.gave_up))
            *starved = calls[i].name;
    }
    rt_timer_stop(&t.timer);
    rt_conn_unref(t.conn);
    rt_conn_unref(t.peer);
    rt_context_unref(t.context);
    rt_chan_free(t.chan);
    return 0;
}

static void a_loop_over_any_call_lets_others_run(void **state)
{
    (void)state;
    struct rt_options options = {.procs = 1, .no_async_preempt = true};
    struct why why = {""};
    const char *starved = NULL;
    int result = -1;
    if (rt_run(&options, try_all_calls, &starved, &result, &why) != 0)
        fail_msg("%s", why.text);
    assert_int_equal(result, 0);
    if (starved)
        fail_msg("others starve beside a loop over %s", starved);
}

/* ---- yields at random ---- */

enum { DRAWS = 512, TRIES = 5 };

struct pair {
    struct rt_mutex lock;
    struct rt_note ended;
    _Atomic uint32_t turns; // of the other one
    _Atomic bool ends;
    bool *interrupted; // DRAWS of them
};

static void be_the_other(void *arg)
{
    struct pair *p = arg;
    for (; !atomic_load(&p->ends); atomic_fetch_add(&p->turns, 1))
        rt_yield();
    rt_note_set(&p->ended);
}

/* After which of so many calls, none of which waits, did the other one have a turn? */
static int record_interruptions(void *arg)
{
    struct pair p = {.interrupted = arg};
    if (rt_go("other", be_the_other, &p) != 0)
        return 1;
    rt_yield();
    for (int i = 0; i < DRAWS; i++) {
        uint32_t before = atomic_load(&p.turns);
        rt_mutex_lock(&p.lock);
        rt_mutex_unlock(&p.lock);
        p.interrupted[i] = atomic_load(&p.turns) != before;
    }
    atomic_store(&p.ends, true);
    rt_note_wait(&p.ended, RT_FOREVER);
    return 0;
}

/* No slice ends meanwhile, unless this thread stands still for a second. */
static void interruptions_of(uint64_t seed, bool interrupted[DRAWS])
{
    struct rt_options options = {
        .procs = 1, .slice_ms = 1000, .no_async_preempt = true, .random_yield = seed};
    struct why why = {""};
    int result = -1;
    if (rt_run(&options, record_interruptions, interrupted, &result, &why) != 0)
        fail_msg("%s", why.text);
    assert_int_equal(result, 0);
}

static void a_seed_is_a_sequence_of_interruptions(void **state)
{
    (void)state;
    static bool first[DRAWS], again[DRAWS], other[DRAWS];
    int tries = 0;
    do {
        interruptions_of(7, first);
        interruptions_of(7, again);
    } while (memcmp(first, again, sizeof(first)) != 0 && ++tries < TRIES);
    interruptions_of(8, other);
    assert_memory_equal(first, again, sizeof(first));
    assert_memory_not_equal(first, other, sizeof(first));
    assert_non_null(memchr(first, true, sizeof(first)));
    assert_non_null(memchr(first, false, sizeof(first)));
}

int main(void)
{
    unsetenv("KVD_RANDOM_YIELD");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_loop_over_any_call_lets_others_run),
        cmocka_unit_test(a_seed_is_a_sequence_of_interruptions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
