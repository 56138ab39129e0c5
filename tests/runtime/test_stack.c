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

static void an_overflow_is_reported_with_the_goroutines_name(void **state)
{
    (void)state;
    int status = in_child(overflow_child, text, sizeof(text));
#if !defined(RT_ASAN) && !defined(RT_TSAN) // they have reports of their own
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
    assert_non_null(strstr(text, "(bottomless) overflowed its stack of 64 KiB"));
    assert_non_null(strstr(text, "    recurse"));
#endif
    assert_false(WIFEXITED(status) && WEXITSTATUS(status) == 0);
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
        cmocka_unit_test(an_overflow_is_reported_with_the_goroutines_name),
        cmocka_unit_test(a_wild_pointer_is_reported_with_the_goroutines_name),
        cmocka_unit_test(too_little_address_space_is_an_error_that_says_what_to_do),
        cmocka_unit_test(forty_kib_of_stack_can_be_used),
        cmocka_unit_test(each_goroutine_has_a_slot_and_tops_are_staggered),
        cmocka_unit_test(slots_are_used_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
