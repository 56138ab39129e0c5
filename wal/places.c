/* wal/places.c: see places.h. A mark for every WAL_MARK_BYTES of log, at each segment's start and
 * wherever entries are replaced. The array doubles; 64 MiB of log need 1,024 marks of 32 bytes. */
#include "wal/places.h"
#include "wal/errors.h"
#include "wal/limits.h"
#include <assert.h>
#include <rt/alloc.h>
#include <string.h>

void wal_places_init(struct wal_places *p, uint64_t base)
{
    *p = (struct wal_places){.base = base, .last = base};
}

void wal_places_deinit(struct wal_places *p)
{
    rt_free(p->mark);
    *p = (struct wal_places){.mark = NULL};
}

uint64_t wal_places_first(const struct wal_places *p)
{
    return p->count > 0 ? p->mark[0].first_index : p->last + 1;
}

static void push(struct wal_places *p, const struct wal_place *at)
{
    if (p->count == p->cap) {
        uint32_t cap = p->cap ? p->cap * 2 : 64;
        struct wal_place *grown = rt_alloc(cap * sizeof *grown);
        assert(grown);
        if (p->count > 0)
            memcpy(grown, p->mark, p->count * sizeof *grown);
        rt_free(p->mark);
        p->mark = grown;
        p->cap = cap;
    }
    assert(p->count == 0 || p->mark[p->count - 1].first_index < at->first_index);
    p->mark[p->count++] = *at;
}

void wal_places_add(struct wal_places *p, const struct wal_place *at)
{
    uint64_t index = at->first_index;
    assert(index > 0);
    assert(index <= p->last + 1);
    if (index <= p->base) {
        wal_places_reset(p, index);
        return;
    }
    bool replaces = index <= p->last;
    while (p->count > 0 && p->mark[p->count - 1].first_index >= index)
        p->count--;
    p->last = index;
    if (p->count > 0 && !replaces) {
        const struct wal_place *newest = &p->mark[p->count - 1];
        if (newest->segment == at->segment && at->batch - newest->batch < WAL_MARK_BYTES)
            return;
    }
    push(p, at);
}

void wal_places_reset(struct wal_places *p, uint64_t index)
{
    p->count = 0;
    p->base = p->last = index;
}

void wal_places_release(struct wal_places *p, uint64_t segment)
{
    uint32_t gone = 0;
    while (gone < p->count && p->mark[gone].segment < segment)
        gone++;
    p->count -= gone;
    if (gone > 0)
        memmove(p->mark, p->mark + gone, p->count * sizeof *p->mark);
    uint64_t base = wal_places_first(p) - 1;
    assert(base >= p->base);
    p->base = base;
}

uint64_t wal_places_last_in(const struct wal_places *p, uint64_t segment)
{
    uint32_t i = 0;
    while (i < p->count && p->mark[i].segment <= segment)
        i++;
    if (i == 0)
        return 0;
    return i < p->count ? p->mark[i].first_index - 1 : p->last;
}

int wal_places_find(const struct wal_places *p, uint64_t index, struct wal_place *at, uint64_t *end)
{
    if (index < wal_places_first(p))
        return WAL_COMPACTED;
    if (index > p->last)
        return WAL_UNAVAILABLE;
    uint32_t low = 0, high = p->count; // the answer is in [low, high)
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        if (p->mark[middle].first_index <= index)
            low = middle;
        else
            high = middle;
    }
    assert(p->mark[low].first_index <= index);
    *at = p->mark[low];
    *end = low + 1 < p->count ? p->mark[low + 1].first_index : p->last + 1;
    return 0;
}
