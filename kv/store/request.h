/* kv/store/request.h: the hot requests, read in place: views into the client's bytes. */
#pragma once
#include "kv/store/store.h"

struct range_request {
    struct rt_bytes key, range_end;
    int64_t limit, revision;
    int64_t sort_order, sort_target;
    int64_t min_mod, max_mod, min_create, max_create;
    bool serializable, keys_only, count_only;
};
struct put_request {
    struct rt_bytes key, value;
    int64_t lease;
    bool prev_kv, ignore_value, ignore_lease;
};
struct delete_request {
    struct rt_bytes key, range_end;
    bool prev_kv;
};
enum { SORT_NONE, SORT_ASCEND, SORT_DESCEND };
enum { SORT_KEY, SORT_VERSION, SORT_CREATE, SORT_MOD, SORT_VALUE };

enum compare_result { COMPARE_EQUAL, COMPARE_GREATER, COMPARE_LESS, COMPARE_NOT_EQUAL };
enum compare_target { COMPARE_VERSION, COMPARE_CREATE, COMPARE_MOD, COMPARE_VALUE, COMPARE_LEASE };
struct compare {
    struct rt_bytes key, range_end, value;
    int64_t result, target;
    int64_t version, create, mod, lease; // 0 but for the member that was sent
};

enum op_kind { OP_NONE, OP_RANGE, OP_PUT, OP_DELETE, OP_TXN };
struct op {
    enum op_kind kind;
    struct rt_bytes body;
};

/* 0 or STORE_MALFORMED. */
int request_read_range(struct rt_bytes bytes, struct range_request *out);
int request_read_put(struct rt_bytes bytes, struct put_request *out);
int request_read_delete(struct rt_bytes bytes, struct delete_request *out);
int request_read_compare(struct rt_bytes bytes, struct compare *out);
/* The number in field `number` of a flat message; 0 when absent. For the small requests. */
int request_read_int(struct rt_bytes bytes, uint32_t number, int64_t *out);

/* The elements of a TxnRequest, one kind of them at a time. */
enum txn_part { TXN_COMPARE = 1, TXN_SUCCESS = 2, TXN_FAILURE = 3 };
struct txn_walk {
    struct rt_bytes rest;
    enum txn_part part;
};
static inline struct txn_walk txn_walk(struct rt_bytes txn, enum txn_part part)
{
    return (struct txn_walk){txn, part};
}
/* 1 with the next element, 0 at the end, STORE_MALFORMED. */
int txn_next(struct txn_walk *w, struct rt_bytes *element);
int txn_next_op(struct txn_walk *w, struct op *op);

/* Which keys a request means, as etcd reads (key, range_end). */
struct key_range {
    struct rt_bytes from, to;
    enum { KEYS_ONE, KEYS_BETWEEN, KEYS_FROM } kind;
};
struct key_range request_keys(struct rt_bytes key, struct rt_bytes range_end);
bool key_range_has(const struct key_range *r, struct rt_bytes key);

/* Is every sort order and target one that we know? */
bool request_sort_is_known(const struct range_request *r);
