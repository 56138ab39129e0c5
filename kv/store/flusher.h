/* kv/store/flusher.h: the goroutine that writes. It moves the recent log into LMDB in durable
 * batches and, between them, removes what compactions let go, slice by slice. Each batch and each
 * slice is one transaction, which also says which command it ends at. */
#pragma once
#include "kv/store/backend.h"
#include "kv/store/doorbell.h"
#include "kv/store/recent.h"
#include "kv/store/store.h"

struct compaction {
    int64_t revision;        // the one being carried out; 0: none
    struct rt_string resume; // the key to go on with
    bool walked;             // every key was looked at
    struct rev *removed;     // taken out of the index, in order of revision
    uint32_t removed_count;
    uint32_t written; // ... so many of them are out of LMDB, too
};

struct flusher {
    struct doorbell bell;
    // The flusher only.
    struct recent_batch batch;
    struct compaction compaction;
    struct backend_state state; // what is durable
    int64_t last_flush_ns, retry_ns, pins_retry_ns;
    // Written by the flusher, read anywhere.
    _Atomic uint64_t durable_index, durable_term;
    _Atomic int64_t compact_finished;
    _Atomic bool no_space;
    struct rt_mutex lock; // all below
    struct rt_cond moved; // durable_index, compact_finished, busy or stop changed
    bool stop, paused, busy;
    uint32_t hurry; // so many wait for durability: flush at once
    struct rt_waitgroup running;
};

/* Start it; the database was opened and loaded. 0 or -errno. */
int flusher_start(struct store *s, struct why *why);
void flusher_stop(struct store *s); // after a last flush, if there is space
void flusher_free(struct store *s);
/* Keep the flusher from the database while another is put in its place. */
void flusher_pause(struct store *s);
void flusher_resume(struct store *s);
/* Begin at what the database holds now.  Context: before start, or paused. */
void flusher_reset(struct store *s, const struct backend_state *state);
