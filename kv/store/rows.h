/* kv/store/rows.h: the bytes of rows, wherever they are: the recent log first, then LMDB. The order
 * matters: a row leaves the recent log only when LMDB has it. */
#pragma once
#include "kv/store/recent.h"
#include "kv/store/row.h"

struct store;

/* Hand every row to `each`, in the order of `revs`; the bytes are borrowed for the call, which does
 * not park. `each` returns 0 to go on. Returns 0, what `each` returned, or STORE_COMPACTED when a
 * row is gone (the caller had no pin).  Context: no lock held; parks. */
int rows_each(struct store *s, const struct rev *revs, uint32_t count,
              int (*each)(void *arg, uint32_t i, struct rt_bytes row), void *arg);
/* One row, copied to the arena. 0 or STORE_COMPACTED. */
int rows_copy(struct store *s, struct rev rev, struct rt_arena *arena, struct rt_bytes *out);
