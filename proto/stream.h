/* proto/stream.h: one HTTP/2 stream that carries gRPC messages: what server calls and client streams
 * have in common. Both sides of it: the connection's goroutine, and the user's.
 *
 *     user's goroutine                                   connection's goroutine
 *     stream_send --- message by the connection's box --> queue --> DATA frames (pulled by nghttp2)
 *                 <-- room (unsent) ------------------- message framed
 *     stream_recv <-- message by the stream's inbox ----- assembled from DATA
 *                 --- credit by the connection's box ---> WINDOW_UPDATE
 *
 * Flow control in: the connection's window is opened as bytes come, so that one unread stream never
 * holds up another. The stream's window is opened as bytes come while its user keeps up (nothing
 * queued); else when the user has emptied the queue. So unread input is at most a window and one
 * message a stream, and the whole is bounded by the role's budget (grpc_serve.c). */
#pragma once
#include "proto/grpc.h"
#include "proto/http2.h"

struct stream_piece {
    const uint8_t *data;
    size_t len;
    struct rt_buf *owner; // NULL: bytes lie in the message itself
};

/* A message on its way out: the five-byte prefix, copied pieces and references, one allocation. */
struct stream_message {
    struct http2_mail mail;      // first
    struct stream_message *next; // in the stream's queue, or in http2.written
    size_t len;                  // with the prefix
    uint32_t piece_count;
    struct stream_piece pieces[];
};

struct stream_input {    // a message on its way in
    struct rt_mail mail; // first
    struct rt_buf *buf;
};

struct stream {
    struct http2 *h2;
    int32_t id;

    /* Out. Connection's goroutine. */
    struct stream_message *out_first, *out_last;
    uint32_t out_piece; // where we are in out_first
    size_t out_offset;
    bool out_end;      // nothing follows what is queued
    bool out_deferred; // nghttp2 found nothing and waits for nghttp2_session_resume_data
    void (*at_end)(struct stream *s); // server: called when all is out, to submit the trailers

    /* In. Connection's goroutine. */
    uint8_t prefix[5];
    uint8_t prefix_len;
    bool in_broken; // a framing error was reported; the rest is thrown away
    struct rt_buf *partial;
    size_t partial_len; // announced by the prefix
    size_t deferred;    // bytes taken from the window and not given back

    /* Both. */
    _Atomic size_t unsent;      // user adds, connection subtracts
    _Atomic bool send_waiting;  // user is in stream_send
    _Atomic size_t queued;      // messages in inbox and `inputs`: connection adds, user subtracts
    _Atomic bool wants_credit;  // connection set: the user posts `credit` when `queued` is 0
    _Atomic bool credit_posted; // `credit` is in the box: user sets, connection clears
    _Atomic int err;            // first of: -ECANCELED, -ESHUTDOWN, -EPIPE; connection sets
    struct rt_mailbox inbox;    // of stream_input, and end_mail
    struct rt_mailbox room;     // never holds mail: a place to wait in stream_send
    struct rt_mail end_mail;    // the peer has ended its side
    struct http2_mail credit;

    /* User (receiver). */
    struct rt_mail *inputs; // taken from inbox, oldest first
    bool in_ended;
};

void stream_init(struct stream *s, struct http2 *h2);
/* Connection's goroutine, the user gone: drop what is queued. Sent pieces stay with h2->written. */
void stream_deinit(struct stream *s);

/* ---- User's side ---- */

/* A message ready to be posted: takes the references.  Context: never parks. */
struct stream_message *stream_message_new(struct stream *s, const struct grpc_part *parts,
                                          uint32_t count);
void stream_message_free(struct stream_message *m);
/* As grpc_send, for both sides; `call_deadline_ns` gives -ETIMEDOUT as well. */
int stream_send(struct stream *s, const struct grpc_part *parts, uint32_t count,
                int64_t deadline_ns);
/* As grpc_recv. */
int stream_recv(struct stream *s, struct rt_buf **out, int64_t deadline_ns);
/* As grpc_wait_wake: input that comes meanwhile is kept for stream_recv. */
int stream_wait(struct stream *s, int64_t deadline_ns);

/* ---- Connection's side ---- */

/* Queue for sending and let nghttp2 know. */
void stream_queue(struct stream *s, struct stream_message *m);
/* Nothing follows. */
void stream_end_output(struct stream *s);
/* nghttp2's data source for this stream: `source.ptr` is the stream. */
ssize_t stream_read_data(nghttp2_session *session, int32_t stream_id, uint8_t *buf, size_t length,
                         uint32_t *flags, nghttp2_data_source *source, void *user);
/* Append `length` bytes of the queue to the gathering. */
void stream_gather(struct stream *s, size_t length);

enum stream_fed { STREAM_FED, STREAM_MESSAGE, STREAM_TOO_LARGE, STREAM_COMPRESSED };
/* Feed input: takes bytes from *data, up to the end of one message. STREAM_MESSAGE: *message_out is
 * whole (never NULL), ask again for the rest. STREAM_TOO_LARGE: `announced` of more than max.
 * What was taken is *len's difference. */
enum stream_fed stream_feed(struct stream *s, const uint8_t **data, size_t *len, size_t max,
                            struct rt_buf **message_out, size_t *announced);
/* Is input in the middle of a message? */
bool stream_mid_message(const struct stream *s);
/* Hand a whole message to the user. */
void stream_deliver(struct stream *s, struct rt_buf *message);
/* The peer has ended its side: the user gets 0 after what is queued. */
void stream_deliver_end(struct stream *s);
/* `len` bytes of DATA came: open the windows as the top of this file says. Under nopreempt. */
void stream_received(struct stream *s, size_t len);
/* HTTP2_MAIL_CREDIT. */
void stream_take_credit(struct stream *s);
/* The stream has ended for its user with `err`; the first one counts. Wakes it. */
void stream_abort(struct stream *s, int err);
