/* wal/recover.h: reading a log back at start: what is sound, what a crash left, what is damage. */
#pragma once
#include "wal/files.h"

/* Where the log ends, and the writer goes on. */
struct wal_tail {
    uint64_t offset;   // in the last segment
    uint64_t sequence; // of the last batch
    uint32_t previous; // the crc of its header
    struct wal_hard_state hard_state;
    uint64_t base_index, base_term;
    uint64_t last_index, last_term;
    bool torn; // a batch that never became whole stands at offset
};

/* Check every batch of every segment in f->dir and fill in f's segments and places. Changes nothing
 * on disk. Returns 0; WAL_NONE: there is no segment, this is a new log; WAL_DAMAGED, WAL_FOREIGN,
 * WAL_VERSION or -errno with `why`.  Context: parks; nobody else uses f yet. */
int wal_recover(struct wal_files *f, struct wal_tail *tail, struct why *why);

/* Take the spares of the right size into f, remove the others and what was half made.
 * Returns 0 or -errno with `why`.  Context: as above. */
int wal_recover_spares(struct wal_files *f, struct why *why);
