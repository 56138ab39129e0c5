/* cmd/kvlab/replication.c: the article's table, the 2x2 of the knobs, and sweeps. */
#include "cmd/kvlab/replication.h"
#include <inttypes.h>
#include <stdio.h>

enum { TABLE_RATE = 500, SETTINGS_2X2 = 4, FULL_TRIALS = 10, QUICK_TRIALS = 6 };

struct load_spec replication_load(const struct lab *lab)
{
    const struct lab_options *o = lab->options;
    int64_t length = lab_choose(lab, o->trial_ns, 10 * RT_SECOND, 600 * RT_MS);
    return (struct load_spec){.kind = LOAD_PUT,
                              .rate = (double)(o->rate ? o->rate : TABLE_RATE),
                              .clients = (uint32_t)o->clients,
                              .value_bytes = (uint32_t)o->value_bytes,
                              .length_ns = length,
                              .warmup_ns = length / 8};
}

/* ---- The article's table ---- */

static const struct {
    const char *name;
    enum figure figure;
    double from, to;
} article[] = {{"P50", FIGURE_P50, 2.1, 3.8},
               {"P99", FIGURE_P99, 18.7, 26.4},
               {"jitter (standard deviation)", FIGURE_STDDEV, 4.3, 7.9}};

/* The stages that the article says grow, as the mean put waits for them. */
static const char *const serial[] = {"C", "E"};

static void add_stage_rows(struct lab *lab, struct table *t, const struct measured *a,
                           const struct measured *b)
{
    for (int i = 0; i < 2; i++) {
        const char *const stage[] = {serial[i], NULL};
        struct stat_difference d = measured_waited_difference(lab, a, b, stage);
        struct stat_spread from = measured_waited_spread(a, stage),
                           to = measured_waited_spread(b, stage);
        if (!d.pairs)
            continue; // the server tells nothing of its stages
        struct cell *row = table_row(&lab->report, t);
        row[0] = cell_text(i ? "E, waited for by the mean put" : "C, waited for by the mean put");
        row[3] = cell_text("grows");
        row[4] = cell_spread(from);
        row[5] = cell_spread(to);
        if (from.median > 0)
            row[6] = cell_number(to.median / from.median);
        row[7] = cell_interval(&d);
    }
}

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
              "SyncTimeout=5ms. Latency as the client sees it. C is the leader\u2019s fsync, E the "
              "follower\u2019s fsync and answer; of the two a put waits for the later.";
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
    add_stage_rows(lab, t, a, b);
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
    report_said_difference(s, d);
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
                                            {"window stalls", "a trial", true, 0},
                                            {"syncs", "a trial", true, 0},
                                            {"sync overruns", "a trial", true, 0}};
    struct table *t = report_table(&lab->report, s, "replication-2x2",
                                   "Both knobs, alone and together", columns, 10);
    t->note =
        measured_note(lab,
                      "Stalls, syncs and overruns are the leader\u2019s: a stall is a time when "
                      "entries waited for a follower because MaxInflightMsgs was used up.",
                      m, SETTINGS_2X2);
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
        for (int c = 0; c < TALLIES; c++) {
            struct stat_spread counted = stat_spread_of(m[i].tallies[c], m[i].trials);
            if (counted.trials)
                row[7 + c] = cell_spread(counted);
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
        growth_say(lab, s, &m[0], &m[3]);
        knobs_table(lab, s, m);
        for (int i = 0; i < SETTINGS_2X2; i++)
            replication_check_sums(lab, s, &m[i]);
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
    struct cluster *c =
        cluster_start(lab, &(struct cluster_spec){.name = "replication", .members = 3}, why);
    if (!c)
        return lab_outcome(lab, false);
    describe(lab, s, c);
    bool ok = run_2x2(lab, s, c, why) && (lab_is_stopped(lab) || growth_on_disks(lab, s, c, why)) &&
              (lab_is_stopped(lab) || replication_sweeps(lab, s, c, why));
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
           growth_seconds(lab) + replication_sweep_seconds(lab);
}
