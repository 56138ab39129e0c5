/* kv/store/row.c: see row.h. */
#include "kv/store/row.h"
#include "kv/store/errors.h"
#include "proto/fields.h"
#include <assert.h>

static void put_be64(uint8_t *p, uint64_t v)
{
    for (int i = 7; i >= 0; i--, v >>= 8)
        p[i] = (uint8_t)v;
}

static uint64_t get_be64(const uint8_t *p)
{
    uint64_t v = 0;
    for (int i = 0; i < 8; i++)
        v = v << 8 | p[i];
    return v;
}

size_t row_name_put(uint8_t out[ROW_NAME_MAX], struct rev rev)
{
    assert(rev.main > 0);
    put_be64(out, (uint64_t)rev.main);
    out[8] = '_';
    put_be64(out + 9, rev.sub);
    out[17] = 't';
    return rev.tombstone ? ROW_NAME_MAX : ROW_NAME_BYTES;
}

int row_name_get(struct rt_bytes name, struct rev *out)
{
    if (name.len != ROW_NAME_BYTES && name.len != ROW_NAME_MAX)
        return STORE_DAMAGED;
    uint64_t main = get_be64(name.data), sub = get_be64(name.data + 9);
    bool tombstone = name.len == ROW_NAME_MAX;
    if (name.data[8] != '_' || main == 0 || main > INT64_MAX || sub > UINT32_MAX ||
        (tombstone && name.data[17] != 't'))
        return STORE_DAMAGED;
    *out = (struct rev){(int64_t)main, (uint32_t)sub, tombstone};
    return 0;
}

size_t row_size(const struct row *row)
{
    return (row->key.len ? field_bytes_size(1, row->key.len) : 0) +
           field_uint_size(2, (uint64_t)row->create) + field_uint_size(3, (uint64_t)row->mod) +
           field_uint_size(4, (uint64_t)row->version) +
           (row->value.len ? field_bytes_size(5, row->value.len) : 0) +
           field_uint_size(6, (uint64_t)row->lease);
}

uint8_t *row_put(uint8_t *p, const struct row *row)
{
    p = field_put_bytes(p, 1, row->key);
    p = field_put_uint(p, 2, (uint64_t)row->create);
    p = field_put_uint(p, 3, (uint64_t)row->mod);
    p = field_put_uint(p, 4, (uint64_t)row->version);
    p = field_put_bytes(p, 5, row->value);
    return field_put_uint(p, 6, (uint64_t)row->lease);
}

int row_get(struct rt_bytes bytes, struct row *out)
{
    struct row row = {.key = {NULL, 0}};
    struct fields f = fields_of(bytes);
    struct field it;
    int more;
    while ((more = fields_next(&f, &it)) > 0)
        switch (FIELD_KEY(it.number, it.wire)) {
        case FIELD_KEY(1, FIELD_LEN):
            row.key = it.bytes;
            break;
        case FIELD_KEY(2, FIELD_VARINT):
            row.create = (int64_t)it.value;
            break;
        case FIELD_KEY(3, FIELD_VARINT):
            row.mod = (int64_t)it.value;
            break;
        case FIELD_KEY(4, FIELD_VARINT):
            row.version = (int64_t)it.value;
            break;
        case FIELD_KEY(5, FIELD_LEN):
            row.value = it.bytes;
            break;
        case FIELD_KEY(6, FIELD_VARINT):
            row.lease = (int64_t)it.value;
            break;
        default:
            break;
        }
    if (more < 0 || row.key.len == 0)
        return STORE_DAMAGED;
    *out = row;
    return 0;
}
