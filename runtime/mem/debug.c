/* mem/debug.c: blocks under suspicion. */
#include "runtime/mem/debug.h"
#include "rt/why.h"
#include "runtime/sched/park.h"
#include <string.h>

static struct {
    struct spinlock lock;
    void *block[DEBUG_WAITING]; // lock: a ring, oldest at `next`
    uint8_t class[DEBUG_WAITING];
    uint32_t next; // lock
} waiting;

void *debug_take(unsigned class)
{
    void *block = NULL;
    if (central_take(class, &block, 1) != 1)
        return NULL;
    return memset(block, DEBUG_FRESH, sizeclass[class].elem_bytes);
}

static void check_untouched(unsigned class, const uint8_t *block)
{
    for (uint32_t i = 0; i < sizeclass[class].elem_bytes; i++)
        if (block[i] != DEBUG_FREED)
            rt_fatal(
                "memory was used after rt_free: a block of %u bytes at %p has 0x%02x at offset "
                "%u",
                sizeclass[class].elem_bytes, (const void *)block, block[i], i);
}

void debug_put(unsigned class, void *block)
{
    const uint8_t *bytes = block;
    const struct span *s = span_of(block);
    bool out = s && central_has_out(s, block);
    for (uint32_t i = 0; out && i < SIZECLASS_GRAIN && bytes[i] == DEBUG_FREED; i++)
        out = i + 1 < SIZECLASS_GRAIN; // filled from its beginning: it is waiting already
    if (!out)
        rt_fatal("rt_free of %p: it is no block in use; it was freed twice, or points into a block",
                 block);
    memset(block, DEBUG_FREED, sizeclass[class].elem_bytes);
    spin_lock(&waiting.lock);
    void *oldest = waiting.block[waiting.next];
    unsigned its_class = waiting.class[waiting.next];
    waiting.block[waiting.next] = block;
    waiting.class[waiting.next] = (uint8_t) class;
    waiting.next = (waiting.next + 1) % DEBUG_WAITING;
    spin_unlock(&waiting.lock);
    if (!oldest)
        return;
    check_untouched(its_class, oldest);
    central_give(its_class, &oldest, 1);
}
