/* mem/sizeclass.h: the sizes that small allocations are rounded up to, and how their spans are cut.
 *
 * Steps of 16 bytes to 128, then eight steps to each doubling, so at most an eighth is lost. From
 * 4 KiB on a class is 64 bytes larger than its name: blocks of a power of two would all lie at the
 * same few places of a cache. Class 0 is no class: large spans, of one block each. */
#pragma once
#include <stddef.h>
#include <stdint.h>

enum {
    SIZECLASS_GRAIN = 16,
    SIZECLASS_SMALL_MAX = 32 << 10, // what a caller may ask of a class; above: large
    SIZECLASS_COUNT = 73,           // class 0 included
    SPAN_PAGE_BYTES = 8 << 10,
    SPAN_ELEMS_MAX = 512,
};

struct sizeclass {
    uint32_t elem_bytes;
    uint32_t magic; // offset * magic >> 32 is the block's number: span_index_of
    uint16_t elems; // blocks of a span
    uint8_t pages;  // of a span
    uint8_t batch;  // blocks that move between a P's cache and the central list at once
};

/* Filled by sizeclass_init, then const. */
extern struct sizeclass sizeclass[SIZECLASS_COUNT];
extern uint8_t sizeclass_by_grain[SIZECLASS_SMALL_MAX / SIZECLASS_GRAIN + 1];

/* Idempotent.  Context: before the first allocation, under the heap's lock. */
void sizeclass_init(void);

/* The smallest class that holds `bytes`.  Requires: bytes <= SIZECLASS_SMALL_MAX. */
static inline unsigned sizeclass_of(size_t bytes)
{
    return sizeclass_by_grain[(bytes + SIZECLASS_GRAIN - 1) / SIZECLASS_GRAIN];
}
