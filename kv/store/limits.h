/* kv/store/limits.h: every bound of a store, and what happens at it. */
#pragma once
#include <stdint.h>

enum {
    /* Reads. */
    STORE_PAGE_KEYS = 256,      // keys looked at under one hold of the index's lock
    STORE_PAGE_BYTES = 1 << 20, // of rows read under one LMDB snapshot: then it is renewed
    STORE_READERS = 120,        // LMDB snapshots open at once: the next reader waits

    /* The recent log. At its size in bytes store_wait_room waits for the flusher. */
    STORE_RECENT_BYTES = 16 << 20, // default
    STORE_RECENT_SLOTS = 1 << 17,  // entries: each is charged at least STORE_RECENT_CHARGE bytes
    STORE_RECENT_CHARGE = 128,     // ... so that the bytes run out first at the default

    /* The flusher. */
    STORE_FLUSH_MS = 500,         // the oldest effect waits at most this long
    STORE_FLUSH_BYTES = 4 << 20,  // one durable batch; waiting more than this flushes at once
    STORE_FLUSH_ENTRIES = 16384,  // ... and no more entries than this
    STORE_SPACE_STEP = 16 << 20,  // the file grows by this much at a time
    STORE_SPACE_RETRY_MS = 500,   // after a full disk, the flusher tries again
    STORE_COMPACT_HELD = 1 << 18, // taken out of the index before they are removed from LMDB
    STORE_COMPACT_ROWS = 2000,    // removed by one slice
    STORE_COMPACT_KEYS = 4096,    // keys looked at under one hold of the index's lock

    /* Transactions. */
    STORE_TXN_NESTING = 15, // txns in txns: STORE_TOO_DEEP beyond (32 messages)

    /* Watches. */
    STORE_WATCHES = 100000,            // of one stream: STORE_WATCH_TOO_MANY
    STORE_WATCH_QUEUE = 128,           // batches waiting on a stream: watches then catch up instead
    STORE_WATCH_QUEUE_BYTES = 8 << 20, // ... or bytes of events
    STORE_WATCH_CONTROL = 1024,        // answers to creates and cancels waiting: the caller waits
    STORE_CATCH_UP_REVISIONS = 1000,   // in one batch
    STORE_CATCH_UP_BYTES = 1 << 20,    // in one batch, unless one revision is larger

    /* Images. */
    STORE_IMAGE_CHUNK_MIN = 64 << 10,
};

#define STORE_QUOTA_DEFAULT   (INT64_C(2) << 30)
#define STORE_MAP_BYTES       (UINT64_C(1) << 38) // address space of the database: reserved once
#define STORE_RANGE_MAX_BYTES ((UINT64_C(1) << 31) - 1)
