/* proto/http1_conn.h: a connection of HTTP/1.1, private to the folder. */
#pragma once
#include "proto/http1.h"
#include "proto/transport.h"

/* Serve until it ends, then free the transport. `first` were read already; `draining` (may be NULL)
 * ends it after the request at hand; `idle` (may be NULL) is true while it waits for a request, so
 * that it can be closed without harm.  Context: parks. */
void http1_conn_run(const struct http1_options *options, struct transport *t, const uint8_t *first,
                    size_t first_len, const _Atomic bool *draining, _Atomic bool *idle);
