/* cmd/kvlab/programs.h: comparisons by programs beside kvlab (tests/bench/runtime): each does one kind of
 * work, checks it, and prints lines of `name value unit`. They run in turns as trials of settings do: in
 * every round each variant once, the order turned round from one round to the next. */
#pragma once
#include "cmd/kvlab/trials.h"

enum { VARIANTS_MAX = 8, VARIANT_FIGURES_MAX = 24 };

struct variant {
    const char *label, *id;            // id: in file names
    const char *program;               // "defers": below tests/bench/runtime beside kvlab
    const char *args[5], *settings[4]; // settings: "KVD_MAXPROCS=1"; each ends in NULL
    const char *needs;                 // a file without which it is left out; NULL: none
    bool optional;                     // left out when its program is not built
};
struct variant_figure {
    char name[40], unit[12];
    double values[TRIALS_MAX];
};
struct variant_results {
    const struct variant *variant;
    bool absent;     // left out
    uint32_t trials; // that are complete
    uint32_t figure_count;
    struct variant_figure figures[VARIANT_FIGURES_MAX];
};

/* Is there what is not optional? False with why, which says how to build it. */
bool programs_are_built(struct lab *lab, const struct variant *variants, uint32_t count,
                        struct why *why);
/* Run `trials` rounds; `out` has one element a variant, zeroed by the caller. `seconds`: about how long a
 * round takes. False with why; when the user stops it, true with fewer trials.  Context: parks. */
bool programs_run(struct lab *lab, const char *name, const struct variant *variants, uint32_t count,
                  uint32_t trials, double seconds, struct variant_results *out, struct why *why);

/* A whole experiment: skipped with why when a program is not built, else run and shown. */
struct programs_spec {
    const char *name;
    const char *setup; // of the section; NULL: as it is
    const struct variant *variants;
    uint32_t count;
    uint32_t needed; // `show` is called when each of the first `needed` variants has a trial
    uint32_t trials;
    double seconds; // about how long a round takes
    void (*show)(struct lab *lab, struct section *s, const struct variant_results *all);
};
enum outcome programs_compare(struct lab *lab, struct section *s, const struct programs_spec *spec,
                              struct why *why);

/* NULL when the program does not print such a figure, or did not run. */
const struct variant_figure *variant_figure(const struct variant_results *r, const char *name);
struct stat_spread variant_spread(const struct variant_results *r, const char *name);
/* b against a, over the rounds both have; no pairs when one has no such figure. */
struct stat_difference variant_difference(const struct lab *lab, const struct variant_results *a,
                                          const struct variant_results *b, const char *name);
