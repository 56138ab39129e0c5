/* kv/store/install.c: receive an image (image.h) into a database beside the one in use, and switch.
 * Everything that comes is checked before it is written: the bytes are from another machine. */
#include "kv/store/folder.h"
#include "kv/store/image.h"
#include "kv/store/limits.h"
#include "kv/store/load.h"
#include "kv/store/state.h"
#include "kv/store/watch.h"
#include <assert.h>

enum { HELD_CHUNKS = 256 };

struct store_install {
    struct store *s;
    struct rt_string path;
    struct backend next;
    struct backend_state state; // of the complete image
    struct rev last;            // row received last
    uint64_t sequence, rows;
    enum image_kind step;                   // last kind received
    struct recent_entry *held[HELD_CHUNKS]; // received, not yet written
    uint32_t held_count;
    size_t held_bytes;
};

static void free_install(struct store_install *i)
{
    for (uint32_t k = 0; k < i->held_count; k++)
        recent_entry_unref(i->held[k]);
    atomic_store(&i->s->installing, false);
    rt_string_deinit(&i->path);
    rt_free(i);
}

void store_install_abort(struct store_install *i)
{
    backend_close(&i->next);
    folder_remove(rt_string_cstr(&i->path));
    free_install(i);
}

int store_install_begin(struct store *s, struct store_install **out, struct why *why)
{
    if (atomic_exchange(&s->installing, true)) {
        why_set(why, "%s", store_error_words(STORE_BUSY));
        return STORE_BUSY;
    }
    struct store_install *i = rt_alloc_zero(sizeof *i);
    i->s = s;
    int err = folder_next(s->dir, &i->path, why);
    if (!err)
        err = backend_open(&i->next, rt_string_cstr(&i->path), why);
    if (err) {
        free_install(i);
        return err;
    }
    *out = i;
    return 0;
}

/* ---- Checking and keeping what comes ---- */

static bool meta_is_sound(struct rt_bytes name, struct rt_bytes value)
{
    struct store_alarm alarm;
    int64_t id, ttl, remaining;
    switch (name.len ? name.data[0] : 0) {
    case 'l':
        return lease_read(name, value, &id, &ttl, &remaining) && ttl > 0;
    case 'a':
        return alarm_name_get(name, &alarm);
    case 'c':
        return name.len >= 2 && name.len <= STORE_CLUSTER_KEY_BYTES + 1 && value.len > 0;
    default:
        return false;
    }
}

static bool row_is_sound(struct store_install *i, struct rt_bytes name, struct rt_bytes value)
{
    struct rev rev;
    struct row row;
    if (row_name_get(name, &rev) || row_get(value, &row))
        return false;
    if (!rev.tombstone && (row.version <= 0 || row.mod != rev.main))
        return false;
    if (rev.main > i->state.revision || (i->rows && !rev_before(i->last, rev)))
        return false;
    i->last = rev;
    i->rows++;
    return true;
}

static int records_are_sound(struct store_install *i, struct rt_bytes payload, bool rows,
                             uint32_t *count)
{
    struct rt_bytes name, value;
    int more;
    *count = 0;
    while ((more = image_record_next(&payload, &name, &value)) > 0) {
        if (rows ? !row_is_sound(i, name, value) : !meta_is_sound(name, value))
            return STORE_DAMAGED;
        ++*count;
    }
    return more;
}

static struct rt_bytes keep(struct recent_entry *e, struct rt_bytes bytes)
{
    struct rt_bytes kept = {e->free, bytes.len};
    if (bytes.len)
        memcpy(e->free, bytes.data, bytes.len);
    e->free += bytes.len;
    return kept;
}

static int write_held(struct store_install *i, bool complete, struct why *why)
{
    char buf[128];
    struct backend_write w = {.entries = i->held, .count = i->held_count};
    w.state = complete ? i->state
                       : (struct backend_state){
                             .revision = 1, .compact_scheduled = -1, .compact_finished = -1};
    int err = backend_secure(&i->next, backend_space_needed(&w));
    if (err) {
        why_set(why, "no room for the image in %s: %s", rt_string_cstr(&i->path),
                why_errno(err, buf, sizeof buf));
        return err;
    }
    backend_commit(&i->next, &w);
    for (uint32_t k = 0; k < i->held_count; k++)
        recent_entry_unref(i->held[k]);
    i->held_count = 0;
    i->held_bytes = 0;
    return 0;
}

static int take_records(struct store_install *i, struct rt_bytes payload, bool rows,
                        struct why *why)
{
    struct rt_bytes name, value;
    uint32_t count;
    int err = records_are_sound(i, payload, rows, &count);
    if (err)
        return err;
    struct recent_entry *e = recent_entry_new(rows ? count : 0, rows ? 0 : count, payload.len);
    while (image_record_next(&payload, &name, &value) > 0)
        if (rows) {
            struct recent_row *row = &e->rows[e->row_count++];
            row_name_get(name, &row->rev);
            row->bytes = keep(e, value);
        } else {
            struct recent_change *change = &e->changes[e->change_count++];
            change->name = keep(e, name);
            change->value = keep(e, value);
            change->removed = false;
        }
    i->held[i->held_count++] = e;
    i->held_bytes += e->charge;
    if (i->held_count == HELD_CHUNKS || i->held_bytes >= STORE_FLUSH_BYTES)
        return write_held(i, false, why);
    return 0;
}

static int take_chunk(struct store_install *i, enum image_kind kind, struct rt_bytes payload,
                      struct why *why)
{
    if (kind < i->step || kind > IMAGE_END || i->step == IMAGE_END ||
        (i->step == 0) != (kind == IMAGE_BEGIN))
        return STORE_DAMAGED;
    i->step = kind;
    switch (kind) {
    case IMAGE_BEGIN:
        return backend_state_get(payload, &i->state, why);
    case IMAGE_META:
        return take_records(i, payload, false, why);
    case IMAGE_ROWS:
        return take_records(i, payload, true, why);
    default:
        break;
    }
    uint64_t rows = 0;
    for (size_t k = 0; k < payload.len; k++)
        rows |= (uint64_t)payload.data[k] << (8 * (k & 7));
    return payload.len == 8 && rows == i->rows ? 0 : STORE_DAMAGED;
}

int store_install_chunk(struct store_install *i, struct rt_bytes chunk, struct why *why)
{
    enum image_kind kind;
    struct rt_bytes payload;
    int err = image_chunk_read(chunk, i->sequence + 1, &kind, &payload);
    if (!err)
        err = take_chunk(i, kind, payload, why);
    if (err == STORE_DAMAGED)
        why_set(why,
                "chunk %llu of the image is damaged or out of order; nothing was changed: the "
                "sender begins again",
                (unsigned long long)i->sequence + 1);
    if (!err)
        i->sequence++;
    return err;
}

void store_install_meta(const struct store_install *i, struct store_image_meta *meta)
{
    *meta = (struct store_image_meta){
        .index = i->state.index, .term = i->state.term, .revision = i->state.revision};
}

/* ---- Switching ---- */

static int check_complete(struct store_install *i, struct why *why)
{
    struct store *s = i->s;
    if (i->step != IMAGE_END) {
        why_set(why, "the image ended early, after chunk %llu; nothing was changed",
                (unsigned long long)i->sequence);
        return STORE_DAMAGED;
    }
    if (i->state.index <= atomic_load(&s->applied_index) ||
        i->state.revision < atomic_load(&s->revision)) {
        why_set(why, "the image ends at index %llu, revision %lld; this store is at %llu, %lld",
                (unsigned long long)i->state.index, (long long)i->state.revision,
                (unsigned long long)atomic_load(&s->applied_index),
                (long long)atomic_load(&s->revision));
        return STORE_IMAGE_OLD;
    }
    return 0;
}

static void switch_memory(struct store *s, struct backend *next)
{
    struct why why = {""};
    rt_rwmutex_lock(&s->index_lock);
    pins_break_all(&s->pins);
    backend_replace(&s->backend, next);
    load_drop(s);
    if (load_all(s, &why)) // every byte of it was checked
        rt_fatal("the installed image cannot be read: %s", why.text);
    rt_rwmutex_unlock(&s->index_lock);
}

int store_install_commit(struct store_install *i, struct store_image_meta *meta, struct why *why)
{
    struct store *s = i->s;
    int err = check_complete(i, why);
    if (!err)
        err = write_held(i, true, why);
    if (!err)
        flusher_pause(s);
    if (!err && (err = folder_switch(s->dir, why)) != 0)
        flusher_resume(s);
    if (err) {
        store_install_abort(i);
        return err;
    }
    char *old = rt_strdup(s->backend.dir);
    store_install_meta(i, meta);
    switch_memory(s, &i->next);
    meta->bytes = (uint64_t)store_size_bytes(s);
    folder_remove(old);
    rt_free(old);
    flusher_resume(s);
    watch_hub_resync(s->hub);
    free_install(i);
    return 0;
}
