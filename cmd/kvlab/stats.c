/* cmd/kvlab/stats.c: quantiles, bootstrap, log-normal fit. */
#include "cmd/kvlab/stats.h"
#include <assert.h>
#include <math.h>
#include <rt/alloc.h>

uint64_t stat_random_next(struct stat_random *r)
{
    uint64_t z = r->state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

double stat_random_unit(struct stat_random *r)
{
    return (double)(stat_random_next(r) >> 11) * 0x1p-53;
}

double stat_random_normal(struct stat_random *r)
{
    double u = stat_random_unit(r), v = stat_random_unit(r);
    return sqrt(-2 * log(1 - u)) * cos(2 * M_PI * v); // Box and Muller
}

static void sift_down(double *v, size_t at, size_t count)
{
    double moved = v[at];
    for (size_t child; (child = 2 * at + 1) < count; at = child) {
        child += child + 1 < count && v[child + 1] > v[child];
        if (moved >= v[child])
            break;
        v[at] = v[child];
    }
    v[at] = moved;
}

/* Heap sort: in place, no callback (which qsort would need preemption held off for). */
void stat_sort(double *v, size_t count)
{
    for (size_t i = count / 2; i-- > 0;)
        sift_down(v, i, count);
    for (size_t end = count; end-- > 1;) {
        double top = v[0];
        v[0] = v[end];
        v[end] = top;
        sift_down(v, 0, end);
    }
}

double stat_quantile(const double *sorted, size_t count, double q)
{
    assert(q >= 0);
    assert(q <= 1);
    if (!count)
        return 0;
    double rank = ceil(q * (double)count - 1e-9);
    size_t at = rank < 1 ? 0 : (size_t)rank - 1;
    return sorted[at < count ? at : count - 1];
}

static double median_of_sorted(const double *v, size_t n)
{
    return n == 0 ? 0 : n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}

double stat_median(const double *values, size_t count)
{
    double *copy = rt_alloc(count * sizeof *copy + 1);
    for (size_t i = 0; i < count; i++)
        copy[i] = values[i];
    stat_sort(copy, count);
    double median = median_of_sorted(copy, count);
    rt_free(copy);
    return median;
}

double stat_mean(const double *values, size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += values[i];
    return count ? sum / (double)count : 0;
}

double stat_stddev(const double *values, size_t count)
{
    double mean = stat_mean(values, count), sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += (values[i] - mean) * (values[i] - mean);
    return count ? sqrt(sum / (double)count) : 0;
}

struct stat_spread stat_spread_of(const double *values, uint32_t count)
{
    struct stat_spread s = {0};
    double *known = rt_alloc(count * sizeof *known + 1);
    for (uint32_t i = 0; i < count; i++) {
        if (isnan(values[i]))
            continue;
        s.low = s.trials == 0 || values[i] < s.low ? values[i] : s.low;
        s.high = s.trials == 0 || values[i] > s.high ? values[i] : s.high;
        known[s.trials++] = values[i];
    }
    s.median = stat_median(known, s.trials);
    rt_free(known);
    return s;
}

/* ---- Bootstrap ---- */

/* Student's t, 97.5 %, by degrees of freedom 1 to 30; beyond, Fisher's expansion is close enough. */
static const double student[] = {12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306,
                                 2.262,  2.228, 2.201, 2.179, 2.160, 2.145, 2.131, 2.120,
                                 2.110,  2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064,
                                 2.060,  2.056, 2.052, 2.048, 2.045, 2.042};

static double normal_cdf(double z) { return erfc(-z * M_SQRT1_2) / 2; }

/* The tail of the expanded percentile interval for n differences. */
static double expanded_tail(uint32_t n)
{
    const double z = 1.959964;
    uint32_t freedom = n - 1;
    double t = freedom <= 30 ? student[freedom - 1] : z + (z * z * z + z) / (4.0 * freedom);
    return normal_cdf(-sqrt((double)n / freedom) * t);
}

/* The interval of the median of `count` differences, into d. */
static void bootstrap(const double *differences, uint32_t count, uint64_t seed,
                      struct stat_difference *d)
{
    double *drawn = rt_alloc(count * sizeof *drawn);
    double *medians = rt_alloc(STAT_RESAMPLES * sizeof *medians);
    struct stat_random random = {seed};
    for (int r = 0; r < STAT_RESAMPLES; r++) {
        for (uint32_t i = 0; i < count; i++)
            drawn[i] = differences[stat_random_next(&random) % count];
        stat_sort(drawn, count);
        medians[r] = median_of_sorted(drawn, count);
    }
    stat_sort(medians, STAT_RESAMPLES);
    double tail = count > 1 ? expanded_tail(count) : 0;
    d->value = stat_median(differences, count);
    d->low = stat_quantile(medians, STAT_RESAMPLES, tail);
    d->high = stat_quantile(medians, STAT_RESAMPLES, 1 - tail);
    d->differs = count >= STAT_PAIRS_MIN && (d->low > 0 || d->high < 0);
    rt_free(medians);
    rt_free(drawn);
    assert(d->low <= d->high);
}

struct stat_difference stat_difference_of(const double *a, const double *b, uint32_t count,
                                          uint64_t seed)
{
    struct stat_difference d = {0};
    double *differences = rt_alloc(count * sizeof *differences + 1);
    for (uint32_t i = 0; i < count; i++)
        if (!isnan(a[i]) && !isnan(b[i]))
            differences[d.pairs++] = b[i] - a[i];
    if (d.pairs)
        bootstrap(differences, d.pairs, seed, &d);
    rt_free(differences);
    return d;
}

/* ---- Log-normal ---- */

double stat_lognormal_cdf(const struct stat_lognormal *f, double value)
{
    return value <= 0 ? 0 : normal_cdf((log(value) - f->mu) / f->sigma);
}

struct stat_lognormal stat_lognormal_of(const double *sorted, size_t count)
{
    enum { LEAST = 30 };
    struct stat_lognormal f = {0};
    if (count < LEAST || sorted[0] <= 0 ||
        sorted[0] == sorted[count - 1]) // all the same: no spread to fit
        return f;
    double sum = 0, squares = 0;
    for (size_t i = 0; i < count; i++)
        sum += log(sorted[i]);
    f.mu = sum / (double)count;
    for (size_t i = 0; i < count; i++)
        squares += (log(sorted[i]) - f.mu) * (log(sorted[i]) - f.mu);
    f.sigma = sqrt(squares / (double)(count - 1));
    f.count = count;
    for (size_t i = 0; i < count; i++) {
        double cdf = stat_lognormal_cdf(&f, sorted[i]);
        double above = (double)(i + 1) / (double)count - cdf,
               below = cdf - (double)i / (double)count;
        f.distance = fmax(f.distance, fmax(above, below));
    }
    f.critical = 0.886 / sqrt((double)count);
    f.fits = f.distance <= f.critical;
    return f;
}

void stat_buckets(const double *values, size_t count, const double *bounds, uint32_t bound_count,
                  uint64_t *counts)
{
    for (uint32_t b = 0; b <= bound_count; b++)
        counts[b] = 0;
    for (size_t i = 0; i < count; i++) {
        uint32_t b = 0;
        while (b < bound_count && values[i] > bounds[b])
            b++;
        counts[b]++;
    }
}
