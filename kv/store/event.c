/* kv/store/event.c: see event.h. */
#include "kv/store/event.h"
#include "kv/store/errors.h"
#include "kv/store/rows.h"
#include "kv/store/state.h"
#include "proto/fields.h"
#include <assert.h>

enum { FIELD_EVENTS = 11, EVENT_DELETE = 1 };

struct rt_bytes event_key(struct rt_bytes row)
{
    struct fields f = fields_of(row);
    struct field it;
    int more = fields_next(&f, &it); // fields ascend: the key is the first
    assert(more > 0);
    assert(it.number == 1);
    return it.bytes;
}

static size_t kv_size(const struct event_row *r)
{
    if (!r->rev.tombstone)
        return r->bytes.len;
    return r->bytes.len + field_uint_size(3, (uint64_t)r->rev.main);
}

static size_t body_size(const struct event_row *r, struct rt_bytes prev)
{
    return field_uint_size(1, r->rev.tombstone) + field_bytes_size(2, kv_size(r)) +
           (prev.len ? field_bytes_size(3, prev.len) : 0);
}

static uint8_t *copy(uint8_t *p, struct rt_bytes bytes)
{
    memcpy(p, bytes.data, bytes.len);
    return p + bytes.len;
}

static uint8_t *put_event(uint8_t *p, const struct event_row *r, struct rt_bytes prev)
{
    p = field_put_len(p, FIELD_EVENTS, body_size(r, prev));
    p = field_put_uint(p, 1, r->rev.tombstone ? EVENT_DELETE : 0);
    p = field_put_len(p, 2, kv_size(r));
    p = copy(p, r->bytes); // of a deletion only the key: the revision follows
    if (r->rev.tombstone)
        p = field_put_uint(p, 3, (uint64_t)r->rev.main);
    if (prev.len) {
        p = field_put_len(p, 3, prev.len);
        p = copy(p, prev);
    }
    return p;
}

/* The pair that the key had before the row's revision; empty when it had none, or no more. */
static struct rt_bytes fetch_prev(struct store *s, const struct event_row *r,
                                  struct rt_arena *arena)
{
    struct rt_bytes prev = {NULL, 0};
    struct row row;
    struct rev rev;
    if (!r->rev.tombstone && row_get(r->bytes, &row) == 0 && row.create == row.mod)
        return prev;
    rt_rwmutex_rlock(&s->index_lock);
    struct index_key *k = key_index_find(&s->index, event_key(r->bytes));
    bool found = k && index_key_at(&s->index, k, (struct rev){.main = r->rev.main}, &rev);
    rt_rwmutex_runlock(&s->index_lock);
    if (found && rows_copy(s, rev, arena, &prev))
        prev = rt_bytes(NULL, 0); // compacted meanwhile
    return prev;
}

struct rt_buf *event_encode(struct store *s, const struct event_row *rows, uint32_t n,
                            bool with_prev, struct rt_bytes *out)
{
    struct rt_arena arena;
    struct rt_bytes *prevs = NULL;
    size_t size = 0;
    rt_arena_init(&arena);
    if (with_prev)
        prevs = rt_arena_alloc(&arena, n * sizeof *prevs);
    for (uint32_t i = 0; i < n; i++) {
        if (with_prev)
            prevs[i] = fetch_prev(s, &rows[i], &arena);
        size += field_bytes_size(FIELD_EVENTS,
                                 body_size(&rows[i], with_prev ? prevs[i] : rt_bytes(NULL, 0)));
    }
    struct rt_buf *buf = rt_buf_new(size);
    if (!buf)
        rt_fatal("out of memory: %zu bytes of events", size);
    uint8_t *p = buf->data;
    for (uint32_t i = 0; i < n; i++) {
        uint8_t *end = put_event(p, &rows[i], with_prev ? prevs[i] : rt_bytes(NULL, 0));
        out[i] = rt_bytes(p, (size_t)(end - p));
        p = end;
    }
    assert((size_t)(p - buf->data) == size);
    buf->len = size;
    rt_arena_deinit(&arena);
    return buf;
}
