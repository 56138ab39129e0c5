/* wal/reader.c: see reader.h. Entries are found run by run (places.h): look up the mark under the
 * lock, pin its file so that it is not recycled meanwhile, walk its batches without the lock. What is
 * read was durable when it was looked up, and bytes once written are never written again while the
 * file is in use, so writer and readers do not meet. */
#include "wal/reader.h"
#include <assert.h>
#include <inttypes.h>
#include <string.h>

/* Where a walk through one run of entries stands. */
struct run {
    struct wal_place at;
    uint64_t next;   // index of the entry that comes next in the file
    uint64_t end;    // the run's
    uint64_t lo, hi; // what to tell
    uint64_t budget; // bytes that may still be told
    uint64_t told;
};

static void leave_file(struct wal_reader *r)
{
    if (!r->file)
        return;
    wal_scan_close(&r->scan);
    (void)rt_file_close(r->file); // was only read
    r->file = NULL;
    rt_mutex_lock(&r->files->lock);
    struct wal_segment *seg = wal_files_find_locked(r->files, r->segment);
    assert(seg); // it was pinned
    assert(seg->readers > 0);
    seg->readers--;
    rt_mutex_unlock(&r->files->lock);
}

/* Find the run of entry `index` and pin its file. A file that is pinned already stays so. */
static int find_run(struct wal_reader *r, uint64_t index, struct run *run, bool *opened)
{
    rt_mutex_lock(&r->files->lock);
    int err = wal_places_find(&r->files->places, index, &run->at, &run->end);
    if (!err && r->file && r->segment != run->at.segment) {
        rt_mutex_unlock(&r->files->lock);
        leave_file(r);
        return find_run(r, index, run, opened); // once: r->file is NULL now
    }
    *opened = !err && !r->file;
    if (*opened) {
        struct wal_segment *seg = wal_files_find_locked(r->files, run->at.segment);
        assert(seg);
        seg->readers++;
        r->segment = seg->number;
        memcpy(r->id, seg->id, sizeof r->id);
    }
    rt_mutex_unlock(&r->files->lock);
    run->next = run->at.first_index;
    return err;
}

static void unpin(struct wal_reader *r)
{
    rt_mutex_lock(&r->files->lock);
    wal_files_find_locked(r->files, r->segment)->readers--;
    rt_mutex_unlock(&r->files->lock);
}

static int enter_file(struct wal_reader *r)
{
    char name[WAL_NAME_BYTES], words[64];
    struct rt_file *file;
    wal_segment_name(r->segment, name);
    wal_path(r->files->dir, name, r->path);
    int err = r->files->direct ? wal_segment_open_to_read(r->path, &file)
                               : rt_file_open(r->path, RT_OPEN_READ, 0, &file);
    if (!err) {
        err = wal_scan_open(&r->scan, file, r->step_bytes);
        if (err)
            (void)rt_file_close(file); // was only opened
    }
    if (err) {
        unpin(r);
        why_set(r->why, "cannot open %s: %s", r->path, why_errno(err, words, sizeof words));
        return err;
    }
    r->file = file;
    return 0;
}

static int damaged(struct wal_reader *r, const struct run *run)
{
    why_set(r->why,
            "%s: damaged at offset %" PRIu64 ": entry %" PRIu64 " was durable there and is "
            "not any more. Replace this member: deploy/README.md, \"Replace a member\"",
            r->path, run->at.batch, run->next);
    return WAL_DAMAGED;
}

/* Tell the records of one batch from `skip` on. 0 at its end, 1 when enough is told, else an error. */
static int tell_batch(struct wal_reader *r, struct run *run, const struct wal_header *h,
                      const uint8_t *records)
{
    for (size_t at = run->at.skip - WAL_HEADER_BYTES; at < h->records_bytes;) {
        struct wal_record record;
        at += wal_record_peek(records + at, &record);
        if (record.kind >= WAL_SNAPSHOT)
            continue;
        if (record.index != run->next)
            return damaged(r, run);
        if (run->next >= run->lo) {
            if (run->told > 0 && record.len > run->budget)
                return 1;
            int err = r->each(r->arg, &record);
            if (err)
                return err;
            run->told++;
            run->budget -= record.len < run->budget ? record.len : run->budget;
        }
        run->next++;
        if (run->next == run->end || run->next == run->hi)
            return 1;
    }
    return 0;
}

static int look_at_batch(struct wal_reader *r, uint64_t at, struct wal_header *h,
                         const uint8_t **records)
{
    int err = wal_scan_header(&r->scan, at, h);
    if (!err && memcmp(h->segment, r->id, sizeof r->id) != 0)
        err = WAL_NONE;
    return err ? err : wal_scan_records(&r->scan, at, h, records);
}

static int tell_run(struct wal_reader *r, struct run *run)
{
    for (;;) {
        struct wal_header h;
        const uint8_t *records;
        char words[64];
        int err = look_at_batch(r, run->at.batch, &h, &records);
        if (err == WAL_NONE) { // the window may be older than the batch: ask the disk again
            wal_scan_forget(&r->scan);
            err = look_at_batch(r, run->at.batch, &h, &records);
        }
        if (err == WAL_NONE)
            return damaged(r, run);
        if (err) {
            why_set(r->why, "cannot read %s at offset %" PRIu64 ": %s", r->path, run->at.batch,
                    why_errno(err, words, sizeof words));
            return err;
        }
        err = tell_batch(r, run, &h, records);
        if (err)
            return err == 1 ? 0 : err;
        run->at.batch += wal_batch_bytes(h.records_bytes);
        run->at.skip = WAL_HEADER_BYTES;
    }
}

int64_t wal_reader_read(struct wal_reader *r, uint64_t lo, uint64_t hi, uint64_t max_bytes)
{
    assert(lo < hi);
    struct run run = {.lo = lo, .hi = hi, .budget = max_bytes};
    int err = 0;
    while (!err && run.lo < hi) {
        bool opened;
        uint64_t before = run.told;
        err = find_run(r, run.lo, &run, &opened);
        if (!err && opened)
            err = enter_file(r);
        if (!err)
            err = tell_run(r, &run);
        run.lo += run.told - before;
        if (!err && run.lo < run.end)
            break; // hi or the budget
    }
    leave_file(r);
    bool ended = err == WAL_UNAVAILABLE || err == WAL_COMPACTED; // behind what was told already
    return run.told > 0 && (!err || ended) ? (int64_t)run.told : err;
}
