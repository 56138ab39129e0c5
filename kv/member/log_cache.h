/* kv/member/log_cache.h: the stable log as the raft goroutine sees it: of every retained entry its
 * term, size and kind, of the newest ones the payload too; older payloads are in the WAL.
 *
 *     released | first ........ payload_from ............ last
 *              | term, size, kind | ... and payload (at most MEMBER_LOG_CACHE_BYTES)
 *
 * Invariants: indexes are contiguous; payloads are present exactly from payload_from on.
 * Context of all: raft goroutine only (before it starts: whoever opens); never parks. */
#pragma once
#include "raft/raft.h"

struct log_slot {
    uint64_t term;
    const uint8_t *data;
    struct rt_buf *block; // one reference; NULL: empty, or the payload was cut away
    uint32_t len;
    uint32_t size; // raft_entry_size
    uint8_t kind;
};

struct log_cache {
    struct log_slot *ring; // slot of an index: index & (cap - 1)
    uint64_t cap;
    uint64_t first, last; // first = last + 1 when there is none
    uint64_t base_term;   // of first - 1
    uint64_t payload_from;
    uint64_t payload_bytes;
    uint64_t payload_limit_bytes;
    uint64_t total_bytes; // raft_entry_size of all
};

void log_cache_init(struct log_cache *c, uint64_t payload_limit_bytes);
void log_cache_deinit(struct log_cache *c);
/* Forget everything: the log now begins behind (index, term). */
void log_cache_reset(struct log_cache *c, uint64_t index, uint64_t term);
/* Take entries in, replacing what is there from the first one's index on. References are taken. */
void log_cache_append(struct log_cache *c, const struct raft_entry *entries, size_t count);
/* Forget up to and including `index` (at most last). */
void log_cache_release(struct log_cache *c, uint64_t index);
/* The oldest entries that make the log bigger than `limit_bytes` by raft_entry_size: up to which index
 * they go; first - 1 when there are none. The newest always stays. */
uint64_t log_cache_excess(const struct log_cache *c, uint64_t limit_bytes);

/* As raft_env asks: 0, a count, or RAFT_COMPACTED, RAFT_UNAVAILABLE, RAFT_LATER. */
int log_cache_info(const struct log_cache *c, uint64_t index, struct raft_entry_info *out);
int log_cache_entries(const struct log_cache *c, uint64_t lo, uint64_t hi, uint64_t max_bytes,
                      struct raft_entry *out, size_t cap);
