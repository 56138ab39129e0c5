/* cmd/kvlab/stats.h: what is computed from samples. Pure: no clock, no random number but a seeded
 * one. Nothing here parks. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* splitmix64: the same seed gives the same numbers on every machine. */
struct stat_random {
    uint64_t state;
};
uint64_t stat_random_next(struct stat_random *r);
double stat_random_unit(struct stat_random *r);   // 0 <= u < 1
double stat_random_normal(struct stat_random *r); // mean 0, deviation 1

void stat_sort(double *values, size_t count);
/* Of sorted values, by the nearest rank: the smallest value that the fraction q does not exceed.
 * 0 when there is none. */
double stat_quantile(const double *sorted, size_t count, double q);
double stat_median(const double *values, size_t count); // of values in any order; 0 when none
double stat_mean(const double *values, size_t count);
double stat_stddev(const double *values, size_t count); // of the population

/* A figure over trials: the median, and the lowest and highest. A value that is NAN is of a trial that
 * does not know the figure, and is left out. */
struct stat_spread {
    double median, low, high;
    uint32_t trials; // that know it
};
struct stat_spread stat_spread_of(const double *values, uint32_t count);

/* How much b is above a, trial by trial (trial i of both ran side by side): the median of the
 * differences, and the bounds between which it lies with 95 % confidence.
 *
 * The bounds are a bootstrap's: 10,000 times as many differences as there are, drawn with
 * replacement, and of the medians of these the quantiles. With few trials a plain percentile
 * interval is too narrow, so the quantiles are those of the expanded percentile interval:
 * Phi(-sqrt(n / (n - 1)) * t(0.975, n - 1)). Source: Hesterberg, "What Teachers Should Know about
 * the Bootstrap", 2015, section 4.5.
 *
 * A pair of which one is NAN does not count.
 *
 * `differs` only when the interval excludes 0 and there are STAT_PAIRS_MIN pairs: fewer would all
 * fall on one side by luck more than once in twenty. */
enum { STAT_PAIRS_MIN = 6, STAT_RESAMPLES = 10000 };
struct stat_difference {
    double value, low, high;
    uint32_t pairs;
    bool differs;
};
struct stat_difference stat_difference_of(const double *a, const double *b, uint32_t count,
                                          uint64_t seed);

/* A log-normal distribution fitted by the mean and deviation of the logarithms, and how well it
 * fits: `distance` is Kolmogorov's and Smirnov's, the greatest gap between the two cumulative
 * curves; `critical` is what chance exceeds in 5 % of cases when the parameters come from the
 * samples themselves (Lilliefors, 0.886 / sqrt(n) for n > 30; Dallal and Wilkinson). */
struct stat_lognormal {
    double mu, sigma; // of ln(value)
    double distance, critical;
    size_t count;
    bool fits; // distance <= critical: not rejected at 5 %
};
/* Values must be above 0 and sorted; at least 30, else count is 0. */
struct stat_lognormal stat_lognormal_of(const double *sorted, size_t count);
double stat_lognormal_cdf(const struct stat_lognormal *f, double value);

/* How many values are at or below each bound; the last of `counts` (bounds + 1) is all the rest. */
void stat_buckets(const double *values, size_t count, const double *bounds, uint32_t bound_count,
                  uint64_t *counts);
