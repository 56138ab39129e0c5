/* wal/spares.h: the keeper, a goroutine that works ahead of the writer and behind the readers: it has
 * the next file ready before it is needed, and makes spares of segments that nobody needs.
 *
 *     zero-filled "next.filling" --rename--> SPARE --wal_spares_take--> segment in use
 *                                              ^                            |
 *                                              '------ wal_release ---------'
 *
 * A full disk is met here, where nothing has been promised: it is said (files.no_space), tried again
 * every WAL_SPACE_RETRY_NS, and over as soon as a file could be made or a segment was released. Any
 * other failure is fatal, as in the writer: names and blocks of the log are not to be guessed about. */
#pragma once
#include "wal/files.h"
#include <rt/log.h>
#include <stdatomic.h>

struct wal_spares {
    struct wal_files *files;
    struct rt_log *log;
    struct rt_mailbox wake;   // nothing is put into it
    _Atomic uint64_t release; // entries up to here may go
    _Atomic bool hurry;       // the writer waits: fill without pauses
    _Atomic bool has_space;   // !files.no_space, for who must not park
    _Atomic bool stopping;
    struct rt_note stopped;
};

/* Make a spare now, in the calling goroutine. 0 or -errno.  Context: parks. */
int wal_spares_make(struct wal_spares *k);

/* Start the keeper; it ends by wal_spares_stop. 0 or -EAGAIN.  Context: never parks; stop parks. */
int wal_spares_start(struct wal_spares *k);
void wal_spares_stop(struct wal_spares *k);

/* Hand out a spare, waiting until there is one: its path, of WAL_PATH_BYTES. It is the caller's to
 * rename. Returns 0; WAL_NO_SPACE once files.giving_up is set and the disk is full.
 * Context: parks. */
int wal_spares_take(struct wal_spares *k, char *path);
