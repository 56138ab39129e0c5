/* kv/store/rows.c: see rows.h. Work goes in groups: the recent log's lock and an LMDB snapshot are
 * taken once for each. */
#include "kv/store/rows.h"
#include "kv/store/errors.h"
#include "kv/store/limits.h"
#include "kv/store/state.h"

enum { GROUP = 64 };

struct found {
    struct rt_bytes bytes[GROUP];
    struct recent_entry *entry[GROUP]; // who holds the bytes; NULL: to be looked up in LMDB
    uint32_t missing;
};

static void find_recent(struct store *s, const struct rev *revs, uint32_t n, struct found *f)
{
    f->missing = 0;
    rt_rwmutex_rlock(&s->recent.lock);
    for (uint32_t i = 0; i < n; i++) {
        f->entry[i] = NULL;
        if (!recent_find_locked(&s->recent, revs[i], &f->bytes[i], &f->entry[i]))
            f->missing++;
    }
    rt_rwmutex_runlock(&s->recent.lock);
}

static int hand_out(struct store *s, const struct rev *revs, uint32_t n, uint32_t base,
                    struct found *f, int (*each)(void *, uint32_t, struct rt_bytes), void *arg)
{
    MDB_txn *snapshot = f->missing ? backend_read_begin(&s->backend) : NULL;
    size_t bytes = 0;
    int err = 0;
    for (uint32_t i = 0; i < n && !err; i++) {
        if (!f->entry[i] && !backend_get_row(&s->backend, snapshot, revs[i], &f->bytes[i])) {
            err = STORE_COMPACTED;
            break;
        }
        err = each(arg, base + i, f->bytes[i]);
        bytes += f->bytes[i].len;
        if (snapshot && bytes > STORE_PAGE_BYTES) { // a snapshot never grows old
            backend_read_end(&s->backend, snapshot);
            snapshot = backend_read_begin(&s->backend);
            bytes = 0;
        }
    }
    if (snapshot)
        backend_read_end(&s->backend, snapshot);
    for (uint32_t i = 0; i < n; i++)
        recent_entry_unref(f->entry[i]);
    return err;
}

int rows_each(struct store *s, const struct rev *revs, uint32_t count,
              int (*each)(void *arg, uint32_t i, struct rt_bytes row), void *arg)
{
    struct found f;
    int err = 0;
    for (uint32_t base = 0; base < count && !err; base += GROUP) {
        uint32_t n = count - base < GROUP ? count - base : GROUP;
        find_recent(s, revs + base, n, &f);
        err = hand_out(s, revs + base, n, base, &f, each, arg);
    }
    return err;
}

struct copy {
    struct rt_arena *arena;
    struct rt_bytes out;
};

static int copy_row(void *arg, uint32_t i, struct rt_bytes row)
{
    struct copy *c = arg;
    (void)i;
    c->out = rt_bytes(rt_arena_copy(c->arena, row.data, row.len), row.len);
    return 0;
}

int rows_copy(struct store *s, struct rev rev, struct rt_arena *arena, struct rt_bytes *out)
{
    struct copy c = {.arena = arena};
    int err = rows_each(s, &rev, 1, copy_row, &c);
    if (!err)
        *out = c.out;
    return err;
}
