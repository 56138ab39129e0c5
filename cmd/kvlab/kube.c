/* cmd/kvlab/kube.c: LIST of pods through a kube-apiserver: one on kvd and, where etcd is there, one on etcd,
 * loaded in turns. */
#include "cmd/kvlab/kube.h"
#include "cmd/kvlab/kube_server.h"
#include "cmd/kvlab/replication.h"
#include "cmd/kvlab/run_tool.h"
#include <rt/file.h>
#include <stdio.h>

enum { RATE = 2000, FULL_TRIALS = 10, QUICK_TRIALS = 6, SERVERS = 2, PODS = 10, MEMBERS = 3 };
static const char *const names[SERVERS] = {"kvd", "etcd"};

struct servers {
    struct cluster *cluster[SERVERS];
    struct kube_server *kube[SERVERS];
    struct setting settings[SERVERS];
    struct measured measured[SERVERS];
    uint32_t count;
};

static int64_t length_of(const struct lab *lab)
{
    return lab_choose(lab, lab->options->trial_ns, 10 * RT_SECOND, RT_SECOND);
}

static int64_t trials_of(const struct lab *lab)
{
    return lab_choose(lab, lab->options->trials, FULL_TRIALS, QUICK_TRIALS);
}

static uint32_t servers_of(const struct lab *lab) { return *lab->etcd_version ? 2 : 1; }

/* Not here: nothing to start, or somebody else's cluster. */
static bool is_skipped(const struct lab *lab)
{
    return !lab->options->kube_apiserver || lab->options->endpoint_count;
}

double kube_seconds(const struct lab *lab)
{
    return is_skipped(lab)
               ? 0
               : (double)length_of(lab) / 1e9 * (double)trials_of(lab) * servers_of(lab);
}

/* What the program says it is. False with why: it does not run. */
static bool ask_version(struct lab *lab, char *out, size_t cap, struct why *why)
{
    char log[480];
    const char *const argv[] = {lab->options->kube_apiserver, "--version", NULL};
    snprintf(log, sizeof log, "%s/version.txt", lab->folder);
    int status = run_tool(&lab->leftovers, argv, log, out, cap, why);
    rt_unlink(log);
    if (status > 0)
        why_set(why, "%s --version ends with status %d; is it kube-apiserver?",
                lab->options->kube_apiserver, status);
    if (status < 0)
        why_prefix(why, "--kube-apiserver");
    out[strcspn(out, "\n")] = 0;
    return status == 0;
}

static bool start_all(struct lab *lab, struct servers *s, struct why *why)
{
    static const char *const folders[] = {"kube-kvd", "kube-etcd"};
    s->count = servers_of(lab);
    bool ok = true;
    for (uint32_t i = 0; i < s->count && ok; i++) {
        const struct cluster_spec spec = {
            .name = folders[i], .members = MEMBERS, .is_etcd = i == 1, .own = true};
        ok = (s->cluster[i] = cluster_start(lab, &spec, why)) != NULL &&
             (s->kube[i] = kube_start(lab, s->cluster[i], why)) != NULL &&
             kube_make_pods(s->kube[i], PODS, why);
    }
    return ok;
}

static void stop_all(struct servers *s)
{
    for (uint32_t i = 0; i < s->count; i++) {
        kube_stop(s->kube[i]);
        cluster_stop(s->cluster[i]);
    }
    measured_free(s->measured, SERVERS);
}

/* First how much was answered: the latencies of a load that was not met are of another kind. */
static void say_rates(struct lab *lab, struct section *section, const struct servers *s,
                      const struct kube_analysis *analysis, double rate)
{
    bool unmet = false;
    for (uint32_t i = 0; i < s->count; i++) {
        double answered = measured_spread(&s->measured[i], FIGURE_RATE).median;
        unmet |= answered < 0.9 * rate;
        report_say(
            &lab->report, section,
            "On %s %.0f of %.0f requests a second were answered, half of all within %.1f ms; "
            "an answer had %.1f KiB.",
            names[i], answered, rate, analysis[i].p50_ms,
            (double)kube_list_bytes(s->kube[i]) / 1024);
    }
    if (unmet)
        report_say(
            &lab->report, section,
            "That is less than was asked for. A latency counts from when its LIST was due, so "
            "what is seen here is mostly waiting for a free connection: lower --rate to see "
            "how long a LIST takes.");
}

static void compare(struct lab *lab, const struct servers *s, struct kube_compared *out)
{
    static const enum figure figures[KUBE_FIGURES] = {
        [KUBE_P99] = FIGURE_P99, [KUBE_STDDEV] = FIGURE_STDDEV};
    for (int f = 0; f < KUBE_FIGURES; f++) {
        out[f] = (struct kube_compared){0};
        for (uint32_t i = 0; i < s->count; i++)
            out[f].servers[i] = measured_spread(&s->measured[i], figures[f]);
        if (s->count == 2)
            out[f].difference =
                measured_difference(lab, &s->measured[1], &s->measured[0], figures[f]);
    }
}

static void show(struct lab *lab, struct section *section, struct servers *s, double rate)
{
    struct kube_analysis analysis[SERVERS];
    struct kube_compared compared[KUBE_FIGURES];
    for (uint32_t i = 0; i < s->count; i++) {
        struct measured *m = &s->measured[i];
        if (!m->trials)
            return;
        stat_sort(m->all_ms, m->all_count);
        m->is_sorted = true;
        analysis[i] = kube_analyse(m->all_ms, m->all_count);
    }
    compare(lab, s, compared);
    say_rates(lab, section, s, analysis, rate);
    kube_report(&lab->report, section, analysis, compared, names, s->count);
    if (s->count < 2)
        return;
    for (int f = 0; f < KUBE_FIGURES; f++)
        say_difference(lab, section, f == KUBE_P99 ? "P99" : "the standard deviation",
                       "LIST on kvd against etcd", "ms", &compared[f].difference,
                       compared[f].servers[1].median);
    struct plot *p = report_plot(&lab->report, section, "kube-cdf", "LIST slower than a time",
                                 PLOT_LINES, "latency, ms (log)", "part that is slower (log)");
    p->log_x = p->log_y = true;
    for (uint32_t i = 0; i < s->count; i++)
        measured_cdf(&s->measured[i], plot_series(&lab->report, p, names[i]));
}

static bool measure(struct lab *lab, struct section *section, struct servers *s, double rate,
                    struct why *why)
{
    int64_t length = length_of(lab);
    uint32_t trials = (uint32_t)trials_of(lab);
    for (uint32_t i = 0; i < s->count; i++)
        s->settings[i] = (struct setting){.label = names[i],
                                          .id = names[i],
                                          .cluster = s->cluster[i],
                                          .load = {.kind = LOAD_OTHER,
                                                   .target = kube_list_pods(s->kube[i]),
                                                   .rate = rate,
                                                   .clients = (uint32_t)lab->options->clients,
                                                   .value_bytes = 32,
                                                   .length_ns = length,
                                                   .warmup_ns = length / 8}};
    bool ok = trials_run(lab, s->settings, s->count, trials, "kube", s->measured, why);
    show(lab, section, s, rate);
    return ok;
}

enum outcome run_kube(struct lab *lab, struct section *section, struct why *why)
{
    char version[120];
    if (is_skipped(lab)) {
        why_set(why, "%s",
                lab->options->kube_apiserver
                    ? "an API server writes where it likes, so kube runs on clusters of its own "
                      "only (without --endpoints)"
                    : "no kube-apiserver is given (--kube-apiserver PATH)");
        return OUTCOME_SKIPPED;
    }
    if (!ask_version(lab, version, sizeof version, why))
        return OUTCOME_FAILED;
    double rate = lab->options->rate ? (double)lab->options->rate : RATE;
    rt_string_printf(
        &section->setup,
        "%s, one in front of %d members each, all on loopback; an open loop of %.0f LIST/s of %d "
        "pods over HTTPS, %u connections, no resourceVersion, so that each LIST asks for the "
        "newest.",
        version, MEMBERS, rate, PODS, (unsigned)lab->options->clients);
    struct servers *s = rt_alloc_zero(sizeof *s);
    bool ok = start_all(lab, s, why) && measure(lab, section, s, rate, why);
    stop_all(s);
    rt_free(s);
    return lab_outcome(lab, ok);
}
