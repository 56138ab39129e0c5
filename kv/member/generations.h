/* kv/member/generations.h: how a member that lost what it acknowledged is found out. Each start counts
 * a generation up, durably, before it talks to anybody, and draws a random life. Peers remember the
 * highest generation seen of each member, durably, before they accept a connection; who comes with a
 * lower one, or with the same one in another life, has an emptied or older directory. */
#pragma once
#include "kv/member/bootstrap.h"
#include "kv/member/limits.h"
#include <rt/sync.h>

struct generations {
    const struct data_dir *dir;
    struct rt_mutex lock;
    uint64_t self, life; // set at start, then const
    struct {
        uint64_t id, generation, life;
    } seen[2 * MEMBER_MEMBERS]; // lock
    uint32_t count;             // lock
};

/* Read the file, count our own up, write it. 0; MEMBER_REFUSED: damaged; -errno; with why. */
int generations_begin(struct generations *g, const struct data_dir *dir, struct why *why);
/* Is this start of `id` at least as new as any seen? Remembers it durably when it is newer. 0;
 * MEMBER_REFUSED with why, which tells the operator of that member what to do; -errno.
 * Context: parks. */
int generations_check(struct generations *g, uint64_t id, uint64_t generation, uint64_t life,
                      struct why *why);
