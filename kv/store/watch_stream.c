/* kv/store/watch_stream.c: one client's stream of watches: the front door's calls and the queue. */
#include "kv/store/limits.h"
#include "kv/store/state.h"
#include "kv/store/watch_hub.h"
#include <assert.h>

/* ---- The queue ---- */

struct queued *queued_new(enum store_watch_batch_kind kind, int64_t id, int64_t revision)
{
    struct queued *q = rt_alloc_zero(sizeof *q);
    q->batch.kind = kind;
    q->batch.id = id;
    q->batch.revision = revision;
    return q;
}

void queued_free(struct queued *q)
{
    store_watch_batch_deinit(&q->batch);
    rt_free(q);
}

void store_watch_batch_deinit(struct store_watch_batch *b)
{
    rt_free(b->events);
    rt_buf_unref(b->buf);
    b->events = NULL;
    b->buf = NULL;
    b->event_count = 0;
}

bool stream_push(struct store_watch_stream *w, struct queued *q)
{
    bool events = q->batch.kind == STORE_WATCH_EVENTS;
    rt_mutex_lock(&w->lock);
    bool full = events && (w->count - w->control_count >= STORE_WATCH_QUEUE ||
                           w->bytes >= STORE_WATCH_QUEUE_BYTES);
    if (!full && !w->shut) {
        q->seq = ++w->pushed_seq;
        q->next = NULL;
        *w->last = q;
        w->last = &q->next;
        w->count++;
        w->control_count += !events;
        w->bytes += q->batch.event_bytes;
        q = NULL;
        rt_cond_signal(&w->readable);
    }
    rt_mutex_unlock(&w->lock);
    if (q)
        queued_free(q); // full: caught up later; shut: nobody reads any more
    return !full;
}

static bool pop_locked(struct store_watch_stream *w, struct store_watch_batch *out)
{
    struct queued *q = w->first;
    if (!q)
        return false;
    w->first = q->next;
    if (!w->first)
        w->last = &w->first;
    w->count--;
    w->bytes -= q->batch.event_bytes;
    if (q->batch.kind != STORE_WATCH_EVENTS) {
        w->control_count--;
        rt_cond_signal(&w->writable);
    }
    w->popped_seq = q->seq;
    *out = q->batch;
    rt_free(q);
    return true;
}

/* Events of a watch that is over are not told any more. */
static void forget_events(struct store_watch_stream *w, int64_t id)
{
    rt_mutex_lock(&w->lock);
    for (struct queued **link = &w->first; *link;) {
        struct queued *q = *link;
        if (q->batch.id != id || q->batch.kind == STORE_WATCH_CREATED) {
            link = &q->next;
            continue;
        }
        *link = q->next;
        if (!q->next)
            w->last = link;
        w->count--;
        w->control_count -= q->batch.kind != STORE_WATCH_EVENTS;
        w->bytes -= q->batch.event_bytes;
        queued_free(q);
    }
    if (!w->first)
        w->popped_seq = w->pushed_seq;
    rt_mutex_unlock(&w->lock);
}

static void wait_control_room(struct store_watch_stream *w)
{
    rt_mutex_lock(&w->lock);
    while (w->control_count >= STORE_WATCH_CONTROL && !w->shut)
        rt_cond_wait(&w->writable, &w->lock, RT_FOREVER);
    rt_mutex_unlock(&w->lock);
}

/* ---- Watches of the stream, by id ---- */

static struct watch **bucket(struct store_watch_stream *w, int64_t id)
{
    uint64_t h = (uint64_t)id * UINT64_C(0x9E3779B97F4A7C15);
    return &w->by_id[(uint32_t)(h >> 32) & (w->bucket_count - 1)];
}

static struct watch *find(struct store_watch_stream *w, int64_t id)
{
    struct watch *it = *bucket(w, id);
    while (it && it->id != id)
        it = it->id_next;
    return it;
}

static void rehash(struct store_watch_stream *w, uint32_t bucket_count)
{
    struct watch **old = w->by_id;
    uint32_t old_count = w->bucket_count;
    w->by_id = rt_alloc_zero(bucket_count * sizeof *w->by_id);
    if (!w->by_id)
        rt_fatal("out of memory: a table of %u watches", bucket_count);
    w->bucket_count = bucket_count;
    for (uint32_t i = 0; i < old_count; i++)
        for (struct watch *it = old[i], *next; it; it = next) {
            struct watch **b = bucket(w, it->id);
            next = it->id_next;
            it->id_next = *b;
            *b = it;
        }
    rt_free(old);
}

static void add(struct store_watch_stream *w, struct watch *it)
{
    if (w->watch_count >= w->bucket_count)
        rehash(w, w->bucket_count * 2);
    struct watch **b = bucket(w, it->id);
    it->id_next = *b;
    *b = it;
    w->watch_count++;
    atomic_fetch_add(&w->hub->watch_count, 1);
    rt_counter_add(w->hub->s->metrics.watchers, 1);
}

void stream_drop(struct store_watch_stream *w, struct watch *it)
{
    struct watch **link = bucket(w, it->id);
    while (*link != it)
        link = &(*link)->id_next;
    *link = it->id_next;
    w->watch_count--;
    if (it->behind_link) {
        *it->behind_link = it->behind_next;
        if (it->behind_next)
            it->behind_next->behind_link = it->behind_link;
        else
            w->behind_end = it->behind_link;
        rt_counter_add(w->hub->s->metrics.slow_watchers, -1);
    }
    atomic_fetch_sub(&w->hub->watch_count, 1);
    rt_counter_add(w->hub->s->metrics.watchers, -1);
    rt_free(it);
}

/* ---- Create ---- */

static struct watch *watch_new(struct store_watch_stream *w, const struct store_watch_options *o)
{
    struct rt_bytes key = o->key.len ? o->key : RT_BYTES("\0");
    struct watch *it = rt_alloc_zero(sizeof *it + key.len + o->range_end.len);
    memcpy(it->bytes, key.data, key.len);
    if (o->range_end.len)
        memcpy(it->bytes + key.len, o->range_end.data, o->range_end.len);
    it->interval.keys =
        request_keys(rt_bytes(it->bytes, key.len), rt_bytes(it->bytes + key.len, o->range_end.len));
    it->stream = w;
    it->filters = o->filters;
    it->prev_kv = o->prev_kv;
    it->progress_notify = o->progress_notify;
    return it;
}

static int refuse(struct store_watch_stream *w, const struct store_watch_options *o)
{
    struct rt_bytes key = o->key.len ? o->key : RT_BYTES("\0");
    struct key_range keys = request_keys(key, o->range_end);
    if (keys.kind == KEYS_BETWEEN && rt_bytes_compare(keys.from, keys.to) >= 0)
        return STORE_WATCH_EMPTY_RANGE;
    if (o->start_revision < 0)
        return STORE_COMPACTED;
    if (w->watch_count >= STORE_WATCHES)
        return STORE_WATCH_TOO_MANY;
    if (o->id != 0 && find(w, o->id))
        return STORE_WATCH_DUPLICATE_ID;
    return 0;
}

static int64_t choose_id(struct store_watch_stream *w, int64_t wanted)
{
    if (wanted)
        return wanted;
    while (find(w, w->next_id))
        w->next_id++;
    return w->next_id++;
}

static void begin(struct store_watch_stream *w, struct watch *it, int64_t start)
{
    struct watch_hub *hub = w->hub;
    int64_t current = atomic_load(&hub->s->revision);
    if (atomic_load(&hub->watch_count) == 0)
        hub_skip_ahead(hub);
    add(w, it);
    it->next_revision = start ? start : current + 1;
    // What the client may take for its place: everything up to there is behind it.
    struct queued *q =
        queued_new(STORE_WATCH_CREATED, it->id, start && start <= current ? start - 1 : current);
    stream_push(w, q);
    hub_join(hub, it);
    if (it->next_revision <= hub->dispatched ||
        (start && start < atomic_load(&hub->s->compact_revision)))
        hub_fall_behind(hub, it);
}

int store_watch_create(struct store_watch_stream *w, const struct store_watch_options *options)
{
    struct watch_hub *hub = w->hub;
    struct watch *it = watch_new(w, options);
    wait_control_room(w);
    rt_mutex_lock(&hub->lock);
    int err = refuse(w, options);
    if (!err) {
        it->id = choose_id(w, options->id);
        begin(w, it, options->start_revision);
        it = NULL;
    } else {
        struct queued *q = queued_new(STORE_WATCH_CREATED, -1, atomic_load(&hub->s->revision));
        q->batch.code = err;
        stream_push(w, q);
    }
    rt_mutex_unlock(&hub->lock);
    rt_free(it);
    doorbell_ring(&hub->bell);
    return err;
}

/* ---- Cancel, progress ---- */

void store_watch_cancel(struct store_watch_stream *w, int64_t id)
{
    struct watch_hub *hub = w->hub;
    wait_control_room(w);
    rt_mutex_lock(&hub->lock);
    struct watch *it = find(w, id);
    if (it && !it->canceled) {
        forget_events(w, id);
        stream_push(w, queued_new(STORE_WATCH_CANCELED, id, atomic_load(&hub->s->revision)));
        if (it->flow == WATCH_SYNCED)
            hub_leave(hub, it);
        if (it->catching_up)
            it->canceled = true; // the consumer ends it
        else
            stream_drop(w, it);
        if (w->progress_wanted)
            hub_progress(hub, w);
    }
    rt_mutex_unlock(&hub->lock);
}

void hub_progress(struct watch_hub *hub, struct store_watch_stream *w)
{
    if (w->watch_count == 0) {
        w->progress_wanted = 0;
        hub->progress_count--;
        return;
    }
    if (hub->dispatched < w->progress_wanted || w->behind)
        return;
    for (uint32_t i = 0; i < w->bucket_count; i++)
        for (struct watch *it = w->by_id[i]; it; it = it->id_next)
            if (it->next_revision > hub->dispatched + 1) // starts in the future
                return;
    stream_push(w, queued_new(STORE_WATCH_PROGRESS, -1, hub->dispatched));
    w->progress_wanted = 0;
    hub->progress_count--;
}

void store_watch_ask_progress(struct store_watch_stream *w)
{
    struct watch_hub *hub = w->hub;
    wait_control_room(w);
    rt_mutex_lock(&hub->lock);
    if (w->watch_count) {
        hub->progress_count += !w->progress_wanted;
        w->progress_wanted = atomic_load(&hub->s->revision);
        hub_progress(hub, w);
    }
    rt_mutex_unlock(&hub->lock);
    doorbell_ring(&hub->bell);
}

void store_watch_tick(struct store_watch_stream *w)
{
    struct watch_hub *hub = w->hub;
    rt_mutex_lock(&hub->lock);
    for (uint32_t i = 0; i < w->bucket_count; i++)
        for (struct watch *it = w->by_id[i]; it; it = it->id_next) {
            if (it->progress_notify && it->flow == WATCH_SYNCED && !it->active &&
                it->next_revision <= hub->dispatched + 1 &&
                w->control_count < STORE_WATCH_CONTROL) // one left out comes with the next tick
                stream_push(w, queued_new(STORE_WATCH_PROGRESS, it->id, hub->dispatched));
            it->active = false;
        }
    rt_mutex_unlock(&hub->lock);
}

/* ---- The consumer ---- */

static bool must_look(struct store_watch_stream *w)
{
    return w->look && (w->catch_up_turn || !w->first);
}

/* 0 with a batch, 1: look after who is behind, or a code. */
static int wait_queue(struct store_watch_stream *w, int64_t deadline_ns,
                      struct store_watch_batch *out)
{
    int err = 0;
    rt_mutex_lock(&w->lock);
    while (!w->shut && !w->first && !w->look && !err)
        err = rt_cond_wait(&w->readable, &w->lock, deadline_ns) ? STORE_TIMEOUT : 0;
    if (w->shut)
        err = STORE_CLOSED;
    else if (must_look(w))
        err = 1;
    else if (pop_locked(w, out))
        err = 0;
    rt_mutex_unlock(&w->lock);
    return err;
}

int store_watch_next(struct store_watch_stream *w, int64_t deadline_ns,
                     struct store_watch_batch *out)
{
    int err;
    while ((err = wait_queue(w, deadline_ns, out)) == 1) {
        err = watch_catch_up(w, out);
        w->catch_up_turn = false;
        if (err == 0)
            return 0;
    }
    if (err == 0)
        w->catch_up_turn = true;
    return err;
}

/* ---- Open and close ---- */

struct store_watch_stream *store_watch_open(struct store *s)
{
    struct store_watch_stream *w = rt_alloc_zero(sizeof *w);
    w->hub = s->hub;
    w->last = &w->first;
    w->behind_end = &w->behind;
    rehash(w, 8);
    rt_mutex_lock(&w->hub->lock);
    w->next = w->hub->streams;
    if (w->next)
        w->next->link = &w->next;
    w->link = &w->hub->streams;
    w->hub->streams = w;
    rt_mutex_unlock(&w->hub->lock);
    return w;
}

void store_watch_shut(struct store_watch_stream *w)
{
    rt_mutex_lock(&w->lock);
    w->shut = true;
    rt_cond_broadcast(&w->readable);
    rt_cond_broadcast(&w->writable);
    rt_mutex_unlock(&w->lock);
}

void store_watch_close(struct store_watch_stream *w)
{
    struct watch_hub *hub = w->hub;
    store_watch_shut(w);
    rt_mutex_lock(&hub->lock);
    for (uint32_t i = 0; i < w->bucket_count; i++)
        while (w->by_id[i]) {
            struct watch *it = w->by_id[i];
            if (it->flow == WATCH_SYNCED && !it->canceled)
                hub_leave(hub, it);
            stream_drop(w, it);
        }
    *w->link = w->next;
    if (w->next)
        w->next->link = w->link;
    if (w->progress_wanted)
        hub->progress_count--;
    rt_mutex_unlock(&hub->lock);
    for (struct queued *q = w->first, *next; q; q = next) {
        next = q->next;
        queued_free(q);
    }
    rt_free(w->by_id);
    rt_free(w);
}
