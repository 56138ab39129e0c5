/* cmd/kvlab/growth.c: which stages of a put grow from the default to both knobs, whether the leader's fsync
 * (C) and the follower's fsync and answer (E) grow more than the others, and whether more on slow disks:
 * what the article says of its table. Each growth is a trial's mean put against its pair's. */
#include "cmd/kvlab/replication.h"
#include <math.h>
#include <stdio.h>

enum { DISKS = 3, ENDS = 2, FULL_TRIALS = 6, QUICK_TRIALS = 6, CLIENTS = 8 };

static const char *const whole[] = {"total", NULL}, *const queued[] = {"queued", NULL},
                         *const leaders[] = {"C", NULL}, *const followers[] = {"E", NULL},
                         *const both[] = {"C", "E", NULL};

static uint32_t pairs_of(const struct measured *a, const struct measured *b)
{
    return a->trials < b->trials ? a->trials : b->trials;
}

/* By pair: how much more the mean put waits for these stages in b than in a. */
static uint32_t growths(const struct measured *a, const struct measured *b,
                        const char *const *stages, double *out)
{
    double from[TRIALS_MAX], to[TRIALS_MAX];
    uint32_t pairs = pairs_of(a, b);
    measured_waited(a, stages, from);
    measured_waited(b, stages, to);
    for (uint32_t i = 0; i < pairs; i++)
        out[i] = to[i] - from[i];
    return pairs;
}

/* ---- In the article's table ---- */

/* Every stage on the path whose growth is shown, each by its own interval. */
static void say_stages(struct lab *lab, struct section *s, const struct measured *a,
                       const struct measured *b)
{
    struct rt_string text = {0};
    for (uint32_t i = 0; i < a->by_stage_count; i++) {
        const char *const stage[] = {a->by_stage[i]->name, NULL};
        if (!a->by_stage[i]->on_path)
            continue;
        struct stat_difference d = measured_waited_difference(lab, a, b, stage);
        if (d.differs)
            rt_string_printf(&text, "%s%s %+.3f ms (%.3f to %.3f)", text.len ? ", " : "", *stage,
                             d.value, d.low, d.high);
    }
    if (text.len)
        report_say(&lab->report, s,
                   "Of the stages that the mean put waits for, these differ, each by its own 95 %% "
                   "interval: %s.",
                   rt_string_cstr(&text));
    else
        report_say(&lab->report, s,
                   "Of no single stage that the mean put waits for is a difference shown.");
    rt_string_deinit(&text);
}

/* The article's claim, held against the data: do C and E have more of the growth than the others? */
static void say_claim(struct lab *lab, struct section *s, const struct measured *a,
                      const struct measured *b)
{
    double serial[TRIALS_MAX], others[TRIALS_MAX];
    uint32_t pairs = growths(a, b, whole, others);
    growths(a, b, both, serial);
    for (uint32_t i = 0; i < pairs; i++)
        others[i] -= serial[i];
    struct stat_difference more =
        stat_difference_of(others, serial, pairs, (uint64_t)lab->options->seed);
    const char *verdict = more.low > 0 ? "more than the others, as the article says"
                          : more.high < 0
                              ? "less than the others, which is not what the article says"
                              : "neither more nor less than the others, as far as is shown; the "
                                "article says more";
    report_say(
        &lab->report, s,
        "C and E together grow by %.3f ms, all other stages by %.3f ms: C and E grow %s (the "
        "difference of the two: %.3f to %.3f ms).",
        stat_spread_of(serial, pairs).median, stat_spread_of(others, pairs).median, verdict,
        more.low, more.high);
}

void growth_say(struct lab *lab, struct section *s, const struct measured *a,
                const struct measured *b)
{
    struct stat_difference d = measured_waited_difference(lab, a, b, whole);
    if (!d.pairs)
        return; // the server tells nothing of its stages
    say_difference(lab, s, "the server\u2019s own mean time of a put",
                   "Both knobs against the default", "ms", &d,
                   measured_waited_spread(a, whole).median);
    if (d.pairs < STAT_PAIRS_MIN)
        return;
    say_stages(lab, s, a, b);
    if (d.differs && d.value > 0)
        say_claim(lab, s, a, b);
    else
        report_say(&lab->report, s,
                   "So there is no growth of which C and E could have most, as the article says.");
}

/* ---- On slow disks ---- */

static const struct {
    const char *text;
    double ms;
} disks[DISKS] = {{"0s", 0}, {"5ms", 5}, {"20ms", 20}};

static int64_t length_ns(const struct lab *lab)
{
    return lab_choose(lab, lab->options->trial_ns, 3 * RT_SECOND, 300 * RT_MS);
}
static uint32_t trials_of(const struct lab *lab)
{
    return (uint32_t)lab_choose(lab, lab->options->trials, FULL_TRIALS, QUICK_TRIALS);
}

double growth_seconds(const struct lab *lab)
{
    return DISKS * ENDS * (double)trials_of(lab) * (double)length_ns(lab) / 1e9;
}

/* Whether C and E grow more on this disk than on the one without delay. */
static struct cell compare_disk(struct lab *lab, struct section *s, const struct measured *m,
                                int disk)
{
    double none[TRIALS_MAX], here[TRIALS_MAX];
    uint32_t pairs = growths(&m[0], &m[1], both, none),
             more = growths(&m[ENDS * disk], &m[ENDS * disk + 1], both, here);
    struct stat_difference d =
        stat_difference_of(none, here, more < pairs ? more : pairs, (uint64_t)lab->options->seed);
    say_difference(lab, s, "the growth in C and E",
                   rt_arena_printf(&lab->report.arena,
                                   "Both knobs against the default, with %s added to each sync "
                                   "against none",
                                   disks[disk].text),
                   "ms", &d, 0);
    return cell_interval(&d);
}

/* m: by disk, the default and both knobs. */
static void show_disks(struct lab *lab, struct section *s, const struct measured *m)
{
    static const struct column columns[] = {
        {"added fsync delay", "ms", false, 0},
        {"default: mean put", "ms", true, 2},
        {"knobs: mean put", "ms", true, 2},
        {"growth", "ms", true, 2},
        {"growth in queued", "ms", true, 2},
        {"growth in C", "ms", true, 2},
        {"growth in E", "ms", true, 2},
        {"growth in C and E against none added", "ms", true, 2}};
    static const char *const *const stages[] = {whole, queued, leaders, followers};
    struct table *t = report_table(&lab->report, s, "replication-disks",
                                   "The growth on slower disks", columns, 8);
    for (int i = 0; i < DISKS; i++) {
        const struct measured *a = &m[ENDS * i], *b = a + 1;
        if (!pairs_of(a, b))
            continue;
        struct cell *row = table_row(&lab->report, t);
        row[0] = cell_number(disks[i].ms);
        row[1] = cell_spread(measured_waited_spread(a, whole));
        row[2] = cell_spread(measured_waited_spread(b, whole));
        for (int k = 0; k < 4; k++) {
            struct stat_difference d = measured_waited_difference(lab, a, b, stages[k]);
            row[3 + k] = cell_interval(&d);
        }
        if (i)
            row[7] = compare_disk(lab, s, m, i);
    }
    t->note = rt_arena_printf(
        &lab->report.arena,
        "The server\u2019s mean time of a put, default and both knobs, in a closed loop of %d "
        "clients: syncs of %.0f ms, one for each put, could not keep up with the rate of the "
        "article\u2019s table. The article says that the growth in C and E is most on slow disks. "
        "A put that waits for the syncs of puts before it does so in \u201cqueued\u201d (its own "
        "member\u2019s) or in E (a follower\u2019s).",
        CLIENTS, disks[DISKS - 1].ms);
}

bool growth_on_disks(struct lab *lab, struct section *s, struct cluster *c, struct why *why)
{
    static const char *const labels[] = {"default", "both knobs"}, *const ids[] = {"default",
                                                                                   "both"};
    struct setting *settings = rt_arena_alloc(&lab->report.arena, DISKS * ENDS * sizeof *settings);
    for (int i = 0; i < DISKS * ENDS; i++) {
        const char *disk = disks[i / ENDS].text;
        int end = i % ENDS;
        settings[i] = (struct setting){
            .label = rt_arena_printf(&lab->report.arena, "%s, fsync + %s", labels[end], disk),
            .id = rt_arena_printf(&lab->report.arena, "%s-%s", ids[end], disk),
            .cluster = c,
            .load = {.kind = LOAD_PUT,
                     .clients = CLIENTS,
                     .value_bytes = (uint32_t)lab->options->value_bytes,
                     .length_ns = length_ns(lab)},
            .knobs = {{"debug-fsync-delay", disk},
                      {"max-inflight-msgs", end ? "1" : "512"},
                      {"sync-timeout", end ? "5ms" : "0s"}}};
    }
    struct measured *m = rt_alloc_zero(DISKS * ENDS * sizeof *m);
    bool ok = trials_run(lab, settings, DISKS * ENDS, trials_of(lab), "replication-disks", m, why);
    if (m[0].by_stage_count && m[1].by_stage_count)
        show_disks(lab, s, m);
    measured_free(m, DISKS * ENDS);
    rt_free(m);
    return cluster_set(c, "debug-fsync-delay", "0s", why) &&
           cluster_set(c, "max-inflight-msgs", "512", why) &&
           cluster_set(c, "sync-timeout", "0s", why) && ok;
}
