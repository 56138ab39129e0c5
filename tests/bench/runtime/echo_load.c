/* The client of the echo rows: starts a server, loads it in a closed loop, ends it.
 *
 *     echo_load CONNECTIONS [cpus=SERVER,LOAD] SERVER [ARGUMENT...]
 *
 * Each connection has one request of 64 bytes in flight; one thread on epoll, 0.3 s of warm-up, 2 s
 * counted. Every answer is compared with what was sent. The server prints "port N" when it listens.
 * Prints requests (a second), latency_p50, latency_p99, latency_max; server_cpu: what the server used
 * of the CPUs for one request, user and kernel, which other load beside does not change much; fewest
 * and most: the answers of the connection that got the fewest and the most, of the mean.
 * No runtime in here. */
#include "tests/bench/runtime/bench.h"
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MESSAGE = 64, SAMPLES_MAX = 4 << 20, EVENTS = 128 };

struct client {
    int fd;
    uint32_t have;   // bytes of the answer
    uint64_t number; // of the request in flight, and its content
    int64_t sent_ns;
    uint32_t answers; // that were counted
};

struct load {
    struct client *clients;
    int count, epoll;
    pid_t server;
    int64_t *latency_ns;
    size_t samples;
    bool counts;
};

static _Noreturn void give_up(const struct load *l, const char *what)
{
    fprintf(stderr, "%s: %s\n", what, strerror(errno));
    if (l->server > 0)
        kill(l->server, SIGKILL);
    exit(1);
}

static void use_cpu(int cpu)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    (void)sched_setaffinity(0, sizeof(set), &set); // a machine without that CPU: not pinned
}

/* Start the server and wait for its port. */
static int start_server(struct load *l, char **argv)
{
    int ends[2], port = 0;
    if (pipe(ends) != 0)
        give_up(l, "pipe");
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], 1);
    posix_spawn_file_actions_addclose(&actions, ends[0]);
    errno = posix_spawnp(&l->server, argv[0], &actions, NULL, argv, environ);
    if (errno)
        give_up(l, argv[0]);
    close(ends[1]);
    FILE *said = fdopen(ends[0], "r");
    if (!said || fscanf(said, "port %d", &port) != 1)
        give_up(l, "the server does not say its port");
    return port; // the pipe stays open: the server may say more
}

static void fill(char *message, const struct client *c)
{
    for (size_t i = 0; i < MESSAGE / sizeof(c->number); i++)
        memcpy(message + i * sizeof(c->number), &c->number, sizeof(c->number));
}

static void ask(const struct load *l, struct client *c)
{
    char message[MESSAGE];
    c->number += 0x9e3779b97f4a7c15u;
    c->have = 0;
    fill(message, c);
    c->sent_ns = bench_clock_ns();
    if (send(c->fd, message, MESSAGE, MSG_NOSIGNAL) != MESSAGE)
        give_up(l, "send");
}

static void answered(struct load *l, struct client *c)
{
    char wanted[MESSAGE], got[MESSAGE];
    ssize_t n = recv(c->fd, got, MESSAGE - c->have, 0);
    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0)
        give_up(l, n ? "recv" : "the server closed a connection");
    fill(wanted, c);
    if (memcmp(got, wanted + c->have, (size_t)n) != 0)
        give_up(l, "the answer is not what was sent");
    c->have += (uint32_t)n;
    if (c->have < MESSAGE)
        return;
    if (l->counts && l->samples < SAMPLES_MAX) {
        l->latency_ns[l->samples++] = bench_clock_ns() - c->sent_ns;
        c->answers++;
    }
    ask(l, c);
}

/* CPU time of the server so far. */
static int64_t server_cpu_ns(const struct load *l)
{
    clockid_t clock;
    struct timespec t;
    if (clock_getcpuclockid(l->server, &clock) != 0 || clock_gettime(clock, &t) != 0)
        give_up(l, "the server's clock");
    return t.tv_sec * RT_SECOND + t.tv_nsec;
}

static void run_until(struct load *l, int64_t until_ns)
{
    struct epoll_event events[EVENTS];
    while (bench_clock_ns() < until_ns) {
        int n = epoll_wait(l->epoll, events, EVENTS, 1000);
        if (n <= 0)
            give_up(l, "no answer for a second");
        for (int i = 0; i < n; i++)
            answered(l, &l->clients[events[i].data.u32]);
    }
}

/* In per cent of the mean; 100 and 100 would be all alike. */
static void print_shares(const struct load *l)
{
    uint32_t fewest = UINT32_MAX, most = 0;
    for (int i = 0; i < l->count; i++) {
        uint32_t answers = l->clients[i].answers;
        fewest = answers < fewest ? answers : fewest;
        most = answers > most ? answers : most;
    }
    double mean = (double)l->samples / l->count;
    bench_figure("fewest", mean > 0 ? fewest / mean * 100 : 0, "%");
    bench_figure("most", mean > 0 ? most / mean * 100 : 0, "%");
}

static void connect_all(struct load *l, int port)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    l->epoll = epoll_create1(EPOLL_CLOEXEC);
    for (int i = 0; i < l->count; i++) {
        struct client *c = &l->clients[i];
        c->number = (uint64_t)i;
        c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&to, sizeof(to)) != 0)
            give_up(l, "connect");
        setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
        struct epoll_event e = {.events = EPOLLIN, .data.u32 = (uint32_t)i};
        if (epoll_ctl(l->epoll, EPOLL_CTL_ADD, c->fd, &e) != 0)
            give_up(l, "epoll_ctl");
    }
}

int main(int argc, char **argv)
{
    struct rlimit limit;
    int first = 2, server_cpu, load_cpu, status;
    if (argc > 2 && sscanf(argv[2], "cpus=%d,%d", &server_cpu, &load_cpu) == 2)
        first = 3;
    if (argc <= first || atoi(argv[1]) <= 0) {
        fprintf(stderr, "usage: %s CONNECTIONS [cpus=SERVER,LOAD] SERVER [ARGUMENT...]\n", argv[0]);
        return 2;
    }
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    struct load l = {.count = atoi(argv[1])};
    l.clients = calloc((size_t)l.count, sizeof(*l.clients));
    l.latency_ns = malloc(SAMPLES_MAX * sizeof(*l.latency_ns));
    if (first == 3)
        use_cpu(server_cpu);
    int port = start_server(&l, argv + first);
    if (first == 3)
        use_cpu(load_cpu);
    connect_all(&l, port);
    for (int i = 0; i < l.count; i++)
        ask(&l, &l.clients[i]);
    run_until(&l, bench_clock_ns() + 300 * RT_MS);
    l.counts = true;
    int64_t start = bench_clock_ns(), cpu = server_cpu_ns(&l);
    run_until(&l, start + 2 * RT_SECOND);
    cpu = server_cpu_ns(&l) - cpu;
    double seconds = (double)(bench_clock_ns() - start) / 1e9;
    bench_figure("requests", (double)l.samples / seconds, "req/s");
    bench_latencies("latency", l.latency_ns, l.samples);
    bench_figure("server_cpu", (double)cpu / (double)l.samples, "ns");
    print_shares(&l);
    kill(l.server, SIGKILL);
    waitpid(l.server, &status, 0);
    return 0;
}
