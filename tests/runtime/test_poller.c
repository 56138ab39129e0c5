/* Which poller runs, and why; what it does when the kernel refuses one. Each case is a child
 * process, since settings and seccomp filters last. */
#include "runtime/sched/gmp.h"
#include "tests/support/rt_test.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <rt/file.h>
#include <rt/inspect.h>
#include <rt/net.h>
#include <rt/sync.h>
#include <rt/time.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
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

/* ---- what runs in a child on io_uring ---- */

enum { CHILD_SKIPS = 77, CHILD_IS_WRONG = 1 };

static void expect_child_on_uring(unsigned procs, int (*first)(void *), int (*after)(void))
{
    int status, result = CHILD_IS_WRONG;
    struct why why;
    pid_t child = fork();
    if (child == 0) {
        struct rt_options options = {.procs = procs, .poller = RT_POLLER_URING};
        if (rt_run(&options, first, NULL, &result, &why) != 0)
            _exit(CHILD_IS_WRONG);
        _exit(result ? result : after ? after() : 0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    if (WIFEXITED(status) && WEXITSTATUS(status) == CHILD_SKIPS)
        skip(); // this kernel has no io_uring
    assert_int_equal(status, 0);
}

/* A thread that is none of ours connects, and writes a byte once somebody computes. */
static _Atomic bool computes, served, given_up;
static struct sockaddr_in where;

static void *write_from_outside(void *unused)
{
    (void)unused;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    bool good = connect(fd, (struct sockaddr *)&where, sizeof where) == 0;
    while (good && !atomic_load(&computes))
        sched_yield();
    if (good)
        good = write(fd, "x", 1) == 1;
    return NULL; // the descriptor ends with the child
}

static void compute_until_served(void *unused)
{
    (void)unused;
    rt_nopreempt_begin(); // its P makes no turn meanwhile
    atomic_store(&computes, true);
    for (int64_t until = rt_now_ns() + 10 * RT_SECOND; !atomic_load(&served);)
        if (rt_now_ns() > until) {
            atomic_store(&given_up, true);
            break;
        }
    rt_nopreempt_end();
}

static int read_beside_computation(void *unused)
{
    (void)unused;
    struct why why;
    struct rt_listener *l;
    struct rt_conn *c;
    char byte;
    pthread_t thread;
    if (rt_listen("127.0.0.1:0", &l, &why) != 0)
        return CHILD_SKIPS;
    rt_set_steal(false); // who computes stays on our P
    where.sin_family = AF_INET;
    where.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    where.sin_port = htons((uint16_t)atoi(strrchr(rt_listener_address(l), ':') + 1));
    if (pthread_create(&thread, NULL, write_from_outside, NULL) != 0 || rt_accept(l, &c) != 0)
        return CHILD_IS_WRONG;
    while (!load_seq(&sched.poll_taken) || load_seq(&sched.poll_until_ns) == 0)
        rt_yield(); // until the other M waits for events
    rt_go("compute", compute_until_served, NULL);
    if (rt_conn_read(c, &byte, 1) != 1)
        return CHILD_IS_WRONG;
    bool in_time = !atomic_load(&given_up);
    atomic_store(&served, true);
    pthread_join(thread, NULL);
    return in_time ? 0 : CHILD_IS_WRONG;
}

static void a_read_is_served_while_its_processor_computes(void **state)
{
    (void)state;
    expect_child_on_uring(2, read_beside_computation, NULL);
}

/* The run ends while a goroutine waits for its write: what it wrote is there when rt_run returns. */
enum { BIG_BYTES = 32 << 20 };
static char big_path[64];
static char *big;
static _Atomic bool writes;

static void write_big(void *unused)
{
    (void)unused;
    struct rt_file *f;
    if (rt_file_open(big_path, RT_OPEN_WRITE | RT_OPEN_CREATE, 0600, &f) != 0)
        return;
    atomic_store(&writes, true);
    (void)rt_file_pwrite_durable(f, big, BIG_BYTES, 0);
}

static int end_while_writing(void *unused)
{
    (void)unused;
    struct why why;
    struct rt_listener *l;
    if (rt_listen("127.0.0.1:0", &l, &why) != 0) // starts the poller
        return CHILD_SKIPS;
    rt_set_slice_ns(RT_SECOND);
    rt_go("write", write_big, NULL);
    while (!atomic_load(&writes))
        rt_yield();
    rt_yield();
    return 0;
}

static int big_is_whole(void)
{
    struct stat st;
    char last = 0;
    memset(big, 'y', BIG_BYTES); // it is ours again
    int fd = open(big_path, O_RDONLY);
    bool whole = fd >= 0 && fstat(fd, &st) == 0 && st.st_size == BIG_BYTES &&
                 pread(fd, &last, 1, BIG_BYTES - 1) == 1 && last == 'x';
    return whole ? 0 : CHILD_IS_WRONG;
}

static void a_durable_write_under_way_is_over_when_the_run_is(void **state)
{
    (void)state;
    snprintf(big_path, sizeof big_path, "/tmp/rt-test-poller-%d", (int)getpid());
    big = malloc(BIG_BYTES);
    assert_non_null(big);
    memset(big, 'x', BIG_BYTES);
    expect_child_on_uring(1, end_while_writing, big_is_whole);
    unlink(big_path);
    free(big);
}

/* What is written lies on the stack of a goroutine that is parked, whose stack is away. */
static char *_Atomic lent;
static struct g *_Atomic lender;
static struct rt_sem go_on;

static void lend(void *unused)
{
    (void)unused;
    char block[512];
    memset(block, 'x', sizeof block);
    atomic_store(&lender, g_self());
    atomic_store(&lent, block);
    rt_sem_acquire(&go_on, 1, RT_FOREVER);
}

static int write_what_is_lent(void *unused)
{
    (void)unused;
    struct why why;
    struct rt_listener *l;
    struct rt_file *f;
    char back[512];
    if (rt_listen("127.0.0.1:0", &l, &why) != 0 ||
        rt_file_open(big_path, RT_OPEN_READ | RT_OPEN_WRITE | RT_OPEN_CREATE, 0600, &f) != 0)
        return CHILD_SKIPS;
    rt_go("lend", lend, NULL);
    for (int i = 0; !atomic_load(&lender) || load_acquire(&atomic_load(&lender)->away) == AWAY_NOT;
         i++) {
        if (i == 2000)
            return CHILD_SKIPS; // stacks are not put away here
        rt_sleep_ns(RT_MS);
    }
    if (rt_file_pwrite_durable(f, atomic_load(&lent), sizeof back, 0) != 0 ||
        rt_file_pread(f, back, sizeof back, 0) != sizeof back || back[0] != 'x' || back[511] != 'x')
        return CHILD_IS_WRONG;
    return 0;
}

static void a_durable_write_may_lie_on_a_stack_that_is_away(void **state)
{
    (void)state;
    snprintf(big_path, sizeof big_path, "/tmp/rt-test-poller-%d", (int)getpid());
    setenv("KVD_SPILL", "always", 1);
    expect_child_on_uring(2, write_what_is_lent, NULL);
    unsetenv("KVD_SPILL");
    unlink(big_path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_setting_forces_a_form),
        cmocka_unit_test(each_feature_of_io_uring_can_be_left_out),
        cmocka_unit_test(a_setting_that_makes_no_sense_is_an_error),
        cmocka_unit_test(a_forced_form_that_is_refused_is_an_error_with_the_reason),
        cmocka_unit_test(without_a_setting_some_poller_runs_even_where_uring_is_forbidden),
        cmocka_unit_test(a_read_is_served_while_its_processor_computes),
        cmocka_unit_test(a_durable_write_under_way_is_over_when_the_run_is),
        cmocka_unit_test(a_durable_write_may_lie_on_a_stack_that_is_away),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
