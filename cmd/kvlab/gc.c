/* cmd/kvlab/gc.c: the collector's three ways beside each other: how late others wake, and how long the world
 * stands still. */
#include "cmd/kvlab/programs.h"
#include "cmd/kvlab/replication.h"

enum { HYBRID, DIJKSTRA, STOPPED, VARIANTS };
enum { FULL_TRIALS = 10, QUICK_TRIALS = 6 };
static const char *const labels[VARIANTS] = {
    "hybrid barrier, no stop", "insertion barrier, stop to rescan stacks", "stop the world"};
static const char *const words[VARIANTS] = {"hybrid", "dijkstra", "stopped"};

static void show(struct lab *lab, struct section *s, const struct variant_results *all)
{
    static const struct column columns[] = {{"way", "", false, 0},
                                            {"sleeper late: P50", "us", true, 0},
                                            {"P99", "us", true, 0},
                                            {"longest", "us", true, 0},
                                            {"world stood: longest", "us", true, 0},
                                            {"one held back: longest", "us", true, 0},
                                            {"cycles", "", true, 0},
                                            {"marking", "% of the time", true, 0},
                                            {"allocated", "MiB/s", true, 0}};
    static const char *const figures[] = {"late_p50", "late_p99", "late_max", "stop_max",
                                          "hold_max", "cycles",   "mark",     "made"};
    struct table *t =
        report_table(&lab->report, s, "gc", "A 1 ms sleeper beside the collector", columns, 9);
    for (int i = 0; i < VARIANTS; i++) {
        struct cell *row = table_row(&lab->report, t);
        row[0] = cell_text(labels[i]);
        for (int f = 0; f < 8; f++)
            row[1 + f] = cell_spread(variant_spread(&all[i], figures[f]));
    }
    t->note = "About 200 MB live, of which one goroutine replaces trees of 4,095 nodes all the "
              "time. Every tree is "
              "summed before it is replaced, and all at the end.";
    for (int i = HYBRID; i < STOPPED; i++) {
        struct stat_difference d = variant_difference(lab, &all[STOPPED], &all[i], "late_p99");
        say_difference(lab, s, "P99 of the sleeper\u2019s lateness",
                       i == HYBRID ? "The hybrid barrier against stopping the world"
                                   : "The insertion barrier against stopping the world",
                       "us", &d, variant_spread(&all[STOPPED], "late_p99").median);
    }
    struct stat_difference d = variant_difference(lab, &all[DIJKSTRA], &all[HYBRID], "stop_max");
    say_difference(lab, s, "the longest stop", "The hybrid against the insertion barrier", "us", &d,
                   variant_spread(&all[DIJKSTRA], "stop_max").median);
}

enum outcome run_gc(struct lab *lab, struct section *s, struct why *why)
{
    uint32_t trials = (uint32_t)lab_choose(lab, lab->options->trials, FULL_TRIALS, QUICK_TRIALS);
    int64_t length_ns = lab_choose(lab, lab->options->trial_ns, 5 * RT_SECOND, 1200 * RT_MS);
    struct variant variants[VARIANTS];
    for (int i = 0; i < VARIANTS; i++)
        variants[i] =
            (struct variant){.label = labels[i],
                             .id = words[i],
                             .program = "gc",
                             .args = {words[i], rt_arena_printf(&lab->arena, "%lld",
                                                                (long long)(length_ns / RT_MS))}};
    if (!programs_are_built(lab, variants, VARIANTS, why))
        return OUTCOME_SKIPPED;
    rt_string_printf(&s->setup,
                     "A program with a managed heap, on as many Ps as there are CPUs; %.1f s a "
                     "run, %u runs of each "
                     "way in turns.",
                     (double)length_ns / 1e9, trials);
    struct variant_results *all = rt_alloc_zero(VARIANTS * sizeof *all);
    bool ok = programs_run(lab, "gc", variants, VARIANTS, trials,
                           VARIANTS * ((double)length_ns / 1e9 + 1), all, why);
    if (all[HYBRID].trials && all[DIJKSTRA].trials && all[STOPPED].trials)
        show(lab, s, all);
    rt_free(all);
    return lab_outcome(lab, ok);
}
