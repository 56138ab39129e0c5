/* The runtime's own metrics. */
#include "tests/runtime/crew.h"
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
    assert_true(spawned[strlen("\nkvd_runtime_spawned_total ")] != '0');
    rt_string_deinit(&out);
    rt_metrics_free(m);
}

static const struct CMUnitTest tests[] = {cmocka_unit_test(the_runtime_counts_its_goroutines)};
RT_TEST_GROUP(group, tests)

int main(void) { return rt_test_main(NULL, group); }
