/* wal/record.c: see record.h; the layout is told at the top of segment.c. Everything is
 * little-endian, as is every machine we build for. */
#include "wal/record.h"
#include "wal/crc32c.h"
#include <assert.h>
#include <string.h>

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "fields are copied as they stand");
static_assert(sizeof(struct wal_header) == WAL_HEADER_BYTES, "a header is its own wire form");
static_assert(WAL_SEGMENT_BYTES_MAX <= UINT32_MAX, "records_bytes is 32 bits wide");

static const uint8_t metadata_mark[8] = "kvd wal";

enum { TERM_BITS = 56 }; // the kind stands above

void wal_header_encode(struct wal_header *h, uint8_t *out)
{
    h->crc = wal_crc32c(0, (const uint8_t *)h + sizeof h->crc, sizeof *h - sizeof h->crc);
    memcpy(out, h, sizeof *h);
}

bool wal_header_decode(const uint8_t *bytes, struct wal_header *h)
{
    memcpy(h, bytes, sizeof *h);
    return h->crc == wal_crc32c(0, bytes + sizeof h->crc, sizeof *h - sizeof h->crc);
}

uint64_t wal_batch_bytes(uint64_t records_bytes)
{
    uint64_t bytes = WAL_HEADER_BYTES + records_bytes;
    return (bytes + WAL_BLOCK_BYTES - 1) / WAL_BLOCK_BYTES * WAL_BLOCK_BYTES;
}

uint32_t wal_record_seed(const struct wal_header *h)
{
    uint32_t seed = wal_crc32c(0, h->segment, sizeof h->segment);
    seed = wal_crc32c(seed, &h->sequence, sizeof h->sequence);
    return wal_crc32c(seed, &h->salt, sizeof h->salt);
}

/* Over the record but for the crc itself: length, then kind, term and index, then the payload with
 * its padding. */
static uint32_t record_crc(uint32_t seed, const uint8_t *record, uint64_t bytes)
{
    uint32_t crc = wal_crc32c(seed, record, 4);
    return wal_crc32c(crc, record + 8, bytes - 8);
}

void wal_record_encode(uint8_t *out, uint32_t seed, const struct wal_record *r)
{
    assert(r->term >> TERM_BITS == 0);
    uint64_t bytes = wal_record_bytes(r->len);
    uint64_t kind_term = (uint64_t)r->kind << TERM_BITS | r->term;
    memset(out + bytes - 8, 0, 8); // the padding; of an empty record the index, written below
    memcpy(out, &r->len, 4);
    memcpy(out + 8, &kind_term, 8);
    memcpy(out + 16, &r->index, 8);
    if (r->len > 0)
        memcpy(out + WAL_RECORD_HEADER_BYTES, r->data, r->len);
    uint32_t crc = record_crc(seed, out, bytes);
    memcpy(out + 4, &crc, 4);
}

size_t wal_record_peek(const uint8_t *bytes, struct wal_record *r)
{
    uint64_t kind_term;
    memcpy(&r->len, bytes, 4);
    memcpy(&kind_term, bytes + 8, 8);
    memcpy(&r->index, bytes + 16, 8);
    r->kind = (uint8_t)(kind_term >> TERM_BITS);
    r->term = kind_term & ((UINT64_C(1) << TERM_BITS) - 1);
    r->data = r->len > 0 ? bytes + WAL_RECORD_HEADER_BYTES : NULL;
    return wal_record_bytes(r->len);
}

size_t wal_record_decode(const uint8_t *bytes, size_t avail, uint32_t seed, struct wal_record *r)
{
    uint32_t len, crc;
    if (avail < WAL_RECORD_HEADER_BYTES)
        return 0;
    memcpy(&len, bytes, 4);
    memcpy(&crc, bytes + 4, 4);
    uint64_t size = wal_record_bytes(len);
    if (size > avail || crc != record_crc(seed, bytes, size))
        return 0;
    return wal_record_peek(bytes, r);
}

void wal_metadata_encode(const struct wal_metadata *m, uint8_t out[WAL_METADATA_BYTES])
{
    memset(out, 0, WAL_METADATA_BYTES);
    memcpy(out, metadata_mark, 8);
    memcpy(out + 8, &m->version, 4);
    memcpy(out + 16, &m->number, 8);
    memcpy(out + 24, &m->cluster_id, 8);
    memcpy(out + 32, &m->member_id, 8);
}

bool wal_metadata_decode(const struct wal_record *r, struct wal_metadata *m)
{
    if (r->kind != WAL_METADATA || r->len < WAL_METADATA_BYTES ||
        memcmp(r->data, metadata_mark, 8) != 0)
        return false;
    memcpy(&m->version, r->data + 8, 4);
    memcpy(&m->number, r->data + 16, 8);
    memcpy(&m->cluster_id, r->data + 24, 8);
    memcpy(&m->member_id, r->data + 32, 8);
    return true;
}
