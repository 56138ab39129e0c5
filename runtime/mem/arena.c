/* mem/arena.c: memory that dies with a request. A chain of blocks, each twice the last up to a
 * limit; an allocation is a bump of a pointer. What does not fit gets a block of its own size.
 *
 * Under AddressSanitizer every allocation is a block of exactly its size, so that a byte too far or
 * a use after the reset is seen. */
#include "rt/alloc.h"
#include "rt/why.h"
#include <assert.h>
#include <stdalign.h>
#include <stdio.h>
#include <string.h>

enum { ARENA_ALIGN = 16 };

#ifdef RT_ASAN
enum { ONE_ALLOCATION_PER_BLOCK = 1 };
#else
enum { ONE_ALLOCATION_PER_BLOCK = 0 };
#endif

struct rt_arena_block {
    struct rt_arena_block *older;
    size_t bytes; // of the data behind this header
    alignas(ARENA_ALIGN) uint8_t data[];
};

/* With their headers whole size classes, or whole pages. */
enum {
    FIRST_BLOCK_BYTES = 4096 - sizeof(struct rt_arena_block),
    LAST_BLOCK_BYTES = (64 << 10) - sizeof(struct rt_arena_block),
};

static size_t round_up(size_t bytes)
{
    return (bytes + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);
}

void rt_arena_init(struct rt_arena *a) { *a = (struct rt_arena){0}; }

/* A block for at least `bytes`. Never NULL: a request is bounded long before memory is. */
static struct rt_arena_block *block_new(size_t bytes)
{
    struct rt_arena_block *b = rt_alloc(sizeof(*b) + bytes);
    if (!b)
        rt_fatal("out of memory: the system refused %zu bytes for one request", bytes);
    b->older = NULL;
    b->bytes = bytes;
    return b;
}

static size_t next_block_bytes(const struct rt_arena *a, size_t wanted)
{
    if (ONE_ALLOCATION_PER_BLOCK)
        return wanted;
    size_t bytes = a->newest ? a->newest->bytes * 2 : FIRST_BLOCK_BYTES;
    if (bytes > LAST_BLOCK_BYTES)
        bytes = LAST_BLOCK_BYTES;
    return bytes > wanted ? bytes : wanted;
}

void *rt_arena_alloc(struct rt_arena *a, size_t bytes)
{
    size_t taken = round_up(bytes ? bytes : 1);
    assert(taken >= bytes); // else the sum wrapped
    a->used_bytes += bytes;
    if (!ONE_ALLOCATION_PER_BLOCK && taken <= (size_t)(a->end - a->next)) {
        void *p = a->next;
        a->next += taken;
        return p;
    }
    struct rt_arena_block *b =
        block_new(next_block_bytes(a, ONE_ALLOCATION_PER_BLOCK ? bytes : taken));
    size_t left = ONE_ALLOCATION_PER_BLOCK ? 0 : b->bytes - taken;
    if (a->newest && left < (size_t)(a->end - a->next)) {
        // A big one: goes behind the block that still has room, which stays in use.
        b->older = a->newest->older;
        a->newest->older = b;
        return b->data;
    }
    b->older = a->newest;
    a->newest = b;
    a->next = b->data + (b->bytes - left);
    a->end = b->data + b->bytes;
    return b->data;
}

void *rt_arena_alloc_zero(struct rt_arena *a, size_t bytes)
{
    return memset(rt_arena_alloc(a, bytes), 0, bytes);
}

void *rt_arena_copy(struct rt_arena *a, const void *data, size_t bytes)
{
    void *p = rt_arena_alloc(a, bytes);
    if (bytes)
        memcpy(p, data, bytes);
    return p;
}

char *rt_arena_printf(struct rt_arena *a, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int len = vsnprintf(NULL, 0, format, args);
    va_end(args);
    assert(len >= 0);
    char *text = rt_arena_alloc(a, (size_t)len + 1);
    vsnprintf(text, (size_t)len + 1, format, again);
    va_end(again);
    return text;
}

void rt_arena_reset(struct rt_arena *a)
{
    struct rt_arena_block *kept = NULL;
    for (struct rt_arena_block *b = a->newest, *older; b; b = older) {
        older = b->older;
        if (!kept && !ONE_ALLOCATION_PER_BLOCK && b->bytes <= LAST_BLOCK_BYTES)
            kept = b;
        else
            rt_free(b);
    }
    rt_arena_init(a);
    if (!kept)
        return;
    kept->older = NULL;
    a->newest = kept;
    a->next = kept->data;
    a->end = kept->data + kept->bytes;
}

void rt_arena_deinit(struct rt_arena *a)
{
    for (struct rt_arena_block *b = a->newest, *older; b; b = older) {
        older = b->older;
        rt_free(b);
    }
    rt_arena_init(a);
}
