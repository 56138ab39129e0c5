/* kv/store/compact.c: see compact.h. The walk is over the index, in order of key, so nothing is read
 * from disk to find what to remove. After a crash the index is made anew from the rows that are
 * left, and the walk begins again: what was removed is not found twice. */
#include "kv/store/compact.h"
#include "kv/store/limits.h"
#include "kv/store/sort.h"
#include "kv/store/state.h"
#include <assert.h>

void compaction_begin(struct compaction *c, int64_t revision)
{
    assert(c->revision == 0);
    assert(c->written == c->removed_count);
    c->revision = revision;
    c->removed_count = c->written = 0;
    c->resume.len = 0;
    c->walked = false;
}

void compaction_deinit(struct compaction *c)
{
    rt_string_deinit(&c->resume);
    rt_free(c->removed);
}

static void remember(struct compaction *c, const struct rev *revs, uint32_t n)
{
    assert(c->removed_count + n <= STORE_COMPACT_HELD);
    memcpy(c->removed + c->removed_count, revs, n * sizeof *revs);
    c->removed_count += n;
}

/* Trim keys from c->resume on, until `upto` rows are held. False at the end of the index. */
static bool trim_locked(struct store *s, struct compaction *c, uint32_t upto)
{
    struct index_cursor cursor = key_index_seek(&s->index, rt_bytes(c->resume.data, c->resume.len));
    struct index_key *k;
    for (uint32_t looked = 0; (k = index_cursor_next(&cursor)); looked++) {
        uint32_t n = index_key_compactable(&s->index, k, c->revision);
        uint32_t room = upto - c->removed_count;
        if (n == 0 && looked < STORE_COMPACT_KEYS && room > 0)
            continue;
        c->resume.len = 0; // the tree may change under the cursor: come back to this key
        rt_string_append(&c->resume, k->key, k->key_len);
        if (room == 0 || looked >= STORE_COMPACT_KEYS)
            return true;
        n = n < room ? n : room;
        remember(c, index_key_revs(k), n);
        if (key_index_trim(&s->index, k, n))
            cursor = key_index_seek(&s->index, rt_bytes(c->resume.data, c->resume.len));
        else if (n == room)
            return true;
    }
    return false;
}

static int by_rev(void *a, void *b, void *arg)
{
    const struct rev *x = a, *y = b;
    (void)arg;
    return rev_before(*x, *y) ? -1 : rev_before(*y, *x);
}

static void sort_removed(struct compaction *c)
{
    uint32_t n = c->removed_count;
    struct rev **order = rt_alloc((n + 1) * sizeof *order);
    struct rev *sorted = rt_alloc(STORE_COMPACT_HELD * sizeof *sorted);
    if (!order || !sorted)
        rt_fatal("out of memory: a compaction of %u rows", n);
    for (uint32_t i = 0; i < n; i++)
        order[i] = &c->removed[i];
    sort_pointers((void **)order, n, by_rev, NULL);
    for (uint32_t i = 0; i < n; i++)
        sorted[i] = *order[i];
    rt_free(order);
    rt_free(c->removed);
    c->removed = sorted;
}

void compaction_collect(struct store *s, struct compaction *c)
{
    assert(c->written == c->removed_count);
    c->removed_count = c->written = 0;
    if (!c->removed)
        c->removed = rt_alloc(STORE_COMPACT_HELD * sizeof *c->removed);
    if (!c->removed)
        rt_fatal("out of memory: a compaction's rows");
    while (!c->walked && c->removed_count < STORE_COMPACT_HELD) {
        uint32_t left = STORE_COMPACT_HELD - c->removed_count, page = s->options.compact_slice_rows;
        rt_rwmutex_lock(&s->index_lock);
        c->walked = !trim_locked(s, c, c->removed_count + (page < left ? page : left));
        rt_rwmutex_unlock(&s->index_lock);
    }
    sort_removed(c);
}
