/* kv/store/check.c: see check.h. The order of the checks is etcd's, so that a request with two faults
 * is refused with the same words. Duplicate keys are looked for in txn_keys.c. */
#include "kv/store/check.h"
#include "kv/store/limits.h"
#include "kv/store/txn_keys.h"

enum { PUT_OVERHEAD = 256, LEASE_COST = 64 }; // what etcd counts against the quota

int check_range(struct rt_bytes request)
{
    struct range_request r;
    int err = request_read_range(request, &r);
    if (err)
        return err;
    if (r.key.len == 0)
        return STORE_KEY_EMPTY;
    return request_sort_is_known(&r) ? 0 : STORE_BAD_SORT;
}

static int check_put(struct rt_bytes request, int64_t *cost)
{
    struct put_request r;
    int err = request_read_put(request, &r);
    if (err)
        return err;
    if (r.key.len == 0)
        return STORE_KEY_EMPTY;
    if (r.ignore_value && r.value.len)
        return STORE_VALUE_PROVIDED;
    if (r.ignore_lease && r.lease)
        return STORE_LEASE_PROVIDED;
    *cost = PUT_OVERHEAD + (int64_t)r.key.len + (int64_t)r.value.len;
    return 0;
}

static int check_delete(struct rt_bytes request)
{
    struct delete_request r;
    int err = request_read_delete(request, &r);
    if (err)
        return err;
    return r.key.len == 0 ? STORE_KEY_EMPTY : 0;
}

struct txn_shape {
    bool only_ranges, serializable;
    uint32_t ranges, changes; // operations seen, in all branches
};

static int check_txn(struct rt_bytes txn, uint32_t max_ops, unsigned depth, int64_t *cost,
                     struct txn_shape *shape);

static int check_op(const struct op *op, uint32_t max_ops, unsigned depth, int64_t *cost,
                    struct txn_shape *shape)
{
    struct range_request range;
    *cost = 0;
    if (op->kind != OP_RANGE)
        shape->only_ranges = false;
    shape->changes += op->kind == OP_PUT || op->kind == OP_DELETE;
    switch (op->kind) {
    case OP_RANGE:
        request_read_range(op->body, &range);
        shape->ranges++;
        shape->serializable &= range.serializable;
        return check_range(op->body);
    case OP_PUT:
        return check_put(op->body, cost);
    case OP_DELETE:
        return check_delete(op->body);
    case OP_TXN:
        return check_txn(op->body, max_ops, depth + 1, cost, shape);
    default:
        return STORE_KEY_NOT_FOUND; // etcd's answer to an empty operation
    }
}

static int check_branch(struct rt_bytes txn, enum txn_part part, uint32_t max_ops, unsigned depth,
                        int64_t *cost, struct txn_shape *shape)
{
    struct txn_walk w = txn_walk(txn, part);
    struct op op;
    int64_t one;
    int more;
    *cost = 0;
    while ((more = txn_next_op(&w, &op)) > 0) {
        int err = check_op(&op, max_ops, depth, &one, shape);
        if (err)
            return err;
        *cost += one;
    }
    return more;
}

static int count_elements(struct rt_bytes txn, enum txn_part part, uint32_t *count)
{
    struct txn_walk w = txn_walk(txn, part);
    struct rt_bytes element;
    int more;
    *count = 0;
    while ((more = txn_next(&w, &element)) > 0)
        ++*count;
    return more;
}

static int check_compares(struct rt_bytes txn)
{
    struct txn_walk w = txn_walk(txn, TXN_COMPARE);
    struct rt_bytes element;
    struct compare c;
    int more;
    while ((more = txn_next(&w, &element)) > 0) {
        int err = request_read_compare(element, &c);
        if (err)
            return err;
        if (c.key.len == 0)
            return STORE_KEY_EMPTY;
    }
    return more;
}

/* max_ops is what the transactions around this one have left over; UINT32_MAX: no limit. */
static int check_txn(struct rt_bytes txn, uint32_t max_ops, unsigned depth, int64_t *cost,
                     struct txn_shape *shape)
{
    uint32_t most = 0, n;
    int64_t success, failure;
    int err;
    if (depth > STORE_TXN_NESTING)
        return STORE_TOO_DEEP;
    for (enum txn_part part = TXN_COMPARE; part <= TXN_FAILURE; part++) {
        err = count_elements(txn, part, &n);
        if (err)
            return err;
        most = n > most ? n : most;
    }
    if (most > max_ops)
        return STORE_TOO_MANY_OPS;
    if (max_ops != UINT32_MAX)
        max_ops -= most;
    err = check_compares(txn);
    if (!err)
        err = check_branch(txn, TXN_SUCCESS, max_ops, depth, &success, shape);
    if (!err)
        err = check_branch(txn, TXN_FAILURE, max_ops, depth, &failure, shape);
    if (!err)
        *cost = success > failure ? success : failure;
    return err;
}

static int check_whole_txn(struct rt_bytes txn, uint32_t max_txn_ops, struct store_request *out)
{
    struct txn_shape shape = {.only_ranges = true, .serializable = true};
    int64_t cost;
    int err = check_txn(txn, max_txn_ops ? max_txn_ops : UINT32_MAX, 0, &cost, &shape);
    if (!err && shape.changes > 1)
        err = txn_keys_check(txn);
    if (err)
        return err;
    out->read_only = shape.only_ranges;
    out->serializable = shape.only_ranges && shape.serializable && shape.ranges > 0;
    out->writes_value = cost > 0;
    out->cost = cost;
    return 0;
}

/* The cold requests: that their bytes are fields at all; what is in them is judged at apply. */
static int check_flat(struct rt_bytes request)
{
    int64_t ignored;
    return request_read_int(request, 1, &ignored);
}

int check_request(enum store_command_kind kind, struct rt_bytes request, uint32_t max_txn_ops,
                  struct store_request *out)
{
    int err;
    *out = (struct store_request){.cost = 0};
    switch (kind) {
    case STORE_PUT:
        err = check_put(request, &out->cost);
        out->writes_value = true;
        return err;
    case STORE_DELETE_RANGE:
        return check_delete(request);
    case STORE_TXN:
        return check_whole_txn(request, max_txn_ops, out);
    case STORE_LEASE_GRANT:
        out->writes_value = true;
        out->cost = LEASE_COST;
        return check_flat(request);
    case STORE_COMPACT:
    case STORE_LEASE_REVOKE:
    case STORE_LEASE_CHECKPOINT:
    case STORE_ALARM:
        return check_flat(request);
    default:
        return 0;
    }
}

int store_check(enum store_command_kind kind, struct rt_bytes request, uint32_t max_txn_ops,
                struct store_request *out)
{
    struct store_request unused;
    return check_request(kind, request, max_txn_ops, out ? out : &unused);
}
