/* cmd/kvd/main.c: the server's first and last lines. Exit status: 1 configuration or start, 2 flags, by
 * the signal that asked to stop, abort for a broken promise. */
#include "cmd/kvd/wire.h"
#include "rt/go.h"
#include "rt/log.h"
#include "rt/process.h"
#include "rt/sync.h"
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

enum { STOP_MS = 7000 }; // from the signal to the end, as etcd

struct run {
    const struct kvd_flags *flags;
    struct rt_note asked; // to stop
    struct kvd *kvd;
    int signal;
};

/* The first signal asks to stop, the second does not wait for it. Never ends. */
static void hear_signals(void *arg)
{
    struct run *r = arg;
    static const int asking[] = {SIGTERM, SIGINT};
    r->signal = rt_signal_wait(asking, 2);
    rt_note_set(&r->asked);
    rt_exit(128 + rt_signal_wait(asking, 2));
}

static int run(void *arg)
{
    struct run *r = arg;
    struct why why = {{0}};
    int err = kvd_start(r->flags, &r->kvd, &why);
    if (err) {
        fprintf(stderr, "kvd: %s\n", why.text);
        return 1;
    }
    if (rt_go("signals", hear_signals, r)) {
        fprintf(stderr, "kvd: no goroutine to hear signals\n");
        return 1;
    }
    rt_note_wait(&r->asked, RT_FOREVER);
    rt_log(kvd_log(r->kvd), RT_LOG_INFO, "received signal; shutting down",
           rt_f_str("signal", r->signal == SIGINT ? "interrupt" : "terminated"));
    kvd_stop(r->kvd, rt_after_ns(STOP_MS * RT_MS));
    return 0;
}

static enum rt_poller poller_of(const char *text)
{
    if (strcmp(text, "uring") == 0)
        return RT_POLLER_URING;
    return strcmp(text, "epoll") == 0 ? RT_POLLER_EPOLL : RT_POLLER_AUTO;
}

int main(int argc, char **argv)
{
    struct rt_arena arena;
    struct kvd_flags flags;
    struct rt_string text = {0}, warnings = {0};
    struct why why = {{0}};
    rt_arena_init(&arena);
    switch (kvd_flags_read(argc, argv, environ, &arena, &flags, &text, &warnings, &why)) {
    case KVD_FLAGS_SHOWN:
        fputs(rt_string_cstr(&text), stdout);
        return fflush(stdout) ? 1 : 0;
    case KVD_FLAGS_WRONG:
        fprintf(stderr, "kvd: %s\n", why.text);
        return 2;
    case KVD_FLAGS_RUN:
        break;
    }
    fputs(rt_string_cstr(&warnings), stderr);
    struct run r = {.flags = &flags};
    struct rt_options options = {
        .procs = (unsigned)flags.maxprocs,
        .no_async_preempt = !flags.preempt,
        .poller = poller_of(flags.poller),
    };
    int status = 1;
    if (rt_run(&options, run, &r, &status, &why)) {
        fprintf(stderr, "kvd: %s\n", why.text);
        return 1;
    }
    if (r.signal)
        rt_exit_by_signal(r.signal);
    return status;
}
