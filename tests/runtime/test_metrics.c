/* The registry and its text form. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <pthread.h>
#include <rt/metrics.h>
#include <stdio.h>
#include <string.h>

#include "runtime/inspect/number.h"

/* Texts as Go's strconv.FormatFloat(f, 'g', -1, 64) gives them. */
static void numbers_are_written_as_go_writes_them(void **state)
{
    (void)state;
    static const struct {
        double value;
        const char *text;
    } rows[] = {
        {0, "0"},
        {-0.0, "-0"},
        {1, "1"},
        {-12.5, "-12.5"},
        {0.001, "0.001"},
        {0.0001, "0.0001"},
        {0.00001, "1e-05"},
        {0.000012345, "1.2345e-05"},
        {100000, "100000"},
        {999999, "999999"},
        {1000000, "1e+06"},
        {1234567, "1.234567e+06"},
        {1500000, "1.5e+06"},
        {123456789012, "1.23456789012e+11"},
        {1e21, "1e+21"},
        {0.1, "0.1"},
        {0.1 + 0.2, "0.30000000000000004"},
        {8.192, "8.192"},
        {0.0256, "0.0256"},
        {5e-324, "5e-324"},
        {1.7976931348623157e308, "1.7976931348623157e+308"},
        {INFINITY, "+Inf"},
        {-INFINITY, "-Inf"},
        {NAN, "NaN"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char buf[NUMBER_BYTES];
        assert_string_equal(number_format(rows[i].value, buf), rows[i].text);
    }
}

static double answer(void *arg) { return *(double *)arg; }

static void families_and_series_are_written_in_order_with_one_head(void **state)
{
    (void)state;
    struct rt_metrics *m = rt_metrics_new();
    struct rt_string out = {0};
    static double lag = 1.5;
    rt_counter_add(rt_metrics_counter(m, "peer_sent_bytes_total", "To=\"b\"", "Bytes sent."), 2);
    rt_gauge_set(rt_metrics_gauge(m, "has_leader", "", "Two\nlines and a \\."), 1);
    rt_counter_add(rt_metrics_counter(m, "peer_sent_bytes_total", "To=\"a\"", "Bytes sent."),
                   1234567);
    rt_metrics_gauge_fn(m, "lag_seconds", "", "Lag.", answer, &lag);
    rt_metrics_write(m, &out);
    assert_string_equal(rt_string_cstr(&out), "# HELP has_leader Two\\nlines and a \\\\.\n"
                                              "# TYPE has_leader gauge\n"
                                              "has_leader 1\n"
                                              "# HELP lag_seconds Lag.\n"
                                              "# TYPE lag_seconds gauge\n"
                                              "lag_seconds 1.5\n"
                                              "# HELP peer_sent_bytes_total Bytes sent.\n"
                                              "# TYPE peer_sent_bytes_total counter\n"
                                              "peer_sent_bytes_total{To=\"a\"} 1.234567e+06\n"
                                              "peer_sent_bytes_total{To=\"b\"} 2\n");
    rt_string_deinit(&out);
    rt_metrics_free(m);
}

static void the_same_name_and_labels_are_the_same_metric(void **state)
{
    (void)state;
    struct rt_metrics *m = rt_metrics_new();
    assert_ptr_equal(rt_metrics_counter(m, "a", "", "x"), rt_metrics_counter(m, "a", "", "y"));
    assert_ptr_not_equal(rt_metrics_counter(m, "a", "", "x"),
                         rt_metrics_counter(m, "a", "l=\"1\"", "x"));
    assert_ptr_equal(rt_metrics_histogram(m, "h", "", "x", 1, 2, 3),
                     rt_metrics_histogram(m, "h", "", "x", 1, 2, 3));
    rt_metrics_free(m);
}

static void a_histogram_counts_into_cumulative_buckets(void **state)
{
    (void)state;
    struct rt_metrics *m = rt_metrics_new();
    struct rt_string out = {0};
    struct rt_histogram *h = rt_metrics_histogram(m, "fsync_seconds", "", "Took.", 0.001, 2, 3);
    struct rt_histogram *sizes = rt_metrics_histogram(m, "batch", "k=\"v\"", "Size.", 1, 4, 2);
    rt_histogram_observe_ns(h, 500000);  // below the first bound
    rt_histogram_observe_ns(h, 1000000); // on it: le means less or equal
    rt_histogram_observe_ns(h, 1000001);
    rt_histogram_observe_ns(h, 9000000); // above all
    rt_histogram_observe(sizes, 3);
    rt_metrics_write(m, &out);
    assert_string_equal(rt_string_cstr(&out), "# HELP batch Size.\n"
                                              "# TYPE batch histogram\n"
                                              "batch_bucket{k=\"v\",le=\"1\"} 0\n"
                                              "batch_bucket{k=\"v\",le=\"4\"} 1\n"
                                              "batch_bucket{k=\"v\",le=\"+Inf\"} 1\n"
                                              "batch_sum{k=\"v\"} 3\n"
                                              "batch_count{k=\"v\"} 1\n"
                                              "# HELP fsync_seconds Took.\n"
                                              "# TYPE fsync_seconds histogram\n"
                                              "fsync_seconds_bucket{le=\"0.001\"} 2\n"
                                              "fsync_seconds_bucket{le=\"0.002\"} 3\n"
                                              "fsync_seconds_bucket{le=\"0.004\"} 3\n"
                                              "fsync_seconds_bucket{le=\"+Inf\"} 4\n"
                                              "fsync_seconds_sum 0.011500001\n"
                                              "fsync_seconds_count 4\n");
    rt_string_deinit(&out);
    rt_metrics_free(m);
}

enum { THREADS = 4, ROUNDS = 5000, SERIES = 8 };

static void *make_and_count(void *arg)
{
    struct rt_metrics *m = arg;
    char name[16], labels[16];
    for (int i = 0; i < ROUNDS; i++) {
        snprintf(name, sizeof(name), "m%d", i % SERIES);
        snprintf(labels, sizeof(labels), "l=\"%d\"", i / SERIES % SERIES);
        if (i < SERIES * SERIES) {
            rt_metrics_counter(m, name, labels, "x");
            struct rt_string out = {0};
            rt_metrics_write(m, &out);
            rt_string_deinit(&out);
        }
        rt_counter_add(rt_metrics_counter(m, "all", "", "x"), 1);
        rt_histogram_observe(rt_metrics_histogram(m, "h", "", "x", 1, 2, 4), 2);
    }
    return NULL;
}

static void threads_that_make_the_same_metrics_share_them(void **state)
{
    (void)state;
    struct rt_metrics *m = rt_metrics_new();
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, make_and_count, m), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    struct rt_string out = {0};
    rt_metrics_write(m, &out);
    const char *text = rt_string_cstr(&out);
    assert_int_equal(rt_counter_get(rt_metrics_counter(m, "all", "", "x")), THREADS * ROUNDS);
    assert_non_null(strstr(text, "\nall 20000\n"));
    assert_non_null(strstr(text, "\nh_sum 40000\n"));
    assert_non_null(strstr(text, "\nh_count 20000\n"));
    int heads = 0;
    for (const char *at = text; (at = strstr(at, "# TYPE ")) != NULL; at++)
        heads++;
    assert_int_equal(heads, SERIES + 2);
    rt_string_deinit(&out);
    rt_metrics_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_are_written_as_go_writes_them),
        cmocka_unit_test(families_and_series_are_written_in_order_with_one_head),
        cmocka_unit_test(the_same_name_and_labels_are_the_same_metric),
        cmocka_unit_test(a_histogram_counts_into_cumulative_buckets),
        cmocka_unit_test(threads_that_make_the_same_metrics_share_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
