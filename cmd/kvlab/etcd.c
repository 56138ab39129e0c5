/* cmd/kvlab/etcd.c: kvd and etcd, in turns, three members each on the same disk. */
#include "cmd/kvlab/replication.h"
#include <stdio.h>

enum { FULL_TRIALS = 10, QUICK_TRIALS = 6, LOADS = 4, RATE = 200 };

struct comparison {
    const char *id, *of; // of: "puts", or what there is in its place
    enum load_kind kind;
    bool open, many; // an open loop; as many clients as there are, or one
};
static const struct comparison loads[LOADS] = {
    {"put-one", "puts", LOAD_PUT, false, false},
    {"put-many", "puts", LOAD_PUT, false, true},
    {"put-open", "puts", LOAD_PUT, true, true},
    {"get-many", "linearizable gets", LOAD_GET, false, true}};

static double rate_of(const struct lab *lab)
{
    return lab->options->rate ? (double)lab->options->rate : RATE;
}

static const char *label_of(struct lab *lab, const struct comparison *of)
{
    struct rt_arena *arena = &lab->report.arena;
    if (of->open)
        return rt_arena_printf(arena, "%s, open loop of %.0f/s", of->of, rate_of(lab));
    if (!of->many)
        return rt_arena_printf(arena, "%s, one client", of->of);
    return rt_arena_printf(arena, "%s, %u clients", of->of, (unsigned)lab->options->clients);
}

static void add_rows(struct lab *lab, struct section *s, struct table *t, const char *label,
                     struct measured *m)
{
    static const struct {
        const char *name, *unit;
        enum figure figure;
    } rows[] = {{"answered a second", "a second", FIGURE_RATE},
                {"P50, ms", "ms", FIGURE_P50},
                {"P99, ms", "ms", FIGURE_P99}};
    for (int f = 0; f < 3; f++) {
        struct cell *row = table_row(&lab->report, t);
        struct stat_spread a = measured_spread(&m[0], rows[f].figure),
                           b = measured_spread(&m[1], rows[f].figure);
        struct stat_difference d = measured_difference(lab, &m[1], &m[0], rows[f].figure);
        row[0] = cell_text(label);
        row[1] = cell_text(rows[f].name);
        row[2] = cell_spread(a);
        row[3] = cell_spread(b);
        if (b.median > 0)
            row[4] = cell_number(a.median / b.median);
        row[5] = cell_interval(&d);
        if (f != 1)
            say_difference(lab, s, f ? "P99" : "the rate",
                           rt_arena_printf(&lab->report.arena, "%s, kvd against etcd", label),
                           rows[f].unit, &d, b.median);
    }
}

static bool run_loads(struct lab *lab, struct section *s, struct cluster **clusters,
                      struct why *why)
{
    static const struct column columns[] = {
        {"load", "", false, 0},       {"figure", "", false, 0},
        {"kvd", "", true, -1},        {"etcd", "", true, -1},
        {"kvd / etcd", "", false, 2}, {"difference, 95 % interval", "", true, -1}};
    static const char *const names[] = {"kvd", "etcd"};
    struct table *t = report_table(&lab->report, s, "etcd", "kvd beside etcd", columns, 6);
    int64_t length = lab_choose(lab, lab->options->trial_ns, 5 * RT_SECOND, 700 * RT_MS);
    uint32_t trials = (uint32_t)lab_choose(lab, lab->options->trials, FULL_TRIALS, QUICK_TRIALS);
    bool ok = true;
    for (int l = 0; l < LOADS && ok && !lab_is_stopped(lab); l++) {
        struct setting settings[2];
        const char *label = label_of(lab, &loads[l]);
        for (int i = 0; i < 2; i++)
            settings[i] = (struct setting){
                .label = names[i],
                .id = rt_arena_printf(&lab->report.arena, "%s-%s", loads[l].id, names[i]),
                .cluster = clusters[i],
                .load = {.kind = loads[l].kind,
                         .rate = loads[l].open ? rate_of(lab) : 0,
                         .clients = loads[l].many ? (uint32_t)lab->options->clients : 1,
                         .value_bytes = (uint32_t)lab->options->value_bytes,
                         .length_ns = length,
                         .warmup_ns = length / 8}};
        struct measured *m = rt_alloc_zero(2 * sizeof *m);
        ok = trials_run(lab, settings, 2, trials, "etcd", m, why);
        if (m[0].trials && m[1].trials) {
            add_rows(lab, s, t, label, m);
            struct plot *p = report_plot(
                &lab->report, s, rt_arena_printf(&lab->report.arena, "etcd-%s", loads[l].id), label,
                PLOT_LINES, "latency, ms (log)", "part that is slower (log)");
            p->log_x = p->log_y = true;
            for (int i = 0; i < 2; i++)
                measured_cdf(&m[i], plot_series(&lab->report, p, names[i]));
        }
        measured_free(m, 2);
        rt_free(m);
    }
    return ok;
}

double etcd_seconds(const struct lab *lab)
{
    double length =
        (double)lab_choose(lab, lab->options->trial_ns, 5 * RT_SECOND, 700 * RT_MS) / 1e9;
    if (!*lab->etcd_version || lab->options->endpoint_count)
        return 0;
    return length * LOADS * 2 *
           (double)lab_choose(lab, lab->options->trials, FULL_TRIALS, QUICK_TRIALS);
}

enum outcome run_etcd(struct lab *lab, struct section *s, struct why *why)
{
    if (lab->options->endpoint_count) {
        why_set(why,
                "both servers must stand on one disk, so etcd runs on clusters of its own only "
                "(without --endpoints)");
        return OUTCOME_SKIPPED;
    }
    if (!*lab->etcd_version) {
        why_set(why, "etcd is not installed (deploy/deps.sh experiments installs Debian\u2019s, or "
                     "set --etcd)");
        return OUTCOME_SKIPPED;
    }
    rt_string_printf(
        &s->setup,
        "Three members each, all on loopback and on one disk, both clusters up all the time; %s; "
        "values of %u bytes; the load at each leader. The open loop asks for %.0f puts/s.",
        lab->etcd_version, (unsigned)lab->options->value_bytes, rate_of(lab));
    struct cluster *clusters[2] = {0};
    clusters[0] = cluster_start(
        lab, &(struct cluster_spec){.name = "beside-kvd", .members = 3, .own = true}, why);
    if (clusters[0])
        clusters[1] = cluster_start(
            lab, &(struct cluster_spec){.name = "beside-etcd", .members = 3, .is_etcd = true}, why);
    bool ok = clusters[1] && run_loads(lab, s, clusters, why);
    cluster_stop(clusters[0]);
    cluster_stop(clusters[1]);
    return lab_outcome(lab, ok);
}
