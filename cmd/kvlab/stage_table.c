/* cmd/kvlab/stage_table.c: the stages of a put by setting, as a table and as stacked bars. */
#include "cmd/kvlab/replication.h"
#include <inttypes.h>
#include <math.h>
#include <stdio.h>

enum { STAGES_SHOWN_MAX = 24 };

/* Stages on the critical path, in the order a put passes them. */
static uint32_t path_stages(const struct stage_reading *r, const struct stage **out, uint32_t cap)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < r->count && n < cap; i++)
        if (r->stages[i].on_path && r->stages[i].peer == 0)
            out[n++] = &r->stages[i];
    return n;
}

/* ---- The table ---- */

static const char *const part_names[STAGE_PARTS] = {"waited for", "mean", "P50", "P99"};
enum { FEW_PARTS = STAGE_MEAN + 1 };

static const char *row_name(struct lab *lab, const struct stage_trials *row)
{
    struct rt_arena *arena = &lab->report.arena;
    return row->peer ? rt_arena_printf(arena, "%s of %08" PRIx64, row->name, row->peer >> 32)
                     : rt_arena_printf(arena, "%s", row->name);
}

static void fill_row(struct cell *cells, const struct measured *m, const struct stage_trials *like,
                     uint32_t parts)
{
    const struct stage_trials *row = measured_stage(m, like->name, like->peer);
    for (uint32_t p = 0; row && p < parts; p++) {
        struct stat_spread spread = stat_spread_of(row->ms[p], m->trials);
        if (spread.trials)
            cells[p] = cell_spread(spread);
    }
}

/* The leader's own stages, then the client's rows, then the followers' stages. */
static int place_of(const struct stage_trials *row)
{
    return row->of_client ? 1 : row->peer ? 2 : 0;
}

void replication_stage_table(struct lab *lab, struct section *s, const char *id, const char *title,
                             const struct measured *const *m, uint32_t count)
{
    enum { SHOWN_MAX = (TABLE_COLUMNS_MAX - 1) / FEW_PARTS };
    struct column columns[TABLE_COLUMNS_MAX] = {{"stage", "", false, 0}};
    const struct measured *of[SHOWN_MAX];
    uint32_t shown = 0;
    for (uint32_t i = 0; i < count && shown < SHOWN_MAX; i++)
        if (m[i]->by_stage_count)
            of[shown++] = m[i];
    if (!shown)
        return;
    uint32_t parts = shown * STAGE_PARTS < TABLE_COLUMNS_MAX ? STAGE_PARTS : FEW_PARTS;
    for (uint32_t i = 0; i < shown; i++)
        for (uint32_t p = 0; p < parts; p++)
            columns[1 + parts * i + p] = (struct column){
                rt_arena_printf(&lab->report.arena, "%s: %s", of[i]->setting->label, part_names[p]),
                "ms", true, 3};
    struct table *t = report_table(&lab->report, s, id, title, columns, 1 + parts * shown);
    for (int place = 0; place < 3; place++)
        for (uint32_t k = 0; k < of[0]->by_stage_count; k++) {
            const struct stage_trials *like = of[0]->by_stage[k];
            if (place_of(like) != place)
                continue;
            struct cell *row = table_row(&lab->report, t);
            row[0] = cell_text(row_name(lab, like));
            for (uint32_t i = 0; i < shown; i++)
                fill_row(&row[1 + parts * i], of[i], like, parts);
        }
    t->note =
        "As the leader measured them, trial by trial, warm-up included; \u201cof 0123abcd\u201d: "
        "of the follower whose id begins so. \u201cwaited for\u201d is what the mean put waited "
        "for in this stage: in a trial these add up to the total. The other columns are the stage "
        "itself, also where it ran beside another. \u201cas the client saw it\u201d is of the "
        "same puts, \u201cclient and network\u201d what its mean has beyond the total\u2019s: "
        "in an open loop also the wait for a free client.";
}

/* ---- What adds up ---- */

/* Exact: the sums of the stages on the path are the sum of the totals. */
void replication_check_sums(struct lab *lab, struct section *s, const struct measured *m)
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

/* ---- The bars ---- */

/* Of the mean put of all trials, what it waited for in this stage. */
static double path_mean_ms(const struct stage_reading *r, const struct stage *st)
{
    const struct stage *total = stages_find(r, "total");
    return total && total->counts->count ? (double)st->path_ns / (double)total->counts->count / 1e6
                                         : 0;
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

/* The height of what is not the server's. What cannot be drawn is said. */
static double outside_ms(struct lab *lab, struct section *s, const struct measured *m)
{
    if (!m->client_puts)
        return 0;
    double ms = (double)m->client_ns / (double)m->client_puts / 1e6 - total_mean_ms(m);
    if (ms >= 0)
        return ms;
    report_say(
        &lab->report, s,
        "%s: the client\u2019s mean is %.3f ms below the server\u2019s of the same puts, which no "
        "bar can show; it is drawn as none.",
        m->setting->label, -ms);
    return 0;
}

static void add_ends(struct lab *lab, struct section *s, struct plot *p,
                     const struct measured *const *m, uint32_t count, const char **names,
                     const double *rest)
{
    struct plot_series *others = plot_series(&lab->report, p, "other stages"),
                       *client = plot_series(&lab->report, p, stage_outside);
    for (uint32_t i = 0, bar = 0; i < count; i++) {
        if (!m[i]->stages)
            continue;
        plot_add(others, bar, rest[bar]);
        plot_add(client, bar, outside_ms(lab, s, m[i]));
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
    add_ends(lab, s, p, m, count, names, rest);
}
