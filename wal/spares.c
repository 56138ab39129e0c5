/* wal/spares.c: see spares.h. */
#include "wal/spares.h"
#include <assert.h>
#include <errno.h>
#include <rt/go.h>
#include <rt/time.h>
#include <stdio.h>
#include <string.h>

enum { FILL_PAUSE_NS = 2 * 1000 * 1000 }; // between steps: leaves the disk to the writer

static bool should_hurry(void *arg)
{
    struct wal_spares *k = arg;
    return atomic_load_explicit(&k->hurry, memory_order_relaxed) ||
           atomic_load_explicit(&k->stopping, memory_order_relaxed);
}

static void add_spare(struct wal_spares *k, uint64_t number)
{
    struct wal_files *f = k->files;
    rt_mutex_lock(&f->lock);
    assert(f->spare_count < WAL_SPARES_MAX);
    f->spare[f->spare_count++] = number;
    bool was_full = f->no_space;
    f->no_space = false;
    atomic_store_explicit(&k->has_space, true, memory_order_relaxed);
    rt_cond_broadcast(&f->spare_ready);
    rt_mutex_unlock(&f->lock);
    if (was_full)
        rt_log(k->log, RT_LOG_INFO, "the log has space again", rt_f_str("dir", f->dir));
}

int wal_spares_make(struct wal_spares *k)
{
    struct wal_files *f = k->files;
    char filling[WAL_PATH_BYTES], ready[WAL_PATH_BYTES], name[WAL_NAME_BYTES];
    uint64_t number = rt_random_u64(); // only has to differ from other spares
    wal_path(f->dir, WAL_FILLING_NAME, filling);
    wal_spare_name(number, name);
    wal_path(f->dir, name, ready);
    int err =
        wal_segment_fill(filling, f->segment_bytes, f->direct, FILL_PAUSE_NS, should_hurry, k);
    if (!err)
        err = rt_rename(filling, ready);
    if (!err)
        err = rt_sync_dir(f->dir);
    if (!err)
        add_spare(k, number);
    return err;
}

static void meet_full_disk(struct wal_spares *k)
{
    struct wal_files *f = k->files;
    rt_mutex_lock(&f->lock);
    bool news = !f->no_space;
    f->no_space = true;
    atomic_store_explicit(&k->has_space, false, memory_order_relaxed);
    rt_cond_broadcast(&f->spare_ready); // who is giving up
    rt_mutex_unlock(&f->lock);
    if (news)
        rt_log(k->log, RT_LOG_WARN,
               "no space for the log's next segment: writes are refused until "
               "there is",
               rt_f_str("dir", f->dir), rt_f_uint("segment_bytes", f->segment_bytes));
}

static _Noreturn void die(struct wal_spares *k, const char *doing, int err)
{
    char words[64];
    rt_fatal("the log in %s: %s: %s; the log cannot be kept in order, so this member stops. Check "
             "the disk, then start it again",
             k->files->dir, doing, why_errno(err, words, sizeof words));
}

static void make_wanted(struct wal_spares *k)
{
    rt_mutex_lock(&k->files->lock);
    bool enough = k->files->spare_count >= WAL_SPARES_WANTED;
    rt_mutex_unlock(&k->files->lock);
    if (enough)
        return;
    int err = wal_spares_make(k);
    if (err == -ENOSPC || err == -EDQUOT)
        meet_full_disk(k);
    else if (err)
        die(k, "making the next segment", err);
}

/* Take the oldest segment out of the list when nobody needs it. */
static bool let_go_of_oldest(struct wal_files *f, uint64_t index, struct wal_segment *gone,
                             bool *as_spare)
{
    rt_mutex_lock(&f->lock);
    bool go = f->count > 1 && f->segment[0].readers == 0 && f->segment[1].base_index <= index &&
              wal_places_last_in(&f->places, f->segment[0].number) <= index;
    if (go) {
        *gone = f->segment[0];
        *as_spare = gone->size_bytes == f->segment_bytes && f->spare_count < WAL_SPARES_MAX;
        f->count--;
        memmove(f->segment, f->segment + 1, f->count * sizeof *f->segment);
        wal_places_release(&f->places, f->segment[0].number);
    }
    rt_mutex_unlock(&f->lock);
    return go;
}

/* Oldest first, each made durable before the next: whatever a crash leaves has no gap in it. */
static void release_segments(struct wal_spares *k)
{
    struct wal_files *f = k->files;
    uint64_t index = atomic_load_explicit(&k->release, memory_order_acquire);
    struct wal_segment gone;
    bool as_spare;
    while (let_go_of_oldest(f, index, &gone, &as_spare)) {
        char from[WAL_PATH_BYTES], to[WAL_PATH_BYTES], name[WAL_NAME_BYTES];
        wal_segment_name(gone.number, name);
        wal_path(f->dir, name, from);
        wal_spare_name(gone.number, name);
        wal_path(f->dir, name, to);
        int err = as_spare ? rt_rename(from, to) : rt_unlink(from);
        if (!err)
            err = rt_sync_dir(f->dir);
        if (err)
            die(k, "releasing a segment", err);
        if (as_spare)
            add_spare(k, gone.number);
    }
}

static void keep(void *arg)
{
    struct wal_spares *k = arg;
    while (!atomic_load_explicit(&k->stopping, memory_order_acquire)) {
        release_segments(k);
        make_wanted(k);
        bool full = !atomic_load_explicit(&k->has_space, memory_order_relaxed);
        (void)rt_mailbox_take(&k->wake, full ? rt_after_ns(WAL_SPACE_RETRY_NS) : RT_FOREVER);
    }
    rt_note_set(&k->stopped);
}

int wal_spares_start(struct wal_spares *k) { return rt_go("wal-keeper", keep, k); }

void wal_spares_stop(struct wal_spares *k)
{
    atomic_store_explicit(&k->stopping, true, memory_order_release);
    rt_mailbox_wake(&k->wake);
    rt_note_wait(&k->stopped, RT_FOREVER);
}

int wal_spares_take(struct wal_spares *k, char *path)
{
    struct wal_files *f = k->files;
    char name[WAL_NAME_BYTES];
    rt_mutex_lock(&f->lock);
    if (f->spare_count == 0)
        atomic_store_explicit(&k->hurry, true, memory_order_relaxed);
    while (f->spare_count == 0 && !(f->giving_up && f->no_space))
        rt_cond_wait(&f->spare_ready, &f->lock, RT_FOREVER);
    atomic_store_explicit(&k->hurry, false, memory_order_relaxed);
    bool got = f->spare_count > 0;
    if (got)
        wal_spare_name(f->spare[--f->spare_count], name);
    rt_mutex_unlock(&f->lock);
    rt_mailbox_wake(&k->wake); // make the next one
    if (!got)
        return WAL_NO_SPACE;
    wal_path(f->dir, name, path);
    return 0;
}
