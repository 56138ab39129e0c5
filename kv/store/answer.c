/* kv/store/answer.c: the answer to a write, made by whoever waits for it, after it was applied: all it
 * tells is the state before each operation, which can still be read at (main, sub). The result has
 * what was decided (branches, numbers of deleted keys) and pins the rows. */
#include "kv/store/apply.h"
#include "kv/store/range.h"
#include "kv/store/state.h"
#include "proto/fields.h"
#include <assert.h>

struct answer {
    struct store *s;
    const struct store_result *result;
    struct rt_string *body;
    uint32_t sub;  // rows made by the operations before this one
    uint32_t next; // outcome
};

static uint32_t next_outcome(struct answer *a)
{
    assert(a->next < a->result->outcome_count);
    return a->result->outcomes[a->next++];
}

static int64_t revision_now(const struct answer *a)
{
    return a->sub ? a->result->main : a->result->main - 1;
}

static struct rev before_now(const struct answer *a)
{
    return (struct rev){.main = a->result->main, .sub = a->sub};
}

static int answer_put(struct answer *a, struct rt_bytes request)
{
    struct put_request put;
    int err = 0;
    request_read_put(request, &put);
    if (put.prev_kv)
        err = range_append_rows(a->s, request_keys(put.key, rt_bytes(NULL, 0)), before_now(a), 2,
                                a->body);
    a->sub++;
    return err;
}

static int answer_delete(struct answer *a, struct rt_bytes request)
{
    struct delete_request del;
    struct rev before = before_now(a);
    uint32_t deleted = next_outcome(a);
    request_read_delete(request, &del);
    a->sub += deleted;
    field_add_int(a->body, 2, deleted);
    if (!del.prev_kv || !deleted)
        return 0;
    return range_append_rows(a->s, request_keys(del.key, del.range_end), before, 3, a->body);
}

static int answer_range(struct answer *a, struct rt_bytes request)
{
    struct range_request r;
    struct rev before = before_now(a);
    request_read_range(request, &r);
    if (r.revision > 0)
        before = (struct rev){.main = r.revision + 1};
    return range_append(a->s, &r, before, a->body);
}

static int answer_txn(struct answer *a, struct rt_bytes request);

static void add_header(struct answer *a, int64_t revision)
{
    size_t mark = field_begin(a->body, 1);
    if (revision)
        field_add_int(a->body, 3, revision);
    field_end(a->body, mark);
}

static int answer_op(struct answer *a, const struct op *op)
{
    size_t outer = field_begin(a->body, 3);
    size_t inner = field_begin(a->body, op->kind);
    int err = 0;
    switch (op->kind) {
    case OP_RANGE:
        add_header(a, revision_now(a));
        err = answer_range(a, op->body);
        break;
    case OP_PUT:
        add_header(a, a->result->main);
        err = answer_put(a, op->body);
        break;
    case OP_DELETE: {
        uint32_t deleted = a->result->outcomes[a->next];
        add_header(a, deleted ? a->result->main : revision_now(a));
        err = answer_delete(a, op->body);
        break;
    }
    default:
        add_header(a, 0);
        err = answer_txn(a, op->body);
        break;
    }
    field_end(a->body, inner);
    field_end(a->body, outer);
    return err;
}

static int answer_txn(struct answer *a, struct rt_bytes request)
{
    bool succeeded = next_outcome(a);
    struct txn_walk w = txn_walk(request, succeeded ? TXN_SUCCESS : TXN_FAILURE);
    struct op op;
    int err = 0;
    field_add_uint(a->body, 2, succeeded);
    while (!err && txn_next_op(&w, &op) > 0)
        err = answer_op(a, &op);
    return err;
}

int store_answer(struct store *s, enum store_command_kind kind, struct rt_bytes request,
                 struct store_result *result, struct rt_string *body)
{
    struct answer a = {.s = s, .result = result, .body = body};
    size_t start = body->len;
    bool pinned = result->pin.revision != 0;
    int err;
    assert(result->code == 0);
    switch (kind) {
    case STORE_PUT:
        err = answer_put(&a, request);
        break;
    case STORE_DELETE_RANGE:
        err = answer_delete(&a, request);
        break;
    default:
        assert(kind == STORE_TXN);
        err = answer_txn(&a, request);
        break;
    }
    if (!err && pinned && !pins_hold(&s->pins, &result->pin))
        err = STORE_COMPACTED;
    if (err)
        body->len = start;
    store_result_deinit(s, result);
    return err;
}

void store_result_deinit(struct store *s, struct store_result *result)
{
    if (result->pin.revision)
        pins_remove(&s->pins, &result->pin);
    rt_free(result->outcomes);
    result->outcomes = NULL;
    result->outcome_count = result->outcome_cap = 0;
}
