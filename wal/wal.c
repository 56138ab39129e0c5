/* wal/wal.c: the front door: checks what comes in, and puts the parts together.
 *
 *     files    what files there are, where entries stand      keeper  spares ahead, releases behind
 *     writer   the goroutine that writes, syncs, completes    reader  entries back from the files */
#include "wal/wal.h"
#include "wal/reader.h"
#include "wal/writer.h"
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <rt/alloc.h>
#include <stdio.h>
#include <string.h>

enum { READ_STEP_BYTES = 256 << 10, REPLAY_STEP_BYTES = 1 << 20 };

struct wal {
    struct wal_files files;
    struct wal_spares spares;
    struct wal_writer writer;
};

const char *wal_error_words(int err)
{
    switch (err) {
#define X(name, number, words)                                                                     \
    case name:                                                                                     \
        return words;
        WAL_ERRORS(X)
#undef X
    default:
        return NULL;
    }
}

/* ---- Open ------------------------------------------------------------------------------------- */

static int check_options(const struct wal_options *o, struct wal *wal, struct why *why)
{
    struct wal_files *f = &wal->files;
    uint64_t bytes = o->segment_bytes ? o->segment_bytes : WAL_SEGMENT_BYTES_DEFAULT;
    if (bytes < WAL_SEGMENT_BYTES_MIN || bytes > WAL_SEGMENT_BYTES_MAX ||
        bytes % WAL_BLOCK_BYTES != 0) {
        why_set(why,
                "wal-segment-bytes is %" PRIu64 "; it must be a multiple of %u from %" PRIu64
                " to %" PRIu64,
                bytes, WAL_BLOCK_BYTES, WAL_SEGMENT_BYTES_MIN, WAL_SEGMENT_BYTES_MAX);
        return WAL_BAD_OPTION;
    }
    if (o->sync_timeout_ns < 0) {
        why_set(why, "sync-timeout is negative; 0 means group commit");
        return WAL_BAD_OPTION;
    }
    size_t len = strlen(o->dir);
    if (len == 0 || len >= sizeof f->dir) {
        why_set(why, "the log's directory has a name of %zu bytes; it may have 1 to %zu", len,
                sizeof f->dir - 1);
        return WAL_BAD_OPTION;
    }
    memcpy(f->dir, o->dir, len + 1);
    f->segment_bytes = bytes;
    f->cluster_id = o->cluster_id;
    f->member_id = o->member_id;
    return 0;
}

/* The directory that holds `dir`, into buf. */
static void parent_of(const char *dir, char *buf)
{
    size_t len = strlen(dir);
    while (len > 1 && dir[len - 1] == '/')
        len--;
    while (len > 0 && dir[len - 1] != '/')
        len--;
    if (len == 0) {
        memcpy(buf, ".", 2);
        return;
    }
    memcpy(buf, dir, len);
    buf[len] = 0;
}

static int make_dir(const char *dir)
{
    char parent[WAL_PATH_BYTES];
    int err = rt_mkdir(dir, 0700);
    if (err == -EEXIST)
        return 0;
    if (err)
        return err;
    parent_of(dir, parent);
    return rt_sync_dir(parent);
}

static int lock_dir(struct wal_files *f, struct why *why)
{
    char path[WAL_PATH_BYTES], words[64];
    struct rt_file *file;
    int err = make_dir(f->dir);
    wal_path(f->dir, WAL_LOCK_NAME, path);
    if (!err)
        err = rt_file_open(path, RT_OPEN_WRITE | RT_OPEN_CREATE, 0600, &file);
    if (err) {
        why_set(why, "cannot use %s for the log: %s", f->dir, why_errno(err, words, sizeof words));
        return err;
    }
    err = rt_file_lock(file);
    if (!err) {
        f->lock_file = file;
        return 0;
    }
    (void)rt_file_close(file); // holds nothing
    if (err == -EAGAIN) {
        why_set(why, "%s is in use by another process; stop it, or choose another directory",
                f->dir);
        return WAL_IN_USE;
    }
    why_set(why, "cannot lock %s: %s", path, why_errno(err, words, sizeof words));
    return err;
}

/* Does the file system of the directory take O_DIRECT? */
static int choose_io(struct wal_files *f, enum wal_io io, struct why *why)
{
    char path[WAL_PATH_BYTES], words[64];
    struct rt_file *file;
    if (io == WAL_IO_BUFFERED)
        return 0;
    wal_path(f->dir, WAL_LOCK_NAME, path);
    int err = rt_file_open(path, RT_OPEN_READ | RT_OPEN_DIRECT, 0, &file);
    f->direct = err == 0;
    if (!err)
        return rt_file_close(file);
    if (io == WAL_IO_AUTO && (err == -EINVAL || err == -EOPNOTSUPP))
        return 0;
    why_set(why,
            "wal-io is direct, and the file system of %s does not take it: %s; set it to auto or "
            "buffered",
            f->dir, why_errno(err, words, sizeof words));
    return err;
}

static int tell_all(struct wal_files *f, const struct wal_tail *tail,
                    const struct wal_replay *replay, struct why *why);

/* Everything but the goroutines. What is open is closed by the caller. */
static int open_files(struct wal *wal, const struct wal_options *o, const struct wal_replay *replay,
                      struct wal_recovered *recovered, struct why *why)
{
    struct wal_files *f = &wal->files;
    struct wal_tail tail;
    int err = lock_dir(f, why);
    if (!err)
        err = choose_io(f, o->io, why);
    if (err)
        return err;
    err = wal_recover(f, &tail, why);
    if (err && err != WAL_NONE)
        return err;
    *recovered = (struct wal_recovered){.is_new = err == WAL_NONE,
                                        .base_index = tail.base_index,
                                        .base_term = tail.base_term,
                                        .last_index = tail.last_index,
                                        .last_term = tail.last_term,
                                        .hard_state = tail.hard_state,
                                        .torn_offset = tail.torn ? tail.offset : UINT64_MAX,
                                        .direct = f->direct};
    if (tail.torn)
        wal_segment_name(f->segment[f->count - 1].number, recovered->torn_file);
    err = tell_all(f, &tail, replay, why);
    if (!err)
        err = wal_recover_spares(f, why);
    if (!err)
        err = wal_writer_open(&wal->writer, &tail, why);
    recovered->segments = f->count;
    return err;
}

struct told {
    const struct wal_replay *replay;
    struct why *why;
};

static int tell_one(void *arg, const struct wal_record *record)
{
    const struct told *told = arg;
    return told->replay->entry(told->replay->arg, record, told->why);
}

static int tell_all(struct wal_files *f, const struct wal_tail *tail,
                    const struct wal_replay *replay, struct why *why)
{
    uint64_t first = wal_places_first(&f->places);
    if (!replay || !replay->entry || f->count == 0 || first > tail->last_index)
        return 0;
    struct told told = {replay, why};
    struct wal_reader reader = {
        .files = f, .step_bytes = REPLAY_STEP_BYTES, .each = tell_one, .arg = &told, .why = why};
    int64_t count = wal_reader_read(&reader, first, tail->last_index + 1, UINT64_MAX);
    if (count < 0)
        return (int)count;
    assert((uint64_t)count == tail->last_index + 1 - first);
    return 0;
}

static void make_metrics(struct wal_writer *w, struct rt_metrics *m)
{
    if (!m)
        return;
    w->metrics.sync_seconds =
        rt_metrics_histogram(m, "etcd_disk_wal_fsync_duration_seconds", "",
                             "The latency distributions of fsync called by WAL.", 0.001, 2, 14);
    w->metrics.written_bytes = rt_metrics_counter(m, "etcd_disk_wal_write_bytes_total", "",
                                                  "Total number of bytes written in WAL.");
    w->metrics.batch_entries = rt_metrics_histogram(
        m, "kvd_wal_batch_entries", "", "Entries made durable by one sync of the log.", 1, 2, 14);
    w->metrics.queue_bytes =
        rt_metrics_gauge(m, "kvd_wal_queue_bytes", "", "Bytes that wait to be durable in the log.");
    w->deadline.overruns_total =
        rt_metrics_counter(m, "kvd_wal_sync_overruns_total", "",
                           "Syncs of the log that took longer than the sync timeout.");
}

static void close_files(struct wal *wal)
{
    wal_writer_close(&wal->writer);
    wal_files_deinit(&wal->files);
    rt_free(wal);
}

int wal_open(const struct wal_options *options, const struct wal_replay *replay, struct wal **out,
             struct wal_recovered *recovered, struct why *why)
{
    struct wal *wal = rt_alloc_zero(sizeof *wal);
    struct wal_files *f = &wal->files;
    wal->spares.files = f;
    wal->spares.log = options->log;
    atomic_store_explicit(&wal->spares.has_space, true, memory_order_relaxed);
    wal->writer.files = f;
    wal->writer.spares = &wal->spares;
    wal->writer.deadline.log = options->log;
    atomic_store_explicit(&wal->writer.batch_bytes, WAL_BATCH_BYTES, memory_order_relaxed);
    wal->writer.queue_limit_bytes =
        options->queue_limit_bytes ? options->queue_limit_bytes : WAL_QUEUE_BYTES_DEFAULT;
    make_metrics(&wal->writer, options->metrics);
    struct wal_recovered found = {.torn_offset = UINT64_MAX};
    int err = check_options(options, wal, why);
    if (!err) {
        wal_set_sync_timeout(wal, options->sync_timeout_ns);
        err = open_files(wal, options, replay, &found, why);
    }
    if (!err) {
        err = wal_spares_start(&wal->spares);
        if (!err) {
            err = wal_writer_start(&wal->writer);
            if (err)
                wal_spares_stop(&wal->spares);
        }
        if (err)
            why_set(why, "there are too many goroutines to start the log's");
    }
    if (err) {
        close_files(wal);
        return err;
    }
    if (found.torn_offset != UINT64_MAX)
        rt_log(options->log, RT_LOG_INFO, "cut a torn batch off the log",
               rt_f_str("segment", found.torn_file), rt_f_uint("offset", found.torn_offset),
               rt_f_uint("last_index", found.last_index));
    *recovered = found;
    *out = wal;
    return 0;
}

void wal_close(struct wal *wal)
{
    wal_writer_stop(&wal->writer);
    wal_spares_stop(&wal->spares);
    close_files(wal);
}

/* ---- Append ----------------------------------------------------------------------------------- */

/* A member that appends what does not follow its own log has a bug that must not reach
 * the disk. */
static uint64_t check_record(struct wal_writer *w, const struct wal_record *r)
{
    assert(r->index > 0);
    assert(r->kind <= WAL_SNAPSHOT);
    assert(r->len <= w->files->segment_bytes - WAL_BLOCK_BYTES);
    if (r->kind < WAL_SNAPSHOT) {
        assert(r->index <= w->appended_index + 1);
        assert(r->index <= w->appended_index || r->term >= w->appended_term);
    } else {
        assert(r->len == 0);
    }
    w->appended_index = r->index;
    w->appended_term = r->term;
    return wal_record_bytes(r->len);
}

bool wal_append(struct wal *wal, struct wal_request *request)
{
    struct wal_writer *w = &wal->writer;
    assert(request->done);
    assert(!request->lazy || request->count == 0);
    uint64_t bytes = sizeof *request;
    for (uint32_t i = 0; i < request->count; i++)
        bytes += check_record(w, &request->records[i]);
    request->queued_bytes = bytes;
    atomic_fetch_add_explicit(&w->queue_bytes, bytes, memory_order_relaxed);
    if (w->metrics.queue_bytes)
        rt_counter_add(w->metrics.queue_bytes, (int64_t)bytes);
    rt_mailbox_put(&w->box, &request->mail);
    return wal_should_hold(wal);
}

bool wal_should_hold(const struct wal *wal)
{
    return atomic_load_explicit(&wal->writer.queue_bytes, memory_order_relaxed) >=
           wal->writer.queue_limit_bytes;
}

uint64_t wal_record_bytes_max(const struct wal *wal)
{
    return wal->files.segment_bytes - WAL_BLOCK_BYTES;
}

/* ---- The rest --------------------------------------------------------------------------------- */

int wal_read(struct wal *wal, uint64_t lo, uint64_t hi, uint64_t max_bytes,
             int (*each)(void *arg, const struct wal_record *record), void *arg, struct why *why)
{
    assert(lo > 0);
    assert(lo < hi);
    if (hi - lo > INT32_MAX)
        hi = lo + INT32_MAX;
    struct wal_reader reader = {
        .files = &wal->files, .step_bytes = READ_STEP_BYTES, .each = each, .arg = arg, .why = why};
    int64_t told = wal_reader_read(&reader, lo, hi, max_bytes);
    rt_mailbox_wake(&wal->spares.wake); // a segment may have waited for us to leave it
    return (int)told;
}

void wal_release(struct wal *wal, uint64_t index)
{
    uint64_t before = atomic_load_explicit(&wal->spares.release, memory_order_relaxed);
    while (before < index &&
           !atomic_compare_exchange_weak_explicit(&wal->spares.release, &before, index,
                                                  memory_order_release, memory_order_relaxed))
        ;
    if (before < index)
        rt_mailbox_wake(&wal->spares.wake);
}

bool wal_has_space(const struct wal *wal)
{
    return atomic_load_explicit(&wal->spares.has_space, memory_order_relaxed);
}

void wal_set_sync_timeout(struct wal *wal, int64_t timeout_ns)
{
    assert(timeout_ns >= 0);
    atomic_store_explicit(&wal->writer.deadline.timeout_ns, timeout_ns, memory_order_relaxed);
}

void wal_set_batch_limits(struct wal *wal, uint32_t bytes, uint32_t entries)
{
    assert(bytes >= WAL_BLOCK_BYTES);
    assert(bytes <= WAL_BATCH_BYTES);
    atomic_store_explicit(&wal->writer.batch_bytes, bytes / WAL_BLOCK_BYTES * WAL_BLOCK_BYTES,
                          memory_order_relaxed);
    atomic_store_explicit(&wal->writer.batch_entries, entries, memory_order_relaxed);
}

void wal_set_debug_delay(struct wal *wal, int64_t delay_ns)
{
    assert(delay_ns >= 0);
    atomic_store_explicit(&wal->writer.debug_delay_ns, delay_ns, memory_order_relaxed);
}

bool wal_is_slow(const struct wal *wal)
{
    return atomic_load_explicit(&wal->writer.deadline.slow, memory_order_relaxed);
}

void wal_stats(struct wal *wal, struct wal_stats *out)
{
    struct wal_writer *w = &wal->writer;
    struct wal_files *f = &wal->files;
    *out = (struct wal_stats){
        .queue_bytes = atomic_load_explicit(&w->queue_bytes, memory_order_relaxed),
        .batches = atomic_load_explicit(&w->batches, memory_order_relaxed),
        .entries = atomic_load_explicit(&w->entries, memory_order_relaxed),
        .syncs = atomic_load_explicit(&w->syncs, memory_order_relaxed),
        .written_bytes = atomic_load_explicit(&w->written_bytes, memory_order_relaxed),
        .sync_overruns = atomic_load_explicit(&w->deadline.overruns, memory_order_relaxed),
        .sync_timeout_ns = atomic_load_explicit(&w->deadline.timeout_ns, memory_order_relaxed),
        .slow = wal_is_slow(wal),
        .has_space = wal_has_space(wal),
        .direct = f->direct,
    };
    rt_mutex_lock(&f->lock);
    out->first_index = wal_places_first(&f->places);
    out->last_index = f->places.last;
    out->segments = f->count;
    out->spares = f->spare_count;
    rt_mutex_unlock(&f->lock);
}
