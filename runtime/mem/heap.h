/* mem/heap.h: pages. Runs of them are taken as spans and given back, kept a while for reuse, then
 * returned to the system. Private to mem/. */
#pragma once
#include "runtime/mem/span.h"

struct span_list {
    struct span *first, *last;
    size_t count;
};

static inline void span_list_remove(struct span_list *l, struct span *s)
{
    *(s->prev ? &s->prev->next : &l->first) = s->next;
    *(s->next ? &s->next->prev : &l->last) = s->prev;
    s->next = s->prev = NULL;
    l->count--;
}

static inline void span_list_push(struct span_list *l, struct span *s) // in front
{
    s->prev = NULL;
    s->next = l->first;
    *(l->first ? &l->first->prev : &l->last) = s;
    l->first = s;
    l->count++;
}

/* Reserve the range and its tables; once, by whoever comes first. rt_fatal when even a small range is
 * refused.  Context: any thread; never parks. */
void heap_init(void);

enum { HEAP_ALIGN_NONE = 1 };

/* A span of `pages` pages, its start a multiple of align_pages (a power of two) pages. `class` 0: one
 * large block. NULL: the range is used up.  Context: any thread, central lock or none; never parks. */
struct span *heap_take(uint32_t pages, uint32_t align_pages, unsigned class, enum span_kind kind,
                       bool noscan);
/* Nobody points into it any more, and it is in no list. */
void heap_give(struct span *s);

/* One tick: return pages to the system that were free for HEAP_TRIM_TICKS of them, at most
 * HEAP_TRIM_BYTES. Returns how many.  Context: one thread at a time (mem_trim, a test); never parks. */
enum { HEAP_TRIM_BYTES = 4 << 20, HEAP_TRIM_TICKS = 10 };
size_t heap_trim(void);

/* The part of heap_figures that is about pages. */
void heap_figures_pages(struct heap_figures *out);

/* KVD_MEM_DEBUG=1: blocks are filled when freed and checked before they serve again. */
bool heap_debug(void);
