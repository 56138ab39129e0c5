/* wal/segment.c: one file of the log: batches on 4 KiB boundaries, each written by one call.
 *
 *     batch    offset  size  field (little-endian)
 *                   0     4  crc         CRC32C of the rest of this header
 *                   4     4  previous    crc of the header before, also across files
 *                   8    16  segment     random for each use of the file: what an earlier use
 *                                        left behind can never pass for ours
 *                  24     8  sequence    1, 2, 3, ... through the whole log
 *                  32    24  term, vote, commit    HardState as of this batch
 *                  56     4  length of the records in bytes
 *                  60     4  salt        random for each opening of the log
 *     record        0     4  length of the payload
 *                   4     4  crc         CRC32C of segment, sequence, salt, then of the rest of the
 *                                        record, padding too
 *                   8    16  kind << 56 | term, index
 *                  24     n  payload, then zeros up to 8 bytes
 *     padding                up to 4 KiB: never looked at
 *
 * The first batch of a file begins with a record of kind metadata: what log this is, whose, which
 * format; its index and term are those of the last entry before the file. A file gets its name only
 * when that batch is durable, so every segment has a sound first batch, and all before the newest
 * were complete when it was begun.
 *
 * Why a salt: a batch that a crash cut short is ignored, and the next one goes to the same place with
 * the same sequence. If that is cut short, too, records of both may lie side by side; the salt makes
 * those of the older one bad.
 *
 * A torn tail is the last batch, cut by a crash: nothing in it was ever acknowledged, so it goes.
 * A bad batch with a valid one of this segment behind it was whole once: that is damage, and we
 * refuse to start. We never guess: README.md, "Two kinds of bad log". */
#include "wal/segment.h"
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <rt/alloc.h>
#include <rt/parse.h>
#include <rt/time.h>
#include <stdio.h>
#include <string.h>

void wal_segment_name(uint64_t number, char *buf)
{
    snprintf(buf, WAL_NAME_BYTES, "%016" PRIx64 ".seg", number);
}

bool wal_segment_name_parse(const char *name, uint64_t *number_out)
{
    char digits[17];
    if (strlen(name) != 20 || strcmp(name + 16, ".seg") != 0)
        return false;
    memcpy(digits, name, 16);
    digits[16] = 0;
    return rt_parse_hex(digits, number_out) == 0;
}

void wal_spare_name(uint64_t number, char *buf)
{
    snprintf(buf, WAL_NAME_BYTES, "%016" PRIx64 ".spare", number);
}

bool wal_spare_name_is(const char *name)
{
    return strlen(name) == 22 && strcmp(name + 16, ".spare") == 0;
}

void wal_path(const char *dir, const char *name, char *buf)
{
    int len = snprintf(buf, WAL_PATH_BYTES, "%s/%s", dir, name);
    assert(len < WAL_PATH_BYTES);
}

int wal_segment_open_to_read(const char *path, struct rt_file **out)
{
    int err = rt_file_open(path, RT_OPEN_READ | RT_OPEN_DIRECT, 0, out);
    if (err == -EINVAL || err == -EOPNOTSUPP)
        err = rt_file_open(path, RT_OPEN_READ, 0, out);
    return err;
}

static int fill(struct rt_file *file, uint64_t size_bytes, int64_t pause_ns,
                bool (*hurry)(void *arg), void *arg)
{
    int err = rt_file_allocate(file, 0, size_bytes); // a full disk shows at once
    if (err && err != -EOPNOTSUPP)
        return err;
    size_t step = size_bytes < WAL_FILL_BYTES ? size_bytes : WAL_FILL_BYTES;
    uint8_t *zeros = rt_alloc_aligned(WAL_BLOCK_BYTES, step);
    if (!zeros)
        return -ENOMEM;
    memset(zeros, 0, step);
    err = 0;
    for (uint64_t at = 0; at < size_bytes && !err;) {
        size_t len = size_bytes - at < step ? size_bytes - at : step;
        err = rt_file_pwrite(file, zeros, len, at);
        at += len;
        if (!err && pause_ns > 0 && !hurry(arg))
            rt_sleep_ns(pause_ns);
    }
    rt_free(zeros);
    return err ? err : rt_file_sync(file);
}

int wal_segment_fill(const char *path, uint64_t size_bytes, bool direct, int64_t pause_ns,
                     bool (*hurry)(void *arg), void *arg)
{
    assert(size_bytes % WAL_BLOCK_BYTES == 0);
    struct rt_file *file;
    int flags = RT_OPEN_WRITE | RT_OPEN_CREATE | RT_OPEN_TRUNCATE;
    int err = rt_file_open(path, direct ? flags | RT_OPEN_DIRECT : flags, 0600, &file);
    if (err)
        return err;
    err = fill(file, size_bytes, pause_ns, hurry, arg);
    int close_err = rt_file_close(file);
    if (err || close_err) {
        (void)rt_unlink(path); // what is left of it is swept at the next open
        return err ? err : close_err;
    }
    return 0;
}
