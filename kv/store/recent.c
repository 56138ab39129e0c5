/* kv/store/recent.c: see recent.h. */
#include "kv/store/recent.h"
#include "kv/store/errors.h"
#include "kv/store/limits.h"
#include <assert.h>
#include <rt/why.h>

struct recent_entry *recent_entry_new(uint32_t rows, uint32_t changes, size_t bytes)
{
    size_t size = sizeof(struct recent_entry) + rows * sizeof(struct recent_row) +
                  changes * sizeof(struct recent_change) + bytes;
    struct recent_entry *e = rt_alloc(size);
    if (!e)
        rt_fatal("out of memory: %zu bytes for the effects of one command", size);
    *e = (struct recent_entry){.refs = 1};
    e->rows = (struct recent_row *)(e + 1);
    e->changes = (struct recent_change *)(e->rows + rows);
    e->free = (uint8_t *)(e->changes + changes);
    e->charge = size < STORE_RECENT_CHARGE ? STORE_RECENT_CHARGE : size;
    return e;
}

struct recent_entry *recent_entry_ref(struct recent_entry *e)
{
    atomic_fetch_add_explicit(&e->refs, 1, memory_order_relaxed);
    return e;
}

void recent_entry_unref(struct recent_entry *e)
{
    if (e && atomic_fetch_sub_explicit(&e->refs, 1, memory_order_acq_rel) == 1)
        rt_free(e);
}

static struct recent_entry **slot(struct recent *r, uint64_t pos)
{
    return &r->ring[pos % STORE_RECENT_SLOTS];
}

void recent_init(struct recent *r, size_t limit_bytes)
{
    *r = (struct recent){.limit_bytes = limit_bytes};
    r->ring = rt_alloc_zero(STORE_RECENT_SLOTS * sizeof(struct recent_entry *));
    if (!r->ring)
        rt_fatal("out of memory: the recent log's %d slots", STORE_RECENT_SLOTS);
}

static void drop_head(struct recent *r)
{
    struct recent_entry *e = *slot(r, r->head);
    r->bytes -= e->charge;
    *slot(r, r->head) = NULL;
    r->head++;
    recent_entry_unref(e);
}

void recent_reset(struct recent *r, uint64_t index, uint64_t term)
{
    rt_rwmutex_lock(&r->lock);
    while (r->head < r->tail)
        drop_head(r);
    r->flushed = r->tail;
    r->unflushed_bytes = 0;
    r->last_index = index;
    r->last_term = term;
    rt_rwmutex_unlock(&r->lock);
}

void recent_deinit(struct recent *r)
{
    while (r->head < r->tail)
        drop_head(r);
    rt_free(r->ring);
}

/* The caller asked for room before its batch; one of very many small commands may still fill the
 * slots. Then apply waits for the flusher here. */
static void wait_slot(struct recent *r)
{
    rt_mutex_lock(&r->room_lock);
    while (r->tail - r->flushed ==
           STORE_RECENT_SLOTS) // tail is ours, flushed moves under room_lock
        rt_cond_wait(&r->room_cond, &r->room_lock, RT_FOREVER);
    rt_mutex_unlock(&r->room_lock);
}

bool recent_append(struct recent *r, struct recent_entry *e)
{
    if (r->tail - r->head == STORE_RECENT_SLOTS)
        wait_slot(r);
    rt_rwmutex_lock(&r->lock);
    while (r->head < r->flushed &&
           (r->bytes + e->charge > r->limit_bytes || r->tail - r->head == STORE_RECENT_SLOTS))
        drop_head(r);
    assert(r->tail - r->head < STORE_RECENT_SLOTS);
    *slot(r, r->tail) = e;
    r->tail++;
    size_t before = r->unflushed_bytes;
    bool tell = !r->told;
    r->told = true;
    r->bytes += e->charge;
    r->unflushed_bytes += e->charge;
    if (before < STORE_FLUSH_BYTES && r->unflushed_bytes >= STORE_FLUSH_BYTES)
        tell = true;
    if (before < r->limit_bytes && r->unflushed_bytes >= r->limit_bytes)
        tell = true;
    r->last_index = e->index;
    r->last_term = e->term;
    rt_rwmutex_unlock(&r->lock);
    return tell;
}

bool recent_skip(struct recent *r, uint64_t index, uint64_t term)
{
    rt_rwmutex_lock(&r->lock);
    bool tell = !r->told;
    r->told = true;
    r->last_index = index;
    r->last_term = term;
    rt_rwmutex_unlock(&r->lock);
    return tell;
}

static bool has_room(struct recent *r)
{
    rt_rwmutex_rlock(&r->lock);
    bool room =
        r->unflushed_bytes < r->limit_bytes && r->tail - r->flushed < STORE_RECENT_SLOTS / 2;
    rt_rwmutex_runlock(&r->lock);
    return room;
}

bool recent_is_full(struct recent *r) { return !has_room(r); }

int recent_wait_room(struct recent *r, int64_t deadline_ns)
{
    int err = 0;
    if (has_room(r))
        return 0;
    rt_mutex_lock(&r->room_lock);
    while (!has_room(r) && !err)
        err = rt_cond_wait(&r->room_cond, &r->room_lock, deadline_ns);
    rt_mutex_unlock(&r->room_lock);
    return err && !has_room(r) ? STORE_TIMEOUT : 0;
}

/* The first position in [head, tail) whose entry reaches revision main. */
static uint64_t lower_bound(struct recent *r, int64_t main)
{
    uint64_t low = r->head, high = r->tail;
    while (low < high) {
        uint64_t mid = low + (high - low) / 2;
        if ((*slot(r, mid))->revision < main)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

bool recent_find_locked(struct recent *r, struct rev rev, struct rt_bytes *bytes,
                        struct recent_entry **entry)
{
    uint64_t pos = lower_bound(r, rev.main);
    if (pos == r->tail)
        return false;
    struct recent_entry *e = *slot(r, pos);
    if (e->row_count == 0 || e->rows[0].rev.main != rev.main)
        return false;
    assert(rev.sub < e->row_count);
    *bytes = e->rows[rev.sub].bytes;
    *entry = recent_entry_ref(e);
    return true;
}

struct recent_entry *recent_at(struct recent *r, uint64_t pos)
{
    struct recent_entry *e = NULL;
    rt_rwmutex_rlock(&r->lock);
    if (pos >= r->head && pos < r->tail)
        e = recent_entry_ref(*slot(r, pos));
    rt_rwmutex_runlock(&r->lock);
    return e;
}

bool recent_seek(struct recent *r, int64_t main, uint64_t *pos)
{
    rt_rwmutex_rlock(&r->lock);
    *pos = lower_bound(r, main);
    // An older entry, or the one that made `main`, shows that nothing before it is missing.
    bool here = r->head < r->tail &&
                (*pos > r->head ||
                 ((*slot(r, *pos))->row_count > 0 && (*slot(r, *pos))->rows[0].rev.main == main));
    rt_rwmutex_runlock(&r->lock);
    return here;
}

uint64_t recent_tail(struct recent *r)
{
    rt_rwmutex_rlock(&r->lock);
    uint64_t tail = r->tail;
    rt_rwmutex_runlock(&r->lock);
    return tail;
}

bool recent_gather(struct recent *r, size_t max_bytes, uint32_t max, struct recent_batch *b)
{
    rt_rwmutex_lock(&r->lock);
    uint64_t pos = r->flushed;
    b->count = 0;
    b->bytes = 0;
    for (; pos < r->tail && b->count < max && (b->count == 0 || b->bytes < max_bytes); pos++) {
        struct recent_entry *e = recent_entry_ref(*slot(r, pos));
        b->entries[b->count++] = e;
        b->bytes += e->charge;
        b->index = e->index;
        b->term = e->term;
        b->revision = e->revision;
        b->compact = e->compact;
    }
    b->end = pos;
    b->all = pos == r->tail;
    bool news = b->count > 0;
    if (b->all && r->last_index > b->index) {
        b->index = r->last_index;
        b->term = r->last_term;
        news = true;
    }
    r->told = !b->all;
    rt_rwmutex_unlock(&r->lock);
    return news;
}

void recent_batch_drop(struct recent_batch *b)
{
    for (uint32_t i = 0; i < b->count; i++)
        recent_entry_unref(b->entries[i]);
    b->count = 0;
}

void recent_flushed(struct recent *r, struct recent_batch *b)
{
    rt_mutex_lock(&r->room_lock);
    rt_rwmutex_lock(&r->lock);
    assert(b->end >= r->flushed);
    assert(b->end <= r->tail);
    for (uint32_t i = 0; i < b->count; i++)
        r->unflushed_bytes -= b->entries[i]->charge;
    r->flushed = b->end;
    rt_rwmutex_unlock(&r->lock);
    rt_cond_broadcast(&r->room_cond);
    rt_mutex_unlock(&r->room_lock);
    recent_batch_drop(b);
}

size_t recent_unflushed_bytes(struct recent *r)
{
    rt_rwmutex_rlock(&r->lock);
    size_t bytes = r->unflushed_bytes;
    rt_rwmutex_runlock(&r->lock);
    return bytes;
}

int64_t recent_oldest_ns(struct recent *r)
{
    rt_rwmutex_rlock(&r->lock);
    int64_t ns = r->flushed < r->tail ? (*slot(r, r->flushed))->applied_ns : RT_FOREVER;
    rt_rwmutex_runlock(&r->lock);
    return ns;
}
