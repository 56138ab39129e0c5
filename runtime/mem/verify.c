/* mem/verify.c: with the world stopped, marking ended and nothing grey: no black object points to a
 * white one, and what the roots and pins reach is black. Stacks are not looked at: what lies there
 * may be the rest of an older call. */
#include "rt/why.h"
#include "runtime/mem/gc.h"
#include "runtime/sched/gmp.h"

static void check_pointer(uintptr_t p, const char *from, const void *where)
{
    struct span *s;
    uint32_t i;
    if (p && gc_find(p, &s, &i) && !span_is_marked(s, i))
        rt_fatal("garbage collector (%s): %s %p points to %p, a %s that was not marked; block %u "
                 "of %u, generation %u of %u",
                 rt_gc_mode_name(rt_gc_get_mode()), from, where, (void *)p,
                 gc_type_of(*(uintptr_t *)span_block(s, i))->name, i, s->elems,
                 load_relaxed(&s->sweep_gen), heap_sweep_gen());
}

static void check_object(const uintptr_t *object)
{
    uintptr_t header = *object;
    const struct rt_gc_type *type = gc_type_of(header);
    size_t n = gc_elements_of(object, header);
    uintptr_t at = (uintptr_t)(object + 1);
    for (size_t i = 0; i < n; i++, at += type->size_bytes)
        for (uint32_t k = 0; k < type->pointer_count; k++)
            check_pointer(load_relaxed((_Atomic uintptr_t *)(at + type->pointers[k])), type->name,
                          object + 1);
}

static bool check_span(struct span *s, void *arg)
{
    (void)arg;
    if (load_relaxed(&s->kind) != SPAN_MANAGED || s->noscan)
        return true;
    for (uint32_t i = 0; i < s->elems; i++)
        if (load_relaxed(&s->alloc_bits[i / 64]) >> i % 64 & 1 && span_is_marked(s, i))
            check_object(span_block(s, i));
    return true;
}

static void check_slot(void **slot, void *arg)
{
    (void)arg;
    check_pointer(load_relaxed((_Atomic uintptr_t *)slot), "the root at", slot);
}

static void check_pin(uintptr_t *header, void *arg)
{
    (void)arg;
    check_pointer((uintptr_t)(header + 1), "the pin of", header);
}

void gc_verify(void)
{
    heap_each_span(check_span, NULL);
    gc_each_root(check_slot, check_pin, NULL);
    atomic_fetch_add(&gc.checks, 1);
}
