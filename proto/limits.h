/* proto/limits.h: every bound of this folder, and what happens at it. */
#pragma once
#include <assert.h>

enum {
    /* HTTP/2, each connection */
    HTTP2_STREAM_WINDOW_BYTES = 256 << 10, // unread input of one stream; then the peer must wait
    HTTP2_CONN_WINDOW_BYTES = 16 << 20,    // in flight to us on one connection
    HTTP2_HEADER_LIST_BYTES = 64 << 10,    // headers of one request, as RFC 9113 counts; RST_STREAM
    HTTP2_HEADER_TABLE_BYTES = 4 << 10,    // HPACK's table, both ways
    HTTP2_READ_BYTES = 32 << 10,           // one read from the socket
    HTTP2_COPY_BYTES = 48 << 10,           // frames and small pieces gathered for one writev
    HTTP2_IOVECS = 128,                    // pieces of one writev
    HTTP2_INLINE_PIECE_BYTES = 2 << 10,    // a piece up to this is copied, a bigger one referenced
    HTTP2_RESETS_BURST = 1000,             // RST_STREAMs of a peer at once, then GOAWAY
    HTTP2_RESETS_PER_S = 33,
    HTTP2_CONTINUATIONS = 8,       // frames of one header block after the first
    HTTP2_SETTINGS_ENTRIES = 32,   // in one SETTINGS frame
    HTTP2_OUTBOUND_ACKS = 1000,    // unsent answers to PING and SETTINGS; then the end
    HTTP2_UNSENT_BYTES = 64 << 20, // answers queued on one connection; new calls: REFUSED_STREAM
    HTTP2_BAD_STREAMS = 1000,      // refused or broken requests in a row, then GOAWAY

    /* gRPC, each call */
    GRPC_SEND_QUEUE_BYTES = 1 << 20,    // grpc_send waits above it (one message may exceed it)
    GRPC_PATH_MAX = 512,                // longer: unknown method
    GRPC_METADATA_BYTES = 8 << 10,      // what we keep of a request's headers; more: refused
    GRPC_MESSAGE_COST_BYTES = 64,       // what a queued message counts beside its bytes
    GRPC_BUFFER_FIRST_BYTES = 64 << 10, // a long message's buffer grows as its bytes come

    /* HTTP/1.1, each connection */
    HTTP1_HEAD_BYTES = 16 << 10, // request line and headers; more: 431
};
/* Time: whoever is slower is hung up on. */
#define HTTP2_HANDSHAKE_NS (INT64_C(10) * 1000000000)  // preface and SETTINGS; any header block
#define HTTP2_GOODBYE_NS   (INT64_C(5) * 1000000000)   // to write GOAWAY before we hang up
#define HTTP1_HEAD_NS      (INT64_C(10) * 1000000000)  // from the first byte to the end of the head
#define HTTP1_BODY_NS      (INT64_C(60) * 1000000000)  // the whole body
#define HTTP1_IDLE_NS      (INT64_C(120) * 1000000000) // between requests
#define HTTP1_WRITE_NS     (INT64_C(60) * 1000000000)  // one answer

static_assert(GRPC_SEND_QUEUE_BYTES >= HTTP2_STREAM_WINDOW_BYTES, "a window's worth can be queued");
