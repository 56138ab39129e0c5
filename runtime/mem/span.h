/* mem/span.h: spans, and how to find one from an address.
 *
 * The heap is one reserved range of addresses, cut into pages of 8 KiB. A span is a run of pages
 * that serves one purpose: equal blocks of a size class, one large block, or nothing (free). Three
 * dense tables lie beside the range: the spans themselves, for each page the number of its span, and
 * for each page its size class. All are reserved whole and touched as they are used, so a lookup is
 * a subtraction, a shift and a load, and nothing ever moves.
 *
 *     plain    behind rt_alloc. alloc_bits: block is out of the span (a caller or a cache has it).
 *     managed  behind the garbage collector. alloc_bits: block is an object; mark_bits: reached in
 *              the current cycle. They come from central_managed_take, belong to who took them until
 *              central_managed_give, and are swept lazily: a span whose sweep_gen is not the heap's
 *              still has the last cycle's marks, and the hook sweeps it before it serves again.
 *
 * Spans are never unmapped: a stale `struct span *` is always readable, its kind tells. */
#pragma once
#include "runtime/mem/sizeclass.h"
#include "runtime/sched/atomic.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum span_kind {
    SPAN_UNUSED, // an entry of the table that stands for no pages
    SPAN_FREE,
    SPAN_PLAIN,
    SPAN_MANAGED,
};

enum { SPAN_WORDS = SPAN_ELEMS_MAX / 64 };

/* Who holds a managed span. */
enum span_place { SPAN_OWNED, SPAN_IN_PARTIAL, SPAN_IN_FULL, SPAN_IN_UNSWEPT };

struct span {
    // set by the heap before the span is handed out, then const while it is in use
    uintptr_t start;
    uint32_t pages;
    uint32_t elem_bytes;  // UINT32_MAX for large ones: see large_bytes
    uint32_t magic;       // of sizeclass.h; 0 for large ones, whose only block is number 0
    uint32_t elems;       // 1 for large ones
    _Atomic uint8_t kind; // enum span_kind; stored last, release: who sees it sees the rest
    uint8_t class;        // 0: large
    bool noscan;          // managed: its blocks hold no pointers
    bool zeroed;          // fresh from the system: every byte is zero (cleared by first use)
    size_t large_bytes;   // large: what the caller may use, whole pages

    // central lock of its class (free ones: the heap's lock; managed ones: its owner)
    struct span *next, *prev;
    uint32_t free_index;        // managed: blocks below were looked at since the last sweep
    uint32_t used;              // bits set in alloc_bits
    uint8_t place;              // enum span_place
    bool dirty;                 // free: its pages were touched since they last came from the system
    uint32_t freed_tick;        // free: when, in turns of heap_trim
    _Atomic uint32_t sweep_gen; // managed: heap_sweep_gen() when it was last swept

    // managed: the collector's own, cleared when the span is handed out
    _Atomic(void *) gc_word;
    _Atomic uint32_t marked; // a count, if it likes

    _Atomic uint64_t alloc_bits[SPAN_WORDS]; // plain: central lock; managed: owner, others read
    _Atomic uint64_t mark_bits[SPAN_WORDS];  // managed: markers, by atomic or
} __attribute__((aligned(64)));

struct heap_range {
    // set once by heap_init, then const; all 0 before
    uintptr_t base;
    size_t bytes;
    struct span *spans;          // number 0 stays unused: "no span"
    _Atomic uint32_t *page_span; // number of the span of each page that is in use
    _Atomic uint8_t *page_class; // class of the plain span there, else 0
};
extern struct heap_range heap_range;

/* ---- lookup: any thread, signal-safe ---- */

static inline bool heap_has(const void *p)
{
    return (uintptr_t)p - heap_range.base < heap_range.bytes;
}

/* The span in use that `p` points into, or NULL. `p` may be any word: a conservative scan may ask. */
static inline struct span *span_of(const void *p)
{
    uintptr_t offset = (uintptr_t)p - heap_range.base;
    if (offset >= heap_range.bytes)
        return NULL;
    uint32_t number = load_acquire(&heap_range.page_span[offset / SPAN_PAGE_BYTES]);
    struct span *s = &heap_range.spans[number];
    return load_acquire(&s->kind) >= SPAN_PLAIN ? s : NULL;
}

/* The block that an address inside the span lies in. May be s->elems when it points into what is left
 * over at the end. */
static inline uint32_t span_index_of(const struct span *s, const void *p)
{
    return (uint32_t)(((uintptr_t)p - s->start) * (uint64_t)s->magic >> 32);
}

static inline void *span_block(const struct span *s, uint32_t i)
{
    return (void *)(s->start + (size_t)i * s->elem_bytes);
}

static inline size_t span_block_bytes(const struct span *s)
{
    return s->class ? s->elem_bytes : s->large_bytes;
}

/* The managed object that `p` points to or into: its base, its span and number. NULL when p is no
 * address of a managed span, or the block is not allocated. */
static inline void *span_managed_object(const void *p, struct span **span, uint32_t *index)
{
    struct span *s = span_of(p);
    if (!s || load_relaxed(&s->kind) != SPAN_MANAGED)
        return NULL;
    uint32_t i = span_index_of(s, p);
    // It may have become another span between two looks.
    if ((uintptr_t)p - s->start >= (size_t)s->pages * SPAN_PAGE_BYTES || i >= s->elems ||
        !(load_acquire(&s->alloc_bits[i / 64]) >> i % 64 & 1))
        return NULL;
    *span = s;
    *index = i;
    return span_block(s, i);
}

/* True if the block was not marked yet.  Context: any thread. */
static inline bool span_mark(struct span *s, uint32_t i)
{
    uint64_t bit = UINT64_C(1) << i % 64;
    if (load_relaxed(&s->mark_bits[i / 64]) & bit)
        return false;
    return !(atomic_fetch_or_explicit(&s->mark_bits[i / 64], bit, memory_order_acq_rel) & bit);
}

static inline bool span_is_marked(const struct span *s, uint32_t i)
{
    return load_acquire(&s->mark_bits[i / 64]) >> i % 64 & 1;
}

/* Call visit for each span in use, of both kinds, until it returns false. Spans that come or go
 * meanwhile may or may not be seen.  Context: any thread; visit must not allocate. */
void heap_each_span(bool (*visit)(struct span *s, void *arg), void *arg);

/* ---- managed spans ---- */

struct span_hooks {
    /* Turn the last cycle's marks into what is allocated: at its end alloc_bits, used, free_index
     * and mark_bits are those of a new cycle (span_sweep_bits does that), sweep_gen is set by the
     * caller. Called with the span owned and no lock held; must not allocate from the heap. */
    void (*sweep)(struct span *s);
};
void span_hooks_set(const struct span_hooks *hooks); // before the first managed span; NULL: none

/* alloc_bits = mark_bits, mark_bits = 0, free_index = 0, used counted. Returns how many blocks died.
 * Context: the span's owner. */
uint32_t span_sweep_bits(struct span *s);

/* The generation of the marks: a new one begins when marking ends; every managed span is then
 * unswept until it meets the hook. Nobody needs to stop: a span that was taken before is unswept too,
 * as soon as its owner gives it back, which each owner does at a turn of its own after the raise; what
 * it allocates from it until then must be marked. All spans of the generation before must have been
 * swept.  Context: any thread, one at a time; never parks. */
uint32_t heap_sweep_gen(void);
void heap_sweep_gen_raise(void);

/* A span of the class with at least one free block, swept, now the caller's; NULL: out of memory.
 * Blocks are taken by span_managed_next. Empty spans found while sweeping go back to the heap.
 * Context: any thread; never parks. */
struct span *central_managed_take(unsigned class, bool noscan);
/* Give it back, full or not.  Context: its owner. */
void central_managed_give(struct span *s);
/* A span for one large block of at least `bytes`, the caller's as the others are: its alloc bit is not
 * set, so that nobody finds the block before it is sound, and it is zero only if `zeroed` says so. It
 * is given back as the others are, swept as the others, and freed when it dies. NULL: out of memory.
 * Context: any thread; never parks. */
struct span *central_managed_large(size_t bytes, bool noscan);
/* Spans that wait for the hook or are in it, owned ones aside.  Context: any thread. */
size_t central_managed_unswept(void);
/* Sweep at most `max` unswept spans; returns how many. 0: all are swept (but those that are owned,
 * which their owners give back).  Context: any thread; never parks. */
uint32_t central_managed_sweep(uint32_t max);

/* The next free block of an owned span, its alloc bit set (release) after `used` and free_index; NULL
 * when the span is full. Contents undefined: whoever scans conservatively must not see the bit before
 * the block is sound, so clear the block first if that matters (span_managed_peek).
 * Context: the span's owner, preemption off. */
void *span_managed_next(struct span *s);
/* In two steps: the block that next would give, without its bit; then the bit. */
void *span_managed_peek(struct span *s, uint32_t *index);
void span_managed_commit(struct span *s, uint32_t index);

/* ---- figures ---- */

struct heap_figures {
    size_t reserved_bytes; // addresses
    size_t plain_bytes;    // of spans in use behind rt_alloc, large ones included
    size_t managed_bytes;  // of spans in use behind the collector
    size_t free_bytes;     // of free spans whose pages we keep
    size_t returned_bytes; // of free spans whose pages the system has back
    uint64_t spans_made, spans_freed, trims;
    uint64_t managed_swept, managed_died; // spans and blocks, counted by span_sweep_bits
};
void heap_figures(struct heap_figures *out); // any thread
size_t heap_managed_bytes(void);             // the same, cheap: for pacing; any thread
