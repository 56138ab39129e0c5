/* Numbers and durations from text and back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <float.h>
#include <rt/parse.h>
#include <string.h>

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

static void whole_numbers_are_read_to_their_limits_and_not_beyond(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int err;
        int64_t value;
    } rows[] = {
        {"0", 0, 0},
        {"-0", 0, 0},
        {"+7", 0, 7},
        {"0042", 0, 42},
        {"9223372036854775807", 0, INT64_MAX},
        {"-9223372036854775808", 0, INT64_MIN},
        {"9223372036854775808", -ERANGE, 0},
        {"-9223372036854775809", -ERANGE, 0},
        {"99999999999999999999999", -ERANGE, 0},
        {"", -EINVAL, 0},
        {"-", -EINVAL, 0},
        {"--1", -EINVAL, 0},
        {" 1", -EINVAL, 0},
        {"1 ", -EINVAL, 0},
        {"1x", -EINVAL, 0},
        {"0x10", -EINVAL, 0},
        {"99999999999999999999999x", -EINVAL, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int64_t value = 4711;
        int err = rt_parse_i64(rows[i].text, &value);
        if (err != rows[i].err || value != (err ? 4711 : rows[i].value))
            fail_msg("\"%s\": got %d and %lld", rows[i].text, err, (long long)value);
    }
}

static void unsigned_and_hexadecimal_numbers_fill_64_bits(void **state)
{
    (void)state;
    uint64_t value = 1;
    assert_int_equal(rt_parse_u64("18446744073709551615", &value), 0);
    assert_true(value == UINT64_MAX);
    assert_int_equal(rt_parse_u64("18446744073709551616", &value), -ERANGE);
    assert_int_equal(rt_parse_u64("-1", &value), -EINVAL);
    assert_true(value == UINT64_MAX);
    assert_int_equal(rt_parse_hex("8e9e05c52164694d", &value), 0);
    assert_true(value == UINT64_C(0x8e9e05c52164694d));
    assert_int_equal(rt_parse_hex("FFFFFFFFFFFFFFFF", &value), 0);
    assert_true(value == UINT64_MAX);
    assert_int_equal(rt_parse_hex("10000000000000000", &value), -ERANGE);
    assert_int_equal(rt_parse_hex("12g", &value), -EINVAL);
    assert_int_equal(rt_parse_hex("", &value), -EINVAL);
}

static void only_plain_decimal_fractions_are_numbers(void **state)
{
    (void)state;
    double value = 3;
    assert_int_equal(rt_parse_double("1.5e-3", &value), 0);
    assert_true(value == 0.0015);
    assert_int_equal(rt_parse_double("-.25", &value), 0);
    assert_true(value == -0.25);
    static const char *const bad[] = {"",      " 1", "1 ", "inf",   "nan",
                                      "0x1p3", "1e", "e5", "1.2.3", "-"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (rt_parse_double(bad[i], &value) != -EINVAL)
            fail_msg("\"%s\" was taken for a number", bad[i]);
    assert_int_equal(rt_parse_double("1e999", &value), -ERANGE);
    assert_true(value == -0.25);
}

/* Values as Go 1.19's time.ParseDuration gives them. */
static void durations_are_read_as_go_reads_them(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int err;
        int64_t ns;
    } rows[] = {
        {"0", 0, 0},
        {"-0", 0, 0},
        {"+0", 0, 0},
        {"5s", 0, 5000000000},
        {"300ms", 0, 300000000},
        {"-1.5h", 0, -5400000000000},
        {"1h2m3.5s", 0, 3723500000000},
        {"2m3m", 0, 300000000000},
        {"10us", 0, 10000},
        {"10\u00b5s", 0, 10000},
        {"10\u03bcs", 0, 10000},
        {".5s", 0, 500000000},
        {"1.s", 0, 1000000000},
        {"0.100000000000000000000h", 0, 360000000000},
        {"0.3333333333333333333h", 0, 1200000000000},
        {"9223372036854775807ns", 0, INT64_MAX},
        {"-9223372036854775808ns", 0, INT64_MIN},
        {"9223372036854775808ns", -ERANGE, 0},
        {"3000000h", -ERANGE, 0},
        {"99999999999999999999s", -ERANGE, 0},
        {"", -EINVAL, 0},
        {"3", -EINVAL, 0},
        {"-", -EINVAL, 0},
        {"s", -EINVAL, 0},
        {".s", -EINVAL, 0},
        {"+.s", -EINVAL, 0},
        {"1 s", -EINVAL, 0},
        {"1d", -EINVAL, 0},
        {"1s2", -EINVAL, 0},
        {"00", -EINVAL, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int64_t ns = 4711;
        int err = rt_parse_duration(rows[i].text, &ns);
        if (err != rows[i].err || ns != (err ? 4711 : rows[i].ns))
            fail_msg("\"%s\": got %d and %lld", rows[i].text, err, (long long)ns);
    }
}

/* Texts as Go 1.19's Duration.String gives them. */
static void durations_are_written_as_go_writes_them(void **state)
{
    (void)state;
    static const struct {
        int64_t ns;
        const char *text;
    } rows[] = {
        {0, "0s"},
        {1, "1ns"},
        {1100, "1.1\u00b5s"},
        {2200000, "2.2ms"},
        {3300000000, "3.3s"},
        {245000000000, "4m5s"},
        {245001000000, "4m5.001s"},
        {18367001000000, "5h6m7.001s"},
        {480000000001, "8m0.000000001s"},
        {60000000000, "1m0s"},
        {3600000000000, "1h0m0s"},
        {999999999, "999.999999ms"},
        {-1500000, "-1.5ms"},
        {INT64_MAX, "2562047h47m16.854775807s"},
        {INT64_MIN, "-2562047h47m16.854775808s"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char buf[32];
        assert_string_equal(rt_format_duration(rows[i].ns, buf), rows[i].text);
        int64_t back;
        assert_int_equal(rt_parse_duration(buf, &back), 0);
        assert_true(back == rows[i].ns);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_numbers_are_read_to_their_limits_and_not_beyond),
        cmocka_unit_test(unsigned_and_hexadecimal_numbers_fill_64_bits),
        cmocka_unit_test(only_plain_decimal_fractions_are_numbers),
        cmocka_unit_test(durations_are_read_as_go_reads_them),
        cmocka_unit_test(durations_are_written_as_go_writes_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
