/* cmd/kvlab/kube_analysis.c: buckets, fit, and what may be said of them. */
#include "cmd/kvlab/kube.h"
#include <assert.h>

const double kube_bounds_ms[KUBE_BUCKETS] = {1, 5, 10, 25, 50, 100, 200, 500};

struct kube_analysis kube_analyse(const double *sorted, size_t count)
{
    struct kube_analysis a = {.p50_ms = stat_quantile(sorted, count, 0.5),
                              .p99_ms = stat_quantile(sorted, count, 0.99),
                              .stddev_ms = stat_stddev(sorted, count),
                              .fit = stat_lognormal_of(sorted, count)};
    stat_buckets(sorted, count, kube_bounds_ms, KUBE_BUCKETS, a.counts);
    double below = 0;
    for (int b = 0; b <= KUBE_BUCKETS && a.fit.count; b++) {
        double upto = b < KUBE_BUCKETS ? stat_lognormal_cdf(&a.fit, kube_bounds_ms[b]) : 1;
        a.expected[b] = (upto - below) * (double)count;
        below = upto;
    }
    return a;
}

static void show_figures(struct report *r, struct section *s, const struct kube_analysis *all,
                         const char *const *names, uint32_t count)
{
    struct column head[5] = {{"figure", "", false, 0},
                             {"article, before", "ms", false, 0},
                             {"article, after", "ms", false, 0}};
    for (uint32_t i = 0; i < count; i++)
        head[3 + i] =
            (struct column){rt_arena_printf(&r->arena, "ours, on %s", names[i]), "ms", false, 2};
    struct table *t = report_table(r, s, "kube", "LIST of pods", head, 3 + count);
    static const double article[2][2] = {{187, 112}, {62, 33}};
    for (int f = 0; f < 2; f++) {
        struct cell *row = table_row(r, t);
        row[0] = cell_text(f ? "standard deviation" : "P99");
        for (int k = 0; k < 2; k++)
            row[1 + k] = cell_number(article[f][k]);
        for (uint32_t i = 0; i < count; i++)
            row[3 + i] = cell_number(f ? all[i].stddev_ms : all[i].p99_ms);
    }
    t->note =
        "The article compares two runtimes below the API server; ours the two servers behind it. "
        "All trials of a server together.";
}

static void show_histogram(struct report *r, struct section *s, const struct kube_analysis *a,
                           const char *name)
{
    static const struct column columns[] = {{"up to", "", false, 0},
                                            {"requests", "", false, 0},
                                            {"by the log-normal fit", "", false, 1}};
    struct table *h = report_table(
        r, s, rt_arena_printf(&r->arena, "kube-histogram-%s", name),
        rt_arena_printf(&r->arena, "Histogram on %s, with what the fit expects", name), columns, 3);
    struct plot *p = report_plot(r, s, rt_arena_printf(&r->arena, "kube-histogram-%s", name),
                                 rt_arena_printf(&r->arena, "Latency of LIST on %s", name),
                                 PLOT_STEPS, "up to, ms (log)", "requests");
    struct plot_series *seen = plot_series(r, p, "measured"),
                       *fit = plot_series(r, p, "log-normal fit");
    p->log_x = true;
    for (int b = 0; b <= KUBE_BUCKETS; b++) {
        struct cell *row = table_row(r, h);
        row[0] = cell_text(
            b < KUBE_BUCKETS ? rt_arena_printf(&r->arena, "%.0f ms", kube_bounds_ms[b]) : "more");
        row[1] = cell_number((double)a->counts[b]);
        if (a->fit.count)
            row[2] = cell_number(a->expected[b]);
        double x = b < KUBE_BUCKETS ? kube_bounds_ms[b] : 1000;
        plot_add(seen, x, (double)a->counts[b]);
        plot_add(fit, x, a->expected[b]);
    }
    if (!a->fit.count)
        report_say(r, s, "On %s there are too few latencies for a fit.", name);
    else
        report_say(
            r, s,
            "On %s a log-normal distribution with mu %.3f and sigma %.3f (of ln ms) %s at the 5 "
            "%% level: the greatest gap between the cumulative curves is %.4f, and chance "
            "alone exceeds %.4f once in twenty.",
            name, a->fit.mu, a->fit.sigma, a->fit.fits ? "is not rejected" : "is rejected",
            a->fit.distance, a->fit.critical);
}

void kube_report(struct report *r, struct section *s, const struct kube_analysis *all,
                 const char *const *names, uint32_t count)
{
    assert(count <= 2);
    show_figures(r, s, all, names, count);
    for (uint32_t i = 0; i < count; i++)
        show_histogram(r, s, &all[i], names[i]);
}
