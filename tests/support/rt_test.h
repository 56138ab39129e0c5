/* tests/support/rt_test.h: cmocka groups inside the runtime. cmocka keeps its state per thread and
 * fails by longjmp, so the goroutine that runs the group is pinned to its thread; goroutines that a
 * test starts must not use cmocka's assertions (use assert, or hand the result over a channel). */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <rt/go.h>
#include <signal.h>
#include <stdio.h>

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

#if !defined(RT_ASAN) && !defined(RT_TSAN)
/* What cmocka calls, round each test, to have traps for itself: they are the runtime's, which serves
 * stacks that are away by them and says more of the others. */
__attribute__((used)) __sighandler_t signal(int number, __sighandler_t handler)
{
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART}, old;
    if (number == SIGSEGV || number == SIGBUS)
        return SIG_DFL;
    return sigaction(number, &action, &old) == 0 ? old.sa_handler : SIG_ERR;
}
#endif

/* Run `group` (a function that calls cmocka_run_group_tests) as the first goroutine of a runtime
 * made with `options` (NULL: the defaults). Returns what main should return. */
static inline int rt_test_main(const struct rt_options *options, int (*group)(void *))
{
    static const struct rt_options defaults;
    struct why why;
    int failed = 1;
    int err = rt_run(options ? options : &defaults, group, NULL, &failed, &why);
    if (err) {
        fprintf(stderr, "not ok - the runtime does not start: %s\n", why.text);
        return 1;
    }
    return failed;
}

#define RT_TEST_GROUP(fn, tests)                                                                   \
    static int fn(void *arg)                                                                       \
    {                                                                                              \
        (void)arg;                                                                                 \
        rt_pin_thread();                                                                           \
        int failed_ = cmocka_run_group_tests(tests, NULL, NULL);                                   \
        rt_unpin_thread();                                                                         \
        return failed_;                                                                            \
    }
