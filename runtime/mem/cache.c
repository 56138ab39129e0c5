/* mem/cache.c: making caches, filling and emptying their magazines. */
#include "runtime/mem/cache.h"
#include "rt/why.h"
#include "runtime/mem/current.h"
#include "runtime/sched/fiber.h"
#include "runtime/sched/gmp.h"
#include <assert.h>
#include <string.h>
#include <sys/mman.h>

enum {
    CACHES_MAX = 256, // Ps with a number beyond use the shared one
    TRIM_EVERY_NS = 100 * 1000 * 1000,
    TRIM_CLASSES = 8, // a tick; all of them in a second
};

static struct {
    struct spinlock make_lock;
    struct mem_cache *_Atomic of_p[CACHES_MAX]; // make_lock; stay when a run ends, for the next one
    struct spinlock shared_lock;
    struct mem_cache *_Atomic shared; // its magazines: shared_lock
    int64_t trimmed_ns;               // sysmon
} caches;

/* What every class of the empty cache points to: nothing to take before it, no place at it. */
static struct magazine nothing[2];
static struct mem_cache none = {.top = {[0 ... SIZECLASS_COUNT - 1] = nothing[1].place}};

_Thread_local struct mem_cache *cache_here = &none;

/* Never inlined, so that no caller keeps the thread's address across a switch. Quiet: a thread's own
 * word, that ThreadSanitizer sees several goroutines write. */
__attribute__((noinline)) void mem_use_cache(struct mem_cache *c)
{
    quiet_begin();
    cache_here = c ? c : &none;
    quiet_end();
}

static void **first_place(struct mem_cache *c, unsigned class)
{
    unsigned places = MAGAZINE_BATCHES * sizeclass[class].batch;
    assert(places < MAGAZINE_PLACES); // one for the NULL
    return c->magazine[class].place + MAGAZINE_PLACES - places;
}

/* make_lock. */
static struct mem_cache *new_cache(void)
{
    enum { PLACES_BYTES = SIZECLASS_COUNT * sizeof(struct magazine) };
    void *p = mmap(NULL, PLACES_BYTES + sizeof(struct mem_cache), PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        rt_fatal("out of memory: the system refused %zu bytes for a cache",
                 PLACES_BYTES + sizeof(struct mem_cache));
    struct mem_cache *c = (struct mem_cache *)((char *)p + PLACES_BYTES);
    c->magazine = p; // pages begin at a multiple of MAGAZINE_BYTES
    for (unsigned class = 1; class < SIZECLASS_COUNT; class ++)
        store_relaxed(&c->top[class], first_place(c, class));
    store_relaxed(&c->top[0], nothing[1].place);
    return c;
}

static struct mem_cache *ensure(struct mem_cache *_Atomic *place)
{
    struct mem_cache *c = load_acquire(place);
    if (c)
        return c;
    heap_init();
    spin_lock(&caches.make_lock);
    c = load_relaxed(place);
    if (!c) {
        c = new_cache();
        store_release(place, c);
    }
    spin_unlock(&caches.make_lock);
    return c;
}

struct mem_cache *cache_attach(void)
{
    struct m *m = m_self();
    struct p *p = m ? m->p : NULL;
    heap_init();
    if (!p || p->index >= CACHES_MAX || heap_debug())
        return NULL;
    if (!p->cache)
        p->cache = ensure(&caches.of_p[p->index]);
    mem_use_cache(p->cache);
    return p->cache;
}

bool cache_fill(struct mem_cache *c, unsigned class)
{
    void **first = first_place(c, class);
    assert(load_relaxed(&c->top[class]) == first);
    void *batch[MAGAZINE_PLACES];
    unsigned count = central_take(class, batch, sizeclass[class].batch);
    for (unsigned i = 0; i < count; i++) // so that they are taken in order of address
        first[i] = batch[count - 1 - i];
    store_relaxed(&c->top[class], first + count);
    return count > 0;
}

void cache_spill(struct mem_cache *c, unsigned class)
{
    void **first = first_place(c, class);
    unsigned batch = sizeclass[class].batch;
    assert((uintptr_t)load_relaxed(&c->top[class]) % MAGAZINE_BYTES == 0);
    central_give(class, first, batch);
    memmove(first, first + batch, (MAGAZINE_BATCHES - 1) * batch * sizeof(first[0]));
    store_relaxed(&c->top[class], load_relaxed(&c->top[class]) - batch);
}

void *cache_take_shared(unsigned class)
{
    struct mem_cache *c = ensure(&caches.shared);
    spin_lock(&caches.shared_lock);
    void *block = magazine_take(c, class);
    if (!block && cache_fill(c, class))
        block = magazine_take(c, class);
    spin_unlock(&caches.shared_lock);
    return block;
}

void cache_put_shared(unsigned class, void *block)
{
    struct mem_cache *c = ensure(&caches.shared);
    spin_lock(&caches.shared_lock);
    if (!magazine_put(c, class, block)) {
        cache_spill(c, class);
        magazine_put(c, class, block);
    }
    spin_unlock(&caches.shared_lock);
}

void mem_trim(int64_t now_ns)
{
    if (now_ns - caches.trimmed_ns < TRIM_EVERY_NS)
        return;
    caches.trimmed_ns = now_ns;
    for (int i = 0; i < TRIM_CLASSES; i++)
        central_trim();
    heap_trim();
}

static uint64_t blocks_of(struct mem_cache *_Atomic *place, unsigned class)
{
    struct mem_cache *c = load_acquire(place);
    return c ? (uint64_t)(load_relaxed(&c->top[class]) - first_place(c, class)) : 0;
}

uint64_t cache_blocks(unsigned class)
{
    uint64_t sum = blocks_of(&caches.shared, class);
    for (unsigned i = 0; i < CACHES_MAX; i++)
        sum += blocks_of(&caches.of_p[i], class);
    return sum;
}
