/* kv/store/row.h: what is stored for one change of one key, byte for byte as etcd stores it.
 *
 *     name   8 bytes main, '_', 8 bytes sub (both big-endian), and a 't' if it is a deletion
 *     value  mvccpb.KeyValue, fields ascending, zeros left out; of a deletion only the key
 *
 * The order of the names is the order of the changes. HashKV runs over these very bytes. */
#pragma once
#include <rt/bytes.h>

struct rev {
    int64_t main; // the revision: one for all changes of a command
    uint32_t sub; // 0, 1, 2, ... among those
    bool tombstone;
};

/* Orders by (main, sub). */
static inline bool rev_before(struct rev a, struct rev b)
{
    return a.main < b.main || (a.main == b.main && a.sub < b.sub);
}

enum { ROW_NAME_BYTES = 17, ROW_NAME_MAX = 18 };
size_t row_name_put(uint8_t out[ROW_NAME_MAX], struct rev rev);
/* 0, or STORE_DAMAGED. */
int row_name_get(struct rt_bytes name, struct rev *out);

struct row {
    struct rt_bytes key, value;
    int64_t create, mod, version, lease;
};
size_t row_size(const struct row *row);
uint8_t *row_put(uint8_t *p, const struct row *row);
/* Views into `bytes`. 0, or STORE_DAMAGED. */
int row_get(struct rt_bytes bytes, struct row *out);
