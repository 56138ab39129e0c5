/* wal/batch.h: one batch under construction, in memory: header, records, padding. Pure. */
#pragma once
#include "wal/record.h"

struct wal_batch {
    uint8_t *buf;   // aligned to a block
    uint32_t cap;   // of buf; WAL_BATCH_BYTES but while a bigger record is in it
    uint32_t limit; // bytes that may be used, at most cap
    uint32_t used;  // header and records so far
    uint32_t entries;
    uint32_t seed; // of the records' crcs
    struct wal_header header;
};

int wal_batch_init(struct wal_batch *b); // 0 or -ENOMEM
void wal_batch_deinit(struct wal_batch *b);

/* Begin anew with the id, sequence, previous and salt of *header, and room for `limit` bytes at most
 * (whole blocks). 0 or -ENOMEM. */
int wal_batch_begin(struct wal_batch *b, const struct wal_header *header, uint64_t limit);

/* False, changing nothing, when the record does not fit. */
bool wal_batch_add(struct wal_batch *b, const struct wal_record *r);

/* Write the header and the padding. Returns the bytes to be written, whole blocks. */
uint32_t wal_batch_finish(struct wal_batch *b, const struct wal_hard_state *hs);
