/* inspect/number.c: the shortest decimal that reads back the same. Any decimal of up to 15 digits
 * survives the way through a double, so the digits of %.15 without trailing zeros are the shortest
 * when they read back; else 16 or 17 are needed. */
#include "runtime/inspect/number.h"
#include <assert.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_DIGITS = 17, FIRST_PLAIN_EXPONENT = -4, LAST_PLAIN_EXPONENT = 5 };

/* Digits of a finite value > 0, without point, and the exponent of the first one. */
static void shortest_digits(double value, char *digits, int *exponent_out)
{
    char text[40];
    // Below the normal numbers there are fewer digits to survive.
    for (int count = value < DBL_MIN ? 1 : 15; count <= MAX_DIGITS; count++) {
        snprintf(text, sizeof(text), "%.*e", count - 1, value);
        if (strtod(text, NULL) == value)
            break;
    }
    char *e = strchr(text, 'e');
    assert(e);
    *exponent_out = atoi(e + 1);
    size_t len = 0;
    for (const char *at = text; at < e; at++)
        if (*at != '.')
            digits[len++] = *at;
    while (len > 1 && digits[len - 1] == '0')
        len--;
    digits[len] = 0;
}

static char *put_scientific(char *at, const char *digits, int exponent)
{
    *at++ = digits[0];
    if (digits[1])
        at += sprintf(at, ".%s", digits + 1);
    int size = exponent < 0 ? -exponent : exponent;
    return at + sprintf(at, "e%c%02d", exponent < 0 ? '-' : '+', size);
}

static char *put_plain(char *at, const char *digits, int exponent)
{
    int len = (int)strlen(digits);
    if (exponent < 0) {
        at += sprintf(at, "0.");
        for (int i = -1; i > exponent; i--)
            *at++ = '0';
        return at + sprintf(at, "%s", digits);
    }
    for (int i = 0; i < len || i <= exponent; i++) {
        if (i == exponent + 1)
            *at++ = '.';
        *at++ = i < len ? digits[i] : '0';
    }
    *at = 0;
    return at;
}

char *number_format(double value, char *buf)
{
    if (isnan(value))
        return strcpy(buf, "NaN");
    if (isinf(value))
        return strcpy(buf, value > 0 ? "+Inf" : "-Inf");
    char *at = buf;
    if (signbit(value))
        *at++ = '-';
    value = fabs(value);
    if (value == 0) {
        strcpy(at, "0");
        return buf;
    }
    char digits[MAX_DIGITS + 3];
    int exponent;
    shortest_digits(value, digits, &exponent);
    // As in Go, the exponent alone decides, not the length: 100000, 1e+06, 1.234567e+06.
    if (exponent < FIRST_PLAIN_EXPONENT || exponent > LAST_PLAIN_EXPONENT)
        at = put_scientific(at, digits, exponent);
    else
        at = put_plain(at, digits, exponent);
    assert(at - buf < NUMBER_BYTES);
    return buf;
}
