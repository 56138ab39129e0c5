/* tests/runtime/tool_trace.c: everything a trace shows, for test_trace.py to judge: `tool_trace PROCS
 * BYTES ROUNDS FILE` runs goroutines that spawn, wait for each other, sleep, compute without a call, block and
 * mark regions while a trace is taken, and writes it. */
#include <errno.h>
#include <poll.h>
#include <rt/alloc.h>
#include <rt/chan.h>
#include <rt/file.h>
#include <rt/go.h>
#include <rt/parse.h>
#include <rt/sync.h>
#include <rt/time.h>
#include <rt/trace.h>
#include <stdio.h>

enum { PAIRS = 4, SPIN_MS = 60 };

struct work {
    uint64_t bytes, rounds; // of ping and pong
    const char *file;
    struct rt_waitgroup all;
    struct rt_chan *there, *back;
};

static void ping(void *arg)
{
    struct work *w = arg;
    for (uint64_t i = 0; i < w->rounds; i++) {
        int value = 1;
        rt_chan_send(w->there, &value, RT_FOREVER);
        rt_chan_recv(w->back, &value, RT_FOREVER);
    }
    rt_waitgroup_done(&w->all);
}

static void pong(void *arg)
{
    struct work *w = arg;
    for (uint64_t i = 0; i < w->rounds; i++) {
        int value;
        rt_chan_recv(w->there, &value, RT_FOREVER);
        rt_chan_send(w->back, &value, RT_FOREVER);
    }
    rt_waitgroup_done(&w->all);
}

static void spin(void *arg)
{
    struct work *w = arg;
    int64_t until = rt_now_ns() + SPIN_MS * RT_MS;
    volatile uint64_t sum = 0;
    while (rt_now_ns() < until)
        for (int i = 0; i < 1000000; i++)
            sum = sum + (uint64_t)i;
    rt_waitgroup_done(&w->all);
}

static int64_t block_thread(void *arg)
{
    (void)arg;
    poll(NULL, 0, 5);
    return 0;
}

static void block(void *arg)
{
    struct work *w = arg;
    for (int i = 0; i < 3; i++) {
        rt_trace_region_begin("outer \"region\"");
        rt_blocking(block_thread, NULL);
        rt_trace_region_begin("inner");
        rt_sleep_ns(RT_MS);
        rt_trace_event("woke up");
        rt_trace_region_end("inner");
        rt_trace_region_end("outer \"region\"");
    }
    rt_waitgroup_done(&w->all);
}

static void nothing(void *arg) { rt_waitgroup_done(arg); }

static void spawn(void *arg)
{
    struct work *w = arg;
    struct rt_waitgroup children = {0};
    for (int i = 0; i < 300; i++) {
        rt_waitgroup_add(&children, 1);
        rt_go("child", nothing, &children);
    }
    rt_waitgroup_wait(&children, RT_FOREVER);
    rt_yield();
    rt_waitgroup_done(&w->all);
}

static void start(struct work *w, const char *name, void (*fn)(void *arg))
{
    rt_waitgroup_add(&w->all, 1);
    rt_go(name, fn, w);
}

static int append(void *arg, const char *bytes, size_t len)
{
    rt_string_append(arg, bytes, len);
    return 0;
}

static int save(const char *path, const struct rt_string *text)
{
    FILE *f = fopen(path, "w");
    if (!f)
        return 1;
    bool written = fwrite(text->data, 1, text->len, f) == text->len;
    return fclose(f) == 0 && written ? 0 : 1;
}

static int run(void *arg)
{
    struct work *w = arg;
    struct why why;
    struct rt_trace *trace;
    w->there = rt_chan_new(sizeof(int), 0);
    w->back = rt_chan_new(sizeof(int), 2);
    start(w, "spinner", spin); // runs already when the trace begins, if there is a second P
    if (rt_trace_start(w->bytes, &why)) {
        fprintf(stderr, "%s\n", why.text);
        return 1;
    }
    for (int i = 0; i < PAIRS; i++) {
        start(w, "ping", ping);
        start(w, "pong", pong);
    }
    start(w, "spinner", spin);
    start(w, "blocker", block);
    start(w, "spawner", spawn);
    rt_waitgroup_wait(&w->all, RT_FOREVER);
    rt_sleep_ns(20 * RT_MS); // Ms go to sleep
    struct rt_string json = {0};
    if (rt_trace_stop(&trace, &why) || rt_trace_write(trace, append, &json))
        return 1;
    rt_trace_free(trace);
    rt_chan_free(w->there);
    rt_chan_free(w->back);
    int status = save(w->file, &json);
    rt_string_deinit(&json);
    return status;
}

int main(int argc, char **argv)
{
    struct work w = {0};
    uint64_t procs;
    struct why why;
    int status = 1;
    if (argc != 5 || rt_parse_u64(argv[1], &procs) || rt_parse_u64(argv[2], &w.bytes) ||
        rt_parse_u64(argv[3], &w.rounds)) {
        fprintf(stderr, "usage: tool_trace PROCS BYTES ROUNDS FILE\n");
        return 2;
    }
    w.file = argv[4];
    if (rt_run(&(struct rt_options){.procs = (unsigned)procs}, run, &w, &status, &why))
        fprintf(stderr, "%s\n", why.text);
    return status;
}
