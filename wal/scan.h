/* wal/scan.h: reading batches back from one file, or from bytes in memory, checked. Everything that
 * comes from the disk is answered by a result, never by an assertion. */
#pragma once
#include "wal/record.h"

struct rt_file;

struct wal_scan {
    struct rt_file *file; // NULL: the bytes at `buf` are all there is
    uint64_t size_bytes;  // of the file, whole blocks
    uint8_t *buf;         // aligned to a block
    size_t cap;
    uint64_t start; // offset in the file of what is in buf
    size_t len;
};

/* Read `file` in steps of step_bytes (whole blocks).  Context: parks. */
int wal_scan_open(struct wal_scan *s, struct rt_file *file, size_t step_bytes);
void wal_scan_bytes(struct wal_scan *s, uint8_t *bytes, size_t len);
void wal_scan_close(struct wal_scan *s); // the file stays open

/* Forget what was read, so that the next look asks the disk again. */
void wal_scan_forget(struct wal_scan *s);

/* The header at `offset`, a multiple of the block. 0; WAL_NONE: there is none; -errno. */
int wal_scan_header(struct wal_scan *s, uint64_t offset, struct wal_header *h);

/* The records of the batch whose header stands at `offset`, each checked. *records is good until the
 * next call. 0; WAL_NONE: one is bad or does not fit; -errno. */
int wal_scan_records(struct wal_scan *s, uint64_t offset, const struct wal_header *h,
                     const uint8_t **records);

/* The first header of the segment `id` at `offset` or behind it. 0; WAL_NONE; -errno. */
int wal_scan_later(struct wal_scan *s, uint64_t offset, const uint8_t id[WAL_SEGMENT_ID_BYTES],
                   struct wal_header *h, uint64_t *at);

/* True when what stands at `offset`, sound or not, carries this segment's id. */
bool wal_scan_has_id(struct wal_scan *s, uint64_t offset, const uint8_t id[WAL_SEGMENT_ID_BYTES]);
