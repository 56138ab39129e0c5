/* Which poller runs, and why; what it does when the kernel refuses one. Each case is a child
 * process, since settings and seccomp filters last. */
#include "tests/support/rt_test.h"
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <rt/inspect.h>
#include <rt/net.h>
#include <rt/time.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* What the child saw, through a pipe. */
struct seen {
    int err;
    char poller[32], poller_why[256];
    struct why why;
};

static int listen_once(void *arg)
{
    struct seen *seen = arg;
    struct rt_listener *l;
    struct rt_stats stats;
    seen->err = rt_listen("127.0.0.1:0", &l, &seen->why);
    rt_stats(&stats);
    snprintf(seen->poller, sizeof seen->poller, "%s", stats.poller ? stats.poller : "");
    snprintf(seen->poller_why, sizeof seen->poller_why, "%s",
             stats.poller_why ? stats.poller_why : "");
    if (!seen->err)
        rt_listener_close(l);
    return 0;
}

/* From here on io_uring_setup gives EPERM, as under a container's profile. */
static void forbid_uring(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_io_uring_setup, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {ARRAY_LEN(code), code};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
        _exit(77);
}

static struct seen run_child(enum rt_poller poller, const char *setting, bool forbidden)
{
    int ends[2], status;
    struct seen seen = {.err = -1};
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork(); // no runtime runs here
    if (child == 0) {
        int result;
        struct why why;
        if (setting)
            setenv("KVD_POLLER", setting, 1);
        else
            unsetenv("KVD_POLLER");
        if (forbidden)
            forbid_uring();
        if (rt_run(&(struct rt_options){.poller = poller}, listen_once, &seen, &result, &why))
            _exit(1);
        _exit(write(ends[1], &seen, sizeof seen) == sizeof seen ? 0 : 1);
    }
    close(ends[1]);
    ssize_t n = read(ends[0], &seen, sizeof seen);
    close(ends[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
        skip(); // no seccomp here
    assert_int_equal(status, 0);
    assert_int_equal(n, sizeof seen);
    return seen;
}

static void the_setting_forces_a_form(void **state)
{
    (void)state;
    struct seen seen = run_child(RT_POLLER_AUTO, "epoll", false);
    assert_int_equal(seen.err, 0);
    assert_string_equal(seen.poller, "epoll");
    assert_string_equal(seen.poller_why, "asked for by KVD_POLLER");
    seen = run_child(RT_POLLER_AUTO, "uring", false);
    if (seen.err) {
        assert_non_null(strstr(seen.why.text, "io_uring"));
        return; // this kernel has none, and says so
    }
    assert_string_equal(seen.poller, "io_uring");
    assert_true(strncmp(seen.poller_why, "asked for by KVD_POLLER; a ring for each", 40) == 0);
    seen = run_child(RT_POLLER_EPOLL, "uring", false);
    assert_string_equal(seen.poller, "epoll"); // the program's choice is stronger
}

static void each_feature_of_io_uring_can_be_left_out(void **state)
{
    (void)state;
    static const struct {
        const char *setting, *says;
    } rows[] = {
        {"readiness", "multishot poll"},
        {"recv", "multishot receive"},
        {"accept", "multishot poll"}, // nothing without receive
        {"write", "multishot poll, durable writes"},
        {"recv,accept,write", "multishot receive, multishot accept, durable writes"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        setenv("KVD_URING", rows[i].setting, 1);
        struct seen seen = run_child(RT_POLLER_URING, NULL, false);
        unsetenv("KVD_URING");
        if (seen.err)
            skip(); // this kernel has no io_uring; an older one has fewer features
        const char *words = strstr(seen.poller_why, " P, ");
        assert_non_null(words);
        assert_string_equal(words + 4, rows[i].says);
    }
}

static void a_setting_that_makes_no_sense_is_an_error(void **state)
{
    (void)state;
    struct seen seen = run_child(RT_POLLER_AUTO, "kqueue", false);
    assert_int_equal(seen.err, -EINVAL);
    assert_string_equal(seen.why.text, "KVD_POLLER is \"kqueue\"; it takes auto, epoll or uring");
}

static void a_forced_form_that_is_refused_is_an_error_with_the_reason(void **state)
{
    (void)state;
    struct seen seen = run_child(RT_POLLER_URING, NULL, true);
    assert_int_equal(seen.err, -EPERM);
    assert_non_null(strstr(seen.why.text, "io_uring_setup"));
    assert_non_null(strstr(seen.why.text, "seccomp"));
}

static void without_a_setting_some_poller_runs_even_where_uring_is_forbidden(void **state)
{
    (void)state;
    struct seen seen = run_child(RT_POLLER_AUTO, NULL, true);
    assert_int_equal(seen.err, 0);
    assert_string_equal(seen.poller, "epoll");
    assert_true(strlen(seen.poller_why) > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_setting_forces_a_form),
        cmocka_unit_test(each_feature_of_io_uring_can_be_left_out),
        cmocka_unit_test(a_setting_that_makes_no_sense_is_an_error),
        cmocka_unit_test(a_forced_form_that_is_refused_is_an_error_with_the_reason),
        cmocka_unit_test(without_a_setting_some_poller_runs_even_where_uring_is_forbidden),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
