/* kv/member/log_cache.c: see log_cache.h. */
#include "kv/member/log_cache.h"
#include <assert.h>
#include <rt/alloc.h>

enum { FIRST_CAP = 1024 };

static struct log_slot *slot_of(const struct log_cache *c, uint64_t index)
{
    assert(index >= c->first);
    assert(index <= c->last);
    return &c->ring[index & (c->cap - 1)];
}

static void drop_payload(struct log_cache *c, struct log_slot *s)
{
    if (s->block) {
        rt_buf_unref(s->block);
        c->payload_bytes -= s->len;
    }
    s->block = NULL;
    s->data = NULL;
}

static void drop_entry(struct log_cache *c, uint64_t index)
{
    struct log_slot *s = slot_of(c, index);
    drop_payload(c, s);
    assert(c->total_bytes >= s->size);
    c->total_bytes -= s->size;
}

void log_cache_init(struct log_cache *c, uint64_t payload_limit_bytes)
{
    *c = (struct log_cache){.cap = FIRST_CAP,
                            .first = 1,
                            .payload_from = 1,
                            .payload_limit_bytes = payload_limit_bytes};
    c->ring = rt_alloc_zero(FIRST_CAP * sizeof(*c->ring));
}

void log_cache_deinit(struct log_cache *c)
{
    log_cache_reset(c, c->last, 0);
    rt_free(c->ring);
    *c = (struct log_cache){0};
}

void log_cache_reset(struct log_cache *c, uint64_t index, uint64_t term)
{
    for (uint64_t i = c->first; i <= c->last; i++)
        drop_entry(c, i);
    assert(c->payload_bytes == 0);
    assert(c->total_bytes == 0);
    c->first = index + 1;
    c->last = index;
    c->base_term = term;
    c->payload_from = c->first;
}

static void grow(struct log_cache *c)
{
    uint64_t cap = 2 * c->cap;
    struct log_slot *ring = rt_alloc_zero(cap * sizeof(*ring));
    assert(ring);
    for (uint64_t i = c->first; i <= c->last; i++)
        ring[i & (cap - 1)] = *slot_of(c, i);
    rt_free(c->ring);
    c->ring = ring;
    c->cap = cap;
}

static void truncate_from(struct log_cache *c, uint64_t index)
{
    for (uint64_t i = index; i <= c->last; i++)
        drop_entry(c, i);
    c->last = index - 1;
    if (c->payload_from > index)
        c->payload_from = index;
}

static void cut_old_payloads(struct log_cache *c)
{
    while (c->payload_bytes > c->payload_limit_bytes && c->payload_from < c->last)
        drop_payload(c, slot_of(c, c->payload_from++));
}

void log_cache_append(struct log_cache *c, const struct raft_entry *entries, size_t count)
{
    if (!count)
        return;
    assert(entries[0].index >= c->first);
    assert(entries[0].index <= c->last + 1);
    truncate_from(c, entries[0].index);
    for (size_t i = 0; i < count; i++) {
        const struct raft_entry *e = &entries[i];
        assert(e->index == c->last + 1);
        if (c->last + 1 - c->first == c->cap)
            grow(c);
        c->last++;
        *slot_of(c, e->index) = (struct log_slot){
            .term = e->term,
            .data = e->data,
            .block = e->block ? rt_buf_ref(e->block) : NULL,
            .len = e->len,
            .size = (uint32_t)raft_entry_size(e),
            .kind = e->kind,
        };
        c->total_bytes += slot_of(c, e->index)->size;
        if (e->block)
            c->payload_bytes += e->len;
    }
    cut_old_payloads(c);
}

void log_cache_release(struct log_cache *c, uint64_t index)
{
    assert(index <= c->last);
    if (index < c->first)
        return;
    c->base_term = slot_of(c, index)->term;
    for (uint64_t i = c->first; i <= index; i++)
        drop_entry(c, i);
    c->first = index + 1;
    if (c->payload_from < c->first)
        c->payload_from = c->first;
}

uint64_t log_cache_excess(const struct log_cache *c, uint64_t limit_bytes)
{
    uint64_t bytes = c->total_bytes, index = c->first - 1;
    while (bytes > limit_bytes && index + 1 < c->last)
        bytes -= slot_of(c, ++index)->size;
    return index;
}

int log_cache_info(const struct log_cache *c, uint64_t index, struct raft_entry_info *out)
{
    if (index + 1 == c->first) {
        *out = (struct raft_entry_info){.term = c->base_term};
        return 0;
    }
    if (index < c->first)
        return RAFT_COMPACTED;
    if (index > c->last)
        return RAFT_UNAVAILABLE;
    const struct log_slot *s = slot_of(c, index);
    *out = (struct raft_entry_info){.term = s->term, .len = s->len, .kind = s->kind};
    return 0;
}

int log_cache_entries(const struct log_cache *c, uint64_t lo, uint64_t hi, uint64_t max_bytes,
                      struct raft_entry *out, size_t cap)
{
    if (lo < c->first)
        return RAFT_COMPACTED;
    if (lo > c->last || hi > c->last + 1)
        return RAFT_UNAVAILABLE;
    if (lo < c->payload_from)
        return RAFT_LATER;
    uint64_t bytes = 0;
    size_t n = 0;
    for (uint64_t i = lo; i < hi && n < cap; i++) {
        const struct log_slot *s = slot_of(c, i);
        bytes += s->size;
        if (n && bytes > max_bytes)
            break;
        out[n++] = (struct raft_entry){
            .term = s->term,
            .index = i,
            .data = s->data,
            .block = s->block ? rt_buf_ref(s->block) : NULL,
            .len = s->len,
            .kind = s->kind,
        };
    }
    return (int)n;
}
