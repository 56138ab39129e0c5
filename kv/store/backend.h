/* kv/store/backend.h: the database file: LMDB, two tables.
 *
 *     rows   every change of every key (row.h), in order of revision
 *     meta   everything else, small, under a name that begins with a letter:
 *              "state"             format, index, term, revision, compactions (struct backend_state)
 *              "l" + 8 bytes id    a lease: granted and remaining seconds
 *              "a" + type + 8      an alarm: type and member
 *              "c" + key           a record of the cluster
 *
 * One transaction writes a batch of both, durably, so the file is always a sound past state. Readers
 * take snapshots of bounded age; at most STORE_READERS at once, the next waits. */
#pragma once
#include "kv/store/recent.h"
#include <lmdb.h>
#include <rt/file.h>
#include <rt/sync.h>
#include <rt/why.h>

enum { BACKEND_FORMAT = 1, BACKEND_STATE_BYTES = 48 };

struct backend_state {
    uint64_t index, term;      // of the last command whose effects are here
    int64_t revision;          // current
    int64_t compact_scheduled; // -1: never
    int64_t compact_finished;  // rows up to here are physically removed
};
void backend_state_put(uint8_t out[BACKEND_STATE_BYTES], const struct backend_state *state);
/* 0, STORE_FORMAT or STORE_DAMAGED. */
int backend_state_get(struct rt_bytes bytes, struct backend_state *out, struct why *why);

struct backend {
    MDB_env *env; // readers hold one of readers_free; swapped with all of them held
    MDB_dbi rows, meta;
    struct rt_file *file; // to secure space ahead
    char *dir;
    uint64_t secured_bytes; // flusher
    unsigned page_bytes;
    struct rt_sem readers_free;
    struct rt_mutex idle_lock;
    MDB_txn *idle[128]; // idle_lock: reset snapshots
    uint32_t idle_count;
    _Atomic int64_t size_bytes, in_use_bytes;
};

/* Open or make the database in `dir` (made with mode 0700). A new one gets an empty state. */
int backend_open(struct backend *b, const char *dir, struct why *why);
void backend_close(struct backend *b);

/* A snapshot: borrowed views of its bytes are good until the end. At most a page of work long. */
MDB_txn *backend_read_begin(struct backend *b); // parks while there are too many
void backend_read_end(struct backend *b, MDB_txn *snapshot);

int backend_get_state(struct backend *b, MDB_txn *snapshot, struct backend_state *out,
                      struct why *why);
/* The bytes of a row: true, or false when it is not there. */
bool backend_get_row(struct backend *b, MDB_txn *snapshot, struct rev rev, struct rt_bytes *out);

/* One batch: rows and changes of the entries, rows to remove, the new state. */
struct backend_write {
    struct recent_entry *const *entries;
    uint32_t count;
    const struct rev *removed;
    uint32_t removed_count;
    struct backend_state state;
};
/* Secure the disk space that such a batch may need. 0 or -ENOSPC, ...  Context: parks. */
int backend_secure(struct backend *b, uint64_t bytes);
uint64_t backend_space_needed(const struct backend_write *w);
/* Write it durably. What fails here cannot be survived (rt_fatal).  Context: parks (blocking). */
void backend_commit(struct backend *b, const struct backend_write *w);

/* Exchange the database for the one that `next` has opened, which becomes empty. Nobody reads
 * meanwhile.  Context: parks until all snapshots are back. */
void backend_replace(struct backend *b, struct backend *next);

/* "mdb_put: no space left on device" and the like, for rt_fatal and `why`. */
const char *backend_error(int rc, char *buf, size_t cap);
