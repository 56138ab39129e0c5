/* kv/store/backend.c: see backend.h. LMDB ties a write transaction to its thread, so it begins and
 * commits within one rt_blocking call; snapshots move freely (MDB_NOTLS). */
#include "kv/store/backend.h"
#include "kv/store/errors.h"
#include "kv/store/limits.h"
#include <assert.h>
#include <errno.h>
#include <rt/go.h>
#include <stdio.h>

static void put_le64(uint8_t *p, uint64_t v)
{
    for (int i = 0; i < 8; i++, v >>= 8)
        p[i] = (uint8_t)v;
}

static uint64_t get_le64(const uint8_t *p)
{
    uint64_t v = 0;
    for (int i = 7; i >= 0; i--)
        v = v << 8 | p[i];
    return v;
}

void backend_state_put(uint8_t out[BACKEND_STATE_BYTES], const struct backend_state *state)
{
    put_le64(out, BACKEND_FORMAT);
    put_le64(out + 8, state->index);
    put_le64(out + 16, state->term);
    put_le64(out + 24, (uint64_t)state->revision);
    put_le64(out + 32, (uint64_t)state->compact_scheduled);
    put_le64(out + 40, (uint64_t)state->compact_finished);
}

int backend_state_get(struct rt_bytes bytes, struct backend_state *out, struct why *why)
{
    uint64_t format = bytes.len >= 8 ? get_le64(bytes.data) : 0;
    if (bytes.len >= 8 && format != BACKEND_FORMAT) {
        why_set(why,
                "the database has format %llu, this program knows format %d; nothing was changed: "
                "use the program that wrote it, or replace this member",
                (unsigned long long)format, BACKEND_FORMAT);
        return STORE_FORMAT;
    }
    if (bytes.len != BACKEND_STATE_BYTES) {
        why_set(why,
                "the database's state record has %zu bytes, not %d: damaged; replace this "
                "member",
                bytes.len, BACKEND_STATE_BYTES);
        return STORE_DAMAGED;
    }
    *out = (struct backend_state){
        .index = get_le64(bytes.data + 8),
        .term = get_le64(bytes.data + 16),
        .revision = (int64_t)get_le64(bytes.data + 24),
        .compact_scheduled = (int64_t)get_le64(bytes.data + 32),
        .compact_finished = (int64_t)get_le64(bytes.data + 40),
    };
    return 0;
}

const char *backend_error(int rc, char *buf, size_t cap)
{
    if (rc > 0)
        return why_errno(rc, buf, cap);
    return mdb_strerror(rc); // constant strings for LMDB's own codes
}

/* ---- Writing ---- */

static MDB_val val(struct rt_bytes b) { return (MDB_val){b.len, (void *)b.data}; }

static int put_rows(struct backend *b, MDB_txn *txn, const struct backend_write *w)
{
    MDB_cursor *cursor;
    int rc = mdb_cursor_open(txn, b->rows, &cursor);
    if (rc)
        return rc;
    for (uint32_t i = 0; i < w->count && !rc; i++) {
        const struct recent_entry *e = w->entries[i];
        for (uint32_t j = 0; j < e->row_count && !rc; j++) {
            uint8_t name[ROW_NAME_MAX];
            MDB_val key = {row_name_put(name, e->rows[j].rev), name};
            MDB_val value = val(e->rows[j].bytes);
            rc = mdb_cursor_put(cursor, &key, &value, MDB_APPEND);
        }
    }
    mdb_cursor_close(cursor);
    return rc;
}

static int put_changes(struct backend *b, MDB_txn *txn, const struct recent_entry *e)
{
    int rc = 0;
    for (uint32_t i = 0; i < e->change_count && !rc; i++) {
        MDB_val key = val(e->changes[i].name), value = val(e->changes[i].value);
        if (!e->changes[i].removed)
            rc = mdb_put(txn, b->meta, &key, &value, 0);
        else if ((rc = mdb_del(txn, b->meta, &key, NULL)) == MDB_NOTFOUND)
            rc = 0;
    }
    return rc;
}

static int put_state(struct backend *b, MDB_txn *txn, const struct backend_state *state)
{
    uint8_t bytes[BACKEND_STATE_BYTES];
    backend_state_put(bytes, state);
    MDB_val key = {5, "state"}, value = {sizeof bytes, bytes};
    return mdb_put(txn, b->meta, &key, &value, 0);
}

static int remove_rows(struct backend *b, MDB_txn *txn, const struct backend_write *w)
{
    for (uint32_t i = 0; i < w->removed_count; i++) {
        uint8_t name[ROW_NAME_MAX];
        MDB_val key = {row_name_put(name, w->removed[i]), name};
        int rc = mdb_del(txn, b->rows, &key, NULL);
        if (rc && rc != MDB_NOTFOUND)
            return rc;
    }
    return 0;
}

/* Pages that hold something: all up to the last, without those on the free list (table 0, which
 * maps transaction numbers to lists of pages). */
static int measure(struct backend *b)
{
    MDB_txn *txn;
    MDB_envinfo info;
    MDB_cursor *cursor;
    MDB_val key, value;
    int rc = mdb_txn_begin(b->env, NULL, MDB_RDONLY, &txn); // table 0 is for readers only
    if (rc)
        return rc;
    mdb_env_info(b->env, &info);
    rc = mdb_cursor_open(txn, 0, &cursor);
    if (rc) {
        mdb_txn_abort(txn);
        return rc;
    }
    int64_t used = (int64_t)info.me_last_pgno + 1, free_pages = 0;
    while ((rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0) {
        size_t pages;
        memcpy(&pages, value.mv_data, sizeof pages);
        free_pages += (int64_t)pages;
    }
    mdb_cursor_close(cursor);
    mdb_txn_abort(txn);
    atomic_store(&b->size_bytes, used * b->page_bytes);
    atomic_store(&b->in_use_bytes, (used - free_pages) * b->page_bytes);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

struct commit {
    struct backend *b;
    const struct backend_write *w;
};

static int64_t commit_blocking(void *arg)
{
    struct commit *c = arg;
    MDB_txn *txn;
    int rc = mdb_txn_begin(c->b->env, NULL, 0, &txn);
    if (rc)
        return rc;
    rc = put_rows(c->b, txn, c->w);
    for (uint32_t i = 0; i < c->w->count && !rc; i++)
        rc = put_changes(c->b, txn, c->w->entries[i]);
    if (!rc)
        rc = remove_rows(c->b, txn, c->w);
    if (!rc)
        rc = put_state(c->b, txn, &c->w->state);
    if (rc) {
        mdb_txn_abort(txn);
        return rc;
    }
    rc = mdb_txn_commit(txn);
    return rc ? rc : measure(c->b);
}

void backend_commit(struct backend *b, const struct backend_write *w)
{
    char buf[128];
    struct commit c = {b, w};
    int rc = (int)rt_blocking(commit_blocking, &c);
    if (rc)
        rt_fatal("cannot write the database in %s: %s; what was acknowledged is in the log and "
                 "will be applied again at the next start",
                 b->dir, backend_error(rc, buf, sizeof buf));
}

uint64_t backend_space_needed(const struct backend_write *w)
{
    uint64_t bytes = 512 << 10; // inner pages, the meta table, the free list
    for (uint32_t i = 0; i < w->count; i++) {
        const struct recent_entry *e = w->entries[i];
        for (uint32_t j = 0; j < e->row_count; j++) {
            uint64_t len = e->rows[j].bytes.len + 40;
            bytes += len < 2000 ? len : (len + 2 * 4096 - 1) / 4096 * 4096; // pages of its own
        }
        for (uint32_t j = 0; j < e->change_count; j++)
            bytes += e->changes[j].value.len + 4096;
    }
    // Removals go in order of revision: neighbours share a page, which is copied once.
    return bytes + w->removed_count * 512u;
}

int backend_secure(struct backend *b, uint64_t bytes)
{
    MDB_envinfo info;
    mdb_env_info(b->env, &info);
    uint64_t end = (info.me_last_pgno + 1) * b->page_bytes + bytes;
    if (end <= b->secured_bytes)
        return 0;
    uint64_t more = end - b->secured_bytes;
    uint64_t step = more > STORE_SPACE_STEP ? more : STORE_SPACE_STEP;
    int err = rt_file_allocate(b->file, b->secured_bytes, step);
    if (err == -ENOSPC && step > more)
        err = rt_file_allocate(b->file, b->secured_bytes, step = more);
    if (err == -EOPNOTSUPP) { // no fallocate here: at least look before leaping
        uint64_t free_bytes;
        err = rt_free_bytes(b->dir, &free_bytes);
        if (!err && free_bytes < 2 * more)
            err = -ENOSPC;
        step = more;
    }
    if (!err)
        b->secured_bytes += step;
    return err;
}

/* ---- Reading ---- */

MDB_txn *backend_read_begin(struct backend *b)
{
    MDB_txn *txn = NULL;
    rt_sem_acquire(&b->readers_free, 1, RT_FOREVER);
    rt_mutex_lock(&b->idle_lock);
    if (b->idle_count)
        txn = b->idle[--b->idle_count];
    rt_mutex_unlock(&b->idle_lock);
    int rc = txn ? mdb_txn_renew(txn) : mdb_txn_begin(b->env, NULL, MDB_RDONLY, &txn);
    if (rc) {
        char buf[128];
        rt_fatal("cannot read the database in %s: %s", b->dir, backend_error(rc, buf, sizeof buf));
    }
    return txn;
}

void backend_read_end(struct backend *b, MDB_txn *snapshot)
{
    mdb_txn_reset(snapshot);
    rt_mutex_lock(&b->idle_lock);
    assert(b->idle_count < STORE_READERS);
    b->idle[b->idle_count++] = snapshot;
    rt_mutex_unlock(&b->idle_lock);
    rt_sem_release(&b->readers_free, 1);
}

int backend_get_state(struct backend *b, MDB_txn *snapshot, struct backend_state *out,
                      struct why *why)
{
    MDB_val key = {5, "state"}, value;
    int rc = mdb_get(snapshot, b->meta, &key, &value);
    if (rc) {
        char buf[128];
        why_set(why, "the database in %s has no state record (%s): damaged; replace this member",
                b->dir, backend_error(rc, buf, sizeof buf));
        return STORE_DAMAGED;
    }
    return backend_state_get(rt_bytes(value.mv_data, value.mv_size), out, why);
}

bool backend_get_row(struct backend *b, MDB_txn *snapshot, struct rev rev, struct rt_bytes *out)
{
    uint8_t name[ROW_NAME_MAX];
    MDB_val key = {row_name_put(name, rev), name}, value;
    int rc = mdb_get(snapshot, b->rows, &key, &value);
    if (rc == MDB_NOTFOUND)
        return false;
    if (rc) {
        char buf[128];
        rt_fatal("cannot read the database in %s: %s", b->dir, backend_error(rc, buf, sizeof buf));
    }
    *out = rt_bytes(value.mv_data, value.mv_size);
    return true;
}

/* ---- Open and close ---- */

static int open_tables(struct backend *b)
{
    MDB_txn *txn;
    MDB_val key = {5, "state"}, value;
    int rc = mdb_txn_begin(b->env, NULL, 0, &txn);
    if (rc)
        return rc;
    rc = mdb_dbi_open(txn, "key", MDB_CREATE, &b->rows);
    if (!rc)
        rc = mdb_dbi_open(txn, "meta", MDB_CREATE, &b->meta);
    if (!rc && mdb_get(txn, b->meta, &key, &value) == MDB_NOTFOUND) {
        MDB_stat stat;
        rc = mdb_stat(txn, b->rows, &stat);
        if (!rc && stat.ms_entries == 0) // rows without a state are damage, found by the reader
            rc = put_state(b, txn,
                           &(struct backend_state){
                               .revision = 1, .compact_scheduled = -1, .compact_finished = -1});
    }
    if (rc) {
        mdb_txn_abort(txn);
        return rc;
    }
    rc = mdb_txn_commit(txn);
    return rc ? rc : measure(b);
}

static int64_t open_blocking(void *arg)
{
    struct backend *b = arg;
    MDB_stat stat;
    int rc = mdb_env_create(&b->env);
    if (rc)
        return rc;
    mdb_env_set_maxdbs(b->env, 4);
    mdb_env_set_maxreaders(b->env, STORE_READERS + 8);
    rc = mdb_env_set_mapsize(b->env, STORE_MAP_BYTES);
    if (!rc)
        rc = mdb_env_open(b->env, b->dir, MDB_NOTLS, 0600);
    if (!rc)
        rc = mdb_env_stat(b->env, &stat);
    if (!rc) {
        b->page_bytes = stat.ms_psize;
        rc = open_tables(b);
    }
    return rc;
}

int backend_open(struct backend *b, const char *dir, struct why *why)
{
    char buf[128];
    *b = (struct backend){.readers_free = {.count = STORE_READERS}};
    static_assert(STORE_READERS <= sizeof b->idle / sizeof b->idle[0], "a place for each reader");
    int err = rt_mkdir(dir, 0700);
    if (err && err != -EEXIST) {
        why_set(why, "cannot make %s: %s", dir, why_errno(err, buf, sizeof buf));
        return err;
    }
    b->dir = rt_strdup(dir);
    err = (int)rt_blocking(open_blocking, b);
    if (err) {
        why_set(why, "cannot open the database in %s: %s", dir,
                backend_error(err, buf, sizeof buf));
        backend_close(b);
        return err > 0 ? -err : STORE_DAMAGED;
    }
    struct rt_string path = {NULL, 0, 0};
    rt_string_printf(&path, "%s/data.mdb", dir);
    err = rt_file_open(rt_string_cstr(&path), RT_OPEN_READ | RT_OPEN_WRITE, 0600, &b->file);
    if (!err)
        err = rt_file_size(b->file, &b->secured_bytes);
    // The names must outlive a power loss before anything counts on the data: data.mdb in its folder, and
    // the folder beside the others.
    if (!err)
        err = rt_sync_dir(dir);
    if (!err) {
        path.len = 0;
        rt_string_printf(&path, "%s/..", dir);
        err = rt_sync_dir(rt_string_cstr(&path));
    }
    if (err) {
        why_set(why, "cannot open %s: %s", rt_string_cstr(&path), why_errno(err, buf, sizeof buf));
        backend_close(b);
    }
    rt_string_deinit(&path);
    return err;
}

static int64_t close_blocking(void *arg)
{
    struct backend *b = arg;
    for (uint32_t i = 0; i < b->idle_count; i++)
        mdb_txn_abort(b->idle[i]);
    mdb_env_close(b->env);
    return 0;
}

void backend_close(struct backend *b)
{
    if (b->env)
        rt_blocking(close_blocking, b);
    if (b->file)
        rt_file_close(b->file);
    rt_free(b->dir);
    *b = (struct backend){.env = NULL};
}

void backend_replace(struct backend *b, struct backend *next)
{
    rt_sem_acquire(&b->readers_free, STORE_READERS, RT_FOREVER);
    struct backend old = *b;
    b->env = next->env;
    b->rows = next->rows;
    b->meta = next->meta;
    b->file = next->file;
    b->dir = next->dir;
    b->secured_bytes = next->secured_bytes;
    b->page_bytes = next->page_bytes;
    b->idle_count = 0;
    atomic_store(&b->size_bytes, atomic_load(&next->size_bytes));
    atomic_store(&b->in_use_bytes, atomic_load(&next->in_use_bytes));
    for (uint32_t i = 0; i < next->idle_count; i++)
        b->idle[b->idle_count++] = next->idle[i];
    next->env = NULL;
    next->file = NULL;
    next->dir = NULL;
    rt_sem_release(&b->readers_free, STORE_READERS);
    backend_close(&old);
    backend_close(next);
}
