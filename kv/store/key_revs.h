/* kv/store/key_revs.h: one key of the index: its memory and its array of revisions. */
#pragma once
#include "kv/store/key_index.h"

struct index_key *key_revs_new(struct key_index *ix, struct rt_bytes key); // no revision yet
void key_revs_free(struct key_index *ix, struct index_key *k);
void key_revs_append(struct key_index *ix, struct index_key *k, struct rev rev);
/* Let the oldest n go; at least one stays. */
void key_revs_trim(struct key_index *ix, struct index_key *k, uint32_t n);
