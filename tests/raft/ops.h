/* tests/raft/ops.h: conf changes as the files write them: v1 l2 r3 u4. */
#pragma once
#include "raft/raft.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>

static inline void parse_ops(const char *s, struct raft_conf_change *cc)
{
    while (*(s += strspn(s, " \n"))) {
        char *end;
        enum raft_conf_op op = *s == 'v'   ? RAFT_ADD_VOTER
                               : *s == 'l' ? RAFT_ADD_LEARNER
                               : *s == 'r' ? RAFT_REMOVE
                                           : RAFT_UPDATE;
        assert(strchr("vlru", *s));
        assert(cc->count < RAFT_MEMBERS_MAX);
        cc->change[cc->count].op = op;
        cc->change[cc->count++].id = strtoull(s + 1, &end, 10);
        s = end;
    }
}
