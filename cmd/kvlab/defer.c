/* cmd/kvlab/defer.c: what a thousand deferred calls cost: slots in the frame beside a linked list. */
#include "cmd/kvlab/programs.h"
#include "cmd/kvlab/replication.h"

enum { LIST, LOOP, FEW, GO_FEW, VARIANTS };
enum { FULL_TRIALS = 20, QUICK_TRIALS = 10 };
static const double round_s = 0.8;
static const struct variant variants[VARIANTS] = {
    [LIST] = {.label = "a linked list, a block each",
              .id = "list",
              .program = "defers",
              .args = {"list"}},
    [LOOP] = {.label = "slots in the frame, 125 in a loop",
              .id = "loop",
              .program = "defers",
              .args = {"loop"}},
    [FEW] = {.label = "slots in the frame, 8 a function",
             .id = "few",
             .program = "defers",
             .args = {"few"}},
    [GO_FEW] = {.label = "Go, open-coded, 8 a function",
                .id = "go-few",
                .program = "go/defers",
                .args = {"few"},
                .optional = true},
};
static const char figure[] = "thousand"; // microseconds

static void show(struct lab *lab, struct section *s, const struct variant_results *all)
{
    static const struct column columns[] = {{"form", "", false, 0},
                                            {"1,000 defers", "us", true, 3},
                                            {"against the list", "times", false, 2},
                                            {"difference, 95 % interval", "us", true, 3}};
    struct table *t =
        report_table(&lab->report, s, "defer", "A thousand deferred calls", columns, 4);
    double list = variant_spread(&all[LIST], figure).median;
    for (int i = 0; i < VARIANTS; i++) {
        if (!all[i].trials)
            continue;
        struct cell *row = table_row(&lab->report, t);
        struct stat_spread spread = variant_spread(&all[i], figure);
        row[0] = cell_text(variants[i].label);
        row[1] = cell_spread(spread);
        if (i != LIST && list > 0) {
            struct stat_difference d = variant_difference(lab, &all[LIST], &all[i], figure);
            row[2] = cell_number(spread.median / list);
            row[3] = cell_interval(&d);
        }
    }
    t->note =
        "Each is a call of a function with an argument; registered, run in reverse order, counted. "
        "The list exists in the benchmark only.";
    static const struct column head[] = {
        {"figure", "", false, 0},           {"article: list", "ns", false, 0},
        {"article: frame", "ns", false, 0}, {"article: ratio", "", false, 2},
        {"ours: list", "us", true, 2},      {"ours: frame", "us", true, 2},
        {"ours: ratio", "", false, 2}};
    struct table *a = report_table(&lab->report, s, "defer-article",
                                   "The article\u2019s figure, and ours", head, 7);
    struct cell *row = table_row(&lab->report, a);
    struct stat_spread frame = variant_spread(&all[LOOP], figure);
    row[0] = cell_text("1,000 defers");
    row[1] = cell_number(428);
    row[2] = cell_number(96);
    row[3] = cell_number(96.0 / 428);
    row[4] = cell_spread(variant_spread(&all[LIST], figure));
    row[5] = cell_spread(frame);
    if (list > 0)
        row[6] = cell_number(frame.median / list);
    a->note = "The article\u2019s nanoseconds cannot be of a thousand calls (that would be a tenth "
              "of one "
              "each), so only the ratio is comparable.";
    struct stat_difference d = variant_difference(lab, &all[LIST], &all[LOOP], figure);
    say_difference(lab, s, "the time of a thousand defers",
                   "Slots in the frame against a linked list", "us", &d, list);
}

static uint32_t trials_of(const struct lab *lab)
{
    return (uint32_t)lab_choose(lab, lab->options->trials, FULL_TRIALS, QUICK_TRIALS);
}

double defer_seconds(const struct lab *lab) { return round_s * trials_of(lab); }

enum outcome run_defer(struct lab *lab, struct section *s, struct why *why)
{
    const char *setup =
        rt_arena_printf(&lab->arena,
                        "22,000 times a thousand defers by one goroutine, %u runs of each form in "
                        "turns.",
                        trials_of(lab));
    return programs_compare(lab, s,
                            &(struct programs_spec){.name = "defer",
                                                    .setup = setup,
                                                    .variants = variants,
                                                    .count = VARIANTS,
                                                    .needed = LOOP + 1,
                                                    .trials = trials_of(lab),
                                                    .seconds = round_s,
                                                    .show = show},
                            why);
}
