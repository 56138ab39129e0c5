/* kvlab's tables, plots and page, its options, its windows of stages: without a cluster. */
#include "cmd/kvlab/kube.h"
#include "cmd/kvlab/leftovers.h"
#include "cmd/kvlab/machine.h"
#include "cmd/kvlab/notes.h"
#include "cmd/kvlab/plot.h"
#include "tests/support/rt_test.h"
#include <errno.h>

static struct table *small_table(struct report *r, struct section *s)
{
    static const struct column columns[] = {
        {"set, \"ting\"", "", false, 0}, {"P50", "ms", true, 2}, {"n", "", false, 0}};
    struct table *t = report_table(r, s, "small", "A <small> table", columns, 3);
    struct cell *row = table_row(r, t);
    row[0] = cell_text("a,b");
    row[1] = cell_spread(stat_spread_of((double[]){1, 2, 3.25}, 3));
    row[2] = cell_number(12345);
    row = table_row(r, t);
    row[0] = cell_text("<b>");
    row[1] = cell_number(0.5);
    return t;
}

static void a_table_as_csv_keeps_every_figure_and_quotes_words(void **state)
{
    (void)state;
    struct report r;
    struct rt_string csv = {0};
    report_init(&r);
    table_to_csv(small_table(&r, report_section(&r, "x", "X", "Q?", NULL)), &csv);
    assert_string_equal(rt_string_cstr(&csv),
                        "\"set, \"\"ting\"\"\",P50 (ms),P50 low (ms),P50 high (ms),n\n"
                        "\"a,b\",2,1,3.25,12345\n<b>,0.5,,,\n");
    rt_string_deinit(&csv);
    report_deinit(&r);
}

static void a_page_escapes_words_and_names_nothing_outside_itself(void **state)
{
    (void)state;
    struct report r;
    struct rt_string html = {0};
    report_init(&r);
    r.quick = true;
    struct section *s = report_section(&r, "x", "X", "Is 1 < 2?", NULL);
    small_table(&r, s);
    report_say(&r, s, "%s", "a & b");
    report_check(&r, s, false, "%s", "water is dry");
    s->state = SECTION_DONE;
    report_to_html(&r, &html);
    const char *page = rt_string_cstr(&html);
    assert_non_null(strstr(page, "Is 1 &lt; 2?"));
    assert_non_null(strstr(page, "<td class=\"word\">&lt;b&gt;</td>"));
    assert_non_null(strstr(page, "a &amp; b"));
    assert_non_null(strstr(page, "does not hold:</span> water is dry"));
    assert_non_null(strstr(page, "quick form"));
    assert_non_null(strstr(page, "2.00<small>[1.00, 3.25]</small>"));
    static const char *const outside[] = {"http://", "https://", "<script",
                                          "src=",    "@import",  "url("};
    for (size_t i = 0; i < ARRAY_LEN(outside); i++)
        if (strstr(page, outside[i]))
            fail_msg("the page holds %s", outside[i]);
    rt_string_deinit(&html);
    report_deinit(&r);
}

static void a_section_that_failed_says_so_and_why(void **state)
{
    (void)state;
    struct report r;
    struct rt_string html = {0};
    report_init(&r);
    struct section *s = report_section(&r, "x", "X", "Q?", NULL);
    s->state = SECTION_FAILED;
    s->why = "member m2 ended <here>";
    report_section(&r, "y", "Y", "Q?", NULL)->state = SECTION_INTERRUPTED;
    report_to_html(&r, &html);
    assert_non_null(strstr(rt_string_cstr(&html), "member m2 ended &lt;here&gt;"));
    assert_non_null(strstr(rt_string_cstr(&html), "Stopped before its end"));
    rt_string_deinit(&html);
    report_deinit(&r);
}

static void a_section_that_failed_has_words_and_broken_checks_but_no_figures(void **state)
{
    (void)state;
    static const struct column line[] = {{"line", "", false, 0}};
    struct report r;
    struct rt_string html = {0}, text = {0};
    report_init(&r);
    struct section *s = report_section(&r, "x", "X", "Q?", NULL);
    small_table(&r, s);
    table_row(&r, report_table(&r, s, "end", "The end of m1.log", line, 1))[0] = cell_text("bang");
    report_say(&r, s, "%s", "a is higher than b");
    report_check(&r, s, true, "%s", "water is wet");
    report_check(&r, s, false, "%s", "water is dry");
    struct plot *p = report_plot(&r, s, "p", "P", PLOT_LINES, "x", "y");
    p->drawn = true;
    rt_string_printf(&p->svg, "<svg></svg>");
    s->state = SECTION_FAILED;
    report_to_html(&r, &html);
    section_to_text(s, &text);
    const char *const forms[] = {rt_string_cstr(&html), rt_string_cstr(&text)};
    for (int i = 0; i < 2; i++) {
        assert_non_null(strstr(forms[i], "bang"));
        assert_non_null(strstr(forms[i], "water is dry"));
        assert_null(strstr(forms[i], "12345"));
        assert_null(strstr(forms[i], "a is higher than b"));
        assert_null(strstr(forms[i], "water is wet"));
        assert_null(strstr(forms[i], "<figure"));
    }
    rt_string_deinit(&html);
    rt_string_deinit(&text);
    report_deinit(&r);
}

/* Intervals of `pairs` each, the i-th from `least` + i on, 1 wide. */
static void add_intervals(struct report *r, struct section *s, uint32_t count, double least,
                          uint32_t pairs)
{
    static const struct column columns[] = {{"difference", "ms", true, 2}};
    struct table *t = report_table(r, s, "d", "Differences", columns, 1);
    for (uint32_t i = 0; i < count; i++) {
        struct stat_difference d = {least + i + 0.5, least + i, least + i + 1, pairs, true};
        table_row(r, t)[0] = cell_interval(&d);
    }
}

static void the_page_says_how_many_intervals_it_holds(void **state)
{
    (void)state;
    struct report r;
    struct rt_string html = {0};
    report_init(&r);
    struct section *s = report_section(&r, "x", "X", "Q?", NULL);
    add_intervals(&r, s, 3, 1, STAT_PAIRS_MIN);
    add_intervals(&r, s, 2, 100, STAT_PAIRS_MIN - 1); // too few pairs to be called one
    struct stat_difference again = {1.5, 1, 2, STAT_PAIRS_MIN, true},
                           other = {7, 6, 8, STAT_PAIRS_MIN, true};
    report_say(&r, s, "%s", "what the table has, too");
    report_said_difference(s, &again);
    report_say(&r, s, "%s", "what it has not");
    report_said_difference(s, &other);
    s = report_section(&r, "y", "Y", "Q?", NULL);
    add_intervals(&r, s, 5, 1, STAT_PAIRS_MIN);
    s->state = SECTION_FAILED;
    assert_int_equal(report_count_intervals(&r), 4);
    report_to_html(&r, &html);
    assert_non_null(strstr(rt_string_cstr(&html),
                           "The page holds 4 such intervals of 95 %: one in twenty may exclude 0"));
    rt_string_deinit(&html);
    report_deinit(&r);
}

static void a_plot_that_cannot_be_drawn_costs_the_others_and_the_page_nothing(void **state)
{
    (void)state;
    struct report r;
    struct rt_string html = {0};
    struct leftovers left = {0};
    struct why why;
    report_init(&r);
    struct section *s = report_section(&r, "x", "X", "Q?", NULL);
    for (int i = 0; i < 2; i++)
        plot_add(plot_series(
                     &r,
                     report_plot(&r, s, i ? "two" : "one", i ? "Two" : "One", PLOT_LINES, "x", "y"),
                     "s"),
                 1, 2);
    report_say(&r, s, "%s", "a sentence");
    assert_false(plot_draw_section(&r, s, "no/such/folder", &left, &why));
    assert_non_null(strstr(why.text, "no/such/folder/plots/one.dat"));
    for (const struct block *b = s->first; b; b = b->next)
        if (b->kind == BLOCK_PLOT)
            assert_non_null(b->plot->missing);
    assert_true(plot_draw_section(&r, s, "no/such/folder", &left, &why)); // known, and said once
    report_to_html(&r, &html);
    assert_non_null(strstr(rt_string_cstr(&html), "One\u201d is missing"));
    assert_non_null(strstr(rt_string_cstr(&html), "Two\u201d is missing"));
    assert_non_null(strstr(rt_string_cstr(&html), "a sentence"));
    rt_string_deinit(&html);
    report_deinit(&r);
}

static const struct plot *first_plot(const struct section *s)
{
    const struct block *b = s->first;
    while (b && b->kind != BLOCK_PLOT)
        b = b->next;
    return b ? b->plot : NULL;
}

static void the_steps_of_a_histogram_stand_over_their_own_buckets(void **state)
{
    (void)state;
    static const char *const names[] = {"kvd"};
    enum { COUNT = 40 };
    double ms[COUNT];
    for (int i = 0; i < COUNT; i++)
        ms[i] = 6 + i * 0.1; // all above 5 ms and not above 10
    struct report r;
    struct rt_string data = {0}, script = {0}, html = {0};
    report_init(&r);
    struct section *s = report_section(&r, "kube", "K", "Q?", NULL);
    struct kube_analysis a = kube_analyse(ms, COUNT);
    const struct kube_compared figures[KUBE_FIGURES] = {
        {.servers = {stat_spread_of((double[]){8, 9, 11}, 3)}},
        {.servers = {stat_spread_of((double[]){1, 2, 3}, 3)}}};
    kube_report(&r, s, &a, figures, names, 1);
    const struct plot *p = first_plot(s);
    assert_non_null(p);
    plot_data(p, &data);
    plot_script(p, "/tmp/steps", &script);
    // fsteps draws a point's height from the x before it: 40 between 5 and 10, and back to 0 at the end.
    static const char wanted[] = "0.5 0 0 0\n1 0 0 0\n5 0 0 0\n10 40 40 40\n25 0 0 0\n";
    assert_non_null(strstr(rt_string_cstr(&script), " with fsteps"));
    assert_non_null(strstr(rt_string_cstr(&script),
                           "set xrange [0.5:1000]\nset xtics nomirror (1, 5, "
                           "10, 25, 50, 100, 200, 500)\n"));
    assert_memory_equal(rt_string_cstr(&data), wanted, sizeof wanted - 1);
    assert_non_null(strstr(rt_string_cstr(&data), "\n1000 0 0 0\n1000 0 0 0\n\n\n0.5 0"));
    s->state = SECTION_DONE;
    report_to_html(&r, &html);
    assert_non_null(strstr(rt_string_cstr(&html), "9.00<small>[8.00, 11.00]</small>"));
    assert_non_null(strstr(rt_string_cstr(&html), "n = 40 latencies"));
    assert_non_null(strstr(rt_string_cstr(&html), "were they independent"));
    rt_string_deinit(&data);
    rt_string_deinit(&script);
    rt_string_deinit(&html);
    report_deinit(&r);
}

static void the_boxes_of_a_stack_stand_on_each_other(void **state)
{
    (void)state;
    static const char *const names[] = {"one", "two"};
    struct report r;
    struct rt_string data = {0}, script = {0};
    report_init(&r);
    struct plot *p = report_plot(&r, report_section(&r, "x", "X", "Q?", NULL), "stack",
                                 "T \"quoted\"", PLOT_STACK, "x", "y");
    p->x_names = names;
    for (int k = 0; k < 2; k++) {
        struct plot_series *s = plot_series(&r, p, k ? "C" : "A");
        plot_add(s, 0, 1 + k);
        plot_add(s, 1, 10 + k);
    }
    plot_data(p, &data);
    plot_script(p, "/tmp/stack", &script);
    assert_string_equal(
        rt_string_cstr(&data),
        "0 0.5 -0.3 0.3 0 1\n1 5 0.7 1.3 0 10\n\n\n0 2 -0.3 0.3 1 3\n1 15.5 0.7 1.3 10 21\n");
    assert_non_null(strstr(rt_string_cstr(&script), "set title \"T \\\"quoted\\\"\""));
    assert_non_null(strstr(rt_string_cstr(&script), "(\"one\" 0, \"two\" 1)"));
    rt_string_deinit(&data);
    rt_string_deinit(&script);
    report_deinit(&r);
}

static void a_plot_in_the_page_takes_its_colour_of_text_and_leaves_the_head_behind(void **state)
{
    (void)state;
    struct rt_string out = {0};
    plot_inline(RT_BYTES("<?xml version='1'?>\n<svg viewBox='0 0 1 1'><path stroke='black' "
                         "fill=\"black\" x='blacker'/></svg>"),
                &out);
    assert_string_equal(rt_string_cstr(&out),
                        "<svg viewBox='0 0 1 1'><path stroke=\"currentColor\" "
                        "fill=\"currentColor\" x='blacker'/></svg>");
    rt_string_deinit(&out);
}

static enum options_result read_words(struct lab_options *o, struct why *why, char **words)
{
    struct rt_arena arena;
    struct rt_string text = {0};
    int count = 0;
    while (words[count])
        count++;
    rt_arena_init(&arena);
    enum options_result result = options_read(count, words, &arena, o, &text, why);
    rt_string_deinit(&text);
    rt_arena_deinit(&arena);
    return result;
}

static void wrong_options_are_refused_with_what_is_right(void **state)
{
    (void)state;
    static const struct {
        const char *words[5], *says;
    } rows[] = {
        {{"kvlab", "etcd", "--tirals", "3"}, "did you mean --trials?"},
        {{"kvlab", "etcd", "--trials", "0"}, "from 1 to 100"},
        {{"kvlab", "etcd", "--trial-length", "1h"}, "from 100ms to 10m0s"},
        {{"kvlab", "etcd", "--out"}, "--out needs a value"},
        {{"kvlab", "etcd", "--quick=yes"}, "takes no value"},
        {{"kvlab", "etcd", "watch"}, "one experiment at a time"},
        {{"kvlab", "--quick"}, "which experiment?"},
        {{"kvlab", "etcd", "--endpoints", ","}, "no endpoint"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct lab_options o;
        struct why why = {{0}};
        if (read_words(&o, &why, (char **)rows[i].words) != OPTIONS_WRONG ||
            !strstr(why.text, rows[i].says))
            fail_msg("row %zu: wanted \"%s\", got \"%s\"", i, rows[i].says, why.text);
    }
}

static void the_nearest_name_is_found_and_none_where_none_is_near(void **state)
{
    (void)state;
    static const char *const names[] = {"replication", "watch", "kube"};
    assert_string_equal(options_nearest("replicaton", names, 3), "replication");
    assert_string_equal(options_nearest("repl", names, 3), "replication");
    assert_string_equal(options_nearest("wacth", names, 3), "watch");
    assert_null(options_nearest("something-else", names, 3));
}

static void a_metric_is_the_sum_of_its_lines_and_not_of_its_namesakes(void **state)
{
    (void)state;
    static const char text[] =
        "# HELP kvd_x words\nkvd_x{To=\"a b\"} 2\nkvd_x 3.5\nkvd_x_total 100\nother 7\r\n";
    assert_true(metric_of(text, "kvd_x") == 5.5);
    assert_true(metric_of(text, "other") == 7);
    assert_true(metric_of(text, "kvd") == 0);
}

static void add_stage(struct stage_reading *r, const char *name, uint64_t peer, int64_t ns,
                      uint64_t times)
{
    struct stage *s = &r->stages[r->count++];
    snprintf(s->name, sizeof s->name, "%s", name);
    s->peer = peer;
    s->path_ns = ns * (int64_t)times;
    s->counts = rt_hdr_counts_new();
    rt_hdr_counts_add(s->counts, ns, times);
}

static struct stage_reading *reading(uint64_t times, int64_t stalls)
{
    struct stage_reading *r = rt_alloc_zero(sizeof *r);
    add_stage(r, "C", 0, 1000000, times);
    add_stage(r, "C", 7, 3000000, times);
    r->counters[0] = (struct stage_counter){"window_stalls", 1, stalls, false};
    r->counters[1] = (struct stage_counter){"window_stalls", 2, stalls, false};
    r->counters[2] = (struct stage_counter){"depth", 0, stalls, true};
    r->counter_count = 3;
    return r;
}

static void a_window_of_stages_is_what_came_between_two_readings(void **state)
{
    (void)state;
    struct stage_reading *before = reading(10, 4), *after = reading(25, 9), *sum;
    assert_true(stages_subtract(after, before));
    assert_int_equal(stages_find(after, "C")->counts->count, 15);
    assert_int_equal(stages_find(after, "C")->path_ns, 15000000);
    assert_int_equal(stages_counter(after, "window_stalls"), 10);
    assert_int_equal(stages_counter(after, "depth"), 9); // a gauge is as it is
    assert_int_equal(stages_counter(after, "none"), -1);
    sum = stages_merge(NULL, after);
    sum = stages_merge(sum, after);
    assert_int_equal(sum->count, 2);
    assert_int_equal(stages_find(sum, "C")->counts->count, 30);
    assert_int_equal(stages_find(sum, "C")->path_ns, 30000000);
    before->started_ns = 1; // another start of the member
    assert_false(stages_subtract(after, before));
    stages_free(before);
    stages_free(after);
    stages_free(sum);
}

static struct lab *small_lab(struct lab_options *options)
{
    struct lab *lab = rt_alloc_zero(sizeof *lab);
    lab->options = options;
    lab->kernel = lab->cpu = lab->disk = "unknown";
    lab->command = "kvlab \"x\"";
    lab->folder = "no/such/folder";
    rt_arena_init(&lab->arena);
    report_init(&lab->report);
    return lab;
}

static void free_lab(struct lab *lab)
{
    rt_string_deinit(&lab->servers);
    report_deinit(&lab->report);
    rt_arena_deinit(&lab->arena);
    rt_free(lab);
}

static void run_json_has_each_setting_with_its_load_and_knobs_and_trials(void **state)
{
    (void)state;
    struct lab_options options = {.trials = 7};
    struct lab *lab = small_lab(&options);
    struct cluster *c = rt_alloc_zero(sizeof *c); // one that does not tell its knobs
    struct rt_string json = {0};
    snprintf(c->name, sizeof c->name, "pair");
    c->count = 3;
    const struct setting settings[] = {
        {.label = "default",
         .id = "a",
         .cluster = c,
         .load = {.kind = LOAD_PUT,
                  .rate = 500,
                  .clients = 64,
                  .value_bytes = 256,
                  .length_ns = 2 * RT_SECOND,
                  .warmup_ns = RT_SECOND / 4}},
        {.label = "window \"1\"",
         .id = "b",
         .cluster = c,
         .load = {.kind = LOAD_GET, .clients = 1, .length_ns = RT_SECOND},
         .knobs = {{"max-inflight-msgs", "1"}, {"sync-timeout", "5ms"}}}};
    for (uint32_t t = 1; t <= 2; t++)
        for (int i = 0; i < 2; i++)
            note_trial(lab, "replication", &settings[i], t);
    machine_note_server(lab, "a:2379", "3.6.0");
    machine_note_server(lab, "b:2379", "3.5.\"16\"");
    lab_run_json(lab, &json);
    static const char *const wanted[] = {
        "{\"experiment\": \"replication\", \"setting\": \"a\", \"trials\": 2, \"label\": "
        "\"default\", \"cluster\": \"pair\", \"members\": 3, \"load\": {\"kind\": \"put\", "
        "\"loop\": \"open\", \"rate\": 500, \"clients\": 64, \"value_bytes\": 256, "
        "\"length_s\": 2, \"warmup_s\": 0.25}, \"knobs\": {}}",
        "\"label\": \"window \\\"1\\\"\"",
        "\"kind\": \"get\", \"loop\": \"closed\", \"clients\": 1",
        "\"knobs\": {\"max-inflight-msgs\": \"1\", \"sync-timeout\": \"5ms\"}",
        "{\"endpoint\": \"a:2379\", \"version\": \"3.6.0\"}",
        "\"version\": \"3.5.\\\"16\\\"\"",
        "\"kvlab_machine\": {"};
    for (size_t i = 0; i < ARRAY_LEN(wanted); i++)
        if (!strstr(rt_string_cstr(&json), wanted[i]))
            fail_msg("no %s in %s", wanted[i], rt_string_cstr(&json));
    assert_non_null(strstr(lab->kvd_version, "b:2379 is version"));
    rt_string_deinit(&json);
    rt_free(c);
    free_lab(lab);
}

static void
the_folder_that_cannot_be_written_fails_with_the_first_why_and_marks_the_page(void **state)
{
    (void)state;
    struct lab_options options = {0};
    struct why why = {{0}};
    struct lab *lab = small_lab(&options);
    struct section *s = report_section(&lab->report, "x", "X", "Q?", NULL);
    small_table(&lab->report, s);
    s->state = SECTION_DONE;
    assert_false(lab_write_results(lab, &why));
    assert_non_null(strstr(why.text, "tables/small.csv"));
    assert_non_null(strstr(lab->report.unwritten, "tables/small.csv"));
    s->state = SECTION_FAILED; // then there is no table to be written
    assert_false(lab_write_results(lab, &why));
    assert_non_null(strstr(why.text, "run.json"));
    free_lab(lab);
}

static void progress_is_of_all_experiments_and_moves_within_a_step(void **state)
{
    (void)state;
    struct lab_options options = {0};
    struct lab *lab = small_lab(&options);
    struct progress *p = &lab->progress;
    char line[256];
    p->is_terminal = true; // of the lines below, which no goroutine draws
    progress_plan(lab, 20);
    progress_plan(lab, 80);
    progress_begin(lab, 20);
    *p = (struct progress){.is_terminal = true, .planned_s = p->planned_s, .due_s = p->due_s};
    p->step_s = 10; // as progress_step does, with a clock of our own
    const struct {
        double at_s, part;
    } rows[] = {{0, 0}, {5, 0.05}, {10, 0.1}, {60, 0.1}}; // a step that is late is not more
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        double part = progress_part(p, (int64_t)(rows[i].at_s * 1e9));
        if (part < rows[i].part - 1e-9 || part > rows[i].part + 1e-9)
            fail_msg("at %g s: wanted %g, got %g", rows[i].at_s, rows[i].part, part);
    }
    snprintf(p->text, sizeof p->text, "x: a, 1 of 2");
    progress_line(p, 5 * RT_SECOND, line, sizeof line);
    assert_string_equal(line, "[#.......................]   5 %  1:35 left  x: a, 1 of 2"
                              "                        ");
    progress_end(lab); // skipped after half of it: its rest is not to come
    assert_true(p->planned_s == 90);
    assert_true(p->done_s == 10);
    free_lab(lab);
}

static void etcd_refuses_a_cluster_that_is_not_ours(void **state)
{
    (void)state;
    struct lab_options options = {.endpoint_count = 1, .endpoints = {"127.0.0.1:1"}};
    struct why why = {{0}};
    struct lab *lab = small_lab(&options);
    snprintf(lab->etcd_version, sizeof lab->etcd_version, "etcd");
    assert_int_equal(run_etcd(lab, report_section(&lab->report, "x", "X", "Q?", NULL), &why),
                     OUTCOME_SKIPPED);
    assert_non_null(strstr(why.text, "without --endpoints"));
    assert_true(etcd_seconds(lab) == 0);
    free_lab(lab);
}

static void an_end_at_once_kills_what_was_started_and_tells_the_knobs(void **state)
{
    (void)state;
    const char *const argv[] = {"sleep", "600", NULL};
    const struct rt_command sleeper = {.argv = argv};
    struct rt_child *first, *second, *never = NULL;
    struct leftovers left = {0};
    struct rt_string text = {0};
    struct why why;
    int status;
    assert_int_equal(leftovers_spawn(&left, &sleeper, &first, &why), 0);
    assert_int_equal(leftovers_spawn(&left, &sleeper, &second, &why), 0);
    leftovers_knob_turned(&left, "a:1", "sync-timeout", "0s");
    leftovers_knob_turned(&left, "a:1", "sync-timeout", "5ms"); // what it was before us counts
    leftovers_knob_turned(&left, "b:1", "sync-timeout", "0s");
    leftovers_knob_back(&left, "b:1", "sync-timeout");
    leftovers_knob_back(&left, "c:1", "sync-timeout");
    leftovers_end(&left, &text);
    assert_string_equal(rt_string_cstr(&text),
                        "not put back: sync-timeout of a:1 was 0s (kvctl knob "
                        "set sync-timeout 0s --endpoints a:1)\n");
    rt_string_deinit(&text);
    assert_int_equal(rt_wait_child(first, RT_FOREVER, &status), 0);
    assert_int_equal(status, 128 + SIGKILL);
    assert_int_equal(rt_wait_child(second, RT_FOREVER, &status), 0);
    assert_int_equal(status, 128 + SIGKILL);
    assert_int_equal(leftovers_spawn(&left, &sleeper, &never, &why), -ECANCELED);
    leftovers_child_free(&left, first);
    leftovers_child_free(&left, second);
    leftovers_child_free(&left, NULL);
}

static void a_wall_time_is_shown_as_its_date(void **state)
{
    (void)state;
    static const struct {
        int64_t s;
        const char *text, *compact;
    } rows[] = {{0, "1970-01-01 00:00:00", "19700101-000000"},
                {951782399, "2000-02-28 23:59:59", "20000228-235959"},
                {951782400, "2000-02-29 00:00:00", "20000229-000000"},
                {1795466400, "2026-11-23 20:40:00", "20261123-204000"}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char text[32], compact[32];
        machine_date(rows[i].s * RT_SECOND, text, sizeof text, compact, sizeof compact);
        assert_string_equal(text, rows[i].text);
        assert_string_equal(compact, rows[i].compact);
    }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_table_as_csv_keeps_every_figure_and_quotes_words),
    cmocka_unit_test(a_page_escapes_words_and_names_nothing_outside_itself),
    cmocka_unit_test(a_section_that_failed_says_so_and_why),
    cmocka_unit_test(a_section_that_failed_has_words_and_broken_checks_but_no_figures),
    cmocka_unit_test(the_page_says_how_many_intervals_it_holds),
    cmocka_unit_test(a_plot_that_cannot_be_drawn_costs_the_others_and_the_page_nothing),
    cmocka_unit_test(the_steps_of_a_histogram_stand_over_their_own_buckets),
    cmocka_unit_test(the_boxes_of_a_stack_stand_on_each_other),
    cmocka_unit_test(a_plot_in_the_page_takes_its_colour_of_text_and_leaves_the_head_behind),
    cmocka_unit_test(wrong_options_are_refused_with_what_is_right),
    cmocka_unit_test(the_nearest_name_is_found_and_none_where_none_is_near),
    cmocka_unit_test(a_metric_is_the_sum_of_its_lines_and_not_of_its_namesakes),
    cmocka_unit_test(a_window_of_stages_is_what_came_between_two_readings),
    cmocka_unit_test(run_json_has_each_setting_with_its_load_and_knobs_and_trials),
    cmocka_unit_test(the_folder_that_cannot_be_written_fails_with_the_first_why_and_marks_the_page),
    cmocka_unit_test(progress_is_of_all_experiments_and_moves_within_a_step),
    cmocka_unit_test(etcd_refuses_a_cluster_that_is_not_ours),
    cmocka_unit_test(a_wall_time_is_shown_as_its_date),
    cmocka_unit_test(an_end_at_once_kills_what_was_started_and_tells_the_knobs),
};
RT_TEST_GROUP(group, tests)
int main(void) { return rt_test_main(NULL, group); }
