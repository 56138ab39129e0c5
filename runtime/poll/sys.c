/* poll/sys.c: see sys.h. The one place of poll/ that reads errno. */
#include "runtime/poll/sys.h"
#include "runtime/sched/spill.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <poll.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Not inlined and not instrumented: TSan counts errno among what threads must not share, but knows
 * goroutines, not threads, as the ones who do things. */
__attribute__((noinline, no_sanitize("thread"))) static int last_error(void) { return -errno; }

#define RETURN_REPEATED(call)                                                                      \
    for (;;) {                                                                                     \
        __typeof__(call) result_ = (call);                                                         \
        if (result_ >= 0)                                                                          \
            return result_;                                                                        \
        int err_ = last_error();                                                                   \
        if (err_ != -EINTR)                                                                        \
            return err_;                                                                           \
    }

/* The same for a buffer that may lie on another goroutine's stack, which is away: the kernel does not
 * trap, it says EFAULT, and has moved nothing. (It may go away again: no end of tries is certain.) */
enum { FAULTS_MAX = 100 };
#define RETURN_REPEATED_WITH(buf, len, call)                                                       \
    for (int faults_ = 0;;) {                                                                      \
        __typeof__(call) result_ = (call);                                                         \
        if (result_ >= 0)                                                                          \
            return result_;                                                                        \
        int err_ = last_error();                                                                   \
        if (err_ == -EFAULT && faults_++ < FAULTS_MAX && spill_touch((buf), (len)))                \
            continue;                                                                              \
        if (err_ != -EINTR)                                                                        \
            return err_;                                                                           \
    }

/* What every request needs goes to the kernel without libc, whose errno and points of cancellation
 * cost some locked instructions a call. The sanitizers watch libc's calls. */
#if defined(RT_ASAN) || defined(RT_TSAN)
static ssize_t now_recv(int fd, void *buf, size_t len, int flags)
{
    ssize_t n = recv(fd, buf, len, flags);
    return n < 0 ? last_error() : n;
}

static ssize_t now_send(int fd, const void *buf, size_t len)
{
    ssize_t n = send(fd, buf, len, MSG_NOSIGNAL);
    return n < 0 ? last_error() : n;
}

static int now_epoll_wait(int epoll, struct epoll_event *events, int max, const struct timespec *t)
{
    int n = epoll_pwait2(epoll, events, max, t, NULL);
    return n < 0 ? last_error() : n;
}
#else
static inline long direct(long number, long a, long b, long c, long d, long e, long f)
{
    register long r10 __asm__("r10") = d, r8 __asm__("r8") = e, r9 __asm__("r9") = f;
    long result;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "0"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}

static ssize_t now_recv(int fd, void *buf, size_t len, int flags)
{
    return direct(SYS_recvfrom, fd, (long)buf, (long)len, flags, 0, 0);
}

static ssize_t now_send(int fd, const void *buf, size_t len)
{
    return direct(SYS_sendto, fd, (long)buf, (long)len, MSG_NOSIGNAL, 0, 0);
}

static int now_epoll_wait(int epoll, struct epoll_event *events, int max, const struct timespec *t)
{
    return (int)direct(SYS_epoll_pwait2, epoll, (long)events, max, (long)t, 0, 0);
}
#endif

static bool touch_parts(const struct iovec *parts, int count)
{
    bool touched = spill_touch(parts, sizeof(*parts) * (size_t)count);
    for (int i = 0; i < count; i++)
        touched |= spill_touch(parts[i].iov_base, parts[i].iov_len);
    return touched;
}

int sys_open(const char *path, int flags, mode_t mode) { RETURN_REPEATED(open(path, flags, mode)) }

int sys_close(int fd) { return close(fd) < 0 ? last_error() : 0; }

ssize_t sys_read(int fd, void *buf, size_t len){RETURN_REPEATED_WITH(buf, len, read(fd, buf, len))}

ssize_t sys_write(int fd, const void *buf,
                  size_t len){RETURN_REPEATED_WITH(buf, len, write(fd, buf, len))}

ssize_t sys_pread(int fd, void *buf, size_t len, uint64_t offset){
    RETURN_REPEATED_WITH(buf, len, pread(fd, buf, len, (off_t)offset))}

ssize_t sys_pwrite(int fd, const void *buf, size_t len, uint64_t offset, int rwf_flags)
{
    struct iovec part = {(void *)(uintptr_t)buf, len};
    RETURN_REPEATED_WITH(buf, len, pwritev2(fd, &part, 1, (off_t)offset, rwf_flags))
}

int sys_fdatasync(int fd)
{
    return fdatasync(fd) < 0 ? last_error() : 0;
} // errors come once: no repeat

int sys_fsync(int fd) { return fsync(fd) < 0 ? last_error() : 0; }

int sys_fstat(int fd, struct stat *out) { RETURN_REPEATED(fstat(fd, out)) }

int sys_stat(const char *path, struct stat *out) { RETURN_REPEATED(stat(path, out)) }

int sys_ftruncate(int fd, uint64_t size) { RETURN_REPEATED(ftruncate(fd, (off_t)size)) }

int sys_fallocate(int fd, uint64_t offset, uint64_t len)
{
    RETURN_REPEATED(fallocate(fd, 0, (off_t)offset, (off_t)len))
}

int sys_flock(int fd, int operation) { RETURN_REPEATED(flock(fd, operation)) }

int sys_rename(const char *from, const char *to) { RETURN_REPEATED(rename(from, to)) }

int sys_unlink(const char *path) { RETURN_REPEATED(unlink(path)) }

int sys_mkdir(const char *path, mode_t mode) { RETURN_REPEATED(mkdir(path, mode)) }

int sys_rmdir(const char *path) { RETURN_REPEATED(rmdir(path)) }

int sys_statvfs(const char *path, struct statvfs *out){RETURN_REPEATED(statvfs(path, out))}

ssize_t sys_getdents(int fd, void *buf, size_t len)
{
    RETURN_REPEATED(syscall(SYS_getdents64, fd, buf, len))
}

int sys_socket(int domain, int type, int protocol)
{
    RETURN_REPEATED(socket(domain, type | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol))
}

int sys_bind(int fd, const struct sockaddr *addr, socklen_t len)
{
    RETURN_REPEATED(bind(fd, addr, len))
}

int sys_listen(int fd, int backlog) { RETURN_REPEATED(listen(fd, backlog)) }

int sys_accept(int fd, struct sockaddr *addr, socklen_t *len)
{
    RETURN_REPEATED(accept4(fd, addr, len, SOCK_NONBLOCK | SOCK_CLOEXEC))
}

int sys_connect(int fd, const struct sockaddr *addr, socklen_t len)
{
    return connect(fd, addr, len) < 0 ? last_error() : 0;
}

int sys_shutdown(int fd, int how) { return shutdown(fd, how) < 0 ? last_error() : 0; }

int sys_poll_now(struct pollfd *p) { RETURN_REPEATED(poll(p, 1, 0)) }

int sys_socket_error(int fd)
{
    int err = 0;
    socklen_t len = sizeof err;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len) < 0)
        return last_error();
    return -err;
}

int sys_set_option(int fd, int level, int option, int value)
{
    return setsockopt(fd, level, option, &value, sizeof value) < 0 ? last_error() : 0;
}

int sys_local(int fd, struct sockaddr_storage *out, socklen_t *len)
{
    *len = sizeof *out;
    return getsockname(fd, (struct sockaddr *)out, len) < 0 ? last_error() : 0;
}

int sys_remote(int fd, struct sockaddr_storage *out, socklen_t *len)
{
    *len = sizeof *out;
    return getpeername(fd, (struct sockaddr *)out, len) < 0 ? last_error() : 0;
}

/* A repeated call of those: again after a signal, and after the buffer was brought back. */
static bool comes_again(ssize_t n, const void *buf, size_t len, int *faults)
{
    return n == -EINTR || (n == -EFAULT && (*faults)++ < FAULTS_MAX && spill_touch(buf, len));
}

ssize_t sys_recv(int fd, void *buf, size_t len, int flags)
{
    int faults = 0;
    ssize_t n;
    do
        n = now_recv(fd, buf, len, flags);
    while (n < 0 && comes_again(n, buf, len, &faults));
    return n;
}

static ssize_t send_one(int fd, const void *buf, size_t len)
{
    int faults = 0;
    ssize_t n;
    do
        n = now_send(fd, buf, len);
    while (n < 0 && comes_again(n, buf, len, &faults));
    return n;
}

ssize_t sys_sendv(int fd, const struct iovec *parts, int count)
{
    if (count == 1)
        return send_one(fd, parts->iov_base, parts->iov_len);
    struct msghdr msg = {.msg_iov = (struct iovec *)(uintptr_t)parts, .msg_iovlen = (size_t)count};
    for (int faults = 0;;) {
        ssize_t sent = sendmsg(fd, &msg, MSG_NOSIGNAL);
        if (sent >= 0)
            return sent;
        int err = last_error();
        if (err == -EFAULT && faults++ < FAULTS_MAX && touch_parts(parts, count))
            continue;
        if (err != -EINTR)
            return err;
    }
}

int sys_socketpair(int ends[2])
{
    return socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) < 0
               ? last_error()
               : 0;
}

int sys_eventfd(void) { RETURN_REPEATED(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) }

int sys_epoll_create(void) { RETURN_REPEATED(epoll_create1(EPOLL_CLOEXEC)) }

int sys_epoll_add(int epoll, int fd, uint32_t events, uint64_t data)
{
    struct epoll_event event = {.events = events, .data.u64 = data};
    return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0 ? last_error() : 0;
}

int sys_epoll_wait(int epoll, struct epoll_event *events, int max, const struct timespec *timeout)
{
    return now_epoll_wait(epoll, events, max, timeout);
}

int sys_uring_wait(int ring_fd, unsigned min_complete, const struct timespec *timeout)
{
    struct io_uring_getevents_arg arg = {.sigmask_sz = _NSIG / 8,
                                         .ts = (uint64_t)(uintptr_t)timeout};
    long n = syscall(__NR_io_uring_enter, ring_fd, 0, min_complete,
                     IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG, &arg, sizeof arg);
    return n < 0 ? last_error() : (int)n;
}
