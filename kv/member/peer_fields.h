/* kv/member/peer_fields.h: the one field form that proto/fields.h does not write: fixed64, for ids,
 * which are random in all 64 bits.  Context: never parks. */
#pragma once
#include "proto/fields.h"

static inline void peer_add_u64(struct rt_string *s, uint64_t v)
{
    uint8_t bytes[8];
    for (int i = 0; i < 8; i++)
        bytes[i] = (uint8_t)(v >> (8 * i));
    rt_string_append(s, bytes, 8);
}

static inline void peer_add_fixed64(struct rt_string *s, uint32_t number, uint64_t v)
{
    if (!v)
        return;
    field_add_varint(s, FIELD_KEY(number, FIELD_I64));
    peer_add_u64(s, v);
}

static inline uint64_t peer_read_u64(const uint8_t *p)
{
    uint64_t v = 0;
    for (int i = 7; i >= 0; i--)
        v = v << 8 | p[i];
    return v;
}
