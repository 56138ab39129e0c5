/* raft/memory.c: what the core owns, and how it is given back. Arrays that leave the core are allocated
 * in their exact size, so that who frees them needs to know nothing but the count. */
#include "raft/memory.h"
#include <assert.h>
#include <string.h>

void *raft_grown(const struct raft_env *env, void *array, size_t element, size_t *cap, size_t need)
{
    size_t new_cap = *cap ? *cap : 8;
    void *p;
    if (need <= *cap)
        return array;
    while (new_cap < need)
        new_cap *= 2;
    p = raft_alloc(env, new_cap * element);
    if (*cap)
        memcpy(p, array, *cap * element);
    raft_release(env, array, *cap * element);
    *cap = new_cap;
    return p;
}

struct raft_entry *raft_entries_copy(const struct raft_env *env, const struct raft_entry *from,
                                     size_t count)
{
    struct raft_entry *to;
    if (count == 0)
        return NULL;
    to = raft_alloc(env, count * sizeof(*to));
    for (size_t i = 0; i < count; i++) {
        to[i] = from[i];
        raft_block_ref(env, to[i].block);
    }
    return to;
}

void raft_entries_free(const struct raft_env *env, struct raft_entry *entries, size_t count)
{
    for (size_t i = 0; i < count; i++)
        raft_block_unref(env, entries[i].block);
    raft_release(env, entries, count * sizeof(*entries));
}

struct raft_snapshot *raft_snapshot_copy(const struct raft_env *env, const struct raft_snapshot *s)
{
    struct raft_snapshot *copy = raft_alloc(env, sizeof(*copy));
    *copy = *s;
    raft_block_ref(env, copy->block);
    return copy;
}

void raft_snapshot_free(const struct raft_env *env, struct raft_snapshot *s)
{
    if (!s)
        return;
    raft_block_unref(env, s->block);
    raft_release(env, s, sizeof(*s));
}

void raft_messages_free(const struct raft_env *env, struct raft_message *messages, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        raft_entries_free(env, messages[i].entries, messages[i].count);
        raft_snapshot_free(env, messages[i].snapshot);
    }
    raft_release(env, messages, count * sizeof(*messages));
}

void raft_persist_free(const struct raft_env *env, struct raft_persist *p)
{
    raft_snapshot_free(env, p->snapshot);
    raft_entries_free(env, p->entries, p->count);
    raft_messages_free(env, p->promises, p->promise_count);
    memset(p, 0, sizeof(*p));
}

void raft_reads_free(const struct raft_env *env, struct raft_read *reads, size_t count)
{
    raft_release(env, reads, count * sizeof(*reads));
}

void raft_fetches_free(const struct raft_env *env, struct raft_fetch *fetches, size_t count)
{
    raft_release(env, fetches, count * sizeof(*fetches));
}

void raft_ready_free(const struct raft_env *env, struct raft_ready *rd)
{
    raft_messages_free(env, rd->messages, rd->message_count);
    raft_persist_free(env, &rd->persist);
    raft_entries_free(env, rd->apply.entries, rd->apply.count);
    raft_reads_free(env, rd->reads, rd->read_count);
    raft_fetches_free(env, rd->fetches, rd->fetch_count);
    memset(rd, 0, sizeof(*rd));
}

static size_t varint_size(uint64_t v)
{
    size_t n = 1;
    while (v >= 0x80) {
        v >>= 7;
        n++;
    }
    return n;
}

size_t raft_entry_size(const struct raft_entry *e)
{
    size_t n = 2 + 1 + varint_size(e->term) + 1 + varint_size(e->index);
    return e->len ? n + 1 + varint_size(e->len) + e->len : n;
}

uint64_t raft_entries_size(const struct raft_entry *e, size_t count)
{
    uint64_t n = 0;
    for (size_t i = 0; i < count; i++)
        n += raft_entry_size(&e[i]);
    return n;
}

uint64_t raft_entries_payload(const struct raft_entry *e, size_t count)
{
    uint64_t n = 0;
    for (size_t i = 0; i < count; i++)
        n += e[i].len;
    return n;
}

void raft_outbox_put(const struct raft_env *env, struct raft_outbox *box,
                     const struct raft_message *m)
{
    box->message = raft_grown(env, box->message, sizeof(*m), &box->cap, box->count + 1);
    box->message[box->count++] = *m;
}

struct raft_message *raft_outbox_take(const struct raft_env *env, struct raft_outbox *box,
                                      size_t *count)
{
    struct raft_message *out = NULL;
    *count = box->count;
    if (box->count) {
        out = raft_alloc(env, box->count * sizeof(*out));
        memcpy(out, box->message, box->count * sizeof(*out));
    }
    box->count = 0;
    return out;
}

void raft_outbox_deinit(const struct raft_env *env, struct raft_outbox *box)
{
    size_t count;
    struct raft_message *m = raft_outbox_take(env, box, &count);
    raft_messages_free(env, m, count);
    raft_release(env, box->message, box->cap * sizeof(*box->message));
    memset(box, 0, sizeof(*box));
}
