/* cmd/kvlab/http_answer.h: an HTTP/1.1 response, read as its bytes come: status, body by Content-Length,
 * chunks, or up to the end of the connection. Pure. Source: RFC 9112, sections 4, 6 and 7. */
#pragma once
#include <rt/alloc.h>
#include <stdbool.h>
#include <sys/types.h>

enum { HTTP_HEAD_MAX = 64 << 10, HTTP_BODY_MAX = 64 << 20 };
enum http_phase {
    HTTP_HEAD,
    HTTP_COUNTED,    // `left` bytes of body, then done
    HTTP_TO_THE_END, // the body ends with the connection
    HTTP_CHUNK_SIZE,
    HTTP_CHUNK, // `left` bytes of this chunk
    HTTP_CHUNK_END,
    HTTP_TRAILER, // lines after the last chunk, thrown away
    HTTP_DONE
};
struct http_answer {
    enum http_phase phase;
    int status;
    bool keeps_open;       // another request may follow on the connection
    uint64_t left;         // of a counted body or a chunk
    struct rt_string line; // what of the head or of a line has come
    struct rt_string body;
};

/* Begin the next response; memory is used again. */
void http_answer_begin(struct http_answer *a);
/* Take bytes off the connection: how many were of this response (all, unless it is done), or -1 when
 * it is malformed or too big. Done when phase is HTTP_DONE. */
ssize_t http_answer_take(struct http_answer *a, const char *bytes, size_t len);
/* The connection has ended: true when that is the end of the response. */
bool http_answer_ended(struct http_answer *a);
void http_answer_deinit(struct http_answer *a);
