/* kvlab's load generator against servers of the test's own, what trials keep of it, and how the end of a
 * member's log is told: without a cluster. */
#include "cmd/kvlab/trials.h"
#include "tests/support/rt_test.h"
#include <math.h>

/* ---- A server that stands still once ---- */

enum { RATE = 1000, LENGTH_MS = 200, STALLED_REQUEST = 5, STALL_MS = 60 };

struct server {
    int asked; // by one client
    int64_t stalled_ns, again_ns;
};

static void *open_server(void *arg, struct why *why)
{
    (void)why;
    return arg;
}

static bool ask_server(void *connection, struct why *why)
{
    struct server *s = connection;
    (void)why;
    if (++s->asked == STALLED_REQUEST) {
        s->stalled_ns = rt_now_ns();
        rt_sleep_ns(STALL_MS * RT_MS);
        s->again_ns = rt_now_ns();
    }
    rt_sleep_ns(RT_MS / 10);
    return true;
}

static void close_server(void *connection) { (void)connection; }

static struct load_result *run_against(struct server *s, double rate, int64_t warmup_ns)
{
    static struct lab_options options;
    struct lab *lab = rt_alloc_zero(sizeof *lab);
    struct cluster *none = rt_alloc_zero(sizeof *none);
    struct why why;
    const struct load_target target = {open_server, ask_server, close_server, s};
    const struct load_spec spec = {.kind = LOAD_OTHER,
                                   .target = &target,
                                   .rate = rate,
                                   .clients = 1,
                                   .value_bytes = 32,
                                   .length_ns = LENGTH_MS * RT_MS,
                                   .warmup_ns = warmup_ns};
    lab->options = &options;
    none->lab = lab;
    struct load_result *r = load_run(none, &spec, &why);
    rt_free(none);
    rt_free(lab);
    if (!r)
        fail_msg("%s", why.text);
    return r;
}

static void in_the_open_loop_a_stall_costs_every_request_that_was_due_meanwhile(void **state)
{
    (void)state;
    struct server s = {0};
    struct load_result *r = run_against(&s, RATE, 0);
    size_t due_meanwhile = 0;
    assert_int_equal(r->count, RATE * LENGTH_MS / 1000); // none is left out, however late
    for (size_t i = 0; i < r->count; i++) {
        int64_t due_ns = r->started_ns + r->samples[i].at_ns;
        if (due_ns < s.stalled_ns || due_ns > s.again_ns)
            continue;
        due_meanwhile++;
        if (due_ns + r->samples[i].latency_ns < s.again_ns)
            fail_msg("a request due %ld us into the stall is said to have taken %ld us",
                     (long)(due_ns - s.stalled_ns) / 1000, (long)r->samples[i].latency_ns / 1000);
    }
    assert_true(due_meanwhile > 0);
    load_free(r);
}

static void in_the_closed_loop_a_stall_costs_the_one_request_that_met_it(void **state)
{
    (void)state;
    struct server s = {0};
    struct load_result *r = run_against(&s, 0, 0);
    size_t over = 0;
    for (size_t i = 0; i < r->count; i++) {
        int64_t due_ns = r->started_ns + r->samples[i].at_ns;
        over += due_ns <= s.stalled_ns && due_ns + r->samples[i].latency_ns >= s.again_ns;
    }
    assert_int_equal(over, 1);
    load_free(r);
}

static void what_the_warm_up_saw_is_no_sample_but_in_the_histogram_of_all(void **state)
{
    (void)state;
    struct server s = {0};
    struct load_result *r = run_against(&s, RATE, LENGTH_MS * RT_MS / 2);
    assert_int_equal(r->count, RATE * LENGTH_MS / 1000 / 2);
    assert_int_equal(r->every->count, RATE * LENGTH_MS / 1000);
    assert_int_equal(r->acknowledged, r->every->count);
    load_free(r);
}

/* ---- Drawn ---- */

static void a_curve_of_more_puts_than_it_holds_keeps_the_slowest_and_reaches_the_end(void **state)
{
    (void)state;
    enum { PUTS = 100000, SLOW_AT = 77777 };
    struct report report;
    report_init(&report);
    struct plot *p = report_plot(&report, report_section(&report, "x", "X", "Q?", NULL), "p", "P",
                                 PLOT_POINTS, "s", "ms");
    struct load_result r = {.count = PUTS, .samples = rt_alloc(PUTS * sizeof *r.samples)};
    for (int i = 0; i < PUTS; i++)
        r.samples[i] = (struct load_sample){i * RT_MS, RT_MS + i % 7};
    r.samples[SLOW_AT].latency_ns = RT_SECOND;
    struct plot_series *curve = plot_series(&report, p, "puts");
    assert_true(load_draw(&r, curve));
    assert_true(curve->count <= curve->cap);
    int slow = 0;
    for (uint32_t i = 0; i < curve->count; i++)
        slow += curve->points[i].x == SLOW_AT / 1000.0 && curve->points[i].y == 1000;
    assert_int_equal(slow, 1);
    assert_true(curve->points[0].x < 0.1);
    assert_true(curve->points[curve->count - 1].x > 99.9);
    r.count = 100;
    curve = plot_series(&report, p, "few");
    assert_false(load_draw(&r, curve));
    assert_int_equal(curve->count, 100);
    rt_free(r.samples);
    report_deinit(&report);
}

/* ---- Stages, trial by trial ---- */

static struct stage_trials *row_of(struct measured *m, const char *name, const double *waited)
{
    struct stage_trials *row = rt_alloc_zero(sizeof *row);
    snprintf(row->name, sizeof row->name, "%s", name);
    for (uint32_t t = 0; t < m->trials; t++)
        row->ms[STAGE_WAITED][t] = waited[t];
    return m->by_stage[m->by_stage_count++] = row;
}

static void
stages_that_grow_in_every_pair_of_trials_are_shown_to_grow_and_others_are_not(void **state)
{
    (void)state;
    enum { TRIALS = 7 };
    static const double c_before[TRIALS] = {1, 1.1, 0.9, 1, 1.2, NAN, 1},
                        c_after[TRIALS] = {2, 2.3, 1.8, 2, 2.5, 2, 2},
                        e_before[TRIALS] = {1, 1.1, 0.9, 1, 1.2, 1, 1},
                        e_after[TRIALS] = {1.1, 1, 1, 0.9, 1.2, 1, 1};
    static const char *const c[] = {"C", NULL}, *const e[] = {"E", NULL},
                             *const both[] = {"C", "E", NULL}, *const none[] = {"X", NULL};
    static struct lab_options options = {.seed = 1};
    struct lab *lab = rt_alloc_zero(sizeof *lab);
    struct measured *m = rt_alloc_zero(2 * sizeof *m);
    lab->options = &options;
    m[0].trials = m[1].trials = TRIALS;
    row_of(&m[0], "C", c_before);
    row_of(&m[1], "C", c_after);
    row_of(&m[0], "E", e_before);
    row_of(&m[1], "E", e_after);
    struct stat_difference d = measured_waited_difference(lab, &m[0], &m[1], c);
    assert_int_equal(d.pairs, TRIALS - 1); // of the trial that told nothing there is no pair
    assert_true(d.differs);
    assert_true(d.low > 0.8);
    assert_false(measured_waited_difference(lab, &m[0], &m[1], e).differs);
    assert_true(measured_waited_difference(lab, &m[0], &m[1], both).differs);
    assert_int_equal(measured_waited_difference(lab, &m[0], &m[1], none).pairs, 0);
    assert_int_equal(measured_waited_spread(&m[0], c).trials, TRIALS - 1);
    measured_free(m, 2);
    rt_free(m);
    rt_free(lab);
}

static void a_table_of_short_trials_says_what_its_p99_is(void **state)
{
    (void)state;
    struct lab *lab = rt_alloc_zero(sizeof *lab);
    struct measured *m = rt_alloc_zero(2 * sizeof *m);
    report_init(&lab->report);
    m[0].trials = m[1].trials = 1;
    m[0].least_samples = m[1].least_samples = 100;
    assert_string_equal(measured_note(lab, "Words.", m, 2), "Words.");
    m[1].least_samples = 70;
    const char *note = measured_note(lab, "Words.", m, 2);
    assert_ptr_equal(strstr(note, "Words. "), note);
    assert_non_null(strstr(note, "as few as 70 samples"));
    report_deinit(&lab->report);
    rt_free(m);
    rt_free(lab);
}

/* ---- The end of a log ---- */

static void the_end_of_a_log_is_told_from_the_line_that_says_most(void **state)
{
    (void)state;
    static const struct {
        const char *when, *log, *from;
    } rows[] = {
        {"nothing is there", "", ""},
        {"there are fewer lines than asked for", "a\nb\n", "a\nb\n"},
        {"no line tells of an error", "a\nb\nc\nd\n", "c\nd\n"},
        {"the last line has no end", "a\nb\nc", "b\nc"},
        {"one line tells of an error", "a\n{\"level\":\"error\"}\nb\nc\nd\n",
         "{\"level\":\"error\"}\nb\nc\nd\n"},
        {"the error is long ago", "{\"level\":\"error\"}\n1\n2\n3\n4\n5\n6\n7\n8\n9\n", "8\n9\n"},
        {"a process died",
         "{\"level\":\"error\"}\nf.c:1: f: assertion failed: x\n\ngoroutines:\n\n1\n2\n3\n",
         "f.c:1: f: assertion failed: x\n\ngoroutines:\n\n1\n2\n3\n"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (strcmp(log_end(rows[i].log, 2), rows[i].from) != 0)
            fail_msg("when %s: it begins at \"%s\"", rows[i].when, log_end(rows[i].log, 2));
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(in_the_open_loop_a_stall_costs_every_request_that_was_due_meanwhile),
    cmocka_unit_test(in_the_closed_loop_a_stall_costs_the_one_request_that_met_it),
    cmocka_unit_test(what_the_warm_up_saw_is_no_sample_but_in_the_histogram_of_all),
    cmocka_unit_test(a_curve_of_more_puts_than_it_holds_keeps_the_slowest_and_reaches_the_end),
    cmocka_unit_test(stages_that_grow_in_every_pair_of_trials_are_shown_to_grow_and_others_are_not),
    cmocka_unit_test(a_table_of_short_trials_says_what_its_p99_is),
    cmocka_unit_test(the_end_of_a_log_is_told_from_the_line_that_says_most),
};
RT_TEST_GROUP(group, tests)
int main(void) { return rt_test_main(NULL, group); }
