/* kv/service/debug.c: each page is short: a recording or a watch that takes a while is started by one
 * request and fetched by another. There is one of each at a time. */
#include "kv/service/debug.h"
#include "kv/service/limits.h"
#include "rt/go.h"
#include "rt/inspect.h"
#include "rt/leak.h"
#include "rt/parse.h"
#include "rt/sync.h"
#include "rt/trace.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

struct debug {
    struct rt_log *log;
    _Atomic bool recording; // a trace was begun here, and not yet fetched
    struct rt_mutex watch_lock;
    struct rt_leak_options asked; // watch_lock
    struct rt_leak_watch *watch;  // watch_lock: the last one, or NULL
    bool watching;                // watch_lock: its goroutine runs
    bool stop;                    // watch_lock: it shall end
    struct rt_waitgroup watchers;
    struct rt_note wake; // set to end its sleep
};

struct debug *debug_new(struct rt_log *log)
{
    struct debug *d = rt_alloc_zero(sizeof *d);
    d->log = log;
    return d;
}

static void refuse(struct http1_response *out, int status, const char *text)
{
    out->status = status;
    out->content_type = "text/plain; charset=utf-8";
    rt_string_printf(&out->body, "%s\n", text);
}

/* ---- queries ---- */

enum { QUERY_BYTES = 64 };

/* The value of a query parameter, or `fallback`. False: it cannot be read; refused. */
static bool text_of(const struct http1_request *r, struct http1_response *out, const char *name,
                    const char *fallback, char text[QUERY_BYTES])
{
    int n = http1_query(r, name, 0, text, QUERY_BYTES);
    if (n == -ENOENT)
        snprintf(text, QUERY_BYTES, "%s", fallback);
    else if (n < 0)
        refuse(out, 400, "a query that cannot be read");
    return n >= 0 || n == -ENOENT;
}

static bool number_of(const struct http1_request *r, struct http1_response *out, const char *name,
                      uint64_t fallback, uint64_t least, uint64_t most, uint64_t *value)
{
    char text[QUERY_BYTES], line[2 * QUERY_BYTES];
    *value = fallback;
    if (!text_of(r, out, name, "", text))
        return false;
    if (!*text || (rt_parse_u64(text, value) == 0 && *value >= least && *value <= most))
        return true;
    snprintf(line, sizeof line, "%s=%s: it takes %" PRIu64 " to %" PRIu64, name, text, least, most);
    refuse(out, 400, line);
    return false;
}

/* ---- goroutines ---- */

static void serve_goroutines(struct debug *d, const struct http1_request *r,
                             struct http1_response *out)
{
    (void)d;
    char form[QUERY_BYTES];
    if (!text_of(r, out, "form", "full", form))
        return;
    out->content_type = "text/plain; charset=utf-8";
    if (strcmp(form, "full") == 0)
        rt_dump(&out->body);
    else if (strcmp(form, "short") == 0)
        rt_dump_short(&out->body);
    else
        refuse(out, 400, "form is full or short");
}

/* ---- traces ---- */

static int append(void *arg, const char *bytes, size_t len)
{
    rt_string_append(arg, bytes, len);
    return 0;
}

static bool start_trace(struct debug *d, const struct http1_request *r, struct http1_response *out)
{
    uint64_t bytes;
    struct why why;
    if (!number_of(r, out, "bytes", SERVICE_TRACE_BYTES, RT_TRACE_MIN_BYTES,
                   SERVICE_TRACE_MOST_BYTES, &bytes))
        return false;
    int err = rt_trace_start((size_t)bytes, &why);
    if (err)
        refuse(out, err == -EBUSY ? 409 : 500, why.text);
    else
        atomic_store(&d->recording, true);
    return err == 0;
}

static void stop_trace(struct debug *d, struct http1_response *out)
{
    struct rt_trace *trace;
    struct why why;
    if (rt_trace_stop(&trace, &why)) {
        refuse(out, 409, why.text);
        return;
    }
    atomic_store(&d->recording, false);
    out->content_type = "application/json";
    rt_string_printf(&out->headers,
                     "Content-Disposition: attachment; filename=\"kvd-trace.json\"\r\n");
    rt_trace_write(trace, append, &out->body); // our sink never ends it
    rt_trace_free(trace);
}

static void serve_trace(struct debug *d, const struct http1_request *r, struct http1_response *out)
{
    char text[QUERY_BYTES];
    double seconds;
    if (!text_of(r, out, "seconds", "1", text))
        return;
    if (rt_parse_double(text, &seconds) || !(seconds >= 0.001 && seconds <= 10)) {
        refuse(out, 400, "seconds is 0.001 to 10; for longer ones POST /debug/trace/start");
        return;
    }
    if (!start_trace(d, r, out))
        return;
    rt_sleep_ns((int64_t)(seconds * 1e9));
    stop_trace(d, out);
}

static void serve_trace_start(struct debug *d, const struct http1_request *r,
                              struct http1_response *out)
{
    out->content_type = "text/plain; charset=utf-8";
    if (start_trace(d, r, out))
        rt_string_printf(&out->body, "recording; POST /debug/trace/stop ends it\n");
}

static void serve_trace_stop(struct debug *d, const struct http1_request *r,
                             struct http1_response *out)
{
    (void)r;
    stop_trace(d, out);
}

/* ---- leaks ---- */

/* Ends with the last round, or when told to stop. */
static void watch_for_leaks(void *arg)
{
    struct debug *d = arg;
    bool more = true;
    while (more) {
        rt_note_wait(&d->wake, rt_after_ns(d->asked.period_ns));
        rt_mutex_lock(&d->watch_lock);
        more = !d->stop && rt_leak_watch_look_now(d->watch);
        d->watching = more;
        rt_mutex_unlock(&d->watch_lock);
    }
    rt_waitgroup_done(&d->watchers);
}

static bool read_options(const struct http1_request *r, struct http1_response *out,
                         struct rt_leak_options *o)
{
    char period[QUERY_BYTES];
    uint64_t rounds, threshold;
    struct why why;
    *o = RT_LEAK_DEFAULTS;
    if (!text_of(r, out, "period", "5s", period) ||
        !number_of(r, out, "rounds", o->rounds, 1, RT_LEAK_ROUNDS_MAX, &rounds) ||
        !number_of(r, out, "threshold", o->threshold, 0, UINT32_MAX, &threshold))
        return false;
    if (rt_parse_duration(period, &o->period_ns)) {
        refuse(out, 400, "period is a duration such as 5s or 200ms");
        return false;
    }
    o->rounds = (unsigned)rounds;
    o->threshold = (unsigned)threshold;
    if (rt_leak_options_check(o, &why) == 0)
        return true;
    refuse(out, 400, why.text);
    return false;
}

static void start_watch_locked(struct debug *d, const struct rt_leak_options *o,
                               struct http1_response *out)
{
    if (d->watching) {
        refuse(out, 409, "a watch is on already; POST /debug/leaks/stop ends it");
        return;
    }
    rt_waitgroup_wait(&d->watchers, RT_FOREVER); // the last one is on its way out
    rt_leak_watch_free(d->watch);
    d->asked = *o;
    d->asked.log = d->log;
    d->watch = rt_leak_watch_new(&d->asked);
    d->wake = (struct rt_note){0};
    d->stop = false;
    rt_waitgroup_add(&d->watchers, 1);
    d->watching =
        rt_go("leak-watch", watch_for_leaks, d) == 0; // ends with its rounds, or debug_free
    if (!d->watching) {
        rt_waitgroup_done(&d->watchers);
        refuse(out, 503, "there are too many goroutines already");
        return;
    }
    rt_string_printf(&out->body, "watching for %u rounds; GET /debug/leaks tells what it found\n",
                     o->rounds);
}

static void serve_leaks_start(struct debug *d, const struct http1_request *r,
                              struct http1_response *out)
{
    struct rt_leak_options o;
    out->content_type = "text/plain; charset=utf-8";
    if (!read_options(r, out, &o))
        return;
    rt_mutex_lock(&d->watch_lock);
    start_watch_locked(d, &o, out);
    rt_mutex_unlock(&d->watch_lock);
}

static void report_locked(struct debug *d, enum rt_leak_form form, struct http1_response *out)
{
    struct rt_leak_summary sum;
    if (!d->watch) {
        refuse(out, 409, "no watch was started; POST /debug/leaks/start does");
        return;
    }
    rt_leak_watch_summary(d->watch, &sum);
    rt_string_printf(&out->body,
                     "%s: round %u of %u, threshold %u, goroutines %" PRIu64 " -> %" PRIu64
                     ", leaks %" PRIu64 "\n",
                     d->watching ? "watching" : "done", sum.rounds, d->asked.rounds,
                     d->asked.threshold, sum.goroutines_before, sum.goroutines_now, sum.leaks);
    if (sum.unwatched)
        rt_string_printf(&out->body, "%" PRIu64 " goroutines are in too many places to watch\n",
                         sum.unwatched);
    rt_leak_watch_report(d->watch, form, &out->body);
}

static void serve_leaks(struct debug *d, const struct http1_request *r, struct http1_response *out)
{
    char form[QUERY_BYTES];
    if (!text_of(r, out, "form", "lines", form))
        return;
    bool stacks = strcmp(form, "stacks") == 0;
    if (!stacks && strcmp(form, "lines") != 0) {
        refuse(out, 400, "form is lines or stacks");
        return;
    }
    out->content_type = "text/plain; charset=utf-8";
    rt_mutex_lock(&d->watch_lock);
    report_locked(d, stacks ? RT_LEAK_STACKS : RT_LEAK_LINES, out);
    rt_mutex_unlock(&d->watch_lock);
}

/* Returns when its goroutine has ended. */
static void end_watch(struct debug *d)
{
    rt_mutex_lock(&d->watch_lock);
    d->stop = true;
    if (d->watching)
        rt_note_set(&d->wake);
    rt_mutex_unlock(&d->watch_lock);
    rt_waitgroup_wait(&d->watchers, RT_FOREVER);
}

static void serve_leaks_stop(struct debug *d, const struct http1_request *r,
                             struct http1_response *out)
{
    end_watch(d);
    serve_leaks(d, r, out);
}

/* ---- all ---- */

void debug_free(struct debug *d)
{
    end_watch(d);
    rt_leak_watch_free(d->watch);
    if (atomic_load(&d->recording))
        rt_trace_stop(NULL, NULL); // -ENOENT when somebody else ended it
    rt_free(d);
}

static void serve_index(struct debug *d, const struct http1_request *r, struct http1_response *out);

static const struct {
    const char *path, *method, *words;
    void (*serve)(struct debug *d, const struct http1_request *r, struct http1_response *out);
} pages[] = {
    {"/debug/", "GET", "this list", serve_index},
    {"/debug/goroutines", "GET", "every goroutine; ?form=short", serve_goroutines},
    {"/debug/trace", "GET", "an execution trace; ?seconds=1&bytes=4194304", serve_trace},
    {"/debug/trace/start", "POST", "begin to record; ?bytes=4194304", serve_trace_start},
    {"/debug/trace/stop", "POST", "end it, and here it is", serve_trace_stop},
    {"/debug/leaks", "GET", "what the last watch has found; ?form=stacks", serve_leaks},
    {"/debug/leaks/start", "POST",
     "watch for goroutines that pile up; "
     "?period=5s&rounds=10&threshold=2",
     serve_leaks_start},
    {"/debug/leaks/stop", "POST", "end it early", serve_leaks_stop},
};
enum { PAGES = sizeof pages / sizeof pages[0] };

static void serve_index(struct debug *d, const struct http1_request *r, struct http1_response *out)
{
    (void)d;
    (void)r;
    out->content_type = "text/plain; charset=utf-8";
    for (int i = 0; i < PAGES; i++)
        rt_string_printf(&out->body, "%-4s %-20s %s\n", pages[i].method, pages[i].path,
                         pages[i].words);
}

bool debug_serve(struct debug *d, const struct http1_request *r, struct http1_response *out)
{
    for (int i = 0; i < PAGES; i++) {
        if (!rt_bytes_equal(r->path, rt_bytes(pages[i].path, strlen(pages[i].path))))
            continue;
        if (rt_bytes_equal(r->method, rt_bytes(pages[i].method, strlen(pages[i].method)))) {
            pages[i].serve(d, r, out);
        } else {
            out->allow = pages[i].method;
            refuse(out, 405, "Method Not Allowed");
        }
        return true;
    }
    return false;
}
