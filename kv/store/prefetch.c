/* kv/store/prefetch.c: read, and forget, the values that applying a command will need, on the
 * goroutine of whoever waits for it: so that apply finds their pages in memory. Whatever is found or
 * not changes nothing. */
#include "kv/store/range.h"
#include "kv/store/request.h"
#include "kv/store/rows.h"
#include "kv/store/state.h"

static int touch_row(void *arg, uint32_t i, struct rt_bytes row)
{
    uint8_t *sum = arg;
    (void)i;
    for (size_t k = 0; k < row.len; k += 4096)
        *sum ^= row.data[k];
    return 0;
}

static void touch(struct store *s, struct rt_bytes key)
{
    struct rev rev;
    volatile uint8_t sum = 0;
    rt_rwmutex_rlock(&s->index_lock);
    struct index_key *k = key.len ? key_index_find(&s->index, key) : NULL;
    bool lives = k && index_key_lives(k);
    if (lives)
        rev = index_key_newest(k);
    rt_rwmutex_runlock(&s->index_lock);
    if (lives)
        rows_each(s, &rev, 1, touch_row, (void *)&sum); // compacted meanwhile: nothing to warm
}

static void touch_put(struct store *s, struct rt_bytes request)
{
    struct put_request put;
    if (request_read_put(request, &put) == 0 && put.ignore_value)
        touch(s, put.key);
}

static void touch_txn(struct store *s, struct rt_bytes txn)
{
    struct txn_walk w = txn_walk(txn, TXN_COMPARE);
    struct rt_bytes element;
    struct op op;
    while (txn_next(&w, &element) > 0) {
        struct compare c;
        if (request_read_compare(element, &c) == 0 && c.target == COMPARE_VALUE)
            touch(s, c.key);
    }
    for (enum txn_part part = TXN_SUCCESS; part <= TXN_FAILURE; part++)
        for (w = txn_walk(txn, part); txn_next_op(&w, &op) > 0;) {
            if (op.kind == OP_PUT)
                touch_put(s, op.body);
            else if (op.kind == OP_TXN)
                touch_txn(s, op.body);
        }
}

void store_prefetch(struct store *s, enum store_command_kind kind, struct rt_bytes request)
{
    struct store_request ignored;
    if (kind == STORE_PUT)
        touch_put(s, request);
    else if (kind == STORE_TXN && store_check(kind, request, 0, &ignored) == 0)
        touch_txn(s, request);
}
