/* kv/store/txn_keys.c: see txn_keys.h. All puts are sorted by key, ties in the order of the request:
 * of several puts of one key it is enough to look at neighbours, as in any such three the outer two
 * meet where two neighbours meet. A delete covers a stretch of the sorted puts. */
#include "kv/store/txn_keys.h"
#include "kv/store/limits.h"
#include "kv/store/sort.h"
#include <assert.h>
#include <rt/alloc.h>
#include <rt/why.h>

enum { PAIRS_MAX = 4 << 20, HELD_INLINE = 8 };

/* A list of operations: one branch of one transaction. */
struct list {
    const struct list *parent; // NULL: of the outermost transaction
    uint32_t txn;              // which transaction, numbered in order of the request
    uint32_t slot;             // where that transaction stands in the parent
    enum txn_part branch;
    unsigned depth;
};

struct change {
    struct rt_bytes key, range_end;
    const struct list *list;
    uint32_t slot;  // place in its list
    uint32_t order; // in the request
};

struct keys {
    struct change **puts, **deletes;
    uint32_t put_count, put_cap, delete_count, delete_cap;
    uint32_t txns, order;
    struct rt_arena arena;
};

static void add(struct keys *k, struct change ***all, uint32_t *count, uint32_t *cap,
                struct change change)
{
    if (*count == *cap) {
        *cap = *cap ? 2 * *cap : HELD_INLINE;
        *all = rt_realloc(*all, *cap * sizeof **all);
        if (!*all)
            rt_fatal("out of memory: %u operations of a transaction", *cap);
    }
    (*all)[(*count)++] = rt_arena_copy(&k->arena, &change, sizeof change);
}

static int collect_txn(struct keys *k, struct rt_bytes txn, const struct list *parent,
                       uint32_t slot);

static int collect_list(struct keys *k, struct rt_bytes txn, const struct list *list)
{
    struct txn_walk w = txn_walk(txn, list->branch);
    struct op op;
    int more, err = 0;
    for (uint32_t slot = 0; (more = txn_next_op(&w, &op)) > 0 && !err; slot++) {
        struct change c = {.list = list, .slot = slot, .order = k->order++};
        struct put_request put;
        struct delete_request del;
        if (op.kind == OP_PUT && !(err = request_read_put(op.body, &put))) {
            c.key = put.key;
            add(k, &k->puts, &k->put_count, &k->put_cap, c);
        } else if (op.kind == OP_DELETE && !(err = request_read_delete(op.body, &del))) {
            c.key = del.key;
            c.range_end = del.range_end;
            add(k, &k->deletes, &k->delete_count, &k->delete_cap, c);
        } else if (op.kind == OP_TXN)
            err = collect_txn(k, op.body, list, slot);
    }
    return err ? err : more;
}

static int collect_txn(struct keys *k, struct rt_bytes txn, const struct list *parent,
                       uint32_t slot)
{
    uint32_t number = k->txns++;
    int err = 0;
    for (enum txn_part branch = TXN_SUCCESS; branch <= TXN_FAILURE && !err; branch++) {
        struct list *list = rt_arena_alloc(&k->arena, sizeof *list);
        *list = (struct list){parent, number, slot, branch, parent ? parent->depth + 1 : 0};
        err = collect_list(k, txn, list);
    }
    return err;
}

/* Where two changes meet: climb to the same list, remembering through which slot, or to different
 * branches of one transaction (then they exclude each other). */
struct meeting {
    bool exclusive;
    bool a_direct, b_direct; // stands in the common list itself
    uint32_t a_slot, b_slot;
};

static struct meeting meet(const struct change *a, const struct change *b)
{
    const struct list *x = a->list, *y = b->list;
    struct meeting m = {false, true, true, a->slot, b->slot};
    while (x != y) {
        if (x->txn == y->txn) {
            m.exclusive = true;
            return m;
        }
        bool climb_x = x->depth >= y->depth, climb_y = y->depth >= x->depth;
        if (climb_x) {
            m.a_slot = x->slot;
            m.a_direct = false;
            x = x->parent;
        }
        if (climb_y) {
            m.b_slot = y->slot;
            m.b_direct = false;
            y = y->parent;
        }
        assert(x);
        assert(y);
    }
    return m;
}

static int by_key_then_order(void *a, void *b, void *arg)
{
    const struct change *x = a, *y = b;
    (void)arg;
    int order = rt_bytes_compare(x->key, y->key);
    return order ? order : (x->order > y->order) - (x->order < y->order);
}

static bool puts_collide(const struct keys *k)
{
    for (uint32_t i = 1; i < k->put_count; i++)
        if (rt_bytes_equal(k->puts[i - 1]->key, k->puts[i]->key) &&
            !meet(k->puts[i - 1], k->puts[i]).exclusive)
            return true;
    return false;
}

static uint32_t first_put_from(const struct keys *k, struct rt_bytes key)
{
    uint32_t low = 0, high = k->put_count;
    while (low < high) {
        uint32_t mid = (low + high) / 2;
        if (rt_bytes_compare(k->puts[mid]->key, key) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static int delete_collides(const struct keys *k, const struct change *del, uint32_t *pairs)
{
    struct key_range range = request_keys(del->key, del->range_end);
    for (uint32_t i = first_put_from(k, del->key);
         i < k->put_count && key_range_has(&range, k->puts[i]->key); i++) {
        struct meeting m = meet(del, k->puts[i]);
        if (!m.exclusive && (m.a_direct || m.b_direct || m.a_slot < m.b_slot))
            return STORE_DUPLICATE_KEY;
        if (++*pairs > PAIRS_MAX)
            return STORE_TOO_MANY_OPS;
    }
    return 0;
}

int txn_keys_check(struct rt_bytes txn)
{
    struct keys k = {.puts = NULL};
    uint32_t pairs = 0;
    rt_arena_init(&k.arena);
    int err = collect_txn(&k, txn, NULL, 0);
    if (!err && k.put_count) {
        sort_pointers((void **)k.puts, k.put_count, by_key_then_order, NULL);
        if (puts_collide(&k))
            err = STORE_DUPLICATE_KEY;
        for (uint32_t i = 0; i < k.delete_count && !err; i++)
            err = delete_collides(&k, k.deletes[i], &pairs);
    }
    rt_free(k.puts);
    rt_free(k.deletes);
    rt_arena_deinit(&k.arena);
    return err;
}
