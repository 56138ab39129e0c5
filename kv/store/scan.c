/* kv/store/scan.c: see scan.h. LMDB first, up to what it holds; the rest is in the recent log, which
 * lets nothing go before LMDB has it. If it let some go meanwhile, LMDB is asked again. */
#include "kv/store/scan.h"
#include "kv/store/limits.h"
#include "kv/store/state.h"
#include <assert.h>

uint32_t scan_durable(struct store *s, struct rev *next, struct rt_arena *arena,
                      struct scan_row *rows, uint32_t max, size_t max_bytes, int64_t *durable)
{
    uint8_t name[ROW_NAME_MAX];
    MDB_val key = {row_name_put(name, *next), name}, value;
    MDB_cursor *cursor;
    struct backend_state state;
    uint32_t n = 0;
    size_t bytes = 0;
    MDB_txn *snapshot = backend_read_begin(&s->backend);
    int rc = mdb_cursor_open(snapshot, s->backend.rows, &cursor);
    if (rc || backend_get_state(&s->backend, snapshot, &state, NULL))
        rt_fatal("cannot read the database in %s", s->dir);
    for (rc = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
         rc == 0 && n < max && (n == 0 || bytes < max_bytes);
         rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) {
        if (row_name_get(rt_bytes(key.mv_data, key.mv_size), &rows[n].rev))
            rt_fatal("the database in %s is damaged; replace this member", s->dir);
        rows[n].bytes = rt_bytes(rt_arena_copy(arena, value.mv_data, value.mv_size), value.mv_size);
        bytes += value.mv_size;
        n++;
    }
    if (rc && rc != MDB_NOTFOUND)
        rt_fatal("cannot read the database in %s", s->dir);
    mdb_cursor_close(cursor);
    backend_read_end(&s->backend, snapshot);
    if (n)
        *next = (struct rev){.main = rows[n - 1].rev.main, .sub = rows[n - 1].rev.sub + 1};
    *durable = state.revision;
    return n;
}

struct scan {
    int64_t upto;
    int (*each)(void *arg, struct rev rev, struct rt_bytes bytes);
    void *arg;
};

/* Up to the end of what is durable, or past upto. *next is where to go on. */
static int scan_lmdb(struct store *s, const struct scan *c, struct rev *next)
{
    struct scan_row *rows = rt_alloc(SCAN_PAGE_ROWS * sizeof *rows);
    struct rt_arena arena;
    int64_t durable = 0;
    int err = 0;
    rt_arena_init(&arena);
    while (!err && next->main <= c->upto) {
        uint32_t n =
            scan_durable(s, next, &arena, rows, SCAN_PAGE_ROWS, STORE_PAGE_BYTES, &durable);
        for (uint32_t i = 0; i < n && !err && rows[i].rev.main <= c->upto; i++)
            err = c->each(c->arg, rows[i].rev, rows[i].bytes);
        rt_arena_reset(&arena);
        if (n == 0) {
            if (durable >= next->main)
                *next = (struct rev){.main = durable + 1};
            break;
        }
    }
    rt_arena_deinit(&arena);
    rt_free(rows);
    return err;
}

static int scan_recent(struct store *s, const struct scan *c, struct rev *next)
{
    uint64_t pos;
    int err = 0;
    if (!recent_seek(&s->recent, next->main, &pos))
        return 0;
    while (!err && next->main <= c->upto) {
        struct recent_entry *e = recent_at(&s->recent, pos++);
        if (!e) // dropped: durable by now
            break;
        for (uint32_t i = 0; i < e->row_count && !err && e->rows[i].rev.main <= c->upto; i++)
            if (e->rows[i].rev.main >= next->main)
                err = c->each(c->arg, e->rows[i].rev, e->rows[i].bytes);
        if (e->revision >= next->main)
            *next = (struct rev){.main = e->revision + 1};
        recent_entry_unref(e);
    }
    return err;
}

int scan_rows(struct store *s, int64_t from, int64_t upto,
              int (*each)(void *arg, struct rev rev, struct rt_bytes bytes), void *arg)
{
    struct scan c = {upto, each, arg};
    struct rev next = {.main = from};
    int err = 0;
    assert(from > 0);
    assert(upto <= atomic_load(&s->revision));
    while (!err && next.main <= upto) {
        err = scan_lmdb(s, &c, &next);
        if (!err)
            err = scan_recent(s, &c, &next);
    }
    return err;
}
