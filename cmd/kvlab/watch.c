/* cmd/kvlab/watch.c: many watch streams on one member, all on one range, each event checked.
 *
 * Only we write, so the revisions of events must follow each other without a gap: a stream that sees
 * revision + 1 each time has every event, once, in order. A put's value begins with the time it was
 * due; an event's delivery takes from then until its stream has it. */
#include "cmd/kvlab/notes.h"
#include "cmd/kvlab/replication.h"
#include "proto/fields.h"
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <rt/go.h>
#include <stdio.h>

enum {
    CONNECTIONS_MAX = 100,
    LOW_RATE = 1,
    HIGH_RATE = 4,
    FULL_TRIALS = 10,
    QUICK_TRIALS = 3,
    OPENED_PER_S = 1000, // streams, about; what the progress is told
    OPEN_S = 60,
    DRAIN_S = 60,
    VALUE_BYTES = 64,
    PUTTERS = 8,
    LOADS = 2
};

struct watching;
struct stream {
    struct watching *all;
    struct grpc_stream *grpc;
    int64_t revision; // of the newest event; its goroutine only
};
struct watching {
    struct lab *lab;
    struct cluster *cluster;
    struct client *connections;
    struct stream *streams;
    uint32_t connection_count, stream_count;
    struct rt_hdr *_Atomic delivery; // of this trial
    _Atomic uint64_t created, received, wrong;
    _Atomic bool over;
    struct rt_waitgroup running;
    struct rt_mutex failure_lock;
    struct why failure; // failure_lock; the first counts
    // of the puts of a trial
    int64_t start_ns, length_ns;
    double rate;
    _Atomic uint64_t next, put;
    struct rt_waitgroup putting;
};

static void fail(struct watching *w, const char *text)
{
    rt_mutex_lock(&w->failure_lock);
    if (!atomic_load(&w->over))
        why_set(&w->failure, "%s", text);
    atomic_store(&w->over, true);
    rt_mutex_unlock(&w->failure_lock);
}

/* ---- A stream ---- */

static void take_event(struct stream *s, struct rt_bytes event, int64_t now_ns)
{
    struct rt_bytes kv = {0}, value = {0};
    int64_t revision = 0, due_ns = 0;
    struct field it;
    struct fields f = fields_of(event);
    while (fields_next(&f, &it) > 0)
        if (FIELD_KEY(it.number, it.wire) == FIELD_KEY(2, FIELD_LEN))
            kv = it.bytes;
    f = fields_of(kv);
    while (fields_next(&f, &it) > 0) {
        if (FIELD_KEY(it.number, it.wire) == FIELD_KEY(3, FIELD_VARINT))
            revision = (int64_t)it.value;
        if (FIELD_KEY(it.number, it.wire) == FIELD_KEY(5, FIELD_LEN))
            value = it.bytes;
    }
    if (revision != s->revision + 1 || value.len != VALUE_BYTES) {
        atomic_fetch_add(&s->all->wrong, 1);
        char text[160];
        snprintf(text, sizeof text, "stream %td: revision %" PRId64 " came after %" PRId64,
                 s - s->all->streams, revision, s->revision);
        fail(s->all, text);
        return;
    }
    s->revision = revision;
    memcpy(&due_ns, value.data, sizeof due_ns);
    rt_hdr_record(atomic_load(&s->all->delivery), now_ns - due_ns);
    atomic_fetch_add(&s->all->received, 1);
}

/* A WatchResponse: the first says "created" and the revision from which on there are events. */
static void take_message(struct stream *s, struct rt_bytes message)
{
    int64_t now_ns = rt_now_ns(), revision = 0;
    bool created = false, canceled = false;
    struct field it, in;
    struct fields f = fields_of(message);
    while (fields_next(&f, &it) > 0)
        switch (FIELD_KEY(it.number, it.wire)) {
        case FIELD_KEY(1, FIELD_LEN): {
            struct fields header = fields_of(it.bytes);
            while (fields_next(&header, &in) > 0)
                if (FIELD_KEY(in.number, in.wire) == FIELD_KEY(3, FIELD_VARINT))
                    revision = (int64_t)in.value;
            break;
        }
        case FIELD_KEY(3, FIELD_VARINT):
            created = it.value;
            break;
        case FIELD_KEY(4, FIELD_VARINT):
            canceled = it.value;
            break;
        case FIELD_KEY(11, FIELD_LEN):
            take_event(s, it.bytes, now_ns);
            break;
        }
    if (canceled)
        fail(s->all, "the server cancelled a watch");
    if (created) {
        s->revision = revision;
        atomic_fetch_add(&s->all->created, 1);
    }
}

static void run_stream(void *arg)
{
    struct stream *s = arg;
    while (!atomic_load(&s->all->over)) {
        struct rt_buf *message;
        int got = grpc_stream_recv(s->grpc, &message, RT_FOREVER);
        if (got == 1) {
            take_message(s, rt_buf_bytes(message));
            rt_buf_unref(message);
        } else if (got != -EAGAIN) {
            char text[300];
            snprintf(text, sizeof text, "a watch stream ended: %.200s",
                     got == 0 ? grpc_stream_status(s->grpc)->text : "the connection is lost");
            fail(s->all, text);
        }
    }
    rt_waitgroup_done(&s->all->running);
}

static bool open_stream(struct watching *w, struct stream *s, struct client *connection,
                        struct why *why)
{
    s->all = w;
    if (client_watch(connection, RT_BYTES("kvlab/watch/"), RT_BYTES("kvlab/watch0"), &s->grpc, why))
        return false;
    rt_waitgroup_add(&w->running, 1);
    if (rt_go("watch-stream", run_stream, s) == 0) // ends when the experiment is over
        return true;
    rt_waitgroup_done(&w->running);
    why_set(why, "no goroutine for a watch stream");
    return false;
}

static bool open_all(struct watching *w, struct why *why)
{
    for (uint32_t i = 0; i < w->connection_count; i++)
        if (client_dial(cluster_leader(w->cluster)->endpoint, &w->connections[i], why))
            return false;
    for (uint32_t i = 0; i < w->stream_count; i++)
        if (lab_is_stopped(w->lab) ||
            !open_stream(w, &w->streams[i], &w->connections[i % w->connection_count], why))
            return false;
    int64_t deadline = rt_after_ns(OPEN_S * RT_SECOND);
    while (atomic_load(&w->created) < w->stream_count && !atomic_load(&w->over) &&
           rt_now_ns() < deadline && !lab_is_stopped(w->lab))
        rt_sleep_ns(10 * RT_MS);
    if (atomic_load(&w->created) == w->stream_count)
        return true;
    why_set(why, "only %" PRIu64 " of %u watches were created in %d s%s%s",
            atomic_load(&w->created), w->stream_count, OPEN_S, w->failure.text[0] ? ": " : "",
            w->failure.text);
    return false;
}

static void close_all(struct watching *w)
{
    atomic_store(&w->over, true);
    for (uint32_t i = 0; i < w->stream_count; i++)
        if (w->streams[i].grpc)
            grpc_stream_wake(w->streams[i].grpc);
    rt_waitgroup_wait(&w->running, RT_FOREVER);
    for (uint32_t i = 0; i < w->stream_count; i++)
        if (w->streams[i].grpc)
            grpc_stream_close(w->streams[i].grpc);
    for (uint32_t i = 0; i < w->connection_count; i++)
        client_close(&w->connections[i]);
}

/* ---- The puts ---- */

/* Or until nobody waits for the rest. */
static void wait_until(const struct watching *w, int64_t when_ns)
{
    enum { STEP_MS = 50 };
    while (rt_now_ns() < when_ns && !atomic_load(&w->over) && !lab_is_stopped(w->lab)) {
        int64_t step = rt_after_ns(STEP_MS * RT_MS);
        rt_sleep_until(step < when_ns ? step : when_ns);
    }
}

static void run_putter(void *arg)
{
    struct watching *w = arg;
    struct client *leader = &cluster_leader(w->cluster)->client;
    char value[VALUE_BYTES] = {0};
    for (;;) {
        struct why why;
        uint64_t n = atomic_fetch_add(&w->next, 1);
        int64_t due = w->start_ns + (int64_t)((double)n * 1e9 / w->rate);
        if (due >= w->start_ns + w->length_ns)
            break;
        wait_until(w, due);
        if (atomic_load(&w->over) || lab_is_stopped(w->lab))
            break;
        memcpy(value, &due, sizeof due);
        if (client_put(leader, RT_BYTES("kvlab/watch/key"), rt_bytes(value, sizeof value), NULL,
                       &why)) {
            fail(w, why.text);
            break;
        }
        atomic_fetch_add(&w->put, 1);
    }
    rt_waitgroup_done(&w->putting);
}

/* Every stream has every event of the puts so far. */
static bool wait_delivered(struct watching *w, struct why *why)
{
    uint64_t wanted = atomic_load(&w->put) * w->stream_count;
    int64_t deadline = rt_after_ns(DRAIN_S * RT_SECOND);
    while (atomic_load(&w->received) < wanted && !atomic_load(&w->over) && rt_now_ns() < deadline &&
           !atomic_load(&w->cluster->broken))
        rt_sleep_ns(5 * RT_MS);
    if (!cluster_is_whole(w->cluster, why))
        return false;
    if (atomic_load(&w->over)) {
        *why = w->failure;
        return false;
    }
    if (atomic_load(&w->received) == wanted)
        return true;
    why_set(why, "%" PRIu64 " of %" PRIu64 " events were delivered in %d s",
            atomic_load(&w->received), wanted, DRAIN_S);
    return false;
}

/* By load; a figure that a trial does not know is NAN. */
struct delivered {
    uint32_t trials;
    double p50[TRIALS_MAX], p95[TRIALS_MAX], p99[TRIALS_MAX], preempted[TRIALS_MAX],
        events[TRIALS_MAX];
    struct rt_hdr_counts *all;
};

struct look {
    double preempted; // so far; NAN: the server does not tell
    int64_t at_ns;
};

static struct look look(const struct watching *w)
{
    double count;
    struct why why; // etcd has no such count; a look that fails is an unknown, not 0
    bool told = w->cluster->has_insight &&
                client_preemptions(cluster_leader(w->cluster)->endpoint, &count, &why) == 0;
    return (struct look){told ? count : NAN, rt_now_ns()};
}

/* `seconds`: what the trial took, its length or until the last event had come. */
static bool keep(struct watching *w, struct delivered *d, const char *load, double seconds,
                 const struct look looks[2], struct why *why)
{
    char name[48];
    struct rt_hdr_counts *c = rt_hdr_counts_new();
    rt_hdr_read(atomic_load(&w->delivery), c);
    uint32_t t = d->trials++;
    d->p50[t] = (double)rt_hdr_quantile(c, 0.5) / 1e6;
    d->p95[t] = (double)rt_hdr_quantile(c, 0.95) / 1e6;
    d->p99[t] = (double)rt_hdr_quantile(c, 0.99) / 1e6;
    d->preempted[t] = (looks[1].preempted - looks[0].preempted) /
                      ((double)(looks[1].at_ns - looks[0].at_ns) / 1e9);
    d->events[t] = (double)c->count / seconds;
    rt_hdr_counts_merge(d->all, c);
    snprintf(name, sizeof name, "watch-%s-%u", load, d->trials);
    bool ok = lab_write_histogram(w->lab, name, c, why);
    rt_free(c);
    return ok;
}

static bool run_trial(struct watching *w, const char *load, double rate, int64_t length_ns,
                      struct delivered *d, struct why *why)
{
    struct rt_hdr *h = rt_hdr_new();
    atomic_store(&w->delivery, h); // nothing is on its way: the last trial was waited for
    atomic_store(&w->next, 0);
    w->rate = rate;
    w->length_ns = length_ns;
    struct look looks[2] = {look(w)};
    w->start_ns = rt_after_ns(2 * RT_MS);
    for (int i = 0; i < PUTTERS; i++) {
        rt_waitgroup_add(&w->putting, 1);
        if (rt_go("putter", run_putter, w)) // ends with the trial
            rt_waitgroup_done(&w->putting);
    }
    rt_waitgroup_wait(&w->putting, RT_FOREVER);
    bool ok = wait_delivered(w, why);
    wait_until(w, w->start_ns + w->length_ns); // also when its last event has come before
    if (ok && !lab_is_stopped(w->lab)) {
        double seconds = (double)(rt_now_ns() - w->start_ns) / 1e9;
        looks[1] = look(w);
        ok = keep(w, d, load, seconds, looks, why);
    }
    if (ok)
        rt_hdr_free(h); // else a late event may still come to it: it dies with the process
    return ok;
}

/* ---- The experiment ---- */

static const char *const load_names[LOADS] = {"low", "high"};

static struct cell spread_cell(const double *values, uint32_t count)
{
    struct stat_spread s = stat_spread_of(values, count);
    return s.trials ? cell_spread(s) : (struct cell){0};
}

static void show_loads(struct lab *lab, struct section *s, const struct delivered *d,
                       const double *rates)
{
    static const struct column columns[] = {{"load", "", false, 0},
                                            {"puts", "a second", false, 0},
                                            {"events", "a second", true, 0},
                                            {"P50", "ms", true, 2},
                                            {"P95", "ms", true, 2},
                                            {"P99", "ms", true, 2},
                                            {"preemptions", "a second", true, 1}};
    struct table *t = report_table(&lab->report, s, "watch", "Delivery of events", columns, 7);
    for (int i = 0; i < LOADS; i++) {
        if (!d[i].trials)
            continue;
        struct cell *row = table_row(&lab->report, t);
        row[0] = cell_text(load_names[i]);
        row[1] = cell_number(rates[i]);
        row[2] = spread_cell(d[i].events, d[i].trials);
        row[3] = spread_cell(d[i].p50, d[i].trials);
        row[4] = spread_cell(d[i].p95, d[i].trials);
        row[5] = spread_cell(d[i].p99, d[i].trials);
        row[6] = spread_cell(d[i].preempted, d[i].trials);
    }
    t->note = "A delivery takes from the moment the put was due to the moment a stream has its "
              "event: the put itself is in it. Rates are over a trial\u2019s length, or until its "
              "last event had come where that was later.";
}

/* The article's figures of both loads, and ours. */
static void compare_with_article(struct lab *lab, struct section *s, const struct delivered *d)
{
    static const struct column columns[] = {
        {"figure", "", false, 0},        {"article: low", "", false, 1},
        {"article: high", "", false, 1}, {"article: ratio", "", false, 2},
        {"ours: low", "", true, 2},      {"ours: high", "", true, 2},
        {"ours: ratio", "", false, 2},   {"ours: difference, 95 % interval", "", true, 2}};
    const struct {
        const char *name, *what, *unit;
        double low, high;
        const double *ours[LOADS];
    } rows[] = {{"P95 of delivery, ms", "P95 of delivery", "ms", 8.2, 47.6, {d[0].p95, d[1].p95}},
                {"preemptions a second",
                 "the number of preemptions",
                 "a second",
                 12,
                 328,
                 {d[0].preempted, d[1].preempted}}};
    struct table *t = report_table(&lab->report, s, "watch-article",
                                   "The article\u2019s figures, and ours", columns, 8);
    uint32_t pairs = d[0].trials < d[1].trials ? d[0].trials : d[1].trials;
    for (int f = 0; f < 2; f++) {
        struct cell *row = table_row(&lab->report, t);
        struct stat_spread low = stat_spread_of(rows[f].ours[0], d[0].trials),
                           high = stat_spread_of(rows[f].ours[1], d[1].trials);
        struct stat_difference diff = stat_difference_of(rows[f].ours[0], rows[f].ours[1], pairs,
                                                         (uint64_t)lab->options->seed);
        row[0] = cell_text(rows[f].name);
        row[1] = cell_number(rows[f].low);
        row[2] = cell_number(rows[f].high);
        row[3] = cell_number(rows[f].high / rows[f].low);
        row[4] = spread_cell(rows[f].ours[0], d[0].trials);
        row[5] = spread_cell(rows[f].ours[1], d[1].trials);
        if (low.median > 0 && high.trials)
            row[6] = cell_number(high.median / low.median);
        if (diff.pairs)
            row[7] = cell_interval(&diff);
        say_difference(lab, s, rows[f].what, "High against low load", rows[f].unit, &diff,
                       low.median);
    }
    t->note = "The article does not state its loads as rates, so only which way they differ is "
              "comparable.";
}

static void draw_cdf(struct lab *lab, struct section *s, const struct delivered *d)
{
    struct plot *p = report_plot(&lab->report, s, "watch-cdf", "Events delivered later than a time",
                                 PLOT_LINES, "from the put\u2019s due time to the stream, ms (log)",
                                 "part of all events (log)");
    p->log_x = p->log_y = true;
    for (int i = 0; i < LOADS; i++) {
        if (!d[i].trials)
            continue;
        struct plot_series *curve = plot_series(&lab->report, p, i ? "high load" : "low load");
        for (int k = 0; k <= 100; k++) {
            double above = 1;
            for (int e = 0; e < k; e++)
                above *= 0.9; // 1 down to about 3e-5
            if (above * (double)d[i].all->count >= 1)
                plot_add(curve, (double)rt_hdr_quantile(d[i].all, 1 - above) / 1e6, above);
        }
    }
}

/* What is known of a load that was not met, and no more. */
static void say_unmet(struct lab *lab, struct section *s, const struct delivered *d,
                      const double *rates, double streams)
{
    for (int i = 0; i < LOADS; i++) {
        double due = rates[i] * streams, came = stat_spread_of(d[i].events, d[i].trials).median;
        if (d[i].trials && came < 0.9 * due)
            report_say(&lab->report, s,
                       "Under %s load %.0f events a second were delivered, of %.0f that were asked "
                       "for; a delivery counts from when its put was due, so waiting for a free "
                       "client and for earlier events is in it.",
                       load_names[i], came, due);
    }
}

static void show(struct lab *lab, struct section *s, const struct delivered *d, const double *rates,
                 double streams)
{
    show_loads(lab, s, d, rates);
    if (d[0].trials && d[1].trials)
        compare_with_article(lab, s, d);
    say_unmet(lab, s, d, rates, streams);
    draw_cdf(lab, s, d);
}

static void show_memory(struct lab *lab, struct section *s, const struct watching *w,
                        uint64_t before, uint64_t after)
{
    static const struct column columns[] = {{"streams", "", false, 0},
                                            {"connections", "", false, 0},
                                            {"resident before", "MiB", false, 1},
                                            {"with all streams", "MiB", false, 1},
                                            {"a stream", "bytes", false, 0}};
    if (!before || !after)
        return; // not a member of ours
    struct table *t =
        report_table(&lab->report, s, "watch-memory", "Memory of the member", columns, 5);
    struct cell *row = table_row(&lab->report, t);
    row[0] = cell_number(w->stream_count);
    row[1] = cell_number(w->connection_count);
    row[2] = cell_number((double)before / (1 << 20));
    row[3] = cell_number((double)after / (1 << 20));
    row[4] = cell_number(((double)after - (double)before) / w->stream_count);
    t->note = "Resident memory of the process before and after the streams were opened, before any "
              "put; connections are in it. The streams are opened once a run, so this is one "
              "reading, without a spread.";
    report_say(&lab->report, s,
               "A stream costs the member %.0f bytes of resident memory, its part of the %u "
               "connections included, by the one reading of this run.",
               row[4].number.median, w->connection_count);
}

static int64_t length_of(const struct lab *lab)
{
    return lab_choose(lab, lab->options->trial_ns, 10 * RT_SECOND, 3 * RT_SECOND);
}

static int64_t trials_of(const struct lab *lab)
{
    return lab_choose(lab, lab->options->trials, FULL_TRIALS, QUICK_TRIALS);
}

static double opening_s(const struct lab *lab)
{
    return (double)lab->options->streams / OPENED_PER_S;
}

double watch_seconds(const struct lab *lab)
{
    return opening_s(lab) + (double)length_of(lab) / 1e9 * LOADS * (double)trials_of(lab);
}

static void note_load(const struct watching *w, int load, double rate, int64_t length_ns,
                      uint32_t trials)
{
    struct rt_string facts = {0};
    rt_string_printf(&facts,
                     "\"cluster\": \"%s\", \"load\": {\"kind\": \"put\", \"loop\": \"open\", "
                     "\"rate\": %.9g, \"clients\": %d, \"value_bytes\": %d, \"length_s\": %.9g, "
                     "\"streams\": %u, \"connections\": %u}",
                     w->cluster->name, rate, PUTTERS, VALUE_BYTES, (double)length_ns / 1e9,
                     w->stream_count, w->connection_count);
    note_run(w->lab, "watch", load_names[load], trials, rt_string_cstr(&facts));
    rt_string_deinit(&facts);
}

static bool run_watching(struct watching *w, struct section *s, struct why *why)
{
    struct lab *lab = w->lab;
    double rates[LOADS] = {lab->options->rate ? (double)lab->options->rate / 10 : LOW_RATE,
                           lab->options->rate ? (double)lab->options->rate : HIGH_RATE};
    int64_t length = length_of(lab);
    uint32_t trials = (uint32_t)trials_of(lab);
    struct delivered *d = rt_alloc_zero(LOADS * sizeof *d);
    for (int i = 0; i < LOADS; i++)
        d[i].all = rt_hdr_counts_new();
    progress_step(lab, opening_s(lab), "watch: opening %u streams", w->stream_count);
    uint64_t before = member_resident_bytes(cluster_leader(w->cluster));
    bool ok = open_all(w, why);
    uint64_t after = member_resident_bytes(cluster_leader(w->cluster));
    for (uint32_t t = 0; t < trials && ok && !lab_is_stopped(lab); t++)
        for (int n = 0; n < LOADS && ok && !lab_is_stopped(lab); n++) {
            int i = t % 2 ? LOADS - 1 - n : n;
            progress_step(lab, (double)length / 1e9, "watch: %s load, %u of %u", load_names[i],
                          t + 1, trials);
            ok = run_trial(w, load_names[i], rates[i], length, &d[i], why);
            note_load(w, i, rates[i], length, d[i].trials);
        }
    show(lab, s, d, rates, w->stream_count);
    if (ok)
        show_memory(lab, s, w, before, after);
    if (d[0].trials)
        report_check(&lab->report, s, ok && atomic_load(&w->wrong) == 0,
                     "Every stream got every event once and in order: %" PRIu64
                     " puts, %u streams, %" PRIu64 " events.",
                     atomic_load(&w->put), w->stream_count, atomic_load(&w->received));
    close_all(w);
    for (int i = 0; i < LOADS; i++)
        rt_free(d[i].all);
    rt_free(d);
    return ok;
}

enum outcome run_watch(struct lab *lab, struct section *s, struct why *why)
{
    struct cluster *c =
        cluster_start(lab, &(struct cluster_spec){.name = "watch", .members = 1}, why);
    if (!c)
        return lab_outcome(lab, false);
    struct watching *w = rt_alloc_zero(sizeof *w);
    w->lab = lab;
    w->cluster = c;
    w->stream_count = (uint32_t)lab->options->streams;
    w->connection_count = w->stream_count < CONNECTIONS_MAX ? w->stream_count : CONNECTIONS_MAX;
    w->connections = rt_alloc_zero(w->connection_count * sizeof *w->connections);
    w->streams = rt_alloc_zero(w->stream_count * sizeof *w->streams);
    rt_string_printf(
        &s->setup,
        "One member%s, %u watch streams over %u connections, all on the same range, so that each "
        "put makes an event for every stream; puts of %d bytes by an open loop.",
        c->is_ours ? " of its own" : " (the leader)", w->stream_count, w->connection_count,
        VALUE_BYTES);
    bool ok = run_watching(w, s, why);
    struct why dead;
    if (!ok && !cluster_is_whole(c, &dead))
        *why = dead;
    rt_free(w->streams);
    rt_free(w->connections);
    rt_free(w);
    cluster_stop(c);
    return lab_outcome(lab, ok);
}
