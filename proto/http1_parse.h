/* proto/http1_parse.h: the head of one HTTP/1.1 request, strictly. Pure: no socket, no clock. */
#pragma once
#include "proto/http1.h"
#include "proto/limits.h"

struct http1_head {
    struct http1_request request; // views into the head's bytes, which were rewritten in place
    struct http1_header headers[HTTP1_HEADERS_MAX];
    size_t head_bytes; // request line and headers with the empty line
    uint64_t content_length;
    bool keep_alive;
    bool expects_continue; // Expect: 100-continue
};

/* Parse what has come so far. 1: a whole head, *out is set. 0: more bytes are needed. Else the
 * status to refuse with, negative: -400, -413 is the caller's, -414, -417, -431, -501, -505. `bytes`
 * are changed in place (names to lower case, path decoded).  Context: never parks. */
int http1_parse(uint8_t *bytes, size_t len, struct http1_head *out);

/* %XX to bytes; plus_is_space for queries. Length, or -1 when malformed or bigger than cap. */
int http1_decode(struct rt_bytes text, bool plus_is_space, char *out, size_t cap);
