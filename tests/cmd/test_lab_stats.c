/* kvlab's arithmetic: quantiles, intervals that do not cry wolf, the log-normal fit. */
#include "cmd/kvlab/kube.h"
#include "cmd/kvlab/stats.h"
#include "tests/support/rt_test.h"
#include <math.h>
#include <stdlib.h>

static void a_quantile_is_the_smallest_value_that_enough_do_not_exceed(void **state)
{
    (void)state;
    double v[100];
    for (int i = 0; i < 100; i++)
        v[i] = (i * 37) % 100 + 1; // 1 to 100, shuffled
    stat_sort(v, 100);
    for (int i = 1; i < 100; i++)
        assert_true(v[i - 1] < v[i]);
    static const struct {
        double q, value;
    } rows[] = {{0, 1}, {0.01, 1}, {0.5, 50}, {0.501, 51}, {0.99, 99}, {0.999, 100}, {1, 100}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (stat_quantile(v, 100, rows[i].q) != rows[i].value)
            fail_msg("quantile %g: wanted %g, got %g", rows[i].q, rows[i].value,
                     stat_quantile(v, 100, rows[i].q));
    assert_true(stat_quantile(v, 0, 0.5) == 0);
    assert_true(stat_median((double[]){3, 1, 2}, 3) == 2);
    assert_true(stat_median((double[]){4, 1, 2, 3}, 4) == 2.5);
    assert_true(stat_stddev((double[]){2, 4, 4, 4, 5, 5, 7, 9}, 8) == 2);
}

static void a_spread_keeps_median_lowest_and_highest(void **state)
{
    (void)state;
    struct stat_spread s = stat_spread_of((double[]){5, -1, 3}, 3);
    assert_true(s.median == 3 && s.low == -1 && s.high == 5);
    assert_int_equal(s.trials, 3);
}

static void an_obvious_difference_of_six_pairs_is_called_one_and_of_five_is_not(void **state)
{
    (void)state;
    static const double a[] = {1.0, 1.1, 0.9, 1.0, 1.05, 0.95},
                        b[] = {2.0, 2.2, 1.9, 2.1, 2.0, 2.05};
    struct stat_difference six = stat_difference_of(a, b, 6, 1),
                           five = stat_difference_of(a, b, 5, 1);
    assert_true(six.differs);
    assert_true(six.low > 0.8 && six.high < 1.3 && six.low <= six.value && six.value <= six.high);
    assert_false(five.differs);
    assert_true(stat_difference_of(b, a, 6, 1).high < 0);
    assert_false(stat_difference_of(a, a, 6, 1).differs);
    assert_false(stat_difference_of(a, b, 0, 1).differs);
}

static void a_trial_that_does_not_know_a_figure_is_in_no_spread_and_no_pair(void **state)
{
    (void)state;
    static const double a[] = {1, NAN, 1, 1, 1, 1, 1, 1}, b[] = {2, 2, NAN, 2, 2, 2, 2, 2};
    struct stat_spread s = stat_spread_of((double[]){NAN, 3, 1, NAN}, 4);
    assert_true(s.median == 2 && s.low == 1 && s.high == 3);
    assert_int_equal(s.trials, 2);
    assert_int_equal(stat_spread_of((double[]){NAN}, 1).trials, 0);
    struct stat_difference d = stat_difference_of(a, b, 8, 1);
    assert_int_equal(d.pairs, 6);
    assert_true(d.differs);
    assert_false(stat_difference_of(a, b, 7, 1).differs); // five pairs are left
    assert_int_equal(stat_difference_of((double[]){NAN}, (double[]){1}, 1, 1).pairs, 0);
}

static void the_same_seed_gives_the_same_interval(void **state)
{
    (void)state;
    double a[10], b[10];
    struct stat_random r = {7};
    for (int i = 0; i < 10; i++) {
        a[i] = stat_random_normal(&r);
        b[i] = stat_random_normal(&r);
    }
    struct stat_difference x = stat_difference_of(a, b, 10, 3), y = stat_difference_of(a, b, 10, 3);
    assert_true(x.low == y.low && x.high == y.high);
}

/* Pairs that do not differ, with noise as latencies have it: seldom may a difference be called. */
static void
where_nothing_differs_a_difference_is_called_at_most_seven_times_in_a_hundred(void **state)
{
    (void)state;
    enum { RUNS = 400 };
    static const uint32_t pairs[] = {6, 10, 20};
    struct stat_random r = {11};
    for (size_t n = 0; n < ARRAY_LEN(pairs); n++) {
        int called = 0;
        for (int run = 0; run < RUNS; run++) {
            double a[20], b[20];
            for (uint32_t i = 0; i < pairs[n]; i++) {
                a[i] = exp(stat_random_normal(&r) / 2);
                b[i] = exp(stat_random_normal(&r) / 2);
            }
            called += stat_difference_of(a, b, pairs[n], (uint64_t)run).differs;
        }
        if (called > RUNS * 7 / 100)
            fail_msg("%u pairs: called %d times in %d", pairs[n], called, RUNS);
    }
}

static double *lognormal_samples(size_t count, double mu, double sigma, uint64_t seed)
{
    double *v = malloc(count * sizeof *v);
    struct stat_random r = {seed};
    for (size_t i = 0; i < count; i++)
        v[i] = exp(mu + sigma * stat_random_normal(&r));
    stat_sort(v, count);
    return v;
}

static void a_log_normal_sample_is_fitted_by_its_own_parameters(void **state)
{
    (void)state;
    enum { COUNT = 5000 };
    double *v = lognormal_samples(COUNT, 3, 0.6, 42);
    struct stat_lognormal f = stat_lognormal_of(v, COUNT);
    assert_true(fabs(f.mu - 3) < 0.03);
    assert_true(fabs(f.sigma - 0.6) < 0.02);
    assert_true(fabs(stat_lognormal_cdf(&f, exp(f.mu)) - 0.5) < 1e-9);
    free(v);
}

/* At the 5 % level one in twenty is rejected by chance: neither none of 400 nor many. */
static void of_log_normal_samples_about_one_in_twenty_is_rejected(void **state)
{
    (void)state;
    enum { RUNS = 400, COUNT = 200 };
    int rejected = 0;
    for (uint64_t run = 0; run < RUNS; run++) {
        double *v = lognormal_samples(COUNT, 2, 0.5, 1000 + run);
        rejected += !stat_lognormal_of(v, COUNT).fits;
        free(v);
    }
    if (rejected < RUNS * 2 / 100 || rejected > RUNS * 9 / 100)
        fail_msg("%d of %d were rejected", rejected, RUNS);
}

static void two_heaps_of_latencies_are_no_log_normal_distribution(void **state)
{
    (void)state;
    enum { COUNT = 2000 };
    double *v = lognormal_samples(COUNT, 1, 0.2, 5);
    for (size_t i = 0; i < COUNT; i += 3)
        v[i] *= 20; // every third met a stall
    stat_sort(v, COUNT);
    assert_false(stat_lognormal_of(v, COUNT).fits);
    free(v);
}

static void too_few_or_equal_latencies_get_no_fit(void **state)
{
    (void)state;
    double v[40];
    for (int i = 0; i < 40; i++)
        v[i] = 2.5;
    assert_int_equal(stat_lognormal_of(v, 29).count, 0);
    assert_int_equal(stat_lognormal_of(v, 40).count, 0);
    v[0] = 0;
    assert_int_equal(stat_lognormal_of(v, 40).count, 0);
}

static void the_buckets_of_list_latencies_count_every_request_once(void **state)
{
    (void)state;
    static const double edges[] = {0.5, 1, 1.01, 5, 10, 25, 49.9, 50, 100, 200, 500, 500.1, 9000};
    static const uint64_t wanted[KUBE_BUCKETS + 1] = {2, 2, 1, 1, 2, 1, 1, 1, 2};
    struct kube_analysis a = kube_analyse(edges, ARRAY_LEN(edges));
    assert_memory_equal(a.counts, wanted, sizeof wanted);
    enum { COUNT = 4000 };
    double *v = lognormal_samples(COUNT, log(30), 0.8, 9), sum = 0;
    a = kube_analyse(v, COUNT);
    assert_true(a.fit.fits);
    for (int b = 0; b <= KUBE_BUCKETS; b++) {
        sum += a.expected[b];
        if (fabs(a.expected[b] - (double)a.counts[b]) > COUNT * 0.03)
            fail_msg("bucket %d: %g expected, %lu counted", b, a.expected[b],
                     (unsigned long)a.counts[b]);
    }
    assert_true(fabs(sum - COUNT) < 0.01);
    assert_true(fabs(a.p50_ms - 30) < 2);
    free(v);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_quantile_is_the_smallest_value_that_enough_do_not_exceed),
    cmocka_unit_test(a_spread_keeps_median_lowest_and_highest),
    cmocka_unit_test(an_obvious_difference_of_six_pairs_is_called_one_and_of_five_is_not),
    cmocka_unit_test(a_trial_that_does_not_know_a_figure_is_in_no_spread_and_no_pair),
    cmocka_unit_test(the_same_seed_gives_the_same_interval),
    cmocka_unit_test(where_nothing_differs_a_difference_is_called_at_most_seven_times_in_a_hundred),
    cmocka_unit_test(a_log_normal_sample_is_fitted_by_its_own_parameters),
    cmocka_unit_test(of_log_normal_samples_about_one_in_twenty_is_rejected),
    cmocka_unit_test(two_heaps_of_latencies_are_no_log_normal_distribution),
    cmocka_unit_test(too_few_or_equal_latencies_get_no_fit),
    cmocka_unit_test(the_buckets_of_list_latencies_count_every_request_once),
};
RT_TEST_GROUP(group, tests)
int main(void) { return rt_test_main(NULL, group); }
