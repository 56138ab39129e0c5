/* kv/store/apply_kv.c: put, delete and transactions. What a transaction will do is decided before it
 * does anything: the branches on the state before it, then every check on the chosen path. */
#include "kv/store/apply.h"
#include "kv/store/rows.h"
#include "kv/store/state.h"
#include <assert.h>

/* What a decision needs to know of one key's newest row. */
struct known {
    bool lives;
    struct rev rev;
    int64_t create, version, lease;
};

static struct known look(struct store *s, const struct index_key *k)
{
    (void)s;
    if (!k || !index_key_lives(k))
        return (struct known){.lives = false};
    return (struct known){true, index_key_newest(k), k->create, k->version,
                          k->lease ? k->lease->id : 0};
}

/* Only the applier changes keys, but the flusher trims revisions: the lock keeps it away. */
static struct known find(struct store *s, struct rt_bytes key)
{
    rt_rwmutex_rlock(&s->index_lock);
    struct known k = look(s, key_index_find(&s->index, key));
    rt_rwmutex_runlock(&s->index_lock);
    return k;
}

static int fetch(struct store *s, struct rev rev, struct row *out)
{
    struct rt_bytes bytes;
    int err = rows_copy(s, rev, &s->apply.arena, &bytes);
    if (err || row_get(bytes, out)) // the newest row of a living key is never compacted
        rt_fatal("the row of revision %lld.%u is missing or damaged in %s; replace this member",
                 (long long)rev.main, rev.sub, s->dir);
    return 0;
}

/* ---- Put and delete ---- */

static bool lacks_lease(struct store *s, const struct put_request *put)
{
    return put->lease && !leases_find(&s->leases, put->lease);
}

static bool lacks_key(struct store *s, const struct put_request *put)
{
    return (put->ignore_value || put->ignore_lease) && !find(s, put->key).lives;
}

int judge_put(struct store *s, const struct put_request *put)
{
    if (lacks_lease(s, put))
        return STORE_LEASE_NOT_FOUND;
    return lacks_key(s, put) ? STORE_KEY_NOT_FOUND : 0;
}

/* In a transaction etcd looks for the key first. */
static int judge_put_of_txn(struct store *s, const struct put_request *put)
{
    if (lacks_key(s, put))
        return STORE_KEY_NOT_FOUND;
    return lacks_lease(s, put) ? STORE_LEASE_NOT_FOUND : 0;
}

int resolve_put(struct store *s, struct put_request *put)
{
    if (!put->ignore_value && !put->ignore_lease)
        return 0;
    struct known k = find(s, put->key);
    struct row row;
    if (put->ignore_lease)
        put->lease = k.lease;
    if (put->ignore_value) {
        fetch(s, k.rev, &row);
        put->value = row.value;
    }
    return 0;
}

/* The answer will have to read the state just before this operation. */
static void needs_before(struct store *s)
{
    if (s->apply.main - 1 < s->apply.pin_revision)
        s->apply.pin_revision = s->apply.main - 1;
}

void execute_put(struct store *s, const struct put_request *put)
{
    if (put->prev_kv)
        needs_before(s);
    plan_put(s, put->key, put->value, put->lease);
}

void execute_delete(struct store *s, const struct delete_request *del)
{
    struct key_range keys = request_keys(del->key, del->range_end);
    if (del->prev_kv)
        needs_before(s);
    plan_outcome(s, plan_delete_range(s, &keys));
}

/* ---- Compares ---- */

static int order_of(int64_t a, int64_t b) { return (a > b) - (a < b); }

static bool holds_for(struct store *s, const struct compare *c, const struct known *k)
{
    struct row row;
    int order = 0;
    switch (c->target) {
    case COMPARE_VALUE:
        if (!k->lives)
            return false;
        fetch(s, k->rev, &row);
        order = rt_bytes_compare(row.value, c->value);
        break;
    case COMPARE_VERSION:
        order = order_of(k->version, c->version);
        break;
    case COMPARE_CREATE:
        order = order_of(k->create, c->create);
        break;
    case COMPARE_MOD:
        order = order_of(k->lives ? k->rev.main : 0, c->mod);
        break;
    case COMPARE_LEASE:
        order = order_of(k->lease, c->lease);
        break;
    default:
        break; // an unknown target compares equal, as in etcd
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

/* A page of living keys in the range; *next is where to go on, empty at the end. */
enum { COMPARE_PAGE = 128 };
static uint32_t look_page(struct store *s, const struct key_range *keys, struct rt_bytes from,
                          struct known *page, struct rt_bytes *next)
{
    uint32_t n = 0;
    *next = rt_bytes(NULL, 0);
    rt_rwmutex_rlock(&s->index_lock);
    struct index_cursor cursor = key_index_seek(&s->index, from);
    for (struct index_key *k;
         (k = index_cursor_next(&cursor)) && key_range_has(keys, index_key_bytes(k));) {
        if (n == COMPARE_PAGE) {
            *next = rt_bytes(rt_arena_copy(&s->apply.arena, k->key, k->key_len), k->key_len);
            break;
        }
        if (index_key_lives(k))
            page[n++] = look(s, k);
    }
    rt_rwmutex_runlock(&s->index_lock);
    return n;
}

static bool holds(struct store *s, const struct compare *c)
{
    struct key_range keys = request_keys(c->key, c->range_end);
    if (keys.kind == KEYS_ONE) {
        struct known k = find(s, c->key);
        return holds_for(s, c, &k);
    }
    struct known *page = rt_arena_alloc(&s->apply.arena, COMPARE_PAGE * sizeof *page);
    struct rt_bytes next = c->key;
    bool any = false;
    while (next.len) {
        uint32_t n = look_page(s, &keys, next, page, &next);
        for (uint32_t i = 0; i < n; i++, any = true)
            if (!holds_for(s, c, &page[i]))
                return false;
    }
    return any || holds_for(s, c, &(struct known){.lives = false});
}

static bool all_hold(struct store *s, struct rt_bytes txn)
{
    struct txn_walk w = txn_walk(txn, TXN_COMPARE);
    struct rt_bytes element;
    while (txn_next(&w, &element) > 0) {
        struct compare c;
        request_read_compare(element, &c);
        if (!holds(s, &c))
            return false;
    }
    return true;
}

/* ---- Transactions ---- */

static void push_branch(struct apply *a, bool succeeded)
{
    if (a->branch_count == a->branch_cap) {
        a->branch_cap = a->branch_cap ? 2 * a->branch_cap : 16;
        a->branches = rt_realloc(a->branches, a->branch_cap * sizeof *a->branches);
        if (!a->branches)
            rt_fatal("out of memory: %u transactions in one", a->branch_cap);
    }
    a->branches[a->branch_count++] = succeeded;
}

static void choose(struct store *s, struct rt_bytes txn)
{
    bool succeeded = all_hold(s, txn);
    push_branch(&s->apply, succeeded);
    struct txn_walk w = txn_walk(txn, succeeded ? TXN_SUCCESS : TXN_FAILURE);
    struct op op;
    while (txn_next_op(&w, &op) > 0)
        if (op.kind == OP_TXN)
            choose(s, op.body);
}

static int judge_range(struct store *s, struct rt_bytes request)
{
    struct range_request r;
    request_read_range(request, &r);
    if (r.revision > s->apply.main - 1)
        return STORE_FUTURE_REVISION;
    if (r.revision && r.revision < s->apply.compact) // also below 0, unlike a range by itself: etcd
        return STORE_COMPACTED;
    int64_t reads = r.revision > 0 ? r.revision : s->apply.main - 1;
    if (reads < s->apply.pin_revision)
        s->apply.pin_revision = reads;
    return 0;
}

/* The checks of all operations of one kind on the chosen path, before anything is done. */
static int judge_chosen(struct store *s, struct rt_bytes txn, enum op_kind kind)
{
    struct apply *a = &s->apply;
    struct txn_walk w = txn_walk(txn, a->branches[a->branch_next++] ? TXN_SUCCESS : TXN_FAILURE);
    struct op op;
    int err = 0;
    while (!err && txn_next_op(&w, &op) > 0) {
        struct put_request put;
        if (op.kind == OP_TXN) {
            err = judge_chosen(s, op.body, kind);
        } else if (op.kind != kind) {
            continue;
        } else if (kind == OP_RANGE) {
            err = judge_range(s, op.body);
        } else {
            request_read_put(op.body, &put);
            err = judge_put_of_txn(s, &put);
        }
    }
    return err;
}

int judge_txn(struct store *s, struct rt_bytes txn)
{
    choose(s, txn);
    s->apply.branch_next = 0;
    int err = judge_chosen(s, txn, OP_PUT); // puts first: of two faults etcd tells that one
    s->apply.branch_next = 0;
    if (!err)
        err = judge_chosen(s, txn, OP_RANGE);
    s->apply.branch_next = 0;
    return err;
}

/* ignore_value inside a transaction: the value may be fetched under the lock, because nobody who
 * holds what this waits for (a snapshot, the recent log) waits for the index. */
static void execute_put_of_txn(struct store *s, struct put_request *put)
{
    struct index_key *k = key_index_find(&s->index, put->key);
    struct row row;
    if (put->ignore_lease || put->ignore_value) {
        assert(k); // judged; a transaction does not delete what it puts
        if (put->ignore_lease)
            put->lease = k->lease ? k->lease->id : 0;
        if (put->ignore_value) {
            fetch(s, index_key_newest(k), &row);
            put->value = row.value;
        }
    }
    execute_put(s, put);
}

void execute_txn(struct store *s, struct rt_bytes txn)
{
    struct apply *a = &s->apply;
    bool succeeded = a->branches[a->branch_next++];
    struct txn_walk w = txn_walk(txn, succeeded ? TXN_SUCCESS : TXN_FAILURE);
    struct op op;
    plan_outcome(s, succeeded);
    while (txn_next_op(&w, &op) > 0) {
        struct put_request put;
        struct delete_request del;
        switch (op.kind) {
        case OP_PUT:
            request_read_put(op.body, &put);
            execute_put_of_txn(s, &put);
            break;
        case OP_DELETE:
            request_read_delete(op.body, &del);
            execute_delete(s, &del);
            break;
        case OP_TXN:
            execute_txn(s, op.body);
            break;
        default:
            break; // ranges change nothing: store_answer computes them
        }
    }
}
