/* mem/alloc.c: the door of the allocator. Everything that outlives a request comes through here, so
 * that what lies underneath can change without anybody noticing: today libc's malloc, which is safe
 * from goroutines because its text is never preempted. */
#include "rt/alloc.h"
#include "rt/why.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* Small requests never come back empty: no caller could do better than stop, and a check at every
 * call would be code that no test reaches. */
static void *sure(void *p, size_t bytes)
{
    if (!p && bytes < RT_ALLOC_SURE_BYTES)
        rt_fatal("out of memory: the system refused %zu bytes; give the process more memory or "
                 "lower its limits",
                 bytes);
    return p;
}

void *rt_alloc(size_t bytes) { return sure(malloc(bytes ? bytes : 1), bytes); }

void *rt_alloc_zero(size_t bytes) { return sure(calloc(1, bytes ? bytes : 1), bytes); }

void *rt_alloc_aligned(size_t align, size_t bytes)
{
    assert(align >= 16);
    assert((align & (align - 1)) == 0);
    void *p = NULL;
    if (posix_memalign(&p, align, bytes ? bytes : 1) != 0)
        p = NULL;
    return sure(p, bytes);
}

void *rt_realloc(void *p, size_t bytes) { return sure(realloc(p, bytes ? bytes : 1), bytes); }

void rt_free(void *p) { free(p); }

char *rt_strdup(const char *s)
{
    size_t bytes = strlen(s) + 1;
    char *copy = rt_alloc(bytes);
    return copy ? memcpy(copy, s, bytes) : NULL;
}
