/* echo_raw [THREADS]: what a server can reach with no runtime at all: level-triggered epoll, a loop
 * a thread (1), each with a listener of its own on one port. The measure for echo_serve. */
#include "tests/bench/runtime/bench.h"
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { EVENTS = 128, BUFFER = 2048 };

static int listen_on(uint16_t port)
{
    struct sockaddr_in at = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &(int){1}, sizeof(int));
    if (bind(fd, (struct sockaddr *)&at, sizeof(at)) != 0 || listen(fd, 4096) != 0) {
        perror("listen");
        exit(1);
    }
    return fd;
}

static void accept_all(int epoll, int listener)
{
    int fd;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
        struct epoll_event e = {.events = EPOLLIN, .data.fd = fd};
        epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &e);
    }
}

static void *loop(void *arg)
{
    int listener = (int)(intptr_t)arg, epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event e = {.events = EPOLLIN, .data.fd = listener}, events[EVENTS];
    char buf[BUFFER];
    epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &e);
    for (;;) {
        int count = epoll_wait(epoll, events, EVENTS, -1);
        for (int i = 0; i < count; i++) {
            int fd = events[i].data.fd;
            if (fd == listener) {
                accept_all(epoll, listener);
                continue;
            }
            ssize_t n = read(fd, buf, sizeof(buf));
            if (n > 0 && write(fd, buf, (size_t)n) == n)
                continue;
            if (n == 0 || (n < 0 && errno != EAGAIN))
                close(fd);
        }
    }
    return NULL;
}

int main(int argc, char **argv)
{
    struct rlimit limit;
    struct sockaddr_in at;
    socklen_t len = sizeof(at);
    pthread_t thread;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    int first = listen_on(0);
    getsockname(first, (struct sockaddr *)&at, &len);
    for (int i = 1; i < (argc > 1 ? atoi(argv[1]) : 1); i++)
        pthread_create(&thread, NULL, loop, (void *)(intptr_t)listen_on(ntohs(at.sin_port)));
    printf("port %d\n", ntohs(at.sin_port));
    fflush(stdout);
    loop((void *)(intptr_t)first);
    return 0;
}
