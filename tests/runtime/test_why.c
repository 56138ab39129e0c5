/* Error texts, and how a process dies. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <rt/why.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runtime/panic/fatal.h"

static void a_line_is_cut_and_still_ends(void **state)
{
    (void)state;
    struct why why;
    char big[2 * WHY_BYTES];
    memset(big, 'x', sizeof(big));
    big[sizeof(big) - 1] = 0;
    why_set(&why, "%s", big);
    assert_int_equal(strlen(why.text), WHY_BYTES - 1);
    why_prefix(&why, "%s", big);
    assert_int_equal(strlen(why.text), WHY_BYTES - 1);
    why_set(NULL, "dropped");
    why_prefix(NULL, "dropped");
}

static void who_knows_more_puts_it_in_front(void **state)
{
    (void)state;
    struct why why;
    why_set(&why, "offset %d", 7);
    why_prefix(&why, "%s", "segment 3");
    assert_string_equal(why.text, "segment 3: offset 7");
    why_set(&why, "member 1: %s", why.text); // its own text among the arguments
    assert_string_equal(why.text, "member 1: segment 3: offset 7");
}

static void a_system_error_reads_like_a_part_of_a_sentence(void **state)
{
    (void)state;
    char buf[64], small[8];
    assert_string_equal(why_errno(EADDRINUSE, buf, sizeof(buf)), "address already in use");
    assert_string_equal(why_errno(-ENOENT, buf, sizeof(buf)), "no such file or directory");
    assert_string_equal(why_errno(100000, buf, sizeof(buf)), "error 100000");
    assert_string_equal(why_errno(-4097, buf, sizeof(buf)), "error 4097");
    assert_string_equal(why_errno(EIO, buf, sizeof(buf)), "input/output error");
    assert_string_equal(why_errno(ENOENT, small, sizeof(small)), "no such");
}

static void print_dump(int fd)
{
    static const char dump[] = "goroutine 1 [running]\n";
    ssize_t n = write(fd, dump, sizeof(dump) - 1);
    (void)n; // the reader sees what came
}

static void dump_that_dies(int fd)
{
    (void)fd;
    rt_fatal("dying while dying");
}

static void die_by_fatal(void) { rt_fatal("fsync of %s: %s", "wal/1.seg", "input/output error"); }

static void die_by_assert(void)
{
    volatile int one = 1;
    assert_true(one == 1); // cmocka's, which passes
#undef assert
#include <assert.h>
    assert(one == 2);
}

static void die_while_dying(void)
{
    rt_fatal_hook = dump_that_dies;
    rt_fatal("first");
}

/* What `die` prints on stderr in a process of its own; fails unless it was ended by SIGABRT. */
static void last_words(void (*die)(void), char *text, size_t cap)
{
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct rlimit no_core = {0, 0};
        setrlimit(RLIMIT_CORE, &no_core);
        signal(SIGABRT, SIG_DFL);
        dup2(fds[1], STDERR_FILENO);
        rt_fatal_hook = print_dump;
        die();
        _exit(3);
    }
    close(fds[1]);
    size_t len = 0;
    ssize_t n;
    while ((n = read(fds[0], text + len, cap - 1 - len)) > 0)
        len += (size_t)n;
    text[len] = 0;
    close(fds[0]);
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
}

static void a_fatal_error_prints_one_line_the_dump_and_aborts(void **state)
{
    (void)state;
    char text[1024];
    last_words(die_by_fatal, text, sizeof(text));
    assert_string_equal(text, "fsync of wal/1.seg: input/output error\ngoroutine 1 [running]\n");
}

static void a_failed_assertion_prints_its_place_the_dump_and_aborts(void **state)
{
    (void)state;
    char text[1024];
    last_words(die_by_assert, text, sizeof(text));
    assert_non_null(strstr(text, "test_why.c:"));
    assert_non_null(strstr(text, "die_by_assert"));
    assert_non_null(strstr(text, ": assertion failed: one == 2\n"));
    assert_non_null(strstr(text, "goroutine 1 [running]\n"));
}

static void dying_while_dying_ends_at_once(void **state)
{
    (void)state;
    char text[1024];
    last_words(die_while_dying, text, sizeof(text));
    assert_string_equal(text, "first\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_is_cut_and_still_ends),
        cmocka_unit_test(who_knows_more_puts_it_in_front),
        cmocka_unit_test(a_system_error_reads_like_a_part_of_a_sentence),
        cmocka_unit_test(a_fatal_error_prints_one_line_the_dump_and_aborts),
        cmocka_unit_test(a_failed_assertion_prints_its_place_the_dump_and_aborts),
        cmocka_unit_test(dying_while_dying_ends_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
