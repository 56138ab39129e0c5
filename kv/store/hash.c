/* kv/store/hash.c: HashKV, the number by which members compare their data, as etcd computes it:
 * CRC-32C over "key" and then over name and value of every row up to a revision, in order, where of
 * the rows up to the compact revision only those count that a compaction at that revision would keep.
 * So it does not depend on how far the physical compaction has come. */
#include "kv/store/crc32c.h"
#include "kv/store/event.h"
#include "kv/store/limits.h"
#include "kv/store/range.h"
#include "kv/store/rows.h"
#include "kv/store/scan.h"
#include "kv/store/state.h"

struct hash {
    struct store *s;
    int64_t at, compact;
    bool none_live; // no key lives at `at`: then etcd filters nothing
    uint32_t crc;
};

/* Does a row up to the compact revision count? */
static bool counts(struct hash *h, struct rev rev, struct rt_bytes bytes)
{
    struct store *s = h->s;
    struct rev newest;
    bool keep;
    if (rev.main > h->compact)
        return true;
    if (rev.tombstone) // of those, only one exactly at the compact revision is stored; it is skipped
        return false;
    rt_rwmutex_rlock(&s->index_lock);
    struct index_key *k = key_index_find(&s->index, event_key(bytes));
    // With nothing alive at `at` etcd counts what the compaction has left.
    int64_t bound = h->none_live ? h->compact : h->at;
    keep = k && index_key_at(&s->index, k, (struct rev){.main = bound + 1}, &newest) &&
           newest.main == rev.main && newest.sub == rev.sub;
    rt_rwmutex_runlock(&s->index_lock);
    return keep;
}

static int hash_row(void *arg, struct rev rev, struct rt_bytes bytes)
{
    struct hash *h = arg;
    uint8_t name[ROW_NAME_MAX];
    if (!counts(h, rev, bytes))
        return 0;
    h->crc = store_crc32c(h->crc, name, row_name_put(name, rev));
    h->crc = store_crc32c(h->crc, bytes.data, bytes.len);
    return 0;
}

static bool nothing_lives(struct store *s, int64_t at)
{
    struct range_walk w;
    struct rev *page = rt_alloc(RANGE_PAGE * sizeof *page);
    struct key_range all = request_keys(RT_BYTES("\0"), RT_BYTES("\0"));
    range_walk_init(&w, all, (struct rev){.main = at + 1});
    bool nothing = range_walk_page(s, &w, page) == 0;
    range_walk_deinit(&w);
    rt_free(page);
    return nothing;
}

int store_hash_kv(struct store *s, int64_t at, uint32_t *hash, int64_t *compact_revision,
                  int64_t *at_out)
{
    struct hash h = {.s = s};
    struct store_pin pin = {.link = NULL};
    int err = 0;
    rt_rwmutex_rlock(&s->index_lock);
    int64_t current = atomic_load(&s->revision);
    h.compact = atomic_load(&s->compact_revision);
    h.at = at > 0 ? at : current;
    if (h.at > current)
        err = STORE_FUTURE_REVISION;
    else if (h.at < h.compact)
        err = STORE_COMPACTED;
    else
        // What a compaction at `compact` keeps is what readers at `compact` see.
        pins_add(&s->pins, &pin, h.compact > 0 ? h.compact : 0);
    rt_rwmutex_runlock(&s->index_lock);
    if (err)
        return err;
    h.none_live = nothing_lives(s, h.at);
    h.crc = store_crc32c(0, "key", 3);
    err = scan_rows(s, 1, h.at, hash_row, &h);
    if (!err && !pins_hold(&s->pins, &pin))
        err = STORE_COMPACTED;
    pins_remove(&s->pins, &pin);
    if (err)
        return err;
    *hash = h.crc;
    *compact_revision = h.compact;
    *at_out = h.at;
    return 0;
}

/* ---- Hash of all that is replicated ---- */

static void hash_record(void *arg, struct rt_bytes key, struct rt_bytes record)
{
    uint32_t *crc = arg;
    uint64_t lens[2] = {key.len, record.len};
    *crc = store_crc32c(*crc, lens, sizeof lens);
    *crc = store_crc32c(*crc, key.data, key.len);
    *crc = store_crc32c(*crc, record.data, record.len);
}

static uint32_t hash_leases(struct store *s, uint32_t crc)
{
    struct leases *l = &s->leases;
    int64_t *ids;
    uint32_t n = leases_ids_sorted(l, &ids);
    for (uint32_t i = 0; i < n; i++) {
        uint8_t name[LEASE_NAME_BYTES], value[LEASE_VALUE_BYTES];
        rt_mutex_lock(&l->lock);
        struct lease *it = leases_find_locked(l, ids[i]);
        lease_name_put(name, ids[i]);
        lease_value_put(value, it ? it->ttl_s : 0, it ? it->remaining_s : 0);
        rt_mutex_unlock(&l->lock);
        crc = store_crc32c(crc, name, sizeof name);
        crc = store_crc32c(crc, value, sizeof value);
    }
    rt_free(ids);
    return crc;
}

int store_hash(struct store *s, uint32_t *hash)
{
    int64_t compact, at;
    uint32_t crc;
    int err = store_hash_kv(s, 0, &crc, &compact, &at);
    if (err)
        return err;
    crc = hash_leases(s, crc);
    struct store_alarm *alarms = rt_alloc(STORE_ALARMS * sizeof *alarms);
    uint32_t n = store_alarms(s, STORE_ALARM_NONE, alarms, STORE_ALARMS);
    for (uint32_t i = 0; i < n && i < STORE_ALARMS; i++) {
        uint8_t name[ALARM_NAME_BYTES];
        alarm_name_put(name, alarms[i]);
        crc = store_crc32c(crc, name, sizeof name);
    }
    rt_free(alarms);
    store_cluster_each(s, hash_record, &crc);
    *hash = crc;
    return 0;
}
