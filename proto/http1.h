/* proto/http1.h: a small, strict HTTP/1.1 server: /version, /health, /metrics and the JSON gateway.
 * GET, HEAD, POST, OPTIONS, PUT, DELETE; bodies by Content-Length only (chunked is refused with
 * 501 Not Implemented); keep-alive; pipelined requests are answered in order. What is malformed is
 * answered with 400 and the connection closed. Source: RFC 9110, RFC 9112. */
#pragma once
#include <rt/alloc.h>
#include <rt/bytes.h>
#include <rt/log.h>
#include <rt/net.h>
#include <stdbool.h>
#include <stdint.h>

struct http1_header {
    struct rt_bytes name; // lower case
    struct rt_bytes value;
};
enum { HTTP1_HEADERS_MAX = 64 };

/* All views live until the handler returns. */
struct http1_request {
    struct rt_bytes method; // "GET"
    struct rt_bytes path;   // decoded, without the query: "/health"
    struct rt_bytes query;  // as sent, without '?': "serializable=true"
    struct rt_bytes body;
    const struct http1_header *headers;
    uint32_t header_count;
    const char *remote; // "127.0.0.1:40312"
};
/* The header's value, or one with data NULL. `name` in lower case. */
struct rt_bytes http1_header(const struct http1_request *r, const char *name);
/* The `nth` (from 0) value of a query parameter, decoded, into buf: its length, or -ENOENT, or
 * -EINVAL when it does not fit or is not decodable. */
int http1_query(const struct http1_request *r, const char *name, unsigned nth, char *buf,
                size_t cap);

struct http1_response {
    int status;               // 200; the handler sets it
    const char *content_type; // a literal; NULL: none
    const char *allow;        // 405 says what is allowed: "GET"; NULL: none
    struct rt_string body;    // freed by the server
    struct rt_string headers; // more header lines, each with its CRLF
};

struct http1_options {
    /* Answer one request. Runs on the connection's goroutine and may park. */
    void (*serve)(void *ctx, const struct http1_request *request, struct http1_response *response);
    void *ctx;
    uint32_t max_body_bytes; // 0: 2 MiB; more: 413
    struct rt_log *log;
};

/* Serve a connection that speaks HTTP/1.1 only, until it ends (the metrics listener). Takes over
 * the caller's reference.  Context: parks. */
void http1_serve(const struct http1_options *options, struct rt_conn *conn);
/* Accept on `listener`, a goroutine and http1_serve for each connection, until the listener is
 * closed; at most max_connections at once (0: 256), more are closed. Returns when the last has
 * ended.  Context: parks. */
void http1_accept(const struct http1_options *options, struct rt_listener *listener,
                  uint32_t max_connections);

/* "OK", "Not Found": the words of a status. */
const char *http1_status_text(int status);
