/* kv/store/lease.h: the leases of a store. What is replicated (which leases there are, their granted
 * and checkpointed time, their keys) changes only by commands; time itself runs only on the member
 * that leads, in a heap by the moment at which something is due. */
#pragma once
#include "kv/store/key_index.h"
#include "kv/store/store.h"
#include <rt/sync.h>

enum { LEASE_NAME_BYTES = 9, LEASE_VALUE_BYTES = 16 }; // "l" + id; granted, remaining

struct lease {
    int64_t id;
    int64_t ttl_s;          // granted
    int64_t remaining_s;    // as last checkpointed; 0: all of it
    struct index_key *keys; // index_lock
    uint64_t key_count;     // index_lock
    struct lease *next;     // in its bucket
    int64_t expires_ns;     // promoted only
    int64_t due_ns;         // when to tell of its expiry (again): its key in the heap
    int64_t checkpoint_ns;  // when its remaining time was told last
    uint32_t place;         // in the heap
    bool clear_checkpoint;  // renewed since the checkpoint that is replicated
};

struct leases {
    struct rt_mutex lock; // all below
    struct lease **buckets;
    uint32_t bucket_count, count;
    bool promoted;
    struct lease **heap; // promoted only
    uint32_t heap_count, heap_cap;
    int64_t next_checkpoint_ns; // nothing is due before
    struct rt_cond gone_cond;   // a lease was removed, or the clock stopped
    int64_t min_ttl_s;
};

void leases_init(struct leases *l, int64_t min_ttl_s);
void leases_clear(struct leases *l); // all gone, the clock stopped
void leases_deinit(struct leases *l);

/* For apply and loading. The caller is the only one that adds and removes. */
struct lease *leases_find(struct leases *l, int64_t id); // NULL: none
struct lease *leases_add(struct leases *l, int64_t id, int64_t ttl_s, int64_t remaining_s);
void leases_remove(struct leases *l, struct lease *it); // without keys
void leases_checkpoint(struct leases *l, struct lease *it, int64_t remaining_s);
/* Context: index_lock for writing. Attaching detaches from another lease; NULL: from any. */
void lease_attach(struct lease *it, struct index_key *k);
/* Its keys in order: an array to rt_free, NULL when none.  Context: index_lock. */
struct index_key **lease_sorted_keys(struct lease *it);

/* Ids in ascending order: an array to rt_free. Returns how many. */
uint32_t leases_ids_sorted(struct leases *l, int64_t **ids_out);
struct lease *leases_find_locked(struct leases *l, int64_t id); // leases.lock

void lease_name_put(uint8_t out[LEASE_NAME_BYTES], int64_t id);
void lease_value_put(uint8_t out[LEASE_VALUE_BYTES], int64_t ttl_s, int64_t remaining_s);
bool lease_read(struct rt_bytes name, struct rt_bytes value, int64_t *id, int64_t *ttl_s,
                int64_t *remaining_s);
