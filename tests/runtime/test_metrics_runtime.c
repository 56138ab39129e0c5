/* The runtime's own metrics. */
#include "tests/runtime/crew.h"
#include <rt/chan.h>
#include <rt/metrics.h>
#include <string.h>

static void stay_a_moment(int who, void *arg)
{
    (void)who;
    (void)arg;
    rt_yield();
}

static void the_runtime_counts_its_goroutines(void **state)
{
    (void)state;
    struct rt_metrics *m = rt_metrics_new();
    struct rt_string out = {0};
    rt_metrics_add_runtime(m);
    crew_run(10, stay_a_moment, NULL);
    rt_metrics_write(m, &out);
    const char *text = rt_string_cstr(&out);
    assert_non_null(strstr(text, "# TYPE go_goroutines gauge\ngo_goroutines "));
    assert_null(strstr(text, "go_goroutines 0\n"));
    assert_non_null(strstr(text, "# TYPE kvd_runtime_spawned_total counter\n"));
    const char *spawned = strstr(text, "\nkvd_runtime_spawned_total ");
    assert_non_null(spawned);
    assert_non_null(strstr(text, "\nkvd_runtime_switches_total "));
    assert_non_null(strstr(text, "\nkvd_runtime_steals_empty_total "));
    assert_true(spawned[strlen("\nkvd_runtime_spawned_total ")] != '0');
    rt_string_deinit(&out);
    rt_metrics_free(m);
}

/* Half of the crew sends, half receives. */
static void talk(int who, void *arg)
{
    for (int i = 0; i < 200; i++) {
        int value = i;
        int err =
            who % 2 ? rt_chan_send(arg, &value, RT_FOREVER) : rt_chan_recv(arg, &value, RT_FOREVER);
        assert(err == 0);
    }
}

static uint64_t number_after(const char *text, const char *name)
{
    uint64_t value = 0;
    const char *at = strstr(text, name);
    assert_non_null(at);
    for (at += strlen(name); *at >= '0' && *at <= '9'; at++)
        value = value * 10 + (uint64_t)(*at - '0');
    return value;
}

static void the_runtime_times_how_long_the_ready_wait(void **state)
{
    (void)state;
    struct rt_metrics *m = rt_metrics_new();
    struct rt_string out = {0};
    rt_metrics_add_runtime(m);
    struct rt_chan *c = rt_chan_new(sizeof(int), 0);
    crew_run(10, talk, c);
    rt_chan_free(c);
    rt_metrics_write(m, &out);
    const char *text = rt_string_cstr(&out);
    assert_non_null(strstr(text, "# TYPE kvd_runtime_sched_latency_seconds histogram\n"));
    uint64_t count = number_after(text, "\nkvd_runtime_sched_latency_seconds_count ");
    assert_true(count >= 5); // of some 1,000 wake-ups one in 64
    assert_int_equal(number_after(text, "\nkvd_runtime_sched_latency_seconds_bucket{le=\"+Inf\"} "),
                     count);
    assert_true(number_after(text, "\nkvd_runtime_threads ") >= 2); // sysmon and ours
    rt_string_deinit(&out);
    rt_metrics_free(m);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(the_runtime_times_how_long_the_ready_wait),
    cmocka_unit_test(the_runtime_counts_its_goroutines)};
RT_TEST_GROUP(group, tests)

int main(void) { return rt_test_main(NULL, group); }
