/* cmd/kvlab/steal.c: a lopsided load, with stealing and without: who does the work, and how long it waits. */
#include "cmd/kvlab/programs.h"
#include "cmd/kvlab/replication.h"

enum { OFF, ON, VARIANTS };
enum { FULL_TRIALS = 20, QUICK_TRIALS = 6 };
static const double round_s = 4.5;
static const struct variant variants[VARIANTS] = {
    [OFF] = {.label = "stealing off", .id = "off", .program = "steal", .args = {"off"}},
    [ON] = {.label = "stealing on", .id = "on", .program = "steal", .args = {"on"}},
};

static void show(struct lab *lab, struct section *s, const struct variant_results *all)
{
    static const struct column columns[] = {{"setting", "", false, 0},
                                            {"taken by another P", "%", true, 1},
                                            {"P50 of a task", "us", true, 0},
                                            {"P99 of a task", "us", true, 0},
                                            {"longest", "us", true, 0}};
    static const char *const figures[] = {"moved", "latency_p50", "latency_p99", "latency_max"};
    struct table *t =
        report_table(&lab->report, s, "steal", "Tasks that all begin on one P", columns, 5);
    for (int i = 0; i < VARIANTS; i++) {
        struct cell *row = table_row(&lab->report, t);
        row[0] = cell_text(variants[i].label);
        for (int f = 0; f < 4; f++)
            row[1 + f] = cell_spread(variant_spread(&all[i], figures[f]));
    }
    t->note = "From when a task was due to its end. Without stealing what is taken comes from the "
              "global queue "
              "only, where preempted and overflowing work goes.";
    for (int f = 1; f < 3; f++) {
        struct stat_difference d = variant_difference(lab, &all[OFF], &all[ON], figures[f]);
        say_difference(lab, s, f == 1 ? "P50" : "P99", "Stealing on against off", "us", &d,
                       variant_spread(&all[OFF], figures[f]).median);
    }
    double on = variant_spread(&all[ON], "moved").median,
           off = variant_spread(&all[OFF], "moved").median;
    report_check(&lab->report, s, on > off,
                 "With stealing on more of the tasks run on another P than where they began: %.1f "
                 "%% against "
                 "%.1f.",
                 on, off);
}

static uint32_t trials_of(const struct lab *lab)
{
    return (uint32_t)lab_choose(lab, lab->options->trials, FULL_TRIALS, QUICK_TRIALS);
}

double steal_seconds(const struct lab *lab) { return round_s * trials_of(lab); }

enum outcome run_steal(struct lab *lab, struct section *s, struct why *why)
{
    const char *setup = rt_arena_printf(
        &lab->arena,
        "One goroutine starts 200 tasks of about 10 us each every 5 ms, on as many Ps as there are "
        "CPUs; 400 batches a run, %u runs of each setting in turns.",
        trials_of(lab));
    return programs_compare(lab, s,
                            &(struct programs_spec){.name = "steal",
                                                    .setup = setup,
                                                    .variants = variants,
                                                    .count = VARIANTS,
                                                    .needed = VARIANTS,
                                                    .trials = trials_of(lab),
                                                    .seconds = round_s,
                                                    .show = show},
                            why);
}
