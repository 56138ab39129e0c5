/* raft/log.c: the log as the algorithm sees it. The trap is a write under way that a later one replaces:
 * truncating below in_progress pulls in_progress back, so that the replacement is handed out, and an
 * acknowledgement counts only if (index, term) is what we hold now. Raft.c refuses those of an older term,
 * because the same pair may come back (terms 1, 2, 1 cannot be, but 1 written, 2 written, 1 acknowledged
 * can). */
#include "raft/log.h"
#include "raft/memory.h"
#include <assert.h>
#include <string.h>

static uint64_t min64(uint64_t a, uint64_t b) { return a < b ? a : b; }

static const struct raft_entry *unstable_at(const struct raft_log *l, uint64_t index)
{
    assert(index >= l->offset);
    assert(index - l->offset < l->count);
    return &l->unstable[l->head + (index - l->offset)];
}

static void check(const struct raft_log *l)
{
    assert(l->offset <= l->in_progress);
    assert(l->in_progress <= l->offset + l->count);
    assert(l->applied <= l->applying);
    assert(l->applying <= l->committed);
}

void raft_log_init(struct raft_log *l, const struct raft_env *env, struct raft_voice *voice)
{
    uint64_t first = env->first_index(env->ctx), last = env->last_index(env->ctx);
    assert(first >= 1);
    assert(last + 1 >= first);
    l->env = env;
    l->voice = voice;
    l->offset = l->in_progress = last + 1;
    l->committed = l->applying = l->applied = first - 1;
}

static void drop_unstable(struct raft_log *l, size_t from)
{
    for (size_t i = from; i < l->count; i++)
        raft_block_unref(l->env, l->unstable[l->head + i].block);
    l->count = from;
}

static void drop_arrived(struct raft_log *l)
{
    raft_entries_free(l->env, l->arrived, l->arrived_count);
    l->arrived = NULL;
    l->arrived_count = 0;
}

void raft_log_deinit(struct raft_log *l)
{
    drop_unstable(l, 0);
    drop_arrived(l);
    raft_release(l->env, l->unstable, l->cap * sizeof(*l->unstable));
    raft_snapshot_free(l->env, l->snapshot);
    l->unstable = NULL;
    l->snapshot = NULL;
}

uint64_t raft_log_first_index(const struct raft_log *l)
{
    return l->snapshot ? l->snapshot->index + 1 : l->env->first_index(l->env->ctx);
}

uint64_t raft_log_last_index(const struct raft_log *l)
{
    return l->offset + l->count - 1; // the stable log, or the snapshot, ends at offset - 1
}

int raft_log_info(const struct raft_log *l, uint64_t index, struct raft_entry_info *out)
{
    if (index >= l->offset) {
        if (index - l->offset >= l->count)
            return RAFT_UNAVAILABLE;
        const struct raft_entry *e = unstable_at(l, index);
        *out = (struct raft_entry_info){e->term, e->len, e->kind};
        return 0;
    }
    if (l->snapshot) {
        if (index != l->snapshot->index)
            return RAFT_COMPACTED;
        *out = (struct raft_entry_info){l->snapshot->term, 0, RAFT_ENTRY_NORMAL};
        return 0;
    }
    if (index + 1 < l->env->first_index(l->env->ctx))
        return RAFT_COMPACTED;
    return l->env->info(l->env->ctx, index, out);
}

int raft_log_term(const struct raft_log *l, uint64_t index, uint64_t *term_out)
{
    struct raft_entry_info info;
    int err = raft_log_info(l, index, &info);
    if (!err)
        *term_out = info.term;
    return err;
}

uint64_t raft_log_term_or_zero(const struct raft_log *l, uint64_t index)
{
    uint64_t term;
    return raft_log_term(l, index, &term) ? 0 : term;
}

uint64_t raft_log_last_term(const struct raft_log *l)
{
    return raft_log_term_or_zero(l, raft_log_last_index(l));
}

bool raft_log_matches(const struct raft_log *l, uint64_t index, uint64_t term)
{
    uint64_t ours;
    return raft_log_term(l, index, &ours) == 0 && ours == term;
}

bool raft_log_is_up_to_date(const struct raft_log *l, uint64_t term, uint64_t index)
{
    uint64_t last_term = raft_log_last_term(l);
    return term > last_term || (term == last_term && index >= raft_log_last_index(l));
}

uint64_t raft_log_find_by_term(const struct raft_log *l, uint64_t index, uint64_t term,
                               uint64_t *term_out)
{
    for (; index > 0; index--) {
        uint64_t ours;
        if (raft_log_term(l, index, &ours)) {
            *term_out = 0;
            return index;
        }
        if (ours <= term) {
            *term_out = ours;
            return index;
        }
    }
    *term_out = 0;
    return 0;
}

/* Put entries in place of everything from entries[0].index on. */
static void replace_from(struct raft_log *l, const struct raft_entry *entries, size_t count)
{
    uint64_t from = entries[0].index;
    assert(from > l->committed);
    if (from < l->offset + l->count || from < l->offset) {
        if (from <= l->offset) {
            raft_say(l->voice, RAFT_INFO, "replace the unstable entries from index %" PRIu64, from);
            drop_unstable(l, 0);
            l->offset = from;
        } else {
            raft_say(l->voice, RAFT_INFO, "truncate the unstable entries before index %" PRIu64,
                     from);
            drop_unstable(l, from - l->offset);
        }
        l->in_progress = min64(l->in_progress, from);
    }
    assert(from == l->offset + l->count);
    if (l->head + l->count + count > l->cap) {
        if (l->count)
            memmove(l->unstable, l->unstable + l->head, l->count * sizeof(*l->unstable));
        l->head = 0;
        l->unstable =
            raft_grown(l->env, l->unstable, sizeof(*l->unstable), &l->cap, l->count + count);
    }
    for (size_t i = 0; i < count; i++) {
        assert(entries[i].index == from + i);
        l->unstable[l->head + l->count++] = entries[i];
        raft_block_ref(l->env, entries[i].block);
    }
    check(l);
}

void raft_log_append(struct raft_log *l, const struct raft_entry *entries, size_t count)
{
    if (count == 0)
        return;
    assert(entries[0].index == raft_log_last_index(l) + 1);
    replace_from(l, entries, count);
}

int raft_log_try_append(struct raft_log *l, uint64_t index, uint64_t term, uint64_t commit,
                        const struct raft_entry *entries, size_t count, uint64_t *last_out)
{
    size_t same = 0;
    uint64_t last = index + count;
    if (!raft_log_matches(l, index, term))
        return RAFT_UNAVAILABLE;
    while (same < count && raft_log_matches(l, entries[same].index, entries[same].term))
        same++;
    if (same < count) {
        uint64_t at = entries[same].index;
        if (at <= l->committed) {
            raft_say(l->voice, RAFT_ERROR,
                     "entry %" PRIu64 " of term %" PRIu64
                     " conflicts with a committed entry (commit %" PRIu64
                     "); the message is refused",
                     at, entries[same].term, l->committed);
            return RAFT_BAD_MESSAGE;
        }
        if (at <= raft_log_last_index(l))
            raft_say(l->voice, RAFT_INFO,
                     "found conflict at index %" PRIu64 " [existing term: %" PRIu64
                     ", conflicting term: %" PRIu64 "]",
                     at, raft_log_term_or_zero(l, at), entries[same].term);
        replace_from(l, entries + same, count - same);
    }
    // Not our own last index: entries after what this message covers may be a dead leader's.
    raft_log_commit_to(l, min64(commit, last));
    *last_out = last;
    return 0;
}

void raft_log_commit_to(struct raft_log *l, uint64_t index)
{
    assert(index <= raft_log_last_index(l));
    if (index > l->committed)
        l->committed = index;
}

/* Entries of the unstable part, from lo on, after n that are in scratch already. */
static int slice_unstable(struct raft_log *l, uint64_t lo, uint64_t hi, uint64_t max_bytes, int n,
                          uint64_t bytes)
{
    for (; lo < hi && n < RAFT_SLICE_MAX; lo++) {
        const struct raft_entry *e = unstable_at(l, lo);
        bytes += raft_entry_size(e);
        if (n > 0 && bytes > max_bytes)
            break;
        l->scratch[n++] = *e;
        raft_block_ref(l->env, e->block);
    }
    return n;
}

int raft_log_slice(struct raft_log *l, uint64_t lo, uint64_t hi, uint64_t max_bytes)
{
    uint64_t cut = min64(hi, l->offset), bytes;
    int n = 0;
    assert(lo <= hi);
    assert(hi <= raft_log_last_index(l) + 1);
    if (lo == hi)
        return 0;
    if (lo < raft_log_first_index(l))
        return RAFT_COMPACTED;
    if (lo < cut) {
        n = l->env->entries(l->env->ctx, lo, cut, max_bytes, l->scratch, RAFT_SLICE_MAX);
        if (n < 0)
            return n;
        assert(n > 0);
        assert(n <= RAFT_SLICE_MAX);
        assert(l->scratch[0].index == lo);
        lo += (uint64_t)n;
        if (lo < cut || lo == hi)
            return n;
    }
    bytes = raft_entries_size(l->scratch, (size_t)n);
    if (n > 0 && bytes >= max_bytes)
        return n;
    return slice_unstable(l, lo, hi, max_bytes, n, bytes);
}

bool raft_log_has_unstable(const struct raft_log *l)
{
    return l->in_progress < l->offset + l->count;
}

bool raft_log_has_new_snapshot(const struct raft_log *l)
{
    return l->snapshot && !l->snapshot_in_progress;
}

void raft_log_stable_to(struct raft_log *l, uint64_t index, uint64_t term)
{
    uint64_t ours, done;
    if (index >= l->offset + l->count ||
        (index < l->offset && !(l->snapshot && l->snapshot->index == index))) {
        raft_say(l->voice, RAFT_INFO,
                 "entry at index %" PRIu64 " missing from unstable log; ignoring", index);
        return;
    }
    if (index < l->offset) {
        raft_say(l->voice, RAFT_INFO,
                 "entry at index %" PRIu64 " matched unstable snapshot; ignoring", index);
        return;
    }
    ours = unstable_at(l, index)->term;
    if (ours != term) {
        raft_say(l->voice, RAFT_INFO,
                 "entry at (index,term)=(%" PRIu64 ",%" PRIu64
                 ") mismatched with entry at (%" PRIu64 ",%" PRIu64 ") in unstable log; ignoring",
                 index, term, index, ours);
        return;
    }
    done = index + 1 - l->offset;
    for (uint64_t i = 0; i < done; i++)
        raft_block_unref(l->env, l->unstable[l->head + i].block);
    l->head += done;
    l->count -= done;
    l->offset = index + 1;
    if (l->in_progress < l->offset)
        l->in_progress = l->offset;
    if (l->count == 0)
        l->head = 0;
    check(l);
}

void raft_log_snapshot_stable(struct raft_log *l, uint64_t index)
{
    if (!l->snapshot || l->snapshot->index != index)
        return; // a newer one came meanwhile
    raft_snapshot_free(l->env, l->snapshot);
    l->snapshot = NULL;
    l->snapshot_in_progress = false;
}

void raft_log_restore(struct raft_log *l, const struct raft_snapshot *s)
{
    assert(s->index > l->committed);
    raft_say(l->voice, RAFT_INFO,
             "log [committed=%" PRIu64 ", applied=%" PRIu64 ", applying=%" PRIu64
             ", unstable.offset=%" PRIu64 ", unstable.offsetInProgress=%" PRIu64
             ", len(unstable.Entries)=%zu] starts to restore snapshot "
             "[index: %" PRIu64 ", term: %" PRIu64 "]",
             l->committed, l->applied, l->applying, l->offset, l->in_progress, l->count, s->index,
             s->term);
    drop_unstable(l, 0);
    drop_arrived(l);
    l->fetch_wanted = l->fetch_asked = false;
    l->head = 0;
    l->offset = l->in_progress = s->index + 1;
    raft_snapshot_free(l->env, l->snapshot);
    l->snapshot = raft_snapshot_copy(l->env, s);
    l->snapshot_in_progress = false;
    l->committed = s->index;
    check(l);
}

uint64_t raft_log_appliable(const struct raft_log *l)
{
    return l->apply_unstable ? l->committed : min64(l->committed, l->offset - 1);
}

bool raft_log_can_apply(const struct raft_log *l)
{
    if (l->applying_paused || l->snapshot || l->fetch_wanted)
        return false;
    return l->applying < raft_log_appliable(l);
}

void raft_log_applying_to(struct raft_log *l, uint64_t index, uint64_t bytes)
{
    assert(index <= l->committed);
    assert(index >= l->applying);
    l->applying = index;
    l->applying_bytes += bytes;
    // More is there: it waits until some of this is done, or a slow apply would get it all at once.
    l->applying_paused =
        l->applying_bytes >= l->max_applying_bytes || index < raft_log_appliable(l);
}

void raft_log_applied_to(struct raft_log *l, uint64_t index, uint64_t bytes)
{
    assert(index >= l->applied);
    assert(index <= l->committed);
    l->applied = index;
    if (l->applying < index)
        l->applying = index;
    l->applying_bytes = l->applying_bytes > bytes ? l->applying_bytes - bytes : 0;
    l->applying_paused = l->applying_bytes >= l->max_applying_bytes;
}

bool raft_log_has_conf_change_after(const struct raft_log *l, uint64_t after, uint64_t last)
{
    struct raft_entry_info info;
    for (uint64_t i = after + 1; i <= last; i++) {
        if (raft_log_info(l, i, &info) || info.kind != RAFT_ENTRY_NORMAL)
            return true;
    }
    return false;
}
