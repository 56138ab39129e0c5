/* tests/runtime/test_stack.c: stacks are roomy, apart, reused, and an overflow is told, not suffered.
 * What ends a process is tested in a child. */
#include "runtime/sched/stack.h"
#include "tests/support/rt_test.h"
#include <rt/sync.h>
#include <rt/time.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static int run_on(unsigned procs, int (*fn)(void *arg))
{
    struct why why = {""};
    int result = -1;
    if (rt_run(&(struct rt_options){.procs = procs}, fn, NULL, &result, &why) != 0)
        fail_msg("%s", why.text);
    return result;
}

/* Run fn in a child and read what it says on stderr. Returns its wait status. */
static int in_child(void (*fn)(void), char *text, size_t cap)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        dup2(ends[1], STDERR_FILENO);
        setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
        fn();
        _exit(0);
    }
    close(ends[1]);
    size_t len = 0;
    for (ssize_t n; (n = read(ends[0], text + len, cap - 1 - len)) > 0;)
        len += (size_t)n;
    text[len] = 0;
    close(ends[0]);
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

/* ---- room ---- */

static __attribute__((noinline)) uint64_t use_stack(int depth)
{
    volatile uint8_t frame[1024];
    memset((void *)frame, depth, sizeof(frame));
    uint64_t below = depth > 0 ? use_stack(depth - 1) : 0;
    return below + frame[depth % 1024];
}

static void use_forty_kib(void *arg)
{
    if (use_stack(36) != 36 * 37 / 2)
        abort();
    rt_waitgroup_done(arg);
}

static int go_deep(void *arg)
{
    (void)arg;
    struct rt_waitgroup done = {.count = 0};
    rt_waitgroup_add(&done, 100);
    for (int i = 0; i < 100; i++)
        rt_go("deep", use_forty_kib, &done);
    return rt_waitgroup_wait(&done, RT_FOREVER);
}

static void forty_kib_of_stack_can_be_used(void **state)
{
    (void)state;
    assert_int_equal(run_on(2, go_deep), 0);
}

/* ---- apart ---- */

struct places {
    _Atomic uintptr_t at[200];
    _Atomic int next;
    struct rt_waitgroup done, leave;
};

static void note_place(void *arg)
{
    struct places *p = arg;
    atomic_store(&p->at[atomic_fetch_add(&p->next, 1)], (uintptr_t)__builtin_frame_address(0));
    rt_waitgroup_done(&p->done);
    rt_waitgroup_wait(&p->leave, RT_FOREVER);
}

static int look_at_places(void *arg)
{
    (void)arg;
    static struct places p;
    memset(&p, 0, sizeof(p));
    rt_waitgroup_add(&p.done, 200);
    rt_waitgroup_add(&p.leave, 1);
    for (int i = 0; i < 200; i++)
        rt_go("place", note_place, &p);
    rt_waitgroup_wait(&p.done, RT_FOREVER);
    int wrong = 0, same_offset = 0;
    for (int i = 0; i < 200; i++) {
        struct g *a = stack_g_of(p.at[i]);
        wrong += !a;
        for (int k = 0; k < i; k++)
            wrong += a == stack_g_of(p.at[k]);
        same_offset += i > 0 && p.at[i] % 4096 == p.at[i - 1] % 4096;
    }
    rt_waitgroup_done(&p.leave);
    return wrong ? -wrong : same_offset;
}

static void each_goroutine_has_a_slot_and_tops_are_staggered(void **state)
{
    (void)state;
    assert_in_range(run_on(1, look_at_places), 0, 20);
}

static void count_down(void *arg) { rt_waitgroup_done(arg); }

static int reuse_slots(void *arg)
{
    (void)arg;
    for (int i = 0; i < 10000; i++) {
        struct rt_waitgroup done = {.count = 0};
        rt_waitgroup_add(&done, 1);
        rt_go("short", count_down, &done);
        rt_waitgroup_wait(&done, RT_FOREVER);
    }
    return (int)stack_used_slots();
}

static void slots_are_used_again(void **state)
{
    (void)state;
    assert_in_range(run_on(1, reuse_slots), 2, 8);
}

/* ---- guards, warm slots ---- */

static void wait_for(void *gate) { rt_waitgroup_wait(gate, RT_FOREVER); }

/* Start goroutines that wait until no more are to be had; how many there were, at most `most`. */
static int start_many(int most)
{
    static struct rt_waitgroup gate;
    memset(&gate, 0, sizeof(gate));
    rt_waitgroup_add(&gate, 1);
    int count = 0;
    while (count < most && rt_go("waits", wait_for, &gate) == 0)
        count++;
    rt_waitgroup_done(&gate);
    return count;
}

static int fill_guarded_slots(void *arg)
{
    (void)arg;
    int count = start_many(1 << 20);
    print_message("# %s; %d goroutines\n", stack_guard_why(), count);
    if (!strstr(stack_guard_why(), "mprotect") || !strstr(stack_guard_why(), "max_map_count"))
        return -1;
    return (uint32_t)count + STACK_FREE_MAX + 2 >= stack_slots() ? count : -2;
}

static void without_guard_markers_there_are_as_many_slots_as_mappings_allow(void **state)
{
    (void)state;
#if defined(RT_ASAN) || defined(RT_TSAN)
    print_message("# SKIP not applicable: a sanitizer's goroutines are fewer than that\n");
    return;
#endif
    setenv("KVD_STACK_GUARD", "mprotect", 1);
    int count = run_on(2, fill_guarded_slots);
    unsetenv("KVD_STACK_GUARD");
    assert_in_range(count, 1000, 1 << 20);
}

static int warm_up_and_count_faults(void *arg)
{
    (void)arg;
    struct rusage before, after;
    start_many(5000);
    while (rt_go_count() > 1)
        rt_yield();
    getrusage(RUSAGE_SELF, &before);
    for (int i = 0; i < 10; i++) {
        start_many(1000);
        while (rt_go_count() > 1)
            rt_yield();
    }
    getrusage(RUSAGE_SELF, &after);
    return (int)(after.ru_minflt - before.ru_minflt);
}

static void goroutines_that_come_and_go_cause_no_page_faults(void **state)
{
    (void)state;
#if defined(RT_ASAN) || defined(RT_TSAN)
    print_message("# SKIP not applicable: a sanitizer has shadow pages\n");
    return;
#endif
    assert_in_range(run_on(1, warm_up_and_count_faults), 0,
                    300); // of 10,000; the trimmer takes some
}

static int give_all_back(void *arg)
{
    (void)arg;
    enum { MANY = 20000 };
    int count = start_many(MANY);
    while (rt_go_count() > 1)
        rt_yield();
    int looks = 0;
    while (stack_trim(8))
        looks++;
    unsigned char resident = 0;
    int kept = 0;
    for (int i = 0; i < MANY; i++) {
        uintptr_t page = (stack_top_of(&stack_table[i]) - 1) / STACK_PAGE * STACK_PAGE;
        mincore((void *)page, STACK_PAGE, &resident);
        kept += resident & 1;
    }
    if (count != MANY || looks == 0 || kept > STACK_WARM_MAX + 4 * STACK_BATCH)
        return -kept;
    return start_many(MANY) == MANY ? 0 : -1; // and they serve again
}

static void pages_of_many_unused_slots_go_back(void **state)
{
    (void)state;
#if defined(RT_ASAN) || defined(RT_TSAN)
    print_message("# SKIP not applicable: a sanitizer's goroutines are fewer than that\n");
    return;
#endif
    assert_int_equal(run_on(2, give_all_back), 0);
}

/* ---- below who is parked ---- */

static struct deep {
    struct rt_note wake, done;
    struct g *_Atomic gp;
} waits_deep;

static void go_deep_and_wait(void *arg)
{
    struct deep *d = arg;
    if (use_stack(28) != 28 * 29 / 2) // 32 KiB
        abort();
    atomic_store(&d->gp, g_self());
    rt_note_wait(&d->wake, RT_FOREVER);
    rt_note_set(&d->done);
}

/* Pages of the slot that are there, its guard left out. */
static int resident_pages(const struct g *gp)
{
    unsigned char resident[STACK_ROOM / STACK_PAGE];
    int count = 0;
    if (mincore((void *)(stack_slot_of(gp) + STACK_GUARD), STACK_ROOM, resident) != 0)
        return -1;
    for (size_t i = 0; i < sizeof(resident); i++)
        count += resident[i] & 1;
    return count;
}

static int wait_for_pages_to_go(void *arg)
{
    (void)arg;
    enum { PATIENCE = 3000, USED_PAGES = 7, KEPT_PAGES = 2 };
    memset(&waits_deep, 0, sizeof(waits_deep));
    rt_go("deep", go_deep_and_wait, &waits_deep);
    while (!atomic_load(&waits_deep.gp))
        rt_yield();
    int before = resident_pages(waits_deep.gp), now = before;
    for (int i = 0; i < PATIENCE && now > KEPT_PAGES; i++) {
        rt_sleep_ns(10 * RT_MS);
        now = resident_pages(waits_deep.gp);
    }
    rt_note_set(&waits_deep.wake);
    rt_note_wait(&waits_deep.done, RT_FOREVER);
    return before < USED_PAGES || now > KEPT_PAGES || now < 1 ? before * 100 + now : 0;
}

/* It once used 32 KiB, and has been parked for a second with next to nothing: no spilling is needed. */
static void pages_below_who_is_parked_for_long_go_back(void **state)
{
    (void)state;
#if defined(RT_ASAN) || defined(RT_TSAN)
    print_message("# SKIP not applicable: a sanitizer watches the stacks\n");
    return;
#endif
    struct why why = {""};
    int result = -1;
    struct rt_options options = {.procs = 1, .spill_after_ms = RT_SPILL_OFF};
    if (rt_run(&options, wait_for_pages_to_go, NULL, &result, &why) != 0)
        fail_msg("%s", why.text);
    assert_int_equal(result, 0);
}

/* ---- what kills ---- */

static __attribute__((noinline)) int recurse(volatile int *depth)
{
    volatile char frame[512];
    frame[0] = (char)++*depth;
    return *depth > 0 ? recurse(depth) + frame[0] : 0;
}

static void overflow(void *arg)
{
    (void)arg;
    volatile int depth = 0;
    recurse(&depth);
}

static int overflow_main(void *arg)
{
    (void)arg;
    rt_go("bottomless", overflow, NULL);
    rt_sleep_ns(60 * RT_SECOND);
    return 0;
}

static void overflow_child(void) { rt_run(NULL, overflow_main, NULL, NULL, NULL); }

static char text[1 << 20];

static void overflow_with_mprotect_child(void)
{
    setenv("KVD_STACK_GUARD", "mprotect", 1);
    overflow_child();
}

static void overflow_with_spilling_child(void)
{
    setenv("KVD_SPILL", "always", 1);
    overflow_child();
}

static void an_overflow_is_reported_with_who_and_where_and_how_deep(void **state)
{
    (void)state;
    void (*const children[])(void) = {overflow_child, overflow_with_mprotect_child,
                                      overflow_with_spilling_child};
    for (size_t i = 0; i < ARRAY_LEN(children); i++) {
        int status = in_child(children[i], text, sizeof(text));
#if !defined(RT_ASAN) && !defined(RT_TSAN) // they have reports of their own
        print_message("# %.*s\n", (int)strcspn(text, "\n"), text);
        assert_true(WIFSIGNALED(status));
        assert_int_equal(WTERMSIG(status), SIGABRT);
        assert_non_null(strstr(text, "(bottomless) overflowed its stack of 64 KiB"));
        assert_non_null(strstr(text, " frames deep, at recurse"));
        assert_non_null(strstr(text, ", started at overflow_main+"));
        assert_non_null(strstr(text, "    recurse"));
        unsigned frames = 0;
        const char *deep = strstr(text, "a guard), ");
        assert_int_equal(sscanf(deep ? deep : "", "a guard), %u frames", &frames), 1);
        assert_in_range(frames, 40, 3000); // of 16 bytes or more in 48 KiB
#endif
        assert_false(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
}

static void touch_nothing(void *address) { *(volatile int *)address = 1; }

static int segv_main(void *arg)
{
    (void)arg;
    rt_go("wild", touch_nothing, (void *)(intptr_t)16);
    rt_sleep_ns(60 * RT_SECOND);
    return 0;
}

static void segv_child(void) { rt_run(NULL, segv_main, NULL, NULL, NULL); }

static void a_wild_pointer_is_reported_with_the_goroutines_name(void **state)
{
    (void)state;
    int status = in_child(segv_child, text, sizeof(text));
#if !defined(RT_ASAN) && !defined(RT_TSAN)
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGSEGV);
    assert_non_null(strstr(text, "SIGSEGV at address 0x10"));
    assert_non_null(strstr(text, "(wild)"));
#endif
    assert_false(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void no_room_child(void)
{
    struct why why = {""};
    setrlimit(RLIMIT_AS, &(struct rlimit){1 << 30, 1 << 30});
    int err = rt_run(NULL, overflow_main, NULL, NULL, &why);
    dprintf(STDERR_FILENO, "%d %s\n", err, why.text);
}

static void too_little_address_space_is_an_error_that_says_what_to_do(void **state)
{
    (void)state;
#if defined(RT_ASAN) || defined(RT_TSAN)
    print_message("# SKIP not applicable: sanitizers need the address space themselves\n");
    return;
#endif
    in_child(no_room_child, text, sizeof(text));
    assert_non_null(strstr(text, "-12 cannot reserve"));
    assert_non_null(strstr(text, "max_goroutines"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_overflow_is_reported_with_who_and_where_and_how_deep),
        cmocka_unit_test(a_wild_pointer_is_reported_with_the_goroutines_name),
        cmocka_unit_test(too_little_address_space_is_an_error_that_says_what_to_do),
        cmocka_unit_test(forty_kib_of_stack_can_be_used),
        cmocka_unit_test(each_goroutine_has_a_slot_and_tops_are_staggered),
        cmocka_unit_test(slots_are_used_again),
        cmocka_unit_test(without_guard_markers_there_are_as_many_slots_as_mappings_allow),
        cmocka_unit_test(goroutines_that_come_and_go_cause_no_page_faults),
        cmocka_unit_test(pages_of_many_unused_slots_go_back),
        cmocka_unit_test(pages_below_who_is_parked_for_long_go_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
