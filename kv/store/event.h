/* kv/store/event.h: rows as the events that watches get: mvccpb.Event, each with the tag and length
 * that it has in a WatchResponse, so that an answer is made by copying. Encoded once for all watches
 * that want the same form. */
#pragma once
#include "kv/store/row.h"
#include <rt/alloc.h>

struct store;

struct event_row {
    struct rev rev;
    struct rt_bytes bytes; // as stored
};

/* Encode n rows; out[i] is a view into the buffer that is returned, which has one reference. with_prev:
 * each event that is not a creation also gets the pair before its revision, if that is still there.
 * Context: with_prev takes index_lock and reads rows; parks. */
struct rt_buf *event_encode(struct store *s, const struct event_row *rows, uint32_t n,
                            bool with_prev, struct rt_bytes *out);
/* The key of a stored row, without reading the rest of it. */
struct rt_bytes event_key(struct rt_bytes row);
