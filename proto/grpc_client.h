/* proto/grpc_client.h: the client's parts, private to grpc_client.c (the connection) and
 * grpc_client_call.c (what callers do).
 *
 * A connection has a goroutine; callers make a stream, post it, and wait in its inbox. A stream
 * belongs to its user until `close` is posted, and to the connection from `open` on: it is freed by
 * the connection's goroutine when both are done with it, `released` and `closed`. So a caller whose
 * deadline has passed just posts and leaves. */
#pragma once
#include "proto/grpc.h"
#include "proto/stream.h"

struct grpc_stream {
    struct stream stream; // first
    struct grpc_client *client;
    struct grpc_stream *next, *prev; // connection's goroutine
    struct http2_mail open, half_close, close;
    int64_t deadline_ns;
    nghttp2_nv *headers; // until submitted; one allocation with its texts
    size_t header_count;
    struct stream_message *first;  // a unary call's request: queued at once, and nothing after it
    bool half_closed, timed_out;   // user
    struct grpc_status own_status; // user: when timed_out

    /* Connection's goroutine. */
    bool closed, released;
    bool has_status;
    int http_status;

    /* Connection's goroutine until the end is delivered; then the user's. */
    struct grpc_status status;
};

struct grpc_client {
    struct http2 h2; // first
    char *address;
    struct grpc_client_options options;
    struct grpc_metadata *metadata; // copies
    struct grpc_stream *streams;    // connection's goroutine
    struct http2_mail close;
    _Atomic bool alive; // may take new calls; connection's goroutine clears it
    bool closing;       // connection's goroutine
    int64_t our_ping_ns;
    struct rt_note ended;
    nghttp2_session_callbacks *callbacks;
    nghttp2_option *option;
    struct rt_counter *received_bytes, *sent_bytes; // or NULL
};

/* The text for calls on a connection that is gone. */
void grpc_client_lost_text(const struct grpc_client *c, char *text, size_t cap);
