/* alloc.c's work by threads, over an allocator as one would write it first: free lists by size under
 * one lock. Only here, to compare with. */
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>

enum { GRAIN = 16, CLASSES = 1 + 16384 / GRAIN, CHUNK_BYTES = 1 << 20 };

struct free_block {
    struct free_block *next;
};

struct header {
    size_t class;
    size_t unused; // keeps blocks aligned to 16
};

static struct {
    pthread_mutex_t lock;
    struct free_block *free[CLASSES]; // lock
    uint8_t *next, *end;              // lock: of the chunk in use
} heap = {.lock = PTHREAD_MUTEX_INITIALIZER};

static uint8_t *cut(size_t bytes)
{
    if ((size_t)(heap.end - heap.next) < bytes) {
        void *chunk =
            mmap(NULL, CHUNK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (chunk == MAP_FAILED)
            return NULL;
        heap.next = chunk;
        heap.end = heap.next + CHUNK_BYTES;
    }
    uint8_t *at = heap.next;
    heap.next += bytes;
    return at;
}

static void *onelock_alloc(size_t bytes)
{
    size_t class = (bytes + GRAIN - 1) / GRAIN;
    pthread_mutex_lock(&heap.lock);
    struct free_block *b = heap.free[class];
    if (b) {
        heap.free[class] = b->next;
    } else {
        struct header *h = (struct header *)cut(sizeof(*h) + class * GRAIN);
        if (h)
            h->class = class;
        b = h ? (struct free_block *)(h + 1) : NULL;
    }
    pthread_mutex_unlock(&heap.lock);
    return b;
}

static void onelock_free(void *p)
{
    struct free_block *b = p;
    size_t class = ((struct header *)p)[-1].class;
    pthread_mutex_lock(&heap.lock);
    b->next = heap.free[class];
    heap.free[class] = b;
    pthread_mutex_unlock(&heap.lock);
}

#define RING_ALLOC(bytes) onelock_alloc(bytes)
#define RING_FREE(p)      onelock_free(p)
#define RING_CLOCK_NS()   bench_clock_ns()
#include "tests/bench/runtime/alloc_threads.h"
