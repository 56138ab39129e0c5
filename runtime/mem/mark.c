/* mem/mark.c: grey objects, and what makes them black.
 *
 * Grey objects lie in chunks: one in the hands of each who greys, the others in a list that all share.
 * The collector's goroutine takes chunk after chunk; goroutines that allocate faster than it marks
 * take one now and then (pace.c). Marking a tree of small objects is waiting for memory, so an object
 * is asked for some turns before it is looked into (a ring of AHEAD objects). */
#include "rt/alloc.h"
#include "runtime/mem/gc.h"
#include "runtime/sched/gmp.h"
#include "runtime/sched/stop.h"
#include <assert.h>

enum {
    AHEAD = 16,           // a power of two
    CHECK_EVERY = 64,     // objects between two looks whether somebody waits
    SLOTS_AT_ONCE = 2048, // of a big object, the same
    LOOK_BYTES = 24,      // what an object or a slot that is looked into counts for, marked or not
    SPARE_MAX = 256,
};

/* ---- finding ---- */

static inline bool find_in(uintptr_t p, uintptr_t least, struct span **span, uint32_t *index)
{
    struct span *s = span_of((const void *)p);
    if (!s || load_relaxed(&s->kind) != SPAN_MANAGED)
        return false;
    uint32_t i = span_index_of(s, (const void *)p);
    if (i >= s->elems || p - (uintptr_t)span_block(s, i) < least ||
        !(load_acquire(&s->alloc_bits[i / 64]) >> i % 64 & 1))
        return false;
    *span = s;
    *index = i;
    return true;
}

/* The word in front of an object is nobody's address: a pointer to it is one past the end of the
 * object before. */
bool gc_find(uintptr_t p, struct span **span, uint32_t *index)
{
    return heap_has((const void *)p) && (find_in(p, GC_HEADER_BYTES, span, index) ||
                                         find_in(p - GC_HEADER_BYTES, 0, span, index));
}

size_t gc_elements_of(const uintptr_t *object, uintptr_t header)
{
    if (!(header & GC_IS_ARRAY))
        return 1;
    const struct span *s = span_of(object); // behind the last element everything is zero
    return (span_block_bytes(s) - GC_HEADER_BYTES) / gc_type_of(header)->size_bytes;
}

/* ---- chunks ---- */

static struct gc_chunk *chunk_new(void)
{
    spin_lock(&gc.grey_lock);
    struct gc_chunk *c = gc.spare;
    if (c) {
        gc.spare = c->next;
        store_relaxed(&gc.spare_count, load_relaxed(&gc.spare_count) - 1);
    }
    spin_unlock(&gc.grey_lock);
    if (!c)
        c = rt_alloc(sizeof(*c));
    c->next = NULL;
    c->count = 0;
    return c;
}

static void chunk_share(struct gc_chunk *c)
{
    assert(c->count > 0);
    spin_lock(&gc.grey_lock);
    c->next = gc.grey;
    gc.grey = c;
    store_release(&gc.grey_chunks, load_relaxed(&gc.grey_chunks) + 1);
    atomic_fetch_add(&gc.grey_moves, 1);
    spin_unlock(&gc.grey_lock);
}

static struct gc_chunk *chunk_take(void)
{
    if (load_acquire(&gc.grey_chunks) == 0)
        return NULL;
    spin_lock(&gc.grey_lock);
    struct gc_chunk *c = gc.grey;
    if (c) {
        gc.grey = c->next;
        store_release(&gc.grey_chunks, load_relaxed(&gc.grey_chunks) - 1);
    }
    spin_unlock(&gc.grey_lock);
    return c;
}

static void chunk_spare(struct gc_chunk *c)
{
    spin_lock(&gc.grey_lock);
    bool keep = load_relaxed(&gc.spare_count) < SPARE_MAX;
    if (keep) {
        c->next = gc.spare;
        gc.spare = c;
        store_relaxed(&gc.spare_count, load_relaxed(&gc.spare_count) + 1);
    }
    spin_unlock(&gc.grey_lock);
    if (!keep)
        rt_free(c);
}

void gc_free_chunks(void)
{
    for (struct gc_chunk *c; (c = chunk_take()) != NULL;)
        rt_free(c);
    for (struct gc_chunk *c = gc.spare, *next; c; c = next) {
        next = c->next;
        rt_free(c);
    }
    gc.spare = NULL;
    store_relaxed(&gc.spare_count, 0);
}

/* Never waits for memory to be full: the old chunk goes to the others. */
static inline void push(struct gc_chunk **to, uintptr_t *header)
{
    struct gc_chunk *c = *to;
    if (__builtin_expect(!c || c->count == GC_CHUNK_OBJECTS, 0)) {
        if (c)
            chunk_share(c);
        *to = c = chunk_new();
    }
    c->object[c->count++] = header;
}

/* ---- greying ---- */

static inline void grey_found(struct gc_greyer *w, struct span *s, uint32_t i)
{
    if (!span_mark(s, i))
        return;
    w->bytes += span_block_bytes(s);
    w->objects++;
    if (!s->noscan)
        push(&w->out, span_block(s, i));
}

void gc_grey(struct gc_greyer *w, uintptr_t p)
{
    struct span *s;
    uint32_t i;
    if (gc_find(p, &s, &i))
        grey_found(w, s, i);
}

static void count_marked(struct gc_greyer *w)
{
    if (w->objects == 0)
        return;
    atomic_fetch_add_explicit(&gc.marked_bytes, w->bytes, memory_order_relaxed);
    atomic_fetch_add_explicit(&gc.marked_objects, w->objects, memory_order_relaxed);
    w->bytes = w->objects = 0;
}

void gc_greyer_done(struct gc_greyer *w)
{
    count_marked(w);
    if (w->out && w->out->count > 0)
        chunk_share(w->out);
    else if (w->out)
        chunk_spare(w->out);
    w->out = NULL;
}

__attribute__((no_sanitize("address", "thread"))) static uintptr_t word_at(const uintptr_t *at)
{
    return *at; // of somebody's stack: it may be poisoned, or be written by who it belongs to
}

void gc_grey_words(const void *low, const void *high)
{
    struct gc_greyer w = {NULL, 0, 0};
    for (const uintptr_t *at = low; at < (const uintptr_t *)high; at++) {
        uintptr_t p = word_at(at);
        if (!heap_has((const void *)p))
            continue;
        gc_grey(&w, p);
        struct span
            *s; // a word that is only the compiler's may well point to the front of an object
        uint32_t i;
        if (find_in(p, 0, &s, &i))
            grey_found(&w, s, i);
    }
    gc_greyer_done(&w);
}

void gc_p_push_grey(struct gc_p *pc, uintptr_t *header) { push(&pc->grey, header); }

void gc_p_give_grey(struct gc_p *pc)
{
    struct gc_chunk *c = pc->grey;
    pc->grey = NULL;
    if (c && c->count > 0)
        chunk_share(c);
    else if (c)
        chunk_spare(c);
}

/* ---- blackening ---- */

struct marker {
    struct gc_greyer greyer;
    struct gc_chunk *in;
    uintptr_t *ahead[AHEAD]; // asked for, not looked into yet; NULL: nothing
    uint32_t turn;
    bool polite;
    bool helps;            // a goroutine that allocates: it leaves what is big to the collector
    struct gc_chunk *left; // that
    uint64_t looks;        // objects and slots looked into
};

static void let_others(struct marker *m)
{
    count_marked(&m->greyer);
    g_check_preempt();
}

static inline void look_at_slot(struct marker *m, uintptr_t at)
{
    uintptr_t p = load_relaxed((_Atomic uintptr_t *)at);
    if (p)
        gc_grey(&m->greyer, p);
}

/* An array, or an object of very many slots. */
static void look_into_big(struct marker *m, uintptr_t *object, uintptr_t header)
{
    const struct rt_gc_type *type = gc_type_of(header);
    size_t n = gc_elements_of(object, header), until_check = SLOTS_AT_ONCE;
    if (m->helps && n * type->pointer_count > SLOTS_AT_ONCE) {
        push(&m->left, object);
        return;
    }
    m->looks += n * type->pointer_count;
    uintptr_t at = (uintptr_t)object + GC_HEADER_BYTES;
    for (size_t i = 0; i < n; i++, at += type->size_bytes)
        for (uint32_t k = 0; k < type->pointer_count; k++) {
            look_at_slot(m, at + type->pointers[k]);
            if (--until_check == 0) {
                until_check = SLOTS_AT_ONCE;
                if (m->polite)
                    let_others(m);
            }
        }
}

static inline void look_into(struct marker *m, uintptr_t *object)
{
    uintptr_t header = load_relaxed((_Atomic uintptr_t *)object);
    const struct rt_gc_type *type = gc_type_of(header);
    m->looks++;
    if (header & GC_IS_ARRAY || type->pointer_count > SLOTS_AT_ONCE) {
        look_into_big(m, object, header);
        return;
    }
    m->looks += type->pointer_count;
    for (uint32_t k = 0; k < type->pointer_count; k++)
        look_at_slot(m, (uintptr_t)object + GC_HEADER_BYTES + type->pointers[k]);
}

/* The newest object at hand; NULL: nothing that we can see. Depth first keeps the chunks few. */
static uintptr_t *next_object(struct marker *m)
{
    struct gc_chunk *out = m->greyer.out;
    if (out && out->count > 0)
        return out->object[--out->count];
    if (m->in && m->in->count == 0) {
        chunk_spare(m->in);
        m->in = NULL;
    }
    if (!m->in)
        m->in = chunk_take();
    return m->in ? m->in->object[--m->in->count] : NULL;
}

/* False: nothing left, here or ahead. */
static inline bool step(struct marker *m)
{
    uintptr_t *object = next_object(m);
    if (object)
        __builtin_prefetch(object);
    uint32_t at = m->turn++ % AHEAD;
    uintptr_t *due = m->ahead[at];
    m->ahead[at] = object;
    if (due) {
        look_into(m, due);
        return true;
    }
    if (object)
        return true;
    for (uint32_t i = 0; i < AHEAD; i++)
        if (m->ahead[i])
            return true;
    return false;
}

static void marker_done(struct marker *m)
{
    for (uint32_t i = 0; i < AHEAD; i++)
        if (m->ahead[i])
            push(&m->greyer.out, m->ahead[i]);
    if (m->left)
        chunk_share(m->left);
    if (m->in && m->in->count > 0)
        chunk_share(m->in);
    else if (m->in)
        chunk_spare(m->in);
    gc_greyer_done(&m->greyer);
}

void gc_drain(bool polite)
{
    struct marker m = {.polite = polite};
    for (uint32_t n = 0; step(&m); n++)
        if (n % CHECK_EVERY == 0 && polite)
            let_others(&m);
    marker_done(&m);
}

/* Bounded by what it looks at as well: there may be thousands of objects whose pointers lead to none
 * that is white. */
int64_t gc_drain_some(int64_t bytes)
{
    struct marker m = {.helps = true};
    uint64_t most = (uint64_t)bytes;
    while (m.greyer.bytes < most && m.looks * LOOK_BYTES < most && step(&m))
        ;
    int64_t did = (int64_t)m.greyer.bytes;
    marker_done(&m);
    atomic_fetch_add(&gc.grey_moves, 1); // what it took may be black now, and nowhere to be seen
    return did;
}
