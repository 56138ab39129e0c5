/* tests/raft/disk.h: the callbacks of raft_env over plain memory: counted blocks, a stable log, and a
 * record of everything applied, which doubles as the snapshots. Every allocation and reference is
 * counted, so that a test can ask whether all of it came back. */
#pragma once
#include "raft/raft.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct block {
    int refs;
    uint32_t len;
    uint8_t bytes[];
};

struct disk {
    struct raft_entry *log; // (start, start + count]
    size_t count, cap;
    uint64_t start, start_term; // compacted, or a snapshot's, up to here
    struct raft_hard_state hard;
    struct raft_snapshot newest; // of the state machine
    uint64_t in_memory_from;     // entries before this are "not in memory"; 0: all are
    bool no_snapshot;            // none can be had now
    uint64_t random;             // state of the generator; 0: always the shortest timeout
    long allocated, blocks;      // outstanding
    void (*log_line)(void *ctx, enum raft_level level, const char *text);
    void *log_ctx;
    struct raft_env env;
};

static inline struct block *block_new(struct disk *d, const void *bytes, size_t len)
{
    struct block *b = malloc(sizeof(*b) + len + 1);
    assert(b);
    b->refs = 1;
    b->len = (uint32_t)len;
    if (len)
        memcpy(b->bytes, bytes, len);
    d->blocks++;
    return b;
}

static inline void *disk_alloc(void *ctx, size_t size)
{
    struct disk *d = ctx;
    void *p = calloc(1, size);
    assert(p);
    assert(size > 0);
    d->allocated += (long)size;
    return p;
}

static inline void disk_free(void *ctx, void *p, size_t size)
{
    struct disk *d = ctx;
    assert(p);
    d->allocated -= (long)size;
    free(p);
}

static inline void disk_ref(void *ctx, void *block)
{
    (void)ctx;
    assert(((struct block *)block)->refs > 0);
    ((struct block *)block)->refs++;
}

static inline void disk_unref(void *ctx, void *block)
{
    struct block *b = block;
    assert(b->refs > 0);
    if (--b->refs)
        return;
    ((struct disk *)ctx)->blocks--;
    free(b);
}

static inline uint64_t disk_first(void *ctx) { return ((struct disk *)ctx)->start + 1; }
static inline uint64_t disk_last(void *ctx)
{
    return ((struct disk *)ctx)->start + ((struct disk *)ctx)->count;
}

static inline int disk_info(void *ctx, uint64_t index, struct raft_entry_info *out)
{
    struct disk *d = ctx;
    if (index < d->start)
        return RAFT_COMPACTED;
    if (index > d->start + d->count)
        return RAFT_UNAVAILABLE;
    if (index == d->start) {
        *out = (struct raft_entry_info){d->start_term, 0, RAFT_ENTRY_NORMAL};
    } else {
        const struct raft_entry *e = &d->log[index - d->start - 1];
        *out = (struct raft_entry_info){e->term, e->len, e->kind};
    }
    return 0;
}

static inline int disk_entries(void *ctx, uint64_t lo, uint64_t hi, uint64_t max_bytes,
                               struct raft_entry *out, size_t cap)
{
    struct disk *d = ctx;
    uint64_t bytes = 0;
    int n = 0;
    if (lo <= d->start)
        return RAFT_COMPACTED;
    if (lo < d->in_memory_from)
        return RAFT_LATER;
    assert(hi <= d->start + d->count + 1);
    for (; lo < hi && (size_t)n < cap; lo++) {
        const struct raft_entry *e = &d->log[lo - d->start - 1];
        bytes += raft_entry_size(e);
        if (n && bytes > max_bytes)
            break;
        out[n++] = *e;
        if (e->block)
            disk_ref(d, e->block);
    }
    return n;
}

static inline int disk_snapshot(void *ctx, uint64_t to, struct raft_snapshot *out)
{
    struct disk *d = ctx;
    (void)to;
    if (d->no_snapshot || d->newest.index == 0)
        return RAFT_LATER;
    *out = d->newest;
    if (out->block)
        disk_ref(d, out->block);
    return 0;
}

static inline uint64_t disk_random(void *ctx, uint64_t bound)
{
    struct disk *d = ctx;
    if (d->random == 0)
        return 0;
    d->random ^= d->random << 13;
    d->random ^= d->random >> 7;
    d->random ^= d->random << 17;
    return d->random % bound;
}

static inline void disk_log(void *ctx, enum raft_level level, const char *text)
{
    struct disk *d = ctx;
    if (d->log_line)
        d->log_line(d->log_ctx, level, text);
}

static inline void disk_init(struct disk *d)
{
    memset(d, 0, sizeof(*d));
    d->env = (struct raft_env){.ctx = d,
                               .alloc = disk_alloc,
                               .free = disk_free,
                               .ref = disk_ref,
                               .unref = disk_unref,
                               .first_index = disk_first,
                               .last_index = disk_last,
                               .info = disk_info,
                               .entries = disk_entries,
                               .snapshot = disk_snapshot,
                               .random = disk_random,
                               .log = disk_log};
}

static inline void disk_drop(struct disk *d, size_t from)
{
    for (size_t i = from; i < d->count; i++)
        if (d->log[i].block)
            disk_unref(d, d->log[i].block);
    d->count = from;
}

/* Write entries: the first replaces what is there from its index on. */
static inline void disk_append(struct disk *d, const struct raft_entry *e, size_t n)
{
    if (n == 0)
        return;
    assert(e[0].index > d->start);
    assert(e[0].index <= d->start + d->count + 1);
    disk_drop(d, e[0].index - d->start - 1);
    if (d->count + n > d->cap) {
        d->cap = (d->count + n) * 2;
        d->log = realloc(d->log, d->cap * sizeof(*d->log));
        assert(d->log);
    }
    for (size_t i = 0; i < n; i++) {
        d->log[d->count++] = e[i];
        if (e[i].block)
            disk_ref(d, e[i].block);
    }
}

/* A received snapshot takes the whole log's place; an old one is refused. */
static inline bool disk_install(struct disk *d, const struct raft_snapshot *s)
{
    if (s->index <= d->start)
        return false;
    disk_drop(d, 0);
    d->start = s->index;
    d->start_term = s->term;
    return true;
}

static inline void disk_compact(struct disk *d, uint64_t index)
{
    struct raft_entry_info info;
    size_t n = index - d->start;
    assert(index > d->start);
    assert(index <= d->start + d->count);
    int err = disk_info(d, index, &info);
    assert(err == 0);
    for (size_t i = 0; i < n; i++)
        if (d->log[i].block)
            disk_unref(d, d->log[i].block);
    memmove(d->log, d->log + n, (d->count - n) * sizeof(*d->log));
    d->count -= n;
    d->start = index;
    d->start_term = info.term;
}

/* The state machine now is *s, whose data are bytes. */
static inline void disk_set_newest(struct disk *d, uint64_t index, uint64_t term,
                                   const struct raft_conf_state *conf, const void *bytes,
                                   size_t len)
{
    struct block *b = block_new(d, bytes, len);
    if (d->newest.block)
        disk_unref(d, d->newest.block);
    d->newest = (struct raft_snapshot){.index = index, .term = term, .conf = *conf, .block = b};
}

/* One applied entry: its payload is added to the data. */
static inline void disk_apply(struct disk *d, const struct raft_entry *e,
                              const struct raft_conf_state *conf)
{
    struct block *old = d->newest.block;
    size_t had = old ? old->len : 0, more = e->kind == RAFT_ENTRY_NORMAL ? e->len : 0;
    struct block *b = block_new(d, NULL, 0);
    b = realloc(b, sizeof(*b) + had + more + 1);
    assert(b);
    if (had)
        memcpy(b->bytes, old->bytes, had);
    if (more)
        memcpy(b->bytes + had, e->data, more);
    b->len = (uint32_t)(had + more);
    if (old)
        disk_unref(d, old);
    d->newest.block = b;
    d->newest.index = e->index;
    d->newest.term = e->term;
    d->newest.conf = *conf;
}

static inline void disk_deinit(struct disk *d)
{
    disk_drop(d, 0);
    free(d->log);
    d->log = NULL;
    d->cap = 0;
    if (d->newest.block)
        disk_unref(d, d->newest.block);
    d->newest.block = NULL;
}

/* After every owner gave back what it held. */
static inline bool disk_is_clean(const struct disk *d)
{
    return d->allocated == 0 && d->blocks == 0;
}
