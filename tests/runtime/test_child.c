/* tests/runtime/test_child.c: processes that goroutines start. */
#include "tests/support/rt_test.h"
#include <errno.h>
#include <rt/alloc.h>
#include <rt/file.h>
#include <rt/process.h>
#include <rt/time.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int status_of(const char *const *argv, const char *out)
{
    struct rt_child *c;
    struct why why;
    int status = -1;
    if (rt_spawn(&(struct rt_command){.argv = argv, .stdout_path = out, .stderr_path = out}, &c,
                 &why))
        fail_msg("%s", why.text);
    assert_int_equal(rt_wait_child(c, rt_after_ns(60 * RT_SECOND), &status), 0);
    rt_child_free(c);
    return status;
}

static void a_child_tells_its_exit_status_and_its_words_go_to_the_file(void **state)
{
    (void)state;
    char path[] = "/tmp/kvd-child.XXXXXX";
    uint8_t *data;
    size_t len;
    close(mkstemp(path));
    assert_int_equal(
        status_of((const char *const[]){"sh", "-c", "echo one; echo two >&2; exit 7", NULL}, path),
        7);
    assert_int_equal(rt_read_file(path, 100, &data, &len), 0);
    assert_int_equal(len, 8);
    assert_memory_equal(data, "one\ntwo\n", 8);
    rt_free(data);
    unlink(path);
}

static void a_program_that_is_not_there_is_an_error_with_its_name(void **state)
{
    (void)state;
    struct rt_child *c;
    struct why why = {{0}};
    assert_int_equal(
        rt_spawn(&(struct rt_command){.argv = (const char *const[]){"no-such-program", NULL}}, &c,
                 &why),
        -ENOENT);
    assert_non_null(strstr(why.text, "no-such-program"));
}

/* Our threads block most signals; a child that inherited that could not be stopped. glibc has its own
 * two signals (32 and 33, bits 31 and 32) ignored until exec's program sets them up. */
static void a_child_has_no_signal_blocked_or_ignored(void **state)
{
    (void)state;
    assert_int_equal(
        status_of((const char *const[]){"sh", "-c",
                                        "grep -E '^Sig(Blk|Ign):[[:space:]]*0*(180000000)?$' "
                                        "/proc/self/status | wc -l | grep -qx 2",
                                        NULL},
                  NULL),
        0);
}

static void a_wait_ends_at_its_deadline_and_a_signal_ends_the_child(void **state)
{
    (void)state;
    struct rt_child *c;
    struct why why;
    int status = -1;
    assert_int_equal(
        rt_spawn(&(struct rt_command){.argv = (const char *const[]){"sleep", "600", NULL}}, &c,
                 &why),
        0);
    assert_int_equal(rt_wait_child(c, rt_after_ns(5 * RT_MS), &status), -ETIMEDOUT);
    assert_int_equal(rt_wait_child(c, 0, &status), -ETIMEDOUT);
    assert_int_equal(rt_kill(c, SIGTERM), 0);
    assert_int_equal(rt_wait_child(c, RT_FOREVER, &status), 0);
    assert_int_equal(status, 128 + SIGTERM);
    assert_int_equal(rt_wait_child(c, RT_FOREVER, &status), 0); // asked again
    assert_int_equal(status, 128 + SIGTERM);
    assert_int_equal(rt_kill(c, SIGTERM), -ESRCH);
    rt_child_free(c);
}

static void the_own_program_is_the_file_that_runs(void **state)
{
    (void)state;
    char path[512], small[4];
    assert_int_equal(rt_own_program(path, sizeof path), 0);
    assert_non_null(strstr(path, "test_child"));
    assert_int_equal(rt_own_program(small, sizeof small), -ENAMETOOLONG);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_child_tells_its_exit_status_and_its_words_go_to_the_file),
    cmocka_unit_test(a_program_that_is_not_there_is_an_error_with_its_name),
    cmocka_unit_test(a_child_has_no_signal_blocked_or_ignored),
    cmocka_unit_test(a_wait_ends_at_its_deadline_and_a_signal_ends_the_child),
    cmocka_unit_test(the_own_program_is_the_file_that_runs),
};
RT_TEST_GROUP(group, tests)
int main(void) { return rt_test_main(NULL, group); }
