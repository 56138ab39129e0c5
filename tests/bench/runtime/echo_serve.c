/* An echo server with a goroutine a connection, for echo_load. KVD_POLLER and KVD_MAXPROCS choose
 * what it runs on. go/echo_serve.go is its counterpart, echo_raw.c the same without goroutines. */
#include "tests/bench/runtime/bench.h"
#include <rt/net.h>
#include <sys/resource.h>

static void serve_one(void *arg)
{
    struct rt_conn *c = arg;
    char buf[2048];
    ssize_t n;
    while ((n = rt_conn_read(c, buf, sizeof(buf))) > 0)
        if (rt_conn_write(c, buf, (size_t)n) != 0)
            break; // the peer is gone: nobody to tell
    rt_conn_unref(c);
}

static int serve(void *arg)
{
    (void)arg;
    struct rt_listener *l;
    struct rt_conn *c;
    struct why why;
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    if (rt_listen("127.0.0.1:0", &l, &why) != 0)
        bench_fail("%s", why.text);
    printf("port %s\n", strrchr(rt_listener_address(l), ':') + 1);
    fflush(stdout);
    for (;;) {
        int err = rt_accept(l, &c);
        if (err)
            bench_fail("accept: error %d", err);
        if (rt_go("serve", serve_one, c) != 0)
            bench_fail("too many goroutines");
    }
}

int main(void)
{
    static const struct rt_options options;
    struct why why;
    int result = 1;
    if (rt_run(&options, serve, NULL, &result, &why) != 0)
        fprintf(stderr, "%s\n", why.text);
    return result;
}
