/* inspect/parse.c: numbers and durations from text and back, without errno and without libc's
 * character tables, which are thread-local. */
#include "rt/parse.h"
#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

int rt_parse_u64(const char *text, uint64_t *out)
{
    uint64_t n = 0;
    bool overflow = false;
    const char *at = text;
    for (; is_digit(*at); at++) {
        overflow |= __builtin_mul_overflow(n, 10, &n);
        overflow |= __builtin_add_overflow(n, (uint64_t)(*at - '0'), &n);
    }
    if (at == text || *at)
        return -EINVAL;
    if (overflow)
        return -ERANGE;
    *out = n;
    return 0;
}

int rt_parse_i64(const char *text, int64_t *out)
{
    bool negative = *text == '-';
    uint64_t size;
    int err = rt_parse_u64(text + (negative || *text == '+'), &size);
    if (err)
        return err;
    uint64_t limit = (uint64_t)INT64_MAX + (negative ? 1 : 0);
    if (size > limit)
        return -ERANGE;
    *out = negative ? (int64_t)(0 - size) : (int64_t)size;
    return 0;
}

static int hex_digit(char c)
{
    if (is_digit(c))
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

int rt_parse_hex(const char *text, uint64_t *out)
{
    uint64_t n = 0;
    bool overflow = false;
    const char *at = text;
    for (; hex_digit(*at) >= 0; at++) {
        overflow |= n >> 60 != 0;
        n = n << 4 | (uint64_t)hex_digit(*at);
    }
    if (at == text || *at)
        return -EINVAL;
    if (overflow)
        return -ERANGE;
    *out = n;
    return 0;
}

int rt_parse_double(const char *text, double *out)
{
    // strtod also takes leading blanks, hex, inf and nan: none of them is a setting.
    if (text[strspn(text, "0123456789.eE+-")] || !*text)
        return -EINVAL;
    char *end;
    double value = strtod(text, &end); // its errno is nobody's: goroutines have none
    if (*end || end == text)
        return -EINVAL;
    if (isinf(value))
        return -ERANGE;
    *out = value;
    return 0;
}

/* Length of the unit at `at` and its nanoseconds, or 0. Both signs for micro are Go's. */
static size_t duration_unit(const char *at, uint64_t *ns_out)
{
    static const struct {
        const char *name;
        uint64_t ns;
    } units[] = {{"ns", 1},       {"us", 1000},      {"\u00b5s", 1000},   {"\u03bcs", 1000},
                 {"ms", 1000000}, {"s", 1000000000}, {"m", 60000000000u}, {"h", 3600000000000u}};
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        size_t len = strlen(units[i].name);
        if (strncmp(at, units[i].name, len) == 0) {
            *ns_out = units[i].ns;
            return len;
        }
    }
    return 0;
}

/* The digits behind a point, as a numerator over *scale_out; digits too fine to matter are read
 * and dropped. Returns the place behind them. */
static const char *duration_fraction(const char *at, uint64_t *fraction_out, double *scale_out)
{
    uint64_t fraction = 0;
    double scale = 1;
    for (; is_digit(*at); at++) {
        if (fraction > (uint64_t)INT64_MAX / 10 - 1)
            continue;
        fraction = fraction * 10 + (uint64_t)(*at - '0');
        scale *= 10;
    }
    *fraction_out = fraction;
    *scale_out = scale;
    return at;
}

int rt_parse_duration(const char *text, int64_t *ns_out)
{
    bool negative = *text == '-', overflow = false;
    const char *at = text + (*text == '-' || *text == '+');
    uint64_t total = 0;
    if (strcmp(at, "0") == 0) {
        *ns_out = 0;
        return 0;
    }
    if (!*at)
        return -EINVAL;
    while (*at) {
        const char *number = at;
        uint64_t whole = 0, fraction = 0, unit_ns;
        double scale = 1;
        for (; is_digit(*at); at++) {
            overflow |= __builtin_mul_overflow(whole, 10, &whole);
            overflow |= __builtin_add_overflow(whole, (uint64_t)(*at - '0'), &whole);
        }
        bool has_digits = at > number;
        if (*at == '.') {
            const char *point = at + 1;
            at = duration_fraction(point, &fraction, &scale);
            has_digits |= at > point;
        }
        size_t unit_len = duration_unit(at, &unit_ns);
        if (!has_digits || unit_len == 0)
            return -EINVAL;
        at += unit_len;
        overflow |= __builtin_mul_overflow(whole, unit_ns, &whole);
        overflow |= __builtin_add_overflow(total, whole, &total);
        overflow |= __builtin_add_overflow(
            total, (uint64_t)((double)fraction * ((double)unit_ns / scale)), &total);
    }
    if (overflow || total > (uint64_t)INT64_MAX + (negative ? 1 : 0))
        return -ERANGE;
    *ns_out = negative ? (int64_t)(0 - total) : (int64_t)total;
    return 0;
}

/* Write n / 10^places in front of `at`, without trailing zeros and, when all are zero, without the
 * point; *whole_out is what is left in front of it. */
static char *prepend_fraction(char *at, uint64_t n, int places, uint64_t *whole_out)
{
    bool seen = false;
    for (int i = 0; i < places; i++, n /= 10) {
        seen |= n % 10 != 0;
        if (seen)
            *--at = (char)('0' + n % 10);
    }
    if (seen)
        *--at = '.';
    *whole_out = n;
    return at;
}

static char *prepend_number(char *at, uint64_t n)
{
    do
        *--at = (char)('0' + n % 10);
    while ((n /= 10) != 0);
    return at;
}

static char *prepend_text(char *at, const char *text)
{
    size_t len = strlen(text);
    return memcpy(at - len, text, len);
}

/* From the smallest unit up, right to left. */
char *rt_format_duration(int64_t ns, char *buf)
{
    char text[40], *end = text + sizeof(text) - 1, *at = end;
    uint64_t n = ns < 0 ? 0 - (uint64_t)ns : (uint64_t)ns;
    *end = 0;
    if (n == 0) {
        at = prepend_text(at, "0s");
    } else if (n < 1000000000) {
        int places = n < 1000 ? 0 : n < 1000000 ? 3 : 6;
        at = prepend_text(at, places == 0 ? "ns" : places == 3 ? "\u00b5s" : "ms");
        at = prepend_fraction(at, n, places, &n);
        at = prepend_number(at, n);
    } else {
        at = prepend_text(at, "s");
        at = prepend_fraction(at, n, 9, &n);
        at = prepend_number(at, n % 60);
        uint64_t minutes = n / 60;
        if (minutes > 0) {
            at = prepend_text(at, "m");
            at = prepend_number(at, minutes % 60);
        }
        if (minutes >= 60) {
            at = prepend_text(at, "h");
            at = prepend_number(at, minutes / 60);
        }
    }
    if (ns < 0)
        *--at = '-';
    return memcpy(buf, at, (size_t)(end - at) + 1);
}
