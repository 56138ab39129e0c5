/* kv/store/interval_tree.h: which of many key ranges hold this key? A treap ordered by the ranges'
 * beginnings; each node knows the farthest end below it, so a search leaves out what ends before the
 * key. Nodes live in their owners. O(log n + found) expected.  Context of all: never parks. */
#pragma once
#include "kv/store/request.h"

struct interval {
    struct key_range keys; // the owner's; unchanged while in the tree; not KEYS_ONE
    struct interval *left, *right, *parent;
    struct interval *far; // of the subtree: who ends last
    uint64_t priority;
};
struct interval_tree {
    struct interval *root;
    uint64_t inserted; // seeds priorities: the same history gives the same tree
    uint64_t count;
};
void interval_insert(struct interval_tree *t, struct interval *it);
void interval_remove(struct interval_tree *t, struct interval *it);
/* Call `each` for every range that holds `key`. It must not change the tree. */
void interval_stab(const struct interval_tree *t, struct rt_bytes key,
                   void (*each)(void *arg, struct interval *it), void *arg);
