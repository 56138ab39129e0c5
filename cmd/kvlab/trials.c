/* cmd/kvlab/trials.c: rounds of trials. */
#include "cmd/kvlab/trials.h"
#include "cmd/kvlab/notes.h"
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

const char stage_client[] = "as the client saw it", stage_outside[] = "client and network";

static void keep(struct measured *m, const struct load_result *r)
{
    uint32_t t = m->trials++;
    const double values[FIGURES] = {r->p50_ms,  r->p90_ms,    r->p95_ms, r->p99_ms, r->p999_ms,
                                    r->mean_ms, r->stddev_ms, r->max_ms, r->per_s};
    for (int f = 0; f < FIGURES; f++)
        m->figures[f][t] = values[f];
    if (t == 0 || r->count < m->least_samples)
        m->least_samples = r->count;
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

/* The row of a stage, made when it is told of for the first time; NULL: too many. */
static struct stage_trials *stage_row(struct measured *m, const char *name, uint64_t peer)
{
    struct stage_trials *row = (struct stage_trials *)measured_stage(m, name, peer);
    if (row || m->by_stage_count == MEASURED_STAGES_MAX)
        return row;
    row = rt_alloc_zero(sizeof *row);
    snprintf(row->name, sizeof row->name, "%s", name);
    row->peer = peer;
    for (int p = 0; p < STAGE_PARTS; p++)
        for (uint32_t t = 0; t < TRIALS_MAX; t++)
            row->ms[p][t] = NAN;
    m->by_stage[m->by_stage_count++] = row;
    return row;
}

static void keep_distribution(struct stage_trials *row, uint32_t t, const struct rt_hdr_counts *c)
{
    row->ms[STAGE_MEAN][t] = rt_hdr_mean(c) / 1e6;
    row->ms[STAGE_P50][t] = (double)rt_hdr_quantile(c, 0.5) / 1e6;
    row->ms[STAGE_P99][t] = (double)rt_hdr_quantile(c, 0.99) / 1e6;
}

static void keep_stages(struct measured *m, const struct stage_reading *r,
                        const struct rt_hdr_counts *total)
{
    uint32_t t = m->trials;
    for (uint32_t i = 0; i < r->count; i++) {
        const struct stage *s = &r->stages[i];
        struct stage_trials *row = stage_row(m, s->name, s->peer);
        if (!row)
            continue;
        row->on_path = s->on_path && s->peer == 0;
        if (row->on_path)
            row->ms[STAGE_WAITED][t] = (double)s->path_ns / (double)total->count / 1e6;
        if (s->counts == total)
            row->ms[STAGE_WAITED][t] = rt_hdr_mean(total) / 1e6;
        if (s->counts->count)
            keep_distribution(row, t, s->counts);
    }
}

/* Only when both counted the same puts: every one of the trial, the warm-up's too. */
static void keep_client(struct measured *m, const struct load_result *r,
                        const struct rt_hdr_counts *total)
{
    uint32_t t = m->trials;
    struct stage_trials *outside = stage_row(m, stage_outside, 0),
                        *client = stage_row(m, stage_client, 0);
    if (!outside || !client)
        return;
    outside->of_client = client->of_client = true;
    if (r->every->count != total->count)
        return;
    keep_distribution(client, t, r->every);
    client->ms[STAGE_WAITED][t] = rt_hdr_mean(r->every) / 1e6;
    outside->ms[STAGE_WAITED][t] = (rt_hdr_mean(r->every) - rt_hdr_mean(total)) / 1e6;
    m->client_ns += r->every->sum_ns;
    m->client_puts += r->every->count;
}

static void keep_tallies(struct measured *m, const struct stage_reading *leader)
{
    static const char *const names[TALLIES] = {"window_stalls", "wal_syncs", "wal_sync_overruns"};
    for (int c = 0; c < TALLIES; c++) {
        int64_t value = leader ? stages_counter(leader, names[c]) : -1;
        m->tallies[c][m->trials] = value < 0 ? NAN : (double)value;
    }
}

/* What the members told of the trial. Returns the leader's window; NULL: there is none. */
static const struct stage_reading *add_windows(struct measured *m, struct cluster *c,
                                               struct stage_reading **before,
                                               struct stage_reading **after,
                                               const struct load_result *r)
{
    const struct stage_reading *leader = NULL;
    for (uint32_t i = 0; i < c->count; i++) {
        if (!before[i] || !after[i] || !stages_subtract(after[i], before[i]))
            continue;
        struct stage_reading **sum = i == c->leader ? &m->stages : &m->followers;
        *sum = stages_merge(*sum, after[i]);
        if (i == c->leader)
            leader = after[i];
    }
    keep_tallies(m, leader);
    const struct stage *total = leader ? stages_find(leader, "total") : NULL;
    if (total && total->counts->count) {
        keep_stages(m, leader, total->counts);
        keep_client(m, r, total->counts);
    }
    return leader;
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
        const struct stage_reading *leader = add_windows(m, c, before, after, r);
        keep(m, r);
        note_trial(lab, name, s, m->trials);
        snprintf(file, sizeof file, "%s-%s-%u", name, s->id, m->trials);
        ok = load_write_raw(lab, r, file, why) &&
             (!leader || stages_write_raw(lab, leader, file, why));
    }
    for (uint32_t i = 0; i < c->count; i++) {
        stages_free(before[i]);
        stages_free(after[i]);
    }
    load_free(r);
    return ok;
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
        for (uint32_t k = 0; k < m[i].by_stage_count; k++)
            rt_free(m[i].by_stage[k]);
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

/* ---- Stages ---- */

const struct stage_trials *measured_stage(const struct measured *m, const char *name, uint64_t peer)
{
    for (uint32_t i = 0; i < m->by_stage_count; i++)
        if (m->by_stage[i]->peer == peer && strcmp(m->by_stage[i]->name, name) == 0)
            return m->by_stage[i];
    return NULL;
}

void measured_waited(const struct measured *m, const char *const *names, double *out)
{
    for (uint32_t t = 0; t < m->trials; t++) {
        out[t] = 0;
        for (int i = 0; names[i]; i++) {
            const struct stage_trials *row = measured_stage(m, names[i], 0);
            out[t] += row ? row->ms[STAGE_WAITED][t] : NAN;
        }
    }
}

struct stat_spread measured_waited_spread(const struct measured *m, const char *const *names)
{
    double ms[TRIALS_MAX];
    measured_waited(m, names, ms);
    return stat_spread_of(ms, m->trials);
}

struct stat_difference measured_waited_difference(const struct lab *lab, const struct measured *a,
                                                  const struct measured *b,
                                                  const char *const *names)
{
    double from[TRIALS_MAX], to[TRIALS_MAX];
    measured_waited(a, names, from);
    measured_waited(b, names, to);
    return stat_difference_of(from, to, a->trials < b->trials ? a->trials : b->trials,
                              (uint64_t)lab->options->seed);
}

/* ---- Forms ---- */

const char *measured_note(struct lab *lab, const char *note, const struct measured *m,
                          uint32_t count)
{
    enum { P99_SAMPLES = 100 };
    size_t least = SIZE_MAX;
    for (uint32_t i = 0; i < count; i++)
        if (m[i].trials && m[i].least_samples < least)
            least = m[i].least_samples;
    if (least >= P99_SAMPLES)
        return note;
    return rt_arena_printf(&lab->report.arena,
                           "%s%sA trial had as few as %zu samples; of fewer than %d the P99 is the "
                           "slowest of all.",
                           note ? note : "", note ? " " : "", least, P99_SAMPLES);
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
