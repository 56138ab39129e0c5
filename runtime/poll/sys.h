/* poll/sys.h: system calls as the runtime wants them: the result or -errno, interrupted calls
 * repeated. Each is a function of its own in another object, so that no address of errno is ever
 * kept across a call that may move the goroutine to another thread.
 * Context: never parks; those on regular files block the thread for the disk's time. */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>

struct epoll_event;
struct pollfd;
struct statvfs;
struct stat;

int sys_open(const char *path, int flags, mode_t mode);
int sys_close(int fd); // never repeated: the descriptor is gone whatever it says
ssize_t sys_read(int fd, void *buf, size_t len);
ssize_t sys_write(int fd, const void *buf, size_t len);
ssize_t sys_pread(int fd, void *buf, size_t len, uint64_t offset);
ssize_t sys_pwrite(int fd, const void *buf, size_t len, uint64_t offset, int rwf_flags);
int sys_fdatasync(int fd);
int sys_fsync(int fd);
int sys_fstat(int fd, struct stat *out);
int sys_stat(const char *path, struct stat *out);
int sys_ftruncate(int fd, uint64_t size);
int sys_fallocate(int fd, uint64_t offset, uint64_t len);
int sys_flock(int fd, int operation);
int sys_rename(const char *from, const char *to);
int sys_unlink(const char *path);
int sys_mkdir(const char *path, mode_t mode);
int sys_rmdir(const char *path);
int sys_statvfs(const char *path, struct statvfs *out);
ssize_t sys_getdents(int fd, void *buf, size_t len);

int sys_socket(int domain, int type, int protocol);
int sys_bind(int fd, const struct sockaddr *addr, socklen_t len);
int sys_listen(int fd, int backlog);
int sys_accept(int fd, struct sockaddr *addr, socklen_t *len);       // non-blocking, close-on-exec
int sys_connect(int fd, const struct sockaddr *addr, socklen_t len); // not repeated
int sys_shutdown(int fd, int how);
int sys_poll_now(struct pollfd *p); // one descriptor, without waiting: 1 when something is up
int sys_socket_error(int fd);       // SO_ERROR, negative; 0: none
int sys_set_option(int fd, int level, int option, int value);
int sys_local(int fd, struct sockaddr_storage *out, socklen_t *len);
int sys_remote(int fd, struct sockaddr_storage *out, socklen_t *len);
ssize_t sys_recv(int fd, void *buf, size_t len, int flags);
ssize_t sys_sendv(int fd, const struct iovec *parts, int count); // no SIGPIPE

int sys_socketpair(int ends[2]); // unix stream sockets
int sys_eventfd(void);
int sys_epoll_create(void);
int sys_epoll_add(int epoll, int fd, uint32_t events, uint64_t data);
/* timeout NULL: for ever. -EINTR is returned, not repeated. */
int sys_epoll_wait(int epoll, struct epoll_event *events, int max, const struct timespec *timeout);
/* io_uring_enter with IORING_ENTER_GETEVENTS and a relative timeout (NULL: for ever); submits
 * nothing. -ETIME, -EINTR are returned. */
int sys_uring_wait(int ring_fd, unsigned min_complete, const struct timespec *timeout);
