/* cmd/kvlab/preemption.c: puts beside a goroutine that computes inside the leader. */
#include "cmd/kvlab/replication.h"
#include <inttypes.h>
#include <math.h>
#include <rt/go.h>
#include <stdio.h>

enum {
    RATE = 100,
    FULL_TRIALS = 10,
    QUICK_TRIALS = 6,
    SETTINGS = 3,
    MARKS_EVERY_MS = 50,
    MARKS_MAX = 4000,
    BURN_MS = 200
};
static const char *const burn = "200ms";

/* ---- Preemptions of the leader over time ---- */

struct mark {
    int64_t at_ns;    // rt_now_ns
    double preempted; // since the look before
};
struct marker {
    const char *endpoint;
    int64_t every_ns, length_ns;
    _Atomic bool over;
    struct rt_note ended;
    struct mark *marks;
    uint32_t count;
};

/* A look that fails is left out, and so is the mark after it, which would be of two. */
static void watch_preemptions(void *arg)
{
    struct marker *m = arg;
    double before = 0, now = 0;
    struct why why;
    bool known = client_preemptions(m->endpoint, &before, &why) == 0;
    while (!atomic_load(&m->over)) {
        rt_sleep_ns(m->every_ns);
        bool seen = client_preemptions(m->endpoint, &now, &why) == 0;
        if (seen && known && now > before && m->count < MARKS_MAX)
            m->marks[m->count++] = (struct mark){rt_now_ns(), now - before};
        known = seen;
        before = now;
    }
    rt_note_set(&m->ended);
}

static void draw_series(struct lab *lab, struct section *s, const char *id, const char *title,
                        const struct marker *m, const struct load_result *r)
{
    struct plot *p =
        report_plot(&lab->report, s, id, title, PLOT_POINTS, "seconds", "latency of a put, ms");
    p->y2_label =
        rt_arena_printf(&lab->report.arena, "preemptions in %.0f ms", (double)m->every_ns / 1e6);
    struct plot_series *marks = plot_series(&lab->report, p, "preemptions"),
                       *puts = plot_series(&lab->report, p, "puts");
    marks->marks = marks->on_the_right = true;
    for (uint32_t i = 0; i < m->count; i++) {
        int64_t at_ns = m->marks[i].at_ns - r->started_ns; // on the puts' clock, beside them only
        if (at_ns >= 0 && at_ns <= m->length_ns)
            plot_add(marks, (double)at_ns / 1e9, m->marks[i].preempted);
    }
    if (!marks->count)
        plot_add(marks, 0, 0);
    if (load_draw(r, puts))
        report_say(&lab->report, s,
                   "%s: drawn are the fastest and the slowest of %u equal spans of time; "
                   "raw/%s-samples.csv has all %zu.",
                   title, puts->cap / 2, id, r->count);
}

static bool write_samples(struct lab *lab, const char *id, const struct load_result *r,
                          struct why *why)
{
    struct rt_string csv = {0};
    char name[80];
    rt_string_printf(&csv, "due_ns,latency_ns\n");
    for (size_t i = 0; i < r->count; i++)
        rt_string_printf(&csv, "%" PRId64 ",%" PRId64 "\n", r->samples[i].at_ns,
                         r->samples[i].latency_ns);
    snprintf(name, sizeof name, "raw/%s-samples.csv", id);
    return lab_write(lab, name, &csv, why);
}

/* One more trial whose every put is drawn, beside the preemptions. */
static bool run_series(struct lab *lab, struct section *s, const struct setting *setting,
                       const char *id, const char *title, struct why *why)
{
    struct cluster *c = setting->cluster;
    for (int k = 0; k < SETTING_KNOBS_MAX && setting->knobs[k].name; k++)
        if (!cluster_set(c, setting->knobs[k].name, setting->knobs[k].value, why))
            return false;
    struct marker *m = rt_alloc_zero(sizeof *m);
    m->endpoint = cluster_leader(c)->endpoint;
    m->length_ns = setting->load.length_ns;
    m->every_ns = m->length_ns / (MARKS_MAX / 2); // so that a long series has room, too
    if (m->every_ns < MARKS_EVERY_MS * RT_MS)
        m->every_ns = MARKS_EVERY_MS * RT_MS;
    m->marks = rt_alloc(MARKS_MAX * sizeof *m->marks);
    bool watched = rt_go("preemption-marker", watch_preemptions, m) == 0; // ends with the load
    struct load_result *r = load_run(c, &setting->load, why);
    atomic_store(&m->over, true);
    if (watched)
        rt_note_wait(&m->ended, RT_FOREVER);
    if (r)
        draw_series(lab, s, id, title, m, r);
    bool ok = r && write_samples(lab, id, r, why);
    load_free(r);
    rt_free(m->marks);
    rt_free(m);
    return ok;
}

/* ---- The comparison ---- */

static void show(struct lab *lab, struct section *s, const struct measured *m,
                 const double (*per_s)[TRIALS_MAX])
{
    if (!m[0].trials)
        return; // stopped before it began
    static const struct column columns[] = {{"setting", "", false, 0},
                                            {"P50", "ms", true, 2},
                                            {"P99", "ms", true, 2},
                                            {"jitter", "ms", true, 2},
                                            {"P99 against nothing computing", "ms", true, 2},
                                            {"preemptions", "a second", true, 1}};
    struct table *t = report_table(&lab->report, s, "preemption",
                                   "Puts beside a computation of 200 ms at a time", columns, 6);
    for (int i = 0; i < SETTINGS; i++) {
        if (!m[i].trials)
            continue;
        struct cell *row = table_row(&lab->report, t);
        row[0] = cell_text(m[i].setting->label);
        row[1] = cell_spread(measured_spread(&m[i], FIGURE_P50));
        row[2] = cell_spread(measured_spread(&m[i], FIGURE_P99));
        row[3] = cell_spread(measured_spread(&m[i], FIGURE_STDDEV));
        if (i) {
            struct stat_difference d = measured_difference(lab, &m[0], &m[i], FIGURE_P99);
            row[4] = cell_interval(&d);
        }
        row[5] = cell_spread(stat_spread_of(per_s[i], m[i].trials));
    }
    t->note = measured_note(lab, "Preemptions of the leader, by slice and by need, over a trial.",
                            m, SETTINGS);
    static const struct column head[] = {
        {"figure", "", false, 0},        {"article: off", "ms", false, 0},
        {"article: on", "ms", false, 0}, {"article: change", "%", false, 0},
        {"ours: off", "ms", true, 1},    {"ours: on", "ms", true, 1},
        {"ours: change", "%", false, 0}, {"ours: difference, 95 % interval", "ms", true, 1}};
    if (!m[1].trials || !m[2].trials)
        return;
    struct table *a = report_table(&lab->report, s, "preemption-article",
                                   "The article\u2019s figure, and ours", head, 8);
    struct cell *row = table_row(&lab->report, a);
    struct stat_spread off = measured_spread(&m[1], FIGURE_P99),
                       on = measured_spread(&m[2], FIGURE_P99);
    struct stat_difference d = measured_difference(lab, &m[1], &m[2], FIGURE_P99);
    row[0] = cell_text("P99");
    row[1] = cell_number(217);
    row[2] = cell_number(80);
    row[3] = cell_number(-63);
    row[4] = cell_spread(off);
    row[5] = cell_spread(on);
    if (off.median > 0)
        row[6] = cell_number(100 * (on.median / off.median - 1));
    row[7] = cell_interval(&d);
    say_difference(lab, s, "P99", "Preemption on against off, with the computation", "ms", &d,
                   off.median);
}

/* The claim that is ours to keep: off, the tail grows by the length of the computation; on, it does not.
 * Each holds only when the interval of the pairs' difference says so. */
static void check_tails(struct lab *lab, struct section *s, const struct measured *m)
{
    struct stat_difference off = measured_difference(lab, &m[0], &m[1], FIGURE_P99),
                           on = measured_difference(lab, &m[0], &m[2], FIGURE_P99);
    if (off.pairs < STAT_PAIRS_MIN || on.pairs < STAT_PAIRS_MIN) {
        report_say(
            &lab->report, s,
            "Whether the computation\u2019s length is in the tail is not told by %u and %u pairs "
            "(at least %d are needed).",
            off.pairs, on.pairs, STAT_PAIRS_MIN);
        return;
    }
    report_check(&lab->report, s, off.value >= BURN_MS * 0.9 && off.low >= BURN_MS / 2.0,
                 "With preemption off P99 grows by about the computation\u2019s length of %d ms or "
                 "more: by %.1f ms (%.1f to %.1f) against nothing computing.",
                 BURN_MS, off.value, off.low, off.high);
    report_check(&lab->report, s, on.high < BURN_MS,
                 "With preemption on it does not: the growth is %.1f ms, and below %d ms in all of "
                 "its interval (%.1f to %.1f).",
                 on.value, BURN_MS, on.low, on.high);
}

static void cdf(struct lab *lab, struct section *s, struct measured *m)
{
    struct plot *p =
        report_plot(&lab->report, s, "preemption-cdf", "Puts slower than a time", PLOT_LINES,
                    "latency, ms (log)", "part of all puts that is slower (log)");
    p->log_x = p->log_y = true;
    for (int i = 0; i < SETTINGS; i++)
        measured_cdf(&m[i], plot_series(&lab->report, p, m[i].setting->label));
}

/* Trials one by one, so that the preemptions of each setting are counted. */
static bool run_trials(struct lab *lab, struct setting *settings, uint32_t trials,
                       struct measured *m, double (*per_s)[TRIALS_MAX], struct why *why)
{
    for (int i = 0; i < SETTINGS; i++)
        m[i].setting = &settings[i];
    bool ok = true;
    for (uint32_t t = 0; t < trials && ok && !lab_is_stopped(lab); t++)
        for (int n = 0; n < SETTINGS && ok && !lab_is_stopped(lab); n++) {
            int i = t % 2 ? SETTINGS - 1 - n : n;
            double before, after;
            struct why untold;
            int64_t started = rt_now_ns();
            const char *endpoint = cluster_leader(settings[i].cluster)->endpoint;
            bool counted = client_preemptions(endpoint, &before, &untold) == 0;
            ok = trials_run_one(lab, &settings[i], "preemption", t, trials, &m[i], why);
            counted = counted && client_preemptions(endpoint, &after, &untold) == 0;
            per_s[i][t] = counted ? (after - before) * 1e9 / (double)(rt_now_ns() - started) : NAN;
        }
    return ok || lab_is_stopped(lab);
}

static int64_t length_ns(const struct lab *lab)
{
    return lab_choose(lab, lab->options->trial_ns, 10 * RT_SECOND, 1600 * RT_MS);
}
static uint32_t trials_of(const struct lab *lab)
{
    return (uint32_t)lab_choose(lab, lab->options->trials, FULL_TRIALS, QUICK_TRIALS);
}

double preemption_seconds(const struct lab *lab)
{
    return (SETTINGS * (double)trials_of(lab) + SETTINGS - 1) * (double)length_ns(lab) / 1e9;
}

enum outcome run_preemption(struct lab *lab, struct section *s, struct why *why)
{
    static const char *const labels[] = {"nothing computes", "computing, preemption off",
                                         "computing, preemption on"},
                             *const ids[] = {"quiet", "off", "on"};
    struct setting settings[SETTINGS];
    double per_s[SETTINGS][TRIALS_MAX];
    int64_t length = length_ns(lab);
    uint32_t trials = trials_of(lab);
    double rate = lab->options->rate ? (double)lab->options->rate : RATE;
    // One member on one P, so that the computation has nowhere else to go, as in the article's control plane.
    struct cluster *c = cluster_start(
        lab, &(struct cluster_spec){.name = "preemption", .members = 1, .procs = 1}, why);
    if (!c)
        return lab_outcome(lab, false);
    for (int i = 0; i < SETTINGS; i++)
        settings[i] = (struct setting){
            .label = labels[i],
            .id = ids[i],
            .cluster = c,
            .load = {.kind = LOAD_PUT,
                     .rate = rate,
                     .clients = (uint32_t)lab->options->clients,
                     .value_bytes = (uint32_t)lab->options->value_bytes,
                     .length_ns = length,
                     .warmup_ns = length / 8},
            .knobs = {{"preempt", i == 1 ? "off" : "on"}, {"debug-burn", i ? burn : "0s"}}};
    rt_string_printf(&s->setup,
                     "%u member%s%s, an open loop of %.0f puts/s at the leader; inside it a "
                     "goroutine computes for %s at a time without a call. Trials of %.1f s.",
                     c->count, c->count == 1 ? "" : "s", c->is_ours ? " on one P" : "", rate, burn,
                     (double)length / 1e9);
    struct measured *m = rt_alloc_zero(SETTINGS * sizeof *m);
    bool ok = run_trials(lab, settings, trials, m, per_s, why);
    show(lab, s, m, per_s);
    check_tails(lab, s, m);
    if (m[2].trials)
        cdf(lab, s, m);
    for (int i = 1; i < SETTINGS && ok && !lab_is_stopped(lab); i++) {
        progress_step(lab, (double)length / 1e9, "preemption: a series, %s", labels[i]);
        ok = run_series(
            lab, s, &settings[i], i == 1 ? "preemption-series-off" : "preemption-series-on",
            i == 1 ? "Every put over time, preemption off" : "Every put over time, preemption on",
            why);
    }
    struct why later;
    bool reset =
        cluster_set(c, "debug-burn", "0s", &later) && cluster_set(c, "preempt", "on", &later);
    if (ok && !reset)
        *why = later;
    measured_free(m, SETTINGS);
    rt_free(m);
    cluster_stop(c);
    return lab_outcome(lab, ok && reset);
}
