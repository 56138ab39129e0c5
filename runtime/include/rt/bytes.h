/* rt/bytes.h: a view of bytes that somebody else owns.  Context of all: never parks. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct rt_bytes {
    const uint8_t *data; // may be NULL when len is 0
    size_t len;
};

#define RT_BYTES(literal) ((struct rt_bytes){(const uint8_t *)(literal), sizeof(literal) - 1})

static inline struct rt_bytes rt_bytes(const void *data, size_t len)
{
    return (struct rt_bytes){(const uint8_t *)data, len};
}

/* Order by unsigned bytes, a prefix first: the order of keys. Negative, zero or positive. */
static inline int rt_bytes_compare(struct rt_bytes a, struct rt_bytes b)
{
    size_t shorter = a.len < b.len ? a.len : b.len;
    int order = shorter ? memcmp(a.data, b.data, shorter) : 0;
    return order ? order : (a.len > b.len) - (a.len < b.len);
}

static inline bool rt_bytes_equal(struct rt_bytes a, struct rt_bytes b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}
