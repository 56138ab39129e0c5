/* cmd/kvlab/kube_analysis.c: buckets, fit, and what may be said of them. */
#include "cmd/kvlab/kube.h"

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

void kube_report(struct report *r, struct section *s, const struct kube_analysis *a)
{
    static const struct column head[] = {{"figure", "", false, 0},
                                         {"article, before", "ms", false, 0},
                                         {"article, after", "ms", false, 0},
                                         {"ours", "ms", false, 2}};
    static const struct column columns[] = {{"up to", "", false, 0},
                                            {"requests", "", false, 0},
                                            {"by the log-normal fit", "", false, 1}};
    struct table *t = report_table(r, s, "kube", "LIST of pods", head, 4);
    const double rows[2][3] = {{187, 112, a->p99_ms}, {62, 33, a->stddev_ms}};
    for (int i = 0; i < 2; i++) {
        struct cell *row = table_row(r, t);
        row[0] = cell_text(i ? "standard deviation" : "P99");
        for (int k = 0; k < 3; k++)
            row[1 + k] = cell_number(rows[i][k]);
    }
    struct table *h =
        report_table(r, s, "kube-histogram", "Histogram, with what the fit expects", columns, 3);
    struct plot *p = report_plot(r, s, "kube-histogram", "Latency of LIST", PLOT_STEPS,
                                 "up to, ms (log)", "requests");
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
        report_say(r, s, "There are too few latencies for a fit.");
    else
        report_say(r, s,
                   "A log-normal distribution with mu %.3f and sigma %.3f (of ln ms) %s at the 5 "
                   "%% level: the greatest gap between the cumulative curves is %.4f, and chance "
                   "alone exceeds %.4f once in twenty.",
                   a->fit.mu, a->fit.sigma, a->fit.fits ? "is not rejected" : "is rejected",
                   a->fit.distance, a->fit.critical);
}
