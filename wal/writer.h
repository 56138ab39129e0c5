/* wal/writer.h: the WAL goroutine: takes everything queued, writes once, syncs once, completes. */
#pragma once
#include "wal/batch.h"
#include "wal/deadline.h"
#include "wal/recover.h"
#include "wal/spares.h"
#include <stdatomic.h>

/* NULL each when the log keeps no metrics. */
struct wal_metrics {
    struct rt_histogram *sync_seconds;
    struct rt_histogram *batch_entries;
    struct rt_counter *written_bytes;
    struct rt_counter *queue_bytes;
};

struct wal_writer {
    struct wal_files *files;
    struct wal_spares *spares;
    struct wal_metrics metrics;
    struct wal_deadline deadline;
    uint64_t queue_limit_bytes; // set before start, then const

    struct rt_mailbox box;        // of struct wal_request
    _Atomic uint64_t queue_bytes; // appended and not completed
    _Atomic bool stopping;
    _Atomic uint32_t batch_bytes;   // knobs: wal_set_batch_limits
    _Atomic uint32_t batch_entries; // 0: no limit
    _Atomic int64_t debug_delay_ns; // wal_set_debug_delay
    struct rt_note stopped;
    uint64_t appended_index; // who appends only: the last entry given to us
    uint64_t appended_term;  // the same

    // WAL goroutine only, from here on.
    struct rt_file *file;       // the last segment
    char path[WAL_PATH_BYTES];  // of it
    struct wal_segment segment; // the same; readers is kept in files
    uint64_t offset;            // where the next batch goes
    uint64_t sequence;          // of the last batch
    uint32_t previous;          // the crc of its header
    uint32_t salt;
    bool one_call; // the file system takes RWF_DSYNC
    struct wal_hard_state hard_state;
    bool state_is_newer; // than that of the last batch: lazy requests came
    uint64_t last_index, last_term;
    struct wal_batch batch;
    struct wal_request *first, *last; // taken, not completed, in order
    uint32_t next_record;             // of `first`: what is before is written
    bool gave_up;                     // closing on a full disk: hard_state may be ahead of the log
    int64_t taken_ns;                 // the newest of them
    _Atomic uint64_t batches, entries, syncs, written_bytes; // counted by it, read by anybody
};

/* Get ready to go on at `tail`, of the last segment in w->files, or, when there is none, make the
 * first segment. 0 or -errno with `why`.  Context: parks. */
int wal_writer_open(struct wal_writer *w, const struct wal_tail *tail, struct why *why);
/* Start the goroutine; stop completes what is queued. 0 or -EAGAIN.  Context: stop parks. */
int wal_writer_start(struct wal_writer *w);
void wal_writer_stop(struct wal_writer *w);
void wal_writer_close(struct wal_writer *w); // what open did; the goroutine is not there (any more)
