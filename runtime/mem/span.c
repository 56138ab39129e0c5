/* mem/span.c: managed spans: who has them, and when they are swept.
 *
 * For each size class, with and without pointers, three lists: swept spans with room, swept full
 * ones, and unswept ones. Raising the generation makes everything unswept: the lists move, and a span
 * that somebody owns follows when it comes back, since its generation is not the heap's.
 *
 * Whoever wants a span sweeps unswept ones of the class until one has room, but not for ever: a few
 * dozen without room, and a new span is cheaper. A span is swept by who took it off the list, without
 * a lock, so the hook may take its time. */
#include "runtime/mem/heap.h"
#include "runtime/sched/park.h"
#include <assert.h>
#include <string.h>

enum { SWEEP_AT_MOST = 64 }; // for one who wants a span

struct managed {
    struct spinlock lock;
    struct span_list partial, full, unswept; // lock
} __attribute__((aligned(64)));

static struct {
    struct managed lists[SIZECLASS_COUNT][2]; // by class, noscan
    const struct span_hooks *hooks;           // set before the first managed span, then const
    _Atomic uint32_t gen;
    _Atomic size_t unswept; // in the lists or with a sweeper
    _Atomic uint64_t swept, died;
} managed;

void span_hooks_set(const struct span_hooks *hooks) { managed.hooks = hooks; }

uint32_t heap_sweep_gen(void) { return load_acquire(&managed.gen); }

size_t central_managed_unswept(void) { return load_acquire(&managed.unswept); }

static struct managed *lists_of(const struct span *s)
{
    return &managed.lists[s->class][s->noscan];
}

/* All of `from` behind `to`. Returns how many. Nobody goes through them: there may be a hundred
 * thousand, and whoever wants a span waits for the lock. */
static size_t list_move(struct span_list *to, struct span_list *from)
{
    size_t count = from->count;
    if (count == 0)
        return 0;
    from->first->prev = to->last;
    *(to->last ? &to->last->next : &to->first) = from->first;
    to->last = from->last;
    to->count += count;
    *from = (struct span_list){0};
    return count;
}

void heap_sweep_gen_raise(void)
{
    assert(load_relaxed(&managed.unswept) == 0);
    store_seq(&managed.gen, load_relaxed(&managed.gen) + 1);
    for (unsigned class = 0; class < SIZECLASS_COUNT; class ++)
        for (unsigned noscan = 0; noscan < 2; noscan++) {
            struct managed *m = &managed.lists[class][noscan];
            spin_lock(&m->lock);
            size_t count = list_move(&m->unswept, &m->partial);
            count += list_move(&m->unswept, &m->full);
            atomic_fetch_add(&managed.unswept, count);
            spin_unlock(&m->lock);
        }
}

uint32_t span_sweep_bits(struct span *s)
{
    uint32_t used = 0;
    for (unsigned word = 0; word < SPAN_WORDS; word++) {
        uint64_t marks = load_relaxed(&s->mark_bits[word]);
        store_release(&s->alloc_bits[word], marks);
        store_relaxed(&s->mark_bits[word], 0);
        used += (uint32_t)__builtin_popcountll(marks);
    }
    assert(used <= s->used);
    uint32_t died = s->used - used;
    s->used = used;
    s->free_index = 0;
    if (died > 0)
        s->zeroed = false;
    atomic_fetch_add_explicit(&managed.swept, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&managed.died, died, memory_order_relaxed);
    return died;
}

/* Into the list it belongs to. */
static void put(struct span *s)
{
    struct managed *m = lists_of(s);
    spin_lock(&m->lock);
    if (load_relaxed(&s->sweep_gen) != load_relaxed(&managed.gen)) {
        s->place = SPAN_IN_UNSWEPT;
        span_list_push(&m->unswept, s);
        atomic_fetch_add(&managed.unswept, 1);
    } else if (s->used == s->elems) {
        s->place = SPAN_IN_FULL;
        span_list_push(&m->full, s);
    } else {
        s->place = SPAN_IN_PARTIAL;
        span_list_push(&m->partial, s);
    }
    spin_unlock(&m->lock);
}

/* Owned, and counted as unswept: so the generation is not raised meanwhile. */
static void sweep(struct span *s)
{
    uint32_t gen = heap_sweep_gen();
    // Between the raise and its coming to this list a span may have been swept, or made, for the new
    // generation: a second time there would be no marks, and all in it would die.
    if (load_relaxed(&s->sweep_gen) != gen) {
        if (managed.hooks)
            managed.hooks->sweep(s);
        else
            span_sweep_bits(s);
        store_release(&s->sweep_gen, gen);
    }
    size_t before = atomic_fetch_sub(&managed.unswept, 1);
    assert(before > 0);
}

static struct span *take_first(struct managed *m, struct span_list *l)
{
    spin_lock(&m->lock);
    struct span *s = l->first;
    if (s) {
        span_list_remove(l, s);
        s->place = SPAN_OWNED;
    }
    spin_unlock(&m->lock);
    return s;
}

struct span *central_managed_take(unsigned class, bool noscan)
{
    assert(class > 0);
    heap_init();
    struct managed *m = &managed.lists[class][noscan];
    struct span *s = take_first(m, &m->partial);
    // The generation is read once the span is ours: if it is raised later, give will see that.
    if (s && load_relaxed(&s->sweep_gen) == heap_sweep_gen())
        return s;
    if (s) // the raise has not come to this list yet
        atomic_fetch_add(&managed.unswept, 1);
    for (int looks = 0; looks < SWEEP_AT_MOST; looks++) {
        if (!s)
            s = take_first(m, &m->unswept);
        if (!s)
            break;
        sweep(s);
        if (s->used < s->elems)
            return s;
        put(s);
        s = NULL;
    }
    s = heap_take(sizeclass[class].pages, HEAP_ALIGN_NONE, class, SPAN_MANAGED, noscan);
    if (s)
        store_relaxed(&s->sweep_gen, heap_sweep_gen());
    return s;
}

void central_managed_give(struct span *s)
{
    assert(load_relaxed(&s->kind) == SPAN_MANAGED);
    assert(s->place == SPAN_OWNED);
    put(s);
}

struct span *central_managed_large(size_t bytes, bool noscan)
{
    heap_init();
    if (bytes > heap_range.bytes)
        return NULL;
    uint32_t pages = (uint32_t)((bytes + SPAN_PAGE_BYTES - 1) / SPAN_PAGE_BYTES);
    struct span *s = heap_take(pages ? pages : 1, HEAP_ALIGN_NONE, 0, SPAN_MANAGED, noscan);
    if (s)
        store_relaxed(&s->sweep_gen, heap_sweep_gen());
    return s;
}

uint32_t central_managed_sweep(uint32_t max)
{
    uint32_t did = 0;
    for (unsigned class = 0; class < SIZECLASS_COUNT; class ++)
        for (unsigned noscan = 0; noscan < 2; noscan++) {
            struct managed *m = &managed.lists[class][noscan];
            struct span *s;
            while ((max == 0 || did < max) && (s = take_first(m, &m->unswept)) != NULL) {
                sweep(s);
                did++;
                if (s->used == 0)
                    heap_give(s);
                else
                    put(s);
            }
        }
    return did;
}

void *span_managed_peek(struct span *s, uint32_t *index)
{
    for (uint32_t i = s->free_index; i < s->elems; i = (i / 64 + 1) * 64) {
        uint64_t room = ~load_relaxed(&s->alloc_bits[i / 64]) >> i % 64;
        if (!room)
            continue;
        i += (uint32_t)__builtin_ctzll(room);
        if (i >= s->elems)
            break;
        s->free_index = i;
        *index = i;
        return span_block(s, i);
    }
    s->free_index = s->elems;
    return NULL;
}

void span_managed_commit(struct span *s, uint32_t index)
{
    uint64_t bits = load_relaxed(&s->alloc_bits[index / 64]);
    assert(!(bits >> index % 64 & 1));
    s->used++;
    s->free_index = index + 1;
    store_release(&s->alloc_bits[index / 64], bits | UINT64_C(1) << index % 64);
}

void *span_managed_next(struct span *s)
{
    uint32_t i;
    void *block = span_managed_peek(s, &i);
    if (block)
        span_managed_commit(s, i);
    return block;
}

void heap_figures(struct heap_figures *out)
{
    *out = (struct heap_figures){
        .managed_swept = load_relaxed(&managed.swept),
        .managed_died = load_relaxed(&managed.died),
    };
    heap_figures_pages(out);
}
