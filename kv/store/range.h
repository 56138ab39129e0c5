/* kv/store/range.h: which keys lived at a point in time, and their rows, as a RangeResponse. */
#pragma once
#include "kv/store/key_index.h"
#include "kv/store/request.h"

/* A walk over the keys of a range in pages: the index is locked only for a page, and between pages
 * anything may change but what was there before `before`, which the caller keeps by a pin. */
struct range_walk {
    struct key_range keys;
    struct rev before;
    struct rt_string next; // where to go on
    bool begun, done;
};
enum { RANGE_PAGE = 256 };
void range_walk_init(struct range_walk *w, struct key_range keys, struct rev before);
void range_walk_deinit(struct range_walk *w);
/* The revisions of the living keys of the next page, at most RANGE_PAGE; 0 with w->done at the end. */
uint32_t range_walk_page(struct store *s, struct range_walk *w, struct rev *revs);

/* Append kvs, more and count of the state before `before`. 0, STORE_TOO_LARGE, or STORE_COMPACTED
 * when no pin held it.  Requires: the request was checked. */
int range_append(struct store *s, const struct range_request *r, struct rev before,
                 struct rt_string *body);
/* Append the rows of living keys, each as field `number`. As range_append. */
int range_append_rows(struct store *s, struct key_range keys, struct rev before, uint32_t number,
                      struct rt_string *body);
