/* tests/runtime/test_audit.c: a call back from a library that nobody wrapped is found. */
#include "tests/support/rt_test.h"
#include <rt/inspect.h>
#include <rt/time.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static _Atomic bool wrapped;

static __attribute__((noinline)) uint64_t compute(int rounds)
{
    static volatile uint64_t x;
    for (int i = 0; i < rounds; i++)
        x = x * 3 + 1;
    return x;
}

static int compare_slowly(const void *a, const void *b)
{
    uint64_t x = compute(20 * 1000 * 1000), y = compute(20 * 1000 * 1000);
    return x == y ? 0 : *(const int *)a - *(const int *)b;
}

static int sort(void *arg)
{
    (void)arg;
    int v[4] = {3, 1, 4, 2};
    if (wrapped)
        rt_nopreempt_begin();
    qsort(v, 4, sizeof(v[0]), compare_slowly);
    if (wrapped)
        rt_nopreempt_end();
    return v[0];
}

/* What a child that sorts ends with; what it says goes to `text`. */
static int status_of_sorting(bool wrap, const char *torture, char *text, size_t cap)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        int result = -1;
        dup2(ends[1], STDERR_FILENO);
        setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
        setenv("KVD_TORTURE", torture, 1);
        wrapped = wrap;
        rt_run(&(struct rt_options){.procs = 1, .slice_ms = 1}, sort, NULL, &result, NULL);
        _exit(result);
    }
    close(ends[1]);
    size_t len = 0;
    for (ssize_t n; (n = read(ends[0], text + len, cap - 1 - len)) > 0;)
        len += (size_t)n;
    text[len] = 0;
    char more[256]; // the dump
    while (read(ends[0], more, sizeof(more)) > 0)
        ;
    close(ends[0]);
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static void a_preemption_above_a_library_ends_the_process_with_words(void **state)
{
    (void)state;
    char text[2048];
#ifdef RT_TSAN
    print_message("# SKIP not applicable: ThreadSanitizer holds signals back\n");
    return;
#endif
    int status = status_of_sorting(false, "1", text, sizeof(text));
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
    assert_non_null(strstr(text, "was preempted with a library below it"));
    assert_non_null(strstr(text, "(main)"));
}

static void a_wrapped_one_and_one_that_is_not_looked_at_go_on(void **state)
{
    (void)state;
    char text[2048];
    int status = status_of_sorting(true, "1", text, sizeof(text));
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 1);
    status = status_of_sorting(false, "0", text, sizeof(text));
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 1);
}

/* ---- called by cmocka itself ---- */

static void compute_as_a_test(void **state)
{
    (void)state;
    for (int i = 0; i < 10; i++)
        (void)compute(10 * 1000 * 1000);
}

static const struct CMUnitTest inner[] = {cmocka_unit_test(compute_as_a_test)};
RT_TEST_GROUP(inner_group, inner)

static void a_test_that_cmocka_calls_may_be_preempted(void **state)
{
    (void)state;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        setenv("KVD_TORTURE", "storm+audit", 1);
        _exit(rt_test_main(NULL, inner_group));
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_preemption_above_a_library_ends_the_process_with_words),
        cmocka_unit_test(a_wrapped_one_and_one_that_is_not_looked_at_go_on),
        cmocka_unit_test(a_test_that_cmocka_calls_may_be_preempted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
