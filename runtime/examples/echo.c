/* echo: a server with a goroutine per connection, and a client that measures it.
 *
 *     echo serve 127.0.0.1:7000
 *     echo load 127.0.0.1:7000 50 5      50 connections for 5 seconds, one request in flight each
 *
 * KVD_POLLER=epoll|uring and KVD_MAXPROCS choose what it runs on. */
#include <rt/alloc.h>
#include <rt/go.h>
#include <rt/inspect.h>
#include <rt/net.h>
#include <rt/parse.h>
#include <rt/sync.h>
#include <rt/time.h>
#include <stdio.h>
#include <string.h>

enum { MESSAGE_BYTES = 64, CONNECTIONS_MAX = 10000, PATIENCE_S = 10 };

struct arguments {
    const char *verb, *address;
    uint64_t connections, seconds;
};

static void serve_one(void *arg)
{
    struct rt_conn *c = arg;
    char buf[2048];
    ssize_t n;
    while ((n = rt_conn_read(c, buf, sizeof buf)) > 0)
        if (rt_conn_write(c, buf, (size_t)n))
            break; // the peer is gone: nobody to tell
    rt_conn_unref(c);
}

static int serve(const struct arguments *a)
{
    struct rt_listener *l;
    struct rt_conn *c;
    struct why why;
    if (rt_listen(a->address, &l, &why)) {
        fprintf(stderr, "cannot listen on %s: %s\n", a->address, why.text);
        return 1;
    }
    struct rt_stats stats;
    rt_stats(&stats);
    printf("listening on %s with %s (%s); stacks: %s\n", rt_listener_address(l), stats.poller,
           stats.poller_why, stats.stack_guards);
    fflush(stdout);
    for (;;) {
        int err = rt_accept(l, &c);
        if (err) {
            rt_sleep_ns(10 * RT_MS); // too many open files: some will close
            continue;
        }
        if (rt_go("serve", serve_one, c))
            rt_conn_unref(c);
    }
}

struct client {
    const struct arguments *arguments;
    int64_t until_ns, worst_ns;
    uint64_t answers;
    bool failed;
    struct rt_waitgroup *done;
};

static bool ask(struct rt_conn *c, char *buf)
{
    if (rt_conn_write(c, buf, MESSAGE_BYTES))
        return false;
    for (size_t have = 0; have < MESSAGE_BYTES;) {
        ssize_t n = rt_conn_read(c, buf + have, MESSAGE_BYTES - have);
        if (n <= 0)
            return false;
        have += (size_t)n;
    }
    return true;
}

static void ask_until(void *arg)
{
    struct client *me = arg;
    struct rt_conn *c;
    char buf[MESSAGE_BYTES] = "hello";
    me->failed = rt_dial(me->arguments->address, me->until_ns, &c, NULL) != 0;
    if (!me->failed) {
        // A server that takes the request and never answers must not hold us for ever.
        rt_conn_set_read_deadline(c, me->until_ns + PATIENCE_S * RT_SECOND);
        rt_conn_set_write_deadline(c, me->until_ns + PATIENCE_S * RT_SECOND);
        for (int64_t now = rt_now_ns(); now < me->until_ns && !me->failed; me->answers++) {
            int64_t before = now;
            me->failed = !ask(c, buf);
            now = rt_now_ns();
            if (now - before > me->worst_ns)
                me->worst_ns = now - before;
        }
        rt_conn_unref(c);
    }
    rt_waitgroup_done(me->done);
}

static int load(const struct arguments *a)
{
    struct rt_waitgroup done = {0};
    struct client *clients = rt_alloc_zero(a->connections * sizeof *clients);
    int64_t until = rt_after_ns((int64_t)a->seconds * RT_SECOND), worst = 0;
    uint64_t answers = 0, failed = 0;
    for (uint64_t i = 0; i < a->connections; i++) {
        clients[i] = (struct client){.arguments = a, .until_ns = until, .done = &done};
        rt_waitgroup_add(&done, 1);
        if (rt_go("client", ask_until, &clients[i])) {
            clients[i].failed = true;
            rt_waitgroup_done(&done);
        }
    }
    rt_waitgroup_wait(&done, RT_FOREVER);
    for (uint64_t i = 0; i < a->connections; i++) {
        answers += clients[i].answers;
        failed += clients[i].failed;
        worst = clients[i].worst_ns > worst ? clients[i].worst_ns : worst;
    }
    rt_free(clients);
    printf("%llu answers a second, the slowest after %lld us, %llu connections failed\n",
           (unsigned long long)(answers / a->seconds), (long long)(worst / 1000),
           (unsigned long long)failed);
    return failed != 0;
}

static int run(void *arg)
{
    const struct arguments *a = arg;
    return strcmp(a->verb, "serve") == 0 ? serve(a) : load(a);
}

int main(int argc, char **argv)
{
    struct arguments a = {.connections = 50, .seconds = 5};
    if (argc >= 3) {
        a.verb = argv[1];
        a.address = argv[2];
    }
    bool serves = argc == 3 && strcmp(argv[1], "serve") == 0;
    bool loads = argc >= 3 && argc <= 5 && strcmp(argv[1], "load") == 0 &&
                 (argc < 4 || rt_parse_u64(argv[3], &a.connections) == 0) &&
                 (argc < 5 || rt_parse_u64(argv[4], &a.seconds) == 0) && a.connections > 0 &&
                 a.connections <= CONNECTIONS_MAX && a.seconds > 0 && a.seconds < 3600;
    if (!serves && !loads) {
        fprintf(stderr,
                "usage: echo serve HOST:PORT | echo load HOST:PORT [CONNECTIONS [SECONDS]]\n");
        return 2;
    }
    struct why why;
    int result = 1;
    if (rt_run(NULL, run, &a, &result, &why)) {
        fprintf(stderr, "the goroutine runtime does not start: %s\n", why.text);
        return 1;
    }
    return result;
}
