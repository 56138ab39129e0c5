/* wal/scan.c: a window on the file that moves forward, a few blocks or many at a time. A batch that
 * is bigger than the window makes it grow, by at most the file's size: a header that lies about its
 * length cannot ask for more. */
#include "wal/scan.h"
#include <assert.h>
#include <errno.h>
#include <rt/alloc.h>
#include <rt/file.h>
#include <string.h>

int wal_scan_open(struct wal_scan *s, struct rt_file *file, size_t step_bytes)
{
    assert(step_bytes % WAL_BLOCK_BYTES == 0);
    uint64_t size;
    int err = rt_file_size(file, &size);
    if (err)
        return err;
    uint8_t *buf = rt_alloc_aligned(WAL_BLOCK_BYTES, step_bytes);
    if (!buf)
        return -ENOMEM;
    *s = (struct wal_scan){
        .file = file, .size_bytes = size - size % WAL_BLOCK_BYTES, .buf = buf, .cap = step_bytes};
    return 0;
}

void wal_scan_bytes(struct wal_scan *s, uint8_t *bytes, size_t len)
{
    len -= len % WAL_BLOCK_BYTES;
    *s = (struct wal_scan){.size_bytes = len, .buf = bytes, .cap = len, .len = len};
}

void wal_scan_close(struct wal_scan *s)
{
    if (s->file)
        rt_free(s->buf);
    *s = (struct wal_scan){.file = NULL};
}

void wal_scan_forget(struct wal_scan *s)
{
    if (s->file)
        s->len = 0;
}

static int grow(struct wal_scan *s, size_t bytes)
{
    uint8_t *bigger = rt_alloc_aligned(WAL_BLOCK_BYTES, bytes);
    if (!bigger)
        return -ENOMEM;
    rt_free(s->buf);
    s->buf = bigger;
    s->cap = bytes;
    s->len = 0;
    return 0;
}

/* Make [offset, offset + bytes) of the file visible. 0, WAL_NONE when the file ends before, -errno. */
static int look(struct wal_scan *s, uint64_t offset, uint64_t bytes, const uint8_t **out)
{
    assert(offset % WAL_BLOCK_BYTES == 0);
    assert(bytes % WAL_BLOCK_BYTES == 0);
    if (offset > s->size_bytes || bytes > s->size_bytes - offset)
        return WAL_NONE;
    if (offset < s->start || offset + bytes > s->start + s->len) {
        int err = bytes > s->cap ? grow(s, bytes) : 0;
        if (err)
            return err;
        size_t want = s->size_bytes - offset < s->cap ? s->size_bytes - offset : s->cap;
        ssize_t got = rt_file_pread(s->file, s->buf, want, offset);
        s->len = 0;
        if (got < 0)
            return (int)got;
        if ((uint64_t)got < bytes)
            return WAL_NONE; // became shorter while we read: the same as if it had been
        s->start = offset;
        s->len = (size_t)got;
    }
    *out = s->buf + (offset - s->start);
    return 0;
}

int wal_scan_header(struct wal_scan *s, uint64_t offset, struct wal_header *h)
{
    const uint8_t *block;
    int err = look(s, offset, WAL_BLOCK_BYTES, &block);
    if (err)
        return err;
    return wal_header_decode(block, h) ? 0 : WAL_NONE;
}

int wal_scan_records(struct wal_scan *s, uint64_t offset, const struct wal_header *h,
                     const uint8_t **records)
{
    const uint8_t *batch;
    int err = look(s, offset, wal_batch_bytes(h->records_bytes), &batch);
    if (err)
        return err;
    uint32_t seed = wal_record_seed(h);
    const uint8_t *first = batch + WAL_HEADER_BYTES;
    for (size_t at = 0; at < h->records_bytes;) {
        struct wal_record r;
        size_t size = wal_record_decode(first + at, h->records_bytes - at, seed, &r);
        if (size == 0)
            return WAL_NONE;
        at += size;
    }
    *records = first;
    return 0;
}

static bool carries(const uint8_t *block, const uint8_t id[WAL_SEGMENT_ID_BYTES])
{
    return memcmp(block + offsetof(struct wal_header, segment), id, WAL_SEGMENT_ID_BYTES) == 0;
}

bool wal_scan_has_id(struct wal_scan *s, uint64_t offset, const uint8_t id[WAL_SEGMENT_ID_BYTES])
{
    const uint8_t *block;
    return look(s, offset, WAL_BLOCK_BYTES, &block) == 0 && carries(block, id);
}

int wal_scan_later(struct wal_scan *s, uint64_t offset, const uint8_t id[WAL_SEGMENT_ID_BYTES],
                   struct wal_header *h, uint64_t *at)
{
    for (; offset < s->size_bytes; offset += WAL_BLOCK_BYTES) {
        const uint8_t *block;
        int err = look(s, offset, WAL_BLOCK_BYTES, &block);
        if (err)
            return err;
        if (!carries(block, id) || !wal_header_decode(block, h))
            continue;
        *at = offset;
        return 0;
    }
    return WAL_NONE;
}
