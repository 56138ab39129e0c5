/* kv/member/peer_io.h: what peers.c, peer_sender.c and peer_reader.c share. */
#pragma once
#include "kv/member/peers.h"

struct peer_outbound {
    struct rt_mail mail; // first
    enum frame_kind kind;
    size_t bytes; // of entries
    struct peer_stamps stamps;
    int64_t due_ns; // not written before: sender goroutine only
    union {
        struct raft_message message;
        struct peer_lease_call call;
        struct peer_lease_answer answer;
        struct peer_ping ping;
    };
};
void peer_outbound_free(struct member *m, struct peer_outbound *out);

void peer_sender_start(struct peer *p);
void peer_sender_stop(struct peer *p); // parks until it has ended

void peer_readers_start(struct member *m); // accept
void peer_readers_stop(struct member *m);
void peers_send_pong(struct member *m, uint64_t to, uint64_t sent_ns);

enum { PEER_TALK_BYTES = 4096 }; // the longest frame of a handshake

/* One whole frame, for the slow talk of handshakes and snapshots: its payload, at most max_bytes, as a
 * fresh buffer. 0; MEMBER_MALFORMED; -EPIPE: the stream ended; -errno.  Context: parks. */
int peer_read_frame(struct rt_conn *conn, size_t max_bytes, struct frame *frame,
                    struct rt_buf **payload);
/* Write the batch and empty it. */
int peer_write_batch(struct rt_conn *conn, struct frame_batch *batch);
