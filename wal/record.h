/* wal/record.h: batches and records as bytes: encode, decode, check. Pure; the layout is told at the
 * top of segment.c. */
#pragma once
#include "wal/wal.h"

enum {
    WAL_HEADER_BYTES = 64,
    WAL_RECORD_HEADER_BYTES = 24,
    WAL_SEGMENT_ID_BYTES = 16,
    WAL_METADATA_BYTES = 40,
};

struct wal_header {
    uint32_t crc;      // of the other 60 bytes
    uint32_t previous; // crc of the header before, 0 for the first of a log
    uint8_t segment[WAL_SEGMENT_ID_BYTES];
    uint64_t sequence;
    struct wal_hard_state hard_state;
    uint32_t records_bytes; // after the header, without the padding at the end
    uint32_t salt;          // random for each opening of the log
};

/* Write the 64 bytes and set h->crc. */
void wal_header_encode(struct wal_header *h, uint8_t *out);
/* True when the 64 bytes are a header. False leaves *h undefined. */
bool wal_header_decode(const uint8_t *bytes, struct wal_header *h);
/* Bytes that the whole batch takes in the file. */
uint64_t wal_batch_bytes(uint64_t records_bytes);

/* What the CRCs of a batch's records begin with: binds them to this batch of this use of the file,
 * so that a record which an earlier use, or a batch cut before, left in the same place is bad. */
uint32_t wal_record_seed(const struct wal_header *h);

/* Bytes of a record with `len` bytes of payload. */
static inline uint64_t wal_record_bytes(uint64_t len)
{
    return WAL_RECORD_HEADER_BYTES + ((len + 7) & ~UINT64_C(7));
}

/* Write r, all wal_record_bytes(r->len) of it. This is the one copy of a payload. */
void wal_record_encode(uint8_t *out, uint32_t seed, const struct wal_record *r);
/* Read the record at `bytes`, of which `avail` belong to the batch; r->data points into them.
 * Returns its size, or 0 when it is no sound record. */
size_t wal_record_decode(const uint8_t *bytes, size_t avail, uint32_t seed, struct wal_record *r);
/* The same for a record that was checked before. */
size_t wal_record_peek(const uint8_t *bytes, struct wal_record *r);

/* The payload of a segment's first record, whose index and term are those of the last entry before
 * the segment. The place of all this is the same in every version of the format. */
struct wal_metadata {
    uint32_t version;
    uint64_t number; // of the segment
    uint64_t cluster_id, member_id;
};
void wal_metadata_encode(const struct wal_metadata *m, uint8_t out[WAL_METADATA_BYTES]);
/* False: these bytes are no metadata of any version. */
bool wal_metadata_decode(const struct wal_record *r, struct wal_metadata *m);
