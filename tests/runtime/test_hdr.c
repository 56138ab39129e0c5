/* Histograms in HdrHistogram's layout: what a step may blur, and that nothing gets lost. */
#include "tests/support/rt_test.h"
#include <errno.h>
#include <rt/hdr.h>
#include <rt/metrics.h>
#include <rt/sync.h>
#include <rt/time.h>
#include <stdlib.h>
#include <string.h>

static uint64_t next_random(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed;
}

/* Spread over the doublings, as latencies are. */
static int64_t some_latency(uint64_t *seed)
{
    unsigned bits = 10 + (unsigned)(next_random(seed) % 27);
    return (int64_t)((next_random(seed) & ((UINT64_C(1) << bits) - 1)) | UINT64_C(1) << bits) %
           (INT64_C(100) * RT_SECOND);
}

static void steps_touch_and_hold_their_own_edges(void **state)
{
    (void)state;
    assert_int_equal(rt_hdr_bucket_low(0), 0);
    for (uint32_t i = 0; i < RT_HDR_BUCKETS; i++) {
        assert_true(rt_hdr_bucket_low(i) < rt_hdr_bucket_high(i));
        assert_int_equal(rt_hdr_bucket(rt_hdr_bucket_low(i)), i);
        assert_int_equal(rt_hdr_bucket(rt_hdr_bucket_high(i) - 1), i);
        if (i + 1 < RT_HDR_BUCKETS)
            assert_int_equal(rt_hdr_bucket_high(i), rt_hdr_bucket_low(i + 1));
    }
    assert_true(rt_hdr_bucket_high(RT_HDR_BUCKETS - 1) > 100 * RT_SECOND);
    assert_int_equal(rt_hdr_bucket(INT64_MAX), RT_HDR_BUCKETS - 1);
    assert_int_equal(rt_hdr_bucket(-1), 0);
}

static void a_single_value_is_told_within_one_percent_from_a_microsecond_on(void **state)
{
    (void)state;
    uint64_t seed = 7;
    struct rt_hdr_counts *c = rt_hdr_counts_new();
    for (int i = 0; i < 4000; i++) {
        int64_t ns = some_latency(&seed);
        if (i < 36) // and at the seams of the doublings
            ns = (INT64_C(1) << (10 + i % 27)) - (i > 26);
        rt_hdr_counts_reset(c);
        rt_hdr_counts_add(c, ns, 3);
        rt_hdr_counts_add(c, 0, 1); // so that neither extreme is the value
        rt_hdr_counts_add(c, 137 * RT_SECOND, 1);
        int64_t told = rt_hdr_quantile(c, 0.5), off = told > ns ? told - ns : ns - told;
        if ((double)off > 0.01 * (double)ns)
            fail_msg("%lld ns is told as %lld ns", (long long)ns, (long long)told);
    }
    rt_free(c);
}

static int by_value(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static void quantiles_mean_and_deviation_are_those_of_the_values(void **state)
{
    (void)state;
    enum { N = 20000 };
    static const double quantiles[] = {0.001, 0.1, 0.5, 0.9, 0.99, 0.999};
    int64_t *values = rt_alloc(N * sizeof *values);
    struct rt_hdr_counts *c = rt_hdr_counts_new();
    uint64_t seed = 99;
    double sum = 0, squares = 0;
    for (int i = 0; i < N; i++) {
        values[i] = some_latency(&seed);
        rt_hdr_counts_add(c, values[i], 1);
        sum += (double)values[i];
    }
    for (int i = 0; i < N; i++)
        squares += ((double)values[i] - sum / N) * ((double)values[i] - sum / N);
    qsort(values, N, sizeof *values, by_value);
    for (size_t i = 0; i < ARRAY_LEN(quantiles); i++) {
        double right = (double)values[(int)(quantiles[i] * N + 0.5) - 1];
        double told = (double)rt_hdr_quantile(c, quantiles[i]);
        if (told < 0.99 * right || told > 1.01 * right)
            fail_msg("quantile %g is %g, told %g", quantiles[i], right, told);
    }
    assert_int_equal(rt_hdr_quantile(c, 0), values[0]);
    assert_int_equal(rt_hdr_quantile(c, 1), values[N - 1]);
    assert_true(rt_hdr_mean(c) == sum / N);
    double deviation = rt_hdr_stddev(c), ratio = deviation * deviation / (squares / N);
    if (ratio < 0.98 || ratio > 1.02)
        fail_msg("the deviation squared is off by the factor %g", ratio);
    rt_free(values);
    rt_free(c);
}

static void an_empty_histogram_says_zero(void **state)
{
    (void)state;
    struct rt_hdr_counts *c = rt_hdr_counts_new();
    assert_int_equal(rt_hdr_quantile(c, 0.99), 0);
    assert_true(rt_hdr_mean(c) == 0);
    assert_true(rt_hdr_stddev(c) == 0);
    assert_int_equal(rt_hdr_count_upto(c, RT_SECOND), 0);
    rt_hdr_counts_add(c, 5, 0);
    assert_int_equal(c->count, 0);
    rt_free(c);
}

static void equal_values_have_no_deviation(void **state)
{
    (void)state;
    struct rt_hdr_counts *c = rt_hdr_counts_new();
    rt_hdr_counts_add(c, 1234567, 1000);
    assert_int_equal(rt_hdr_quantile(c, 0.5), 1234567);
    assert_true(rt_hdr_stddev(c) == 0);
    rt_free(c);
}

static void what_is_out_of_range_counts_as_the_nearest_step_and_keeps_its_maximum(void **state)
{
    (void)state;
    struct rt_hdr_counts *c = rt_hdr_counts_new();
    rt_hdr_counts_add(c, -5, 1);
    rt_hdr_counts_add(c, 500 * RT_SECOND, 2);
    assert_int_equal(c->count, 3);
    assert_int_equal(c->buckets[0], 1);
    assert_int_equal(c->buckets[RT_HDR_BUCKETS - 1], 2);
    assert_int_equal(rt_hdr_quantile(c, 0.99), 500 * RT_SECOND);
    assert_int_equal(c->min_ns, 0);
    rt_free(c);
}

static void a_merge_equals_recording_all_and_a_difference_what_came_later(void **state)
{
    (void)state;
    struct rt_hdr_counts *all = rt_hdr_counts_new(), *early = rt_hdr_counts_new(),
                         *late = rt_hdr_counts_new(), *sum = rt_hdr_counts_new();
    uint64_t seed = 5;
    for (int i = 0; i < 1000; i++) {
        int64_t ns = some_latency(&seed);
        rt_hdr_counts_add(i < 600 ? early : late, ns, 1);
        rt_hdr_counts_add(all, ns, 1);
    }
    rt_hdr_counts_merge(sum, early);
    rt_hdr_counts_merge(sum, late);
    assert_memory_equal(sum, all, sizeof *all);
    assert_true(rt_hdr_counts_subtract(sum, early));
    assert_memory_equal(sum->buckets, late->buckets, sizeof late->buckets);
    assert_int_equal(sum->count, 400);
    assert_int_equal(sum->sum_ns, late->sum_ns);
    assert_true(sum->max_ns >= late->max_ns);
    assert_true((double)sum->max_ns <= 1.01 * (double)late->max_ns);
    // the wrong way round is noticed, and changes nothing
    struct rt_hdr_counts *before = rt_hdr_counts_new();
    *before = *early;
    assert_false(rt_hdr_counts_subtract(early, all));
    assert_memory_equal(early, before, sizeof *before);
    rt_free(all);
    rt_free(early);
    rt_free(late);
    rt_free(sum);
    rt_free(before);
}

static struct rt_hdr_counts *some_counts(uint64_t seed, int n)
{
    struct rt_hdr_counts *c = rt_hdr_counts_new();
    for (int i = 0; i < n; i++)
        rt_hdr_counts_add(c, some_latency(&seed), 1 + next_random(&seed) % 3);
    return c;
}

static void bytes_and_back_is_the_same_histogram(void **state)
{
    (void)state;
    static const int sizes[] = {0, 1, 500, 20000};
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        struct rt_hdr_counts *c = some_counts(3 + i, sizes[i]), *back = rt_hdr_counts_new();
        struct rt_string bytes = {0};
        rt_hdr_encode(c, &bytes);
        assert_int_equal(rt_hdr_decode(rt_bytes(bytes.data, bytes.len), back), 0);
        assert_memory_equal(back, c, sizeof *c);
        // decoding adds
        assert_int_equal(rt_hdr_decode(rt_bytes(bytes.data, bytes.len), back), 0);
        assert_int_equal(back->count, 2 * c->count);
        rt_string_deinit(&bytes);
        rt_free(c);
        rt_free(back);
    }
}

static void cut_or_foreign_bytes_are_refused_and_change_nothing(void **state)
{
    (void)state;
    struct rt_hdr_counts *c = some_counts(8, 60), *back = rt_hdr_counts_new(),
                         *empty = rt_hdr_counts_new();
    struct rt_string bytes = {0};
    rt_hdr_encode(c, &bytes);
    for (size_t len = 0; len < bytes.len; len++)
        assert_int_equal(rt_hdr_decode(rt_bytes(bytes.data, len), back), -EINVAL);
    for (int i = 0; i < 4; i++) { // another version, another layout
        bytes.data[i]++;
        assert_int_equal(rt_hdr_decode(rt_bytes(bytes.data, bytes.len), back), -EINVAL);
        bytes.data[i]--;
    }
    rt_string_append(&bytes, "\xff\xff\x03\x01", 4); // a step behind the last one
    assert_int_equal(rt_hdr_decode(rt_bytes(bytes.data, bytes.len), back), -EINVAL);
    assert_memory_equal(back, empty, sizeof *back);
    uint64_t seed = 12;
    for (int i = 0; i < 20000; i++) { // noise behind a good head must not hurt
        uint8_t noise[64];
        memcpy(noise, bytes.data, 4);
        for (size_t k = 4; k < sizeof noise; k++)
            noise[k] = (uint8_t)(next_random(&seed) >> 20);
        (void)rt_hdr_decode(rt_bytes(noise, sizeof noise), back); // either is right
        rt_hdr_counts_reset(back);
    }
    rt_string_deinit(&bytes);
    rt_free(c);
    rt_free(back);
    rt_free(empty);
}

enum { RECORDERS = 16, RECORDS = 20000 };

struct recorder {
    struct rt_hdr *h;
    int number;
    struct rt_waitgroup *done;
};

static void record_many(void *arg)
{
    struct recorder *r = arg;
    for (int i = 0; i < RECORDS; i++) {
        rt_hdr_record(r->h, 1000 * (1 + r->number) + i % 8);
        if (i % 1000 == 0)
            rt_yield();
    }
    rt_waitgroup_done(r->done);
}

static void goroutines_on_all_ps_lose_no_observation(void **state)
{
    (void)state;
    struct rt_hdr *h = rt_hdr_new();
    struct rt_waitgroup done = {0};
    struct recorder recorders[RECORDERS];
    rt_waitgroup_add(&done, RECORDERS);
    for (int i = 0; i < RECORDERS; i++) {
        recorders[i] = (struct recorder){h, i, &done};
        assert_int_equal(rt_go("recorder", record_many, &recorders[i]), 0);
    }
    rt_waitgroup_wait(&done, RT_FOREVER);
    struct rt_hdr_counts *c = rt_hdr_counts_new();
    rt_hdr_read(h, c);
    int64_t sum = 0;
    for (int i = 0; i < RECORDERS; i++)
        sum += INT64_C(1000) * (1 + i) * RECORDS + RECORDS / 8 * 28;
    assert_int_equal(c->count, RECORDERS * RECORDS);
    assert_int_equal(c->sum_ns, sum);
    assert_int_equal(c->max_ns, 16007);
    assert_true(c->min_ns <= 1000);
    assert_true(c->min_ns > 990);
    for (int i = 0; i < RECORDERS; i++) { // each recorder's values lie in steps of their own
        uint64_t upto = rt_hdr_count_upto(c, 1000 * (1 + i) + 600);
        assert_int_equal(upto, (uint64_t)(i + 1) * RECORDS);
    }
    rt_free(c);
    rt_hdr_free(h);
}

static void several_at_once_are_as_one_by_one_without_the_unknown(void **state)
{
    (void)state;
    struct rt_hdr *h[3];
    const int64_t ns[3] = {70000, -1, 0};
    const uint64_t counts[3] = {5, 0, 5};
    for (int i = 0; i < 3; i++)
        h[i] = rt_hdr_new();
    rt_hdr_record_each(h, ns, 3, 1);
    rt_hdr_record_each(h, ns, 3, 4);
    for (int i = 0; i < 3; i++) {
        struct rt_hdr_counts *c = rt_hdr_counts_new();
        rt_hdr_read(h[i], c);
        assert_int_equal(c->count, counts[i]);
        assert_int_equal(c->sum_ns, counts[i] * (uint64_t)ns[i]);
        rt_free(c);
        rt_hdr_free(h[i]);
    }
}

static void metrics_count_by_bounds_and_end_with_the_total(void **state)
{
    (void)state;
    static const int64_t bounds[] = {50000, 1000000, 10 * RT_SECOND};
    struct rt_metrics *m = rt_metrics_new();
    struct rt_hdr *h =
        rt_metrics_hdr(m, "x_seconds", "stage=\"a\"", "Help.", bounds, ARRAY_LEN(bounds));
    assert_ptr_equal(
        h, rt_metrics_hdr(m, "x_seconds", "stage=\"a\"", "Help.", bounds, ARRAY_LEN(bounds)));
    rt_hdr_record(h, 20000);
    rt_hdr_record(h, 500000);
    rt_hdr_record(h, 500000);
    rt_hdr_record(h, 20 * RT_SECOND);
    struct rt_string out = {0};
    rt_metrics_write(m, &out);
    assert_string_equal(rt_string_cstr(&out), "# HELP x_seconds Help.\n"
                                              "# TYPE x_seconds histogram\n"
                                              "x_seconds_bucket{stage=\"a\",le=\"5e-05\"} 1\n"
                                              "x_seconds_bucket{stage=\"a\",le=\"0.001\"} 3\n"
                                              "x_seconds_bucket{stage=\"a\",le=\"10\"} 3\n"
                                              "x_seconds_bucket{stage=\"a\",le=\"+Inf\"} 4\n"
                                              "x_seconds_sum{stage=\"a\"} 20.00102\n"
                                              "x_seconds_count{stage=\"a\"} 4\n");
    rt_string_deinit(&out);
    rt_metrics_free(m);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(steps_touch_and_hold_their_own_edges),
    cmocka_unit_test(a_single_value_is_told_within_one_percent_from_a_microsecond_on),
    cmocka_unit_test(quantiles_mean_and_deviation_are_those_of_the_values),
    cmocka_unit_test(an_empty_histogram_says_zero),
    cmocka_unit_test(equal_values_have_no_deviation),
    cmocka_unit_test(what_is_out_of_range_counts_as_the_nearest_step_and_keeps_its_maximum),
    cmocka_unit_test(a_merge_equals_recording_all_and_a_difference_what_came_later),
    cmocka_unit_test(bytes_and_back_is_the_same_histogram),
    cmocka_unit_test(cut_or_foreign_bytes_are_refused_and_change_nothing),
    cmocka_unit_test(goroutines_on_all_ps_lose_no_observation),
    cmocka_unit_test(several_at_once_are_as_one_by_one_without_the_unknown),
    cmocka_unit_test(metrics_count_by_bounds_and_end_with_the_total),
};

RT_TEST_GROUP(group, tests)

int main(void) { return rt_test_main(&(struct rt_options){.procs = 4}, group); }
