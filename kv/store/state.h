/* kv/store/state.h: the parts of a store and the order of its locks.
 *
 * Locks, taken in this order only:
 *   1 index_lock      the index and the keys of leases; held for a page of work by readers
 *   2 recent.lock     the ring; never together with a disk access
 *   3 leases.lock, records.lock, pins.lock, watch locks: leaves, never two of them at once
 * LMDB snapshots are taken with none of them held. */
#pragma once
#include "kv/store/apply.h"
#include "kv/store/backend.h"
#include "kv/store/flusher.h"
#include "kv/store/key_index.h"
#include "kv/store/lease.h"
#include "kv/store/pins.h"
#include "kv/store/recent.h"
#include "kv/store/records.h"
#include "kv/store/store.h"

struct watch_hub;

struct store_metrics {
    struct rt_counter *puts, *deletes, *txns, *ranges, *keys, *revision, *compact_revision,
        *flush_lag, *flushed_rows, *removed_rows, *watchers, *slow_watchers, *events;
    struct rt_histogram *flush_seconds;
};

struct store {
    struct store_options options; // const; dir is ours
    char *dir;
    struct rt_file *lock_file; // this process owns the directory

    struct rt_rwmutex index_lock;
    struct key_index index; // index_lock

    // Published by the applier inside index_lock; read anywhere.
    _Atomic int64_t revision, compact_revision;
    _Atomic uint64_t applied_index, applied_term;

    struct recent recent;
    struct backend backend;
    struct leases leases;
    struct records records;
    struct pins pins;
    struct flusher flusher;
    struct apply apply; // the applier only
    struct watch_hub *hub;
    _Atomic bool installing;      // an image is being received
    struct store_metrics metrics; // never NULL inside: a private registry stands in
    struct rt_metrics *own_metrics;
};
