/* kv/store/watch_hub.c: the hub's goroutine and who is SYNCED. See watch_hub.h. */
#include "kv/store/watch_hub.h"
#include "kv/store/event.h"
#include "kv/store/limits.h"
#include "kv/store/state.h"
#include <assert.h>
#include <rt/go.h>

/* ---- Who is synced ---- */

static uint32_t bucket_of(const struct watch_hub *hub, struct rt_bytes key)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325); // FNV-1a
    for (size_t i = 0; i < key.len; i++)
        h = (h ^ key.data[i]) * UINT64_C(0x100000001b3);
    return (uint32_t)(h ^ h >> 32) & (hub->bucket_count - 1);
}

static void rehash(struct watch_hub *hub, uint32_t bucket_count)
{
    struct watch **old = hub->by_key;
    uint32_t old_count = hub->bucket_count;
    hub->by_key = rt_alloc_zero(bucket_count * sizeof *hub->by_key);
    if (!hub->by_key)
        rt_fatal("out of memory: a table of %u watches", bucket_count);
    hub->bucket_count = bucket_count;
    for (uint32_t i = 0; i < old_count; i++)
        for (struct watch *w = old[i], *next; w; w = next) {
            uint32_t b = bucket_of(hub, w->interval.keys.from);
            next = w->key_next;
            w->key_next = hub->by_key[b];
            hub->by_key[b] = w;
        }
    rt_free(old);
}

void hub_join(struct watch_hub *hub, struct watch *w)
{
    w->flow = WATCH_SYNCED;
    if (w->interval.keys.kind != KEYS_ONE) {
        interval_insert(&hub->ranges, &w->interval);
        return;
    }
    if (hub->key_count >= hub->bucket_count)
        rehash(hub, hub->bucket_count * 2);
    uint32_t b = bucket_of(hub, w->interval.keys.from);
    w->key_next = hub->by_key[b];
    hub->by_key[b] = w;
    hub->key_count++;
}

void hub_leave(struct watch_hub *hub, struct watch *w)
{
    assert(w->flow == WATCH_SYNCED);
    if (w->interval.keys.kind != KEYS_ONE) {
        interval_remove(&hub->ranges, &w->interval);
        return;
    }
    struct watch **link = &hub->by_key[bucket_of(hub, w->interval.keys.from)];
    while (*link != w)
        link = &(*link)->key_next;
    *link = w->key_next;
    hub->key_count--;
}

void hub_append_behind(struct watch_hub *hub, struct watch *w)
{
    struct store_watch_stream *stream = w->stream;
    w->behind_next = NULL;
    w->behind_link = stream->behind_end;
    *stream->behind_end = w;
    stream->behind_end = &w->behind_next;
    rt_counter_add(hub->s->metrics.slow_watchers, 1);
}

void hub_fall_behind(struct watch_hub *hub, struct watch *w)
{
    struct store_watch_stream *stream = w->stream;
    hub_leave(hub, w);
    w->flow = WATCH_BEHIND;
    hub_append_behind(hub, w);
    rt_mutex_lock(&stream->lock);
    w->after_seq = stream->pushed_seq;
    stream->look = true;
    rt_cond_signal(&stream->readable);
    rt_mutex_unlock(&stream->lock);
}

/* ---- Handing out one entry ---- */

struct dispatch {
    struct watch_hub *hub;
    struct recent_entry *entry;
    struct event_row *rows;
    uint32_t row; // the one being looked at
    struct watch *touched;
    struct rt_buf *bufs[2]; // encoded without and with the pairs before, when first wanted
    struct rt_bytes *events[2];
};

bool watch_wants(const struct watch *w, struct rev rev)
{
    if (rev.main < w->next_revision)
        return false;
    return !(w->filters & (rev.tombstone ? STORE_WATCH_NO_DELETE : STORE_WATCH_NO_PUT));
}

static void encode(struct dispatch *d, bool with_prev)
{
    uint32_t n = d->entry->row_count;
    if (!d->rows) {
        d->rows = rt_alloc(n * sizeof *d->rows);
        if (!d->rows)
            rt_fatal("out of memory: %u events", n);
        for (uint32_t i = 0; i < n; i++)
            d->rows[i] = (struct event_row){d->entry->rows[i].rev, d->entry->rows[i].bytes};
    }
    d->events[with_prev] = rt_alloc(n * sizeof(struct rt_bytes));
    if (!d->events[with_prev])
        rt_fatal("out of memory: %u events", n);
    d->bufs[with_prev] = event_encode(d->hub->s, d->rows, n, with_prev, d->events[with_prev]);
}

static void add_event(struct dispatch *d, struct watch *w)
{
    struct queued *q = w->building;
    if (!d->bufs[w->prev_kv])
        encode(d, w->prev_kv);
    if (!q) {
        q = w->building = queued_new(STORE_WATCH_EVENTS, w->id, d->entry->revision);
        q->batch.buf = rt_buf_ref(d->bufs[w->prev_kv]);
        w->building_cap = 0;
        w->touched_next = d->touched;
        d->touched = w;
    }
    struct store_watch_batch *b = &q->batch;
    if (b->event_count == w->building_cap) {
        w->building_cap = w->building_cap ? 2 * w->building_cap : 1;
        b->events = rt_realloc(b->events, w->building_cap * sizeof *b->events);
        if (!b->events)
            rt_fatal("out of memory: %u events", w->building_cap);
    }
    struct rt_bytes event = d->events[w->prev_kv][d->row];
    b->events[b->event_count++] = event;
    b->event_bytes += event.len;
}

static void touch(struct dispatch *d, struct watch *w)
{
    if (watch_wants(w, d->entry->rows[d->row].rev))
        add_event(d, w);
}

static void touch_interval(void *arg, struct interval *it)
{
    static_assert(offsetof(struct watch, interval) == 0, "an interval is the head of its watch");
    touch(arg, (struct watch *)it);
}

static void dispatch_rows(struct dispatch *d)
{
    struct watch_hub *hub = d->hub;
    for (d->row = 0; d->row < d->entry->row_count; d->row++) {
        struct rt_bytes key = event_key(d->entry->rows[d->row].bytes);
        for (struct watch *w = hub->key_count ? hub->by_key[bucket_of(hub, key)] : NULL; w;
             w = w->key_next)
            if (rt_bytes_equal(w->interval.keys.from, key))
                touch(d, w);
        interval_stab(&hub->ranges, key, touch_interval, d);
    }
}

static void deliver(struct dispatch *d)
{
    for (struct watch *w = d->touched, *next; w; w = next) {
        struct queued *q = w->building;
        uint32_t events = q->batch.event_count;
        next = w->touched_next;
        w->building = NULL;
        w->active = true;
        if (stream_push(w->stream, q)) {
            w->next_revision = d->entry->revision + 1;
            rt_counter_add(d->hub->s->metrics.events, events);
        } else { // it gets this revision and all after it from the store, later
            w->next_revision = d->entry->revision;
            hub_fall_behind(d->hub, w);
        }
    }
}

static void dispatch_entry(struct watch_hub *hub, struct recent_entry *e)
{
    struct dispatch d = {.hub = hub, .entry = e};
    assert(e->row_count == 0 || e->revision > hub->dispatched);
    dispatch_rows(&d);
    deliver(&d);
    if (e->revision > hub->dispatched)
        hub->dispatched = e->revision;
    for (int i = 0; i < 2; i++) {
        rt_buf_unref(d.bufs[i]);
        rt_free(d.events[i]);
    }
    rt_free(d.rows);
}

/* ---- Moving on ---- */

void hub_skip_ahead(struct watch_hub *hub)
{
    struct recent *r = &hub->s->recent;
    uint64_t tail = recent_tail(r);
    struct recent_entry *e = tail ? recent_at(r, tail - 1) : NULL;
    // Entries up to the tail reach at least as far as what is published, or there are none.
    int64_t reached = e ? e->revision : atomic_load(&hub->s->revision);
    recent_entry_unref(e);
    hub->pos = tail;
    if (reached > hub->dispatched)
        hub->dispatched = reached;
}

static void everyone_behind(struct watch_hub *hub)
{
    for (struct store_watch_stream *stream = hub->streams; stream; stream = stream->next)
        for (uint32_t i = 0; i < stream->bucket_count; i++)
            for (struct watch *w = stream->by_id[i]; w; w = w->id_next)
                if (w->flow == WATCH_SYNCED) {
                    if (w->next_revision <= hub->dispatched)
                        w->next_revision = hub->dispatched + 1;
                    hub_fall_behind(hub, w);
                }
}

static void answer_progress(struct watch_hub *hub)
{
    for (struct store_watch_stream *w = hub->streams; w && hub->progress_count; w = w->next)
        if (w->progress_wanted)
            hub_progress(hub, w);
}

/* One entry. False when there is none. */
static bool step_locked(struct watch_hub *hub)
{
    struct recent *r = &hub->s->recent;
    if (hub->key_count == 0 && hub->ranges.count == 0) {
        hub_skip_ahead(hub);
        answer_progress(hub);
        return false;
    }
    struct recent_entry *e = recent_at(r, hub->pos);
    if (!e && hub->pos >= recent_tail(r)) {
        answer_progress(hub);
        return false;
    }
    if (!e) { // the log went on without us
        everyone_behind(hub);
        hub_skip_ahead(hub);
        return true;
    }
    dispatch_entry(hub, e);
    hub->pos++;
    recent_entry_unref(e);
    return true;
}

static void run(void *arg)
{
    struct watch_hub *hub = arg;
    for (;;) {
        doorbell_listen(&hub->bell);
        rt_mutex_lock(&hub->lock);
        bool stop = hub->stop, more = !stop && step_locked(hub);
        rt_mutex_unlock(&hub->lock);
        if (stop)
            break;
        if (!more)
            doorbell_wait(&hub->bell, RT_FOREVER);
    }
    rt_waitgroup_done(&hub->running);
}

/* ---- For the rest of the store ---- */

struct watch_hub *watch_hub_new(struct store *s)
{
    struct watch_hub *hub = rt_alloc_zero(sizeof *hub);
    hub->s = s;
    rehash(hub, 64);
    return hub;
}

int watch_hub_start(struct watch_hub *hub, struct why *why)
{
    hub->dispatched = atomic_load(&hub->s->revision);
    rt_waitgroup_add(&hub->running, 1);
    int err = rt_go("store-watch-hub", run, hub); // ends when watch_hub_stop says so
    if (err) {
        rt_waitgroup_done(&hub->running);
        why_set(why, "cannot start the watch hub: there are too many goroutines");
    }
    return err;
}

void watch_hub_stop(struct watch_hub *hub)
{
    rt_mutex_lock(&hub->lock);
    assert(!hub->streams); // the caller closed them
    hub->stop = true;
    rt_mutex_unlock(&hub->lock);
    doorbell_ring(&hub->bell);
    rt_waitgroup_wait(&hub->running, RT_FOREVER);
}

void watch_hub_free(struct watch_hub *hub)
{
    rt_free(hub->by_key);
    rt_free(hub);
}

void watch_hub_ring(struct watch_hub *hub)
{
    if (atomic_load(&hub->watch_count))
        doorbell_ring(&hub->bell);
}

void watch_hub_resync(struct watch_hub *hub)
{
    rt_mutex_lock(&hub->lock);
    everyone_behind(hub);
    hub_skip_ahead(hub);
    rt_mutex_unlock(&hub->lock);
    doorbell_ring(&hub->bell);
}
