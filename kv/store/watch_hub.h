/* kv/store/watch_hub.h: watches, their streams, and the hub that hands them events.
 *
 * A watch is SYNCED: the hub's goroutine, going through the recent log in order, puts its events into
 * its stream's queue; or BEHIND: the stream's consumer, when it has read what was queued before,
 * reads its events from the recent log or LMDB itself, a slice at a time, until it has reached the
 * hub and joins it. A full queue makes its watches BEHIND: memory is bounded by what a queue may
 * hold, and what was not queued is not lost but read later.
 *
 * Invariants: (1) a watch has been given exactly the events below next_revision that pass its
 * filters; (2) SYNCED: next_revision <= hub.dispatched + 1 or the watch starts in the future, and
 * nothing of it in (next_revision, dispatched] exists; (3) BEHIND: the hub does not know it.
 *
 * Locks: hub.lock, then index_lock and the others of state.h; stream.lock is a leaf under hub.lock. */
#pragma once
#include "kv/store/doorbell.h"
#include "kv/store/interval_tree.h"
#include "kv/store/recent.h"
#include "kv/store/store.h"
#include "kv/store/watch.h"

enum watch_flow { WATCH_SYNCED, WATCH_BEHIND };

struct queued {
    struct queued *next;
    struct store_watch_batch batch;
    uint64_t seq;
};

struct watch {
    struct interval interval; // .keys always; in the tree when SYNCED and not KEYS_ONE
    struct store_watch_stream *stream;
    struct watch *id_next;                    // stream's table: hub.lock
    struct watch *key_next;                   // hub's table of single keys: hub.lock
    struct watch *behind_next, **behind_link; // stream's list: hub.lock
    struct watch *touched_next;               // while the hub dispatches one entry
    struct queued *building;                  // ... and the batch that it is getting
    uint32_t building_cap;
    int64_t id;
    int64_t next_revision; // hub.lock
    enum watch_flow flow;  // hub.lock
    uint64_t after_seq;    // BEHIND: what was queued up to here comes first
    uint32_t filters;
    bool prev_kv, progress_notify;
    bool active;                // had an event since the last tick: hub.lock
    bool catching_up, canceled; // the consumer reads for it; end it when it is done: hub.lock
    uint8_t bytes[];            // its keys
};

struct store_watch_stream {
    struct watch_hub *hub;
    struct store_watch_stream *next, **link; // hub.lock
    struct watch **by_id;                    // hub.lock, as all up to stream.lock
    uint32_t bucket_count, watch_count;
    int64_t next_id;
    struct watch *behind, **behind_end; // in the order of their turns
    int64_t progress_wanted;            // 0: nobody asked
    struct rt_mutex lock;               // all below
    struct rt_cond readable, writable;
    struct queued *first, **last;
    uint32_t count, control_count;
    uint64_t bytes;
    uint64_t pushed_seq, popped_seq;
    bool shut;
    bool look;          // watches are behind, or joined: the consumer should look
    bool catch_up_turn; // the consumer only: queue and catching up take turns
};

struct watch_hub {
    struct store *s;
    struct rt_mutex lock;  // all below
    struct watch **by_key; // SYNCED watches of one key
    uint32_t bucket_count, key_count;
    struct interval_tree ranges; // SYNCED watches of ranges
    struct store_watch_stream *streams;
    uint64_t pos;            // in the recent log: the next entry to hand out
    int64_t dispatched;      // every event up to here was handed out
    uint32_t progress_count; // streams that wait for progress
    struct doorbell bell;
    _Atomic uint64_t watch_count;
    bool stop;
    struct rt_waitgroup running;
};

/* ---- Between the files of the hub. Context: hub.lock held, unless said otherwise. ---- */

void hub_join(struct watch_hub *hub, struct watch *w);          // becomes SYNCED
void hub_leave(struct watch_hub *hub, struct watch *w);         // no longer SYNCED
void hub_fall_behind(struct watch_hub *hub, struct watch *w);   // SYNCED to BEHIND
void hub_append_behind(struct watch_hub *hub, struct watch *w); // last of its stream's BEHIND
void hub_progress(struct watch_hub *hub, struct store_watch_stream *w); // answer it if possible
/* Catch up with the recent log without handing out: when nobody is SYNCED. */
void hub_skip_ahead(struct watch_hub *hub);

/* Queue a batch (takes it over). False when it holds events and the queue is full: then it is freed. */
bool stream_push(struct store_watch_stream *w, struct queued *q);
struct queued *queued_new(enum store_watch_batch_kind kind, int64_t id, int64_t revision);
void queued_free(struct queued *q);
/* Forget a watch that the hub and the consumer have let go. */
void stream_drop(struct store_watch_stream *w, struct watch *it);
bool watch_wants(const struct watch *w, struct rev rev);

/* Read the next slice for a BEHIND watch of the stream whose turn has come. 0 with a batch; 1 when
 * there is nothing to deliver: look at the queue, and call again while stream.look. No lock held. */
int watch_catch_up(struct store_watch_stream *w, struct store_watch_batch *out);
