/* kv/store/watch.h: what the rest of the store knows of watches: there is a hub, it has a goroutine,
 * it wants to hear of new revisions. */
#pragma once
#include <rt/why.h>

struct store;
struct watch_hub;

struct watch_hub *watch_hub_new(struct store *s);
int watch_hub_start(struct watch_hub *hub, struct why *why);
/* Every stream was closed. */
void watch_hub_stop(struct watch_hub *hub);
void watch_hub_free(struct watch_hub *hub);
/* There are new entries in the recent log. Cheap while nobody watches. */
void watch_hub_ring(struct watch_hub *hub);
/* The database was replaced: every watch has to catch up from its next revision. */
void watch_hub_resync(struct watch_hub *hub);
