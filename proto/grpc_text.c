#include "proto/grpc_text.h"
#include "proto/grpc.h"
#include <assert.h>
#include <errno.h>
#include <stdio.h>

const char *grpc_code_name(enum grpc_code code)
{
    static const char *const names[GRPC_CODES] = {
        "OK",
        "Canceled",
        "Unknown",
        "InvalidArgument",
        "DeadlineExceeded",
        "NotFound",
        "AlreadyExists",
        "PermissionDenied",
        "ResourceExhausted",
        "FailedPrecondition",
        "Aborted",
        "OutOfRange",
        "Unimplemented",
        "Internal",
        "Unavailable",
        "DataLoss",
        "Unauthenticated",
    };
    return (unsigned)code < GRPC_CODES ? names[code] : "Unknown";
}

size_t grpc_message_encode(const char *text, char *out, size_t cap)
{
    static const char hex[] = "0123456789ABCDEF";
    size_t n = 0;
    for (; *text; text++) {
        unsigned char byte = (unsigned char)*text;
        bool plain = byte >= 0x20 && byte <= 0x7e && byte != '%';
        if (cap - n < (plain ? 1u : 3u))
            break;
        if (plain) {
            out[n++] = (char)byte;
        } else {
            out[n++] = '%';
            out[n++] = hex[byte >> 4];
            out[n++] = hex[byte & 15];
        }
    }
    return n;
}

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

size_t grpc_message_decode(struct rt_bytes text, char *out, size_t cap)
{
    assert(cap > 0);
    size_t n = 0;
    for (size_t i = 0; i < text.len && n + 1 < cap; i++) {
        int high = -1, low = -1;
        if (text.data[i] == '%' && text.len - i > 2) {
            high = hex_digit(text.data[i + 1]);
            low = hex_digit(text.data[i + 2]);
        }
        if (high >= 0 && low >= 0) {
            out[n++] = (char)(high << 4 | low);
            i += 2;
        } else {
            out[n++] = (char)text.data[i];
        }
    }
    out[n] = 0;
    return n;
}

static const struct {
    char unit;
    int64_t ns;
} units[] = {
    {'n', 1},          {'u', 1000},          {'m', 1000000},
    {'S', 1000000000}, {'M', 60000000000LL}, {'H', 3600000000000LL},
};
enum { UNITS = sizeof units / sizeof units[0], TIMEOUT_DIGITS = 8 };

int grpc_timeout_parse(struct rt_bytes text, int64_t *ns_out)
{
    if (text.len < 2 || text.len > TIMEOUT_DIGITS + 1)
        return -EINVAL;
    int64_t number = 0;
    for (size_t i = 0; i + 1 < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return -EINVAL;
        number = number * 10 + (text.data[i] - '0');
    }
    for (size_t i = 0; i < UNITS; i++)
        if (units[i].unit == (char)text.data[text.len - 1]) {
            *ns_out = number > INT64_MAX / units[i].ns ? INT64_MAX : number * units[i].ns;
            return 0;
        }
    return -EINVAL;
}

size_t grpc_timeout_format(int64_t ns, char out[GRPC_TIMEOUT_TEXT_MAX])
{
    if (ns < 0)
        ns = 0;
    size_t i = 0;
    while (i + 1 < UNITS && ns / units[i].ns > 99999999)
        i++;
    int64_t number = ns / units[i].ns + (ns % units[i].ns ? 1 : 0); // never earlier than asked
    if (number > 99999999)
        number = 99999999;
    return (size_t)snprintf(out, GRPC_TIMEOUT_TEXT_MAX, "%lld%c", (long long)number, units[i].unit);
}

bool grpc_content_type_is_valid(struct rt_bytes value)
{
    static const char base[] = "application/grpc";
    enum { BASE = sizeof base - 1 };
    if (value.len < BASE)
        return false;
    for (size_t i = 0; i < BASE; i++) {
        uint8_t c = value.data[i];
        if (c >= 'A' && c <= 'Z')
            c |= 0x20;
        if (c != (uint8_t)base[i])
            return false;
    }
    return value.len == BASE || value.data[BASE] == '+' || value.data[BASE] == ';';
}
