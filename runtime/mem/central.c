/* mem/central.c: the plain size classes.
 *
 * A class has a list of the spans that have room; a full span is in no list until one of its blocks
 * comes back. In front of the spans is a stash: where blocks are freed on another P than the one
 * that needs them, whole batches pass through it as a copy of their pointers, and no span is touched.
 *
 * Nobody owns a span here, so a block may come back from any P: it waits in that P's cache (at most
 * two batches), in the stash (at most four), and then goes into its span's bitmap.
 *
 * Order of locks: a cache's, a class's, the heap's. */
#include "runtime/mem/central.h"
#include "rt/why.h"
#include "runtime/sched/park.h"
#include <assert.h>
#include <string.h>

enum { STASH_BATCHES = 4, STASH_MAX = 128 };

struct central {
    struct spinlock lock;
    uint32_t stashed;         // lock
    struct span_list partial; // lock: spans with room, last used first
    struct span *empty;       // lock: one of them without a block out, kept against back and forth
    uint32_t spans;           // lock
    bool looked_at;           // the trimmer: nobody came since
    uint64_t blocks_out;      // lock
    uint64_t takes, gives;    // lock
    void *stash[STASH_MAX];   // lock
} __attribute__((aligned(64)));

static struct central centrals[SIZECLASS_COUNT];
static unsigned trim_class; // the trimmer

/* ---- a span's bitmap ---- */

static uint64_t bit_of(uint32_t i) { return UINT64_C(1) << i % 64; }

/* The bits of word `word` that stand for blocks. */
static uint64_t bits_there(const struct span *s, uint32_t word)
{
    uint32_t left = s->elems - word * 64;
    return left >= 64 ? UINT64_MAX : bit_of(left) - 1;
}

/* At most `count` free blocks, lowest first; free_index remembers where the first free one may be. */
static unsigned span_take(struct span *s, void **out, unsigned count)
{
    unsigned taken = 0;
    uint32_t word = s->free_index / 64;
    for (; word * 64 < s->elems && taken < count; word++) {
        uint64_t bits = load_relaxed(&s->alloc_bits[word]);
        uint64_t room = ~bits & bits_there(s, word);
        for (; room && taken < count; room &= room - 1) {
            uint32_t i = word * 64 + (uint32_t)__builtin_ctzll(room);
            out[taken++] = span_block(s, i);
            bits |= bit_of(i);
        }
        store_relaxed(&s->alloc_bits[word], bits);
        if (room)
            break;
    }
    s->free_index = word * 64;
    s->used += taken;
    return taken;
}

bool central_has_out(const struct span *s, const void *block)
{
    uint32_t i = span_index_of(s, block);
    return i < s->elems && span_block(s, i) == block &&
           load_relaxed(&s->alloc_bits[i / 64]) & bit_of(i);
}

/* ---- spans of a class ---- */

static struct span *span_with_room(struct central *c, unsigned class)
{
    struct span *s = c->partial.first;
    if (s) {
        if (s == c->empty)
            c->empty = NULL;
        return s;
    }
    s = heap_take(sizeclass[class].pages, HEAP_ALIGN_NONE, class, SPAN_PLAIN, false);
    if (!s)
        return NULL;
    c->spans++;
    span_list_push(&c->partial, s);
    return s;
}

static void release_empty(struct central *c)
{
    struct span *s = c->empty;
    if (!s)
        return;
    c->empty = NULL;
    c->spans--;
    span_list_remove(&c->partial, s);
    heap_give(s);
}

/* False: it is no block that is out. */
static bool put_back(struct central *c, unsigned class, void *block)
{
    struct span *s = span_of(block);
    if (!s || s->class != class || !central_has_out(s, block))
        return false;
    uint32_t i = span_index_of(s, block);
    store_relaxed(&s->alloc_bits[i / 64], load_relaxed(&s->alloc_bits[i / 64]) & ~bit_of(i));
    if (i < s->free_index)
        s->free_index = i;
    if (s->used-- == s->elems)
        span_list_push(&c->partial, s);
    c->blocks_out--;
    if (s->used == 0) {
        release_empty(c);
        c->empty = s;
    }
    return true;
}

/* ---- the face ---- */

unsigned central_take(unsigned class, void **out, unsigned count)
{
    struct central *c = &centrals[class];
    assert(class > 0);
    assert(count > 0);
    spin_lock(&c->lock);
    c->looked_at = false;
    c->takes++;
    unsigned taken = c->stashed < count ? c->stashed : count;
    c->stashed -= taken;
    memcpy(out, c->stash + c->stashed, taken * sizeof(out[0]));
    while (taken < count) {
        struct span *s = span_with_room(c, class);
        if (!s)
            break;
        unsigned more = span_take(s, out + taken, count - taken);
        assert(more > 0);
        taken += more;
        c->blocks_out += more;
        if (s->used == s->elems)
            span_list_remove(&c->partial, s);
    }
    spin_unlock(&c->lock);
    return taken;
}

void central_give(unsigned class, void *const *blocks, unsigned count)
{
    struct central *c = &centrals[class];
    const void *bad = NULL;
    unsigned kept = 0, room = STASH_BATCHES * sizeclass[class].batch;
    spin_lock(&c->lock);
    c->looked_at = false;
    c->gives++;
    if (c->stashed < room)
        kept = room - c->stashed < count ? room - c->stashed : count;
    memcpy(c->stash + c->stashed, blocks, kept * sizeof(blocks[0]));
    c->stashed += kept;
    for (unsigned i = kept; i < count && !bad; i++)
        if (!put_back(c, class, blocks[i]))
            bad = blocks[i];
    spin_unlock(&c->lock);
    if (bad)
        rt_fatal("rt_free of %p: it is no block of %u bytes that is in use; it was freed twice, or "
                 "points into a block",
                 bad, sizeclass[class].elem_bytes);
}

void central_trim(void)
{
    trim_class = trim_class % (SIZECLASS_COUNT - 1) + 1;
    struct central *c = &centrals[trim_class];
    const void *bad = NULL;
    spin_lock(&c->lock);
    if (c->looked_at) {
        while (c->stashed > 0 && !bad)
            if (!put_back(c, trim_class, c->stash[--c->stashed]))
                bad = c->stash[c->stashed];
        release_empty(c);
    }
    c->looked_at = true;
    spin_unlock(&c->lock);
    if (bad)
        rt_fatal("rt_free of %p: it was freed twice, or points into a block", bad);
}

void central_figures(unsigned class, struct central_figures *out)
{
    struct central *c = &centrals[class];
    spin_lock(&c->lock);
    *out = (struct central_figures){
        .spans = c->spans,
        .blocks_out = c->blocks_out,
        .stashed = c->stashed,
        .takes = c->takes,
        .gives = c->gives,
    };
    spin_unlock(&c->lock);
}
