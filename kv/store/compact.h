/* kv/store/compact.h: the physical part of a compaction: rows that no reader at or above the compact
 * revision can see go away, first from the index, in order of key, then from LMDB, in order of
 * revision and a slice at a time: there neighbours share a page, which each slice copies once. The
 * flusher does it between its batches; etcd's rules of what stays are in key_index.h. */
#pragma once
#include "kv/store/flusher.h"

void compaction_begin(struct compaction *c, int64_t revision);
/* Take the next rows out of the index, up to STORE_COMPACT_HELD, into c->removed, in order of
 * revision; c->walked when the walk is over.  Context: the flusher; parks for index_lock. */
void compaction_collect(struct store *s, struct compaction *c);
void compaction_deinit(struct compaction *c);
