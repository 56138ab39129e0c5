/* cmd/kvlab/replication.c: the article's table, the 2x2 of the knobs, and sweeps. */
#include "cmd/kvlab/replication.h"
#include <inttypes.h>
#include <stdio.h>

enum {
    TABLE_RATE = 500,
    SETTINGS_2X2 = 4,
    FULL_TRIALS = 10,
    QUICK_TRIALS = 6,
    STAGES_SHOWN_MAX = 24
};

struct load_spec replication_load(const struct lab *lab)
{
    const struct lab_options *o = lab->options;
    int64_t length = lab_choose(lab, o->trial_ns, 10 * RT_SECOND, 700 * RT_MS);
    return (struct load_spec){.kind = LOAD_PUT,
                              .rate = (double)(o->rate ? o->rate : TABLE_RATE),
                              .clients = (uint32_t)o->clients,
                              .value_bytes = (uint32_t)o->value_bytes,
                              .length_ns = length,
                              .warmup_ns = length / 8};
}

/* ---- Stages ---- */

/* Stages on the critical path, in the order a put passes them. */
static uint32_t path_stages(const struct stage_reading *r, const struct stage **out, uint32_t cap)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < r->count && n < cap; i++)
        if (r->stages[i].on_path && r->stages[i].peer == 0)
            out[n++] = &r->stages[i];
    return n;
}

/* Of the mean put, what it waited for in this stage. */
static double path_mean_ms(const struct stage_reading *r, const struct stage *st)
{
    const struct stage *total = stages_find(r, "total");
    return total && total->counts->count ? (double)st->path_ns / (double)total->counts->count / 1e6
                                         : 0;
}

enum { PARTS = 4 };
static const char *const part_names[PARTS] = {"waited for", "mean", "P50", "P99"};

static void stage_cells(const struct stage_reading *r, const struct stage *st, uint32_t parts,
                        struct cell *cells)
{
    if (st->on_path && !st->peer)
        cells[0] = cell_number(path_mean_ms(r, st));
    if (!st->counts->count)
        return;
    cells[1] = cell_number(stage_mean_ms(st));
    if (parts < PARTS)
        return;
    cells[2] = cell_number((double)rt_hdr_quantile(st->counts, 0.5) / 1e6);
    cells[3] = cell_number((double)rt_hdr_quantile(st->counts, 0.99) / 1e6);
}

void replication_stage_table(struct lab *lab, struct section *s, const char *id, const char *title,
                             const struct measured *const *m, uint32_t count)
{
    struct column columns[TABLE_COLUMNS_MAX] = {{"stage", "", false, 0}};
    const struct measured *of[(TABLE_COLUMNS_MAX - 1) / 2];
    uint32_t shown = 0;
    for (uint32_t i = 0; i < count && shown < (TABLE_COLUMNS_MAX - 1) / 2; i++)
        if (m[i]->stages)
            of[shown++] = m[i];
    if (!shown)
        return;
    uint32_t parts = shown * PARTS < TABLE_COLUMNS_MAX ? PARTS : 2;
    for (uint32_t i = 0; i < shown; i++)
        for (uint32_t p = 0; p < parts; p++)
            columns[1 + parts * i + p] = (struct column){
                rt_arena_printf(&lab->report.arena, "%s: %s", of[i]->setting->label, part_names[p]),
                "ms", false, 3};
    struct table *t = report_table(&lab->report, s, id, title, columns, 1 + parts * shown);
    for (uint32_t k = 0; k < of[0]->stages->count && t->row_count < TABLE_ROWS_MAX; k++) {
        const struct stage *first = &of[0]->stages->stages[k];
        struct cell *row = table_row(&lab->report, t);
        row[0] = cell_text(first->peer ? rt_arena_printf(&lab->report.arena, "%s of %08" PRIx64,
                                                         first->name, first->peer >> 32)
                                       : rt_arena_printf(&lab->report.arena, "%s", first->name));
        for (uint32_t i = 0; i < shown; i++) {
            const struct stage *st = stages_same(of[i]->stages, first);
            if (st)
                stage_cells(of[i]->stages, st, parts, &row[1 + parts * i]);
        }
    }
    t->note = "As the leader measured them, all trials together, warm-up included; \u201cof "
              "0123abcd\u201d: of the follower whose id begins so. \u201cwaited "
              "for\u201d is what the mean put waited for in this stage: these add up to the "
              "total\u2019s mean. The other columns are the stage itself, also where it ran beside "
              "another. What the client sees beyond the total is the client (in an open loop also "
              "the wait for a free one) and its network.";
}

/* Exact: the sums of the stages on the path are the sum of the totals. */
static void check_sums(struct lab *lab, struct section *s, const struct measured *m)
{
    const struct stage *path[STAGES_SHOWN_MAX],
        *total = m->stages ? stages_find(m->stages, "total") : NULL;
    if (!total || !total->counts->count)
        return;
    uint32_t n = path_stages(m->stages, path, STAGES_SHOWN_MAX);
    int64_t sum = 0;
    for (uint32_t i = 0; i < n; i++)
        sum += path[i]->path_ns;
    report_check(
        &lab->report, s, n > 0 && sum == total->counts->sum_ns,
        "%s: the stages on the critical path add up to the server\u2019s own time (%" PRId64
        " ns and %" PRId64 " ns over %" PRIu64 " puts).",
        m->setting->label, sum, total->counts->sum_ns, total->counts->count);
}

static double total_mean_ms(const struct measured *m)
{
    const struct stage *total = m->stages ? stages_find(m->stages, "total") : NULL;
    return total ? stage_mean_ms(total) : 0;
}

/* One stage of all bars; one that is under a hundredth everywhere goes to the rest. */
static void add_layer(struct lab *lab, struct plot *p, const char *name,
                      const struct measured *const *m, uint32_t count, double *rest)
{
    bool seen = false;
    struct plot_series *series = NULL;
    for (int pass = 0; pass < 2; pass++) {
        for (uint32_t i = 0, bar = 0; i < count; i++) {
            if (!m[i]->stages)
                continue;
            const struct stage *st = stages_find(m[i]->stages, name);
            double ms = st ? path_mean_ms(m[i]->stages, st) : 0;
            if (pass == 0)
                seen |= ms > total_mean_ms(m[i]) / 100;
            else if (series)
                plot_add(series, bar, ms);
            else
                rest[bar] += ms;
            bar++;
        }
        if (pass == 0 && seen)
            series = plot_series(&lab->report, p, name);
    }
}

static void add_ends(struct lab *lab, struct plot *p, const struct measured *const *m,
                     uint32_t count, const char **names, const double *rest)
{
    struct plot_series *others = plot_series(&lab->report, p, "other stages"),
                       *client = plot_series(&lab->report, p, "client and network");
    for (uint32_t i = 0, bar = 0; i < count; i++) {
        if (!m[i]->stages)
            continue;
        double outside = stat_mean(m[i]->all_ms, m[i]->all_count) - total_mean_ms(m[i]);
        plot_add(others, bar, rest[bar]);
        plot_add(client, bar, outside > 0 ? outside : 0);
        names[bar++] = m[i]->setting->label;
    }
}

void replication_stage_plot(struct lab *lab, struct section *s, const char *id, const char *title,
                            const struct measured *const *m, uint32_t count)
{
    const struct stage *path[STAGES_SHOWN_MAX];
    const char **names = rt_arena_alloc(&lab->report.arena, count * sizeof *names);
    uint32_t bars = 0, n = 0;
    for (uint32_t i = 0; i < count; i++)
        if (m[i]->stages && (n = path_stages(m[i]->stages, path, STAGES_SHOWN_MAX)) > 0)
            bars++;
    if (!bars)
        return;
    struct plot *p =
        report_plot(&lab->report, s, id, title, PLOT_STACK, "setting", "mean time of a put, ms");
    p->x_names = names;
    double *rest =
        rt_arena_alloc_zero(&lab->report.arena, count * sizeof *rest); // too thin to be seen
    for (uint32_t k = 0; k < n; k++)
        add_layer(lab, p, path[k]->name, m, count, rest);
    add_ends(lab, p, m, count, names, rest);
}

/* ---- The article's table ---- */

static const struct {
    const char *name;
    enum figure figure;
    double from, to;
} article[] = {{"P50", FIGURE_P50, 2.1, 3.8},
               {"P99", FIGURE_P99, 18.7, 26.4},
               {"jitter (standard deviation)", FIGURE_STDDEV, 4.3, 7.9}};

static void article_table(struct lab *lab, struct section *s, const struct measured *a,
                          const struct measured *b)
{
    static const struct column columns[] = {
        {"figure", "", false, 0},           {"article: default", "ms", false, 1},
        {"article: knobs", "ms", false, 1}, {"article: ratio", "", false, 2},
        {"ours: default", "ms", true, 2},   {"ours: knobs", "ms", true, 2},
        {"ours: ratio", "", false, 2},      {"ours: difference, 95 % interval", "ms", true, 2}};
    struct table *t = report_table(&lab->report, s, "replication-article",
                                   "The article\u2019s table, and ours", columns, 8);
    t->note = "default: MaxInflightMsgs=512, SyncTimeout=0; knobs: MaxInflightMsgs=1, "
              "SyncTimeout=5ms. Latency as the client sees it.";
    for (int i = 0; i < 3; i++) {
        struct cell *row = table_row(&lab->report, t);
        struct stat_spread from = measured_spread(a, article[i].figure),
                           to = measured_spread(b, article[i].figure);
        struct stat_difference d = measured_difference(lab, a, b, article[i].figure);
        row[0] = cell_text(article[i].name);
        row[1] = cell_number(article[i].from);
        row[2] = cell_number(article[i].to);
        row[3] = cell_number(article[i].to / article[i].from);
        row[4] = cell_spread(from);
        row[5] = cell_spread(to);
        if (from.median > 0)
            row[6] = cell_number(to.median / from.median);
        row[7] = cell_interval(&d);
    }
}

void say_difference(struct lab *lab, struct section *s, const char *what, const char *of,
                    const char *unit, const struct stat_difference *d, double base)
{
    if (d->pairs < STAT_PAIRS_MIN)
        report_say(
            &lab->report, s,
            "%s: %u pairs are too few to call a difference of %s one (at least %d are needed).", of,
            d->pairs, what, STAT_PAIRS_MIN);
    else if (!d->differs)
        report_say(&lab->report, s,
                   "%s: no difference of %s is shown; the interval, %.2f to %.2f %s, includes 0.",
                   of, what, d->low, d->high, unit);
    else
        report_say(&lab->report, s, "%s: %s is %s by %.2f %s (95 %% interval %.2f to %.2f)%s.", of,
                   what, d->value > 0 ? "higher" : "lower", d->value > 0 ? d->value : -d->value,
                   unit, d->low, d->high,
                   base > 0 ? rt_arena_printf(&lab->report.arena, ", which is %+.0f %%",
                                              100 * d->value / base)
                            : "");
}

/* Which stages on the path grew, in words. */
static void say_growth(struct lab *lab, struct section *s, const struct measured *a,
                       const struct measured *b)
{
    const struct stage *path[STAGES_SHOWN_MAX];
    if (!a->stages || !b->stages || !stages_find(a->stages, "total") ||
        !stages_find(b->stages, "total"))
        return;
    uint32_t n = path_stages(a->stages, path, STAGES_SHOWN_MAX);
    double growth = stage_mean_ms(stages_find(b->stages, "total")) -
                    stage_mean_ms(stages_find(a->stages, "total"));
    struct rt_string text = {0};
    for (uint32_t i = 0; i < n; i++) {
        const struct stage *st = stages_find(b->stages, path[i]->name);
        double more = st ? path_mean_ms(b->stages, st) - path_mean_ms(a->stages, path[i]) : 0;
        if (growth > 0 && more > growth / 20)
            rt_string_printf(&text, "%s%s %+.3f ms", text.len ? ", " : "", path[i]->name, more);
    }
    if (growth <= 0)
        report_say(&lab->report, s,
                   "Inside the server the mean time of a put did not grow between the two settings "
                   "(%+.3f ms).",
                   growth);
    else
        report_say(&lab->report, s,
                   "Inside the server the mean put takes %+.3f ms; of the stages it waits for, "
                   "those with more than a twentieth of that: %s. (Means over all trials; no test "
                   "is made of single stages.)",
                   growth, rt_string_cstr(&text));
    rt_string_deinit(&text);
}

/* ---- The 2x2 ---- */

static void knobs_table(struct lab *lab, struct section *s, const struct measured *m)
{
    static const struct column columns[] = {{"setting", "", false, 0},
                                            {"P50", "ms", true, 2},
                                            {"P99", "ms", true, 2},
                                            {"jitter", "ms", true, 2},
                                            {"answered", "puts/s", true, 0},
                                            {"P50 against default", "ms", true, 2},
                                            {"P99 against default", "ms", true, 2},
                                            {"window stalls", "", false, 0},
                                            {"syncs", "", false, 0},
                                            {"sync overruns", "", false, 0}};
    static const char *const counters[] = {"window_stalls", "wal_syncs", "wal_sync_overruns"};
    struct table *t = report_table(&lab->report, s, "replication-2x2",
                                   "Both knobs, alone and together", columns, 10);
    t->note = "Stalls, syncs and overruns are the leader\u2019s, all trials added up: a stall is a "
              "time when entries waited for a follower because MaxInflightMsgs was used up.";
    for (int i = 0; i < SETTINGS_2X2; i++) {
        struct cell *row = table_row(&lab->report, t);
        row[0] = cell_text(m[i].setting->label);
        row[1] = cell_spread(measured_spread(&m[i], FIGURE_P50));
        row[2] = cell_spread(measured_spread(&m[i], FIGURE_P99));
        row[3] = cell_spread(measured_spread(&m[i], FIGURE_STDDEV));
        row[4] = cell_spread(measured_spread(&m[i], FIGURE_RATE));
        for (int f = 0; f < 2 && i; f++) {
            struct stat_difference d =
                measured_difference(lab, &m[0], &m[i], f ? FIGURE_P99 : FIGURE_P50);
            row[5 + f] = cell_interval(&d);
        }
        for (int c = 0; c < 3 && m[i].stages; c++) {
            int64_t value = stages_counter(m[i].stages, counters[c]);
            if (value >= 0)
                row[7 + c] = cell_number((double)value);
        }
    }
}

static void check_stalls(struct lab *lab, struct section *s, const struct measured *normal,
                         const struct measured *window1)
{
    if (!normal->stages || !window1->stages)
        return;
    int64_t none = stages_counter(normal->stages, "window_stalls"),
            some = stages_counter(window1->stages, "window_stalls");
    if (none < 0 || some < 0)
        return;
    report_check(&lab->report, s, none == 0,
                 "The default window shows no stall at this load (%" PRId64 " counted).", none);
    report_check(&lab->report, s, some > 0,
                 "MaxInflightMsgs=1 shows window stalls (%" PRId64 " counted).", some);
}

static void cdf_plot(struct lab *lab, struct section *s, struct measured *m, uint32_t count)
{
    struct plot *p =
        report_plot(&lab->report, s, "replication-cdf", "Puts slower than a time", PLOT_LINES,
                    "latency, ms (log)", "part of all puts that is slower (log)");
    p->log_x = p->log_y = true;
    for (uint32_t i = 0; i < count; i++)
        measured_cdf(&m[i], plot_series(&lab->report, p, m[i].setting->label));
}

static bool run_2x2(struct lab *lab, struct section *s, struct cluster *c, struct why *why)
{
    static const char *const labels[] = {"default", "window 1", "sync 5ms", "window 1, sync 5ms"},
                             *const ids[] = {"default", "window1", "sync5", "both"};
    struct setting settings[SETTINGS_2X2];
    uint32_t trials = (uint32_t)lab_choose(lab, lab->options->trials, FULL_TRIALS, QUICK_TRIALS);
    for (int i = 0; i < SETTINGS_2X2; i++)
        settings[i] = (struct setting){.label = labels[i],
                                       .id = ids[i],
                                       .cluster = c,
                                       .load = replication_load(lab),
                                       .knobs = {{"max-inflight-msgs", i & 1 ? "1" : "512"},
                                                 {"sync-timeout", i & 2 ? "5ms" : "0s"}}};
    struct measured *m = rt_alloc_zero(SETTINGS_2X2 * sizeof *m);
    bool ok = trials_run(lab, settings, SETTINGS_2X2, trials, "replication", m, why);
    if (m[0].trials && m[3].trials) {
        const struct measured *const ends[] = {&m[0], &m[3]}, *const all[] = {&m[0], &m[1], &m[2],
                                                                              &m[3]};
        article_table(lab, s, &m[0], &m[3]);
        for (int i = 0; i < 3; i++) {
            struct stat_difference d = measured_difference(lab, &m[0], &m[3], article[i].figure);
            say_difference(lab, s, article[i].name, "Both knobs against the default", "ms", &d,
                           measured_spread(&m[0], article[i].figure).median);
        }
        replication_stage_table(lab, s, "replication-stages", "Stages of a put", ends, 2);
        say_growth(lab, s, &m[0], &m[3]);
        knobs_table(lab, s, m);
        for (int i = 0; i < SETTINGS_2X2; i++)
            check_sums(lab, s, &m[i]);
        check_stalls(lab, s, &m[0], &m[1]);
        cdf_plot(lab, s, m, SETTINGS_2X2);
        replication_stage_plot(lab, s, "replication-stack", "Where the mean time of a put goes",
                               all, SETTINGS_2X2);
    }
    measured_free(m, SETTINGS_2X2);
    rt_free(m);
    return ok && cluster_set(c, "max-inflight-msgs", "512", why) &&
           cluster_set(c, "sync-timeout", "0s", why);
}

static void describe(struct lab *lab, struct section *s, const struct cluster *c)
{
    struct load_spec load = replication_load(lab);
    rt_string_printf(
        &s->setup,
        "%u members%s, the load at the leader: an open loop of %.0f puts/s of %u-byte values by at "
        "most %u clients; a trial is %.1f s, its first eighth not counted. "
        "The knobs are changed on the running cluster between trials.",
        c->count, c->is_ours ? " on loopback, on one disk" : " of a running cluster", load.rate,
        load.value_bytes, load.clients, (double)load.length_ns / 1e9);
}

enum outcome run_replication(struct lab *lab, struct section *s, struct why *why)
{
    progress_plan(lab, replication_seconds(lab));
    struct cluster *c =
        cluster_start(lab, &(struct cluster_spec){.name = "replication", .members = 3}, why);
    if (!c)
        return lab_outcome(lab, false);
    describe(lab, s, c);
    bool ok =
        run_2x2(lab, s, c, why) && (lab_is_stopped(lab) || replication_sweeps(lab, s, c, why));
    bool own = c->is_ours;
    cluster_stop(c);
    if (ok && own && !lab_is_stopped(lab))
        ok = replication_members(lab, s, why);
    return lab_outcome(lab, ok);
}

double replication_seconds(const struct lab *lab)
{
    struct load_spec load = replication_load(lab);
    double trial = (double)load.length_ns / 1e9;
    return trial * (double)lab_choose(lab, lab->options->trials, FULL_TRIALS, QUICK_TRIALS) *
               SETTINGS_2X2 +
           replication_sweep_seconds(lab);
}
