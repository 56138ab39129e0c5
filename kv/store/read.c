/* kv/store/read.c: reads outside of write transactions: choose the point in time, hold on to it, read.
 *
 * One key needs no pin: its row is found or it is not. When a compaction beyond the point in time was
 * applied meanwhile, the row may have been taken away before it was looked for, from the index (which
 * then says that there is no such key) or from the rows: the read begins again at the then newest
 * revision. */
#include "kv/store/check.h"
#include "kv/store/range.h"
#include "kv/store/state.h"
#include "proto/fields.h"
#include <assert.h>

/* Where a read stands: *before is the point in time, *revision the current one, for the header. */
static int stand(struct store *s, int64_t wanted, struct store_pin *pin, struct rev *before,
                 int64_t *revision)
{
    int err = 0;
    rt_rwmutex_rlock(&s->index_lock);
    int64_t current = atomic_load(&s->revision);
    int64_t at = wanted > 0 ? wanted : current;
    if (wanted > current)
        err = STORE_FUTURE_REVISION;
    else if (wanted > 0 && wanted < atomic_load(&s->compact_revision))
        err = STORE_COMPACTED;
    else if (pin)
        pins_add(&s->pins, pin, at);
    rt_rwmutex_runlock(&s->index_lock);
    *before = (struct rev){.main = at + 1};
    *revision = current;
    return err;
}

static int range_one(struct store *s, const struct range_request *r, struct rt_string *body,
                     int64_t *revision)
{
    int err;
    do {
        struct rev before;
        err = stand(s, r->revision, NULL, &before, revision);
        if (err)
            return err;
        size_t start = body->len;
        err = range_append(s, r, before, body);
        if (!err && atomic_load(&s->compact_revision) >= before.main) {
            body->len = start;
            err = STORE_COMPACTED;
        }
    } while (err == STORE_COMPACTED && r->revision <= 0);
    return err;
}

static int range_pinned(struct store *s, const struct range_request *r, struct rt_string *body,
                        int64_t *revision)
{
    struct store_pin pin = {.link = NULL};
    struct rev before;
    size_t start = body->len;
    int err = stand(s, r->revision, &pin, &before, revision);
    if (err)
        return err;
    err = range_append(s, r, before, body);
    if (!err && !pins_hold(&s->pins, &pin)) // it took so long that its rows may be gone
        err = STORE_COMPACTED;
    pins_remove(&s->pins, &pin);
    if (err)
        body->len = start;
    return err;
}

int store_range(struct store *s, struct rt_bytes request, struct rt_string *body, int64_t *revision)
{
    struct range_request r;
    int err = check_range(request);
    if (err)
        return err;
    request_read_range(request, &r);
    return r.range_end.len == 0 ? range_one(s, &r, body, revision)
                                : range_pinned(s, &r, body, revision);
}

/* ---- Read-only transactions ---- */

/* Does this compare hold at the point in time? By the rows: only the applier may ask the index for
 * what is newest. */
struct judge {
    const struct compare *c;
    bool holds, any;
};

static bool compare_row(const struct compare *c, const struct row *row, bool lives)
{
    int64_t a = 0, b = 0;
    int order;
    switch (c->target) {
    case COMPARE_VERSION:
        a = row->version;
        b = c->version;
        break;
    case COMPARE_CREATE:
        a = row->create;
        b = c->create;
        break;
    case COMPARE_MOD:
        a = row->mod;
        b = c->mod;
        break;
    case COMPARE_LEASE:
        a = row->lease;
        b = c->lease;
        break;
    default:
        break;
    }
    order = (a > b) - (a < b);
    if (c->target == COMPARE_VALUE) {
        if (!lives)
            return false;
        order = rt_bytes_compare(row->value, c->value);
    }
    switch (c->result) {
    case COMPARE_EQUAL:
        return order == 0;
    case COMPARE_NOT_EQUAL:
        return order != 0;
    case COMPARE_GREATER:
        return order > 0;
    case COMPARE_LESS:
        return order < 0;
    default:
        return true;
    }
}

static int compare_all(struct store *s, struct rt_bytes txn, struct rev before, bool *succeeded)
{
    struct txn_walk w = txn_walk(txn, TXN_COMPARE);
    struct rt_bytes element;
    struct rt_string rows = {NULL, 0, 0};
    int err = 0;
    *succeeded = true;
    while (!err && *succeeded && txn_next(&w, &element) > 0) {
        struct compare c;
        struct fields f;
        struct field it;
        bool any = false;
        request_read_compare(element, &c);
        rows.len = 0;
        err = range_append_rows(s, request_keys(c.key, c.range_end), before, 1, &rows);
        f = fields_of(rt_bytes(rows.data, rows.len));
        while (!err && fields_next(&f, &it) > 0) {
            struct row row;
            if (row_get(it.bytes, &row))
                err = STORE_DAMAGED;
            else if (!compare_row(&c, &row, true))
                *succeeded = false;
            any = true;
        }
        if (!any && !compare_row(&c, &(struct row){.version = 0}, false))
            *succeeded = false;
    }
    rt_string_deinit(&rows);
    return err;
}

static int append_range_op(struct store *s, struct rt_bytes request, int64_t current,
                           struct rt_string *body)
{
    struct range_request r;
    request_read_range(request, &r);
    if (r.revision > current)
        return STORE_FUTURE_REVISION;
    if (r.revision && r.revision < atomic_load(&s->compact_revision))
        return STORE_COMPACTED; // also below 0, unlike a range by itself: etcd
    size_t op = field_begin(body, 3);
    size_t range = field_begin(body, OP_RANGE);
    size_t header = field_begin(body, 1);
    field_add_int(body, 3, current);
    field_end(body, header);
    int err = range_append(s, &r, (struct rev){.main = (r.revision > 0 ? r.revision : current) + 1},
                           body);
    field_end(body, range);
    field_end(body, op);
    return err;
}

static int append_branch(struct store *s, struct rt_bytes txn, bool succeeded, int64_t current,
                         struct rt_string *body)
{
    struct txn_walk w = txn_walk(txn, succeeded ? TXN_SUCCESS : TXN_FAILURE);
    struct op op;
    int err = 0;
    field_add_uint(body, 2, succeeded);
    while (!err && txn_next_op(&w, &op) > 0)
        err = append_range_op(s, op.body, current, body);
    return err;
}

/* The oldest revision that one of the ranges asks for. */
static int64_t oldest_wanted(struct rt_bytes txn, int64_t current)
{
    int64_t oldest = current;
    for (enum txn_part part = TXN_SUCCESS; part <= TXN_FAILURE; part++) {
        struct txn_walk w = txn_walk(txn, part);
        struct op op;
        while (txn_next_op(&w, &op) > 0) {
            struct range_request r;
            request_read_range(op.body, &r);
            if (r.revision > 0 && r.revision < oldest)
                oldest = r.revision;
        }
    }
    return oldest;
}

int store_read_txn(struct store *s, struct rt_bytes request, struct rt_string *body,
                   int64_t *revision)
{
    struct store_request checked;
    struct store_pin pin = {.link = NULL};
    size_t start = body->len;
    bool succeeded;
    int err = check_request(STORE_TXN, request, 0, &checked);
    if (err)
        return err;
    assert(checked.read_only);
    rt_rwmutex_rlock(&s->index_lock);
    int64_t current = atomic_load(&s->revision);
    pins_add(&s->pins, &pin, oldest_wanted(request, current));
    rt_rwmutex_runlock(&s->index_lock);
    err = compare_all(s, request, (struct rev){.main = current + 1}, &succeeded);
    if (!err)
        err = append_branch(s, request, succeeded, current, body);
    if (!err && !pins_hold(&s->pins, &pin))
        err = STORE_COMPACTED;
    pins_remove(&s->pins, &pin);
    if (err)
        body->len = start;
    *revision = current;
    return err;
}
