/* inspect/places.c: a hash table over stacks. */
#include "runtime/inspect/places.h"
#include "rt/alloc.h"
#include <string.h>

static uint64_t mix(uint64_t hash, uint64_t value)
{
    hash = (hash ^ value) * UINT64_C(0x9e3779b97f4a7c15);
    return hash ^ hash >> 29;
}

static uint64_t fingerprint(const struct glance *at, bool by_state)
{
    uint64_t hash = mix(mix(1, at->created_at), (uintptr_t)at->name);
    if (by_state)
        hash = mix(hash, (uint64_t)at->status << 8 | (at->status == G_PARKED ? at->reason : 0));
    for (int i = at->head; i < at->frames; i++)
        hash = mix(hash, at->pcs[i]);
    return hash;
}

static bool is_same(const struct glance *a, const struct glance *b, bool by_state)
{
    if (by_state && (a->status != b->status || (a->status == G_PARKED && a->reason != b->reason)))
        return false;
    int frames = a->frames - a->head;
    return a->name == b->name && a->created_at == b->created_at && frames == b->frames - b->head &&
           memcmp(a->pcs + a->head, b->pcs + b->head, (size_t)frames * sizeof(a->pcs[0])) == 0;
}

void places_deinit(struct places *set)
{
    for (uint32_t i = 0; i < set->count; i++)
        rt_free(set->all[i]);
    rt_free(set->all);
    rt_free(set->slots);
    *set = (struct places){0};
}

static void put_in_table(struct places *set, uint32_t index)
{
    uint32_t at = (uint32_t)set->all[index]->fingerprint & (set->slot_cap - 1);
    while (set->slots[at])
        at = (at + 1) & (set->slot_cap - 1);
    set->slots[at] = index + 1;
}

static void grow(struct places *set)
{
    set->cap = set->cap ? 2 * set->cap : 64;
    set->all = rt_realloc(set->all, set->cap * sizeof(set->all[0]));
    rt_free(set->slots);
    set->slot_cap = 2 * set->cap;
    set->slots = rt_alloc_zero(set->slot_cap * sizeof(set->slots[0]));
    for (uint32_t i = 0; i < set->count; i++)
        put_in_table(set, i);
}

struct place *places_of(struct places *set, const struct glance *at, bool by_state)
{
    uint64_t print = fingerprint(at, by_state);
    if (set->slot_cap)
        for (uint32_t i = (uint32_t)print & (set->slot_cap - 1); set->slots[i];
             i = (i + 1) & (set->slot_cap - 1)) {
            struct place *place = set->all[set->slots[i] - 1];
            if (place->fingerprint == print && is_same(&place->first, at, by_state))
                return place;
        }
    if (set->count == PLACES_MAX) {
        set->uncounted++;
        return NULL;
    }
    if (set->count == set->cap)
        grow(set);
    struct place *place = rt_alloc_zero(sizeof(*place));
    place->fingerprint = print;
    place->first = *at;
    set->all[set->count] = place;
    put_in_table(set, set->count++);
    return place;
}

void place_add(struct place *place, const struct glance *at)
{
    if (place->count == 0 || at->waited_ns < place->least_wait_ns)
        place->least_wait_ns = at->waited_ns;
    if (place->count == 0 || at->waited_ns > place->most_wait_ns)
        place->most_wait_ns = at->waited_ns;
    place->count++;
}

/* A shell sort; the table over it goes, as its numbers are no longer true. */
void places_sort(struct places *set)
{
    for (uint32_t gap = set->count / 2; gap > 0; gap /= 2)
        for (uint32_t i = gap; i < set->count; i++) {
            struct place *place = set->all[i];
            uint32_t at = i;
            for (; at >= gap && set->all[at - gap]->count < place->count; at -= gap)
                set->all[at] = set->all[at - gap];
            set->all[at] = place;
        }
    set->slot_cap = 0;
    rt_free(set->slots);
    set->slots = NULL;
}
