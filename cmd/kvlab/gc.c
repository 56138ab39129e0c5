/* cmd/kvlab/gc.c: the collector's three ways beside each other: how late others wake, and how long the world
 * stands still. */
#include "cmd/kvlab/programs.h"
#include "cmd/kvlab/replication.h"
#include <inttypes.h>

enum { HYBRID, DIJKSTRA, STOPPED, VARIANTS };
enum { FULL_TRIALS = 10, QUICK_TRIALS = 6, SECONDS_MAX = 9 };
static const char *const labels[VARIANTS] = {
    "hybrid barrier, no stop", "insertion barrier, stop to rescan stacks", "stop the world"};
static const char *const words[VARIANTS] = {"hybrid", "dijkstra", "stopped"};

static const struct {
    const char *name, *unit, *figure;
    int digits;
} shown[] = {{"sleeper late: P50", "us", "late_p50", 0},
             {"sleeper late: P99", "us", "late_p99", 0},
             {"sleeper late: longest", "us", "late_max", 0},
             {"world stood: P99", "us", "pause_p99", 0},
             {"world stood: longest", "us", "pause_max", 0},
             {"one held back: longest", "us", "hold_max", 0},
             {"cycles", "a second", "cycles", 2},
             {"marking", "ms a cycle", "mark", 0},
             {"nodes made", "M/s", "nodes", 2}};
enum { SHOWN = sizeof(shown) / sizeof(shown[0]), WAITS = 6 }; // the first are waits

static uint32_t trials_of(const struct lab *lab)
{
    return (uint32_t)lab_choose(lab, lab->options->trials, FULL_TRIALS, QUICK_TRIALS);
}

/* Of one run: whole seconds, which is the program's unit. */
static int64_t run_seconds(const struct lab *lab)
{
    int64_t s = lab_choose(lab, lab->options->trial_ns, 5 * RT_SECOND, RT_SECOND) / RT_SECOND;
    return s < 1 ? 1 : s > SECONDS_MAX ? SECONDS_MAX : s;
}

/* Figures [from, to) of `shown`. */
static struct table *show_table(struct lab *lab, struct section *s,
                                const struct variant_results *all, const char *id,
                                const char *title, int from, int to)
{
    struct column columns[1 + SHOWN] = {{"way", "", false, 0}};
    for (int f = from; f < to; f++)
        columns[1 + f - from] =
            (struct column){shown[f].name, shown[f].unit, true, shown[f].digits};
    struct table *t = report_table(&lab->report, s, id, title, columns, 1 + (uint32_t)(to - from));
    for (int i = 0; i < VARIANTS; i++) {
        struct cell *row = table_row(&lab->report, t);
        row[0] = cell_text(labels[i]);
        for (int f = from; f < to; f++)
            row[1 + f - from] = cell_spread(variant_spread(&all[i], shown[f].figure));
    }
    return t;
}

static void show_tables(struct lab *lab, struct section *s, const struct variant_results *all)
{
    struct table *t =
        show_table(lab, s, all, "gc", "A 1 ms sleeper beside the collector", 0, WAITS);
    t->note =
        "A tree of about 200 MB, of which two goroutines replace subtrees of 511 nodes all the "
        "time; at the end every subtree is counted. The hybrid way has no stop: what it holds "
        "back is one P or one goroutine at a time.";
    show_table(lab, s, all, "gc-work", "What the collector and the program did", WAITS, SHOWN);
}

/* A run without a cycle tells nothing of the collector. */
static void warn(struct lab *lab, struct section *s, const struct variant_results *all)
{
    double seconds = (double)run_seconds(lab);
    for (int i = 0; i < VARIANTS; i++)
        if (variant_spread(&all[i], "cycles").median * seconds < 0.9)
            report_say(
                &lab->report, s,
                "%s: most runs had no whole cycle, so their figures are of the machine, not of the "
                "collector; give it longer (--trial-length).",
                labels[i]);
}

static void say(struct lab *lab, struct section *s, const struct variant_results *all)
{
    for (int i = HYBRID; i < STOPPED; i++) {
        struct stat_difference d = variant_difference(lab, &all[STOPPED], &all[i], "late_p99");
        say_difference(lab, s, "P99 of the sleeper\u2019s lateness",
                       i == HYBRID ? "The hybrid barrier against stopping the world"
                                   : "The insertion barrier against stopping the world",
                       "us", &d, variant_spread(&all[STOPPED], "late_p99").median);
    }
    struct stat_difference d = variant_difference(lab, &all[DIJKSTRA], &all[HYBRID], "late_p99");
    say_difference(lab, s, "P99 of the sleeper\u2019s lateness",
                   "The hybrid against the insertion barrier", "us", &d,
                   variant_spread(&all[DIJKSTRA], "late_p99").median);
}

static void show(struct lab *lab, struct section *s, const struct variant_results *all)
{
    show_tables(lab, s, all);
    say(lab, s, all);
    warn(lab, s, all);
}

static double round_s(const struct lab *lab) { return VARIANTS * ((double)run_seconds(lab) + 1); }

double gc_seconds(const struct lab *lab) { return round_s(lab) * trials_of(lab); }

enum outcome run_gc(struct lab *lab, struct section *s, struct why *why)
{
    const char *seconds = rt_arena_printf(&lab->arena, "%" PRId64, run_seconds(lab));
    struct variant variants[VARIANTS];
    for (int i = 0; i < VARIANTS; i++)
        variants[i] = (struct variant){
            .label = labels[i], .id = words[i], .program = "gc", .args = {words[i], seconds}};
    const char *setup = rt_arena_printf(
        &lab->arena,
        "A program with a managed heap, on as many Ps as there are CPUs; %s s a run, %u "
        "runs of each way in turns.",
        seconds, trials_of(lab));
    return programs_compare(lab, s,
                            &(struct programs_spec){.name = "gc",
                                                    .setup = setup,
                                                    .variants = variants,
                                                    .count = VARIANTS,
                                                    .needed = VARIANTS,
                                                    .trials = trials_of(lab),
                                                    .seconds = round_s(lab),
                                                    .show = show},
                            why);
}
