/* mem/heap.c: runs of pages.
 *
 * Free runs lie in lists by length, dirty ones (touched since they last came from the system) apart
 * from clean ones, which read as zero and cost a fault at each first touch. Neighbours of one kind are
 * one run: the first and the last page of a free run know its span, the pages between know nothing.
 * Who asks gets the shortest dirty run that fits, then the shortest clean one, then new pages.
 *
 * The lists of dirty runs are in order of their freeing, newest first, so the trimmer looks at their
 * ends only.
 *
 * One lock for all of it: it is taken once for a span, which is at least some blocks, or for a large
 * block. It is the last in the order of locks (mem/central.c). */
#include "runtime/mem/heap.h"
#include "rt/why.h"
#include "runtime/sched/park.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#ifdef RT_ASAN
#include <sanitizer/lsan_interface.h>
#endif

static_assert(sizeof(struct span) == 256, "the spans' table is indexed by a shift");

enum {
    EXACT_BINS = 128,          // a list for each length below this
    BINS = EXACT_BINS + 32,    // then one for each power of two
    LOOK_AT_MOST = 32,         // runs of a list of unequal lengths
    TRIM_STEP_BYTES = 1 << 20, // without the lock, at once
};
static const size_t RANGE_BYTES_MOST = (size_t)256 << 30;
static const size_t RANGE_BYTES_LEAST = (size_t)64 << 20;
static const size_t RANGE_BYTES_FIRST = (size_t)64 << 30; // what a small machine gets
static const size_t DIRTY_BYTES_MOST = (size_t)256 << 20; // more is returned where it is freed

struct heap_range heap_range;

enum { DIRTY, CLEAN, SORTS };

static struct {
    _Atomic bool ready;
    bool debug; // set by heap_init, then const
    struct spinlock lock;

    // lock
    uint32_t pages_used;      // of the range; beyond them nothing was ever touched
    _Atomic uint32_t numbers; // spans whose entry was ever used, and one more; others read
    struct span *spare;       // entries that stand for nothing, by `next`
    struct span_list free[SORTS][BINS];
    uint64_t filled[SORTS][(BINS + 63) / 64]; // which lists hold something
    uint64_t spans_made, spans_freed, trims;

    // lock; others read
    _Atomic size_t bytes[SPAN_MANAGED + 1]; // in use, by kind
    _Atomic size_t free_bytes[SORTS];
    _Atomic uint32_t tick;
} heap;

bool heap_debug(void) { return heap.debug; }

/* ---- the range ---- */

static void *reserve(size_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                   -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

/* The range and its tables in one mapping, in this order: what is dense lies together. */
static bool reserve_range(size_t bytes)
{
    size_t pages = bytes / SPAN_PAGE_BYTES;
    size_t tables = pages * (sizeof(uint32_t) + sizeof(uint8_t) + sizeof(struct span));
    uint8_t *at = reserve(bytes + tables + SPAN_PAGE_BYTES);
    if (!at)
        return false;
    // A touch is one page of the system, not 2 MiB. Old kernels refuse: nothing is lost.
    madvise(at, bytes + tables + SPAN_PAGE_BYTES, MADV_NOHUGEPAGE);
    at += -(uintptr_t)at % SPAN_PAGE_BYTES;
    heap_range.spans = (struct span *)(at + bytes);
    heap_range.page_span = (_Atomic uint32_t *)(heap_range.spans + pages);
    heap_range.page_class = (_Atomic uint8_t *)(heap_range.page_span + pages);
    heap_range.base = (uintptr_t)at;
    heap_range.bytes = bytes;
    return true;
}

static size_t memory_bytes(void)
{
    long pages = sysconf(_SC_PHYS_PAGES);
    return pages > 0 ? (size_t)pages * (size_t)sysconf(_SC_PAGESIZE) : 0;
}

static void init_locked(void)
{
    const char *debug = getenv("KVD_MEM_DEBUG");
    heap.debug = debug && *debug && strcmp(debug, "0") != 0;
    sizeclass_init();
    size_t bytes = RANGE_BYTES_FIRST;
    while (bytes < 2 * memory_bytes() && bytes < RANGE_BYTES_MOST)
        bytes *= 2;
    while (!reserve_range(bytes)) {
        bytes /= 2;
        if (bytes < RANGE_BYTES_LEAST)
            rt_fatal("out of memory: the system refused to reserve %zu MiB of addresses for the "
                     "heap; raise the limit of virtual memory (ulimit -v) or allow overcommit "
                     "(sysctl vm.overcommit_memory=0)",
                     bytes * 2 >> 20);
    }
    store_relaxed(&heap.numbers, 1); // number 0 is no span
    heap.pages_used = 1;             // the first page's address marks freed blocks (cache.h)
}

void heap_init(void)
{
    if (load_acquire(&heap.ready))
        return;
    spin_lock(&heap.lock);
    if (!load_relaxed(&heap.ready)) {
        init_locked();
        store_release(&heap.ready, true);
    }
    spin_unlock(&heap.lock);
}

/* ---- pages and spans ---- */

static size_t page_of(const struct span *s)
{
    return (s->start - heap_range.base) / SPAN_PAGE_BYTES;
}
static uint32_t number_of(const struct span *s) { return (uint32_t)(s - heap_range.spans); }
static size_t bytes_of(const struct span *s) { return (size_t)s->pages * SPAN_PAGE_BYTES; }
static unsigned sort_of(const struct span *s) { return s->dirty ? DIRTY : CLEAN; }

static void add_to(_Atomic size_t *count, size_t bytes)
{
    store_relaxed(count, load_relaxed(count) + bytes);
}

static unsigned bin_of(uint32_t pages)
{
    return pages < EXACT_BINS ? pages : EXACT_BINS + 31 - (unsigned)__builtin_clz(pages);
}

static struct span *entry_new(size_t page, uint32_t pages)
{
    struct span *s = heap.spare;
    if (s) {
        heap.spare = s->next;
    } else {
        uint32_t number = load_relaxed(&heap.numbers);
        s = &heap_range.spans[number];
        store_release(&heap.numbers, number + 1);
    }
    s->next = s->prev = NULL;
    s->start = heap_range.base + page * SPAN_PAGE_BYTES;
    s->pages = pages;
    return s;
}

static void entry_free(struct span *s)
{
    store_release(&s->kind, SPAN_UNUSED);
    s->next = heap.spare;
    heap.spare = s;
}

static void set_ends(const struct span *s, uint32_t number)
{
    size_t page = page_of(s);
    store_release(&heap_range.page_span[page], number);
    store_release(&heap_range.page_span[page + s->pages - 1], number);
}

static void free_insert(struct span *s)
{
    unsigned sort = sort_of(s), bin = bin_of(s->pages);
    span_list_push(&heap.free[sort][bin], s);
    heap.filled[sort][bin / 64] |= UINT64_C(1) << bin % 64;
    add_to(&heap.free_bytes[sort], bytes_of(s));
    set_ends(s, number_of(s));
    store_release(&s->kind, SPAN_FREE);
}

static void free_remove(struct span *s)
{
    unsigned sort = sort_of(s), bin = bin_of(s->pages);
    assert(load_relaxed(&s->kind) == SPAN_FREE);
    span_list_remove(&heap.free[sort][bin], s);
    if (!heap.free[sort][bin].first)
        heap.filled[sort][bin / 64] &= ~(UINT64_C(1) << bin % 64);
    add_to(&heap.free_bytes[sort], -bytes_of(s));
    set_ends(s, 0);
}

/* The free run of the same sort that `page` is an end of, or NULL. */
static struct span *free_neighbour(size_t page, const struct span *s)
{
    if (page >= heap.pages_used)
        return NULL; // also the page before the first one
    uint32_t number = load_relaxed(&heap_range.page_span[page]);
    struct span *other = &heap_range.spans[number];
    bool fits = number && load_relaxed(&other->kind) == SPAN_FREE && other->dirty == s->dirty;
    return fits ? other : NULL;
}

/* Into the lists, as one run with its neighbours. */
static void free_merge(struct span *s)
{
    struct span *before = free_neighbour(page_of(s) - 1, s);
    struct span *after = free_neighbour(page_of(s) + s->pages, s);
    // A long run beside a place that is always in use grows old all the same.
    if (before && before->pages > s->pages)
        s->freed_tick = before->freed_tick;
    if (after && after->pages > s->pages)
        s->freed_tick = after->freed_tick;
    if (before) {
        free_remove(before);
        s->start = before->start;
        s->pages += before->pages;
        entry_free(before);
    }
    if (after) {
        free_remove(after);
        s->pages += after->pages;
        entry_free(after);
    }
    free_insert(s);
}

/* ---- taking ---- */

/* A free run of at least `pages`, still in its list, or NULL. */
static struct span *find_free(unsigned sort, uint32_t pages)
{
    unsigned bin = bin_of(pages);
    if (bin >= EXACT_BINS) { // its list holds shorter ones, too
        int looks = LOOK_AT_MOST;
        for (struct span *s = heap.free[sort][bin].first; s && looks > 0; s = s->next, looks--)
            if (s->pages >= pages)
                return s;
        bin++;
    }
    for (unsigned word = bin / 64; word < (BINS + 63) / 64; word++) {
        uint64_t filled = heap.filled[sort][word];
        if (word == bin / 64)
            filled &= UINT64_MAX << bin % 64;
        if (filled)
            return heap.free[sort][word * 64 + (unsigned)__builtin_ctzll(filled)].first;
    }
    return NULL;
}

static struct span *take_new(uint32_t pages)
{
    if (pages > heap_range.bytes / SPAN_PAGE_BYTES - heap.pages_used)
        return NULL;
    struct span *s = entry_new(heap.pages_used, pages);
    heap.pages_used += pages;
    s->dirty = false;
    return s;
}

/* Cut what is beyond `pages` off, into the lists. */
static void cut(struct span *s, uint32_t pages)
{
    if (s->pages == pages)
        return;
    struct span *rest = entry_new(page_of(s) + pages, s->pages - pages);
    rest->dirty = s->dirty;
    rest->freed_tick = s->freed_tick;
    s->pages = pages;
    free_merge(rest);
}

static struct span *take_run(uint32_t pages, uint32_t align_pages)
{
    uint32_t most = pages + align_pages - 1; // the range starts at a page only
    struct span *s = find_free(DIRTY, most);
    if (!s)
        s = find_free(CLEAN, most);
    if (s)
        free_remove(s);
    else
        s = take_new(most);
    if (!s)
        return NULL;
    uintptr_t align = (uintptr_t)align_pages * SPAN_PAGE_BYTES;
    uint32_t skip = (uint32_t)(-s->start % align / SPAN_PAGE_BYTES);
    if (skip > 0) {
        struct span *whole = s;
        s = entry_new(page_of(whole) + skip, whole->pages - skip);
        s->dirty = whole->dirty;
        s->freed_tick = whole->freed_tick;
        whole->pages = skip;
        free_merge(whole);
    }
    cut(s, pages);
    return s;
}

static void set_pages(const struct span *s, uint32_t number, unsigned class)
{
    size_t first = page_of(s);
    for (size_t page = first; page < first + s->pages; page++) {
        store_release(&heap_range.page_span[page], number);
        store_release(&heap_range.page_class[page], (uint8_t) class);
    }
}

static void describe(struct span *s, unsigned class, bool noscan)
{
    const struct sizeclass *c = &sizeclass[class];
    s->elem_bytes = class ? c->elem_bytes : UINT32_MAX;
    s->magic = class ? c->magic : 0;
    s->elems = class ? c->elems : 1;
    s->class = (uint8_t) class;
    s->noscan = noscan;
    s->zeroed = !s->dirty;
    s->large_bytes = class ? 0 : bytes_of(s);
    s->free_index = s->used = 0;
    s->place = SPAN_OWNED;
    s->dirty = true;
    store_relaxed(&s->sweep_gen, 0);
    store_relaxed(&s->gc_word, NULL);
    store_relaxed(&s->marked, 0);
    for (unsigned i = 0; i < SPAN_WORDS; i++) {
        store_relaxed(&s->alloc_bits[i], 0);
        store_relaxed(&s->mark_bits[i], 0);
    }
}

struct span *heap_take(uint32_t pages, uint32_t align_pages, unsigned class, enum span_kind kind,
                       bool noscan)
{
    assert(pages > 0);
    assert(kind >= SPAN_PLAIN);
    spin_lock(&heap.lock);
    struct span *s = take_run(pages, align_pages);
    if (s) {
        describe(s, class, noscan);
        set_pages(s, number_of(s), kind == SPAN_PLAIN ? class : 0);
        add_to(&heap.bytes[kind], bytes_of(s));
        heap.spans_made++;
        store_release(&s->kind, kind);
    }
    spin_unlock(&heap.lock);
#ifdef RT_ASAN // the leak checker looks where it is told to
    if (s && kind == SPAN_MANAGED)
        __lsan_register_root_region((void *)s->start, bytes_of(s));
#endif
    return s;
}

/* ---- giving back ---- */

/* Not in a list and of no kind meanwhile, so nobody else touches it. */
static void return_to_system(const struct span *s)
{
    for (size_t at = 0; at < bytes_of(s); at += TRIM_STEP_BYTES) {
        size_t step = bytes_of(s) - at < TRIM_STEP_BYTES ? bytes_of(s) - at : TRIM_STEP_BYTES;
        madvise((void *)(s->start + at), step, MADV_DONTNEED);
    }
}

void heap_give(struct span *s)
{
    enum span_kind kind = load_relaxed(&s->kind);
    assert(kind >= SPAN_PLAIN);
    assert(!s->next);
    assert(!s->prev);
#ifdef RT_ASAN
    if (kind == SPAN_MANAGED)
        __lsan_unregister_root_region((void *)s->start, bytes_of(s));
#endif
    size_t kept = load_relaxed(&heap.free_bytes[DIRTY]);
    bool at_once = kept > DIRTY_BYTES_MOST && bytes_of(s) >= TRIM_STEP_BYTES;
    if (at_once)
        return_to_system(s);
    spin_lock(&heap.lock);
    store_release(&s->kind, SPAN_UNUSED);
    set_pages(s, 0, 0);
    add_to(&heap.bytes[kind], -bytes_of(s));
    heap.spans_freed++;
    s->dirty = !at_once;
    s->freed_tick = load_relaxed(&heap.tick);
    free_merge(s);
    spin_unlock(&heap.lock);
}

/* The dirty run that was freed first of the longest ones that are old enough, out of its list; at
 * most `most` bytes of it. NULL: none. */
static struct span *take_old(size_t most)
{
    uint32_t tick = load_relaxed(&heap.tick);
    for (unsigned bin = BINS; bin-- > 0;) {
        struct span *s = heap.free[DIRTY][bin].last;
        if (!s || tick - s->freed_tick < HEAP_TRIM_TICKS)
            continue;
        free_remove(s);
        store_release(&s->kind, SPAN_UNUSED);
        if (bytes_of(s) > most)
            cut(s, (uint32_t)(most / SPAN_PAGE_BYTES));
        return s;
    }
    return NULL;
}

size_t heap_trim(void)
{
    size_t returned = 0;
    store_relaxed(&heap.tick, load_relaxed(&heap.tick) + 1);
    if (load_relaxed(&heap.free_bytes[DIRTY]) == 0)
        return 0;
    while (returned < HEAP_TRIM_BYTES) {
        spin_lock(&heap.lock);
        struct span *s = take_old(TRIM_STEP_BYTES);
        spin_unlock(&heap.lock);
        if (!s)
            break;
        return_to_system(s);
        returned += bytes_of(s);
        spin_lock(&heap.lock);
        s->dirty = false;
        heap.trims++;
        free_merge(s);
        spin_unlock(&heap.lock);
    }
    return returned;
}

/* ---- looking ---- */

void heap_each_span(bool (*visit)(struct span *s, void *arg), void *arg)
{
    uint32_t numbers = load_acquire(&heap.numbers);
    for (uint32_t i = 1; i < numbers; i++) {
        struct span *s = &heap_range.spans[i];
        if (load_acquire(&s->kind) >= SPAN_PLAIN && !visit(s, arg))
            return;
    }
}

size_t heap_managed_bytes(void) { return load_relaxed(&heap.bytes[SPAN_MANAGED]); }

void heap_figures_pages(struct heap_figures *out)
{
    spin_lock(&heap.lock);
    out->reserved_bytes = heap_range.bytes;
    out->plain_bytes = load_relaxed(&heap.bytes[SPAN_PLAIN]);
    out->managed_bytes = load_relaxed(&heap.bytes[SPAN_MANAGED]);
    out->free_bytes = load_relaxed(&heap.free_bytes[DIRTY]);
    out->returned_bytes = load_relaxed(&heap.free_bytes[CLEAN]);
    out->spans_made = heap.spans_made;
    out->spans_freed = heap.spans_freed;
    out->trims = heap.trims;
    spin_unlock(&heap.lock);
}
