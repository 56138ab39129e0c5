/* mem/sizeclass.c: computing the table. */
#include "runtime/mem/sizeclass.h"
#include <assert.h>
#include <stdbool.h>

struct sizeclass sizeclass[SIZECLASS_COUNT];
uint8_t sizeclass_by_grain[SIZECLASS_SMALL_MAX / SIZECLASS_GRAIN + 1];

enum {
    STEPS = 8,          // to a doubling
    FINE_MAX = 128,     // up to here every grain is a class
    SPREAD_FROM = 4096, // from here on blocks do not start at the same place of every page
    SPREAD_BYTES = 64,
    BATCH_MAX = 31, // two of them and one place more are 64
    BATCH_BYTES = 32 << 10,
    SPAN_PAGES_MAX = 40,
    // a span may lose this part of itself at its end; the second where the first cannot be had
    SPAN_LOSS = 32,
    SPAN_LOSS_MOST = 16,
};

/* Small enough to be given back one day, large enough not to be asked for all the time. */
static uint32_t least_elems(uint32_t elem_bytes)
{
    return elem_bytes <= 2048 ? 16 : elem_bytes <= 8192 ? 8 : 4;
}

/* The multiplication gives the right number for every offset of a span. */
static bool is_exact(uint32_t elem_bytes, uint32_t magic, size_t span_bytes)
{
    uint64_t excess = (uint64_t)magic * elem_bytes - (UINT64_C(1) << 32);
    return span_bytes * excess < UINT64_C(1) << 32;
}

/* The fewest pages that lose at most 1 / `loss` of them; 0: there is no such number. */
static unsigned pages_for(uint32_t elem_bytes, uint32_t magic, size_t loss)
{
    for (unsigned pages = 1; pages <= SPAN_PAGES_MAX; pages++) {
        size_t bytes = (size_t)pages * SPAN_PAGE_BYTES;
        if (bytes / elem_bytes >= least_elems(elem_bytes) && bytes % elem_bytes <= bytes / loss &&
            is_exact(elem_bytes, magic, bytes))
            return pages;
    }
    return 0;
}

static void make(unsigned number, uint32_t asked_max)
{
    uint32_t bytes = asked_max + (asked_max >= SPREAD_FROM ? SPREAD_BYTES : 0);
    uint32_t magic = UINT32_MAX / bytes + 1;
    unsigned batch = BATCH_BYTES / bytes;
    unsigned pages = pages_for(bytes, magic, SPAN_LOSS);
    if (!pages)
        pages = pages_for(bytes, magic, SPAN_LOSS_MOST);
    assert(pages > 0);
    assert((size_t)pages * SPAN_PAGE_BYTES / bytes <= SPAN_ELEMS_MAX);
    sizeclass[number] = (struct sizeclass){
        .elem_bytes = bytes,
        .magic = magic,
        .elems = (uint16_t)(pages * SPAN_PAGE_BYTES / bytes),
        .pages = (uint8_t)pages,
        .batch = (uint8_t)(batch > BATCH_MAX ? BATCH_MAX
                           : batch < 2       ? 2
                                             : batch),
    };
}

void sizeclass_init(void)
{
    unsigned number = 1;
    for (uint32_t bytes = SIZECLASS_GRAIN; bytes <= FINE_MAX; bytes += SIZECLASS_GRAIN)
        make(number++, bytes);
    for (uint32_t base = FINE_MAX; base < SIZECLASS_SMALL_MAX; base *= 2)
        for (uint32_t step = 1; step <= STEPS; step++)
            make(number++, base + base / STEPS * step);
    assert(number == SIZECLASS_COUNT);
    unsigned at = 1;
    for (unsigned grain = 0; grain <= SIZECLASS_SMALL_MAX / SIZECLASS_GRAIN; grain++) {
        while (sizeclass[at].elem_bytes < grain * SIZECLASS_GRAIN)
            at++;
        sizeclass_by_grain[grain] = (uint8_t)at;
    }
}
