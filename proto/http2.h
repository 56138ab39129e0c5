/* proto/http2.h: one HTTP/2 connection: its goroutine's loop, its output, its mailbox. Which side we
 * are and what streams mean is said by a role (grpc_serve.c, grpc_client.c).
 *
 * Invariants:
 *  1. Only the connection's goroutine touches `session` and everything here but `box`.
 *  2. nghttp2 is entered only between rt_nopreempt_begin and end, for it calls back; so a callback
 *     never parks. What may park is noted by the callback and done after (role->after_input).
 *  3. Output is gathered (frames copied, big pieces by reference) and written whole before more is
 *     gathered: what a slow reader keeps us from writing is at most one gathering, the rest waits
 *     in the streams, where senders see it. A referenced piece's message is kept in `written` until
 *     then. */
#pragma once
#include "proto/limits.h"
#include "proto/transport.h"
#include <nghttp2/nghttp2.h>
#include <rt/alloc.h>
#include <rt/sync.h>

struct http2;
struct stream;

enum http2_mail_kind {
    HTTP2_MAIL_OPEN,    // client: submit the request
    HTTP2_MAIL_MESSAGE, // a message to send; is a struct stream_message
    HTTP2_MAIL_CREDIT,  // input was read: open the window
    HTTP2_MAIL_DONE,    // server: the handler has returned; client: no more messages from us
    HTTP2_MAIL_CLOSE,   // client: the user is gone
};

struct http2_mail {
    struct rt_mail mail; // first: what the box hands out
    enum http2_mail_kind kind;
    struct stream *stream;
};

struct http2_role {
    /* One mail.  Under nopreempt; never parks. */
    void (*take_mail)(struct http2 *h, struct http2_mail *mail);
    /* After input and mail were taken, outside nghttp2; may park. */
    void (*after_input)(struct http2 *h);
    /* Time and flags: called every turn; may end the connection; returns when it wants to be called
     * again at the latest. */
    int64_t (*tick)(struct http2 *h, int64_t now_ns);
};

struct stream_message;

struct http2 {
    struct transport *transport;
    nghttp2_session *session;
    const struct http2_role *role;
    struct rt_mailbox box;    // any goroutine puts (http2_post)
    _Atomic uint32_t posting; // who is in http2_post: the last mail may end the connection under it

    uint8_t *read_buffer; // HTTP2_READ_BYTES
    uint8_t *copies;      // HTTP2_COPY_BYTES: frames and small pieces of this gathering
    size_t copies_len;
    struct iovec parts[HTTP2_IOVECS];
    int part_count, part_pos;       // [part_pos, part_count) is unwritten
    struct stream_message *written; // done, but parts may still point into them
    size_t queued_bytes;            // of messages in the streams' queues
    int64_t last_input_ns;
    uint64_t received_bytes;
    bool full;            // the gathering has no room for the next frame
    bool sent_since_ping; // HEADERS or DATA went out since the peer's last PING
    bool end_after_write; // GOAWAY is queued: write it, then end
    int64_t end_by_ns;    // then hang up on who does not read it
    bool ended;
};

/* Wants a session that the role has made with its own callbacks and `h` as user data.
 * Context: never parks. */
void http2_init(struct http2 *h, struct transport *t, const struct http2_role *role);
/* Frees the session, the buffers and the transport. Streams must be gone.  Context: parks. */
void http2_deinit(struct http2 *h);

/* Turn until the connection has ended; `first` are bytes already read.  Context: parks. */
void http2_run(struct http2 *h, const uint8_t *first, size_t first_len);

/* Give `mail` to the connection's goroutine.  Context: any goroutine; never parks. */
void http2_post(struct http2 *h, struct http2_mail *mail);
/* Make it turn once more.  Context: any goroutine, timer function; never parks. */
void http2_wake(struct http2 *h);

/* The connection's goroutine only: say GOAWAY with this code and text, write it, end. */
void http2_end(struct http2 *h, uint32_t code, const char *text);

/* nghttp2's callbacks for sending DATA without a copy; for every role's callback set. */
void http2_set_callbacks(nghttp2_session_callbacks *callbacks);
/* Options that bound floods, for both sides; NULL: out of memory. */
nghttp2_option *http2_new_option(void);

/* For the DATA callback: append to the gathering. Copied when small, else referenced. */
void http2_gather(struct http2 *h, const uint8_t *data, size_t len);
