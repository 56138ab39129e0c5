/* kv/store/load.c: see load.h. */
#include "kv/store/load.h"
#include "kv/store/state.h"
#include <assert.h>
#include <rt/go.h>

static int load_meta_one(struct store *s, struct rt_bytes name, struct rt_bytes value)
{
    struct store_alarm alarm;
    int64_t id, ttl, remaining;
    if (rt_bytes_equal(name, RT_BYTES("state")))
        return 0;
    switch (name.len ? name.data[0] : 0) {
    case 'l':
        if (!lease_read(name, value, &id, &ttl, &remaining))
            return STORE_DAMAGED;
        leases_add(&s->leases, id, ttl, remaining);
        return 0;
    case 'a':
        if (!alarm_name_get(name, &alarm))
            return STORE_DAMAGED;
        records_set_alarm(&s->records, alarm);
        return 0;
    case 'c':
        if (name.len < 2)
            return STORE_DAMAGED;
        records_put(&s->records, rt_bytes(name.data + 1, name.len - 1), value);
        return 0;
    default:
        return STORE_DAMAGED;
    }
}

static int load_meta(struct store *s, MDB_txn *snapshot, struct why *why)
{
    MDB_cursor *cursor;
    MDB_val name, value;
    int err = 0, rc = mdb_cursor_open(snapshot, s->backend.meta, &cursor);
    if (rc)
        return STORE_DAMAGED;
    while (!err && (rc = mdb_cursor_get(cursor, &name, &value, MDB_NEXT)) == 0)
        err = load_meta_one(s, rt_bytes(name.mv_data, name.mv_size),
                            rt_bytes(value.mv_data, value.mv_size));
    mdb_cursor_close(cursor);
    if (err || rc != MDB_NOTFOUND) {
        why_set(why,
                "the database in %s has a record that cannot be read: damaged; replace this "
                "member",
                s->dir);
        return STORE_DAMAGED;
    }
    return 0;
}

static int load_row(struct store *s, struct rt_bytes name, struct rt_bytes value, int64_t revision)
{
    struct rev rev;
    struct row row;
    if (row_name_get(name, &rev) || row_get(value, &row) || rev.main > revision)
        return STORE_DAMAGED;
    if (!rev.tombstone && (row.version <= 0 || row.mod != rev.main))
        return STORE_DAMAGED;
    struct index_key *k = key_index_restore(&s->index, row.key, rev, rev.tombstone ? 0 : row.create,
                                            rev.tombstone ? 0 : row.version);
    // A row may name a lease that was revoked long ago: then a later row deletes the key.
    lease_attach(row.lease && !rev.tombstone ? leases_find(&s->leases, row.lease) : NULL, k);
    return 0;
}

static int load_rows(struct store *s, MDB_txn *snapshot, int64_t revision, struct why *why)
{
    MDB_cursor *cursor;
    MDB_val name, value;
    int err = 0, rc = mdb_cursor_open(snapshot, s->backend.rows, &cursor);
    uint64_t count = 0;
    if (rc)
        return STORE_DAMAGED;
    while (!err && (rc = mdb_cursor_get(cursor, &name, &value, MDB_NEXT)) == 0) {
        err = load_row(s, rt_bytes(name.mv_data, name.mv_size),
                       rt_bytes(value.mv_data, value.mv_size), revision);
        count++;
    }
    mdb_cursor_close(cursor);
    if (err || rc != MDB_NOTFOUND) {
        why_set(why,
                "the database in %s: row number %llu cannot be read: damaged; replace this "
                "member",
                s->dir, (unsigned long long)count);
        return STORE_DAMAGED;
    }
    return 0;
}

int load_all(struct store *s, struct why *why)
{
    struct backend_state state;
    MDB_txn *snapshot = backend_read_begin(&s->backend);
    int err = backend_get_state(&s->backend, snapshot, &state, why);
    if (!err)
        err = load_meta(s, snapshot, why);
    if (!err)
        err = load_rows(s, snapshot, state.revision, why);
    backend_read_end(&s->backend, snapshot);
    if (err)
        return err;
    atomic_store(&s->revision, state.revision);
    atomic_store(&s->compact_revision, state.compact_scheduled);
    atomic_store(&s->applied_term, state.term);
    atomic_store(&s->applied_index, state.index);
    recent_reset(&s->recent, state.index, state.term);
    flusher_reset(s, &state);
    rt_gauge_set(s->metrics.revision, state.revision);
    rt_gauge_set(s->metrics.compact_revision, state.compact_scheduled);
    rt_gauge_set(s->metrics.keys, (int64_t)s->index.living);
    return 0;
}

void load_drop(struct store *s)
{
    key_index_deinit(&s->index);
    key_index_init(&s->index);
    leases_clear(&s->leases);
    records_clear(&s->records);
}
