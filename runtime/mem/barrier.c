/* mem/barrier.c: writing pointers while somebody marks.
 *
 * Dijkstra: what is written becomes grey, so no black object ever points to a white one. Stacks have
 * no barrier: what is moved from the heap to a stack that was looked at may stay white, so all stacks
 * are looked at again at the end.
 * Hybrid: what is overwritten becomes grey as well (Yuasa). Whoever reads a pointer to a white object
 * out of the heap can rely on it: as long as the path it was reached by stands, marking will come
 * along it, and when the path is cut, this write greys the object. So a stack that was looked at
 * stays black. What is written is greyed for the stacks that were not looked at yet.
 *
 * Two who write the same slot at once: each greys what it writes, and what it saw there before; what
 * one of them overwrote unseen is what the other one wrote, and greyed. */
#include "runtime/mem/gc.h"
#include "runtime/sched/fiber.h"
#include "runtime/sched/gmp.h"
#include <assert.h>
#include <string.h>

static void shade(uintptr_t p)
{
    struct span *s;
    uint32_t i;
    if (!p || !gc_find(p, &s, &i) || !span_mark(s, i))
        return;
    struct gc_p *pc = gc_here();
    count_up(&pc->shades, 1);
    atomic_fetch_add_explicit(&gc.marked_bytes, span_block_bytes(s), memory_order_relaxed);
    atomic_fetch_add_explicit(&gc.marked_objects, 1, memory_order_relaxed);
    if (!s->noscan)
        gc_p_push_grey(pc, span_block(s, i));
}

__attribute__((noinline)) static void barrier(void **slot, void *pointer)
{
    quiet_begin();
    if (load_relaxed(&gc.deletes_too))
        shade(load_relaxed((_Atomic uintptr_t *)slot));
    shade((uintptr_t)pointer);
    quiet_end();
}

void rt_gc_write_slot(void **slot, void *pointer)
{
    assert((uintptr_t)slot % sizeof(void *) == 0);
    if (__builtin_expect(load_relaxed(&gc.barrier_on), 0))
        barrier(slot, pointer);
    store_release((_Atomic uintptr_t *)slot, (uintptr_t)pointer);
    g_check_preempt();
}

/* The bytes from `from` on up to `until` that are no pointer slots. */
static void copy_plain(char *to, const char *from, size_t at, size_t until)
{
    if (until > at)
        memmove(to + at, from + at, until - at);
}

static void copy_one(const struct rt_gc_type *type, char *to, const char *from)
{
    size_t at = 0;
    for (uint32_t k = 0; k < type->pointer_count; k++) {
        uint32_t offset = type->pointers[k];
        copy_plain(to, from, at, offset);
        void **slot = (void **)(to + offset);
        uintptr_t p = load_relaxed((_Atomic uintptr_t *)(from + offset));
        if (__builtin_expect(load_relaxed(&gc.barrier_on), 0))
            barrier(slot, (void *)p);
        store_release((_Atomic uintptr_t *)slot, p);
        at = offset + sizeof(void *);
    }
    copy_plain(to, from, at, type->size_bytes);
}

void rt_gc_copy(const struct rt_gc_type *type, void *to, const void *from, size_t n)
{
    assert(type);
    size_t step = type->size_bytes;
    bool up = (uintptr_t)to <= (uintptr_t)from; // as memmove
    for (size_t i = 0; i < n; i++) {
        size_t at = (up ? i : n - 1 - i) * step;
        copy_one(type, (char *)to + at, (const char *)from + at);
        if (i % 64 == 63)
            g_check_preempt();
    }
    g_check_preempt();
}
