/* wal/segment.h: one file of the log: its name, how it is opened, made and filled. The format of what
 * is in it is told at the top of segment.c. */
#pragma once
#include "wal/record.h"
#include <rt/file.h>

/* A file in use. Its name is its number: 16 hexadecimal digits and ".seg". */
struct wal_segment {
    uint64_t number;
    uint8_t id[WAL_SEGMENT_ID_BYTES];
    uint64_t size_bytes; // whole blocks
    uint64_t base_index; // of the last entry before the segment, when it was begun
    uint32_t readers;    // who is reading from it: it stays where it is
};

/* File names, without the directory, into buf of WAL_NAME_BYTES. */
enum { WAL_NAME_BYTES = 40 };
void wal_segment_name(uint64_t number, char *buf);
bool wal_segment_name_parse(const char *name, uint64_t *number_out);
void wal_spare_name(uint64_t number,
                    char *buf); // ".spare": zero-filled, or a segment of earlier use
bool wal_spare_name_is(const char *name);
#define WAL_FILLING_NAME "next.filling" // a spare that is not ready; worthless after a crash
#define WAL_LOCK_NAME    "LOCK"

/* dir/name into buf of WAL_PATH_BYTES. The length was checked when the log was opened. */
void wal_path(const char *dir, const char *name, char *buf);

/* Open for reading past the page cache where the file system can. */
int wal_segment_open_to_read(const char *path, struct rt_file **out);

/* Make a file of size_bytes, every block written with zeros and durable (a sync into blocks that were
 * written before needs no transaction of the file system: half the time). Nothing is left behind on
 * failure. `pause_ns` lies between steps of WAL_FILL_BYTES, unless hurry(arg) is true.
 * Returns 0 or -errno.  Context: parks. */
int wal_segment_fill(const char *path, uint64_t size_bytes, bool direct, int64_t pause_ns,
                     bool (*hurry)(void *arg), void *arg);
