/* raft/memory.h: arrays that grow, and references to entries, over the callbacks of raft_env. */
#pragma once
#include "raft/raft.h"

static inline void *raft_alloc(const struct raft_env *env, size_t size)
{
    return env->alloc(env->ctx, size);
}

static inline void raft_release(const struct raft_env *env, void *p, size_t size)
{
    if (p)
        env->free(env->ctx, p, size);
}

static inline void raft_block_ref(const struct raft_env *env, void *block)
{
    if (block)
        env->ref(env->ctx, block);
}

static inline void raft_block_unref(const struct raft_env *env, void *block)
{
    if (block)
        env->unref(env->ctx, block);
}

/* An array of `need` elements or more in place of `array` of *cap, with its contents. */
void *raft_grown(const struct raft_env *env, void *array, size_t element, size_t *cap, size_t need);

/* A new array of exactly count entries, each with a reference of its own; NULL for none. */
struct raft_entry *raft_entries_copy(const struct raft_env *env, const struct raft_entry *from,
                                     size_t count);

/* One allocation that raft_messages_free and its like take back; snapshots are copied with a reference. */
struct raft_snapshot *raft_snapshot_copy(const struct raft_env *env, const struct raft_snapshot *s);
void raft_snapshot_free(const struct raft_env *env, struct raft_snapshot *s);

uint64_t raft_entries_size(const struct raft_entry *e, size_t count);    // sum of raft_entry_size
uint64_t raft_entries_payload(const struct raft_entry *e, size_t count); // sum of len

/* Messages waiting to be handed out, in order. */
struct raft_outbox {
    struct raft_message *message;
    size_t count, cap;
};
void raft_outbox_put(const struct raft_env *env, struct raft_outbox *box,
                     const struct raft_message *m);
/* Everything in it, as an array the caller owns; NULL for none. The box is empty afterwards. */
struct raft_message *raft_outbox_take(const struct raft_env *env, struct raft_outbox *box,
                                      size_t *count);
void raft_outbox_deinit(const struct raft_env *env, struct raft_outbox *box);
