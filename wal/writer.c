/* wal/writer.c: see writer.h. One round: take what queued, fill a batch with as much as fits, make it
 * durable, tell the files' places, complete the requests that it finished. What arrives while the
 * disk works is the next batch: that is all there is to group commit, no timer.
 *
 * A request that is too big for one batch is spread over several and completed with the last. Its
 * term and vote go with the first of them, its commit index with the last, so that a crash in between
 * never leaves a commit index above the log.
 *
 * A full segment is left by writing the first batch of the next into a spare, syncing, and only then
 * giving the spare its name (the top of segment.c says why). */
#include "wal/writer.h"
#include "wal/scan.h"
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <rt/go.h>
#include <rt/time.h>
#include <stdio.h>
#include <string.h>

static struct wal_request *request_of(struct rt_mail *mail)
{
    return mail ? (struct wal_request *)((char *)mail - offsetof(struct wal_request, mail)) : NULL;
}

static bool own_sync(const struct wal_writer *w)
{
    return atomic_load_explicit(&w->deadline.timeout_ns, memory_order_relaxed) > 0;
}

static _Noreturn void die(struct wal_writer *w, const char *path, const char *doing, int err)
{
    char words[64];
    rt_fatal(
        "%s: %s at offset %" PRIu64 ": %s; what the disk holds is uncertain, so this member stops "
        "and has acknowledged nothing after entry %" PRIu64 ". Check the disk, then start it again",
        path, doing, w->offset, why_errno(err, words, sizeof words), w->files->places.last);
}

/* ---- Filling a batch -------------------------------------------------------------------------- */

/* What one round has put together. */
struct round {
    bool rolls;               // it begins a new segment
    bool needs_disk;          // something in it asked for it
    struct wal_request *rest; // the first request that the batch does not finish; NULL: none
};

static int begin_batch(struct wal_writer *w, bool rolls, uint64_t limit)
{
    struct wal_header h = {.previous = w->previous, .sequence = w->sequence + 1, .salt = w->salt};
    if (rolls)
        rt_random(h.segment, sizeof h.segment);
    else
        memcpy(h.segment, w->segment.id, sizeof h.segment);
    int err = wal_batch_begin(&w->batch, &h, limit);
    if (err || !rolls)
        return err;
    uint8_t payload[WAL_METADATA_BYTES];
    struct wal_metadata m = {.version = WAL_FORMAT_VERSION,
                             .number = w->segment.number + 1,
                             .cluster_id = w->files->cluster_id,
                             .member_id = w->files->member_id};
    wal_metadata_encode(&m, payload);
    struct wal_record record = {.term = w->last_term,
                                .index = w->last_index,
                                .data = payload,
                                .len = sizeof payload,
                                .kind = WAL_METADATA};
    bool fits = wal_batch_add(&w->batch, &record);
    assert(fits);
    return 0;
}

/* Decide whether the next record still goes into this segment, and begin the batch. */
static int begin_round(struct wal_writer *w, struct round *round)
{
    const struct wal_request *r = w->first;
    while (r && r->count == 0)
        r = request_of(r->mail.next);
    uint64_t first = 0; // bytes of the next record
    if (r)
        first = wal_record_bytes(r->records[r == w->first ? w->next_record : 0].len);
    uint64_t room = w->segment.size_bytes - w->offset;
    round->rolls = wal_batch_bytes(first) > room;
    if (round->rolls) {
        room = w->files->segment_bytes;
        first += wal_record_bytes(WAL_METADATA_BYTES);
    }
    uint64_t limit = wal_batch_bytes(first);
    assert(limit <= room);
    uint64_t most = atomic_load_explicit(&w->batch_bytes, memory_order_relaxed);
    if (limit < most)
        limit = room < most ? room : most;
    return begin_batch(w, round->rolls, limit);
}

/* Put as many of r's records into the batch as go. True when all are in. */
static bool add_records(struct wal_writer *w, struct wal_request *r)
{
    uint32_t most = own_sync(w) ? 1 : atomic_load_explicit(&w->batch_entries, memory_order_relaxed);
    for (; w->next_record < r->count; w->next_record++) {
        const struct wal_record *record = &r->records[w->next_record];
        if (most && w->batch.entries >= most)
            return false;
        if (!wal_batch_add(&w->batch, record))
            return false;
        w->last_index = record->index;
        w->last_term = record->term;
    }
    return true;
}

static int fill_batch(struct wal_writer *w, struct round *round)
{
    int err = begin_round(w, round);
    if (err)
        return err;
    struct wal_request *r = w->first;
    for (; r; r = request_of(r->mail.next)) {
        uint32_t before = w->next_record;
        bool whole = add_records(w, r);
        if (r->has_hard_state && (whole || w->next_record > before)) {
            uint64_t commit = whole ? r->hard_state.commit : w->hard_state.commit;
            w->hard_state = r->hard_state;
            w->hard_state.commit = commit;
            w->state_is_newer = true;
        }
        if (w->next_record > before || (r->has_hard_state && !r->lazy))
            round->needs_disk = true;
        if (!whole)
            break;
        w->next_record = 0;
    }
    round->rest = r;
    return 0;
}

/* ---- Making it durable ------------------------------------------------------------------------ */

static void debug_delay(struct wal_writer *w)
{
    int64_t delay_ns = atomic_load_explicit(&w->debug_delay_ns, memory_order_relaxed);
    if (delay_ns)
        rt_sleep_ns(delay_ns);
}

static void write_and_sync(struct wal_writer *w, struct rt_file *file, const char *path,
                           uint64_t offset, uint32_t bytes, struct wal_times *times)
{
    const uint8_t *buf = w->batch.buf;
    int err = -EOPNOTSUPP;
    times->begun_ns = rt_now_ns();
    if (w->one_call && !own_sync(w)) {
        err = rt_file_pwrite_durable(file, buf, bytes, offset);
        if (err == -EOPNOTSUPP)
            w->one_call = false; // refused before anything was written
        else
            debug_delay(w);
        times->written_ns = times->synced_ns = rt_now_ns();
    }
    if (err == -EOPNOTSUPP) {
        err = rt_file_pwrite(file, buf, bytes, offset);
        times->written_ns = rt_now_ns();
        if (err)
            die(w, path, "write", err);
        err = rt_file_datasync(file);
        debug_delay(w);
        times->synced_ns = rt_now_ns();
    }
    if (err)
        die(w, path, "sync", err);
}

static int open_to_write(const struct wal_files *f, const char *path, struct rt_file **out)
{
    return rt_file_open(path, f->direct ? RT_OPEN_WRITE | RT_OPEN_DIRECT : RT_OPEN_WRITE, 0, out);
}

/* The batch is the first of a new segment. 0; WAL_NO_SPACE when closing and the disk is full; at
 * start -errno, which is fatal later on. */
static int roll(struct wal_writer *w, uint32_t bytes, struct wal_times *times)
{
    char spare[WAL_PATH_BYTES], name[WAL_NAME_BYTES];
    struct rt_file *file;
    struct wal_segment next = {.number = w->segment.number + 1,
                               .size_bytes = w->files->segment_bytes};
    int err = wal_spares_take(w->spares, spare);
    if (err)
        return err;
    err = open_to_write(w->files, spare, &file);
    if (err)
        die(w, spare, "open", err);
    write_and_sync(w, file, spare, 0, bytes, times);
    wal_segment_name(next.number, name);
    wal_path(w->files->dir, name, w->path);
    err = rt_rename(spare, w->path);
    if (!err)
        err = rt_sync_dir(w->files->dir);
    if (err)
        die(w, w->path, "naming the segment", err);
    bool one_call = times->written_ns == times->synced_ns;
    times->synced_ns = rt_now_ns(); // a segment without its name is not durable
    if (one_call)
        times->written_ns = times->synced_ns;
    if (w->file)
        err = rt_file_close(w->file);
    if (err)
        die(w, w->path, "closing the segment before", err);
    memcpy(next.id, w->batch.header.segment, sizeof next.id);
    struct wal_record metadata;
    wal_record_peek(w->batch.buf + WAL_HEADER_BYTES, &metadata);
    next.base_index = metadata.index;
    w->file = file;
    w->segment = next;
    w->offset = 0;
    return 0;
}

/* The batch at w->offset is durable: now readers may know. */
static void publish(struct wal_writer *w, bool rolled)
{
    struct wal_files *f = w->files;
    const struct wal_batch *b = &w->batch;
    rt_mutex_lock(&f->lock);
    if (rolled)
        wal_files_add_locked(f, &w->segment);
    for (uint32_t at = WAL_HEADER_BYTES; at < b->used;) {
        struct wal_record r;
        struct wal_place place = {0, w->segment.number, w->offset, at};
        at += (uint32_t)wal_record_peek(b->buf + at, &r);
        place.first_index = r.index;
        if (r.kind < WAL_SNAPSHOT)
            wal_places_add(&f->places, &place);
        else if (r.kind == WAL_SNAPSHOT)
            wal_places_reset(&f->places, r.index);
    }
    rt_mutex_unlock(&f->lock);
}

static void count(struct wal_writer *w, uint32_t bytes, const struct wal_times *times)
{
    const struct wal_metrics *m = &w->metrics;
    char name[WAL_NAME_BYTES];
    uint32_t entries = w->batch.entries;
    atomic_fetch_add_explicit(&w->batches, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&w->syncs, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&w->entries, entries, memory_order_relaxed);
    atomic_fetch_add_explicit(&w->written_bytes, bytes, memory_order_relaxed);
    if (m->sync_seconds) {
        bool one_call = times->written_ns == times->synced_ns;
        rt_histogram_observe_ns(
            m->sync_seconds, times->synced_ns - (one_call ? times->begun_ns : times->written_ns));
        rt_histogram_observe(m->batch_entries, entries);
        rt_counter_add(m->written_bytes, bytes);
    }
    wal_segment_name(w->segment.number, name);
    wal_deadline_judge(&w->deadline, times, name, entries);
}

static int write_batch(struct wal_writer *w, bool rolls, struct wal_times *times)
{
    uint32_t bytes = wal_batch_finish(&w->batch, &w->hard_state);
    if (rolls) {
        int err = roll(w, bytes, times);
        if (err)
            return err;
    } else {
        write_and_sync(w, w->file, w->path, w->offset, bytes, times);
    }
    w->sequence = w->batch.header.sequence;
    w->previous = w->batch.header.crc;
    w->state_is_newer = false;
    publish(w, rolls);
    w->offset += bytes;
    count(w, bytes, times);
    return 0;
}

/* ---- The goroutine ---------------------------------------------------------------------------- */

/* Give back the requests before `rest`, in order. */
static void complete(struct wal_writer *w, struct wal_request *rest, int result,
                     const struct wal_times *times)
{
    while (w->first != rest) {
        struct wal_request *r = w->first;
        w->first = request_of(r->mail.next);
        if (!w->first)
            w->last = NULL;
        r->result = result;
        r->times = *times;
        atomic_fetch_sub_explicit(&w->queue_bytes, r->queued_bytes, memory_order_relaxed);
        if (w->metrics.queue_bytes)
            rt_counter_add(w->metrics.queue_bytes, -(int64_t)r->queued_bytes);
        r->done(r);
    }
}

static void one_round(struct wal_writer *w)
{
    struct round round = {.rest = NULL};
    struct wal_times times = {.taken_ns = w->taken_ns, .building_ns = rt_now_ns()};
    int err = fill_batch(w, &round);
    if (err)
        die(w, w->path, "memory for a batch", err);
    if (round.needs_disk)
        err = write_batch(w, round.rolls, &times);
    else
        times.begun_ns = times.written_ns = times.synced_ns = rt_now_ns();
    if (err) { // closing on a full disk: nothing more can become durable
        assert(err == WAL_NO_SPACE);
        round.rest = NULL;
        w->next_record = 0;
        w->gave_up = true;
    }
    complete(w, round.rest, err, &times);
}

static void adopt(struct wal_writer *w, struct rt_mail *mail)
{
    if (!mail)
        return;
    w->taken_ns = rt_now_ns();
    struct wal_request *first = request_of(mail), *last = first;
    while (last->mail.next)
        last = request_of(last->mail.next);
    if (w->last)
        w->last->mail.next = mail;
    else
        w->first = first;
    w->last = last;
}

/* The last word of a log that is closed in order: what lazy requests left, and a batch behind the
 * last entries, by which the next start can tell that they were whole. */
static void write_closing_batch(struct wal_writer *w)
{
    struct wal_times times = {.taken_ns = rt_now_ns()};
    if (w->gave_up || w->segment.size_bytes - w->offset < WAL_BLOCK_BYTES)
        return; // commit is only a hint, and a new segment would be a high price
    if (begin_batch(w, false, WAL_BLOCK_BYTES) == 0)
        (void)write_batch(w, false, &times); // cannot fail: it does not roll
}

static void run(void *arg)
{
    struct wal_writer *w = arg;
    uint64_t opened_at = w->sequence;
    for (;;) {
        bool stopping = atomic_load_explicit(&w->stopping, memory_order_acquire);
        adopt(w, rt_mailbox_take(&w->box, w->first || stopping ? 0 : RT_FOREVER));
        if (w->first)
            one_round(w);
        else if (stopping)
            break;
    }
    if (w->sequence != opened_at || w->state_is_newer)
        write_closing_batch(w);
    rt_note_set(&w->stopped);
}

int wal_writer_start(struct wal_writer *w) { return rt_go_urgent("wal-writer", run, w); }

void wal_writer_stop(struct wal_writer *w)
{
    rt_mutex_lock(&w->files->lock);
    w->files->giving_up = true;
    rt_cond_broadcast(&w->files->spare_ready);
    rt_mutex_unlock(&w->files->lock);
    atomic_store_explicit(&w->stopping, true, memory_order_release);
    rt_mailbox_wake(&w->box);
    rt_note_wait(&w->stopped, RT_FOREVER);
}

/* ---- Opening ---------------------------------------------------------------------------------- */

static int begin_first_segment(struct wal_writer *w, struct why *why)
{
    char words[64];
    struct wal_times times = {.taken_ns = rt_now_ns()};
    int err = 0;
    atomic_store_explicit(&w->spares->hurry, true, memory_order_relaxed); // nothing else runs yet
    if (w->files->spare_count == 0)
        err = wal_spares_make(w->spares);
    if (!err)
        err = begin_batch(w, true, WAL_BLOCK_BYTES);
    if (err) {
        why_set(why,
                "cannot make the log's first segment (%" PRIu64 " bytes) in %s: %s; nothing was "
                "written",
                w->files->segment_bytes, w->files->dir, why_errno(err, words, sizeof words));
        return err;
    }
    return write_batch(w, true, &times);
}

static int continue_segment(struct wal_writer *w, const struct wal_tail *tail, struct why *why)
{
    char name[WAL_NAME_BYTES], words[64];
    w->segment = w->files->segment[w->files->count - 1];
    w->offset = tail->offset;
    w->sequence = tail->sequence;
    w->previous = tail->previous;
    w->hard_state = tail->hard_state;
    w->last_index = w->appended_index = tail->last_index;
    w->last_term = w->appended_term = tail->last_term;
    wal_segment_name(w->segment.number, name);
    wal_path(w->files->dir, name, w->path);
    int err = open_to_write(w->files, w->path, &w->file);
    // What a process that was killed had written and not synced was read back as ours: from here on
    // others build on it, so it must be durable.
    if (!err)
        err = rt_file_datasync(w->file);
    if (!err)
        err = rt_sync_dir(w->files->dir);
    if (err)
        why_set(why, "cannot go on with %s: %s", w->path, why_errno(err, words, sizeof words));
    return err;
}

int wal_writer_open(struct wal_writer *w, const struct wal_tail *tail, struct why *why)
{
    int err = wal_batch_init(&w->batch);
    if (err) {
        why_set(why, "no memory for the log's buffer");
        return err;
    }
    rt_random(&w->salt, sizeof w->salt);
    w->one_call = w->files->direct;
    return w->files->count > 0 ? continue_segment(w, tail, why) : begin_first_segment(w, why);
}

void wal_writer_close(struct wal_writer *w)
{
    wal_batch_deinit(&w->batch);
    if (w->file)
        (void)rt_file_close(w->file); // everything in it was synced
    w->file = NULL;
}
