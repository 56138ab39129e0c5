/* rt/parse.h: numbers and durations from text, without errno. All of them refuse trailing bytes,
 * empty text and overflow: 0 or -EINVAL / -ERANGE, *out untouched on failure.
 * Context of all: any thread; never parks. */
#pragma once
#include <stdint.h>

int rt_parse_i64(const char *text, int64_t *out);
int rt_parse_u64(const char *text, uint64_t *out);
int rt_parse_hex(const char *text, uint64_t *out);
int rt_parse_double(const char *text, double *out);
/* Go's form: "1h2m3.5s", "300ms", "10us", "0". */
int rt_parse_duration(const char *text, int64_t *ns_out);
/* Go's shortest form into buf (at least 32 bytes): "1.5ms", "2m0s". Returns buf. */
char *rt_format_duration(int64_t ns, char *buf);
