/* cmd/kvlab/kube.h: the analysis of latencies of LIST: the article's buckets and a log-normal fit. Apart
 * from the measuring, so that it is tested with recorded latencies. */
#pragma once
#include "cmd/kvlab/report.h"

enum { KUBE_BUCKETS = 8 };
extern const double kube_bounds_ms[KUBE_BUCKETS]; // 1, 5, 10, 25, 50, 100, 200, 500

/* Of the latencies of all trials together. */
struct kube_analysis {
    uint64_t counts[KUBE_BUCKETS + 1]; // the last: above all
    double expected[KUBE_BUCKETS + 1]; // by the fit
    double p50_ms;
    struct stat_lognormal fit;
};
/* `sorted` latencies in ms. */
struct kube_analysis kube_analyse(const double *sorted, size_t count);
/* What the article gives, of trials: of each server, and the first server's against the second's. */
enum kube_figure { KUBE_P99, KUBE_STDDEV, KUBE_FIGURES };
struct kube_compared {
    struct stat_spread servers[2];
    struct stat_difference difference; // with two servers
};
/* Tables, plots and sentences of one or two servers: names[i] stands behind the API server of all[i]. */
void kube_report(struct report *r, struct section *s, const struct kube_analysis *all,
                 const struct kube_compared figures[KUBE_FIGURES], const char *const *names,
                 uint32_t count);
