/* kv/store/scan.h: all rows in order of revision, wherever they are, in pages. */
#pragma once
#include "kv/store/row.h"

struct store;

/* Hand every row with from <= main <= upto to `each`, in order; the bytes are borrowed for the call,
 * which may take locks. Between pages no snapshot is held, so the caller pins what it must not miss.
 * `each` returns 0 to go on. Returns 0 or what it returned. Requires: upto is not above the current
 * revision. */
int scan_rows(struct store *s, int64_t from, int64_t upto,
              int (*each)(void *arg, struct rev rev, struct rt_bytes bytes), void *arg);

/* One page of what LMDB holds: rows from *next on, copied; *next moves behind them. */
enum { SCAN_PAGE_ROWS = 1024 };
struct scan_row {
    struct rev rev;
    struct rt_bytes bytes; // in the arena
};
struct rt_arena;
/* Returns how many; 0: nothing more is durable, whose revision is *durable then. At most max_bytes of
 * rows, but at least one. */
uint32_t scan_durable(struct store *s, struct rev *next, struct rt_arena *arena,
                      struct scan_row *rows, uint32_t max, size_t max_bytes, int64_t *durable);
