/* wal/files.h: which files the log consists of just now, and where the entries stand in them. The
 * writer adds at the end, the keeper (spares.h) takes away at the front, readers pin what they read.
 *
 * Lock order: `lock` is the only lock of this folder; nothing parks under it. */
#pragma once
#include "wal/places.h"
#include "wal/segment.h"
#include <rt/sync.h>

struct wal_files {
    char dir[WAL_PATH_BYTES - WAL_NAME_BYTES]; // set at open, then const
    struct rt_file *lock_file;                 // the same; NULL until locked
    uint64_t segment_bytes;                    // the same
    bool direct;                               // the same
    uint64_t cluster_id, member_id;            // the same

    struct rt_mutex lock;
    struct wal_segment *segment; // lock. In order of number, without gaps; the last is written to
    uint32_t count, cap;         // lock
    struct wal_places places;    // lock. Durable entries only
    uint64_t spare[WAL_SPARES_MAX]; // lock. Numbers in the names of files that stand ready
    uint32_t spare_count;           // lock
    struct rt_cond spare_ready;     // lock
    bool no_space;                  // lock: the last attempt to make a spare met a full disk
    bool giving_up; // lock: closing; whoever waits for space on a full disk stops waiting
};

/* Room for one more segment at the end. Context: never parks; the lock is held. */
void wal_files_add_locked(struct wal_files *f, const struct wal_segment *segment);
struct wal_segment *wal_files_find_locked(struct wal_files *f, uint64_t number);
void wal_files_deinit(struct wal_files *f);
