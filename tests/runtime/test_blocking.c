/* tests/runtime/test_blocking.c: a call that blocks its thread blocks nobody else. */
#include "tests/support/rt_test.h"
#include <errno.h>
#include <rt/inspect.h>
#include <rt/sync.h>
#include <rt/time.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

static int on_procs(unsigned procs, int (*fn)(void *arg))
{
    struct why why = {""};
    int result = -1;
    if (rt_run(&(struct rt_options){.procs = procs}, fn, NULL, &result, &why) != 0)
        fail_msg("%s", why.text);
    return result;
}

static int64_t read_byte(void *arg)
{
    char byte = 0;
    ssize_t n;
    do
        n = read(*(int *)arg, &byte, 1);
    while (n < 0 && errno == EINTR);
    return n == 1 ? byte : -1;
}

static void write_later(void *arg)
{
    for (int i = 0; i < 100; i++)
        rt_yield();
    rt_sleep_ns(2 * RT_MS);
    if (write(*(int *)arg, "x", 1) != 1)
        abort();
}

static int wait_for_another(void *arg)
{
    (void)arg;
    int ends[2];
    if (pipe(ends) != 0 || rt_go("writer", write_later, &ends[1]) != 0)
        return -1;
    int64_t byte = rt_blocking(read_byte, &ends[0]);
    close(ends[0]);
    close(ends[1]);
    return (int)byte;
}

static void another_goroutine_runs_while_the_only_p_s_thread_blocks(void **state)
{
    (void)state;
    assert_int_equal(on_procs(1, wait_for_another), 'x');
    assert_int_equal(on_procs(2, wait_for_another), 'x');
}

static int64_t add_one(void *arg) { return (int64_t)(intptr_t)arg + 1; }

static int many_short_calls(void *arg)
{
    (void)arg;
    for (int i = 0; i < 20000; i++)
        if (rt_blocking(add_one, (void *)(intptr_t)i) != i + 1)
            return -1;
    return 0;
}

static void short_calls_return_their_results(void **state)
{
    (void)state;
    assert_int_equal(on_procs(1, many_short_calls), 0);
    assert_int_equal(on_procs(2, many_short_calls), 0);
}

/* More calls at once than threads are allowed: the rest wait in line, and all end. */
#ifdef RT_TSAN
enum { CALLERS = 270 };
#else
enum { CALLERS = 400 };
#endif

struct crowd {
    int ends[2];
    _Atomic int inside, most;
    struct rt_waitgroup done;
};

static int64_t read_from_crowd(void *arg)
{
    struct crowd *c = arg;
    int now = atomic_fetch_add(&c->inside, 1) + 1, most = atomic_load(&c->most);
    while (now > most && !atomic_compare_exchange_weak(&c->most, &most, now))
        ;
    int64_t byte = read_byte(&c->ends[0]);
    atomic_fetch_sub(&c->inside, 1);
    return byte;
}

static void call_in_crowd(void *arg)
{
    struct crowd *c = arg;
    if (rt_blocking(read_from_crowd, c) != 'x')
        abort();
    rt_waitgroup_done(&c->done);
}

static int crowd(void *arg)
{
    (void)arg;
    struct crowd c = {.inside = 0};
    if (pipe(c.ends) != 0)
        return -1;
    rt_waitgroup_add(&c.done, CALLERS);
    for (int i = 0; i < CALLERS; i++)
        rt_go("caller", call_in_crowd, &c);
    while (atomic_load(&c.inside) < 256)
        rt_yield();
    for (int i = 0; i < CALLERS; i++)
        if (write(c.ends[1], "x", 1) != 1)
            return -1;
    rt_waitgroup_wait(&c.done, RT_FOREVER);
    return atomic_load(&c.most);
}

static void calls_at_once_are_bounded_and_the_rest_wait(void **state)
{
    (void)state;
    assert_int_equal(on_procs(2, crowd), 256);
}

static int64_t whose_thread(void *arg)
{
    (void)arg;
    return syscall(SYS_gettid);
}

static int block_pinned(void *arg)
{
    (void)arg;
    rt_pin_thread();
    long tid = syscall(SYS_gettid);
    int moved = 0;
    for (int i = 0; i < 200; i++) {
        moved += rt_blocking(whose_thread, NULL) != tid;
        rt_yield();
        moved += syscall(SYS_gettid) != tid;
    }
    rt_unpin_thread();
    return moved;
}

static void a_pinned_goroutine_blocks_on_its_own_thread(void **state)
{
    (void)state;
    assert_int_equal(on_procs(1, block_pinned), 0);
    assert_int_equal(on_procs(2, block_pinned), 0);
}

/* ---- signals ---- */

static void send_signal(void *arg)
{
    rt_sleep_ns(RT_MS);
    kill(getpid(), *(int *)arg);
}

static int wait_for_signals(void *arg)
{
    (void)arg;
    static int user = SIGUSR1, hangup = SIGHUP;
    if (rt_signal_wait((int[]){SIGKILL}, 1) != -EINVAL || rt_signal_wait(NULL, 0) != -EINVAL)
        return -1;
    rt_go("sender", send_signal, &user);
    if (rt_signal_wait((int[]){SIGUSR1, SIGHUP}, 2) != SIGUSR1)
        return -2;
    rt_go("sender", send_signal, &hangup);
    if (rt_signal_wait((int[]){SIGUSR1, SIGHUP}, 2) != SIGHUP)
        return -3;
    kill(getpid(), SIGUSR1); // nobody waits: it is kept
    return rt_signal_wait((int[]){SIGUSR1}, 1) == SIGUSR1 ? 0 : -4;
}

static void a_signal_wakes_the_goroutine_that_waits_for_it(void **state)
{
    (void)state;
    assert_int_equal(on_procs(1, wait_for_signals), 0);
    assert_int_equal(on_procs(2, wait_for_signals), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(another_goroutine_runs_while_the_only_p_s_thread_blocks),
        cmocka_unit_test(short_calls_return_their_results),
        cmocka_unit_test(calls_at_once_are_bounded_and_the_rest_wait),
        cmocka_unit_test(a_pinned_goroutine_blocks_on_its_own_thread),
        cmocka_unit_test(a_signal_wakes_the_goroutine_that_waits_for_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
