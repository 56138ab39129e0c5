/* cmd/kvctl/debug.c: the insides of members, over their metrics ports (kvd --listen-metrics-urls):
 * goroutines, execution traces, goroutines that pile up. */
#include "cmd/kvctl/http.h"
#include "rt/file.h"
#include "rt/time.h"
#include <inttypes.h>
#include <stdio.h>

enum { POLL_MS = 500, TRACE_FILE_MODE = 0644 };

/* The commands print text only. */
static bool is_simple(struct kvctl *k)
{
    return k->format == FORMAT_SIMPLE ||
           kvctl_over(k, KVCTL_BAD_ARGS, "%s prints text only; leave -w out", k->command);
}

/* What one endpoint said, under its name when there are several. */
static void print_answer(struct kvctl *k, uint32_t i, const struct rt_string *body)
{
    if (k->endpoint_count > 1)
        rt_string_printf(&k->out, "%s== %s ==\n", i ? "\n" : "", k->endpoints[i]);
    rt_string_append(&k->out, body->data, body->len);
}

/* Ask each endpoint and print. The first failure is the exit status; the others are asked all the same. */
static int ask_all(struct kvctl *k, const char *method, const char *target)
{
    int status = KVCTL_OK;
    for (uint32_t i = 0; i < k->endpoint_count; i++) {
        struct rt_string body = {0};
        int err = kvctl_http(k, k->endpoints[i], method, target, 0, &body);
        if (!err)
            print_answer(k, i, &body);
        if (status == KVCTL_OK)
            status = err;
        rt_string_deinit(&body);
    }
    int err = kvctl_flush(k);
    return status ? status : err;
}

int command_debug_goroutines(struct kvctl *k)
{
    bool is_short = false;
    const struct option options[] = {
        {"short", 's', OPTION_SWITCH, &is_short,
         "those in the same place as one, with their number"},
    };
    if (!kvctl_options(k, options, 1, 0, 0,
                       "debug goroutines [--short] --endpoints METRICS-ADDRESS,...") ||
        !is_simple(k))
        return k->exit;
    return ask_all(k, "GET", is_short ? "/debug/goroutines?form=short" : "/debug/goroutines");
}

/* ---- traces ---- */

static int save_trace(struct kvctl *k, const char *path, const struct rt_string *body)
{
    if (strcmp(path, "-") == 0) {
        rt_string_append(&k->out, body->data, body->len);
        return kvctl_flush(k);
    }
    int err = rt_replace_file(path, body->data, body->len, TRACE_FILE_MODE);
    char words[128];
    if (err)
        return kvctl_fail(KVCTL_IO, "cannot write %s: %s", path,
                          why_errno(err, words, sizeof words));
    rt_string_printf(&k->out, "%s: %zu bytes; open it at https://ui.perfetto.dev\n", path,
                     body->len);
    return kvctl_flush(k);
}

static int stop_trace(struct kvctl *k, const char *path)
{
    struct rt_string body = {0};
    int err = kvctl_http(k, k->endpoints[0], "POST", "/debug/trace/stop", 60 * RT_SECOND, &body);
    if (!err)
        err = save_trace(k, path, &body);
    rt_string_deinit(&body);
    return err;
}

static int start_trace(struct kvctl *k, int64_t bytes)
{
    struct rt_string body = {0};
    const char *target = rt_arena_printf(&k->arena, "/debug/trace/start?bytes=%" PRId64, bytes);
    int err = kvctl_http(k, k->endpoints[0], "POST", target, 0, &body);
    rt_string_deinit(&body);
    return err;
}

int command_debug_trace(struct kvctl *k)
{
    const char *path = "kvd-trace.json";
    int64_t bytes = 4 << 20, for_ns = RT_SECOND;
    const struct option options[] = {
        {"for", 'f', OPTION_DURATION, &for_ns, "how long to record (1s)"},
        {"out", 'o', OPTION_TEXT, &path, "file to write, - for stdout (kvd-trace.json)"},
        {"bytes", 'b', OPTION_INT, &bytes, "of events to keep, 32 each: 1 to 16 MiB (4194304)"},
    };
    if (!kvctl_options(k, options, 3, 0, 1,
                       "debug trace [start|stop] [--for 1s] [--out FILE] --endpoints "
                       "METRICS-ADDRESS") ||
        !is_simple(k))
        return k->exit;
    const char *step = k->arg_count ? k->args[0] : "";
    bool starts = strcmp(step, "stop") != 0, stops = strcmp(step, "start") != 0;
    if (*step && starts && stops)
        return kvctl_fail(KVCTL_BAD_ARGS, "debug trace %s: it is start, stop or nothing", step);
    if (k->endpoint_count != 1)
        return kvctl_fail(KVCTL_BAD_ARGS, "a trace is of one member: give one endpoint");
    if (for_ns <= 0)
        return kvctl_fail(KVCTL_BAD_ARGS, "--for must be more than nothing");
    int err = starts ? start_trace(k, bytes) : 0;
    if (err || !stops)
        return err;
    if (starts)
        rt_sleep_ns(for_ns);
    return stop_trace(k, path);
}

/* ---- leaks ---- */

static int start_watches(struct kvctl *k, const char *target)
{
    for (uint32_t i = 0; i < k->endpoint_count; i++) {
        struct rt_string body = {0};
        int err = kvctl_http(k, k->endpoints[i], "POST", target, 0, &body);
        rt_string_deinit(&body);
        if (err)
            return err;
    }
    return 0;
}

/* True when the report's first line says that its watch is over. */
static bool is_done(struct rt_string *report)
{
    return strncmp(rt_string_cstr(report), "done", 4) == 0;
}

static bool has_leaks(struct rt_string *report)
{
    const char *text = rt_string_cstr(report), *end = strchr(text, '\n');
    return end && (end - text < 7 || strncmp(end - 7, "leaks 0", 7) != 0);
}

/* Wait until each watch is over, and print what it found. */
static int fetch_reports(struct kvctl *k, const char *target, bool wait)
{
    int status = KVCTL_OK;
    for (uint32_t i = 0; i < k->endpoint_count; i++) {
        struct rt_string body = {0};
        int err;
        while ((err = kvctl_http(k, k->endpoints[i], "GET", target, 0, &body)) == 0 && wait &&
               !is_done(&body)) {
            rt_string_deinit(&body);
            body = (struct rt_string){0};
            rt_sleep_ns(POLL_MS * RT_MS);
        }
        if (err == 0) {
            print_answer(k, i, &body);
            err = has_leaks(&body) ? KVCTL_UNHEALTHY : KVCTL_OK;
        }
        if (status == KVCTL_OK)
            status = err;
        rt_string_deinit(&body);
    }
    int err = kvctl_flush(k);
    return status ? status : err;
}

int command_debug_leaks(struct kvctl *k)
{
    int64_t period_ns = 5 * RT_SECOND, rounds = 10, threshold = 2;
    bool stacks = false;
    const struct option options[] = {
        {"period", 'p', OPTION_DURATION, &period_ns, "between two looks (5s)"},
        {"rounds", 'r', OPTION_INT, &rounds, "looks after the first (10)"},
        {"threshold", 't', OPTION_INT, &threshold, "a place grown by more than this leaks (2)"},
        {"stacks", 's', OPTION_SWITCH, &stacks, "print whole stacks"},
    };
    if (!kvctl_options(k, options, 4, 0, 1,
                       "debug leaks [report|stop] [--period 5s] [--rounds 10] [--threshold 2] "
                       "[--stacks] --endpoints METRICS-ADDRESS,...") ||
        !is_simple(k))
        return k->exit;
    const char *step = k->arg_count ? k->args[0] : "";
    const char *report = stacks ? "/debug/leaks?form=stacks" : "/debug/leaks";
    if (strcmp(step, "stop") == 0)
        return ask_all(k, "POST", "/debug/leaks/stop");
    if (strcmp(step, "report") == 0)
        return fetch_reports(k, report, false);
    if (*step)
        return kvctl_fail(KVCTL_BAD_ARGS, "debug leaks %s: it is report, stop or nothing", step);
    const char *start = rt_arena_printf(
        &k->arena, "/debug/leaks/start?period=%" PRId64 "ns&rounds=%" PRId64 "&threshold=%" PRId64,
        period_ns, rounds, threshold);
    int err = start_watches(k, start);
    return err ? err : fetch_reports(k, report, true);
}
