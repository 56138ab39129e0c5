/* cmd/kvlab/leak.c: do goroutines stay behind? A soak: a time of rest, a time in which watch streams come and
 * go, and what is there when they have gone. Goroutines are counted from outside, by /metrics. */
#include "cmd/kvlab/replication.h"
#include <errno.h>
#include <inttypes.h>
#include <rt/go.h>
#include <rt/parse.h>
#include <stdio.h>

enum {
    STREAMS = 100, // at once
    CONNECTIONS = 10,
    PUTS_PER_S = 20,
    EVERY_MS = 200,
    SAMPLES_MAX = 40000,
    SETTLE_S = 10,
    OPEN_S = 20,
    LOOKS = 10,
    ALLOWED = 2, // more than that of one place is what the article's detector reports
    MEMBERS = 3
};
static const double article[2][2] = {{18, 19}, {214, 217}};

struct counted {
    double at_s, goroutines[CLUSTER_MEMBERS_MAX];
};
struct soak {
    struct lab *lab;
    struct cluster *cluster;
    struct client connections[CONNECTIONS];
    int64_t start_ns;
    struct counted *samples;
    uint32_t count;
    _Atomic bool over; // the churn; also after a failure
    _Atomic uint64_t opened, events;
    _Atomic uint32_t next;
    struct rt_waitgroup running;
    struct rt_mutex failure_lock;
    struct why failure; // failure_lock; the first counts
};

static void fail(struct soak *k, const char *text)
{
    rt_mutex_lock(&k->failure_lock);
    if (!k->failure.text[0])
        why_set(&k->failure, "%s", text);
    atomic_store(&k->over, true);
    rt_mutex_unlock(&k->failure_lock);
}

/* ---- Streams that come and go ---- */

/* The next message thrown away: 1; 0 at the stream's end; or -errno. A wait may end early, as when woken. */
static int skip_message(struct grpc_stream *s, int64_t deadline)
{
    struct rt_buf *message;
    int got;
    while ((got = grpc_stream_recv(s, &message, deadline)) == -EAGAIN)
        ;
    if (got == 1)
        rt_buf_unref(message);
    return got;
}

/* End a stream in order: say that no more is asked, and take what comes until the server has ended it. Mere
 * closing would reset it, and a server takes a flood of resets for an attack. */
static int end_stream(struct grpc_stream *s)
{
    int got;
    int64_t deadline = rt_after_ns(OPEN_S * RT_SECOND);
    grpc_stream_half_close(s);
    while ((got = skip_message(s, deadline)) == 1)
        ;
    return got;
}

/* Open a watch, wait until it is there and has an event, close it. False: it failed. */
static bool watch_once(struct soak *k, struct client *c)
{
    struct grpc_stream *s;
    struct why why = {{0}};
    if (client_watch(c, RT_BYTES("kvlab/soak/"), RT_BYTES("kvlab/soak0"), &s, &why)) {
        fail(k, why.text);
        return false;
    }
    int got = 1;
    for (int i = 0; i < 2 && got == 1; i++) // created, and an event
        got = skip_message(s, rt_after_ns(OPEN_S * RT_SECOND));
    bool served = got == 1;
    if (served)
        got = end_stream(s);
    bool ended = served && got == 0;
    if (!ended && !atomic_load(&k->over)) {
        char words[64];
        why_set(&why, "a watch stream %s: %s", served ? "did not end" : "had no event",
                got == 0 ? grpc_stream_status(s)->text : why_errno(got, words, sizeof words));
        fail(k, why.text);
    }
    grpc_stream_close(s);
    atomic_fetch_add(&k->opened, ended);
    return ended;
}

static void run_churn(void *arg)
{
    struct soak *k = arg;
    struct client *c = &k->connections[atomic_fetch_add(&k->next, 1) % CONNECTIONS];
    while (!atomic_load(&k->over) && watch_once(k, c))
        ;
    rt_waitgroup_done(&k->running);
}

/* Puts until the last stream has gone: each waits for an event. */
static void run_puts(void *arg)
{
    struct soak *k = arg;
    struct client *leader = &cluster_leader(k->cluster)->client;
    for (uint64_t n = 0; !atomic_load(&k->over); n++) {
        struct why why;
        rt_sleep_until(k->start_ns + (int64_t)(n * RT_SECOND / PUTS_PER_S));
        if (client_put(leader, RT_BYTES("kvlab/soak/key"), RT_BYTES("v"), NULL, &why)) {
            fail(k, why.text);
            break;
        }
        atomic_fetch_add(&k->events, 1);
    }
    rt_waitgroup_done(&k->running);
}

static bool start_churn(struct soak *k, struct why *why)
{
    for (int i = 0; i < CONNECTIONS; i++)
        if (client_dial(cluster_leader(k->cluster)->endpoint, &k->connections[i], why))
            return false;
    k->start_ns = rt_now_ns();
    for (int i = 0; i <= STREAMS; i++) { // end with the churn
        rt_waitgroup_add(&k->running, 1);
        if (rt_go(i ? "churn" : "soak-putter", i ? run_churn : run_puts, k)) {
            rt_waitgroup_done(&k->running);
            fail(k, "no goroutine for a stream");
        }
    }
    return true;
}

/* Until the streams are spread over their lives; at the beginning all open at once. */
static void wait_spread(struct soak *k)
{
    int64_t deadline = rt_after_ns(OPEN_S * RT_SECOND);
    while (atomic_load(&k->opened) < 3 * STREAMS && !atomic_load(&k->over) &&
           rt_now_ns() < deadline && !lab_is_stopped(k->lab))
        rt_sleep_ns(20 * RT_MS);
}

static void stop_churn(struct soak *k)
{
    atomic_store(&k->over, true);
    rt_waitgroup_wait(&k->running, RT_FOREVER);
    for (int i = 0; i < CONNECTIONS; i++)
        client_close(&k->connections[i]);
}

/* ---- Counting ---- */

static bool count_all(struct soak *k, double *out, struct why *why)
{
    for (uint32_t i = 0; i < k->cluster->count; i++)
        if (client_metric(k->cluster->members[i].endpoint, "go_goroutines", &out[i], why))
            return false;
    return true;
}

/* Count for so long; what was counted is samples [*from, *to). */
static bool watch_for(struct soak *k, int64_t begun_ns, int64_t length_ns, uint32_t *from,
                      uint32_t *to, struct why *why)
{
    int64_t end = rt_after_ns(length_ns);
    *from = k->count;
    while (rt_now_ns() < end && !lab_is_stopped(k->lab) && k->count < SAMPLES_MAX) {
        struct counted *c = &k->samples[k->count];
        c->at_s = (double)(rt_now_ns() - begun_ns) / 1e9;
        if (!count_all(k, c->goroutines, why) || !cluster_is_whole(k->cluster, why))
            return false;
        *to = ++k->count;
        rt_sleep_ns(EVERY_MS * RT_MS);
    }
    *to = k->count;
    return *to > *from;
}

/* The median of a quarter of a phase, 0 the first and 3 the last, of one member. */
static double quarter(const struct soak *k, uint32_t from, uint32_t to, int which, uint32_t member)
{
    double values[256];
    uint32_t length = to - from, count = 0;
    uint32_t a = from + length * (uint32_t)which / 4, b = from + length * ((uint32_t)which + 1) / 4;
    uint32_t step = (b - a) / 256 + 1;
    for (uint32_t i = a; i < (b > a ? b : a + 1) && count < 256; i += step)
        values[count++] = k->samples[i].goroutines[member];
    return stat_median(values, count);
}

/* ---- The member's own detector ---- */

struct verdict {
    bool told;
    char line[200], leaks_text[400]; // its first line; the leaks it names
    uint64_t before, now, leaks;
};

/* Let every member look 10 times in about so long. A member without such a page is told so by told. */
static void start_detectors(struct soak *k, int64_t length_ns)
{
    char target[96], period[32];
    struct http_answer a = {0};
    struct why why;
    int64_t period_ns = length_ns / (LOOKS + 2);
    snprintf(target, sizeof target, "/debug/leaks/start?period=%s&rounds=%d",
             rt_format_duration(period_ns - period_ns % RT_MS, period), LOOKS);
    for (uint32_t i = 0; i < k->cluster->count; i++)
        if (*k->cluster->members[i]
                 .metrics) // what it answers is seen when it is asked for its verdict
            client_http(k->cluster->members[i].metrics, "POST", target, &a, &why);
    http_answer_deinit(&a);
}

static uint64_t number_after(const char *text, const char *word)
{
    char digits[24];
    uint64_t value = 0;
    const char *at = strstr(text, word);
    if (!at)
        return 0;
    at += strlen(word);
    snprintf(digits, sizeof digits, "%.*s", (int)strspn(at, "0123456789"), at);
    return rt_parse_u64(digits, &value) ? 0 : value;
}

/* "done: round 10 of 10, threshold 2, goroutines 214 -> 217, leaks 0", then a line a leak. */
static void ask_detector(const struct member *m, struct verdict *out)
{
    struct http_answer a = {0};
    struct why why;
    *out = (struct verdict){0};
    if (*m->metrics && client_http(m->metrics, "POST", "/debug/leaks/stop", &a, &why) == 0 &&
        a.status == 200) {
        const char *text = rt_string_cstr(&a.body);
        size_t len = strcspn(text, "\n");
        snprintf(out->line, sizeof out->line, "%.*s", (int)len, text);
        snprintf(out->leaks_text, sizeof out->leaks_text, "%s", text + len + (text[len] != 0));
        out->told = strstr(out->line, "leaks ") != NULL;
        out->before = number_after(out->line, "goroutines ");
        out->now = number_after(out->line, "-> ");
        out->leaks = number_after(out->line, "leaks ");
    }
    http_answer_deinit(&a);
}

/* ---- The experiment ---- */

struct phases {
    uint32_t rest[2], busy[2];
    struct verdict verdicts[2][CLUSTER_MEMBERS_MAX]; // at rest, busy
    double before[CLUSTER_MEMBERS_MAX], after[CLUSTER_MEMBERS_MAX];
};

/* The detector's own goroutine is gone by then. What stayed behind does not go; what is still on its way out does, so it gets its time. */
static bool wait_settled(struct soak *k, struct phases *p, struct why *why)
{
    int64_t deadline = rt_after_ns(SETTLE_S * RT_SECOND);
    for (;;) {
        if (!count_all(k, p->after, why))
            return false;
        bool settled = true;
        for (uint32_t i = 0; i < k->cluster->count; i++)
            settled = settled && p->after[i] <= p->before[i];
        if (settled || rt_now_ns() > deadline)
            return true;
        rt_sleep_ns(EVERY_MS * RT_MS);
    }
}

/* What the members' own detectors say, of both times. */
static void show_verdicts(struct soak *k, struct section *s, const struct phases *p)
{
    static const struct column columns[] = {{"time", "", false, 0},
                                            {"member", "", false, 0},
                                            {"goroutines at the baseline", "", false, 0},
                                            {"at the last look", "", false, 0},
                                            {"leaks", "", false, 0},
                                            {"article: baseline", "", false, 0},
                                            {"article: at last", "", false, 0}};
    struct report *r = &k->lab->report;
    if (!p->verdicts[0][0].told) {
        report_say(r, s, "The members have no leak detector that can be asked from outside%s.",
                   k->cluster->is_ours ? "" : " (kvlab asks members of its own only)");
        return;
    }
    struct table *t = report_table(r, s, "leak-detector",
                                   "What the members\u2019 leak detector says", columns, 7);
    uint64_t leaks = 0;
    const char *first = "";
    for (int i = 0; i < 2; i++)
        for (uint32_t m = 0; m < k->cluster->count; m++) {
            const struct verdict *v = &p->verdicts[i][m];
            if (!v->told)
                continue;
            struct cell *row = table_row(r, t);
            row[0] = cell_text(i ? "watch streams come and go" : "at rest");
            row[1] = cell_text(rt_arena_printf(&r->arena, "%s%s", k->cluster->members[m].name,
                                               m == k->cluster->leader ? ", leading" : ""));
            row[2] = cell_number((double)v->before);
            row[3] = cell_number((double)v->now);
            row[4] = cell_number((double)v->leaks);
            if (!i || m == k->cluster->leader) { // the streams are the leader's
                row[5] = cell_number(article[i][0]);
                row[6] = cell_number(article[i][1]);
            }
            leaks += v->leaks;
            if (v->leaks && !*first)
                first = v->leaks_text;
        }
    t->note = "Looks at all goroutines in turn, a period apart; more than two that wait in one "
              "place and were not "
              "there at the baseline are a leak (rt/leak.h).";
    report_check(r, s, leaks == 0, "No member\u2019s detector reports a leak%s%.300s.",
                 leaks ? ": " : "", first);
}

static void show(struct soak *k, struct section *s, const struct phases *p)
{
    static const struct column columns[] = {{"time", "", false, 0},
                                            {"streams opened and closed", "", false, 0},
                                            {"goroutines at first", "", false, 0},
                                            {"at last", "", false, 0},
                                            {"article: at first", "", false, 0},
                                            {"article: at last", "", false, 0}};
    struct report *r = &k->lab->report;
    uint32_t leader = k->cluster->leader;
    struct table *t = report_table(r, s, "leak", "Goroutines of the leader", columns, 6);
    for (int i = 0; i < 2; i++) {
        const uint32_t *span = i ? p->busy : p->rest;
        struct cell *row = table_row(r, t);
        row[0] = cell_text(i ? "watch streams come and go" : "at rest");
        row[1] = cell_number(i ? (double)atomic_load(&k->opened) : 0);
        row[2] = cell_number(quarter(k, span[0], span[1], 0, leader));
        row[3] = cell_number(quarter(k, span[0], span[1], 3, leader));
        row[4] = cell_number(article[i][0]);
        row[5] = cell_number(article[i][1]);
    }
    t->note = "Medians of the first and of the last quarter of each time. The article\u2019s "
              "counts are of "
              "its own server.";
    struct plot *plot = report_plot(r, s, "leak", "Goroutines over time", PLOT_LINES, "seconds",
                                    "goroutines of a member");
    for (uint32_t m = 0; m < k->cluster->count; m++) {
        const char *name = rt_arena_printf(&r->arena, "%s%s", k->cluster->members[m].name,
                                           m == leader ? ", leading" : "");
        struct plot_series *curve = plot_series(r, plot, name);
        uint32_t step = k->count / 2000 + 1;
        for (uint32_t i = 0; i < k->count; i += step)
            plot_add(curve, k->samples[i].at_s, k->samples[i].goroutines[m]);
    }
    for (uint32_t m = 0; m < k->cluster->count; m++)
        report_check(
            r, s, p->after[m] <= p->before[m] + ALLOWED,
            "When the streams have gone %s has %.0f goroutines; before they came it had %.0f.",
            k->cluster->members[m].name, p->after[m], p->before[m]);
    show_verdicts(k, s, p);
}

/* One of the two times, with the detectors on. */
static bool run_phase(struct soak *k, int64_t begun, int64_t length, uint32_t span[2],
                      struct verdict *verdicts, struct why *why)
{
    start_detectors(k, length);
    bool ok = watch_for(k, begun, length, &span[0], &span[1], why);
    for (uint32_t i = 0; i < k->cluster->count && ok; i++)
        ask_detector(&k->cluster->members[i], &verdicts[i]);
    return ok;
}

static bool run_soak(struct soak *k, struct section *s, struct phases *p, int64_t length,
                     struct why *why)
{
    int64_t begun = rt_now_ns();
    double seconds = (double)length / 1e9;
    progress_step(k->lab, seconds / 3, "leak: at rest");
    if (!run_phase(k, begun, length / 3, p->rest, p->verdicts[0], why) ||
        !count_all(k, p->before, why))
        return false;
    progress_step(k->lab, seconds * 2 / 3, "leak: watch streams come and go");
    bool ok = start_churn(k, why);
    if (ok)
        wait_spread(k);
    ok = ok && run_phase(k, begun, length * 2 / 3, p->busy, p->verdicts[1], why);
    stop_churn(k);
    if (ok && k->failure.text[0]) {
        *why = k->failure;
        ok = false;
    }
    ok = ok && wait_settled(k, p, why);
    if (ok)
        show(k, s, p);
    return ok;
}

static int64_t length_ns(const struct lab *lab)
{
    return lab_choose(lab, lab->options->soak_ns, 600 * RT_SECOND, 18 * RT_SECOND);
}

double leak_seconds(const struct lab *lab) { return (double)length_ns(lab) / 1e9; }

enum outcome run_leak(struct lab *lab, struct section *s, struct why *why)
{
    int64_t length = length_ns(lab);
    struct cluster *c = cluster_start(
        lab, &(struct cluster_spec){.name = "leak", .members = MEMBERS, .metrics = true}, why);
    if (!c)
        return lab_outcome(lab, false);
    rt_string_printf(
        &s->setup,
        "%u members%s; a third of %.0f s at rest, then %d streams at once on %d connections to the "
        "leader, each opened, waited for until it has an event, and closed; %d puts/s.",
        c->count, c->is_ours ? " of its own" : "", (double)length / 1e9, STREAMS, CONNECTIONS,
        PUTS_PER_S);
    struct soak *k = rt_alloc_zero(sizeof *k);
    k->lab = lab;
    k->cluster = c;
    k->samples = rt_alloc(SAMPLES_MAX * sizeof *k->samples);
    struct phases *p = rt_alloc_zero(sizeof *p);
    bool ok = run_soak(k, s, p, length, why);
    struct why dead;
    if (!ok && !cluster_is_whole(c, &dead))
        *why = dead;
    rt_free(p);
    rt_free(k->samples);
    rt_free(k);
    cluster_stop(c);
    return lab_outcome(lab, ok);
}
