/* wal/wal.h: the log on disk. What is appended here and completed survives a crash and a loss of
 * power; nothing may be promised to anybody before. This is the front door of the folder.
 *
 *     wal_append --mailbox--> WAL goroutine: take all that waits, write once, sync once,
 *                             then done(request) for each, in the order they were appended
 *
 * Records carry a kind, a term, an index and bytes that mean nothing here. The indexes of entries
 * rise by one, but for two things that Raft does:
 *   - an entry whose index is at most the last one replaces what is stored from there on;
 *   - a record of kind WAL_SNAPSHOT at (index, term) replaces the whole log by a snapshot that the
 *     caller keeps elsewhere: the next entry is index + 1.
 * The log resolves both itself: wal_open and wal_read present only entries that survive.
 *
 * A write or a sync that fails is rt_fatal, and is never tried again: afterwards nobody can say what
 * the disk holds. A full disk is met earlier, when the next segment is made: wal_has_space. */
#pragma once
#include "wal/errors.h"
#include "wal/limits.h"
#include <rt/log.h>
#include <rt/metrics.h>
#include <rt/sync.h>
#include <rt/why.h>
#include <stdbool.h>
#include <stdint.h>

struct wal;

enum wal_io {
    WAL_IO_AUTO,    // direct where the file system takes it
    WAL_IO_DIRECT,  // O_DIRECT and RWF_DSYNC: a batch is one system call; refused where impossible
    WAL_IO_BUFFERED // write, then fdatasync
};

/* Kinds below 128 are the caller's: an entry of the log. */
enum wal_kind {
    WAL_SNAPSHOT = 128, // replaces the log, see above; no payload
    WAL_METADATA = 129, // begins every segment; never seen outside wal/
};

struct wal_record {
    uint64_t term;
    uint64_t index;      // never 0
    const uint8_t *data; // immutable until done; may be NULL when len is 0
    uint32_t len;        // at most wal_record_bytes_max
    uint8_t kind;
};

/* Raft's HardState. The newest one is in every batch. */
struct wal_hard_state {
    uint64_t term, vote, commit;
};

/* When a request passed each stage, monotonic. With D = 0 and direct I/O the write and the sync are
 * one call, and written_ns equals synced_ns. For a request that caused no write all four are the
 * time it was completed, but for the first two. */
struct wal_times {
    int64_t taken_ns; // the WAL goroutine took it from the queue
    int64_t
        building_ns;    // it began to build the batch that finished the request: no sync before its
                        // own is waited for any more
    int64_t begun_ns;   // the write began
    int64_t written_ns; // the write returned (B)
    int64_t synced_ns;  // durable (C)
};

/* What wal_append takes: all of it becomes durable, then done(request) is called once, on the WAL
 * goroutine, in the order of the appends: it must not park and must not append. From then on the
 * request is the caller's again. Until then it and the bytes it points to stay unchanged. */
struct wal_request {
    struct rt_mail mail;              // private while queued
    const struct wal_record *records; // count of them, in order of index
    uint32_t count;
    bool has_hard_state;
    bool lazy; // nothing here needs the disk now (a commit index moved): cause no write; the state
               // goes out with the next batch, or at wal_close. Then count must be 0
    struct wal_hard_state hard_state;
    void (*done)(struct wal_request *request);
    void *arg;              // the caller's
    int result;             // out: 0; WAL_NO_SPACE only when wal_close gives up on a full disk
                            // what waited for a segment: then nothing may be promised
    struct wal_times times; // out
    uint64_t queued_bytes;  // private
};

struct wal_options {
    const char *dir; // made (mode 0700) when absent; its parent must exist
    uint64_t cluster_id, member_id;
    uint64_t segment_bytes; // 0: WAL_SEGMENT_BYTES_DEFAULT; a multiple of 4 KiB. Takes effect for
                            // new segments
    enum wal_io io;
    int64_t sync_timeout_ns;    // see wal_set_sync_timeout
    uint64_t queue_limit_bytes; // 0: WAL_QUEUE_BYTES_DEFAULT
    struct rt_log *log;         // NULL: silence. Outlives the log
    struct rt_metrics *metrics; // NULL: none. Outlives the log
};

/* Who hears the surviving entries at open, oldest first. The record is borrowed for the call. A
 * result below 0 ends wal_open with it. */
struct wal_replay {
    int (*entry)(void *arg, const struct wal_record *record, struct why *why);
    void *arg;
};

struct wal_recovered {
    bool is_new;         // the directory held no log. A caller whose store holds data must refuse
    uint64_t base_index; // of the entry before the first: 0, or of what was released, or of the
    uint64_t base_term;  //   newest WAL_SNAPSHOT. A caller that has applied less must refuse
    uint64_t last_index; // base_index when the log holds no entry
    uint64_t last_term;
    struct wal_hard_state hard_state;
    uint64_t torn_offset; // where a torn batch was cut from the last segment, UINT64_MAX: none
    char torn_file[40];
    uint32_t segments;
    bool direct; // the form of I/O in use
};

/* Open the log in options->dir, or make one; check every batch of it; tell replay->entry (NULL: tell
 * nobody) about every surviving entry; start the goroutines. Returns 0; WAL_DAMAGED, WAL_FOREIGN,
 * WAL_VERSION, WAL_IN_USE, WAL_BAD_OPTION; replay's result; or -errno: all with `why`, and nothing on
 * disk was changed but what a torn batch left, which is ignored.  Context: parks. */
int wal_open(const struct wal_options *options, const struct wal_replay *replay, struct wal **out,
             struct wal_recovered *recovered, struct why *why);

/* Complete all that is queued, write what lazy requests left, end the goroutines, unlock, free. The
 * caller has ended everybody who may append, read or release.  Context: parks. */
void wal_close(struct wal *wal);

/* Queue a request. Always taken. Returns true when the queue is over its limit: the caller takes no
 * more work that would append until a completion finds wal_should_hold false.
 * Requires: indexes that follow the log (assertion); each record at most wal_record_bytes_max.
 * Context: one goroutine at a time, which fixes the order; never parks. */
bool wal_append(struct wal *wal, struct wal_request *request);
bool wal_should_hold(const struct wal *wal); // never parks

/* The biggest payload a record may have: a batch must fit a segment.  Context: never parks. */
uint64_t wal_record_bytes_max(const struct wal *wal);

/* Read back surviving, durable entries lo <= index < hi, in order, checked, until their payloads
 * exceed max_bytes (at least one). `each` borrows the record for the call and returns 0, or a result
 * below 0 that ends the read with it. Returns how many were told; WAL_COMPACTED: lo was released or replaced;
 * WAL_UNAVAILABLE: lo is not durable yet; WAL_DAMAGED with `why` (the caller should stop the
 * member); -errno.  Context: any number of goroutines at once; parks, `each` may park. */
int wal_read(struct wal *wal, uint64_t lo, uint64_t hi, uint64_t max_bytes,
             int (*each)(void *arg, const struct wal_record *record), void *arg, struct why *why);

/* Entries up to and including `index` will never be asked for again, and are durable in the caller's
 * store: whole segments of them become spares or are removed, in the background. Lower than before:
 * nothing happens.  Context: never parks. */
void wal_release(struct wal *wal, uint64_t index);

/* False while the next segment cannot be made because the disk is full: refuse proposals with
 * NOSPACE; all else goes on while the present segment has room, and then waits. Making it is tried
 * again until it succeeds.  Context: never parks. */
bool wal_has_space(const struct wal *wal);

/* 0: group commit, a sync covers all that queued meanwhile. D > 0: every entry is made durable by a
 * write and a sync of its own, two calls; D is the deadline that the sync is held to: an overrun is
 * counted, logged with its stage times, and WAL_SLOW_RUN in a row mark the disk slow.
 * Context: never parks; holds from the next batch. */
void wal_set_sync_timeout(struct wal *wal, int64_t timeout_ns);

/* Limits of group commit: at most so many bytes (at least a block, at most WAL_BATCH_BYTES) and entries
 * (0: no limit) with one sync. A record that is bigger goes alone.  Context: as above. */
void wal_set_batch_limits(struct wal *wal, uint32_t bytes, uint32_t entries);
/* For experiments: each sync takes delay_ns longer, as on a slower disk.  Context: as above. */
void wal_set_debug_delay(struct wal *wal, int64_t delay_ns);

struct wal_stats {
    uint64_t first_index; // oldest entry that wal_read gives; last_index + 1 when there is none
    uint64_t last_index;  // newest durable entry, or the base
    uint64_t segments;    // files in use
    uint64_t spares;      // files ready
    uint64_t queue_bytes;
    uint64_t batches, entries, syncs, written_bytes;
    uint64_t sync_overruns; // of the sync timeout
    int64_t sync_timeout_ns;
    bool slow; // the disk, see WAL_SLOW_RUN
    bool has_space;
    bool direct;
};
/* Context: parks shortly. */
void wal_stats(struct wal *wal, struct wal_stats *out);
/* Cheap: what wal_stats.slow says.  Context: never parks. */
bool wal_is_slow(const struct wal *wal);
