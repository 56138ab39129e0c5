/* mem/alloc.c: the door of the allocator: rt_alloc and its family.
 *
 *     rt_alloc ──► magazine of the P's cache ──► central list of the class ──► heap: a span
 *        small     no lock, a batch at once       a lock, a bitmap a span       pages
 *        above 32 KiB ─────────────────────────────────────────────────────► a span of its own
 *
 * rt_free finds the size class from the address: a load from the table of pages. Threads that have
 * no P (callbacks of libraries, a call in rt_blocking, before and after rt_run) share one cache.
 *
 * Sanitizers have to see each block: their builds take alloc_malloc.c instead. */
#if !defined(RT_ASAN) && !defined(RT_TSAN)
#include "rt/alloc.h"
#include "rt/why.h"
#include "runtime/mem/cache.h"
#include "runtime/mem/debug.h"
#include <assert.h>
#include <string.h>

#define LIKELY(x)   __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)

static uint64_t *mark_of(void *block) { return (uint64_t *)block + 1; }

/* Small requests never come back empty: no caller could do better than stop, and a check at every
 * call would be code that no test reaches. */
static void *sure(void *p, size_t bytes)
{
    if (!p && bytes < RT_ALLOC_SURE_BYTES)
        rt_fatal("out of memory: no room for %zu bytes in the heap's range of addresses; raise the "
                 "limit of virtual memory (ulimit -v), or lower the program's limits",
                 bytes);
    return p;
}

static _Noreturn void bad_free(const void *p)
{
    rt_fatal("rt_free of %p: %s", p,
             !heap_has(p)  ? "it does not point into the heap; rt_alloc never gave it out"
             : !span_of(p) ? "no block is there; it was freed already"
                           : "it does not point to the beginning of a block that is in use; it was "
                             "freed twice, or points into a block");
}

/* ---- small ---- */

static void *small_slow(unsigned class)
{
    struct mem_cache *c = cache_attach();
    void *block;
    if (!c)
        block = heap_debug() ? debug_take(class) : cache_take_shared(class);
    else if (!(block = magazine_take(c, class)) && cache_fill(c, class))
        block = magazine_take(c, class);
    if (block)
        *mark_of(block) = 0;
    return block;
}

static void small_free_slow(unsigned class, void *block)
{
    struct mem_cache *c = cache_attach();
    if (!c && heap_debug()) {
        debug_put(class, block);
        return;
    }
    if (*mark_of(block) == cache_freed_mark())
        bad_free(block);
    *mark_of(block) = cache_freed_mark();
    if (!c) {
        cache_put_shared(class, block);
        return;
    }
    if (!magazine_put(c, class, block)) {
        cache_spill(c, class);
        magazine_put(c, class, block);
    }
}

/* ---- large ---- */

static struct span *large(size_t bytes, size_t align)
{
    heap_init();
    if (bytes > heap_range.bytes || align > heap_range.bytes)
        return NULL;
    uint32_t pages = (uint32_t)((bytes + SPAN_PAGE_BYTES - 1) / SPAN_PAGE_BYTES);
    uint32_t align_pages = (uint32_t)((align + SPAN_PAGE_BYTES - 1) / SPAN_PAGE_BYTES);
    return heap_take(pages ? pages : 1, align_pages, 0, SPAN_PLAIN, false);
}

static __attribute__((noinline)) void *alloc_slow(size_t bytes)
{
    if (bytes <= SIZECLASS_SMALL_MAX) {
        heap_init(); // makes the classes
        return sure(small_slow(sizeclass_of(bytes)), bytes);
    }
    struct span *s = large(bytes, 1);
    return sure(s ? (void *)s->start : NULL, bytes);
}

static __attribute__((noinline)) void free_slow(void *p)
{
    if (!p)
        return;
    unsigned class =
        heap_has(p)
            ? load_relaxed(
                  &heap_range.page_class[((uintptr_t)p - heap_range.base) / SPAN_PAGE_BYTES])
            : 0;
    if (class) {
        small_free_slow(class, p);
        return;
    }
    struct span *s = span_of(p);
    if (!s || s->class || load_relaxed(&s->kind) != SPAN_PLAIN || (uintptr_t)p != s->start)
        bad_free(p);
    heap_give(s);
}

/* ---- the face ---- */

void *rt_alloc(size_t bytes)
{
    if (UNLIKELY(bytes > SIZECLASS_SMALL_MAX))
        return alloc_slow(bytes);
    void *block = magazine_take(cache_here, sizeclass_of(bytes)); // no classes yet: none there
    if (UNLIKELY(!block))
        return alloc_slow(bytes);
    *mark_of(block) = 0;
    return block;
}

void rt_free(void *p)
{
    size_t offset = (uintptr_t)p - heap_range.base;
    if (UNLIKELY(offset >= heap_range.bytes))
        return free_slow(p);
    // Class 0, a large block, has no place in any cache.
    unsigned class = load_relaxed(&heap_range.page_class[offset / SPAN_PAGE_BYTES]);
    struct mem_cache *c = cache_here;
    void **top = load_relaxed(&c->top[class]);
    if (UNLIKELY((uintptr_t)top % MAGAZINE_BYTES == 0) ||
        UNLIKELY(*mark_of(p) == cache_freed_mark()))
        return free_slow(p);
    *mark_of(p) = cache_freed_mark();
    *top = p;
    store_relaxed(&c->top[class], top + 1);
}

void *rt_alloc_zero(size_t bytes)
{
    if (bytes <= SIZECLASS_SMALL_MAX)
        return memset(rt_alloc(bytes), 0, bytes);
    struct span *s = large(bytes, 1);
    if (!s)
        return sure(NULL, bytes);
    return s->zeroed ? (void *)s->start : memset((void *)s->start, 0, bytes);
}

void *rt_alloc_aligned(size_t align, size_t bytes)
{
    assert(align >= 16);
    assert((align & (align - 1)) == 0);
    heap_init();
    // Blocks of a class whose size is a multiple lie at multiples, since spans begin at a page.
    if (bytes <= SIZECLASS_SMALL_MAX && align <= SPAN_PAGE_BYTES)
        for (unsigned class = sizeclass_of(bytes); class < SIZECLASS_COUNT; class ++)
            if (sizeclass[class].elem_bytes % align == 0)
                return sure(small_slow(class), bytes);
    struct span *s = large(bytes, align);
    return sure(s ? (void *)s->start : NULL, bytes);
}

/* What the caller may use of the block at p. */
static size_t usable_bytes(const void *p)
{
    const struct span *s = span_of(p);
    if (!s || load_relaxed(&s->kind) != SPAN_PLAIN)
        bad_free(p);
    return span_block_bytes(s);
}

void *rt_realloc(void *p, size_t bytes)
{
    if (!p)
        return rt_alloc(bytes);
    size_t had = usable_bytes(p);
    if (bytes <= had && bytes >= had / 2)
        return p;
    void *moved = rt_alloc(bytes);
    if (!moved)
        return NULL;
    memcpy(moved, p, bytes < had ? bytes : had);
    rt_free(p);
    return moved;
}

char *rt_strdup(const char *s)
{
    size_t bytes = strlen(s) + 1;
    char *copy = rt_alloc(bytes);
    return copy ? memcpy(copy, s, bytes) : NULL;
}
#endif
