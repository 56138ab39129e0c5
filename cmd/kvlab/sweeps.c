/* cmd/kvlab/sweeps.c: one thing changed in steps, the rest as in the article's table. */
#include "cmd/kvlab/replication.h"
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>

enum { SWEEP_TRIALS = 6, SWEEP_QUICK_TRIALS = 2, POINTS_MAX = 10 };

struct sweep {
    const char *id, *title, *x_label;
    bool log_x;
    const struct column *first; // the column of what is changed
    const char *note;           // NULL: none
};

static int64_t sweep_trials(const struct lab *lab)
{
    return lab_choose(lab, lab->options->trials, SWEEP_TRIALS, SWEEP_QUICK_TRIALS);
}
static int64_t sweep_length_ns(const struct lab *lab)
{
    return lab_choose(lab, lab->options->trial_ns, 3 * RT_SECOND, 300 * RT_MS);
}

static struct load_spec sweep_load(const struct lab *lab)
{
    struct load_spec load = replication_load(lab);
    load.length_ns = sweep_length_ns(lab);
    load.warmup_ns = load.length_ns / 8;
    return load;
}

/* The table and the curves of a sweep. */
static void show(struct lab *lab, struct section *s, const struct sweep *sweep,
                 const struct measured *m, uint32_t count)
{
    if (!m[0].trials)
        return; // stopped before it began
    const struct column columns[] = {*sweep->first,
                                     {"P50", "ms", true, 2},
                                     {"P99", "ms", true, 2},
                                     {"jitter", "ms", true, 2},
                                     {"answered", "puts/s", true, 0},
                                     {"P50 against the first", "ms", true, 2},
                                     {"P99 against the first", "ms", true, 2}};
    struct table *t = report_table(&lab->report, s, sweep->id, sweep->title, columns, 7);
    struct plot *p = report_plot(&lab->report, s, sweep->id, sweep->title, PLOT_LINES,
                                 sweep->x_label, "latency, ms");
    struct plot_series *p50 = plot_series(&lab->report, p, "P50"),
                       *p99 = plot_series(&lab->report, p, "P99");
    t->note = measured_note(lab, sweep->note, m, count);
    p->log_x = sweep->log_x;
    p->log_y = true;
    for (uint32_t i = 0; i < count && m[i].trials; i++) {
        struct cell *row = table_row(&lab->report, t);
        row[0] = sweep->first->digits < 0 ? cell_text(m[i].setting->label)
                                          : cell_number(m[i].setting->x);
        row[1] = cell_spread(measured_spread(&m[i], FIGURE_P50));
        row[2] = cell_spread(measured_spread(&m[i], FIGURE_P99));
        row[3] = cell_spread(measured_spread(&m[i], FIGURE_STDDEV));
        row[4] = cell_spread(measured_spread(&m[i], FIGURE_RATE));
        for (int f = 0; f < 2 && i; f++) {
            struct stat_difference d =
                measured_difference(lab, &m[0], &m[i], f ? FIGURE_P99 : FIGURE_P50);
            row[5 + f] = cell_interval(&d);
        }
        plot_add_spread(p50, m[i].setting->x, measured_spread(&m[i], FIGURE_P50));
        plot_add_spread(p99, m[i].setting->x, measured_spread(&m[i], FIGURE_P99));
    }
}

/* From the first to the last point, by the test. */
static void say_ends(struct lab *lab, struct section *s, const struct sweep *sweep,
                     const struct measured *m, uint32_t count)
{
    uint32_t last = count;
    while (last > 0 && !m[last - 1].trials)
        last--;
    if (last < 2)
        return;
    struct stat_difference d = measured_difference(lab, &m[0], &m[last - 1], FIGURE_P50);
    const char *what = rt_arena_printf(&lab->report.arena, "%s, %s against %s", sweep->title,
                                       m[last - 1].setting->label, m[0].setting->label);
    say_difference(lab, s, "P50", what, "ms", &d, measured_spread(&m[0], FIGURE_P50).median);
}

static bool run_sweep(struct lab *lab, struct section *s, const struct sweep *sweep,
                      struct setting *settings, uint32_t count, struct why *why)
{
    assert(count <= POINTS_MAX);
    struct measured *m = rt_alloc_zero(count * sizeof *m);
    bool ok = trials_run(lab, settings, count, (uint32_t)sweep_trials(lab), sweep->id, m, why);
    show(lab, s, sweep, m, count);
    say_ends(lab, s, sweep, m, count);
    measured_free(m, count);
    rt_free(m);
    return ok;
}

static struct setting point(struct lab *lab, struct cluster *c, double x, const char *unit)
{
    const char *label = rt_arena_printf(&lab->report.arena, "%.0f%s", x, unit);
    return (struct setting){
        .label = label, .id = label, .cluster = c, .load = sweep_load(lab), .x = x};
}

static const double windows[] = {1, 2, 4, 8, 32, 128, 512}, windows_quick[] = {1, 8, 512};
static const double sizes[] = {64, 256, 1024, 4096, 16384, 65536},
                    sizes_quick[] = {64, 1024, 16384};
static const double rates[] = {100, 250, 500, 1000, 2000, 4000}, rates_quick[] = {100, 500, 2000};
static const double delays_ms[] = {0, 1, 2, 5, 10, 20}, delays_quick[] = {0, 5, 20};
#define POINTS_OF(lab, many, few)                                                                  \
    ((lab)->options->quick ? sizeof(few) / sizeof((few)[0]) : sizeof(many) / sizeof((many)[0]))

static bool sweep_window(struct lab *lab, struct section *s, struct cluster *c, struct why *why)
{
    static const struct column first = {"MaxInflightMsgs", "", false, 0};
    static const struct sweep sweep = {
        "sweep-window", "MaxInflightMsgs", "MaxInflightMsgs (log)", true, &first, NULL};
    struct setting settings[POINTS_MAX];
    uint32_t count = POINTS_OF(lab, windows, windows_quick);
    for (uint32_t i = 0; i < count; i++) {
        settings[i] = point(lab, c, (lab->options->quick ? windows_quick : windows)[i], "");
        settings[i].knobs[0] = (struct knob_value){"max-inflight-msgs", settings[i].label};
    }
    return run_sweep(lab, s, &sweep, settings, count, why) &&
           cluster_set(c, "max-inflight-msgs", "512", why);
}

static bool sweep_size(struct lab *lab, struct section *s, struct cluster *c, struct why *why)
{
    enum { BYTES_OF_ONE = 8192 }; // at the table's rate, what a disk can write: else it is the disk
    static const struct column first = {"value", "bytes", false, 0};
    const double *all = lab->options->quick ? sizes_quick : sizes;
    uint32_t count = POINTS_OF(lab, sizes, sizes_quick);
    struct setting settings[POINTS_MAX];
    double rate = sweep_load(lab).rate * BYTES_OF_ONE / all[count - 1];
    for (uint32_t i = 0; i < count; i++) {
        settings[i] = point(lab, c, all[i], "");
        settings[i].load.value_bytes = (uint32_t)settings[i].x;
        settings[i].load.rate = rate;
    }
    const struct sweep sweep = {
        "sweep-value",
        "Size of values",
        "bytes of a value (log)",
        true,
        &first,
        rt_arena_printf(&lab->report.arena,
                        "All sizes at %.0f puts/s, which the disk can write of "
                        "the largest.",
                        rate)};
    return run_sweep(lab, s, &sweep, settings, count, why);
}

static bool sweep_rate(struct lab *lab, struct section *s, struct cluster *c, struct why *why)
{
    static const struct column first = {"asked", "puts/s", false, 0};
    static const struct sweep sweep = {
        "sweep-rate", "Rate of puts", "puts a second that were asked for (log)",
        true,         &first,         NULL};
    struct setting settings[POINTS_MAX];
    uint32_t count = POINTS_OF(lab, rates, rates_quick);
    for (uint32_t i = 0; i < count; i++) {
        settings[i] = point(lab, c, (lab->options->quick ? rates_quick : rates)[i], "");
        settings[i].load.rate = settings[i].x;
    }
    return run_sweep(lab, s, &sweep, settings, count, why);
}

bool replication_members(struct lab *lab, struct section *s, struct why *why)
{
    static const struct column first = {"members", "", false, 0};
    static const struct sweep sweep = {"sweep-members", "Members", "members", false, &first, NULL};
    static const uint32_t counts[] = {1, 3, 5};
    static const char *const names[] = {"one-member", "three-members", "five-members"};
    struct setting settings[3];
    bool ok = true;
    for (int i = 0; i < 3; i++)
        settings[i].cluster = NULL;
    for (int i = 0; i < 3 && ok; i++) {
        struct cluster *c =
            cluster_start(lab, &(struct cluster_spec){.name = names[i], .members = counts[i]}, why);
        ok = c != NULL;
        settings[i] = point(lab, c, counts[i], "");
    }
    if (ok)
        ok = run_sweep(lab, s, &sweep, settings, 3, why);
    for (int i = 0; i < 3; i++)
        cluster_stop(settings[i].cluster);
    return ok || lab_is_stopped(lab);
}

/* ---- Added delays: one put at a time, so that nothing queues, and the delay is a lower bound ---- */

struct delay {
    struct sweep sweep;
    const char *knob;
    const char *bounded[3];   // the leader's stages that take at least the delay
    const char *followers[3]; // the same, of each follower
};

/* Every observation of the stage took at least the delay: the lowest step that holds one ends above it. */
static void check_bound(struct lab *lab, struct section *s, const struct delay *d,
                        const struct measured *m, const char *name, bool of_followers)
{
    int64_t delay_ns = (int64_t)(m->setting->x * 1e6);
    bool seen = false;
    for (uint32_t i = 0; i < m->stages->count; i++) {
        const struct stage *st = &m->stages->stages[i];
        if (strcmp(st->name, name) != 0 || (st->peer != 0) != of_followers || !st->counts->count)
            continue;
        uint32_t b = 0;
        while (b < RT_HDR_BUCKETS - 1 && !st->counts->buckets[b])
            b++;
        const char *whose =
            of_followers ? rt_arena_printf(&lab->report.arena, " of follower %" PRIx64, st->peer)
                         : " of the leader";
        report_check(
            &lab->report, s, rt_hdr_bucket_high(b) >= delay_ns,
            "%s %s: %s%s took at least that every time (the least is in the step from %.3f "
            "to %.3f ms, %" PRIu64 " puts).",
            d->knob, m->setting->label, name, whose, (double)rt_hdr_bucket_low(b) / 1e6,
            (double)rt_hdr_bucket_high(b) / 1e6, st->counts->count);
        seen = true;
    }
    if (!seen)
        report_check(&lab->report, s, false, "%s %s: the server tells nothing of the stage %s.",
                     d->knob, m->setting->label, name);
}

static void check_bounds(struct lab *lab, struct section *s, const struct delay *d,
                         const struct measured *m)
{
    if (m->setting->x <= 0 || !m->stages)
        return;
    for (int i = 0; i < 3 && d->bounded[i]; i++)
        check_bound(lab, s, d, m, d->bounded[i], false);
    bool has_followers = m->setting->cluster->count > 1;
    for (int i = 0; i < 3 && d->followers[i] && has_followers; i++)
        check_bound(lab, s, d, m, d->followers[i], true);
}

static bool sweep_delay(struct lab *lab, struct section *s, struct cluster *c,
                        const struct delay *d, struct why *why)
{
    struct setting settings[POINTS_MAX];
    uint32_t count = POINTS_OF(lab, delays_ms, delays_quick);
    for (uint32_t i = 0; i < count; i++) {
        settings[i] = point(lab, c, (lab->options->quick ? delays_quick : delays_ms)[i], "ms");
        settings[i].knobs[0] = (struct knob_value){d->knob, settings[i].label};
        settings[i].load.rate = 0;
        settings[i].load.clients = 1;
    }
    struct measured *m = rt_alloc_zero(count * sizeof *m);
    bool ok = trials_run(lab, settings, count, (uint32_t)sweep_trials(lab), d->sweep.id, m, why);
    const struct measured *of[POINTS_MAX];
    for (uint32_t i = 0; i < count; i++)
        of[i] = &m[i];
    show(lab, s, &d->sweep, m, count);
    say_ends(lab, s, &d->sweep, m, count);
    replication_stage_table(
        lab, s, rt_arena_printf(&lab->report.arena, "%s-stages", d->sweep.id),
        rt_arena_printf(&lab->report.arena, "%s: stages, one put at a time", d->sweep.title), of,
        count);
    replication_stage_plot(lab, s, rt_arena_printf(&lab->report.arena, "%s-stack", d->sweep.id),
                           rt_arena_printf(&lab->report.arena,
                                           "%s: where the mean time of a put goes", d->sweep.title),
                           of, count);
    for (uint32_t i = 0; i < count; i++)
        check_bounds(lab, s, d, &m[i]);
    measured_free(m, count);
    rt_free(m);
    return cluster_set(c, d->knob, "0s", why) && ok;
}

bool replication_sweeps(struct lab *lab, struct section *s, struct cluster *c, struct why *why)
{
    static const struct column first = {"added", "ms", false, 0};
    static const struct delay fsync = {.sweep = {"sweep-fsync", "Added fsync delay",
                                                 "ms added to each sync of the log", false, &first,
                                                 NULL},
                                       .knob = "debug-fsync-delay",
                                       .bounded = {"C"},
                                       .followers = {"E.sync"}};
    static const struct delay network = {.sweep = {"sweep-network", "Added network delay",
                                                   "ms added on the way to another member", false,
                                                   &first, NULL},
                                         .knob = "debug-network-delay",
                                         .followers = {"E.network"}};
    bool ok =
        sweep_window(lab, s, c, why) && sweep_size(lab, s, c, why) && sweep_rate(lab, s, c, why);
    return ok && (lab_is_stopped(lab) ||
                  (sweep_delay(lab, s, c, &fsync, why) && sweep_delay(lab, s, c, &network, why)));
}

double replication_sweep_seconds(const struct lab *lab)
{
    bool quick = lab->options->quick;
    double points = quick ? 3 + 3 + 3 + 3 + 3 + 3 : 7 + 6 + 6 + 6 + 6 + 3;
    return points * (double)sweep_trials(lab) * (double)sweep_length_ns(lab) / 1e9;
}
