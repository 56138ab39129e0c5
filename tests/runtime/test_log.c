/* Log lines: what is written, byte for byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <rt/alloc.h>
#include <rt/log.h>
#include <rt/time.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static struct rt_log *logger;
static int fds[2];
static char text[256 << 10];

static int open_log(void **state)
{
    (void)state;
    if (pipe(fds) != 0)
        return -1;
    logger = rt_log_new(fds[1], RT_LOG_DEBUG);
    return 0;
}

static int close_log(void **state)
{
    (void)state;
    rt_log_free(logger);
    close(fds[0]);
    close(fds[1]);
    return 0;
}

/* What was written so far, without the part that is never the same. */
static const char *line_after_caller(void)
{
    ssize_t n = read(fds[0], text, sizeof(text) - 1);
    text[n > 0 ? n : 0] = 0;
    const char *msg = strstr(text, "\"msg\":");
    return msg ? msg : text;
}

static void a_line_has_level_time_caller_message_and_fields_in_order(void **state)
{
    (void)state;
    rt_log(logger, RT_LOG_WARN, "slow fdatasync", rt_f_int("took_ms", -212),
           rt_f_uint("entries", 31), rt_f_hex("member", UINT64_C(0x8e9e05c52164694d)),
           rt_f_str("segment", "7.seg"), rt_f_bool("leader", true), rt_f_duration("took", 1500000),
           rt_f_str("none", NULL));
    assert_string_equal(line_after_caller(),
                        "\"msg\":\"slow fdatasync\",\"took_ms\":-212,\"entries\":31,"
                        "\"member\":\"8e9e05c52164694d\",\"segment\":\"7.seg\",\"leader\":true,"
                        "\"took\":\"1.5ms\",\"none\":\"\"}\n");
    assert_memory_equal(text, "{\"level\":\"warn\",\"ts\":\"", 22);
    assert_non_null(strstr(text, "\",\"caller\":\"tests/runtime/test_log.c:"));
}

static void the_time_is_rfc3339_with_microseconds_and_the_local_offset(void **state)
{
    (void)state;
    setenv("TZ", "XXX+03:30", 1); // three and a half hours west
    tzset();
    rt_log(logger, RT_LOG_INFO, "x");
    line_after_caller();
    const char *ts = strstr(text, "\"ts\":\"");
    assert_non_null(ts);
    ts += strlen("\"ts\":\"");
    static const char shape[] = "dddd-dd-ddTdd:dd:dd.dddddd-0330\"";
    for (size_t i = 0; shape[i]; i++)
        if (shape[i] == 'd' ? ts[i] < '0' || ts[i] > '9' : ts[i] != shape[i])
            fail_msg("at %zu: %.33s", i, ts);
    struct tm tm = {0};
    assert_non_null(strptime(ts, "%Y-%m-%dT%H:%M:%S", &tm));
    long long logged = (long long)timegm(&tm) + 3 * 3600 + 1800;
    long long now = (long long)(rt_wall_ns() / RT_SECOND);
    assert_in_range(now - logged, 0, 600);
    setenv("TZ", "UTC", 1);
    tzset();
    rt_log(logger, RT_LOG_INFO, "x");
    line_after_caller();
    assert_non_null(strstr(text, "+0000\",\"caller\""));
}

static void every_byte_comes_out_as_valid_json(void **state)
{
    (void)state;
    static const struct {
        const char *in;
        size_t len;
        const char *out;
    } rows[] = {
        {"quote \" back \\", 14, "quote \\\" back \\\\"},
        {"\n\r\t\b\x1f\x7f", 6, "\\n\\r\\t\\u0008\\u001f\x7f"},
        {"a\0b", 3, "a\\u0000b"},
        {"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", 9, "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80"},
        {"\xff", 1, "\\ufffd"},
        {"\xc0\x80", 2, "\\ufffd\\ufffd"},                       // overlong
        {"\xed\xa0\x80", 3, "\\ufffd\\ufffd\\ufffd"},            // half of a surrogate pair
        {"\xf4\x90\x80\x80", 4, "\\ufffd\\ufffd\\ufffd\\ufffd"}, // beyond U+10FFFF
        {"\xe2\x82", 2, "\\ufffd\\ufffd"},                       // cut
        {"\xe2\x82z", 3, "\\ufffd\\ufffdz"},
        {"", 0, ""},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char expected[128];
        rt_log(logger, RT_LOG_INFO, "m", rt_f_bytes("v", rt_bytes(rows[i].in, rows[i].len)));
        snprintf(expected, sizeof(expected), "\"msg\":\"m\",\"v\":\"%s\"}\n", rows[i].out);
        assert_string_equal(line_after_caller(), expected);
    }
}

static void lines_below_the_level_and_without_a_logger_are_dropped(void **state)
{
    (void)state;
    rt_log_set_level(logger, RT_LOG_WARN);
    rt_log(logger, RT_LOG_INFO, "dropped");
    rt_log(NULL, RT_LOG_ERROR, "dropped");
    rt_log(logger, RT_LOG_ERROR, "kept");
    assert_string_equal(line_after_caller(), "\"msg\":\"kept\"}\n");
    assert_memory_equal(text, "{\"level\":\"error\"", 16);
    enum rt_log_level level = RT_LOG_INFO;
    assert_true(rt_log_level_parse("debug", &level));
    assert_int_equal(level, RT_LOG_DEBUG);
    assert_true(rt_log_level_parse("panic", &level));
    assert_int_equal(level, RT_LOG_FATAL);
    assert_false(rt_log_level_parse("DEBUG", &level));
    assert_false(rt_log_level_parse("", &level));
}

static void a_long_line_stays_one_object_and_is_cut_at_its_limit(void **state)
{
    (void)state;
    size_t len = 30000;
    char *big = rt_alloc(len + 1);
    memset(big, 'v', len);
    big[len] = 0;
    rt_log(logger, RT_LOG_INFO, "long", rt_f_str("a", big), rt_f_int("n", 1));
    const char *line = line_after_caller();
    assert_int_equal(strlen(line), strlen("\"msg\":\"long\",\"a\":\"\",\"n\":1}\n") + len);
    assert_string_equal(line + strlen(line) - 9, "\",\"n\":1}\n");
    rt_log(logger, RT_LOG_INFO, "longer", rt_f_str("a", big), rt_f_str("b", big), rt_f_int("n", 1));
    line = line_after_caller();
    assert_true(strlen(text) <= 64 << 10);
    assert_string_equal(line + strlen(line) - 2, "}\n");
    rt_free(big);
}

static void a_gate_opens_once_and_counts_what_it_dropped(void **state)
{
    (void)state;
    struct rt_log_gate gate = {0};
    assert_true(rt_log_gate_open(&gate, 3600 * RT_SECOND));
    assert_false(rt_log_gate_open(&gate, 3600 * RT_SECOND));
    assert_false(rt_log_gate_open(&gate, 3600 * RT_SECOND));
    assert_int_equal(atomic_load(&gate.dropped), 2);
    struct rt_log_gate always = {0};
    assert_true(rt_log_gate_open(&always, 0));
    assert_true(rt_log_gate_open(&always, 0));
}

static int whole_lines(const char *at)
{
    int count = 0;
    for (const char *end; (end = strchr(at, '\n')) != NULL; at = end + 1) {
        assert_int_equal(*at, '{');
        assert_int_equal(end[-1], '}');
        count++;
    }
    assert_int_equal(*at, 0);
    return count;
}

static void a_full_pipe_stops_nobody_and_what_it_has_no_room_for_is_counted(void **state)
{
    (void)state;
    enum { LINES = 1000 };
    static const size_t sizes[] = {10, 700, 3000, 9000, 40000};
    char *big = rt_alloc(40001);
    alarm(60); // it would wait for ever
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        uint64_t before = rt_log_dropped();
        memset(big, 'v', sizes[i]);
        big[sizes[i]] = 0;
        for (int k = 0; k < LINES; k++)
            rt_log(logger, RT_LOG_INFO, "nobody reads", rt_f_str("a", big));
        ssize_t n = read(fds[0], text, sizeof(text) - 1);
        assert_true(n > 0);
        text[n] = 0;
        uint64_t dropped = rt_log_dropped() - before;
        assert_true(dropped > 0);
        assert_int_equal(whole_lines(text) + dropped, LINES);
    }
    rt_log(logger, RT_LOG_INFO, "again", rt_f_int("n", 1));
    assert_string_equal(line_after_caller(), "\"msg\":\"again\",\"n\":1}\n");
    alarm(0);
    rt_free(big);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_line_has_level_time_caller_message_and_fields_in_order,
                                        open_log, close_log),
        cmocka_unit_test_setup_teardown(the_time_is_rfc3339_with_microseconds_and_the_local_offset,
                                        open_log, close_log),
        cmocka_unit_test_setup_teardown(every_byte_comes_out_as_valid_json, open_log, close_log),
        cmocka_unit_test_setup_teardown(
            a_full_pipe_stops_nobody_and_what_it_has_no_room_for_is_counted, open_log, close_log),
        cmocka_unit_test_setup_teardown(lines_below_the_level_and_without_a_logger_are_dropped,
                                        open_log, close_log),
        cmocka_unit_test_setup_teardown(a_long_line_stays_one_object_and_is_cut_at_its_limit,
                                        open_log, close_log),
        cmocka_unit_test(a_gate_opens_once_and_counts_what_it_dropped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
