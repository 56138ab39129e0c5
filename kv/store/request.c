/* kv/store/request.c: see request.h. Field numbers are those of etcd's rpc.proto. A field that comes
 * twice counts the last time, as everywhere in protobuf. */
#include "kv/store/request.h"
#include "proto/fields.h"

int request_read_range(struct rt_bytes bytes, struct range_request *out)
{
    struct fields f = fields_of(bytes);
    struct field it;
    int more;
    *out = (struct range_request){.limit = 0};
    while ((more = fields_next(&f, &it)) > 0)
        switch (FIELD_KEY(it.number, it.wire)) {
        case FIELD_KEY(1, FIELD_LEN):
            out->key = it.bytes;
            break;
        case FIELD_KEY(2, FIELD_LEN):
            out->range_end = it.bytes;
            break;
        case FIELD_KEY(3, FIELD_VARINT):
            out->limit = (int64_t)it.value;
            break;
        case FIELD_KEY(4, FIELD_VARINT):
            out->revision = (int64_t)it.value;
            break;
        case FIELD_KEY(5, FIELD_VARINT):
            out->sort_order = (int32_t)it.value;
            break;
        case FIELD_KEY(6, FIELD_VARINT):
            out->sort_target = (int32_t)it.value;
            break;
        case FIELD_KEY(7, FIELD_VARINT):
            out->serializable = it.value != 0;
            break;
        case FIELD_KEY(8, FIELD_VARINT):
            out->keys_only = it.value != 0;
            break;
        case FIELD_KEY(9, FIELD_VARINT):
            out->count_only = it.value != 0;
            break;
        case FIELD_KEY(10, FIELD_VARINT):
            out->min_mod = (int64_t)it.value;
            break;
        case FIELD_KEY(11, FIELD_VARINT):
            out->max_mod = (int64_t)it.value;
            break;
        case FIELD_KEY(12, FIELD_VARINT):
            out->min_create = (int64_t)it.value;
            break;
        case FIELD_KEY(13, FIELD_VARINT):
            out->max_create = (int64_t)it.value;
            break;
        default:
            break;
        }
    return more < 0 ? STORE_MALFORMED : 0;
}

int request_read_put(struct rt_bytes bytes, struct put_request *out)
{
    struct fields f = fields_of(bytes);
    struct field it;
    int more;
    *out = (struct put_request){.lease = 0};
    while ((more = fields_next(&f, &it)) > 0)
        switch (FIELD_KEY(it.number, it.wire)) {
        case FIELD_KEY(1, FIELD_LEN):
            out->key = it.bytes;
            break;
        case FIELD_KEY(2, FIELD_LEN):
            out->value = it.bytes;
            break;
        case FIELD_KEY(3, FIELD_VARINT):
            out->lease = (int64_t)it.value;
            break;
        case FIELD_KEY(4, FIELD_VARINT):
            out->prev_kv = it.value != 0;
            break;
        case FIELD_KEY(5, FIELD_VARINT):
            out->ignore_value = it.value != 0;
            break;
        case FIELD_KEY(6, FIELD_VARINT):
            out->ignore_lease = it.value != 0;
            break;
        default:
            break;
        }
    return more < 0 ? STORE_MALFORMED : 0;
}

int request_read_delete(struct rt_bytes bytes, struct delete_request *out)
{
    struct fields f = fields_of(bytes);
    struct field it;
    int more;
    *out = (struct delete_request){.prev_kv = false};
    while ((more = fields_next(&f, &it)) > 0)
        switch (FIELD_KEY(it.number, it.wire)) {
        case FIELD_KEY(1, FIELD_LEN):
            out->key = it.bytes;
            break;
        case FIELD_KEY(2, FIELD_LEN):
            out->range_end = it.bytes;
            break;
        case FIELD_KEY(3, FIELD_VARINT):
            out->prev_kv = it.value != 0;
            break;
        default:
            break;
        }
    return more < 0 ? STORE_MALFORMED : 0;
}

/* A member of a oneof: the one that comes last ends the others. */
static void set_union(struct compare *c, int64_t version, int64_t create, int64_t mod,
                      int64_t lease, struct rt_bytes value)
{
    c->version = version;
    c->create = create;
    c->mod = mod;
    c->lease = lease;
    c->value = value;
}

int request_read_compare(struct rt_bytes bytes, struct compare *out)
{
    const struct rt_bytes none = {NULL, 0};
    struct fields f = fields_of(bytes);
    struct field it;
    int more;
    *out = (struct compare){.result = 0};
    while ((more = fields_next(&f, &it)) > 0) {
        int64_t n = (int64_t)it.value;
        switch (FIELD_KEY(it.number, it.wire)) {
        case FIELD_KEY(1, FIELD_VARINT):
            out->result = (int32_t)n;
            break;
        case FIELD_KEY(2, FIELD_VARINT):
            out->target = (int32_t)n;
            break;
        case FIELD_KEY(3, FIELD_LEN):
            out->key = it.bytes;
            break;
        case FIELD_KEY(4, FIELD_VARINT):
            set_union(out, n, 0, 0, 0, none);
            break;
        case FIELD_KEY(5, FIELD_VARINT):
            set_union(out, 0, n, 0, 0, none);
            break;
        case FIELD_KEY(6, FIELD_VARINT):
            set_union(out, 0, 0, n, 0, none);
            break;
        case FIELD_KEY(7, FIELD_LEN):
            set_union(out, 0, 0, 0, 0, it.bytes);
            break;
        case FIELD_KEY(8, FIELD_VARINT):
            set_union(out, 0, 0, 0, n, none);
            break;
        case FIELD_KEY(64, FIELD_LEN):
            out->range_end = it.bytes;
            break;
        default:
            break;
        }
    }
    return more < 0 ? STORE_MALFORMED : 0;
}

int request_read_int(struct rt_bytes bytes, uint32_t number, int64_t *out)
{
    struct fields f = fields_of(bytes);
    struct field it;
    int more;
    *out = 0;
    while ((more = fields_next(&f, &it)) > 0)
        if (it.number == number && it.wire == FIELD_VARINT)
            *out = (int64_t)it.value;
    return more < 0 ? STORE_MALFORMED : 0;
}

int txn_next(struct txn_walk *w, struct rt_bytes *element)
{
    struct fields f = fields_of(w->rest);
    struct field it;
    int more;
    while ((more = fields_next(&f, &it)) > 0)
        if (it.number == (uint32_t)w->part && it.wire == FIELD_LEN) {
            w->rest = rt_bytes(f.next, (size_t)(f.end - f.next));
            *element = it.bytes;
            return 1;
        }
    return more < 0 ? STORE_MALFORMED : 0;
}

int txn_next_op(struct txn_walk *w, struct op *op)
{
    struct rt_bytes element;
    int more = txn_next(w, &element);
    if (more <= 0)
        return more;
    struct fields f = fields_of(element);
    struct field it;
    *op = (struct op){.kind = OP_NONE};
    while ((more = fields_next(&f, &it)) > 0)
        if (it.wire == FIELD_LEN && it.number >= OP_RANGE && it.number <= OP_TXN)
            *op = (struct op){(enum op_kind)it.number, it.bytes};
    return more < 0 ? STORE_MALFORMED : 1;
}

struct key_range request_keys(struct rt_bytes key, struct rt_bytes range_end)
{
    struct key_range r = {.from = key, .to = range_end, .kind = KEYS_BETWEEN};
    if (range_end.len == 0)
        r.kind = KEYS_ONE;
    else if (range_end.len == 1 && range_end.data[0] == 0)
        r.kind = KEYS_FROM;
    return r;
}

bool key_range_has(const struct key_range *r, struct rt_bytes key)
{
    int order = rt_bytes_compare(key, r->from);
    if (r->kind == KEYS_ONE)
        return order == 0;
    return order >= 0 && (r->kind == KEYS_FROM || rt_bytes_compare(key, r->to) < 0);
}

bool request_sort_is_known(const struct range_request *r)
{
    return r->sort_order >= SORT_NONE && r->sort_order <= SORT_DESCEND &&
           r->sort_target >= SORT_KEY && r->sort_target <= SORT_VALUE;
}
