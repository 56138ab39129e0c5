/* wal/batch.c: see batch.h. The buffer is kept from batch to batch; one that had to grow for a big
 * record is given back with the next batch, so that one big entry does not cost memory for ever. */
#include "wal/batch.h"
#include <assert.h>
#include <errno.h>
#include <rt/alloc.h>
#include <string.h>

static int resize(struct wal_batch *b, uint32_t cap)
{
    if (b->cap == cap)
        return 0;
    uint8_t *buf = rt_alloc_aligned(WAL_BLOCK_BYTES, cap);
    if (!buf)
        return -ENOMEM;
    rt_free(b->buf);
    b->buf = buf;
    b->cap = cap;
    return 0;
}

int wal_batch_init(struct wal_batch *b)
{
    *b = (struct wal_batch){.buf = NULL};
    return resize(b, WAL_BATCH_BYTES);
}

void wal_batch_deinit(struct wal_batch *b)
{
    rt_free(b->buf);
    *b = (struct wal_batch){.buf = NULL};
}

int wal_batch_begin(struct wal_batch *b, const struct wal_header *header, uint64_t limit)
{
    assert(limit >= WAL_BLOCK_BYTES);
    assert(limit % WAL_BLOCK_BYTES == 0);
    assert(limit <= WAL_SEGMENT_BYTES_MAX);
    int err = resize(b, limit > WAL_BATCH_BYTES ? (uint32_t)limit : WAL_BATCH_BYTES);
    if (err)
        return err;
    b->limit = (uint32_t)limit;
    b->used = WAL_HEADER_BYTES;
    b->entries = 0;
    b->header = *header;
    b->seed = wal_record_seed(header);
    return 0;
}

bool wal_batch_add(struct wal_batch *b, const struct wal_record *r)
{
    uint64_t bytes = wal_record_bytes(r->len);
    if (bytes > b->limit - b->used)
        return false;
    wal_record_encode(b->buf + b->used, b->seed, r);
    b->used += (uint32_t)bytes;
    b->entries += r->kind < WAL_SNAPSHOT;
    return true;
}

uint32_t wal_batch_finish(struct wal_batch *b, const struct wal_hard_state *hs)
{
    b->header.hard_state = *hs;
    b->header.records_bytes = b->used - WAL_HEADER_BYTES;
    wal_header_encode(&b->header, b->buf);
    uint64_t total = wal_batch_bytes(b->header.records_bytes);
    assert(total <= b->cap);
    memset(b->buf + b->used, 0, total - b->used);
    return (uint32_t)total;
}
