/* cmd/kvlab/programs.c: see programs.h. */
#include "cmd/kvlab/programs.h"
#include "cmd/kvlab/run_tool.h"
#include <assert.h>
#include <rt/file.h>
#include <rt/parse.h>
#include <rt/process.h>
#include <stdio.h>
#include <unistd.h>

enum { PATH_BYTES = 640, SAID_BYTES = 4096, ENV_MAX = 256 };

static bool find_program(const char *program, char *path, size_t cap)
{
    struct rt_file *f;
    if (rt_own_program(path, cap))
        return false;
    char *slash = strrchr(path, '/');
    size_t used = (size_t)(slash + 1 - path);
    if ((size_t)snprintf(slash + 1, cap - used, "tests/bench/runtime/%s", program) >= cap - used)
        return false;
    if (rt_file_open(path, RT_OPEN_READ, 0, &f))
        return false;
    rt_file_close(f); // only looked at
    return true;
}

static bool is_there(const char *path)
{
    struct rt_file *f;
    if (rt_file_open(path, RT_OPEN_READ, 0, &f))
        return false;
    rt_file_close(f); // only looked at
    return true;
}

bool programs_are_built(struct lab *lab, const struct variant *variants, uint32_t count,
                        struct why *why)
{
    char path[PATH_BYTES];
    (void)lab;
    for (uint32_t i = 0; i < count; i++) {
        if (variants[i].optional || find_program(variants[i].program, path, sizeof path))
            continue;
        why_set(why,
                "the program tests/bench/runtime/%s is not beside kvlab (make experiments "
                "builds it)",
                variants[i].program);
        return false;
    }
    return true;
}

/* ---- One run ---- */

/* A line of `name value unit`; others are passed over. False: too many figures. */
static bool read_line(struct variant_results *r, const char *line, size_t len)
{
    char name[40], number[40], unit[12];
    double value;
    const char *end = line + len, *at = memchr(line, ' ', len);
    const char *second = at ? memchr(at + 1, ' ', (size_t)(end - at - 1)) : NULL;
    if (!second || (size_t)(at - line) >= sizeof name || (size_t)(second - at) > sizeof number ||
        (size_t)(end - second) > sizeof unit)
        return true;
    snprintf(name, sizeof name, "%.*s", (int)(at - line), line);
    snprintf(number, sizeof number, "%.*s", (int)(second - at - 1), at + 1);
    snprintf(unit, sizeof unit, "%.*s", (int)(end - second - 1), second + 1);
    if (rt_parse_double(number, &value))
        return true;
    uint32_t i = 0;
    while (i < r->figure_count && strcmp(r->figures[i].name, name) != 0)
        i++;
    if (i == VARIANT_FIGURES_MAX)
        return false;
    if (i == r->figure_count) {
        if (r->trials)
            return true; // not in the first run: no figure of all
        r->figure_count++;
        snprintf(r->figures[i].name, sizeof name, "%s", name);
        snprintf(r->figures[i].unit, sizeof unit, "%s", unit);
    }
    r->figures[i].values[r->trials] = value;
    return true;
}

static bool read_figures(struct variant_results *r, const char *said, struct why *why)
{
    uint32_t before = r->figure_count;
    for (const char *line = said; *line;) {
        size_t len = strcspn(line, "\n");
        if (!read_line(r, line, len)) {
            why_set(why, "%s prints more than %d figures", r->variant->program,
                    VARIANT_FIGURES_MAX);
            return false;
        }
        line += len + (line[len] == '\n');
    }
    if (!before && !r->figure_count) {
        why_set(why, "%s printed no figure: %.200s", r->variant->program, said);
        return false;
    }
    r->trials++;
    return true;
}

/* Our environment with the variant's settings before it: the first of a name counts. */
static const char *const *environment_of(const struct variant *v, struct rt_arena *arena)
{
    const char **envp = rt_arena_alloc(arena, ENV_MAX * sizeof *envp);
    int n = 0;
    for (int i = 0; v->settings[i]; i++)
        envp[n++] = v->settings[i];
    for (char **old = environ; *old && n < ENV_MAX - 1; old++)
        envp[n++] = *old;
    envp[n] = NULL;
    return envp;
}

static bool run_variant(struct lab *lab, struct variant_results *r, struct why *why)
{
    const struct variant *v = r->variant;
    struct rt_arena arena;
    char path[PATH_BYTES], log[480];
    const char *argv[8];
    int n = 0;
    if (!find_program(v->program, path, sizeof path)) {
        why_set(why, "%s went away", v->program);
        return false;
    }
    argv[n++] = path;
    for (int i = 0; v->args[i]; i++)
        argv[n++] = v->args[i];
    argv[n] = NULL;
    rt_arena_init(&arena);
    char *said = rt_arena_alloc(&arena, SAID_BYTES);
    snprintf(log, sizeof log, "%s/program.txt", lab->folder);
    int status =
        run_tool_in(&lab->leftovers, argv, environment_of(v, &arena), log, said, SAID_BYTES, why);
    rt_unlink(log);
    if (status > 0)
        why_set(why, "%s ended with status %d: %.300s", v->program, status, said);
    bool ok = status == 0 && read_figures(r, said, why);
    rt_arena_deinit(&arena);
    return ok;
}

/* ---- Rounds ---- */

static bool write_raw(struct lab *lab, const char *name, const struct variant_results *all,
                      uint32_t count, struct why *why)
{
    char path[120];
    struct rt_string csv = {0};
    rt_string_printf(&csv, "variant,trial,figure,value,unit\n");
    for (uint32_t i = 0; i < count; i++)
        for (uint32_t t = 0; t < all[i].trials; t++)
            for (uint32_t f = 0; f < all[i].figure_count; f++)
                rt_string_printf(&csv, "%s,%u,%s,%.9g,%s\n", all[i].variant->id, t + 1,
                                 all[i].figures[f].name, all[i].figures[f].values[t],
                                 all[i].figures[f].unit);
    snprintf(path, sizeof path, "raw/%s.csv", name);
    return lab_write(lab, path, &csv, why);
}

static bool is_left_out(const struct variant *v)
{
    char path[PATH_BYTES];
    return (v->needs && !is_there(v->needs)) ||
           (v->optional && !find_program(v->program, path, sizeof path));
}

bool programs_run(struct lab *lab, const char *name, const struct variant *variants, uint32_t count,
                  uint32_t trials, double seconds, struct variant_results *out, struct why *why)
{
    assert(count <= VARIANTS_MAX);
    assert(trials <= TRIALS_MAX);
    uint32_t present = 0;
    for (uint32_t i = 0; i < count; i++) {
        out[i].variant = &variants[i];
        out[i].absent = is_left_out(&variants[i]);
        present += !out[i].absent;
    }
    bool ok = true;
    for (uint32_t t = 0; t < trials && ok; t++)
        for (uint32_t n = 0; n < count && ok && !lab_is_stopped(lab); n++) {
            struct variant_results *r = &out[t % 2 ? count - 1 - n : n];
            if (r->absent)
                continue;
            progress_step(lab, seconds / present, "%s: %s, %u of %u", name, r->variant->label,
                          t + 1, trials);
            ok = run_variant(lab, r, why);
        }
    struct why later;
    bool written = write_raw(lab, name, out, count, &later);
    if (ok && !written)
        *why = later;
    return (ok || lab_is_stopped(lab)) && written;
}

enum outcome programs_compare(struct lab *lab, struct section *s, const struct programs_spec *spec,
                              struct why *why)
{
    if (!programs_are_built(lab, spec->variants, spec->count, why))
        return OUTCOME_SKIPPED;
    if (spec->setup)
        rt_string_printf(&s->setup, "%s", spec->setup);
    struct variant_results *all = rt_alloc_zero(VARIANTS_MAX * sizeof *all);
    bool ok = programs_run(lab, spec->name, spec->variants, spec->count, spec->trials,
                           spec->seconds, all, why);
    uint32_t measured = 0;
    while (measured < spec->needed && all[measured].trials)
        measured++;
    if (measured == spec->needed)
        spec->show(lab, s, all);
    rt_free(all);
    return lab_outcome(lab, ok);
}

/* ---- Figures ---- */

const struct variant_figure *variant_figure(const struct variant_results *r, const char *name)
{
    for (uint32_t i = 0; i < r->figure_count; i++)
        if (strcmp(r->figures[i].name, name) == 0)
            return &r->figures[i];
    return NULL;
}

struct stat_spread variant_spread(const struct variant_results *r, const char *name)
{
    const struct variant_figure *f = variant_figure(r, name);
    return f ? stat_spread_of(f->values, r->trials) : (struct stat_spread){0};
}

struct stat_difference variant_difference(const struct lab *lab, const struct variant_results *a,
                                          const struct variant_results *b, const char *name)
{
    const struct variant_figure *fa = variant_figure(a, name), *fb = variant_figure(b, name);
    if (!fa || !fb)
        return (struct stat_difference){0};
    return stat_difference_of(fa->values, fb->values, a->trials < b->trials ? a->trials : b->trials,
                              (uint64_t)lab->options->seed);
}
