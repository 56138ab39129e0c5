/* kv/store/watch_catch_up.c: what the consumer of a stream does for a watch that is BEHIND: read a
 * slice of history, from the recent log if it reaches back far enough, else from LMDB, and join the
 * hub in the end. A slice ends between two revisions. Its revision in the answer is how far the watch
 * has been served, so that a client may go on from there whatever it looks at. */
#include "kv/store/event.h"
#include "kv/store/limits.h"
#include "kv/store/scan.h"
#include "kv/store/state.h"
#include "kv/store/watch_hub.h"
#include <assert.h>

enum {
    SLICE_LOOKED = 65536, // rows looked at in one slice: then the queue has its turn
};

struct slice {
    const struct watch *w;
    int64_t from;           // in: the first revision wanted
    int64_t reached;        // out: all up to here was looked at
    int64_t main;           // of the row looked at last
    struct event_row *rows; // out
    uint32_t count, cap;
    uint32_t revisions, looked;
    size_t bytes;
    struct rt_arena arena; // holds the rows' bytes
};

static bool is_full(const struct slice *c)
{
    return c->revisions >= STORE_CATCH_UP_REVISIONS || c->bytes >= STORE_CATCH_UP_BYTES ||
           c->looked >= SLICE_LOOKED;
}

static void look_at(struct slice *c, struct rev rev, struct rt_bytes bytes)
{
    c->looked++;
    c->main = rev.main;
    if (!watch_wants(c->w, rev) || !key_range_has(&c->w->interval.keys, event_key(bytes)))
        return;
    if (c->count == c->cap) {
        c->cap = c->cap ? 2 * c->cap : 64;
        c->rows = rt_realloc(c->rows, c->cap * sizeof *c->rows);
        if (!c->rows)
            rt_fatal("out of memory: %u events", c->cap);
    }
    if (c->count == 0 || c->rows[c->count - 1].rev.main != rev.main)
        c->revisions++;
    c->rows[c->count++] = (struct event_row){
        rev, rt_bytes(rt_arena_copy(&c->arena, bytes.data, bytes.len), bytes.len)};
    c->bytes += bytes.len;
}

static void read_recent(struct store *s, struct slice *c, uint64_t pos)
{
    while (!is_full(c)) {
        struct recent_entry *e = recent_at(&s->recent, pos++);
        if (!e) // the end, or it was dropped while we read: LMDB has it
            break;
        for (uint32_t i = 0; i < e->row_count; i++)
            look_at(c, e->rows[i].rev, e->rows[i].bytes);
        c->looked++;
        c->reached = e->revision;
        recent_entry_unref(e);
    }
}

/* Until the slice is full or nothing more is durable; each page is a snapshot of its own. */
static void read_durable(struct store *s, struct slice *c)
{
    struct scan_row *rows = rt_alloc(SCAN_PAGE_ROWS * sizeof *rows);
    struct rev next = {.main = c->from};
    struct rt_arena arena;
    bool more = true;
    rt_arena_init(&arena);
    while (more) {
        int64_t durable;
        uint32_t n =
            scan_durable(s, &next, &arena, rows, SCAN_PAGE_ROWS, STORE_PAGE_BYTES, &durable);
        for (uint32_t i = 0; i < n && more; i++) {
            struct rev rev = rows[i].rev;
            if (rev.main > c->reached + 1) // between two revisions: here a slice may end
                c->reached = rev.main - 1;
            more = !is_full(c) || rev.main == c->main;
            if (more)
                look_at(c, rev, rows[i].bytes);
        }
        if (n == 0) {
            c->reached = durable > c->reached ? durable : c->reached;
            more = false;
        }
        rt_arena_reset(&arena);
    }
    rt_arena_deinit(&arena);
    rt_free(rows);
}

static void read_history(struct store *s, struct slice *c)
{
    uint64_t pos;
    c->reached = c->from - 1;
    if (recent_seek(&s->recent, c->from, &pos)) {
        read_recent(s, c, pos);
        return;
    }
    read_durable(s, c);
}

/* ---- Choosing and finishing; hub.lock ---- */

static struct watch *choose(struct store_watch_stream *w)
{
    rt_mutex_lock(&w->lock);
    uint64_t popped = w->popped_seq;
    w->look = w->behind != NULL;
    rt_mutex_unlock(&w->lock);
    struct watch *it = w->behind;
    while (it && it->after_seq > popped)
        it = it->behind_next;
    return it;
}

static void unlink_behind(struct watch_hub *hub, struct watch *it)
{
    struct store_watch_stream *w = it->stream;
    *it->behind_link = it->behind_next;
    if (it->behind_next)
        it->behind_next->behind_link = it->behind_link;
    else
        w->behind_end = it->behind_link;
    it->behind_link = NULL;
    rt_counter_add(hub->s->metrics.slow_watchers, -1);
}

static void join(struct watch_hub *hub, struct watch *it)
{
    unlink_behind(hub, it);
    hub_join(hub, it);
    if (it->stream->progress_wanted)
        hub_progress(hub, it->stream);
}

static void end_compacted(struct watch_hub *hub, struct watch *it, struct store_watch_batch *out)
{
    struct store_watch_stream *w = it->stream;
    *out = (struct store_watch_batch){
        .kind = STORE_WATCH_COMPACTED,
        .id = it->id,
        .code = STORE_COMPACTED,
        .compact_revision = atomic_load(&hub->s->compact_revision),
    };
    stream_drop(w, it);
    if (w->progress_wanted)
        hub_progress(hub, w);
}

enum next_step { READ_ON, ENDED, JOINED };

static enum next_step begin_slice(struct watch_hub *hub, struct watch *it, struct store_pin *pin,
                                  struct store_watch_batch *out)
{
    struct store *s = hub->s;
    rt_rwmutex_rlock(&s->index_lock);
    bool compacted = it->next_revision < atomic_load(&s->compact_revision);
    bool reached = it->next_revision > hub->dispatched;
    if (!compacted && !reached)
        pins_add(&s->pins, pin, it->next_revision);
    rt_rwmutex_runlock(&s->index_lock);
    if (compacted) {
        end_compacted(hub, it, out);
        return ENDED;
    }
    if (reached) {
        join(hub, it);
        return JOINED;
    }
    it->catching_up = true;
    return READ_ON;
}

static int finish_slice(struct watch_hub *hub, struct watch *it, const struct slice *c, bool sound,
                        struct store_watch_batch *out)
{
    struct store_watch_stream *w = it->stream;
    it->catching_up = false;
    if (it->canceled) {
        stream_drop(w, it);
        store_watch_batch_deinit(out);
        return 1;
    }
    if (!sound) { // it took too long: the compaction that came is found the next time
        store_watch_batch_deinit(out);
        return 1;
    }
    it->next_revision = c->reached + 1;
    // Others of the stream have their turn before this one's next slice.
    unlink_behind(hub, it);
    hub_append_behind(hub, it);
    if (c->count == 0)
        return 1;
    it->active = true;
    rt_counter_add(hub->s->metrics.events, c->count);
    return 0;
}

int watch_catch_up(struct store_watch_stream *w, struct store_watch_batch *out)
{
    struct watch_hub *hub = w->hub;
    struct store_pin pin = {.link = NULL};
    enum next_step step = JOINED;
    rt_mutex_lock(&hub->lock);
    struct watch *it = choose(w);
    if (it)
        step = begin_slice(hub, it, &pin, out);
    struct slice c = {.w = it, .from = step == READ_ON ? it->next_revision : 0};
    rt_mutex_unlock(&hub->lock);
    if (step != READ_ON)
        return step == ENDED ? 0 : 1;
    rt_arena_init(&c.arena);
    read_history(hub->s, &c);
    *out =
        (struct store_watch_batch){.kind = STORE_WATCH_EVENTS, .id = it->id, .revision = c.reached};
    if (c.count) {
        out->events = rt_alloc(c.count * sizeof *out->events);
        if (!out->events)
            rt_fatal("out of memory: %u events", c.count);
        out->buf = event_encode(hub->s, c.rows, c.count, it->prev_kv, out->events);
        out->event_count = c.count;
        out->event_bytes = out->buf->len;
    }
    bool sound = pins_hold(&hub->s->pins, &pin);
    pins_remove(&hub->s->pins, &pin);
    rt_mutex_lock(&hub->lock);
    int err = finish_slice(hub, it, &c, sound, out);
    rt_mutex_unlock(&hub->lock);
    rt_free(c.rows);
    rt_arena_deinit(&c.arena);
    return err;
}
