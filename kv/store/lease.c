/* kv/store/lease.c: the table and its keys. The leader's clock is in lease_clock.c. */
#include "kv/store/lease.h"
#include "kv/store/lease_clock.h"
#include "kv/store/sort.h"
#include <assert.h>

static uint32_t bucket_of(const struct leases *l, int64_t id)
{
    uint64_t h = (uint64_t)id * UINT64_C(0x9E3779B97F4A7C15);
    return (uint32_t)(h >> 32) & (l->bucket_count - 1);
}

static void rehash(struct leases *l, uint32_t bucket_count)
{
    struct lease **old = l->buckets;
    uint32_t old_count = l->bucket_count;
    l->buckets = rt_alloc_zero(bucket_count * sizeof *l->buckets);
    if (!l->buckets)
        rt_fatal("out of memory: a table of %u leases", bucket_count);
    l->bucket_count = bucket_count;
    for (uint32_t i = 0; i < old_count; i++)
        for (struct lease *it = old[i], *next; it; it = next) {
            uint32_t b = bucket_of(l, it->id);
            next = it->next;
            it->next = l->buckets[b];
            l->buckets[b] = it;
        }
    rt_free(old);
}

void leases_init(struct leases *l, int64_t min_ttl_s)
{
    *l = (struct leases){.min_ttl_s = min_ttl_s};
    rehash(l, 64);
}

void leases_clear(struct leases *l)
{
    rt_mutex_lock(&l->lock);
    for (uint32_t i = 0; i < l->bucket_count; i++) {
        for (struct lease *it = l->buckets[i], *next; it; it = next) {
            next = it->next;
            rt_free(it);
        }
        l->buckets[i] = NULL;
    }
    l->count = 0;
    l->promoted = false;
    l->heap_count = 0;
    rt_cond_broadcast(&l->gone_cond);
    rt_mutex_unlock(&l->lock);
}

void leases_deinit(struct leases *l)
{
    leases_clear(l);
    rt_free(l->buckets);
    rt_free(l->heap);
}

struct lease *leases_find_locked(struct leases *l, int64_t id)
{
    struct lease *it = l->buckets[bucket_of(l, id)];
    while (it && it->id != id)
        it = it->next;
    return it;
}

struct lease *leases_find(struct leases *l, int64_t id)
{
    rt_mutex_lock(&l->lock);
    struct lease *it = leases_find_locked(l, id);
    rt_mutex_unlock(&l->lock);
    return it;
}

struct lease *leases_add(struct leases *l, int64_t id, int64_t ttl_s, int64_t remaining_s)
{
    struct lease *it = rt_alloc_zero(sizeof *it);
    it->id = id;
    it->ttl_s = ttl_s;
    it->remaining_s = remaining_s;
    rt_mutex_lock(&l->lock);
    assert(!leases_find_locked(l, id));
    if (l->count >= l->bucket_count)
        rehash(l, l->bucket_count * 2);
    uint32_t b = bucket_of(l, id);
    it->next = l->buckets[b];
    l->buckets[b] = it;
    l->count++;
    if (l->promoted)
        lease_clock_start_locked(l, it, rt_now_ns(), 0);
    rt_mutex_unlock(&l->lock);
    return it;
}

void leases_remove(struct leases *l, struct lease *it)
{
    assert(!it->keys);
    rt_mutex_lock(&l->lock);
    struct lease **link = &l->buckets[bucket_of(l, it->id)];
    while (*link != it)
        link = &(*link)->next;
    *link = it->next;
    l->count--;
    if (l->promoted)
        lease_clock_drop_locked(l, it);
    rt_cond_broadcast(&l->gone_cond);
    rt_mutex_unlock(&l->lock);
    rt_free(it);
}

void leases_checkpoint(struct leases *l, struct lease *it, int64_t remaining_s)
{
    rt_mutex_lock(&l->lock);
    it->remaining_s = remaining_s;
    rt_mutex_unlock(&l->lock);
}

void lease_attach(struct lease *it, struct index_key *k)
{
    if (k->lease == it)
        return;
    if (k->lease) {
        *k->lease_link = k->lease_next;
        if (k->lease_next)
            k->lease_next->lease_link = k->lease_link;
        k->lease->key_count--;
        k->lease_link = NULL;
        k->lease_next = NULL;
    }
    k->lease = it;
    if (!it)
        return;
    k->lease_next = it->keys;
    if (k->lease_next)
        k->lease_next->lease_link = &k->lease_next;
    k->lease_link = &it->keys;
    it->keys = k;
    it->key_count++;
}

static int by_key(void *a, void *b, void *arg)
{
    (void)arg;
    return rt_bytes_compare(index_key_bytes(a), index_key_bytes(b));
}

struct index_key **lease_sorted_keys(struct lease *it)
{
    if (!it->key_count)
        return NULL;
    struct index_key **keys = rt_alloc(it->key_count * sizeof *keys);
    uint64_t n = 0;
    if (!keys)
        rt_fatal("out of memory: %llu keys of one lease", (unsigned long long)it->key_count);
    for (struct index_key *k = it->keys; k; k = k->lease_next)
        keys[n++] = k;
    assert(n == it->key_count);
    sort_pointers((void **)keys, n, by_key, NULL);
    return keys;
}

void lease_name_put(uint8_t out[LEASE_NAME_BYTES], int64_t id)
{
    out[0] = 'l';
    for (int i = 0; i < 8; i++)
        out[1 + i] = (uint8_t)((uint64_t)id >> (56 - 8 * i));
}

void lease_value_put(uint8_t out[LEASE_VALUE_BYTES], int64_t ttl_s, int64_t remaining_s)
{
    for (int i = 0; i < 8; i++) {
        out[i] = (uint8_t)((uint64_t)ttl_s >> (8 * i));
        out[8 + i] = (uint8_t)((uint64_t)remaining_s >> (8 * i));
    }
}

bool lease_read(struct rt_bytes name, struct rt_bytes value, int64_t *id, int64_t *ttl_s,
                int64_t *remaining_s)
{
    uint64_t n = 0, ttl = 0, remaining = 0;
    if (name.len != LEASE_NAME_BYTES || value.len != LEASE_VALUE_BYTES)
        return false;
    for (int i = 0; i < 8; i++)
        n = n << 8 | name.data[1 + i];
    for (int i = 7; i >= 0; i--) {
        ttl = ttl << 8 | value.data[i];
        remaining = remaining << 8 | value.data[8 + i];
    }
    *id = (int64_t)n;
    *ttl_s = (int64_t)ttl;
    *remaining_s = (int64_t)remaining;
    return true;
}
