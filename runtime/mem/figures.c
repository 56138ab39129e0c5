/* mem/figures.c: what the allocator has, for programs and for /metrics. */
#include "runtime/mem/figures.h"
#include "rt/alloc.h"
#include "rt/metrics.h"
#include "runtime/mem/cache.h"
#include <assert.h>
#include <stdio.h>

static_assert(RT_ALLOC_CLASSES == SIZECLASS_COUNT - 1, "every class is shown");

static struct rt_alloc_class class_figures(unsigned class)
{
    struct central_figures f;
    central_figures(class, &f);
    uint64_t cached = f.stashed + cache_blocks(class);
    return (struct rt_alloc_class){
        .block_bytes = sizeclass[class].elem_bytes,
        .spans = f.spans,
        .used = f.blocks_out > cached ? f.blocks_out - cached : 0,
        .cached = cached,
    };
}

void rt_alloc_stats(struct rt_alloc_stats *out)
{
    struct heap_figures f;
    heap_figures(&f);
    *out = (struct rt_alloc_stats){
        .span_bytes = f.plain_bytes,
        .large_bytes = f.plain_bytes,
        .managed_bytes = f.managed_bytes,
        .free_bytes = f.free_bytes,
        .returned_bytes = f.returned_bytes,
        .trims = f.trims,
    };
    for (unsigned class = 1; class < SIZECLASS_COUNT; class ++) {
        struct rt_alloc_class c = class_figures(class);
        size_t small = (size_t)c.spans * sizeclass[class].pages * SPAN_PAGE_BYTES;
        out->classes[class - 1] = c;
        out->large_bytes -= small < out->large_bytes ? small : out->large_bytes;
    }
}

/* ---- metrics ---- */

enum { SPAN_BYTES, MANAGED_BYTES, FREE_BYTES, RETURNED_BYTES, PAGE_METRICS };

static double read_pages(void *arg)
{
    struct heap_figures f;
    heap_figures(&f);
    const size_t values[PAGE_METRICS] = {f.plain_bytes, f.managed_bytes, f.free_bytes,
                                         f.returned_bytes};
    return (double)values[(uintptr_t)arg];
}

static double read_used(void *arg) { return (double)class_figures((unsigned)(uintptr_t)arg).used; }
static double read_cached(void *arg)
{
    return (double)class_figures((unsigned)(uintptr_t)arg).cached;
}

void mem_metrics_add(struct rt_metrics *m)
{
    static const struct {
        const char *name, *help;
    } pages[PAGE_METRICS] = {
        [SPAN_BYTES] = {"kvd_memory_span_bytes", "Pages in use by the allocator."},
        [MANAGED_BYTES] = {"kvd_memory_managed_bytes", "Pages in use by the managed heap."},
        [FREE_BYTES] = {"kvd_memory_free_bytes", "Free pages kept for reuse."},
        [RETURNED_BYTES] = {"kvd_memory_returned_bytes", "Free pages that the system has back."},
    };
    heap_init(); // makes the classes
    for (uintptr_t i = 0; i < PAGE_METRICS; i++)
        rt_metrics_gauge_fn(m, pages[i].name, "", pages[i].help, read_pages, (void *)i);
    for (uintptr_t class = 1; class < SIZECLASS_COUNT; class ++) {
        char label[32];
        snprintf(label, sizeof(label), "size=\"%u\"", sizeclass[class].elem_bytes);
        rt_metrics_gauge_fn(m, "kvd_memory_blocks", label, "Blocks in use, by size class.",
                            read_used, (void *)class);
        rt_metrics_gauge_fn(m, "kvd_memory_cached_blocks", label,
                            "Free blocks in caches, by size class.", read_cached, (void *)class);
    }
}
