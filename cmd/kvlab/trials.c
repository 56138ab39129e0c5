/* cmd/kvlab/trials.c: rounds of trials. */
#include "cmd/kvlab/trials.h"
#include <assert.h>
#include <math.h>
#include <stdio.h>

enum {
    ALL_MAX = 8 << 20
}; // samples kept of a setting for its distribution; later ones are left out

static bool set_knobs(const struct setting *s, struct why *why)
{
    for (int k = 0; k < SETTING_KNOBS_MAX && s->knobs[k].name; k++)
        if (!cluster_set(s->cluster, s->knobs[k].name, s->knobs[k].value, why))
            return false;
    return true;
}

static void keep(struct measured *m, const struct load_result *r)
{
    uint32_t t = m->trials++;
    const double values[FIGURES] = {r->p50_ms,  r->p90_ms,    r->p95_ms, r->p99_ms, r->p999_ms,
                                    r->mean_ms, r->stddev_ms, r->max_ms, r->per_s};
    for (int f = 0; f < FIGURES; f++)
        m->figures[f][t] = values[f];
    size_t count = m->all_count + r->count > ALL_MAX ? ALL_MAX - m->all_count : r->count;
    if (m->all_count + count > m->all_cap) {
        m->all_cap = 2 * (m->all_count + count);
        m->all_ms = rt_realloc(m->all_ms, m->all_cap * sizeof *m->all_ms);
    }
    memcpy(m->all_ms + m->all_count, r->sorted_ms, count * sizeof *m->all_ms);
    m->all_count += count;
    m->is_sorted = false;
}

/* Readings of all members; only where the server tells. */
static bool read_all(struct cluster *c, struct stage_reading **out, struct why *why)
{
    for (uint32_t i = 0; i < c->count; i++) {
        out[i] = c->has_insight ? stages_read(&c->members[i], why) : NULL;
        if (c->has_insight && !out[i])
            return false;
    }
    return true;
}

static void add_windows(struct measured *m, struct cluster *c, struct stage_reading **before,
                        struct stage_reading **after)
{
    for (uint32_t i = 0; i < c->count; i++) {
        if (!before[i] || !after[i] || !stages_subtract(after[i], before[i]))
            continue;
        struct stage_reading **sum = i == c->leader ? &m->stages : &m->followers;
        *sum = stages_merge(*sum, after[i]);
    }
}

static bool run_trial(struct lab *lab, const struct setting *s, const char *name,
                      struct measured *m, struct why *why)
{
    struct cluster *c = s->cluster;
    struct stage_reading *before[CLUSTER_MEMBERS_MAX] = {0}, *after[CLUSTER_MEMBERS_MAX] = {0};
    char file[120];
    if (!set_knobs(s, why) || !cluster_find_leader(c, why))
        return false;
    struct load_result *r = NULL;
    bool ok =
        read_all(c, before, why) && (r = load_run(c, &s->load, why)) && read_all(c, after, why);
    if (ok && !lab_is_stopped(lab)) { // one that was cut short is no trial
        add_windows(m, c, before, after);
        keep(m, r);
        snprintf(file, sizeof file, "%s-%s-%u", name, s->id, m->trials);
        ok = load_write_raw(lab, r, file, why);
    }
    for (uint32_t i = 0; i < c->count; i++) {
        stages_free(before[i]);
        stages_free(after[i]);
    }
    load_free(r);
    return ok;
}

double trials_seconds(const struct setting *settings, uint32_t count, uint32_t trials)
{
    double seconds = 0;
    for (uint32_t i = 0; i < count; i++)
        seconds += (double)settings[i].load.length_ns / 1e9 * trials;
    return seconds;
}

bool trials_run_one(struct lab *lab, const struct setting *s, const char *name, uint32_t t,
                    uint32_t trials, struct measured *m, struct why *why)
{
    progress_step(lab, (double)s->load.length_ns / 1e9, "%s: %s, %u of %u", name, s->label, t + 1,
                  trials);
    return run_trial(lab, s, name, m, why);
}

bool trials_run(struct lab *lab, const struct setting *settings, uint32_t count, uint32_t trials,
                const char *name, struct measured *out, struct why *why)
{
    assert(trials <= TRIALS_MAX);
    for (uint32_t i = 0; i < count; i++)
        out[i].setting = &settings[i];
    for (uint32_t t = 0; t < trials; t++)
        for (uint32_t n = 0; n < count; n++) {
            uint32_t i = t % 2 ? count - 1 - n : n;
            if (lab_is_stopped(lab))
                return true;
            if (!trials_run_one(lab, &settings[i], name, t, trials, &out[i], why))
                return lab_is_stopped(lab);
        }
    return true;
}

void measured_free(struct measured *m, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        rt_free(m[i].all_ms);
        stages_free(m[i].stages);
        stages_free(m[i].followers);
    }
}

struct stat_spread measured_spread(const struct measured *m, enum figure f)
{
    return stat_spread_of(m->figures[f], m->trials);
}

struct stat_difference measured_difference(const struct lab *lab, const struct measured *a,
                                           const struct measured *b, enum figure f)
{
    uint32_t pairs = a->trials < b->trials ? a->trials : b->trials;
    return stat_difference_of(a->figures[f], b->figures[f], pairs,
                              (uint64_t)lab->options->seed + (uint64_t)f);
}

void measured_cdf(struct measured *m, struct plot_series *s)
{
    enum { STEPS = 240 };
    if (!m->is_sorted)
        stat_sort(m->all_ms, m->all_count);
    m->is_sorted = true;
    for (int i = 0; i <= STEPS && m->all_count; i++) {
        double above = pow(10, -5.0 * i / STEPS); // the part that is slower: 1 down to 1e-5
        if (above * (double)m->all_count < 1)
            break;
        plot_add(s, stat_quantile(m->all_ms, m->all_count, 1 - above), above);
    }
}

double stage_mean_ms(const struct stage *s) { return rt_hdr_mean(s->counts) / 1e6; }
