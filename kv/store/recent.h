/* kv/store/recent.h: the newest effects of commands, in memory: what the flusher has still to write,
 * and as much of what it has written as fits. A ring of immutable, counted entries:
 *
 *     head ........ flushed ........ tail
 *       kept for       to be written
 *       readers
 *
 * Positions only grow. Rows are in order of revision through the whole ring, so a row is found by
 * binary search. One goroutine appends, one (the flusher) moves `flushed`, anybody reads. */
#pragma once
#include "kv/store/row.h"
#include <rt/alloc.h>
#include <rt/sync.h>

struct recent_row {
    struct rev rev;
    struct rt_bytes bytes; // as stored
};

struct recent_change { // of what is replicated beside the keys: see backend.h for names
    struct rt_bytes name, value;
    bool removed;
};

struct recent_entry {
    _Atomic uint32_t refs;
    uint32_t row_count, change_count;
    uint64_t index, term;
    int64_t revision; // current after this entry
    int64_t compact;  // compact revision after this entry
    int64_t applied_ns;
    size_t charge; // bytes it counts for
    struct recent_row *rows;
    struct recent_change *changes;
    uint8_t *free; // while it is being built: where the next bytes go
};

/* Memory for so many rows and changes and their bytes, one reference. */
struct recent_entry *recent_entry_new(uint32_t rows, uint32_t changes, size_t bytes);
struct recent_entry *recent_entry_ref(struct recent_entry *e);
void recent_entry_unref(struct recent_entry *e); // NULL is allowed

struct recent {
    struct rt_rwmutex lock;
    struct recent_entry **ring; // lock
    uint64_t head, flushed, tail;
    size_t bytes, unflushed_bytes;
    uint64_t last_index, last_term; // of the last command, also one without effects
    bool told;                      // the flusher knows that there is something to write
    size_t limit_bytes;             // const
    struct rt_mutex room_lock;
    struct rt_cond room_cond;
};

void recent_init(struct recent *r, size_t limit_bytes);
void recent_deinit(struct recent *r);
/* Forget everything: what counts is in the database now. */
void recent_reset(struct recent *r, uint64_t index, uint64_t term);

/* Takes over the caller's reference. Written entries go as far as room is needed. True: the flusher
 * should be told, as this is the first thing to write, or now there is a batch full. */
bool recent_append(struct recent *r, struct recent_entry *e);
/* A command without effects: only its number counts. True as above. */
bool recent_skip(struct recent *r, uint64_t index, uint64_t term);

/* Wait until less than the limit waits to be written. 0 or STORE_TIMEOUT. */
int recent_wait_room(struct recent *r, int64_t deadline_ns);

/* The bytes of a row, borrowed while *entry, which gets a reference, is held. False: not here (so
 * it is in the database, if it exists).  Requires: the caller has r->lock, for reading at least. */
bool recent_find_locked(struct recent *r, struct rev rev, struct rt_bytes *bytes,
                        struct recent_entry **entry);

/* The entry at position `pos` with a reference; NULL when pos is not in [head, tail). */
struct recent_entry *recent_at(struct recent *r, uint64_t pos);
/* The position of the first entry with a row of revision main or later. False when such entries may
 * have been dropped already: the caller has to look in the database first. */
bool recent_seek(struct recent *r, int64_t main, uint64_t *pos);
uint64_t recent_tail(struct recent *r);

struct recent_batch {
    uint64_t index, term, end; // what is written with it; flushed moves to end
    int64_t revision, compact;
    struct recent_entry **entries;
    uint32_t count;
    size_t bytes;
    bool all; // nothing is left behind it
};
/* What the flusher writes next, with references, at most max entries and about max_bytes; false when
 * there is nothing, not even a new index. revision and compact are untouched when count is 0. */
bool recent_gather(struct recent *r, size_t max_bytes, uint32_t max, struct recent_batch *b);
/* b is durable: its room may be used again. Drops the references. */
void recent_flushed(struct recent *r, struct recent_batch *b);
void recent_batch_drop(struct recent_batch *b); // ... or it was not written
bool recent_is_full(struct recent *r);          // somebody has to wait for room
size_t recent_unflushed_bytes(struct recent *r);
/* When the oldest unwritten entry was applied; RT_FOREVER when there is none. */
int64_t recent_oldest_ns(struct recent *r);
