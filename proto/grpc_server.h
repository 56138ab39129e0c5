/* proto/grpc_server.h: the server's parts, private to grpc_server.c (the server), grpc_serve.c (a
 * connection) and grpc_call.c (what a handler may do).
 *
 * A call's life: begun by HEADERS; a goroutine (or the connection's own) runs the method once its
 * request is whole; the method's end comes back by the box as HTTP2_MAIL_DONE; the answer is written
 * and nghttp2 closes the stream. It is freed when both have happened, `finished` and `closed`, by
 * the connection's goroutine. A stream closed early is `cancelled`: the method is told and goes on
 * to its end. So a connection lives until the last of its calls has ended. */
#pragma once
#include "proto/grpc.h"
#include "proto/http1.h"
#include "proto/methods.h"
#include "proto/stream.h"
#include <rt/sync.h>

struct server_conn;

struct grpc_call {
    struct stream stream; // first
    struct server_conn *conn;
    const struct method *method; // NULL: answered with Unimplemented
    int64_t deadline_ns;
    struct rt_buf *request; // whole request of a unary call or server stream
    int64_t received_ns;    // when its last bytes were read

    /* From the headers; then const. Offsets into `meta`, 0: absent. */
    struct rt_string meta; // NUL-separated values; byte 0 is not used
    uint32_t token_at, authorization_at, version_at, encoding_at, path_at;
    bool needs_leader;
    bool is_post, is_grpc; // :method POST, a gRPC content-type
    bool bad_timeout, too_much_meta, seen_plain_header;
    uint8_t seen_pseudo_headers; // a bit each
    size_t header_bytes;

    /* Connection's goroutine. */
    struct grpc_call *next, *prev; // of the connection
    struct grpc_call *next_ready, *next_cancelled;
    bool dispatched; // the method runs, or waits in the ready list
    bool finished;   // the method has ended, or there is none to run
    bool closed;     // nghttp2 has closed the stream
    bool response_started;
    bool remote_ended;
    bool in_ready, in_cancelled;
    enum grpc_code overrule_code; // with overrule_text: stands whatever the method says
    char *overrule_text;
    size_t held; // bytes it counts in the server's budget

    /* The answer: the method until `done` is posted, then the connection. */
    enum grpc_code code;
    char *text;
    struct stream_message *reply;
    bool answered;
    struct http2_mail done;

    struct rt_mutex hook_lock; // guards the two below
    void (*hook)(void *arg);
    void *hook_arg;
};

struct server_conn {
    struct http2 h2; // first
    struct grpc_server *server;
    struct grpc_call *calls;
    uint32_t call_count;
    struct grpc_call *ready_first, *ready_last;
    struct grpc_call *cancelled;
    int64_t started_ns;
    bool got_settings;
    int64_t header_began_ns; // a header block is open since; 0: none
    uint32_t bad_streams;    // since the last good one
    bool drain_sent;
    /* Pings of theirs */
    int64_t their_ping_ns;
    uint32_t ping_strikes;
    /* Pings of ours */
    int64_t our_ping_ns; // sent then, unanswered; 0: none
};

/* A connection in the server's list, whatever it speaks: for the drain. */
struct grpc_served {
    struct grpc_served *next, *prev; // conns_lock
    struct rt_conn *conn;            // a reference
    _Atomic bool idle;               // no request at hand that could be lost by closing
};

struct grpc_server {
    struct methods methods;
    struct grpc_server_options options;
    struct http1_options http1;
    nghttp2_session_callbacks *callbacks;
    nghttp2_option *option;
    struct rt_counter *received_bytes, *sent_bytes, *open_calls, *open_conns, *refused; // or NULL

    _Atomic uint32_t calls;       // of all connections
    _Atomic uint32_t connections; // being served, HTTP/1.1 too
    _Atomic uint64_t unread;      // see max_unread_bytes
    _Atomic bool draining;

    struct rt_mutex conns_lock; // guards conns
    struct grpc_served *conns;
    struct rt_waitgroup serving;
    struct rt_log_gate gate; // lines that a peer can cause
};

/* grpc_serve.c */
nghttp2_session_callbacks *grpc_serve_callbacks(void);
/* The rest of a connection whose first bytes say HTTP/2.  Context: parks. */
void grpc_serve_http2(struct grpc_server *s, struct transport *t, const uint8_t *first, size_t len);

/* grpc_answer.c, on the connection's goroutine, under nopreempt */
/* Begin an answer that has messages: they are taken from the stream's queue. */
void grpc_call_submit_headers(struct grpc_call *c);
/* The method has ended (or there is none): what it replied and its status go out. `http_status` (three
 * digits) counts when nothing but the status is sent. */
void grpc_call_answer(struct grpc_call *c, const char *http_status);

/* grpc_call.c */
struct grpc_call *grpc_call_new(struct server_conn *conn, int32_t stream_id);
void grpc_call_free(struct grpc_call *c);
/* Run the method. After GRPC_LATER `c` may be gone.  Context: parks, unless run_inline. */
enum grpc_done grpc_call_serve(struct grpc_call *c);
/* The same as a goroutine's body, and post the end. */
void grpc_call_run(void *call);
/* Tell the method that nobody waits (-ECANCELED) or that the server stops (-ESHUTDOWN).
 * Context: the connection's goroutine; parks. */
void grpc_call_cancel(struct grpc_call *c, int err);
/* As grpc_fail, but by the connection's goroutine: it stands whatever the method says. */
void grpc_call_overrule(struct grpc_call *c, enum grpc_code code, const char *text);
