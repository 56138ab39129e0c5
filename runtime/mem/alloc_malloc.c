/* mem/alloc_malloc.c: rt_alloc and its family in the builds of sanitizers: libc's malloc, which they
 * replace, so that they see where each block begins, ends and dies. */
#if defined(RT_ASAN) || defined(RT_TSAN)
#include "rt/alloc.h"
#include "rt/why.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>

static void *sure(void *p, size_t bytes)
{
    if (!p && bytes < RT_ALLOC_SURE_BYTES)
        rt_fatal("out of memory: the system refused %zu bytes", bytes);
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
#else
typedef int alloc_malloc_is_empty;
#endif
