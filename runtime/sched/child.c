/* sched/child.c: processes that we start. A child is held by a pidfd, so that a signal never reaches
 * another process that got its number later. */
#include "rt/alloc.h"
#include "rt/go.h"
#include "rt/process.h"
#include "rt/time.h"
#include "runtime/sched/gmp.h"
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

struct rt_child {
    pid_t pid;
    int pidfd;
    _Atomic bool ended; // waited for: status is valid
    int status;
};

int rt_own_program(char *buf, size_t cap)
{
    ssize_t len = readlink("/proc/self/exe", buf, cap);
    if (len < 0)
        return -errno;
    if ((size_t)len >= cap)
        return -ENAMETOOLONG;
    buf[len] = 0;
    return 0;
}

bool rt_is_terminal(int fd) { return isatty(fd); }

/* Where the child's descriptors lead. Returns 0 or an errno. */
static int plan_files(posix_spawn_file_actions_t *files, const struct rt_command *c)
{
    enum { FLAGS = O_WRONLY | O_CREAT | O_APPEND };
    const char *out = c->stdout_path ? c->stdout_path : "/dev/null";
    const char *err = c->stderr_path ? c->stderr_path : "/dev/null";
    int code = posix_spawn_file_actions_addopen(files, 0, "/dev/null", O_RDONLY, 0);
    if (!code)
        code = posix_spawn_file_actions_addopen(files, 1, out, FLAGS, 0644);
    if (!code)
        code = posix_spawn_file_actions_addopen(files, 2, err, FLAGS, 0644);
    return code;
}

/* Our threads block signals and the scheduler handles some: the child starts with neither. */
static int plan_signals(posix_spawnattr_t *attr)
{
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    sigdelset(&all, SIGKILL);
    sigdelset(&all, SIGSTOP);
    int code = posix_spawnattr_setflags(attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF |
                                                  POSIX_SPAWN_SETPGROUP);
    if (!code)
        code = posix_spawnattr_setsigmask(attr, &none);
    if (!code)
        code = posix_spawnattr_setsigdefault(attr, &all);
    return code ? code : posix_spawnattr_setpgroup(attr, 0);
}

struct start {
    const struct rt_command *command;
    pid_t pid;
};

/* -errno.  Context: blocks the thread. */
static int64_t start_it(void *arg)
{
    struct start *s = arg;
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attr;
    const char *const *envp = s->command->envp;
    int code = posix_spawn_file_actions_init(&files);
    if (code)
        return -code;
    code = posix_spawnattr_init(&attr);
    if (!code) {
        code = plan_files(&files, s->command);
        if (!code)
            code = plan_signals(&attr);
        if (!code)
            code =
                posix_spawnp(&s->pid, s->command->argv[0], &files, &attr,
                             (char *const *)s->command->argv, envp ? (char *const *)envp : environ);
        posix_spawnattr_destroy(&attr);
    }
    posix_spawn_file_actions_destroy(&files);
    return -code;
}

static int64_t reap(void *arg)
{
    int status;
    while (waitpid(*(pid_t *)arg, &status, 0) < 0)
        if (errno != EINTR)
            return -errno;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int rt_spawn(const struct rt_command *command, struct rt_child **out, struct why *why)
{
    char words[64];
    struct start s = {.command = command};
    assert(command->argv && command->argv[0]);
    if (sched.simulated)
        return -ENOTSUP;
    int err = (int)rt_blocking(start_it, &s);
    if (err) {
        why_set(why, "cannot start %s: %s", command->argv[0], why_errno(err, words, sizeof words));
        return err;
    }
    int pidfd = (int)syscall(SYS_pidfd_open, s.pid, 0);
    if (pidfd < 0) {
        err = -errno;
        kill(s.pid, SIGKILL); // not yet waited for, so the number is still its own
        rt_blocking(reap, &s.pid);
        why_set(why, "cannot watch %s: %s", command->argv[0], why_errno(err, words, sizeof words));
        return err;
    }
    struct rt_child *c = rt_alloc_zero(sizeof *c);
    c->pid = s.pid;
    c->pidfd = pidfd;
    *out = c;
    return 0;
}

struct patience {
    int pidfd;
    int64_t ns; // negative: for ever
};

/* 1: it has ended; 0: the time is over, or a signal came; -errno. */
static int64_t watch_it(void *arg)
{
    struct patience *p = arg;
    struct pollfd fd = {.fd = p->pidfd, .events = POLLIN};
    struct timespec ts = {.tv_sec = p->ns / RT_SECOND, .tv_nsec = p->ns % RT_SECOND};
    int n = ppoll(&fd, 1, p->ns < 0 ? NULL : &ts, NULL);
    return n < 0 && errno != EINTR ? -errno : n > 0;
}

int rt_wait_child(struct rt_child *c, int64_t deadline_ns, int *status_out)
{
    while (!atomic_load(&c->ended)) {
        int64_t left = deadline_ns == RT_FOREVER ? -1 : deadline_ns - rt_now_ns();
        struct patience p = {c->pidfd, left < 0 && deadline_ns != RT_FOREVER ? 0 : left};
        int64_t ended = rt_blocking(watch_it, &p);
        if (ended < 0)
            return (int)ended;
        if (ended) {
            int64_t status = rt_blocking(reap, &c->pid);
            if (status < 0)
                return (int)status;
            c->status = (int)status;
            atomic_store(&c->ended, true);
        } else if (left != -1 && left <= 0) {
            return -ETIMEDOUT;
        }
    }
    *status_out = c->status;
    return 0;
}

int rt_kill(struct rt_child *c, int number)
{
    if (atomic_load(&c->ended))
        return -ESRCH;
    return syscall(SYS_pidfd_send_signal, c->pidfd, number, NULL, 0) < 0 ? -errno : 0;
}

int64_t rt_child_pid(const struct rt_child *c) { return c->pid; }

void rt_child_free(struct rt_child *c)
{
    if (!c)
        return;
    assert(atomic_load(&c->ended));
    close(c->pidfd);
    rt_free(c);
}
