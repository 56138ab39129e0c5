/* tests/runtime/test_dump.c: the dump names everybody, says what they wait for and where. */
#include "runtime/sched/proc.h"
#include "tests/support/rt_test.h"
#include <rt/chan.h>
#include <rt/inspect.h>
#include <rt/sync.h>
#include <rt/time.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static char text[1 << 20];

static void run_group(int (*fn)(void *arg), unsigned procs)
{
    struct why why = {""};
    int result = -1;
    if (rt_run(&(struct rt_options){.procs = procs}, fn, NULL, &result, &why) != 0)
        fail_msg("%s", why.text);
    if (result != 0)
        fail_msg("%d, and the last dump was:\n%s", result, text);
}

static void take(void (*dump)(struct rt_string *out))
{
    struct rt_string s = {NULL, 0, 0};
    dump(&s);
    strncpy(text, rt_string_cstr(&s), sizeof(text) - 1);
    rt_string_deinit(&s);
}

static void wait_on_channel(void *arg)
{
    int value;
    rt_chan_recv(arg, &value, RT_FOREVER);
}

static void sleep_long(void *arg)
{
    (void)arg;
    rt_sleep_ns(3600 * RT_SECOND);
}

static int64_t block_a_while(void *arg) { return (int64_t)read(*(int *)arg, &(char){0}, 1); }
static void block(void *arg)
{
    volatile int64_t result = rt_blocking(block_a_while, arg); // not the last thing: it stays below
    (void)result;
}

static int look(void *arg)
{
    (void)arg;
    static struct rt_chan *c; // its reader is abandoned with it
    c = rt_chan_new(sizeof(int), 0);
    int ends[2];
    if (!c || pipe(ends) != 0)
        return -1;
    rt_go("channel-reader", wait_on_channel, c);
    rt_go_urgent("long-sleeper", sleep_long, NULL);
    rt_go("disk-reader", block, &ends[0]);
    do { // until all three have come to rest
        rt_yield();
        take(rt_dump);
    } while (!strstr(text, "[chan receive") || !strstr(text, "[sleep") ||
             !strstr(text, "[blocking call"));
    if (write(ends[1], "x", 1) != 1)
        return -1;
    return 0;
}

static void names_reasons_places_and_creators_are_in_it(void **state)
{
    (void)state;
    run_group(look, 2);
    static const char *const wanted[] = {
        "[chan receive, ",
        "]: channel-reader\n",
        ", urgent]: long-sleeper\n",
        "]: disk-reader\n",
        "[running]: main\n",
#if !defined(RT_ASAN) && !defined(RT_TSAN) // instrumented frames come between
        "    wait_on_channel+0x",
        "    rt_sleep_until+0x",
        "  created at look+0x",
        "    look+0x",
        "    block+0x", // below rt_blocking
#endif
    };
    for (size_t i = 0; i < ARRAY_LEN(wanted); i++)
        if (!strstr(text, wanted[i]))
            fail_msg("no '%s' in:\n%s", wanted[i], text);
}

static _Atomic bool spinning, enough;

static __attribute__((noinline)) uint64_t compute_without_a_call(uint64_t n)
{
    atomic_store(&spinning, true);
    while (!atomic_load(&enough))
        n = n * 6364136223846793005u + 1;
    return n;
}

static void compute(void *arg)
{
    volatile uint64_t result = compute_without_a_call((uintptr_t)arg);
    (void)result;
}

static int look_at_a_computation(void *arg)
{
    (void)arg;
    atomic_store(&spinning, false);
    atomic_store(&enough, false);
    rt_go("computation", compute, NULL);
    while (!atomic_load(&spinning))
        rt_yield();
    bool seen = false;
    for (int i = 0; i < 1000 && !seen; i++) { // its thread may have no CPU when it is asked
        take(rt_dump);
        seen = strstr(text, "    compute_without_a_call+0x") != NULL;
    }
    atomic_store(&enough, true);
    return seen ? 0 : -1;
}

static void who_is_running_elsewhere_shows_its_stack(void **state)
{
    (void)state;
#ifdef RT_TSAN // holds signals back
    skip();
#endif
    run_group(look_at_a_computation, 2);
    if (!strstr(text, "running]: computation\n"))
        fail_msg("not seen as running:\n%s", text);
}

static void who_was_preempted_shows_its_stack(void **state)
{
    (void)state;
#ifdef RT_TSAN
    skip();
#endif
    run_group(look_at_a_computation, 1); // we run, so it is in a queue
    if (!strstr(text, "runnable]: computation\n"))
        fail_msg("not seen as runnable:\n%s", text);
}

static int look_in_short(void *arg)
{
    (void)arg;
    static struct rt_chan *c; // its readers are abandoned with it
    c = rt_chan_new(sizeof(int), 0);
    for (int i = 0; i < 100; i++)
        rt_go("channel-reader", wait_on_channel, c);
    for (int i = 0; i < 7; i++)
        rt_go("long-sleeper", sleep_long, NULL);
    bool seen = false;
    for (int i = 0; i < 1000 && !seen; i++) { // until all have come to rest
        rt_yield();
        take(rt_dump_short);
        seen =
            strstr(text, "\n100 goroutines [chan receive") && strstr(text, "\n7 goroutines [sleep");
    }
    return seen ? 0 : -1;
}

static void the_short_form_counts_who_is_in_the_same_place(void **state)
{
    (void)state;
    run_group(look_in_short, 1);
    if (strncmp(text, "108 goroutines in 3 places:\n", 28) != 0)
        fail_msg("a wrong head:\n%s", text);
    const char *readers = strstr(text, "\n100 goroutines [chan receive, ");
    const char *sleepers = strstr(text, "\n7 goroutines [sleep, ");
    const char *self = strstr(text, "\n1 goroutine [running]: main\n");
    assert_non_null(readers);
    assert_non_null(sleepers);
    assert_non_null(self);
    assert_true(readers < sleepers); // the most numerous first
    assert_true(sleepers < self);
}

static int quit_self(void *arg)
{
    (void)arg;
    rt_go("long-sleeper", sleep_long, NULL);
    rt_sleep_ns(RT_MS);
    kill(getpid(), SIGQUIT);
    rt_sleep_ns(500 * RT_MS); // not for the result: so that there is a process to dump
    return 0;
}

static int fail_an_assertion(void *arg)
{
    (void)arg;
    rt_go("long-sleeper", sleep_long, NULL);
    rt_sleep_ns(RT_MS);
    rt_fatal("the disk said no");
}

static int in_child(int (*fn)(void *arg))
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        int result = 1;
        dup2(ends[1], STDERR_FILENO);
        setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
        rt_run(&(struct rt_options){.procs = 1}, fn, NULL, &result, NULL);
        _exit(result);
    }
    close(ends[1]);
    size_t len = 0;
    for (ssize_t n; (n = read(ends[0], text + len, sizeof(text) - 1 - len)) > 0;)
        len += (size_t)n;
    text[len] = 0;
    close(ends[0]);
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static void sigquit_prints_it_and_the_process_goes_on(void **state)
{
    (void)state;
    int status = in_child(quit_self);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_non_null(strstr(text, "]: long-sleeper\n"));
}

static void a_dying_process_prints_why_and_then_the_dump(void **state)
{
    (void)state;
    int status = in_child(fail_an_assertion);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
    const char *why = strstr(text, "the disk said no\n");
    assert_non_null(why);
    assert_non_null(strstr(why, "]: long-sleeper\n"));
}

static int count(void *arg)
{
    (void)arg;
    struct rt_stats before, after;
    rt_stats(&before);
    for (int i = 0; i < 10; i++)
        rt_go("long-sleeper", sleep_long, NULL);
    for (int i = 0; i < 100; i++)
        rt_yield();
    rt_stats(&after);
    return after.spawned - before.spawned == 10 && after.goroutines == 11 &&
                   after.switches > before.switches && after.poller
               ? 0
               : -1;
}

static void counters_count(void **state)
{
    (void)state;
    run_group(count, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sigquit_prints_it_and_the_process_goes_on),
        cmocka_unit_test(a_dying_process_prints_why_and_then_the_dump),
        cmocka_unit_test(names_reasons_places_and_creators_are_in_it),
        cmocka_unit_test(who_is_running_elsewhere_shows_its_stack),
        cmocka_unit_test(who_was_preempted_shows_its_stack),
        cmocka_unit_test(the_short_form_counts_who_is_in_the_same_place),
        cmocka_unit_test(counters_count),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
