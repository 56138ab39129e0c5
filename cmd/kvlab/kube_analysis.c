/* cmd/kvlab/kube_analysis.c: buckets, fit, and what may be said of them. */
#include "cmd/kvlab/kube.h"
#include <assert.h>

// Where the plot's first step begins, since a log axis has no 0, and where its last one, which has no end, stops.
#define LEFT_EDGE_MS  0.5
#define RIGHT_EDGE_MS 1000.0
const double kube_bounds_ms[KUBE_BUCKETS] = {1, 5, 10, 25, 50, 100, 200, 500};

struct kube_analysis kube_analyse(const double *sorted, size_t count)
{
    struct kube_analysis a = {.p50_ms = stat_quantile(sorted, count, 0.5),
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

static void show_figures(struct report *r, struct section *s,
                         const struct kube_compared figures[KUBE_FIGURES], const char *const *names,
                         uint32_t count)
{
    static const double article[KUBE_FIGURES][2] = {{187, 112}, {62, 33}};
    struct column head[8] = {{"figure", "", false, 0},
                             {"article: before", "ms", false, 0},
                             {"article: after", "ms", false, 0},
                             {"article: ratio", "", false, 2}};
    for (uint32_t i = 0; i < count; i++)
        head[4 + i] =
            (struct column){rt_arena_printf(&r->arena, "ours: on %s", names[i]), "ms", true, 2};
    if (count == 2) {
        head[6] = (struct column){"ours: ratio", "", false, 2};
        head[7] = (struct column){"ours: difference, 95 % interval", "ms", true, 2};
    }
    struct table *t = report_table(r, s, "kube", "LIST of pods", head, count == 2 ? 8 : 4 + count);
    for (int f = 0; f < KUBE_FIGURES; f++) {
        const struct kube_compared *of = &figures[f];
        struct cell *row = table_row(r, t);
        row[0] = cell_text(f == KUBE_P99 ? "P99" : "standard deviation");
        row[1] = cell_number(article[f][0]);
        row[2] = cell_number(article[f][1]);
        row[3] = cell_number(article[f][1] / article[f][0]);
        for (uint32_t i = 0; i < count; i++)
            row[4 + i] = cell_spread(of->servers[i]);
        if (count < 2)
            continue;
        if (of->servers[1].median > 0)
            row[6] = cell_number(of->servers[0].median / of->servers[1].median);
        row[7] = cell_interval(&of->difference);
    }
    t->note = "The article compares two runtimes below the API server; ours the two servers behind "
              "it, so that the ratios are of different things. Of each trial; the histogram below "
              "is of all trials together.";
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
    struct plot *p =
        report_plot(r, s, rt_arena_printf(&r->arena, "kube-histogram-%s", name),
                    rt_arena_printf(&r->arena, "Latency of LIST on %s", name), PLOT_STEPS,
                    "latency, ms (log); right of 500: all that is more", "requests");
    struct plot_series *seen = plot_series(r, p, "measured"),
                       *fit = plot_series(r, p, "log-normal fit");
    p->log_x = true;
    plot_add(seen, LEFT_EDGE_MS, 0);
    plot_add(fit, LEFT_EDGE_MS, 0);
    for (int b = 0; b <= KUBE_BUCKETS; b++) {
        struct cell *row = table_row(r, h);
        row[0] = cell_text(
            b < KUBE_BUCKETS ? rt_arena_printf(&r->arena, "%.0f ms", kube_bounds_ms[b]) : "more");
        row[1] = cell_number((double)a->counts[b]);
        if (a->fit.count)
            row[2] = cell_number(a->expected[b]);
        double x = b < KUBE_BUCKETS ? kube_bounds_ms[b] : RIGHT_EDGE_MS;
        plot_add(seen, x, (double)a->counts[b]);
        plot_add(fit, x, a->expected[b]);
    }
    plot_add(seen, RIGHT_EDGE_MS, 0);
    plot_add(fit, RIGHT_EDGE_MS, 0);
    if (!a->fit.count)
        report_say(r, s, "On %s there are too few latencies for a fit.", name);
    else
        report_say(
            r, s,
            "On %s a log-normal distribution with mu %.3f and sigma %.3f (of ln ms) %s at the "
            "5 %% level by n = %zu latencies of all trials: the greatest gap between the "
            "cumulative curves is %.4f, and were they independent, chance alone would exceed "
            "%.4f once in twenty.",
            name, a->fit.mu, a->fit.sigma, a->fit.fits ? "is not rejected" : "is rejected",
            a->fit.count, a->fit.distance, a->fit.critical);
}

void kube_report(struct report *r, struct section *s, const struct kube_analysis *all,
                 const struct kube_compared figures[KUBE_FIGURES], const char *const *names,
                 uint32_t count)
{
    assert(count <= 2);
    show_figures(r, s, figures, names, count);
    bool fitted = false;
    for (uint32_t i = 0; i < count; i++) {
        show_histogram(r, s, &all[i], names[i]);
        fitted |= all[i].fit.count > 0;
    }
    if (fitted)
        report_say(
            r, s,
            "Latencies that follow each other closely are not independent, and the more there "
            "are, the smaller is a gap that rejects: that says little of how useful a fit is.");
}
