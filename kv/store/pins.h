/* kv/store/pins.h: which old revisions are still being read. A compaction removes a row only when no
 * pin needs it, so a long read is never cut short; a pin older than STORE_PIN_MAX_S is broken, so a
 * forgotten read never holds back compaction for ever. */
#pragma once
#include "kv/store/store.h"
#include <rt/sync.h>

struct pins {
    struct rt_mutex lock;
    struct store_pin *first; // lock
};

/* Pin everything a reader at `revision` sees. Requires: `revision` is not below the compact revision
 * while the caller holds the index's lock, so that no compaction slips between. */
void pins_add(struct pins *p, struct store_pin *pin, int64_t revision);
void pins_remove(struct pins *p, struct store_pin *pin); // not pinned, or broken: nothing
bool pins_hold(struct pins *p, struct store_pin *pin);   // still in force?
/* May rows that only readers below `revision` need be removed? Breaks pins that are too old. */
bool pins_allow(struct pins *p, int64_t revision, int64_t now_ns);
void pins_break_all(struct pins *p);
