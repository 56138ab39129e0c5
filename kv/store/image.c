/* kv/store/image.c: the form of chunks (image.h), and reading the store into them. */
#include "kv/store/image.h"
#include "kv/store/crc32c.h"
#include "kv/store/limits.h"
#include "kv/store/scan.h"
#include "kv/store/state.h"
#include <assert.h>

static void put_le(uint8_t *p, uint64_t v, int bytes)
{
    for (int i = 0; i < bytes; i++, v >>= 8)
        p[i] = (uint8_t)v;
}

static uint64_t get_le(const uint8_t *p, int bytes)
{
    uint64_t v = 0;
    for (int i = bytes - 1; i >= 0; i--)
        v = v << 8 | p[i];
    return v;
}

size_t image_chunk_begin(struct rt_string *out)
{
    static const uint8_t room[IMAGE_HEADER_BYTES];
    size_t begin = out->len;
    rt_string_append(out, room, sizeof room);
    return begin;
}

void image_chunk_end(struct rt_string *out, size_t begin, enum image_kind kind, uint64_t sequence)
{
    uint8_t *p = out->data + begin;
    size_t len = out->len - begin;
    assert(len - IMAGE_HEADER_BYTES <= UINT32_MAX);
    put_le(p + 4, kind, 4);
    put_le(p + 8, sequence, 8);
    put_le(p + 16, len - IMAGE_HEADER_BYTES, 4);
    put_le(p, store_crc32c(0, p + 4, len - 4), 4);
}

int image_chunk_read(struct rt_bytes chunk, uint64_t sequence, enum image_kind *kind,
                     struct rt_bytes *payload)
{
    const uint8_t *p = chunk.data;
    if (chunk.len < IMAGE_HEADER_BYTES || get_le(p + 16, 4) != chunk.len - IMAGE_HEADER_BYTES ||
        get_le(p, 4) != store_crc32c(0, p + 4, chunk.len - 4) || get_le(p + 8, 8) != sequence)
        return STORE_DAMAGED;
    *kind = (enum image_kind)get_le(p + 4, 4);
    *payload = rt_bytes(p + IMAGE_HEADER_BYTES, chunk.len - IMAGE_HEADER_BYTES);
    return 0;
}

void image_record_add(struct rt_string *out, struct rt_bytes name, struct rt_bytes value)
{
    uint8_t lens[6];
    put_le(lens, name.len, 2);
    put_le(lens + 2, value.len, 4);
    rt_string_append(out, lens, sizeof lens);
    rt_string_append(out, name.data, name.len);
    rt_string_append(out, value.data, value.len);
}

int image_record_next(struct rt_bytes *rest, struct rt_bytes *name, struct rt_bytes *value)
{
    if (rest->len == 0)
        return 0;
    if (rest->len < 6)
        return STORE_DAMAGED;
    uint64_t name_len = get_le(rest->data, 2), value_len = get_le(rest->data + 2, 4);
    if (rest->len - 6 < name_len + value_len)
        return STORE_DAMAGED;
    *name = rt_bytes(rest->data + 6, name_len);
    *value = rt_bytes(rest->data + 6 + name_len, value_len);
    *rest = rt_bytes(rest->data + 6 + name_len + value_len, rest->len - 6 - name_len - value_len);
    return 1;
}

/* ---- Reading ---- */

struct store_image {
    struct store *s;
    struct store_pin pin;
    struct backend_state state;
    struct rt_string meta; // records of "meta", read under one snapshot
    size_t meta_sent;
    struct rev next;
    uint64_t sequence, rows;
    enum image_kind step; // what the next chunk is
};

static int read_meta(struct store_image *i)
{
    struct backend *b = &i->s->backend;
    MDB_val name, value;
    MDB_cursor *cursor;
    MDB_txn *snapshot = backend_read_begin(b);
    i->meta.len = 0;
    int err = backend_get_state(b, snapshot, &i->state, NULL);
    if (!err && mdb_cursor_open(snapshot, b->meta, &cursor) == 0) {
        while (mdb_cursor_get(cursor, &name, &value, MDB_NEXT) == 0) {
            struct rt_bytes n = rt_bytes(name.mv_data, name.mv_size);
            if (!rt_bytes_equal(n, RT_BYTES("state")))
                image_record_add(&i->meta, n, rt_bytes(value.mv_data, value.mv_size));
        }
        mdb_cursor_close(cursor);
    }
    backend_read_end(b, snapshot);
    return err;
}

/* A later compaction begins only when it is durable itself: so a pin at the durable compact revision
 * holds if that revision is still the same once the pin is in place. */
static int read_pinned_meta(struct store_image *i)
{
    struct store *s = i->s;
    for (;;) {
        int err = read_meta(i);
        if (err)
            return err;
        int64_t compact = i->state.compact_scheduled;
        pins_add(&s->pins, &i->pin, compact);
        err = read_meta(i);
        if (!err && i->state.compact_scheduled == compact)
            return 0;
        pins_remove(&s->pins, &i->pin);
        if (err)
            return err;
    }
}

int store_image_open(struct store *s, struct store_image **out, struct store_image_meta *meta)
{
    struct store_image *i = rt_alloc_zero(sizeof *i);
    i->s = s;
    int err = read_pinned_meta(i);
    if (err) {
        rt_string_deinit(&i->meta);
        rt_free(i);
        return err;
    }
    i->step = IMAGE_BEGIN;
    i->next = (struct rev){.main = 1};
    *meta = (struct store_image_meta){
        .index = i->state.index,
        .term = i->state.term,
        .revision = i->state.revision,
        .bytes = (uint64_t)store_size_in_use_bytes(s),
    };
    *out = i;
    return 0;
}

static void add_meta(struct store_image *i, size_t max_bytes, struct rt_string *out)
{
    struct rt_bytes rest = rt_bytes(i->meta.data + i->meta_sent, i->meta.len - i->meta_sent);
    struct rt_bytes name, value;
    size_t begin = out->len;
    while (out->len - begin < max_bytes && image_record_next(&rest, &name, &value) > 0)
        image_record_add(out, name, value);
    i->meta_sent = i->meta.len - rest.len;
    if (rest.len == 0)
        i->step = IMAGE_ROWS;
}

static void add_rows(struct store_image *i, size_t max_bytes, struct rt_string *out)
{
    struct scan_row *rows = rt_alloc(SCAN_PAGE_ROWS * sizeof *rows);
    struct rt_arena arena;
    size_t begin = out->len;
    rt_arena_init(&arena);
    while (i->step == IMAGE_ROWS && out->len - begin < max_bytes) {
        int64_t durable;
        uint32_t n = scan_durable(i->s, &i->next, &arena, rows, SCAN_PAGE_ROWS,
                                  max_bytes - (out->len - begin), &durable);
        for (uint32_t k = 0; k < n && rows[k].rev.main <= i->state.revision; k++) {
            uint8_t name[ROW_NAME_MAX];
            image_record_add(out, rt_bytes(name, row_name_put(name, rows[k].rev)), rows[k].bytes);
            i->rows++;
        }
        if (n == 0 || rows[n - 1].rev.main > i->state.revision)
            i->step = IMAGE_END;
        rt_arena_reset(&arena);
    }
    rt_arena_deinit(&arena);
    rt_free(rows);
}

int store_image_next(struct store_image *i, size_t max_bytes, struct rt_string *out)
{
    enum image_kind kind = i->step;
    uint8_t bytes[BACKEND_STATE_BYTES];
    if (i->step > IMAGE_END)
        return 0;
    if (max_bytes < STORE_IMAGE_CHUNK_MIN)
        max_bytes = STORE_IMAGE_CHUNK_MIN;
    size_t begin = image_chunk_begin(out);
    switch (kind) {
    case IMAGE_BEGIN:
        backend_state_put(bytes, &i->state);
        rt_string_append(out, bytes, sizeof bytes);
        i->step = IMAGE_META;
        break;
    case IMAGE_META:
        add_meta(i, max_bytes, out);
        break;
    case IMAGE_ROWS:
        add_rows(i, max_bytes, out);
        break;
    case IMAGE_END:
        put_le(bytes, i->rows, 8);
        rt_string_append(out, bytes, 8);
        i->step = IMAGE_END + 1;
        break;
    }
    image_chunk_end(out, begin, kind, ++i->sequence);
    if (!pins_hold(&i->s->pins, &i->pin)) {
        out->len = begin;
        return STORE_COMPACTED;
    }
    return 1;
}

void store_image_close(struct store_image *i)
{
    pins_remove(&i->s->pins, &i->pin);
    rt_string_deinit(&i->meta);
    rt_free(i);
}
