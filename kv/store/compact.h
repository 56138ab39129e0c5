/* kv/store/compact.h: the physical part of a compaction: rows that no reader at or above the compact
 * revision can see go away, a slice at a time, first from the index, then from LMDB. The flusher
 * does it between its batches; etcd's rules of what stays are in key_index.h. */
#pragma once
#include "kv/store/flusher.h"

void compaction_begin(struct compaction *c, int64_t revision);
/* Take the next rows out of the index and into c->removed, in order of revision; none and c->walked
 * when the walk is over.  Context: the flusher; parks for index_lock. */
void compaction_collect(struct store *s, struct compaction *c);
void compaction_deinit(struct compaction *c);
