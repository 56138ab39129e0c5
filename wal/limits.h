/* wal/limits.h: every bound of the log, and what happens at it. */
#pragma once
#include <stdint.h>

/* Version of what the files hold. Another one is refused at open, naming both. */
#define WAL_FORMAT_VERSION 1u

/* Batches begin at multiples of this and are padded to one: what O_DIRECT takes on any disk, and
 * no block that holds acknowledged records is ever written again. */
#define WAL_BLOCK_BYTES 4096u

#define WAL_SEGMENT_BYTES_DEFAULT (UINT64_C(64) << 20)
#define WAL_SEGMENT_BYTES_MIN     (UINT64_C(64) << 10) // less: wal_open refuses
#define WAL_SEGMENT_BYTES_MAX     (UINT64_C(1) << 30)  // more: wal_open refuses

/* One write carries at most this many bytes, except that a single bigger record goes alone, in a
 * buffer of its own that is given back. What does not fit waits for the next batch. */
#define WAL_BATCH_BYTES (UINT32_C(1) << 20)

/* Bytes that wait for the WAL goroutine. At it wal_append asks its caller to hold: whoever obeys
 * overshoots by one request. Metric: kvd_wal_queue_bytes. */
#define WAL_QUEUE_BYTES_DEFAULT (UINT64_C(64) << 20)

/* Recycled or freshly made segments that stand ready. More are removed. */
#define WAL_SPARES_MAX    2
#define WAL_SPARES_WANTED 1 // made ahead when fewer stand ready

/* A step of the zero-filling of a spare. */
#define WAL_FILL_BYTES (UINT32_C(1) << 20)

/* How often a spare is tried again on a full disk. */
#define WAL_SPACE_RETRY_NS (INT64_C(500) * 1000 * 1000)

/* One mark in memory (32 bytes) for at least this many bytes of log: where wal_read starts. */
#define WAL_MARK_BYTES (UINT32_C(64) << 10)

/* Without a sync timeout a sync is overdue after this; it is also when "slow fdatasync" is logged. */
#define WAL_SLOW_SYNC_NS (INT64_C(1000) * 1000 * 1000)

/* So many overdue syncs in a row mark the disk slow, as many in time mark it well again. */
#define WAL_SLOW_RUN 8

/* Lines about slow syncs: at most one in this time, with the count of those left out. */
#define WAL_SLOW_LOG_NS (INT64_C(1000) * 1000 * 1000)

#define WAL_PATH_BYTES 512 // of a file of the log; a longer directory is refused
