/* proto/grpc.h: gRPC over HTTP/2, both sides.
 *
 *     socket --> a connection's goroutine, which alone touches the HTTP/2 session
 *                  | a whole request                     ^ one mailbox a connection: answers,
 *                  v                                     | messages, "I have read some"
 *                a goroutine a call (or a stream) -------+   drained whole, one writev
 *
 * A call that neither parks nor takes long may be run on the connection's goroutine itself
 * (GRPC_INLINE). Every bound is in proto/limits.h and in struct grpc_server_options. */
#pragma once
#include <rt/alloc.h>
#include <rt/bytes.h>
#include <rt/log.h>
#include <rt/metrics.h>
#include <rt/net.h>
#include <rt/why.h>
#include <stdbool.h>
#include <stdint.h>

enum grpc_code {
    GRPC_OK = 0,
    GRPC_CANCELLED = 1,
    GRPC_UNKNOWN = 2,
    GRPC_INVALID_ARGUMENT = 3,
    GRPC_DEADLINE_EXCEEDED = 4,
    GRPC_NOT_FOUND = 5,
    GRPC_ALREADY_EXISTS = 6,
    GRPC_PERMISSION_DENIED = 7,
    GRPC_RESOURCE_EXHAUSTED = 8,
    GRPC_FAILED_PRECONDITION = 9,
    GRPC_ABORTED = 10,
    GRPC_OUT_OF_RANGE = 11,
    GRPC_UNIMPLEMENTED = 12,
    GRPC_INTERNAL = 13,
    GRPC_UNAVAILABLE = 14,
    GRPC_DATA_LOSS = 15,
    GRPC_UNAUTHENTICATED = 16,
    GRPC_CODES = 17,
};
/* "OK", "Canceled", "InvalidArgument": as metrics and Go name them. */
const char *grpc_code_name(enum grpc_code code);

/* A piece of a message to send. With an owner, `bytes` lie in it and stay where they are: the call
 * takes over ONE reference and drops it when they are written (or the call has died). Without one,
 * the bytes are copied before the call returns. So an event encoded once goes to a thousand
 * watchers by reference, and a header on the stack is simply copied. */
struct grpc_part {
    struct rt_bytes bytes;
    struct rt_buf *owner; // NULL: copy
};
enum { GRPC_PARTS_MAX = 1024 };

/* ---- Server ---- */

struct grpc_call;
struct grpc_server;
struct http1_options;

enum grpc_shape { GRPC_UNARY, GRPC_SERVER_STREAM, GRPC_BIDI };

enum grpc_done {
    GRPC_DONE,  // answered: by grpc_reply or grpc_fail, or, for streams, all is sent
    GRPC_LATER, // unary only: somebody else answers, and then calls grpc_finish exactly once
};

struct grpc_method {
    const char *service; // "etcdserverpb.KV"; literals, which outlive the server
    const char *name;    // "Range"
    enum grpc_shape shape;
    bool run_inline; // unary only: never parks and is short; runs on the connection's goroutine
    /* `request` is the message's bytes, valid until the call ends (grpc_call_request has them as a
     * buffer to keep); empty for GRPC_BIDI, whose messages come by grpc_recv. A SERVER_STREAM has
     * its one request here. Runs on a goroutine of its own, unless run_inline. */
    enum grpc_done (*serve)(void *ctx, struct grpc_call *call, struct rt_bytes request);
    uint32_t tag; // the owner's: grpc_call_tag
};

struct grpc_server_options {
    const struct grpc_method *methods; // copied
    uint32_t method_count;
    void *ctx;                         // first argument of every `serve`
    const struct http1_options *http1; // who answers HTTP/1.1 on this port; NULL: nobody (copied)
    uint32_t max_receive_bytes;        // 0: 2 MiB (max-request-bytes 1.5 MiB + 512 KiB)
    uint32_t max_calls;                // at once in this server; more: REFUSED_STREAM. 0: 65,536
    uint32_t max_connections;          // more: closed at once. 0: 16,384
    uint64_t max_unread_bytes;         // requests not yet served, whole server. 0: 512 MiB
    int64_t ping_min_ns;               // clients may ping this often. 0: 5 s
    int64_t ping_interval_ns;          // we ping an idle client. 0: 2 h
    int64_t ping_timeout_ns;           // and hang up without an answer. 0: 20 s
    int64_t handshake_ns;              // for the first bytes, and for any header block. 0: 10 s
    struct rt_log *log;                // NULL: silence. Outlives the server
    struct rt_metrics *metrics;        // NULL: none. Outlives the server
};

/* Never NULL. */
struct grpc_server *grpc_server_new(const struct grpc_server_options *options);
/* Serve one connection until it ends: HTTP/2 with gRPC, or HTTP/1.1, found by the first bytes.
 * Takes over the caller's reference of `conn`. Call it in a goroutine of its own, begun for the
 * connection: it returns when the peer is gone and every call of it has ended.  Context: parks. */
void grpc_serve(struct grpc_server *s, struct rt_conn *conn);
/* Accept on `listener` and run grpc_serve in a goroutine for each connection, until the listener is
 * closed (rt_listener_close).  Context: parks. */
void grpc_accept(struct grpc_server *s, struct rt_listener *listener);
/* Take no new connections and calls (GOAWAY), end streams (grpc_call_err gives -ESHUTDOWN), wait
 * for calls to finish; at the deadline, cancel what is left and close. Returns when no connection is
 * left. Close the listener first.  Context: parks. */
void grpc_server_drain(struct grpc_server *s, int64_t deadline_ns);
/* After drain. */
void grpc_server_free(struct grpc_server *s);

/* What a call says about itself. Strings live as long as the call.  Context of all: never parks. */
uint32_t grpc_call_tag(const struct grpc_call *c);
const struct grpc_method *grpc_call_method(const struct grpc_call *c);
const char *grpc_call_remote(const struct grpc_call *c);  // "127.0.0.1:40312"
int64_t grpc_call_deadline_ns(const struct grpc_call *c); // RT_FOREVER without grpc-timeout
/* When the last bytes of the request were read, monotonic; of a unary call or a server stream. */
int64_t grpc_call_received_ns(const struct grpc_call *c);
const char *grpc_call_token(const struct grpc_call *c); // "token", else "authorization"; or NULL
bool grpc_call_needs_leader(const struct grpc_call *c); // "hasleader: true"
const char *grpc_call_client_version(const struct grpc_call *c); // "client-api-version" or NULL
/* The request as a buffer; take a reference to keep it beyond the call. NULL when empty. Offset 0
 * of the buffer is the first byte of the message. */
struct rt_buf *grpc_call_request(const struct grpc_call *c);

/* 0 while the caller waits; -ECANCELED when it gave up or its connection is lost; -ETIMEDOUT past
 * the call's deadline; -ESHUTDOWN (streams) when the server drains.  Context: any goroutine that
 * keeps the call alive; never parks. */
int grpc_call_err(const struct grpc_call *c);
/* Call hook(arg) once when the call is cancelled or drained (not at its deadline: wait with the
 * deadline), at once if it already is. It never parks and is short: set a note, wake a box. NULL
 * takes it away; when that returns, the hook does not run and never will. The handler takes its
 * hook away before what `arg` points to goes.  Context: the handler; never parks. */
void grpc_call_on_cancel(struct grpc_call *c, void (*hook)(void *arg), void *arg);

/* Unary: the answer. It is sent once the handler has returned (or grpc_finish was called). At most
 * one of reply and fail a call; references of owned parts are taken in any case.
 * Context: the handler; never parks. */
void grpc_reply(struct grpc_call *c, const struct grpc_part *parts, uint32_t count);
/* End the call with an error (any shape; streams: the trailers, after what was sent). `text` is
 * copied, cut to GRPC_TEXT_MAX. */
enum { GRPC_TEXT_MAX = 1024 };
void grpc_fail(struct grpc_call *c, enum grpc_code code, const char *text);
/* After GRPC_LATER: the answer is made; `c` is gone. Nothing of the call may be used afterwards.
 * Context: any goroutine; never parks. */
void grpc_finish(struct grpc_call *c);

/* Streams. One goroutine receives and one (which may be the same) sends. */

/* The next message, a reference for the caller; valid bytes are rt_buf_bytes. 1: got one. 0: the
 * client has half-closed, there are no more. -EAGAIN: woken by grpc_call_wake with no message;
 * -ETIMEDOUT: at deadline_ns; or what grpc_call_err says. deadline_ns 0 only tries (-ETIMEDOUT).
 * After half-close, a wait goes on for wake-ups only when `deadline_ns` is not 0 and
 * grpc_wait_wake is used instead.  Context: parks. */
int grpc_recv(struct grpc_call *c, struct rt_buf **message_out, int64_t deadline_ns);
/* Wait for grpc_call_wake (or one that came since the last wait): 0, -ETIMEDOUT, or grpc_call_err.
 * For streams that have read all they want.  Context: parks. */
int grpc_wait_wake(struct grpc_call *c, int64_t deadline_ns);
/* Make a waiting, or the next, grpc_recv or grpc_wait_wake return. Whoever calls it arranges that
 * the handler has not returned.  Context: any goroutine, timer function; never parks. */
void grpc_call_wake(struct grpc_call *c);

/* Send one message. Waits while more than GRPC_SEND_QUEUE_BYTES of this stream are unsent: a slow
 * reader slows its sender and nobody else. 0, -ETIMEDOUT at deadline_ns, or grpc_call_err.
 * References of owned parts are taken in any case.  Context: parks. */
int grpc_send(struct grpc_call *c, const struct grpc_part *parts, uint32_t count,
              int64_t deadline_ns);
/* Bytes of this stream given to grpc_send and not yet written.  Context: never parks. */
size_t grpc_send_queued(const struct grpc_call *c);

/* ---- Client: one connection, any number of calls at once from any number of goroutines ---- */

struct grpc_client;
struct grpc_stream;

struct grpc_status {
    enum grpc_code code;
    char text[GRPC_TEXT_MAX];
};

struct grpc_metadata {
    const char *name, *value; // name in lower case
};

struct grpc_client_options {
    const struct grpc_metadata *metadata; // sent with every call; copied
    uint32_t metadata_count;
    uint32_t max_receive_bytes; // 0: no bound of ours (2^31-1)
    int64_t ping_interval_ns;   // 0: no pings
    int64_t ping_timeout_ns;    // 0: 20 s
    struct rt_metrics *metrics; // NULL: none
};

/* Connect, HTTP/2 with prior knowledge; `address` as in rt_dial. Options may be NULL. 0 or -errno
 * with why. The connection is served by a goroutine of its own.  Context: parks. */
int grpc_client_dial(const char *address, const struct grpc_client_options *options,
                     int64_t deadline_ns, struct grpc_client **out, struct why *why);
/* Every call must have returned and every stream been closed. Context: parks. */
void grpc_client_close(struct grpc_client *c);
/* False once the connection is lost or the server said GOAWAY: dial again.  Context: never parks. */
bool grpc_client_is_alive(const struct grpc_client *c);

/* One unary call, `path` is "/etcdserverpb.KV/Range". The request is borrowed until this returns.
 * Returns status->code: 0 with *response_out (the caller's reference; never NULL), or a code with
 * its text. A lost connection is GRPC_UNAVAILABLE with a text that says so. The deadline goes along
 * as grpc-timeout.  Context: parks. */
int grpc_client_call(struct grpc_client *c, const char *path, struct rt_bytes request,
                     const struct grpc_metadata *metadata, uint32_t metadata_count,
                     int64_t deadline_ns, struct rt_buf **response_out, struct grpc_status *status);

/* Streams: 0 and *out, or a code with status. Close it, whatever happened.  Context: parks. */
int grpc_stream_open(struct grpc_client *c, const char *path, const struct grpc_metadata *metadata,
                     uint32_t metadata_count, int64_t deadline_ns, struct grpc_stream **out,
                     struct grpc_status *status);
/* 0, -ETIMEDOUT at the deadline, or -EPIPE: we half-closed, or the stream has
 * ended (grpc_stream_recv gives 0, grpc_stream_status says why).  Context: parks. */
int grpc_stream_send(struct grpc_stream *s, const struct grpc_part *parts, uint32_t count,
                     int64_t deadline_ns);
/* 1 and a message (the caller's reference); 0: ended, grpc_stream_status says how (GRPC_OK too);
 * -ETIMEDOUT; -EAGAIN: grpc_stream_wake. deadline_ns 0 only tries (-ETIMEDOUT).  Context: parks. */
int grpc_stream_recv(struct grpc_stream *s, struct rt_buf **message_out, int64_t deadline_ns);
/* Make a waiting, or the next, grpc_stream_recv return.  Context: never parks. */
void grpc_stream_wake(struct grpc_stream *s);
/* No more messages from us.  Context: never parks. */
void grpc_stream_half_close(struct grpc_stream *s);
/* How it ended; valid after grpc_stream_recv gave 0. */
const struct grpc_status *grpc_stream_status(const struct grpc_stream *s);
/* Cancel when it has not ended, and free. Nobody may be inside send or recv.  Context: never parks. */
void grpc_stream_close(struct grpc_stream *s);
