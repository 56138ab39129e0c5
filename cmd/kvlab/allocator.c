/* cmd/kvlab/allocator.c: blocks allocated and freed by sixteen at once: the runtime's spans with a cache a
 * P, beside one lock round one heap, and beside the allocators that others use. */
#include "cmd/kvlab/programs.h"
#include "cmd/kvlab/replication.h"

// The first QUICK_VARIANTS are all that the quick form has time for.
enum { OURS, ONE_LOCK, MIMALLOC, JEMALLOC, GLIBC, GO, VARIANTS, QUICK_VARIANTS = JEMALLOC };
enum { FULL_TRIALS = 10, QUICK_TRIALS = 6, SIZES = 4 };
static const double round_s = 6;
#define LIBRARY "/usr/lib/x86_64-linux-gnu/"
static const struct variant variants[VARIANTS] = {
    [OURS] = {.label = "kvd\u2019s, a cache a P", .id = "ours", .program = "alloc"},
    [ONE_LOCK] = {.label = "one lock", .id = "onelock", .program = "alloc_onelock"},
    [GLIBC] = {.label = "glibc", .id = "glibc", .program = "alloc_malloc"},
    [MIMALLOC] = {.label = "mimalloc",
                  .id = "mimalloc",
                  .program = "alloc_malloc",
                  .settings = {"LD_PRELOAD=" LIBRARY "libmimalloc.so.2"},
                  .needs = LIBRARY "libmimalloc.so.2"},
    [JEMALLOC] = {.label = "jemalloc",
                  .id = "jemalloc",
                  .program = "alloc_malloc",
                  .settings = {"LD_PRELOAD=" LIBRARY "libjemalloc.so.2"},
                  .needs = LIBRARY "libjemalloc.so.2"},
    [GO] = {.label = "Go", .id = "go", .program = "go/alloc", .optional = true},
};
static const struct {
    const char *figure, *name;
} sizes[SIZES] = {{"b16", "16 B"}, {"b64", "64 B"}, {"b1024", "1 KiB"}, {"b16384", "16 KiB"}};

static void show_threads(struct lab *lab, struct section *s, const struct variant_results *all,
                         const char *id, const char *title)
{
    struct column columns[VARIANTS + 1] = {{"block", "", false, 0}};
    uint32_t shown[VARIANTS], count = 0;
    for (uint32_t i = 0; i < VARIANTS; i++)
        if (all[i].trials) {
            shown[count++] = i;
            columns[count] = (struct column){variants[i].label, "ns", true, 1};
        }
    struct table *t = report_table(&lab->report, s, id, title, columns, count + 1);
    for (int z = 0; z < SIZES; z++) {
        struct cell *row = table_row(&lab->report, t);
        row[0] = cell_text(sizes[z].name);
        for (uint32_t c = 0; c < count; c++)
            row[1 + c] = cell_spread(variant_spread(&all[shown[c]], sizes[z].figure));
    }
    t->note = "Allocated and freed, wall time over the number of blocks of all together.";
}

static void compare_with_article(struct lab *lab, struct section *s,
                                 const struct variant_results *all)
{
    static const struct column head[] = {{"figure", "", false, 0},
                                         {"article: one lock", "ns", false, 0},
                                         {"article: caches", "ns", false, 1},
                                         {"article: ratio", "", false, 3},
                                         {"ours: one lock", "ns", true, 1},
                                         {"ours: caches", "ns", true, 1},
                                         {"ours: ratio", "", false, 3}};
    static const char big[] = "b16384";
    struct table *a = report_table(&lab->report, s, "allocator-article",
                                   "The article\u2019s figure, and ours", head, 7);
    struct stat_spread lock = variant_spread(&all[ONE_LOCK], big),
                       ours = variant_spread(&all[OURS], big);
    struct cell *row = table_row(&lab->report, a);
    row[0] = cell_text("16 KiB by 16 at once");
    row[1] = cell_number(124);
    row[2] = cell_number(8.3);
    row[3] = cell_number(8.3 / 124);
    row[4] = cell_spread(lock);
    row[5] = cell_spread(ours);
    if (lock.median > 0)
        row[6] = cell_number(ours.median / lock.median);
    for (int z = 0; z < SIZES; z++) {
        struct stat_difference d =
            variant_difference(lab, &all[ONE_LOCK], &all[OURS], sizes[z].figure);
        say_difference(lab, s, rt_arena_printf(&lab->report.arena, "a block of %s", sizes[z].name),
                       "Caches a P against one lock", "ns", &d,
                       variant_spread(&all[ONE_LOCK], sizes[z].figure).median);
    }
}

static void show_sixteen(struct lab *lab, struct section *s, const struct variant_results *all)
{
    show_threads(lab, s, all, "allocator-16", "By sixteen at once");
    compare_with_article(lab, s, all);
}

static void show_one(struct lab *lab, struct section *s, const struct variant_results *all)
{
    show_threads(lab, s, all, "allocator-1", "By one alone");
}

static uint32_t trials_of(const struct lab *lab)
{
    return (uint32_t)lab_choose(lab, lab->options->trials, FULL_TRIALS, QUICK_TRIALS);
}

/* The same programs, each with its word and how many at once. */
static enum outcome run_workers(
    struct lab *lab, struct section *s, const char *name, const char *setup, const char *workers,
    void (*show)(struct lab *, struct section *, const struct variant_results *), struct why *why)
{
    struct variant *these = rt_arena_copy(&lab->arena, variants, sizeof variants);
    for (int i = 0; i < VARIANTS; i++) {
        these[i].args[0] = "own";
        these[i].args[1] = workers;
    }
    return programs_compare(
        lab, s,
        &(struct programs_spec){.name = name,
                                .setup = setup,
                                .variants = these,
                                .count = lab->options->quick ? QUICK_VARIANTS : VARIANTS,
                                .needed = ONE_LOCK + 1,
                                .trials = trials_of(lab),
                                .seconds = round_s,
                                .show = show},
        why);
}

double allocator_seconds(const struct lab *lab)
{
    return (lab->options->quick ? 1 : 2) * round_s * trials_of(lab);
}

enum outcome run_allocator(struct lab *lab, struct section *s, struct why *why)
{
    const char *setup = rt_arena_printf(
        &lab->arena,
        "Rings of 256 live blocks: the oldest is freed, a new one allocated and its first and "
        "last byte written; %u runs in turns. Sixteen goroutines on as many Ps as there are "
        "CPUs for kvd\u2019s, sixteen threads for the others.",
        trials_of(lab));
    enum outcome sixteen = run_workers(lab, s, "allocator-16", setup, "16", show_sixteen, why);
    if (sixteen != OUTCOME_DONE || lab->options->quick)
        return sixteen;
    return run_workers(lab, s, "allocator-1", NULL, "1", show_one, why);
}
