/* wal/places.h: where each surviving entry stands in the files. A list of marks in order of index and
 * of place: the entries from a mark's index up to the next mark's index are found by walking the
 * batches from the mark's place, and end there even when older, replaced entries follow.
 *
 *     marks         1 @ segment 1, 0        40 @ segment 1, 65536       52 @ segment 1, 98304
 *     in the file   1 2 3 ... 39            40 41 ... 51 52 53 54       52' 53' ...
 *                                                        replaced
 *
 * Invariants: (1) first_index rises strictly from mark to mark, and so does the place;
 * (2) between two marks the indexes in the file rise by one; (3) marks never cross a segment;
 * (4) the first mark's index is first, or there is no mark and first = last + 1. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct wal_place {
    uint64_t first_index;
    uint64_t segment; // number of the file
    uint64_t batch;   // offset of the batch in the file
    uint32_t skip;    // offset of the record in the batch
};

struct wal_places {
    struct wal_place *mark;
    uint32_t count, cap;
    uint64_t base; // index before the first entry that may be there
    uint64_t last; // newest entry, base when none
};

void wal_places_init(struct wal_places *p, uint64_t base);
void wal_places_deinit(struct wal_places *p);
uint64_t wal_places_first(const struct wal_places *p);

/* An entry was written there. One that is there already is replaced with all after it. One at or
 * below the base empties the list and becomes the base itself: it cannot be asked for any more.
 * Requires: at->first_index is not 0 and at most last + 1. */
void wal_places_add(struct wal_places *p, const struct wal_place *at);

/* A snapshot replaced everything: the next entry is index + 1. */
void wal_places_reset(struct wal_places *p, uint64_t index);

/* Forget what stands in segments below this number. */
void wal_places_release(struct wal_places *p, uint64_t segment);

/* The newest entry that stands in this segment or in one before it; 0 when there is none. */
uint64_t wal_places_last_in(const struct wal_places *p, uint64_t segment);

/* Where to begin to look for the entry, and the index that ends the walk. Returns 0, WAL_COMPACTED
 * below the first entry, or WAL_UNAVAILABLE above the last. */
int wal_places_find(const struct wal_places *p, uint64_t index, struct wal_place *at,
                    uint64_t *end);
