/* kv/store/key_revs.c: see key_revs.h, and key_index.h for what may be asked of a key. */
#include "kv/store/key_revs.h"
#include <assert.h>

enum { FIRST_CAP = 4 };

struct index_key *key_revs_new(struct key_index *ix, struct rt_bytes key)
{
    struct index_key *k = rt_alloc(sizeof *k + key.len);
    *k = (struct index_key){.key_len = (uint32_t)key.len};
    memcpy(k->key, key.data, key.len);
    ix->bytes += sizeof *k + key.len;
    return k;
}

void key_revs_free(struct key_index *ix, struct index_key *k)
{
    ix->bytes -= sizeof *k + k->key_len + k->cap * sizeof *k->many;
    if (k->cap)
        rt_free(k->many);
    rt_free(k);
}

static void make_room(struct key_index *ix, struct index_key *k)
{
    if (k->first > k->cap / 2) { // at least half is free in front: move, paid for by the trims
        memmove(k->many, k->many + k->first, k->count * sizeof *k->many);
        k->first = 0;
        return;
    }
    uint32_t cap = k->cap ? k->cap * 2 : FIRST_CAP;
    assert(cap > k->cap);
    struct rev *many = rt_alloc(cap * sizeof *many);
    if (!many)
        rt_fatal("out of memory: %u revisions of one key", k->count);
    memcpy(many, index_key_revs(k), k->count * sizeof *many);
    if (k->cap)
        rt_free(k->many);
    ix->bytes += (cap - k->cap) * sizeof *many;
    k->many = many;
    k->first = 0;
    k->cap = cap;
}

void key_revs_append(struct key_index *ix, struct index_key *k, struct rev rev)
{
    assert(k->count == 0 || rev_before(index_key_newest(k), rev));
    if (k->count == 0 && k->cap == 0) {
        k->one = rev;
        k->count = 1;
        return;
    }
    if (k->first + k->count >= k->cap)
        make_room(ix, k);
    k->many[k->first + k->count++] = rev;
}

void key_revs_trim(struct key_index *ix, struct index_key *k, uint32_t n)
{
    assert(n < k->count);
    if (n == 0)
        return;
    assert(k->cap); // one revision alone is never trimmed to less
    k->first += n;
    k->count -= n;
    if (k->count == 1 || k->count * 8 <= k->cap) { // shrink: a key once hot keeps no memory
        uint32_t cap = k->count == 1 ? 0 : k->count * 2;
        struct rev *old = k->many;
        ix->bytes -= (k->cap - cap) * sizeof *old;
        if (cap) {
            struct rev *many = rt_alloc(cap * sizeof *many);
            if (!many)
                rt_fatal("out of memory: %u revisions of one key", k->count);
            memcpy(many, old + k->first, k->count * sizeof *many);
            k->many = many;
        } else
            k->one = old[k->first];
        k->first = 0;
        k->cap = cap;
        rt_free(old);
    }
}

/* How many of the revisions come before `before`. The newest are asked for most. */
static uint32_t count_before(struct key_index *ix, const struct index_key *k, struct rev before)
{
    const struct rev *revs = index_key_revs(k);
    uint32_t low = 0, high = k->count;
    uint64_t steps = 1;
    if (rev_before(revs[high - 1], before))
        low = high;
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        steps++;
        if (rev_before(revs[mid], before))
            low = mid + 1;
        else
            high = mid;
    }
    __atomic_store_n(&ix->steps, __atomic_load_n(&ix->steps, __ATOMIC_RELAXED) + steps,
                     __ATOMIC_RELAXED);
    return low;
}

bool index_key_last(struct key_index *ix, const struct index_key *k, struct rev before,
                    struct rev *out)
{
    uint32_t n = count_before(ix, k, before);
    if (n == 0)
        return false;
    *out = index_key_revs(k)[n - 1];
    return true;
}

bool index_key_at(struct key_index *ix, const struct index_key *k, struct rev before,
                  struct rev *out)
{
    struct rev last;
    if (!index_key_last(ix, k, before, &last) || last.tombstone)
        return false;
    *out = last;
    return true;
}

uint32_t index_key_compactable(struct key_index *ix, const struct index_key *k, int64_t revision)
{
    uint32_t n = count_before(ix, k, (struct rev){.main = revision + 1});
    if (n == 0)
        return 0;
    struct rev newest = index_key_revs(k)[n - 1];
    return newest.tombstone && newest.main < revision ? n : n - 1;
}
