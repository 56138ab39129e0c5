/* raft/conf_change.c: the payload of a conf change entry.
 *
 *     offset  size  field (little-endian)
 *          0     1  format       1
 *          1     1  transition   0 auto, 1 implicit, 2 explicit
 *          2     2  count        of ops
 *          4   9*n  ops          1 byte op (0 add voter, 1 remove, 2 update, 3 add learner), 8 bytes id
 *      4+9*n     m  context      the caller's
 *
 * No bytes at all are the empty change: leave the joint configuration. */
#include "raft/raft.h"
#include <string.h>

enum { FORMAT = 1, HEADER = 4, OP = 9 };

static void put64(uint8_t *p, uint64_t v)
{
    for (int i = 0; i < 8; i++)
        p[i] = (uint8_t)(v >> (8 * i));
}

static uint64_t get64(const uint8_t *p)
{
    uint64_t v = 0;
    for (int i = 7; i >= 0; i--)
        v = v << 8 | p[i];
    return v;
}

size_t raft_conf_change_encode(const struct raft_conf_change *cc, uint8_t *buf, size_t cap)
{
    size_t need = HEADER + (size_t)OP * cc->count + cc->context_len;
    if (cc->count == 0 && cc->context_len == 0 && cc->transition == RAFT_TRANSITION_AUTO)
        return 0;
    if (need > cap)
        return need;
    buf[0] = FORMAT;
    buf[1] = (uint8_t)cc->transition;
    buf[2] = (uint8_t)cc->count;
    buf[3] = (uint8_t)(cc->count >> 8);
    for (uint32_t i = 0; i < cc->count; i++) {
        buf[HEADER + OP * i] = (uint8_t)cc->change[i].op;
        put64(buf + HEADER + OP * i + 1, cc->change[i].id);
    }
    if (cc->context_len)
        memcpy(buf + HEADER + OP * cc->count, cc->context, cc->context_len);
    return need;
}

int raft_conf_change_decode(const uint8_t *data, size_t len, struct raft_conf_change *cc)
{
    uint32_t count;
    memset(cc, 0, sizeof(*cc));
    if (len == 0)
        return 0;
    if (len < HEADER || data[0] != FORMAT || data[1] > RAFT_TRANSITION_EXPLICIT)
        return RAFT_BAD_CONF_CHANGE;
    count = (uint32_t)data[2] | (uint32_t)data[3] << 8;
    if (count > RAFT_MEMBERS_MAX || len - HEADER < (size_t)count * OP)
        return RAFT_BAD_CONF_CHANGE;
    for (uint32_t i = 0; i < count; i++) {
        const uint8_t *p = data + HEADER + OP * i;
        if (p[0] > RAFT_ADD_LEARNER)
            return RAFT_BAD_CONF_CHANGE;
        cc->change[i].op = (enum raft_conf_op)p[0];
        cc->change[i].id = get64(p + 1);
    }
    cc->transition = (enum raft_transition)data[1];
    cc->count = count;
    cc->context_len = (uint32_t)(len - HEADER - (size_t)count * OP);
    cc->context = cc->context_len ? data + HEADER + (size_t)count * OP : NULL;
    return 0;
}
