/* raft/inflights.c: a ring, grown by doubling, because a window of 512 messages is not worth its memory
 * for the follower that never has more than three under way. */
#include "raft/inflights.h"
#include "raft/memory.h"
#include <assert.h>

bool raft_inflights_full(const struct raft_inflights *in, const struct raft_window *w)
{
    return in->count >= w->max_msgs || (w->max_bytes != 0 && in->bytes >= w->max_bytes);
}

static void grow(struct raft_inflights *in, const struct raft_env *env)
{
    size_t cap = in->cap ? in->cap * 2 : 8;
    struct raft_inflight *ring = raft_alloc(env, cap * sizeof(*ring));
    for (size_t i = 0; i < in->count; i++)
        ring[i] = in->ring[(in->first + i) % in->cap];
    raft_release(env, in->ring, in->cap * sizeof(*ring));
    in->ring = ring;
    in->cap = cap;
    in->first = 0;
}

void raft_inflights_add(struct raft_inflights *in, const struct raft_env *env,
                        const struct raft_window *w, uint64_t index, uint64_t bytes)
{
    assert(!raft_inflights_full(in, w));
    if (in->count == in->cap)
        grow(in, env);
    assert(in->count == 0 || in->ring[(in->first + in->count - 1) % in->cap].index < index);
    in->ring[(in->first + in->count) % in->cap] = (struct raft_inflight){index, bytes};
    in->count++;
    in->bytes += bytes;
}

void raft_inflights_free_up_to(struct raft_inflights *in, uint64_t index)
{
    while (in->count && in->ring[in->first].index <= index) {
        assert(in->bytes >= in->ring[in->first].bytes);
        in->bytes -= in->ring[in->first].bytes;
        in->first = (in->first + 1) % in->cap;
        in->count--;
    }
    assert(in->count || in->bytes == 0);
}

void raft_inflights_reset(struct raft_inflights *in)
{
    in->first = 0;
    in->count = 0;
    in->bytes = 0;
}

void raft_inflights_deinit(struct raft_inflights *in, const struct raft_env *env)
{
    raft_release(env, in->ring, in->cap * sizeof(*in->ring));
    *in = (struct raft_inflights){0};
}
