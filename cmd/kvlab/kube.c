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

/* What the program says it is. False with why: it does not run. */
static bool ask_version(struct lab *lab, char *out, size_t cap, struct why *why)
{
    char log[480];
    const char *const argv[] = {lab->options->kube_apiserver, "--version", NULL};
    snprintf(log, sizeof log, "%s/version.txt", lab->folder);
    int status = run_tool(argv, log, out, cap, why);
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
    s->count = *lab->etcd_version ? 2 : 1;
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

static void show(struct lab *lab, struct section *section, struct servers *s, double rate)
{
    struct kube_analysis analysis[SERVERS];
    for (uint32_t i = 0; i < s->count; i++) {
        struct measured *m = &s->measured[i];
        if (!m->trials)
            return;
        stat_sort(m->all_ms, m->all_count);
        m->is_sorted = true;
        analysis[i] = kube_analyse(m->all_ms, m->all_count);
    }
    kube_report(&lab->report, section, analysis, names, s->count);
    for (uint32_t i = 0; i < s->count; i++) {
        double answered = measured_spread(&s->measured[i], FIGURE_RATE).median;
        report_say(&lab->report, section,
                   "On %s %.0f of %.0f requests a second were answered%s; an answer had %.1f KiB.",
                   names[i], answered, rate,
                   answered < 0.9 * rate
                       ? ", so a queue grew and the latencies are mostly of waiting in it"
                       : "",
                   (double)kube_list_bytes(s->kube[i]) / 1024);
    }
    if (s->count < 2)
        return;
    static const struct {
        enum figure figure;
        const char *name;
    } figures[] = {{FIGURE_P99, "P99"}, {FIGURE_STDDEV, "the standard deviation"}};
    for (int f = 0; f < 2; f++) {
        struct stat_difference d =
            measured_difference(lab, &s->measured[1], &s->measured[0], figures[f].figure);
        say_difference(lab, section, figures[f].name, "LIST on kvd against etcd", "ms", &d,
                       measured_spread(&s->measured[1], figures[f].figure).median);
    }
    struct plot *p = report_plot(&lab->report, section, "kube-cdf", "LIST slower than a time",
                                 PLOT_LINES, "latency, ms (log)", "part that is slower (log)");
    p->log_x = p->log_y = true;
    for (uint32_t i = 0; i < s->count; i++)
        measured_cdf(&s->measured[i], plot_series(&lab->report, p, names[i]));
}

static bool measure(struct lab *lab, struct section *section, struct servers *s, double rate,
                    struct why *why)
{
    int64_t length = lab_choose(lab, lab->options->trial_ns, 10 * RT_SECOND, RT_SECOND);
    uint32_t trials = (uint32_t)lab_choose(lab, lab->options->trials, FULL_TRIALS, QUICK_TRIALS);
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
    progress_plan(lab, trials_seconds(s->settings, s->count, trials));
    bool ok = trials_run(lab, s->settings, s->count, trials, "kube", s->measured, why);
    show(lab, section, s, rate);
    return ok;
}

enum outcome run_kube(struct lab *lab, struct section *section, struct why *why)
{
    char version[120];
    if (!lab->options->kube_apiserver) {
        why_set(why, "no kube-apiserver is given (--kube-apiserver PATH)");
        return OUTCOME_SKIPPED;
    }
    if (lab->options->endpoint_count) {
        why_set(why,
                "an API server writes where it likes, so kube runs on clusters of its own only "
                "(without --endpoints)");
        return OUTCOME_SKIPPED;
    }
    if (!ask_version(lab, version, sizeof version, why))
        return OUTCOME_FAILED;
    double rate = lab->options->rate ? (double)lab->options->rate : RATE;
    rt_string_printf(
        &section->setup,
        "%s, one in front of %d members each, all on loopback; an open loop of %.0f LIST/s of %d "
        "pods "
        "over HTTPS, %u connections, no resourceVersion, so that each LIST asks for the newest.",
        version, MEMBERS, rate, PODS, (unsigned)lab->options->clients);
    struct servers *s = rt_alloc_zero(sizeof *s);
    bool ok = start_all(lab, s, why) && measure(lab, section, s, rate, why);
    stop_all(s);
    rt_free(s);
    return lab_outcome(lab, ok);
}
