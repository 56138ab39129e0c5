/* Waiting and deferring take no memory: ten thousand operations leave the allocator as they found it. It
 * keeps freed blocks back (KVD_MEM_DEBUG), so what is taken and given back at once is seen, too. Builds
 * of sanitizers have another allocator, and nothing to count here. */
#include "tests/support/rt_test.h"
#include <rt/alloc.h>
#include <rt/chan.h>
#include <rt/defer.h>
#include <rt/sync.h>
#include <rt/time.h>
#include <stdlib.h>
#include <string.h>

#if defined(RT_ASAN) || defined(RT_TSAN)
int main(void)
{
    printf("ok - operations take no memory # SKIP under sanitizers everything is of malloc\n");
    return 0;
}
#else

enum { TIMES = 10000, FIRST = 100, THE_RUNTIMES = 16 }; // it may make a thread meanwhile

/* Two goroutines and what they do to each other; each side does its half `times` times. */
struct pair {
    struct rt_chan *unbuffered, *buffered, *back, *never;
    struct rt_mutex mutex;
    struct rt_rwmutex rwmutex;
    struct rt_cond cond;
    struct rt_sem sem;
    struct rt_waitgroup group;
    int turn, deferred;
};

static void send_and_receive(struct pair *p, int side)
{
    int value = 1;
    if (side == 0) {
        rt_chan_send(p->unbuffered, &value, RT_FOREVER);
        rt_chan_recv(p->back, &value, RT_FOREVER);
    } else {
        rt_chan_recv(p->unbuffered, &value, RT_FOREVER);
        rt_chan_send(p->back, &value, RT_FOREVER);
    }
}

static void fill_and_drain(struct pair *p, int side)
{
    int value = 1;
    if (side == 0)
        rt_chan_send(p->buffered, &value, RT_FOREVER);
    else
        rt_chan_recv(p->buffered, &value, RT_FOREVER);
}

static void select_among_four(struct pair *p, int side)
{
    int value = 1, other;
    struct rt_case cases[] = {
        {.kind = RT_CASE_RECV, .chan = p->never, .value = &other},
        {.kind = side == 0 ? RT_CASE_SEND : RT_CASE_RECV, .chan = p->unbuffered, .value = &value},
        {.kind = RT_CASE_RECV, .chan = p->never, .value = &other},
        {.kind = RT_CASE_NONE},
    };
    rt_select(cases, ARRAY_LEN(cases), RT_FOREVER);
}

static void time_out(struct pair *p, int side)
{
    int value;
    (void)side;
    rt_chan_recv(p->never, &value, rt_after_ns(1000));
}

static void lock_in_turn(struct pair *p, int side)
{
    (void)side;
    rt_mutex_lock(&p->mutex);
    rt_yield(); // the other one has to wait
    rt_mutex_unlock(&p->mutex);
    rt_rwmutex_lock(&p->rwmutex);
    rt_yield();
    rt_rwmutex_unlock(&p->rwmutex);
    rt_rwmutex_rlock(&p->rwmutex);
    rt_rwmutex_runlock(&p->rwmutex);
}

static void wait_for_the_turn(struct pair *p, int side)
{
    rt_mutex_lock(&p->mutex);
    while (p->turn != side)
        rt_cond_wait(&p->cond, &p->mutex, RT_FOREVER);
    p->turn = !side;
    rt_cond_signal(&p->cond);
    rt_mutex_unlock(&p->mutex);
}

static void acquire_and_release(struct pair *p, int side)
{
    if (side == 0)
        rt_sem_release(&p->sem, 1);
    else
        rt_sem_acquire(&p->sem, 1, RT_FOREVER);
}

static void wait_for_a_group(struct pair *p, int side)
{
    struct rt_note note = {0};
    (void)side;
    rt_waitgroup_add(&p->group, 1);
    rt_waitgroup_done(&p->group);
    rt_note_set(&note);
    rt_note_wait(&note, RT_FOREVER);
    rt_sleep_ns(1);
}

static void count(void *arg) { ++*(int *)arg; }

static void panic_after_deferring(void *arg)
{
    RT_DEFER_SCOPE(2);
    rt_defer(count, arg);
    rt_panic("%s", "as it should");
}

static void defer_and_panic(struct pair *p, int side)
{
    char text[64];
    int mine = 0;
    RT_DEFER_SCOPE(4);
    rt_defer(count, side == 0 ? &p->deferred : &mine);
    rt_defer(count, &mine);
    if (rt_try(panic_after_deferring, &mine, text, sizeof(text)))
        abort();
}

struct half {
    struct pair *pair;
    void (*act)(struct pair *p, int side);
    int times;
    struct rt_waitgroup *done;
};

static void be_the_other_side(void *arg)
{
    struct half *h = arg;
    for (int i = 0; i < h->times; i++)
        h->act(h->pair, 1);
    rt_waitgroup_done(h->done);
}

static uint64_t blocks_out(void)
{
    static struct rt_alloc_stats stats;
    rt_alloc_stats(&stats);
    uint64_t used = stats.large_bytes; // more when one is taken, and that is all we ask
    for (int i = 0; i < RT_ALLOC_CLASSES; i++)
        used += stats.classes[i].used;
    return used;
}

static void act(struct pair *p, void (*fn)(struct pair *p, int side), int times)
{
    struct rt_waitgroup done = {.count = 1};
    struct half other = {p, fn, times, &done};
    assert_int_equal(rt_go("other", be_the_other_side, &other), 0);
    for (int i = 0; i < times; i++)
        fn(p, 0);
    rt_waitgroup_wait(&done, RT_FOREVER);
}

static void no_operation_takes_memory(void **state)
{
    (void)state;
    static const struct {
        const char *words;
        void (*act)(struct pair *p, int side);
    } rows[] = {
        {"unbuffered channels", send_and_receive},
        {"a buffered channel", fill_and_drain},
        {"select", select_among_four},
        {"a wait that ends at its deadline", time_out},
        {"locks", lock_in_turn},
        {"a condition", wait_for_the_turn},
        {"a semaphore", acquire_and_release},
        {"waitgroup, note, sleep", wait_for_a_group},
        {"defer, panic, recover", defer_and_panic},
    };
    static struct pair p;
    memset(&p, 0, sizeof(p));
    p.unbuffered = rt_chan_new(sizeof(int), 0);
    p.buffered = rt_chan_new(sizeof(int), 10);
    p.back = rt_chan_new(sizeof(int), 0);
    p.never = rt_chan_new(sizeof(int), 0);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        act(&p, rows[i].act, FIRST); // tables of timers, and the like, have grown by then
        uint64_t before = blocks_out();
        act(&p, rows[i].act, TIMES);
        uint64_t after = blocks_out();
        if (after > before + THE_RUNTIMES)
            fail_msg("%s: %lu blocks more after %d times", rows[i].words,
                     (unsigned long)(after - before), TIMES);
    }
    assert_int_equal(p.deferred, FIRST + TIMES);
    rt_chan_free(p.unbuffered);
    rt_chan_free(p.buffered);
    rt_chan_free(p.back);
    rt_chan_free(p.never);
}

/* If this were not so, the test above would see nothing. */
static void what_is_taken_and_given_back_is_counted(void **state)
{
    (void)state;
    uint64_t before = blocks_out();
    for (int i = 0; i < 100; i++)
        rt_free(rt_alloc(64));
    assert_int_equal(blocks_out() - before, 100);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(what_is_taken_and_given_back_is_counted),
    cmocka_unit_test(no_operation_takes_memory),
};
RT_TEST_GROUP(group, tests)

int main(void)
{
    setenv("KVD_MEM_DEBUG", "1", 1); // before anything is allocated
    int failed = 0;
    for (unsigned procs = 1; procs <= 2; procs++)
        failed += rt_test_main(&(struct rt_options){.procs = procs}, group);
    return failed;
}
#endif
