/* tests/runtime/test_spill.c: a parked stack may be away, and nobody but its size tells. Each test
 * starts a runtime of its own; what a goroutine finds wrong it counts. */
#include "rt/inspect.h"
#include "runtime/sched/spill.h"
#include "tests/support/rt_test.h"
#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <rt/chan.h>
#include <rt/net.h>
#include <rt/sync.h>
#include <rt/time.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static int run_with(unsigned procs, int spill_after_ms, int (*fn)(void *arg))
{
    struct why why = {""};
    int result = -1;
    struct rt_options options = {.procs = procs, .spill_after_ms = spill_after_ms};
    if (rt_run(&options, fn, NULL, &result, &why) != 0)
        fail_msg("%s", why.text);
    return result;
}

static bool is_able;
static int ask_able(void *arg)
{
    (void)arg;
    is_able = spill_is_able();
    print_message("# %s; %s\n", spill_why(), stack_guard_why());
    return 0;
}

/* Where it cannot be, it is off and says why, and there is nothing to test. */
#define NEEDS_SPILLING()                                                                           \
    do {                                                                                           \
        if (!is_able) {                                                                            \
            print_message("# SKIP not applicable: spilling is off\n");                             \
            return;                                                                                \
        }                                                                                          \
    } while (0)

enum { NEVER_BY_ITSELF_MS = 3600 * 1000 };

/* ---- one goroutine, by hand ---- */

static struct sleeper {
    struct rt_note wake, done;
    struct g *_Atomic gp;
    volatile uint64_t *word; // on its stack
    uint64_t seen;           // what it found there
    int wrong;
    _Atomic bool ran;
    bool pins;
    size_t uses; // bytes of stack
} one;

enum { PATTERN = 40 };

static __attribute__((noinline)) void park_with_a_pattern(struct sleeper *s)
{
    volatile uint64_t words[PATTERN];
    uintptr_t at = (uintptr_t)words;
    for (int i = 0; i < PATTERN; i++)
        words[i] = at + (uint64_t)i * 0x9e3779b97f4a7c15u;
    words[0] = 7;
    s->word = &words[0];
    atomic_store(&s->gp, g_self());
    rt_note_wait(&s->wake, RT_FOREVER);
    s->seen = words[0];
    s->wrong += (uintptr_t)words != at;
    for (int i = 1; i < PATTERN; i++)
        s->wrong += words[i] != at + (uint64_t)i * 0x9e3779b97f4a7c15u;
    s->ran = true;
}

static __attribute__((noinline)) void park_deep(struct sleeper *s, int levels)
{
    volatile uint8_t frame[1024];
    memset((void *)frame, levels, sizeof(frame));
    if (levels > 0)
        park_deep(s, levels - 1);
    else
        park_with_a_pattern(s);
    for (size_t i = 0; i < sizeof(frame); i++)
        s->wrong += frame[i] != (uint8_t)levels;
}

static void sleeper_main(void *arg)
{
    struct sleeper *s = arg;
    if (s->pins)
        rt_pin_thread();
    if (s->uses)
        park_deep(s, (int)(s->uses / 1024));
    else
        park_with_a_pattern(s);
    if (s->pins)
        rt_unpin_thread();
    rt_note_set(&s->done);
}

static struct g *start_one(struct sleeper how)
{
    memset(&one, 0, sizeof(one));
    one.pins = how.pins;
    one.uses = how.uses;
    rt_go("sleeper", sleeper_main, &one);
    while (!atomic_load(&one.gp) || load_acquire(&one.gp->parking) != PARKED ||
           load_relaxed(&one.gp->status) != G_PARKED)
        rt_yield();
    return one.gp;
}

static void end_one(void)
{
    rt_note_set(&one.wake);
    rt_note_wait(&one.done, RT_FOREVER);
}

static int go_away_and_come_back(void *arg)
{
    (void)arg;
    struct g *gp = start_one((struct sleeper){.uses = 0});
    if (!spill_try(gp) || spill_bytes_of(gp) < PATTERN * 8 || spill_bytes_of(gp) > SPILL_MOST)
        return 1;
    unsigned char resident = 1;
    mincore((void *)((uintptr_t)one.word / STACK_PAGE * STACK_PAGE), STACK_PAGE, &resident);
    end_one();
    if (spill_bytes_of(gp) != 0 || (resident & 1))
        return 2;
    return one.seen == 7 ? one.wrong : 3;
}

static void a_stack_that_was_away_is_back_at_its_address(void **state)
{
    (void)state;
    NEEDS_SPILLING();
    assert_int_equal(run_with(1, NEVER_BY_ITSELF_MS, go_away_and_come_back), 0);
}

static int touch_as_a_stranger(void *arg)
{
    (void)arg;
    struct spill_stats stats;
    struct g *gp = start_one((struct sleeper){.uses = 0});
    if (!spill_try(gp))
        return 1;
    uint64_t found = *one.word;
    *one.word = 8;
    spill_read_stats(&stats);
    bool stays = spill_bytes_of(gp) == 0 && load_relaxed(&gp->away) == AWAY_TOUCHED;
    end_one();
    if (found != 7 || !stays || stats.strays != 1)
        return 2;
    return one.seen == 8 ? one.wrong : 3;
}

static void a_stranger_finds_and_leaves_what_belongs_there(void **state)
{
    (void)state;
    NEEDS_SPILLING();
    assert_int_equal(run_with(1, NEVER_BY_ITSELF_MS, touch_as_a_stranger), 0);
}

static int give_to_the_kernel(void *arg)
{
    (void)arg;
    int ends[2];
    uint64_t value = 9;
    if (pipe(ends) != 0 || write(ends[1], &value, 8) != 8)
        return 1;
    struct g *gp = start_one((struct sleeper){.uses = 0});
    if (!spill_try(gp))
        return 2;
    ssize_t first = read(ends[0], (void *)one.word, 8);
    int err = errno;
    bool touched = spill_touch((void *)one.word, 8) && spill_bytes_of(gp) == 0;
    touched = touched && !spill_touch(&value, 8); // our own, or nobody's
    ssize_t second = read(ends[0], (void *)one.word, 8);
    close(ends[0]);
    close(ends[1]);
    end_one();
    if (first != -1 || err != EFAULT || !touched || second != 8)
        return 3;
    return one.seen == 9 ? one.wrong : 4;
}

static void a_buffer_for_the_kernel_is_brought_back_by_hand(void **state)
{
    (void)state;
    NEEDS_SPILLING();
    assert_int_equal(run_with(1, NEVER_BY_ITSELF_MS, give_to_the_kernel), 0);
}

static int who_stays(void *arg)
{
    (void)arg;
    struct spill_stats stats;
    int wrong = 0;
    wrong += spill_try(g_self()); // it runs
    struct g *gp = start_one((struct sleeper){.pins = true});
    wrong += spill_try(gp) ? 10 : 0;
    end_one();
    gp = start_one((struct sleeper){.uses = 8 << 10});
    wrong += spill_try(gp) ? 100 : 0;
    end_one();
    wrong += one.wrong ? 1000 : 0;
    spill_read_stats(&stats);
    return wrong + (stats.spilled != 0) * 10000 + (stats.trimmed != 1) * 100000;
}

static void who_runs_or_is_pinned_or_uses_much_stays(void **state)
{
    (void)state;
    NEEDS_SPILLING();
    assert_int_equal(run_with(2, NEVER_BY_ITSELF_MS, who_stays), 0);
}

static int dump_what_is_away(void *arg)
{
    (void)arg;
    struct rt_string text = {0};
    struct g *gp = start_one((struct sleeper){.uses = 0});
    if (!spill_try(gp))
        return 1;
    rt_dump(&text);
    int wrong = strstr(rt_string_cstr(&text), "    park_with_a_pattern+") ? 0 : 2;
    wrong += spill_bytes_of(gp) == 0 ? 4 : 0;
    rt_string_deinit(&text);
    end_one();
    return wrong + one.wrong * 8;
}

static void a_dump_reads_a_stack_that_is_away_and_leaves_it_there(void **state)
{
    (void)state;
    NEEDS_SPILLING();
    assert_int_equal(run_with(1, NEVER_BY_ITSELF_MS, dump_what_is_away), 0);
}

static void somebody_elses(int number) { (void)number; }

static int lose_the_handler(void *arg)
{
    (void)arg;
    struct sigaction theirs = {.sa_handler = somebody_elses}, ours;
    struct g *gp = start_one((struct sleeper){.uses = 0});
    sigaction(SIGSEGV, &theirs, &ours);
    bool without = spill_try(gp);
    sigaction(SIGSEGV, &ours, NULL);
    bool with = spill_try(gp);
    end_one();
    return without || !with || one.wrong;
}

static void nothing_goes_away_while_somebody_else_has_the_traps(void **state)
{
    (void)state;
    NEEDS_SPILLING();
    assert_int_equal(run_with(1, NEVER_BY_ITSELF_MS, lose_the_handler), 0);
}

/* ---- held ---- */

static struct {
    struct g *gp;
    _Atomic int step; // 1: hold it; 2: held; 3: let go; 4: let go
    bool held, is_right;
} holder;

static void *hold(void *arg)
{
    struct stack_view view;
    holder.held = stack_hold(holder.gp, &view);
    if (holder.held) {
        uint64_t word;
        uintptr_t at = (uintptr_t)one.word;
        memcpy(&word, view.bytes + (at - view.sp), 8);
        holder.is_right = at > view.sp && at < view.top && word == 7;
    }
    atomic_store(&holder.step, 2);
    while (atomic_load(&holder.step) != 3)
        sched_yield();
    if (holder.held)
        stack_unhold(holder.gp);
    return arg;
}

/* It reads who waits off that stack: one that is away and held makes it wait, too. */
static void wake_one(void *arg)
{
    (void)arg;
    rt_note_set(&one.wake);
}

static int hold_one(bool away)
{
    pthread_t thread;
    struct g *gp = start_one((struct sleeper){.uses = 0});
    if (away && !spill_try(gp))
        return 1;
    memset(&holder, 0, sizeof(holder));
    holder.gp = gp;
    if (pthread_create(&thread, NULL, hold, NULL) != 0)
        return 2;
    while (atomic_load(&holder.step) != 2)
        rt_yield();
    rt_go("waker", wake_one, NULL); // another P takes it, and waits
    for (int i = 0; i < 20000 && !one.ran; i++)
        rt_yield();
    bool ran_held = one.ran;
    atomic_store(&holder.step, 3);
    rt_note_wait(&one.done, RT_FOREVER);
    pthread_join(thread, NULL);
    if (!holder.held || !holder.is_right || ran_held)
        return 3;
    return one.wrong;
}

/* It must not be the only P that waits for the holder. */
static int hold_in_place(void *arg)
{
    (void)arg;
    rt_pin_thread();
    int wrong = hold_one(false);
    rt_unpin_thread();
    return wrong;
}

static int hold_away(void *arg)
{
    (void)arg;
    rt_pin_thread();
    int wrong = hold_one(true);
    rt_unpin_thread();
    return wrong;
}

static void who_is_held_does_not_run_and_is_seen_as_he_is(void **state)
{
    (void)state;
    assert_int_equal(run_with(3, NEVER_BY_ITSELF_MS, hold_in_place), 0);
    if (is_able)
        assert_int_equal(run_with(3, NEVER_BY_ITSELF_MS, hold_away), 0);
}

/* ---- strangers, while it comes and goes ---- */

enum { ADDERS = 3 };
static struct {
    _Atomic bool over;
    _Atomic int started;
    uint64_t added[ADDERS];
} adders;

static void *add_to_a_stack(void *arg)
{
    uintptr_t which = (uintptr_t)arg;
    volatile uint64_t *word = one.word + 1 + which; // nobody else writes it
    uint64_t first = *word, count = 0;
    atomic_fetch_add(&adders.started, 1);
    while (!atomic_load_explicit(&adders.over, memory_order_relaxed)) {
        *word = *word + 1;
        count++;
    }
    adders.added[which] = *word - first - count; // 0: none lost
    *word = first;
    return NULL;
}

static int spill_under_strangers(void *arg)
{
    (void)arg;
    enum { TIMES_AWAY = 5000, AT_LEAST = 100 };
    pthread_t threads[ADDERS];
    struct spill_stats stats;
    struct g *gp = start_one((struct sleeper){.uses = 0});
    memset(&adders, 0, sizeof(adders));
    for (uintptr_t i = 0; i < ADDERS; i++)
        if (pthread_create(&threads[i], NULL, add_to_a_stack, (void *)i) != 0)
            return 1;
    while (atomic_load(&adders.started) < ADDERS)
        rt_yield();
    int64_t end_ns = rt_after_ns(2 * RT_SECOND);
    for (int i = 0; i < TIMES_AWAY && (i < AT_LEAST || rt_now_ns() < end_ns); i++) {
        spill_try(gp);
        while (spill_bytes_of(gp) > 0) // they bring it back, one of them or all at once
            sched_yield();
    }
    adders.over = true;
    for (int i = 0; i < ADDERS; i++)
        pthread_join(threads[i], NULL);
    spill_read_stats(&stats);
    print_message("# %lu times away, %lu times back for a stranger\n", (unsigned long)stats.spilled,
                  (unsigned long)stats.strays);
    end_one();
    int lost = 0;
    for (int i = 0; i < ADDERS; i++)
        lost += adders.added[i] != 0;
    return lost + one.wrong + (stats.strays < AT_LEAST) * 1000;
}

static void no_write_of_a_stranger_is_lost(void **state)
{
    (void)state;
    NEEDS_SPILLING();
    assert_int_equal(run_with(2, NEVER_BY_ITSELF_MS, spill_under_strangers), 0);
}

/* ---- many, at every park ---- */

enum { CREW = 64, ROUNDS = 60 };

static struct {
    struct rt_waitgroup done;
    struct rt_chan *values, *back;
    struct rt_mutex mutex;
    struct rt_cond cond;
    uint64_t counter;
    _Atomic int wrong;
    _Atomic uint32_t seed;
} crew;

static uint32_t draw(uint32_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

static __attribute__((noinline)) void wait_somehow(uint32_t kind, int number)
{
    uint64_t value = 0;
    struct rt_case cases[2] = {
        {.kind = RT_CASE_RECV, .chan = crew.values, .value = &value},
        {.kind = RT_CASE_SEND, .chan = crew.back, .value = &value},
    };
    switch (kind % 6) {
    case 0:
        rt_sleep_ns(kind % 200000);
        break;
    case 1: // somebody sends, or it times out
        rt_chan_recv(crew.values, &value, rt_after_ns(RT_MS));
        break;
    case 2:
        value = 1;
        rt_chan_send(crew.values, &value, rt_after_ns(RT_MS));
        break;
    case 3:
        rt_mutex_lock(&crew.mutex);
        crew.counter++;
        rt_sleep_ns(kind % 20000);
        rt_mutex_unlock(&crew.mutex);
        break;
    case 4:
        rt_select(cases, 2, rt_after_ns(RT_MS));
        break;
    case 5:
        rt_mutex_lock(&crew.mutex);
        if (number % 2)
            rt_cond_wait(&crew.cond, &crew.mutex, rt_after_ns(RT_MS));
        else
            rt_cond_signal(&crew.cond);
        rt_mutex_unlock(&crew.mutex);
        break;
    }
}

static void crew_member(void *arg)
{
    int number = (int)(intptr_t)arg;
    uint32_t state = 2463534242u + (uint32_t)number * 7919;
    volatile uint64_t words[24];
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t mark = (uint64_t)number << 32 | (uint64_t)round;
        for (int i = 0; i < 24; i++)
            words[i] = mark * (uint64_t)(i + 1);
        wait_somehow(draw(&state), number);
        for (int i = 0; i < 24; i++)
            if (words[i] != mark * (uint64_t)(i + 1))
                atomic_fetch_add(&crew.wrong, 1);
    }
    rt_waitgroup_done(&crew.done);
}

static int live_at_random(void *arg)
{
    (void)arg;
    struct spill_stats stats;
    memset(&crew, 0, sizeof(crew));
    crew.values = rt_chan_new(sizeof(uint64_t), 0);
    crew.back = rt_chan_new(sizeof(uint64_t), 4);
    rt_waitgroup_add(&crew.done, CREW);
    for (intptr_t i = 0; i < CREW; i++)
        if (rt_go("crew", crew_member, (void *)i) != 0)
            return -1;
    rt_waitgroup_wait(&crew.done, RT_FOREVER);
    spill_read_stats(&stats);
    print_message("# %lu times away, back %lu, of these %lu for strangers\n",
                  (unsigned long)stats.spilled, (unsigned long)stats.restored,
                  (unsigned long)stats.strays);
    rt_chan_free(crew.values);
    rt_chan_free(crew.back);
    return crew.wrong + (stats.spilled < CREW) * 1000;
}

static void goroutines_that_spill_at_every_park_keep_what_is_theirs(void **state)
{
    (void)state;
    NEEDS_SPILLING();
    for (unsigned procs = 1; procs <= 4; procs *= 2)
        assert_int_equal(run_with(procs, RT_SPILL_ALWAYS, live_at_random), 0);
}

/* ---- connections ---- */

enum { CONNS = 20, CALLS = 50 };

static struct rt_listener *listener;

static void answer(void *arg)
{
    struct rt_conn *conn = arg;
    uint8_t bytes[64];
    ssize_t n;
    while ((n = rt_conn_read(conn, bytes, sizeof(bytes))) > 0)
        if (rt_conn_write(conn, bytes, (size_t)n) != 0)
            break;
    rt_conn_unref(conn);
    rt_waitgroup_done(&crew.done);
}

static void accept_all(void *arg)
{
    struct rt_conn *conn;
    (void)arg;
    for (int i = 0; i < CONNS && rt_accept(listener, &conn) == 0; i++)
        rt_go("answer", answer, conn);
    rt_waitgroup_done(&crew.done);
}

/* It waits on its stack for what another one reads into it, and lets write from it. */
struct errand {
    struct rt_conn *conn;
    uint64_t *number;
    struct rt_note done;
    ssize_t result;
};

static void run_errand(void *arg)
{
    struct errand *e = arg;
    e->result = rt_conn_write(e->conn, e->number, 8);
    *e->number = 0;
    if (e->result == 0)
        e->result = rt_conn_read(e->conn, e->number, 8);
    rt_note_set(&e->done);
}

static void ask(void *arg)
{
    uint64_t number = (uint64_t)(uintptr_t)arg;
    struct rt_conn *conn;
    struct why why = {""};
    if (rt_dial(rt_listener_address(listener), RT_FOREVER, &conn, &why) != 0) {
        atomic_fetch_add(&crew.wrong, 1);
        rt_waitgroup_done(&crew.done);
        return;
    }
    for (uint64_t i = 0; i < CALLS; i++) {
        uint64_t sent = number << 32 | i, got = 0;
        if (i % 2) {
            struct errand *e = rt_alloc_zero(sizeof(*e));
            got = sent;
            e->conn = conn;
            e->number = &got;
            rt_go("errand", run_errand, e);
            rt_note_wait(&e->done, RT_FOREVER);
            if (e->result != 8 || got != sent)
                atomic_fetch_add(&crew.wrong, 1);
            rt_free(e);
            continue;
        }
        uint8_t *at = (uint8_t *)&got;
        size_t have = 0;
        ssize_t n = rt_conn_write(conn, &sent, 8);
        while (n >= 0 && have < 8 && (n = rt_conn_read(conn, at + have, 8 - have)) > 0)
            have += (size_t)n;
        if (got != sent)
            atomic_fetch_add(&crew.wrong, 1);
    }
    rt_conn_unref(conn);
    rt_waitgroup_done(&crew.done);
}

static int talk(void *arg)
{
    struct why why = {""};
    struct spill_stats stats;
    (void)arg;
    memset(&crew, 0, sizeof(crew));
    if (rt_listen("127.0.0.1:0", &listener, &why) != 0)
        return -1;
    rt_waitgroup_add(&crew.done, 2 * CONNS + 1);
    rt_go("accept", accept_all, NULL);
    for (uintptr_t i = 0; i < CONNS; i++)
        rt_go("ask", ask, (void *)i);
    rt_waitgroup_wait(&crew.done, RT_FOREVER);
    rt_listener_close(listener);
    spill_read_stats(&stats);
    return crew.wrong + (stats.spilled < CONNS) * 1000;
}

static int talk_on(const char *poller)
{
    setenv("KVD_POLLER", poller, 1);
    int wrong = run_with(2, RT_SPILL_ALWAYS, talk);
    unsetenv("KVD_POLLER");
    return wrong;
}

static void connections_that_spill_while_they_wait_answer_right(void **state)
{
    (void)state;
    NEEDS_SPILLING();
    assert_int_equal(talk_on("epoll"), 0);
    assert_int_equal(talk_on("uring"), 0);
}

/* ---- by itself ---- */

static int wait_until_away(void *arg)
{
    (void)arg;
    enum { PATIENCE = 6000 };
    struct spill_stats stats;
    struct g *gp = start_one((struct sleeper){.uses = 0});
    for (int i = 0; i < PATIENCE; i++) {
        spill_read_stats(&stats);
        if (stats.away > 0 && spill_bytes_of(gp) > 0)
            break;
        rt_sleep_ns(10 * RT_MS);
    }
    bool went = spill_bytes_of(gp) > 0;
    end_one();
    return went ? one.wrong : 1;
}

static void who_is_parked_for_long_is_found(void **state)
{
    (void)state;
    NEEDS_SPILLING();
    assert_int_equal(run_with(1, 20, wait_until_away), 0);
}

static int see_it_off(void *arg)
{
    (void)arg;
    struct g *gp = start_one((struct sleeper){.uses = 0});
    bool went = spill_try(gp) || spill_is_able() || spill_bytes_of(gp) > 0;
    end_one();
    return went || one.wrong;
}

static void a_setting_turns_it_off(void **state)
{
    (void)state;
    assert_int_equal(run_with(1, RT_SPILL_OFF, see_it_off), 0);
    setenv("KVD_SPILL", "off", 1);
    assert_int_equal(run_with(1, 0, see_it_off), 0);
    unsetenv("KVD_SPILL");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stack_that_was_away_is_back_at_its_address),
        cmocka_unit_test(a_stranger_finds_and_leaves_what_belongs_there),
        cmocka_unit_test(a_buffer_for_the_kernel_is_brought_back_by_hand),
        cmocka_unit_test(who_runs_or_is_pinned_or_uses_much_stays),
        cmocka_unit_test(a_dump_reads_a_stack_that_is_away_and_leaves_it_there),
        cmocka_unit_test(nothing_goes_away_while_somebody_else_has_the_traps),
        cmocka_unit_test(who_is_held_does_not_run_and_is_seen_as_he_is),
        cmocka_unit_test(no_write_of_a_stranger_is_lost),
        cmocka_unit_test(goroutines_that_spill_at_every_park_keep_what_is_theirs),
        cmocka_unit_test(connections_that_spill_while_they_wait_answer_right),
        cmocka_unit_test(who_is_parked_for_long_is_found),
        cmocka_unit_test(a_setting_turns_it_off),
    };
    run_with(1, NEVER_BY_ITSELF_MS, ask_able);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
