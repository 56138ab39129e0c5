/* kv/store/store.c: open, close and the numbers that everybody asks for.
 *
 *     dir/lock      locked while a process has the store open
 *     dir/current   the name of the folder with the database: "db-1", "db-2", ...
 *     dir/db-N      LMDB's two files
 *
 * An image is received into the next folder; replacing `current` is what makes it the database, so
 * after a crash the directory has the old one or the new one. Other folders are left-overs. */
#include "kv/store/folder.h"
#include "kv/store/limits.h"
#include "kv/store/load.h"
#include "kv/store/state.h"
#include "kv/store/watch.h"
#include <assert.h>
#include <errno.h>

const char *store_error_words(int err)
{
    switch (err) {
#define X(name, number, words)                                                                     \
    case name:                                                                                     \
        return words;
        STORE_ERRORS(X)
#undef X
    default:
        return "an error the store does not know";
    }
}

static void set_options(struct store *s, const struct store_options *options)
{
    struct store_options *o = &s->options;
    *o = *options;
    s->dir = rt_strdup(options->dir);
    o->dir = s->dir;
    if (o->quota_bytes == 0)
        o->quota_bytes = STORE_QUOTA_DEFAULT;
    if (o->recent_bytes == 0)
        o->recent_bytes = STORE_RECENT_BYTES;
    if (o->flush_interval_ms == 0)
        o->flush_interval_ms = STORE_FLUSH_MS;
    if (o->lease_min_ttl_s <= 0)
        o->lease_min_ttl_s = 2;
    if (o->compact_slice_rows == 0)
        o->compact_slice_rows = STORE_COMPACT_ROWS;
    if (o->range_max_bytes == 0)
        o->range_max_bytes = STORE_RANGE_MAX_BYTES;
    if (!o->metrics)
        o->metrics = s->own_metrics = rt_metrics_new();
}

static void make_metrics(struct store *s)
{
    struct rt_metrics *m = s->options.metrics;
    struct store_metrics *x = &s->metrics;
    x->puts =
        rt_metrics_counter(m, "etcd_mvcc_put_total", "", "Puts applied outside transactions.");
    x->deletes = rt_metrics_counter(m, "etcd_mvcc_delete_total", "",
                                    "Deletes applied outside transactions.");
    x->txns = rt_metrics_counter(m, "etcd_mvcc_txn_total", "", "Transactions applied.");
    x->ranges = rt_metrics_counter(m, "etcd_mvcc_range_total", "", "Ranges answered.");
    x->keys = rt_metrics_gauge(m, "etcd_debugging_mvcc_keys_total", "", "Living keys.");
    x->revision =
        rt_metrics_gauge(m, "etcd_debugging_mvcc_current_revision", "", "Current revision.");
    x->compact_revision =
        rt_metrics_gauge(m, "etcd_debugging_mvcc_compact_revision", "", "Compact revision.");
    x->flush_lag = rt_metrics_gauge(m, "kvd_store_unflushed_bytes", "",
                                    "Effects in memory only, bounded by the recent log.");
    x->flushed_rows =
        rt_metrics_counter(m, "kvd_store_flushed_rows_total", "", "Rows written to the database.");
    x->removed_rows =
        rt_metrics_counter(m, "kvd_store_compacted_rows_total", "", "Rows removed by compactions.");
    x->watchers = rt_metrics_gauge(m, "etcd_debugging_mvcc_watcher_total", "", "Watches.");
    x->slow_watchers = rt_metrics_gauge(m, "etcd_debugging_mvcc_slow_watcher_total", "",
                                        "Watches that catch up from the store.");
    x->events = rt_metrics_counter(m, "etcd_debugging_mvcc_events_total", "",
                                   "Events handed to watch streams.");
    x->flush_seconds = rt_metrics_histogram(m, "kvd_store_flush_duration_seconds", "",
                                            "Durable batches.", 0.0001, 2, 16);
}

static void free_store(struct store *s)
{
    if (s->hub)
        watch_hub_free(s->hub);
    backend_close(&s->backend);
    flusher_free(s);
    if (s->recent.ring)
        recent_deinit(&s->recent);
    key_index_deinit(&s->index);
    leases_deinit(&s->leases);
    records_deinit(&s->records);
    apply_deinit(&s->apply);
    if (s->lock_file)
        rt_file_close(s->lock_file);
    if (s->own_metrics)
        rt_metrics_free(s->own_metrics);
    rt_free(s->dir);
    rt_free(s);
}

static int open_all(struct store *s, struct why *why)
{
    struct rt_string path = {NULL, 0, 0};
    int err = folder_lock(s->dir, &s->lock_file, why);
    if (!err)
        err = folder_current(s->dir, &path, why);
    if (!err)
        err = backend_open(&s->backend, rt_string_cstr(&path), why);
    if (!err)
        err = load_all(s, why);
    rt_string_deinit(&path);
    if (!err)
        err = flusher_start(s, why);
    return err;
}

int store_open(const struct store_options *options, struct store **out, struct why *why)
{
    struct store *s = rt_alloc_zero(sizeof *s);
    set_options(s, options);
    make_metrics(s);
    key_index_init(&s->index);
    leases_init(&s->leases, s->options.lease_min_ttl_s);
    recent_init(&s->recent, s->options.recent_bytes);
    rt_arena_init(&s->apply.arena);
    s->hub = watch_hub_new(s);
    int err = open_all(s, why);
    if (err) {
        free_store(s);
        return err;
    }
    err = watch_hub_start(s->hub, why);
    if (err) {
        flusher_stop(s);
        free_store(s);
        return err;
    }
    *out = s;
    return 0;
}

void store_close(struct store *s)
{
    watch_hub_stop(s->hub);
    flusher_stop(s);
    free_store(s);
}

int64_t store_revision(const struct store *s) { return atomic_load(&s->revision); }
int64_t store_compact_revision(const struct store *s) { return atomic_load(&s->compact_revision); }
uint64_t store_applied_index(const struct store *s) { return atomic_load(&s->applied_index); }
uint64_t store_applied_term(const struct store *s) { return atomic_load(&s->applied_term); }
uint64_t store_durable_index(const struct store *s)
{
    return atomic_load(&s->flusher.durable_index);
}
uint64_t store_durable_term(const struct store *s) { return atomic_load(&s->flusher.durable_term); }
bool store_no_space(const struct store *s) { return atomic_load(&s->flusher.no_space); }
int64_t store_size_bytes(const struct store *s) { return atomic_load(&s->backend.size_bytes); }
int64_t store_size_in_use_bytes(const struct store *s)
{
    return atomic_load(&s->backend.in_use_bytes);
}

int64_t store_quota_bytes(const struct store *s)
{
    return s->options.quota_bytes > 0 ? s->options.quota_bytes : 0;
}

bool store_quota_has(const struct store *s, int64_t cost)
{
    int64_t quota = store_quota_bytes(s);
    return quota == 0 || store_size_in_use_bytes(s) +
                                 (int64_t)recent_unflushed_bytes((struct recent *)&s->recent) +
                                 cost <
                             quota;
}
