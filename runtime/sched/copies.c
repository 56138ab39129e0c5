/* sched/copies.c: a reserved region in chunks of 64 KiB, each of one class of blocks.
 *
 *     class    64, 128, ... 1024 bytes, then 1152, ... 3072
 *     chunk    its blocks in order until all were used once, then a list of free ones through the
 *              blocks themselves; an empty chunk changes its class, and returns its pages when many
 *              are empty
 *
 * One lock, held for a few instructions by code that touches nothing but the pool: it can neither
 * trap nor be interrupted by somebody who takes it. */
#include "runtime/sched/copies.h"
#include "runtime/sched/gmp.h"
#include <assert.h>
#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>

enum {
    FINE_STEP = 64,
    FINE_MOST = 1024,
    COARSE_STEP = 128,
    FINE_CLASSES = FINE_MOST / FINE_STEP,
    CLASSES = FINE_CLASSES + (COPIES_MOST - FINE_MOST) / COARSE_STEP,
    NONE = 0xffff,       // no block
    NO_CHUNK = 0,        // chunk 0 is never used
    EMPTY_WARM_MAX = 64, // empty chunks that keep their pages
};

struct chunk {
    uint32_t next,
        prev;       // pool.lock: in its class's list of those with free blocks; or of empty ones
    uint16_t free;  // pool.lock: first free block
    uint16_t fresh; // pool.lock: blocks from here on were never used
    uint16_t used;  // pool.lock
    uint8_t class;  // pool.lock
};

static struct {
    _Atomic uint32_t lock;
    uint8_t *region;
    struct chunk *chunks;
    uint32_t chunk_count;
    uint32_t first_unused;      // lock: chunks from here on were never used
    uint32_t partial[CLASSES];  // lock: chunks with free blocks
    uint32_t empty_warm;        // lock: list of empty chunks with pages
    uint32_t empty_warm_count;  // lock
    uint32_t empty_cold;        // lock: and without
    _Atomic size_t held_chunks; // lock; read without
} pool;

static void lock_pool(void)
{
    enum { SPINS_BEFORE_YIELD = 200 };
    for (unsigned spins = 0; atomic_exchange_explicit(&pool.lock, 1, memory_order_acquire); spins++)
        while (load_relaxed(&pool.lock))
            if (++spins < SPINS_BEFORE_YIELD)
                cpu_relax();
            else
                sched_yield(); // the holder may have lost its CPU
}

static void unlock_pool(void) { store_release(&pool.lock, 0); }

static unsigned class_of(size_t bytes)
{
    assert(bytes > 0);
    assert(bytes <= COPIES_MOST);
    if (bytes <= FINE_MOST)
        return (unsigned)((bytes - 1) / FINE_STEP);
    return FINE_CLASSES + (unsigned)((bytes - FINE_MOST - 1) / COARSE_STEP);
}

static size_t class_bytes(unsigned class)
{
    return class < FINE_CLASSES ? (class + 1) * FINE_STEP
                                : FINE_MOST + (class - FINE_CLASSES + 1) * COARSE_STEP;
}

static size_t region_bytes(void) { return (size_t)pool.chunk_count * COPIES_CHUNK; }
static size_t chunks_bytes(void) { return (size_t)pool.chunk_count * sizeof(struct chunk); }

static void *reserve(size_t bytes)
{
    return mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                -1, 0);
}

int copies_start(uint32_t count)
{
    // The worst: all of the largest class, and a chunk of each other class half used.
    memset(&pool, 0, sizeof(pool));
    pool.chunk_count = count / (COPIES_CHUNK / COPIES_MOST) + 2 * CLASSES + 2;
    pool.region = reserve(region_bytes());
    if (pool.region == MAP_FAILED)
        return -errno;
    pool.chunks = reserve(chunks_bytes());
    if (pool.chunks == MAP_FAILED) {
        int err = -errno;
        munmap(pool.region, region_bytes());
        return err;
    }
    pool.first_unused = NO_CHUNK + 1;
    return 0;
}

void copies_stop(void)
{
    munmap(pool.region, region_bytes());
    munmap(pool.chunks, chunks_bytes());
    pool.region = NULL;
}

static void link_chunk(uint32_t *list, uint32_t at)
{
    struct chunk *c = &pool.chunks[at];
    c->next = *list;
    c->prev = NO_CHUNK;
    if (*list != NO_CHUNK)
        pool.chunks[*list].prev = at;
    *list = at;
}

static void unlink_chunk(uint32_t *list, uint32_t at)
{
    struct chunk *c = &pool.chunks[at];
    if (c->prev != NO_CHUNK)
        pool.chunks[c->prev].next = c->next;
    else
        *list = c->next;
    if (c->next != NO_CHUNK)
        pool.chunks[c->next].prev = c->prev;
}

/* A chunk for the class, linked; NO_CHUNK when the region is full. */
static uint32_t new_chunk_locked(unsigned class)
{
    uint32_t at = pool.empty_warm;
    if (at != NO_CHUNK) {
        unlink_chunk(&pool.empty_warm, at);
        pool.empty_warm_count--;
    } else if ((at = pool.empty_cold) != NO_CHUNK) {
        unlink_chunk(&pool.empty_cold, at);
        store_relaxed(&pool.held_chunks, load_relaxed(&pool.held_chunks) + 1);
    } else if (pool.first_unused < pool.chunk_count) {
        at = pool.first_unused++;
        store_relaxed(&pool.held_chunks, load_relaxed(&pool.held_chunks) + 1);
    } else {
        return NO_CHUNK;
    }
    struct chunk *c = &pool.chunks[at];
    c->free = NONE;
    c->fresh = c->used = 0;
    c->class = (uint8_t) class;
    link_chunk(&pool.partial[class], at);
    return at;
}

static uint8_t *block_at(uint32_t chunk, uint32_t block, size_t bytes)
{
    return pool.region + (size_t)chunk * COPIES_CHUNK + block * bytes;
}

static bool is_full(const struct chunk *c, size_t bytes)
{
    return c->free == NONE && (c->fresh + 1u) * bytes > COPIES_CHUNK;
}

uint8_t *copies_take(size_t bytes)
{
    unsigned class = class_of(bytes);
    size_t size = class_bytes(class);
    uint8_t *copy = NULL;
    lock_pool();
    uint32_t at = pool.partial[class];
    if (at == NO_CHUNK)
        at = new_chunk_locked(class);
    if (at != NO_CHUNK) {
        struct chunk *c = &pool.chunks[at];
        uint16_t block = c->free;
        copy = block_at(at, block == NONE ? c->fresh : block, size);
        if (block == NONE)
            c->fresh++;
        else
            memcpy(&c->free, copy, sizeof(c->free));
        c->used++;
        if (is_full(c, size))
            unlink_chunk(&pool.partial[class], at);
    }
    unlock_pool();
    return copy;
}

/* An empty chunk leaves its class, unless it is the only one with room. Returns the one whose pages
 * are to go, out of every list, or NO_CHUNK. */
static uint32_t retire_locked(uint32_t at)
{
    struct chunk *c = &pool.chunks[at];
    if (pool.partial[c->class] == at && c->next == NO_CHUNK)
        return NO_CHUNK;
    unlink_chunk(&pool.partial[c->class], at);
    if (pool.empty_warm_count >= EMPTY_WARM_MAX)
        return at;
    link_chunk(&pool.empty_warm, at);
    pool.empty_warm_count++;
    return NO_CHUNK;
}

void copies_give(uint8_t *copy, size_t bytes)
{
    unsigned class = class_of(bytes);
    size_t size = class_bytes(class), offset = (size_t)(copy - pool.region);
    uint32_t at = (uint32_t)(offset / COPIES_CHUNK), gone = NO_CHUNK;
    assert(offset < region_bytes());
    assert(offset % COPIES_CHUNK % size == 0);
    lock_pool();
    struct chunk *c = &pool.chunks[at];
    assert(c->class == class);
    assert(c->used > 0);
    bool was_full = is_full(c, size);
    memcpy(copy, &c->free, sizeof(c->free));
    c->free = (uint16_t)(offset % COPIES_CHUNK / size);
    c->used--;
    if (was_full)
        link_chunk(&pool.partial[class], at);
    if (c->used == 0)
        gone = retire_locked(at);
    unlock_pool();
    if (gone == NO_CHUNK)
        return;
    madvise(block_at(gone, 0, 0), COPIES_CHUNK, MADV_DONTNEED); // nobody else has it meanwhile
    lock_pool();
    link_chunk(&pool.empty_cold, gone);
    store_relaxed(&pool.held_chunks, load_relaxed(&pool.held_chunks) - 1);
    unlock_pool();
}

size_t copies_held_bytes(void) { return load_relaxed(&pool.held_chunks) * COPIES_CHUNK; }
