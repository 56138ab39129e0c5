/* kv/store/lease_clock.c: see lease_clock.h. A binary heap by due_ns: the moment of expiry, and after
 * that was told, the moment to tell it again. */
#include "kv/store/lease_clock.h"
#include "kv/store/sort.h"
#include "kv/store/state.h"
#include <assert.h>

enum { TELL_AGAIN_S = 3 };

static void place(struct leases *l, uint32_t at, struct lease *it)
{
    l->heap[at] = it;
    it->place = at;
}

static void sift(struct leases *l, uint32_t at)
{
    struct lease *it = l->heap[at];
    while (at > 0 && l->heap[(at - 1) / 2]->due_ns > it->due_ns) {
        place(l, at, l->heap[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    for (;;) {
        uint32_t child = 2 * at + 1;
        if (child + 1 < l->heap_count && l->heap[child + 1]->due_ns < l->heap[child]->due_ns)
            child++;
        if (child >= l->heap_count || l->heap[child]->due_ns >= it->due_ns)
            break;
        place(l, at, l->heap[child]);
        at = child;
    }
    place(l, at, it);
}

static void set_due(struct leases *l, struct lease *it, int64_t due_ns)
{
    it->due_ns = due_ns;
    sift(l, it->place);
}

void lease_clock_start_locked(struct leases *l, struct lease *it, int64_t now_ns, int64_t extend_ns)
{
    int64_t left_s = it->remaining_s > 0 ? it->remaining_s : it->ttl_s;
    it->expires_ns = now_ns + extend_ns + left_s * RT_SECOND;
    it->checkpoint_ns = now_ns;
    it->clear_checkpoint = false;
    if (l->heap_count == l->heap_cap) {
        l->heap_cap = l->heap_cap ? 2 * l->heap_cap : 64;
        l->heap = rt_realloc(l->heap, l->heap_cap * sizeof *l->heap);
        if (!l->heap)
            rt_fatal("out of memory: a heap of %u leases", l->heap_cap);
    }
    place(l, l->heap_count++, it);
    set_due(l, it, it->expires_ns);
}

void lease_clock_drop_locked(struct leases *l, struct lease *it)
{
    uint32_t at = it->place;
    assert(l->heap[at] == it);
    struct lease *last = l->heap[--l->heap_count];
    if (last != it) {
        place(l, at, last);
        sift(l, at);
    }
}

void store_lease_promote(struct store *s, int64_t now_ns, int64_t extend_ns)
{
    struct leases *l = &s->leases;
    rt_mutex_lock(&l->lock);
    l->promoted = true;
    l->heap_count = 0;
    l->next_checkpoint_ns = 0;
    for (uint32_t i = 0; i < l->bucket_count; i++)
        for (struct lease *it = l->buckets[i]; it; it = it->next)
            lease_clock_start_locked(l, it, now_ns, extend_ns);
    rt_mutex_unlock(&l->lock);
}

void store_lease_demote(struct store *s)
{
    struct leases *l = &s->leases;
    rt_mutex_lock(&l->lock);
    l->promoted = false;
    l->heap_count = 0;
    rt_cond_broadcast(&l->gone_cond);
    rt_mutex_unlock(&l->lock);
}

static int renew_locked(struct leases *l, int64_t id, int64_t now_ns, int64_t *ttl_s)
{
    if (!l->promoted)
        return STORE_NOT_PRIMARY;
    struct lease *it = leases_find_locked(l, id);
    if (!it)
        return STORE_LEASE_NOT_FOUND;
    if (it->expires_ns <= now_ns)
        return STORE_LEASE_EXPIRED;
    if (it->remaining_s > 0) { // what is replicated says less than there is now
        it->clear_checkpoint = true;
        l->next_checkpoint_ns = 0;
    }
    it->expires_ns = now_ns + it->ttl_s * RT_SECOND;
    set_due(l, it, it->expires_ns);
    *ttl_s = it->ttl_s;
    return 0;
}

int store_lease_renew(struct store *s, int64_t lease, int64_t now_ns, int64_t *ttl_s)
{
    rt_mutex_lock(&s->leases.lock);
    int err = renew_locked(&s->leases, lease, now_ns, ttl_s);
    rt_mutex_unlock(&s->leases.lock);
    return err;
}

int store_lease_wait_gone(struct store *s, int64_t lease, int64_t deadline_ns)
{
    struct leases *l = &s->leases;
    int err = 0;
    rt_mutex_lock(&l->lock);
    while (!err && l->promoted && leases_find_locked(l, lease))
        if (rt_cond_wait(&l->gone_cond, &l->lock, deadline_ns))
            err = STORE_TIMEOUT;
    if (!leases_find_locked(l, lease))
        err = 0;
    else if (!l->promoted)
        err = STORE_NOT_PRIMARY;
    rt_mutex_unlock(&l->lock);
    return err;
}

uint32_t store_lease_expired(struct store *s, int64_t now_ns, int64_t *ids, uint32_t max)
{
    struct leases *l = &s->leases;
    uint32_t n = 0;
    rt_mutex_lock(&l->lock);
    while (l->promoted && n < max && l->heap_count && l->heap[0]->due_ns <= now_ns) {
        ids[n++] = l->heap[0]->id;
        set_due(l, l->heap[0], now_ns + TELL_AGAIN_S * RT_SECOND);
    }
    rt_mutex_unlock(&l->lock);
    return n;
}

/* What to tell of one lease, if anything is due. */
static bool checkpoint_locked(struct lease *it, int64_t now_ns, int64_t interval_ns,
                              struct store_checkpoint *out)
{
    if (it->expires_ns <= now_ns)
        return false;
    if (it->clear_checkpoint) {
        *out = (struct store_checkpoint){it->id, 0};
        it->clear_checkpoint = false;
        it->checkpoint_ns = now_ns;
        return true;
    }
    if (it->ttl_s * RT_SECOND <= interval_ns || now_ns - it->checkpoint_ns < interval_ns)
        return false;
    *out = (struct store_checkpoint){it->id, (it->expires_ns - now_ns + RT_SECOND - 1) / RT_SECOND};
    it->checkpoint_ns = now_ns;
    return true;
}

uint32_t store_lease_due_checkpoints(struct store *s, int64_t now_ns, int64_t interval_ns,
                                     struct store_checkpoint *out, uint32_t max)
{
    struct leases *l = &s->leases;
    uint32_t n = 0;
    assert(interval_ns > 0);
    rt_mutex_lock(&l->lock);
    if (l->promoted && now_ns >= l->next_checkpoint_ns) {
        int64_t next_ns = now_ns + interval_ns;
        for (uint32_t i = 0; i < l->heap_count && n < max; i++) {
            struct lease *it = l->heap[i];
            if (checkpoint_locked(it, now_ns, interval_ns, &out[n]))
                n++;
            else if (it->ttl_s * RT_SECOND > interval_ns &&
                     it->checkpoint_ns + interval_ns < next_ns)
                next_ns = it->checkpoint_ns + interval_ns;
        }
        l->next_checkpoint_ns = n == max ? now_ns : next_ns;
    }
    rt_mutex_unlock(&l->lock);
    return n;
}

int store_lease_ttl(struct store *s, int64_t lease, int64_t now_ns, int64_t *remaining_s,
                    int64_t *granted_s)
{
    struct leases *l = &s->leases;
    int err = 0;
    rt_mutex_lock(&l->lock);
    struct lease *it = leases_find_locked(l, lease);
    if (!it || (l->promoted && it->expires_ns <= now_ns))
        err = STORE_LEASE_NOT_FOUND;
    else {
        *granted_s = it->ttl_s;
        *remaining_s = l->promoted           ? (it->expires_ns - now_ns) / RT_SECOND
                       : it->remaining_s > 0 ? it->remaining_s
                                             : it->ttl_s;
    }
    rt_mutex_unlock(&l->lock);
    return err;
}

int store_lease_keys(struct store *s, int64_t lease, int (*each)(void *arg, struct rt_bytes key),
                     void *arg)
{
    struct rt_arena arena;
    struct rt_bytes *keys = NULL;
    uint64_t count = 0;
    int err = 0;
    rt_arena_init(&arena);
    rt_rwmutex_rlock(&s->index_lock);
    struct lease *it = leases_find(&s->leases, lease); // removed only under index_lock for writing
    if (it && it->key_count) {
        struct index_key **sorted = lease_sorted_keys(it);
        count = it->key_count;
        keys = rt_arena_alloc(&arena, count * sizeof *keys);
        for (uint64_t i = 0; i < count; i++) {
            struct rt_bytes key = index_key_bytes(sorted[i]);
            keys[i] = rt_bytes(rt_arena_copy(&arena, key.data, key.len), key.len);
        }
        rt_free(sorted);
    }
    rt_rwmutex_runlock(&s->index_lock);
    for (uint64_t i = 0; i < count && !err; i++)
        err = each(arg, keys[i]);
    rt_arena_deinit(&arena);
    return it ? err : STORE_LEASE_NOT_FOUND;
}

static int by_expiry(void *a, void *b, void *arg)
{
    const struct lease *x = a, *y = b;
    const struct leases *l = arg;
    if (l->promoted && x->expires_ns != y->expires_ns)
        return x->expires_ns < y->expires_ns ? -1 : 1;
    return (x->id > y->id) - (x->id < y->id);
}

static int by_id(void *a, void *b, void *arg)
{
    const struct lease *x = a, *y = b;
    (void)arg;
    return (x->id > y->id) - (x->id < y->id);
}

static uint32_t list(struct leases *l, int (*compare)(void *, void *, void *), int64_t **ids_out)
{
    uint32_t n = 0;
    rt_mutex_lock(&l->lock);
    struct lease **all = rt_alloc((l->count + 1) * sizeof *all);
    int64_t *ids = rt_alloc((l->count + 1) * sizeof *ids);
    if (!all || !ids)
        rt_fatal("out of memory: a list of %u leases", l->count);
    for (uint32_t i = 0; i < l->bucket_count; i++)
        for (struct lease *it = l->buckets[i]; it; it = it->next)
            all[n++] = it;
    sort_pointers((void **)all, n, compare, l);
    for (uint32_t i = 0; i < n; i++)
        ids[i] = all[i]->id;
    rt_mutex_unlock(&l->lock);
    rt_free(all);
    *ids_out = ids;
    return n;
}

uint32_t store_lease_list(struct store *s, int64_t **ids_out)
{
    return list(&s->leases, by_expiry, ids_out);
}

uint32_t leases_ids_sorted(struct leases *l, int64_t **ids_out) { return list(l, by_id, ids_out); }
