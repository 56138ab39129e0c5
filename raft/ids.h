/* raft/ids.h: sets of member ids, sorted, of bounded size. */
#pragma once
#include "raft/raft.h"

bool raft_ids_has(const struct raft_ids *s, uint64_t id);
/* False, changing nothing, when the set is full; true also when the id was there. */
bool raft_ids_add(struct raft_ids *s, uint64_t id);
void raft_ids_remove(struct raft_ids *s, uint64_t id); // one that is not there: nothing
/* False when the union would exceed the bound; *s then holds part of it. */
bool raft_ids_add_all(struct raft_ids *s, const struct raft_ids *from);
/* Ids in exactly one of the two. */
size_t raft_ids_differing(const struct raft_ids *a, const struct raft_ids *b);
/* Count within bounds, ascending, no repetition, no zero: for sets that came over the network. */
bool raft_ids_are_sound(const struct raft_ids *s);
