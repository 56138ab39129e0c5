/* kv/store/range.c: see range.h. The usual range goes straight from the stored bytes into the answer,
 * page by page; one with filters or another order collects first. */
#include "kv/store/range.h"
#include "kv/store/limits.h"
#include "kv/store/rows.h"
#include "kv/store/sort.h"
#include "kv/store/state.h"
#include "proto/fields.h"
#include <assert.h>

void range_walk_init(struct range_walk *w, struct key_range keys, struct rev before)
{
    *w = (struct range_walk){.keys = keys, .before = before};
}

void range_walk_deinit(struct range_walk *w) { rt_string_deinit(&w->next); }

static uint32_t walk_locked(struct store *s, struct range_walk *w, struct rev *revs)
{
    struct rt_bytes from = w->begun ? rt_bytes(w->next.data, w->next.len) : w->keys.from;
    struct index_key *k;
    uint32_t n = 0, looked = 0;
    w->begun = true;
    if (w->keys.kind == KEYS_ONE) {
        w->done = true;
        k = key_index_find(&s->index, w->keys.from);
        return k && index_key_at(&s->index, k, w->before, &revs[0]);
    }
    struct index_cursor c = key_index_seek(&s->index, from);
    while ((k = index_cursor_next(&c)) && key_range_has(&w->keys, index_key_bytes(k))) {
        if (looked++ == RANGE_PAGE) {
            w->next.len = 0;
            rt_string_append(&w->next, k->key, k->key_len);
            return n;
        }
        if (index_key_at(&s->index, k, w->before, &revs[n]))
            n++;
    }
    w->done = true;
    return n;
}

uint32_t range_walk_page(struct store *s, struct range_walk *w, struct rev *revs)
{
    static_assert((int)RANGE_PAGE <= (int)STORE_PAGE_KEYS, "one hold of the lock");
    uint32_t n = 0;
    while (n == 0 && !w->done) {
        rt_rwmutex_rlock(&s->index_lock);
        n = walk_locked(s, w, revs);
        rt_rwmutex_runlock(&s->index_lock);
    }
    return n;
}

/* How many keys live in the range: by the tree when nothing newer is there, else by walking. */
static int64_t count_keys(struct store *s, struct key_range keys, struct rev before,
                          struct rev *page)
{
    struct range_walk w;
    int64_t count = 0;
    rt_rwmutex_rlock(&s->index_lock);
    bool newest = before.main > atomic_load(&s->revision);
    if (newest && keys.kind != KEYS_ONE)
        count = (int64_t)key_index_count(&s->index, keys.from,
                                         keys.kind == KEYS_BETWEEN ? &keys.to : NULL);
    rt_rwmutex_runlock(&s->index_lock);
    if (newest && keys.kind != KEYS_ONE)
        return count;
    range_walk_init(&w, keys, before);
    for (uint32_t n; (n = range_walk_page(s, &w, page)) > 0;)
        count += n;
    range_walk_deinit(&w);
    return count;
}

/* ---- Rows into the answer ---- */

struct sink {
    struct rt_string *body;
    uint64_t max_bytes, start;
    uint32_t number; // field
    bool keys_only;
};

static void append_without_value(struct rt_string *body, uint32_t number, struct rt_bytes row)
{
    struct fields f = fields_of(row);
    struct field it;
    size_t mark = field_begin(body, number);
    while (fields_next(&f, &it) > 0)
        if (it.number != 5)
            rt_string_append(body, it.raw.data, it.raw.len);
    field_end(body, mark);
}

static int sink_row(struct sink *k, struct rt_bytes row)
{
    if (k->keys_only)
        append_without_value(k->body, k->number, row);
    else {
        field_add_len(k->body, k->number, row.len);
        rt_string_append(k->body, row.data, row.len);
    }
    return k->body->len - k->start > k->max_bytes ? STORE_TOO_LARGE : 0;
}

static int sink_each(void *arg, uint32_t i, struct rt_bytes row)
{
    (void)i;
    return sink_row(arg, row);
}

static int append_in_order(struct store *s, struct key_range keys, struct rev before, int64_t limit,
                           struct rev *page, struct sink *sink)
{
    struct range_walk w;
    int64_t left = limit > 0 ? limit : INT64_MAX;
    int err = 0;
    range_walk_init(&w, keys, before);
    for (uint32_t n; !err && left > 0 && (n = range_walk_page(s, &w, page)) > 0;) {
        n = n < left ? n : (uint32_t)left;
        err = rows_each(s, page, n, sink_each, sink);
        left -= n;
    }
    range_walk_deinit(&w);
    return err;
}

/* ---- Filters and orders ---- */

struct kept {
    size_t offset, len; // in bytes
    struct row row;     // of sort: views are set once the bytes stay where they are
};

struct collect {
    const struct range_request *r;
    struct rt_string bytes;
    struct kept *kept;
    uint32_t count, cap;
    uint64_t max_bytes;
};

static bool passes(const struct range_request *r, const struct row *row)
{
    return row->mod >= r->min_mod && (r->max_mod == 0 || row->mod <= r->max_mod) &&
           row->create >= r->min_create && (r->max_create == 0 || row->create <= r->max_create);
}

static int collect_row(void *arg, uint32_t i, struct rt_bytes bytes)
{
    struct collect *c = arg;
    struct row row;
    (void)i;
    if (row_get(bytes, &row))
        return STORE_DAMAGED;
    if (!passes(c->r, &row))
        return 0;
    if (c->bytes.len + bytes.len > c->max_bytes)
        return STORE_TOO_LARGE;
    if (c->count == c->cap) {
        c->cap = c->cap ? 2 * c->cap : 64;
        c->kept = rt_realloc(c->kept, c->cap * sizeof *c->kept);
        if (!c->kept)
            rt_fatal("out of memory: sorting %u keys", c->cap);
    }
    c->kept[c->count++] = (struct kept){.offset = c->bytes.len, .len = bytes.len};
    rt_string_append(&c->bytes, bytes.data, bytes.len);
    return 0;
}

static int64_t order_of(int64_t a, int64_t b) { return (a > b) - (a < b); }

static int by_target(void *a, void *b, void *arg)
{
    const struct range_request *r = arg;
    const struct row *x = &((struct kept *)a)->row, *y = &((struct kept *)b)->row;
    int64_t order = 0;
    switch (r->sort_target) {
    case SORT_KEY:
        order = rt_bytes_compare(x->key, y->key);
        break;
    case SORT_VERSION:
        order = order_of(x->version, y->version);
        break;
    case SORT_CREATE:
        order = order_of(x->create, y->create);
        break;
    case SORT_MOD:
        order = order_of(x->mod, y->mod);
        break;
    case SORT_VALUE:
        order = rt_bytes_compare(x->value, y->value);
        break;
    }
    int sign = (order > 0) - (order < 0);
    return r->sort_order == SORT_DESCEND ? -sign : sign;
}

static int emit_sorted(struct collect *c, struct sink *sink, bool *more)
{
    struct kept **order = rt_alloc((c->count + 1) * sizeof *order);
    uint32_t n = c->count;
    int err = 0;
    if (!order)
        rt_fatal("out of memory: sorting %u keys", c->count);
    for (uint32_t i = 0; i < c->count; i++) {
        order[i] = &c->kept[i];
        row_get(rt_bytes(c->bytes.data + c->kept[i].offset, c->kept[i].len), &c->kept[i].row);
    }
    if (c->r->sort_target != SORT_KEY || c->r->sort_order == SORT_DESCEND)
        sort_pointers((void **)order, c->count, by_target, (void *)c->r);
    *more = c->r->limit > 0 && n > c->r->limit;
    if (*more)
        n = (uint32_t)c->r->limit;
    for (uint32_t i = 0; i < n && !err; i++)
        err = sink_row(sink, rt_bytes(c->bytes.data + order[i]->offset, order[i]->len));
    rt_free(order);
    return err;
}

static int append_collected(struct store *s, const struct range_request *r, struct key_range keys,
                            struct rev before, struct rev *page, struct sink *sink, bool *more)
{
    struct collect c = {.r = r, .max_bytes = sink->max_bytes};
    struct range_walk w;
    int err = 0;
    range_walk_init(&w, keys, before);
    for (uint32_t n; !err && (n = range_walk_page(s, &w, page)) > 0;)
        err = rows_each(s, page, n, collect_row, &c);
    range_walk_deinit(&w);
    if (!err)
        err = emit_sorted(&c, sink, more);
    rt_string_deinit(&c.bytes);
    rt_free(c.kept);
    return err;
}

/* ---- The whole ---- */

static bool is_plain(const struct range_request *r)
{
    bool in_key_order = r->sort_target == SORT_KEY && r->sort_order != SORT_DESCEND;
    return in_key_order && r->min_mod <= 0 && r->max_mod == 0 && r->min_create <= 0 &&
           r->max_create == 0; // one below 0 lets nothing through
}

static int append_with_page(struct store *s, const struct range_request *r, struct rev before,
                            struct rev *page, struct rt_string *body)
{
    struct key_range keys = request_keys(r->key, r->range_end);
    struct sink sink = {body, s->options.range_max_bytes, body->len, 2, r->keys_only};
    int64_t count = count_keys(s, keys, before, page);
    bool more = false;
    int err = 0;
    if (!r->count_only && is_plain(r)) {
        err = append_in_order(s, keys, before, r->limit, page, &sink);
        more = r->limit > 0 && count > r->limit;
    } else if (!r->count_only)
        err = append_collected(s, r, keys, before, page, &sink, &more);
    field_add_uint(body, 3, more);
    field_add_int(body, 4, count);
    return err;
}

int range_append(struct store *s, const struct range_request *r, struct rev before,
                 struct rt_string *body)
{
    size_t start = body->len;
    int err;
    rt_counter_add(s->metrics.ranges, 1);
    if (r->range_end.len == 0) {
        struct rev one;
        err = append_with_page(s, r, before, &one, body);
    } else {
        struct rev *page = rt_alloc(RANGE_PAGE * sizeof *page);
        err = append_with_page(s, r, before, page, body);
        rt_free(page);
    }
    if (err)
        body->len = start;
    return err;
}

int range_append_rows(struct store *s, struct key_range keys, struct rev before, uint32_t number,
                      struct rt_string *body)
{
    struct sink sink = {body, s->options.range_max_bytes, body->len, number, false};
    struct rev *page = rt_alloc(RANGE_PAGE * sizeof *page);
    int err = append_in_order(s, keys, before, 0, page, &sink);
    rt_free(page);
    return err;
}
