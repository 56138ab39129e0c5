/* proto/sniff.h: which protocol does a fresh connection speak? */
#pragma once
#include "proto/transport.h"

enum { SNIFF_BYTES = 24 }; // HTTP/2's preface

enum sniffed { SNIFFED_NOTHING, SNIFFED_HTTP1, SNIFFED_HTTP2 };

/* Read until the first bytes differ from HTTP/2's preface or are all of it. What was read is in
 * first (SNIFF_BYTES) and *len_out. NOTHING: the peer went away or took longer than the deadline.
 * Context: parks. */
enum sniffed sniff(struct transport *t, uint8_t *first, size_t *len_out, int64_t deadline_ns);
