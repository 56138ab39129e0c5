/* kv/store/key_index.h: every key that has a row, in order, with the revisions of its rows. It
 * answers "which row of this key is the newest before a point in time" and "how many keys live in
 * this range now" in O(log n); it knows no values.
 *
 * A B+tree of 64-way nodes. Inner nodes know the smallest key and the number of living keys of each
 * child, leaves have a bit for each living key. A key's revisions are an array that grows at the
 * end and is trimmed at the front (by compaction), both in amortised O(1); one revision, the usual
 * case, needs no array.
 *
 * Not locked: the owner of the index has a lock round it (state.h, index_lock). A pointer to a key
 * is good until the key is removed. Context of all: never parks. */
#pragma once
#include "kv/store/row.h"
#include <rt/alloc.h>
#include <rt/why.h>

struct lease;

struct index_key {
    struct index_key *lease_next, **lease_link; // the keys of its lease; NULL link: no lease
    struct lease *lease;                        // of the newest row, NULL when none or deleted
    int64_t create, version;                    // of the newest row; 0 when it is a deletion
    union {
        struct rev one;   // cap 0
        struct rev *many; // cap of them, those in [first, first + count) in use
    };
    uint32_t first, count, cap;
    uint32_t key_len;
    uint8_t key[];
};
static inline struct rt_bytes index_key_bytes(const struct index_key *k)
{
    return rt_bytes(k->key, k->key_len);
}
static inline const struct rev *index_key_revs(const struct index_key *k)
{
    return k->cap ? k->many + k->first : &k->one;
}
static inline struct rev index_key_newest(const struct index_key *k)
{
    return index_key_revs(k)[k->count - 1];
}
static inline bool index_key_lives(const struct index_key *k) { return k->version > 0; }

struct key_index {
    void *root;
    unsigned height; // 0: the root is a leaf
    uint64_t keys;   // living or not
    uint64_t living;
    uint64_t steps; // comparisons of keys and revisions so far: what tests count
    uint64_t bytes; // of memory, about
};
void key_index_init(struct key_index *ix);
void key_index_deinit(struct key_index *ix);

/* NULL when absent. */
struct index_key *key_index_find(const struct key_index *ix, struct rt_bytes key);

/* Record a row: `rev` comes after every revision of this key. A put makes the key live (version one
 * more, or 1 with create = rev.main after a deletion or for a new key), a deletion ends it.
 * Returns the key. Requires: a deletion is of a living key. */
struct index_key *key_index_add(struct key_index *ix, struct rt_bytes key, struct rev rev);

/* The same for rows read back from disk, where the beginning of a key's life may be compacted:
 * create and version are what the row says. Also a deletion whose puts are gone. */
struct index_key *key_index_restore(struct key_index *ix, struct rt_bytes key, struct rev rev,
                                    int64_t create, int64_t version);

/* The newest revision before `before`; false when there is none or it is a deletion
 * (index_key_at), or when there is none at all (index_key_last). */
bool index_key_at(struct key_index *ix, const struct index_key *k, struct rev before,
                  struct rev *out);
bool index_key_last(struct key_index *ix, const struct index_key *k, struct rev before,
                    struct rev *out);

/* How many of the oldest revisions a compaction at `revision` lets go: all before the newest one up
 * to it, and that one too if it is a deletion before `revision`. */
uint32_t index_key_compactable(struct key_index *ix, const struct index_key *k, int64_t revision);
/* Let the oldest n revisions go; with the last one the key itself goes, and true is returned. */
bool key_index_trim(struct key_index *ix, struct index_key *k, uint32_t n);

/* Living keys in [from, to); to NULL data: to the end. */
uint64_t key_index_count(struct key_index *ix, struct rt_bytes from, const struct rt_bytes *to);

struct index_cursor {
    void *leaf;
    unsigned pos;
};
/* Stand before the first key >= from. Good until the index changes. */
struct index_cursor key_index_seek(const struct key_index *ix, struct rt_bytes from);
/* The next key, or NULL at the end. */
struct index_key *index_cursor_next(struct index_cursor *c);

/* Check every invariant; false when one is broken. For tests. */
bool key_index_is_sound(const struct key_index *ix);
