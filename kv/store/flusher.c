/* kv/store/flusher.c: see flusher.h. What it does next, in this order: a flush that is due (enough
 * bytes, old enough, somebody waits, or the end); a slice of a compaction; sleep until one of them
 * can be. */
#include "kv/store/flusher.h"
#include "kv/store/compact.h"
#include "kv/store/limits.h"
#include "kv/store/state.h"
#include <assert.h>
#include <errno.h>
#include <rt/go.h>

enum {
    PINS_RETRY_MS = 20, // rows are still being read: look again
    INDEX_ONLY_MS =
        2000, // a new index without effects is written this often, so that the log can go
};

static void tell_progress(struct flusher *f)
{
    rt_mutex_lock(&f->lock);
    rt_cond_broadcast(&f->moved);
    rt_mutex_unlock(&f->lock);
}

/* Space for the batch, or false: try again later. */
static bool secure(struct store *s, const struct backend_write *w)
{
    struct flusher *f = &s->flusher;
    char buf[128];
    int err = backend_secure(&s->backend, backend_space_needed(w));
    if (err && err != -ENOSPC && err != -EDQUOT && err != -EFBIG)
        rt_fatal("cannot grow the database in %s: %s", s->dir, why_errno(err, buf, sizeof buf));
    if (err) {
        if (!atomic_load(&f->no_space))
            rt_log(s->options.log, RT_LOG_WARN,
                   "no disk space for the database: writes are refused "
                   "until there is",
                   rt_f_str("dir", s->dir), rt_f_uint("needed_bytes", backend_space_needed(w)));
        atomic_store(&f->no_space, true);
        f->retry_ns = rt_now_ns() + STORE_SPACE_RETRY_MS * RT_MS;
        return false;
    }
    if (atomic_load(&f->no_space))
        rt_log(s->options.log, RT_LOG_INFO, "there is disk space for the database again",
               rt_f_str("dir", s->dir));
    atomic_store(&f->no_space, false);
    return true;
}

static void now_durable(struct store *s, const struct backend_state *state)
{
    struct flusher *f = &s->flusher;
    f->state = *state;
    atomic_store(&f->durable_term, state->term);
    atomic_store(&f->durable_index, state->index);
    atomic_store(&f->compact_finished, state->compact_finished);
    tell_progress(f);
}

/* ---- Flushing ---- */

static bool is_waited_for(struct flusher *f)
{
    rt_mutex_lock(&f->lock);
    bool yes = f->hurry > 0 || f->stop;
    rt_mutex_unlock(&f->lock);
    return yes;
}

/* When the next flush is due; RT_FOREVER when nothing waits. */
static int64_t flush_due(struct store *s)
{
    struct flusher *f = &s->flusher;
    int64_t interval_ns = s->options.flush_interval_ms * RT_MS;
    int64_t oldest_ns = recent_oldest_ns(&s->recent), due_ns = RT_FOREVER;
    if (oldest_ns != RT_FOREVER)
        due_ns = oldest_ns + interval_ns;
    else if (atomic_load(&s->applied_index) > f->state.index)
        due_ns = f->last_flush_ns + INDEX_ONLY_MS * RT_MS;
    if (due_ns == RT_FOREVER)
        return due_ns;
    if (recent_unflushed_bytes(&s->recent) >= STORE_FLUSH_BYTES || is_waited_for(f) ||
        recent_is_full(&s->recent))
        due_ns = 0;
    return due_ns > f->retry_ns ? due_ns : f->retry_ns;
}

static void flush(struct store *s)
{
    struct flusher *f = &s->flusher;
    int64_t began_ns = rt_now_ns();
    uint64_t rows = 0;
    f->batch.index = f->state.index;
    f->batch.term = f->state.term;
    f->batch.revision = f->state.revision;
    f->batch.compact = f->state.compact_scheduled;
    if (!recent_gather(&s->recent, STORE_FLUSH_BYTES, STORE_FLUSH_ENTRIES, &f->batch))
        return;
    struct backend_write w = {.entries = f->batch.entries, .count = f->batch.count};
    w.state = f->state;
    w.state.index = f->batch.index;
    w.state.term = f->batch.term;
    w.state.revision = f->batch.revision;
    w.state.compact_scheduled = f->batch.compact;
    assert(w.state.index >= f->state.index);
    assert(w.state.revision >= f->state.revision);
    if (!secure(s, &w)) {
        recent_batch_drop(&f->batch);
        return;
    }
    backend_commit(&s->backend, &w);
    for (uint32_t i = 0; i < w.count; i++)
        rows += w.entries[i]->row_count;
    recent_flushed(&s->recent, &f->batch);
    now_durable(s, &w.state);
    f->last_flush_ns = rt_now_ns();
    rt_counter_add(s->metrics.flushed_rows, (int64_t)rows);
    rt_histogram_observe_ns(s->metrics.flush_seconds, f->last_flush_ns - began_ns);
    rt_gauge_set(s->metrics.flush_lag, (int64_t)recent_unflushed_bytes(&s->recent));
}

/* ---- Compacting ---- */

/* When the next slice may run; RT_FOREVER when there is nothing to do. */
static int64_t slice_due(struct flusher *f)
{
    int64_t scheduled = f->state.compact_scheduled;
    if (f->compaction.revision == 0 && scheduled > 0 && scheduled > f->state.compact_finished)
        compaction_begin(&f->compaction, scheduled);
    if (f->compaction.revision == 0)
        return RT_FOREVER;
    return f->retry_ns > f->pins_retry_ns ? f->retry_ns : f->pins_retry_ns;
}

static void slice(struct store *s)
{
    struct flusher *f = &s->flusher;
    struct compaction *c = &f->compaction;
    int64_t now_ns = rt_now_ns();
    if (c->written == c->removed_count && !c->walked) {
        if (!pins_allow(&s->pins, c->revision, now_ns)) {
            f->pins_retry_ns = now_ns + PINS_RETRY_MS * RT_MS;
            return;
        }
        compaction_collect(s, c);
    }
    uint32_t n = c->removed_count - c->written;
    if (n > s->options.compact_slice_rows)
        n = s->options.compact_slice_rows;
    bool last = c->walked && c->written + n == c->removed_count;
    struct backend_write w = {.removed = c->removed + c->written, .removed_count = n};
    w.state = f->state;
    if (last)
        w.state.compact_finished = c->revision;
    if (!secure(s, &w)) // later: what is out of the index is remembered
        return;
    backend_commit(&s->backend, &w);
    rt_counter_add(s->metrics.removed_rows, n);
    c->written += n;
    if (last) {
        rt_free(c->removed);
        *c = (struct compaction){.resume = c->resume};
    }
    now_durable(s, &w.state);
}

/* ---- The goroutine ---- */

static bool begin_work(struct flusher *f, bool *stop)
{
    rt_mutex_lock(&f->lock);
    *stop = f->stop;
    f->busy = !f->paused;
    bool may = f->busy;
    rt_mutex_unlock(&f->lock);
    return may;
}

static void end_work(struct flusher *f)
{
    rt_mutex_lock(&f->lock);
    f->busy = false;
    rt_cond_broadcast(&f->moved);
    rt_mutex_unlock(&f->lock);
}

/* One step of work. Returns when to come again: 0 at once, RT_FOREVER when rung for. */
static int64_t step(struct store *s, bool stop)
{
    struct flusher *f = &s->flusher;
    int64_t now_ns = rt_now_ns(), flush_ns = flush_due(s), slice_ns = slice_due(f);
    if (flush_ns <= now_ns) {
        flush(s);
        return 0;
    }
    if (stop) // what is left finds no space; the log has it
        return RT_FOREVER;
    if (slice_ns <= now_ns) {
        slice(s);
        return 0;
    }
    return flush_ns < slice_ns ? flush_ns : slice_ns;
}

static void run(void *arg)
{
    struct store *s = arg;
    struct flusher *f = &s->flusher;
    for (;;) {
        int64_t next_ns = RT_FOREVER;
        bool stop;
        doorbell_listen(&f->bell);
        if (begin_work(f, &stop)) {
            next_ns = step(s, stop);
            end_work(f);
        }
        if (stop && next_ns == RT_FOREVER)
            break;
        if (next_ns)
            doorbell_wait(&f->bell, next_ns);
    }
    rt_waitgroup_done(&f->running);
}

int flusher_start(struct store *s, struct why *why)
{
    struct flusher *f = &s->flusher;
    rt_waitgroup_add(&f->running, 1);
    int err = rt_go("store-flusher", run, s); // ends when flusher_stop says so
    if (err) {
        rt_waitgroup_done(&f->running);
        why_set(why, "cannot start the store's flusher: there are too many goroutines");
    }
    return err;
}

void flusher_reset(struct store *s, const struct backend_state *state)
{
    struct flusher *f = &s->flusher;
    if (!f->batch.entries) {
        f->batch.entries = rt_alloc(STORE_FLUSH_ENTRIES * sizeof(struct recent_entry *));
        if (!f->batch.entries)
            rt_fatal("out of memory: the flusher's batch");
    }
    f->compaction.revision = 0;
    f->compaction.removed_count = f->compaction.written = 0;
    now_durable(s, state);
}

void flusher_stop(struct store *s)
{
    struct flusher *f = &s->flusher;
    rt_mutex_lock(&f->lock);
    f->stop = true;
    rt_cond_broadcast(&f->moved);
    rt_mutex_unlock(&f->lock);
    doorbell_ring(&f->bell);
    rt_waitgroup_wait(&f->running, RT_FOREVER);
}

void flusher_free(struct store *s)
{
    compaction_deinit(&s->flusher.compaction);
    rt_free(s->flusher.batch.entries);
}

void flusher_pause(struct store *s)
{
    struct flusher *f = &s->flusher;
    rt_mutex_lock(&f->lock);
    f->paused = true;
    while (f->busy)
        rt_cond_wait(&f->moved, &f->lock, RT_FOREVER);
    rt_mutex_unlock(&f->lock);
}

void flusher_resume(struct store *s)
{
    struct flusher *f = &s->flusher;
    rt_mutex_lock(&f->lock);
    f->paused = false;
    rt_mutex_unlock(&f->lock);
    doorbell_ring(&f->bell);
}

/* ---- Waiting for it ---- */

static int wait_until(struct store *s, bool (*reached)(struct store *s, int64_t goal), int64_t goal,
                      int64_t deadline_ns)
{
    struct flusher *f = &s->flusher;
    int err = 0;
    rt_mutex_lock(&f->lock);
    f->hurry++;
    rt_mutex_unlock(&f->lock);
    doorbell_ring(&f->bell);
    rt_mutex_lock(&f->lock);
    while (!reached(s, goal) && !err)
        err = rt_cond_wait(&f->moved, &f->lock, deadline_ns);
    f->hurry--;
    rt_mutex_unlock(&f->lock);
    return reached(s, goal) ? 0 : STORE_TIMEOUT;
}

static bool is_durable(struct store *s, int64_t index)
{
    return atomic_load(&s->flusher.durable_index) >= (uint64_t)index;
}

static bool is_compacted(struct store *s, int64_t revision)
{
    return revision <= 0 || // nothing is at or below it, so nothing is removed
           atomic_load(&s->flusher.compact_finished) >= revision;
}

int store_sync(struct store *s, int64_t deadline_ns)
{
    return wait_until(s, is_durable, (int64_t)atomic_load(&s->applied_index), deadline_ns);
}

int store_wait_compacted(struct store *s, int64_t revision, int64_t deadline_ns)
{
    return wait_until(s, is_compacted, revision, deadline_ns);
}

int store_wait_room(struct store *s, int64_t deadline_ns)
{
    return recent_wait_room(&s->recent, deadline_ns);
}
