/* wal/reader.h: surviving entries, read back from where the marks say they stand. */
#pragma once
#include "wal/files.h"
#include "wal/scan.h"

struct wal_reader {
    struct wal_files *files;
    size_t step_bytes; // of one read
    int (*each)(void *arg, const struct wal_record *record);
    void *arg;
    struct why *why;
    // Private from here on.
    struct rt_file *file; // open while entries come from `segment`, which is pinned
    uint64_t segment;
    uint8_t id[WAL_SEGMENT_ID_BYTES];
    char path[WAL_PATH_BYTES];
    struct wal_scan scan;
};

/* Tell each entry lo <= index < hi until their payloads exceed max_bytes. Returns how many were told,
 * at least one; or as wal_read.  Context: parks. */
int64_t wal_reader_read(struct wal_reader *r, uint64_t lo, uint64_t hi, uint64_t max_bytes);
