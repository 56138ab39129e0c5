/* inspect/places.h: goroutines counted by where they are: the same stack of return addresses from the
 * call into the runtime on, started at the same place, under the same name. (How the runtime went on
 * from that call to where it switched is no difference.) */
#pragma once
#include "runtime/inspect/glance.h"

enum { PLACES_MAX = 4096 }; // of a set, half a kilobyte each; what is beyond is only counted

struct place {
    uint64_t fingerprint;
    uint32_t count;
    int64_t least_wait_ns, most_wait_ns;
    struct glance first; // whoever was seen there first

    // leak.c
    uint32_t base;      // how many there were at the beginning
    uint32_t fresh;     // of count: were not there at the beginning
    uint32_t recent[3]; // growth at the last rounds, newest first
};

struct places {
    struct place **all; // in order of arrival
    uint32_t count, cap;
    uint32_t *slots; // hash table of index + 1; 0: free
    uint32_t slot_cap;
    uint64_t uncounted; // goroutines of which the place did not fit
};

void places_deinit(struct places *set);
/* The place of `at`, made with a count of 0 when it is new; NULL when the set is full. `by_state`: one
 * that runs, one that waits for something else, is in another place. */
struct place *places_of(struct places *set, const struct glance *at, bool by_state);
void place_add(struct place *place, const struct glance *at);
/* Most goroutines first. Nothing may be looked up or added after it. */
void places_sort(struct places *set);
