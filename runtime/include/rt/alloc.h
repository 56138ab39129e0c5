/* rt/alloc.h: memory. rt_alloc for long-lived objects, arenas for what dies with a request,
 * refcounted buffers for bytes that cross goroutines.  Context of all: any thread, never parks. */
#pragma once
#include "rt/bytes.h"
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

/* Never NULL for sizes under RT_ALLOC_SURE_BYTES: running out there is rt_fatal. Above, NULL means
 * out of memory. Aligned to 16 bytes (64 from 64 bytes on when asked by rt_alloc_aligned). */
enum { RT_ALLOC_SURE_BYTES = 1 << 20 };
void *rt_alloc(size_t bytes); // contents undefined
void *rt_alloc_zero(size_t bytes);
void *rt_alloc_aligned(size_t align, size_t bytes); // freed by rt_free too
void *rt_realloc(void *p, size_t bytes);
void rt_free(void *p); // NULL is allowed
char *rt_strdup(const char *s);

/* What rt_alloc has of the system, and by size class. In the builds of sanitizers all is 0: they have
 * an allocator of their own. Figures of caches are rough while others allocate. */
enum { RT_ALLOC_CLASSES = 72 };
struct rt_alloc_class {
    uint32_t block_bytes;
    uint32_t spans;  // runs of pages that are cut into such blocks
    uint64_t used;   // blocks that callers have
    uint64_t cached; // blocks at hand for the next caller
};
struct rt_alloc_stats {
    size_t span_bytes;     // pages in use, large blocks included
    size_t large_bytes;    // of them blocks over 32 KiB
    size_t managed_bytes;  // pages in use by the managed heap (rt/gc.h)
    size_t free_bytes;     // pages kept for reuse
    size_t returned_bytes; // pages that the system has back
    uint64_t trims;        // times pages were returned
    struct rt_alloc_class classes[RT_ALLOC_CLASSES];
};
void rt_alloc_stats(struct rt_alloc_stats *out);

/* An arena: allocate, never free singly; all goes at once. Not thread-safe. */
struct rt_arena_block;
struct rt_arena {
    struct rt_arena_block *newest;
    uint8_t *next, *end;
    size_t used_bytes; // handed out, for limits
};
void rt_arena_init(struct rt_arena *a);
void *rt_arena_alloc(struct rt_arena *a, size_t bytes); // 16-aligned, contents undefined
void *rt_arena_alloc_zero(struct rt_arena *a, size_t bytes);
void *rt_arena_copy(struct rt_arena *a, const void *data, size_t bytes);
char *rt_arena_printf(struct rt_arena *a, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void rt_arena_reset(struct rt_arena *a); // keeps one block for reuse
void rt_arena_deinit(struct rt_arena *a);

/* Immutable once shared. */
struct rt_buf {
    _Atomic uint32_t refs;
    uint32_t flags;
    size_t len;
    size_t cap;
    void (*release)(struct rt_buf *b); // NULL: rt_free
    uint8_t data[];
};
struct rt_buf *rt_buf_new(size_t cap); // len 0, one reference
struct rt_buf *rt_buf_copy(const void *data, size_t len);
struct rt_buf *rt_buf_ref(struct rt_buf *b);
void rt_buf_unref(struct rt_buf *b); // NULL is allowed
static inline struct rt_bytes rt_buf_bytes(const struct rt_buf *b)
{
    return b ? (struct rt_bytes){b->data, b->len} : (struct rt_bytes){NULL, 0};
}

/* A byte string under construction: doubles as it grows. Owner's use only. */
struct rt_string {
    uint8_t *data; // always one byte longer than cap says, for a NUL
    size_t len, cap;
};
void rt_string_append(struct rt_string *s, const void *data, size_t len);
void rt_string_printf(struct rt_string *s, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
const char *rt_string_cstr(struct rt_string *s); // adds the NUL; "" when empty
void rt_string_deinit(struct rt_string *s);
