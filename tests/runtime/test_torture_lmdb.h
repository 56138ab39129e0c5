/* tests/runtime/test_torture_lmdb.h: LMDB transactions. A writer is wired to its thread from begin to
 * commit, since LMDB binds the write lock to it; begin and commit may wait and run as blocking calls.
 * Read transactions belong to nobody's thread (MDB_NOTLS). The second table has a compare function of
 * ours, so each call that may come to it is fenced against preemption. */
#pragma once
#include "tests/runtime/test_torture.h"
#include <lmdb.h>

enum { ROWS = 48 };

struct table {
    MDB_env *env;
    MDB_dbi plain, ordered;
};

struct row {
    uint64_t generation, key, check;
    uint8_t pad[80];
};

/* Backwards by the key's number. */
static int compare_backwards(const MDB_val *a, const MDB_val *b)
{
    uint32_t x, y;
    memcpy(&x, a->mv_data, sizeof(x));
    memcpy(&y, b->mv_data, sizeof(y));
    return (x < y) - (x > y);
}

static struct row make_row(uint64_t generation, uint32_t key)
{
    struct row r = {generation, key, (generation * 31 + key) * 0x9e3779b97f4a7c15u, {0}};
    pattern_fill(r.pad, sizeof(r.pad), r.check);
    return r;
}

static bool row_is_right(const MDB_val *v, uint64_t generation, uint32_t key)
{
    struct row want = make_row(generation, key), got;
    if (v->mv_size != sizeof(got))
        return false;
    memcpy(&got, v->mv_data, sizeof(got));
    return memcmp(&got, &want, sizeof(got)) == 0;
}

static int put_row(struct table *table, MDB_txn *txn, uint64_t generation, uint32_t key)
{
    struct row r = make_row(generation, key);
    MDB_val k = {sizeof(key), &key}, v = {sizeof(r), &r};
    int err = mdb_put(txn, table->plain, &k, &v, 0);
    if (err)
        return err;
    rt_nopreempt_begin();
    err = mdb_put(txn, table->ordered, &k, &v, 0);
    rt_nopreempt_end();
    return err;
}

struct txn_call {
    struct table *table;
    MDB_txn *txn;
};

static int64_t begin_write(void *arg)
{
    struct txn_call *c = arg;
    return mdb_txn_begin(c->table->env, NULL, 0, &c->txn);
}

static int64_t commit_write(void *arg) { return mdb_txn_commit(((struct txn_call *)arg)->txn); }

static int fill_table(struct table *table, const char *folder)
{
    struct txn_call c = {table, NULL};
    int err = mdb_env_create(&table->env);
    err = err ? err : mdb_env_set_mapsize(table->env, 64 << 20);
    err = err ? err : mdb_env_set_maxdbs(table->env, 2);
    err = err ? err : mdb_env_open(table->env, folder, MDB_NOTLS | MDB_NOSYNC, 0600);
    err = err ? err : (int)begin_write(&c);
    err = err ? err : mdb_dbi_open(c.txn, "plain", MDB_CREATE, &table->plain);
    err = err ? err : mdb_dbi_open(c.txn, "ordered", MDB_CREATE, &table->ordered);
    err = err ? err : mdb_set_compare(c.txn, table->ordered, compare_backwards);
    for (uint32_t key = 0; !err && key < ROWS; key++)
        err = put_row(table, c.txn, 1, key);
    return err ? err : mdb_txn_commit(c.txn);
}

static void *lmdb_open(const char *folder)
{
    struct table *table = rt_alloc_zero(sizeof(*table));
    rt_pin_thread();
    int err = fill_table(table, folder);
    rt_unpin_thread();
    if (err)
        rt_fatal("LMDB in %s: %s", folder, mdb_strerror(err));
    return table;
}

static bool lmdb_close(void *shared, char *wrong, size_t cap)
{
    struct table *table = shared;
    int dead = 0, err = mdb_reader_check(table->env, &dead);
    mdb_env_close(table->env);
    rt_free(table);
    if (err || dead)
        snprintf(wrong, cap, "%d readers died: %s", dead, mdb_strerror(err));
    return !err && !dead;
}

static int write_generation(struct tortured *t, struct txn_call *c)
{
    uint32_t key = 0;
    MDB_val k = {sizeof(key), &key}, v;
    struct row old;
    int err = mdb_get(c->txn, c->table->plain, &k, &v);
    if (err)
        return err;
    memcpy(&old, v.mv_data, sizeof(old));
    for (uint32_t i = 0; !err && i < ROWS; i++) {
        stroll(t);
        err = put_row(c->table, c->txn, old.generation + 1, i);
    }
    return err;
}

static bool write_round(struct tortured *t)
{
    struct txn_call c = {t->shared, NULL};
    rt_pin_thread();
    int err = (int)rt_blocking(begin_write, &c);
    if (!err) {
        err = write_generation(t, &c);
        if (err || draw_below(t, 8) == 0)
            mdb_txn_abort(c.txn);
        else
            err = (int)rt_blocking(commit_write, &c);
    }
    rt_unpin_thread();
    rt_sleep_ns((int64_t)draw_below(t, RT_MS));
    return err ? torture_wrong(t, "a write transaction: %s", mdb_strerror(err)) : true;
}

/* All rows of one snapshot are of one generation. */
static bool read_rows(struct tortured *t, MDB_txn *txn, uint64_t *generation)
{
    struct table *table = t->shared;
    for (uint32_t key = 0; key < ROWS; key++) {
        MDB_val k = {sizeof(key), &key}, v;
        int err = mdb_get(txn, table->plain, &k, &v);
        if (err)
            return torture_wrong(t, "row %u: %s", key, mdb_strerror(err));
        if (key == 0)
            memcpy(generation, v.mv_data, sizeof(*generation));
        stroll(t);
        if (!row_is_right(&v, *generation, key))
            return torture_wrong(t, "row %u is not of generation %lu", key,
                                 (unsigned long)*generation);
    }
    return true;
}

static bool walk_rows(struct tortured *t, MDB_txn *txn, uint64_t generation)
{
    struct table *table = t->shared;
    MDB_cursor *cursor;
    MDB_val k, v;
    int err = mdb_cursor_open(txn, table->ordered, &cursor);
    uint32_t want = ROWS;
    bool right = err == 0;
    while (right) {
        rt_nopreempt_begin();
        err = mdb_cursor_get(cursor, &k, &v, MDB_NEXT);
        rt_nopreempt_end();
        if (err)
            break;
        uint32_t key;
        memcpy(&key, k.mv_data, sizeof(key));
        right = key == --want && row_is_right(&v, generation, key);
    }
    if (right || err)
        mdb_cursor_close(cursor);
    if (!right || err != MDB_NOTFOUND || want != 0)
        return torture_wrong(t, "a walk over the rows ended at %u: %s", want, mdb_strerror(err));
    return true;
}

static bool read_round(struct tortured *t)
{
    struct table *table = t->shared;
    MDB_txn *txn = t->own;
    uint64_t generation = 0;
    int err = txn ? mdb_txn_renew(txn) : mdb_txn_begin(table->env, NULL, MDB_RDONLY, &txn);
    if (err)
        return torture_wrong(t, "a read transaction: %s", mdb_strerror(err));
    t->own = txn;
    bool right = read_rows(t, txn, &generation) && walk_rows(t, txn, generation);
    mdb_txn_reset(txn);
    return right;
}

static void read_leave(struct tortured *t)
{
    if (t->own)
        mdb_txn_abort(t->own);
}

enum { LMDB_WRITERS = 2 };

static bool lmdb_round(struct tortured *t)
{
    return t->who < LMDB_WRITERS ? write_round(t) : read_round(t);
}

static const struct work lmdb_works[] = {
    {"LMDB", LMDB_WRITERS + 3, lmdb_open, lmdb_round, read_leave, lmdb_close}};
