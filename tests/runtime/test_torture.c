/* tests/runtime/test_torture.c: goroutines that do everything a program does (arithmetic in all
 * registers, memory, stdio, LMDB, OpenSSL, nghttp2, channels, locks, timers, sockets, files), each result
 * checked, while a storm interrupts them every 20 to 50 us (runtime/sched/torture.h) and each
 * preemption is audited. On 1, 2, 4 and 8 Ps, with both pollers; on two Ps also with the stack of whoever
 * parks put away at once.
 *
 * KVD_TORTURE_S is how long all of it lasts together, 60 by default; KVD_TORTURE another kind of storm;
 * KVD_TORTURE_PROCS, KVD_TORTURE_POLLER (epoll, uring) and KVD_TORTURE_STACKS (kept, away) pick from the
 * ten forms. */
#include "tests/runtime/test_torture.h"
#include "runtime/sched/spill.h"
#include "tests/runtime/test_torture_arith.h"
#include "tests/runtime/test_torture_http2.h"
#include "tests/runtime/test_torture_io.h"
#include "tests/runtime/test_torture_lmdb.h"
#include "tests/runtime/test_torture_memory.h"
#include "tests/runtime/test_torture_sync.h"
#include "tests/runtime/test_torture_tls.h"
#include "tests/support/rt_test.h"
#include <liburing.h>
#include <rt/inspect.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#ifdef RT_TSAN
enum { CAN_INTERRUPT = false }; // signals are held back: goroutines stop at calls of the runtime
#else
enum { CAN_INTERRUPT = true };
#endif

enum { TORTURED_MAX = 96, FORMS = 10 };

static const struct {
    const struct work *works;
    size_t count;
} chambers[] = {
    {arith_works, ARRAY_LEN(arith_works)},   {memory_works, ARRAY_LEN(memory_works)},
    {http2_works, ARRAY_LEN(http2_works)},   {sync_works, ARRAY_LEN(sync_works)},
    {io_works, ARRAY_LEN(io_works)},         {lmdb_works, ARRAY_LEN(lmdb_works)},
    {crypto_works, ARRAY_LEN(crypto_works)},
};

struct torture {
    int64_t lasts_ns;
    uint64_t seed;
    char folder[128];
    _Atomic bool stop;
    struct rt_waitgroup busy;
    struct tortured tortured[TORTURED_MAX];
    int count;
    struct rt_stats stats;
    bool spills; // the stack of whoever parks is put away at once
    bool cannot_spill;
    struct spill_stats spilled;
    char wrong[512]; // of the first that was
};

struct victim {
    struct torture *torture;
    struct tortured *tortured;
} victims[TORTURED_MAX];

static void be_tortured(void *arg)
{
    struct victim *v = arg;
    struct tortured *t = v->tortured;
    do {
        if (!t->work->round(t))
            t->wrongs++;
        t->rounds++;
        if (!CAN_INTERRUPT)
            rt_yield(); // a round without a call of the runtime would never end its turn
    } while (!atomic_load(&v->torture->stop) && t->wrongs == 0);
    if (t->work->leave)
        t->work->leave(t);
    rt_waitgroup_done(&v->torture->busy);
}

static void begin_work(struct torture *all, const struct work *w)
{
    void *shared = NULL;
    if (w->open)
        shared = w->open(all->folder);
    for (int i = 0; i < w->count; i++) {
        struct tortured *t = &all->tortured[all->count];
        if (all->count == TORTURED_MAX)
            rt_fatal("more than %d goroutines", TORTURED_MAX);
        *t = (struct tortured){.work = w, .shared = shared, .who = i};
        t->random = (all->seed + (uint64_t)all->count) * 0x9e3779b97f4a7c15u | 1;
        victims[all->count] = (struct victim){all, t};
        rt_waitgroup_add(&all->busy, 1);
        if (rt_go(w->name, be_tortured, &victims[all->count]) != 0)
            rt_fatal("too many goroutines");
        all->count++;
    }
}

static void note_wrong(struct torture *all, const char *name, const char *wrong)
{
    if (!all->wrong[0])
        snprintf(all->wrong, sizeof(all->wrong), "%s: %s", name, wrong);
}

static void end_works(struct torture *all)
{
    char wrong[256];
    for (int i = 0; i < all->count; i++) {
        struct tortured *t = &all->tortured[i];
        if (t->wrongs > 0)
            note_wrong(all, t->work->name, t->wrong);
        if (t->who == t->work->count - 1 && t->work->close &&
            !t->work->close(t->shared, wrong, sizeof(wrong)))
            note_wrong(all, t->work->name, wrong);
    }
}

/* The first goroutine. */
static int torture(void *arg)
{
    struct torture *all = arg;
    all->cannot_spill = all->spills && !spill_is_able();
    rt_stats(&all->stats);
    if (all->cannot_spill)
        return 0;
    // What libraries do under their own locks and in their threads' state ThreadSanitizer cannot see.
    size_t count = CAN_INTERRUPT ? ARRAY_LEN(chambers) : ARRAY_LEN(chambers) - 2;
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < chambers[i].count; k++)
            begin_work(all, &chambers[i].works[k]);
    rt_sleep_ns(all->lasts_ns);
    atomic_store(&all->stop, true);
    if (rt_waitgroup_wait(&all->busy, rt_after_ns(110 * RT_SECOND)) != 0)
        rt_fatal("a goroutine waits for something that was lost");
    rt_stats(&all->stats);
    spill_read_stats(&all->spilled);
    end_works(all);
    return 0;
}

static void remove_folder(const char *folder)
{
    char command[200];
    snprintf(command, sizeof(command), "rm -rf '%s'", folder);
    if (system(command) != 0)
        print_message("# %s is left\n", folder);
}

static uint64_t seed(void)
{
    const char *text = getenv("KVD_SEED");
    return text ? strtoull(text, NULL, 10) : (uint64_t)getpid();
}

static double lasts_s(void)
{
    const char *text = getenv("KVD_TORTURE_S");
    return text ? strtod(text, NULL) : 60;
}

enum stacks { KEPT, AWAY }; // what happens to the stack of whoever parks

/* All kinds of work together on `procs` Ps: nothing may be wrong, everybody must have had a turn, and
 * the storm must have blown. */
static void everything_is_right(unsigned procs, enum rt_poller poller, enum stacks stacks)
{
    static struct torture all;
    struct rt_options options = {
        .procs = procs, .poller = poller, .spill_after_ms = stacks == AWAY ? RT_SPILL_ALWAYS : 0};
    struct why why = {""};
    int result = 1;
    all = (struct torture){.lasts_ns = (int64_t)(lasts_s() / FORMS * (double)RT_SECOND),
                           .seed = seed(),
                           .spills = stacks == AWAY};
    snprintf(all.folder, sizeof(all.folder), "%s/kvd-torture-XXXXXX",
             getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
    assert_non_null(mkdtemp(all.folder));
    int err = rt_run(&options, torture, &all, &result, &why);
    remove_folder(all.folder);
    if (err)
        fail_msg("%s", why.text);
    if (all.cannot_spill) {
        print_message("# stacks stay in place: %s\n", all.stats.spilling);
        skip();
    }
    uint64_t rounds = 0, preempted = all.stats.preempted_slice + all.stats.preempted_need;
    for (int i = 0; i < all.count; i++)
        rounds += all.tortured[i].rounds;
    print_message("# %u P, %s: %d goroutines, %lu rounds, %lu preempted, %lu refused, %lu steals, "
                  "%lu times away\n",
                  procs, all.stats.poller, all.count, (unsigned long)rounds,
                  (unsigned long)preempted, (unsigned long)all.stats.preempt_refused,
                  (unsigned long)all.stats.steals, (unsigned long)all.spilled.spilled);
    if (all.wrong[0])
        fail_msg("KVD_SEED=%lu: %s", (unsigned long)all.seed, all.wrong);
    assert_int_equal(result, 0);
    if (preempted < (CAN_INTERRUPT ? 100 : 10))
        fail_msg("only %lu preemptions: there was no storm", (unsigned long)preempted);
    if (stacks == AWAY && all.spilled.spilled < 100)
        fail_msg("only %lu stacks were put away", (unsigned long)all.spilled.spilled);
}

static bool is_left_out(unsigned procs, const char *poller, enum stacks stacks)
{
    const char *only_procs = getenv("KVD_TORTURE_PROCS"),
               *only_poller = getenv("KVD_TORTURE_POLLER"),
               *only_stacks = getenv("KVD_TORTURE_STACKS");
    if (only_procs && strtoul(only_procs, NULL, 10) != procs)
        return true;
    if (only_stacks && strcmp(only_stacks, stacks == AWAY ? "away" : "kept") != 0)
        return true;
    return only_poller && strcmp(only_poller, poller) != 0;
}

static bool has_uring(void)
{
    struct io_uring ring;
    if (io_uring_queue_init(2, &ring, 0) != 0)
        return false;
    io_uring_queue_exit(&ring);
    return true;
}

static void on_epoll(unsigned procs, enum stacks stacks)
{
    if (is_left_out(procs, "epoll", stacks))
        skip();
    everything_is_right(procs, RT_POLLER_EPOLL, stacks);
}

static void on_uring(unsigned procs, enum stacks stacks)
{
    if (is_left_out(procs, "uring", stacks))
        skip();
    if (!has_uring()) {
        print_message("# io_uring is not allowed here\n");
        skip();
    }
    everything_is_right(procs, RT_POLLER_URING, stacks);
}

#define FORM(poller, procs, stacks, words)                                                         \
    static void every_result_is_right_in_a_storm_on_##poller##_with_##words(void **state)          \
    {                                                                                              \
        (void)state;                                                                               \
        on_##poller(procs, stacks);                                                                \
    }
FORM(epoll, 1, KEPT, one_p)
FORM(epoll, 2, KEPT, two_p)
FORM(epoll, 4, KEPT, four_p)
FORM(epoll, 8, KEPT, eight_p)
FORM(epoll, 2, AWAY, two_p_and_stacks_put_away)
FORM(uring, 1, KEPT, one_p)
FORM(uring, 2, KEPT, two_p)
FORM(uring, 4, KEPT, four_p)
FORM(uring, 8, KEPT, eight_p)
FORM(uring, 2, AWAY, two_p_and_stacks_put_away)

int main(void)
{
    setenv("KVD_TORTURE", "storm+audit", 0);
    arith_expect();
    crypto_expect();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_result_is_right_in_a_storm_on_epoll_with_one_p),
        cmocka_unit_test(every_result_is_right_in_a_storm_on_epoll_with_two_p),
        cmocka_unit_test(every_result_is_right_in_a_storm_on_epoll_with_four_p),
        cmocka_unit_test(every_result_is_right_in_a_storm_on_epoll_with_eight_p),
        cmocka_unit_test(every_result_is_right_in_a_storm_on_epoll_with_two_p_and_stacks_put_away),
        cmocka_unit_test(every_result_is_right_in_a_storm_on_uring_with_one_p),
        cmocka_unit_test(every_result_is_right_in_a_storm_on_uring_with_two_p),
        cmocka_unit_test(every_result_is_right_in_a_storm_on_uring_with_four_p),
        cmocka_unit_test(every_result_is_right_in_a_storm_on_uring_with_eight_p),
        cmocka_unit_test(every_result_is_right_in_a_storm_on_uring_with_two_p_and_stacks_put_away),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
