/* kv/store/load.h: from the database to everything in memory: at open and after an image. */
#pragma once
#include <rt/why.h>

struct store;

/* Fill the empty index, leases and records, the published numbers, the recent log's and the
 * flusher's beginning. 0, STORE_FORMAT or STORE_DAMAGED, with `why`.
 * Context: nobody else uses the store's memory. */
int load_all(struct store *s, struct why *why);
/* The opposite: drop all that is in memory. */
void load_drop(struct store *s);
