/* raft/ids.c: sets of a few dozen ids; linear search is the fastest there is at this size. */
#include "raft/ids.h"
#include <assert.h>
#include <string.h>

static uint32_t place_of(const struct raft_ids *s, uint64_t id)
{
    uint32_t i = 0;
    assert(s->count <= RAFT_MEMBERS_MAX);
    while (i < s->count && s->id[i] < id)
        i++;
    return i;
}

bool raft_ids_has(const struct raft_ids *s, uint64_t id)
{
    uint32_t i = place_of(s, id);
    return i < s->count && s->id[i] == id;
}

bool raft_ids_add(struct raft_ids *s, uint64_t id)
{
    uint32_t i = place_of(s, id);
    assert(id != RAFT_NONE);
    if (i < s->count && s->id[i] == id)
        return true;
    if (s->count == RAFT_MEMBERS_MAX)
        return false;
    memmove(&s->id[i + 1], &s->id[i], (s->count - i) * sizeof(s->id[0]));
    s->id[i] = id;
    s->count++;
    return true;
}

void raft_ids_remove(struct raft_ids *s, uint64_t id)
{
    uint32_t i = place_of(s, id);
    if (i == s->count || s->id[i] != id)
        return;
    s->count--;
    memmove(&s->id[i], &s->id[i + 1], (s->count - i) * sizeof(s->id[0]));
    s->id[s->count] = RAFT_NONE; // equal sets are equal bytes
}

bool raft_ids_add_all(struct raft_ids *s, const struct raft_ids *from)
{
    for (uint32_t i = 0; i < from->count; i++)
        if (!raft_ids_add(s, from->id[i]))
            return false;
    return true;
}

size_t raft_ids_differing(const struct raft_ids *a, const struct raft_ids *b)
{
    size_t n = 0;
    for (uint32_t i = 0; i < a->count; i++)
        n += !raft_ids_has(b, a->id[i]);
    for (uint32_t i = 0; i < b->count; i++)
        n += !raft_ids_has(a, b->id[i]);
    return n;
}

bool raft_ids_are_sound(const struct raft_ids *s)
{
    if (s->count > RAFT_MEMBERS_MAX)
        return false;
    for (uint32_t i = 0; i < s->count; i++)
        if (s->id[i] == RAFT_NONE || (i > 0 && s->id[i - 1] >= s->id[i]))
            return false;
    return true;
}
