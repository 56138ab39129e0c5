/* kv/member/command.c: see command.h. */
#include "kv/member/command.h"
#include "kv/member/errors.h"
#include "proto/fields.h"
#include <assert.h>

enum { COMMAND_LEADER_ONLY = 1 }; // of the flags

static uint8_t *put_u64(uint8_t *p, uint64_t v)
{
    for (int i = 0; i < 8; i++)
        p[i] = (uint8_t)(v >> (8 * i));
    return p + 8;
}

static uint64_t get_u64(const uint8_t *p)
{
    uint64_t v = 0;
    for (int i = 7; i >= 0; i--)
        v = v << 8 | p[i];
    return v;
}

struct rt_buf *command_encode(const struct command *c)
{
    assert(c->kind <= UINT8_MAX);
    struct rt_buf *buf = rt_buf_new(COMMAND_HEADER_BYTES + c->body.len);
    if (!buf)
        return NULL;
    uint8_t *p = buf->data;
    memset(p, 0, 8);
    p[0] = COMMAND_FORMAT;
    p[1] = (uint8_t)c->kind;
    p[2] = c->leader_only ? COMMAND_LEADER_ONLY : 0;
    p = put_u64(p + 8, c->term);
    p = put_u64(p, c->proposer);
    p = put_u64(p, c->request);
    p = put_u64(p, c->chosen);
    p = put_u64(p, c->auth_revision);
    assert(p == buf->data + COMMAND_HEADER_BYTES);
    if (c->body.len)
        memcpy(p, c->body.data, c->body.len);
    buf->len = COMMAND_HEADER_BYTES + c->body.len;
    return buf;
}

int command_decode(struct rt_bytes entry, struct command *out)
{
    if (entry.len < COMMAND_HEADER_BYTES || entry.data[0] != COMMAND_FORMAT)
        return MEMBER_MALFORMED;
    if (entry.data[2] & ~COMMAND_LEADER_ONLY)
        return MEMBER_MALFORMED;
    for (int i = 3; i < 8; i++)
        if (entry.data[i])
            return MEMBER_MALFORMED;
    const uint8_t *p = entry.data;
    *out = (struct command){
        .kind = p[1],
        .leader_only = p[2] & COMMAND_LEADER_ONLY,
        .term = get_u64(p + 8),
        .proposer = get_u64(p + 16),
        .request = get_u64(p + 24),
        .chosen = get_u64(p + 32),
        .auth_revision = get_u64(p + 40),
        .body = rt_bytes(p + COMMAND_HEADER_BYTES, entry.len - COMMAND_HEADER_BYTES),
    };
    return 0;
}

void command_set_request(struct rt_buf *entry, uint64_t request)
{
    assert(entry->len >= COMMAND_HEADER_BYTES);
    put_u64(entry->data + 24, request);
}

void command_set_term(struct rt_buf *entry, uint64_t term)
{
    assert(entry->len >= COMMAND_HEADER_BYTES);
    assert(entry->data[0] == COMMAND_FORMAT);
    put_u64(entry->data + 8, term);
}

void command_put_record(struct rt_string *body, struct rt_bytes key, struct rt_bytes record)
{
    field_add_bytes(body, 1, key);
    field_add_bytes(body, 2, record);
}

int command_get_record(struct rt_bytes body, struct rt_bytes *key, struct rt_bytes *record)
{
    struct fields f = fields_of(body);
    struct field it;
    int more;
    *key = *record = (struct rt_bytes){0};
    while ((more = fields_next(&f, &it)) > 0) {
        if (FIELD_KEY(it.number, it.wire) == FIELD_KEY(1, FIELD_LEN))
            *key = it.bytes;
        else if (FIELD_KEY(it.number, it.wire) == FIELD_KEY(2, FIELD_LEN))
            *record = it.bytes;
    }
    return more < 0 || key->len == 0 ? MEMBER_MALFORMED : 0;
}
