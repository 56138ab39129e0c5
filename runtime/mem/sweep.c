/* mem/sweep.c: what happens to the dead. Nothing is touched but the bitmaps of their span: it is swept
 * by whoever allocates from its class next, or by the collector, which goes through the rest as it
 * finds time. */
#include "runtime/mem/gc.h"
#include "runtime/sched/gmp.h"
#include <string.h>

enum { SWEEP_BATCH = 16, DEAD = 0xdb };

/* For tests: who still has a pointer to one of them shall notice. */
static void spoil(struct span *s)
{
    for (uint32_t i = 0; i < s->elems; i++) {
        uint64_t bit = UINT64_C(1) << i % 64;
        if (load_relaxed(&s->alloc_bits[i / 64]) & ~load_relaxed(&s->mark_bits[i / 64]) & bit)
            memset(span_block(s, i), DEAD, span_block_bytes(s));
    }
}

static void sweep(struct span *s)
{
    if (load_relaxed(&gc.mode) == RT_GC_MODES) // the run has ended
        for (unsigned word = 0; word < SPAN_WORDS; word++)
            store_relaxed(&s->mark_bits[word], 0);
    if (load_relaxed(&gc.checked))
        spoil(s);
    uint64_t died = span_sweep_bits(s);
    if (died == 0)
        return;
    atomic_fetch_add_explicit(&gc.freed_objects, died, memory_order_relaxed);
    atomic_fetch_add_explicit(&gc.freed_bytes, died * span_block_bytes(s), memory_order_relaxed);
}

const struct span_hooks gc_sweep_hooks = {sweep};

void gc_sweep_all(bool polite)
{
    while (central_managed_sweep(SWEEP_BATCH) > 0)
        if (polite)
            g_check_preempt();
}
