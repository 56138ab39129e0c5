/* kv/member/peer_codec.h: raft's messages and the small talk of members, to frames and back
 * (proto/peer.proto). Reading is by hand, in place: an entry read from a peer is a view of the frame's
 * buffer and keeps it alive, so that a follower copies a payload only into its log.
 * Context of all: never parks. */
#pragma once
#include "kv/member/frame.h"
#include "kv/member/stages.h"
#include "raft/raft.h"

enum { PEER_FORMAT = 1, PEER_STREAM_MESSAGES = 1, PEER_STREAM_SNAPSHOT = 2 };

/* A payload of at least this many bytes is sent from where it lies; for a smaller one a piece of a
 * writev costs more than the copy. */
enum { PEER_SPLICE_BYTES = 512 };

/* Append one frame. Entries' payloads may be viewed: keep the message until the batch was written. */
void peer_put_raft(struct frame_batch *b, const struct raft_message *m,
                   const struct peer_stamps *stamps); // NULL: none
/* The fields alone, without a frame, for a message without entries. */
void peer_put_raft_fields(struct rt_string *out, const struct raft_message *m);

/* A message that came in: the message, its entries and its snapshot in one piece of memory. */
struct peer_inbound {
    struct raft_message message;
    struct peer_stamps stamps;
    struct raft_snapshot snapshot;
    struct rt_buf *frame; // one reference for the piece; entries carry references of their own
    struct raft_entry entries[];
};
/* Read a message from the bytes of `frame` (a view inside it): 0, or MEMBER_MALFORMED. Checks form
 * and bounds; what the numbers mean is raft's to check. */
int peer_get_raft(struct rt_buf *frame, struct rt_bytes bytes, struct peer_inbound **out);
void peer_inbound_free(struct peer_inbound *in);

struct peer_hello {
    uint32_t format;
    uint64_t cluster_id, from, to;
    uint64_t generation, life;
    uint32_t stream;
};
struct peer_welcome {
    uint32_t format;
    uint64_t from, generation, life;
};
enum peer_refusal_reason {
    PEER_REFUSED_FORMAT = 1,
    PEER_REFUSED_CLUSTER,
    PEER_REFUSED_MEMBER,     // not for us, or from somebody we do not know
    PEER_REFUSED_GENERATION, // its directory is older than what we have heard from it
    PEER_REFUSED_BUSY,
};
struct peer_refusal {
    uint32_t reason;
    char text[256];
};
struct peer_lease_call {
    uint64_t id;
    uint32_t what; // enum peer_lease_what
    int64_t lease;
};
enum peer_lease_what { PEER_LEASE_RENEW = 1, PEER_LEASE_TTL = 2 };
enum peer_lease_code {
    PEER_LEASE_DONE = 0,
    PEER_LEASE_UNKNOWN = 1,
    PEER_LEASE_NOT_LEADER = 2,
    PEER_LEASE_LATER = 3,
};
struct peer_lease_answer {
    uint64_t id;
    uint32_t code; // enum peer_lease_code
    int64_t ttl_s, granted_s;
};
struct peer_ping {
    uint64_t sent_ns;
    bool answer;
};
struct peer_snapshot_end {
    uint64_t bytes;
    uint32_t crc;
};
struct peer_snapshot_result {
    bool installed;
    char why[256];
};

void peer_put_hello(struct frame_batch *b, const struct peer_hello *h);
void peer_put_welcome(struct frame_batch *b, const struct peer_welcome *w);
void peer_put_refusal(struct frame_batch *b, const struct peer_refusal *r);
void peer_put_lease_call(struct frame_batch *b, const struct peer_lease_call *c);
void peer_put_lease_answer(struct frame_batch *b, const struct peer_lease_answer *a);
void peer_put_ping(struct frame_batch *b, const struct peer_ping *p);
void peer_put_snapshot_begin(struct frame_batch *b, const struct raft_message *m);
void peer_put_snapshot_end(struct frame_batch *b, const struct peer_snapshot_end *e);
void peer_put_snapshot_result(struct frame_batch *b, const struct peer_snapshot_result *r);

/* Each: 0, or MEMBER_MALFORMED with *out unspecified. */
int peer_get_hello(struct rt_bytes bytes, struct peer_hello *out);
int peer_get_welcome(struct rt_bytes bytes, struct peer_welcome *out);
int peer_get_refusal(struct rt_bytes bytes, struct peer_refusal *out);
int peer_get_lease_call(struct rt_bytes bytes, struct peer_lease_call *out);
int peer_get_lease_answer(struct rt_bytes bytes, struct peer_lease_answer *out);
int peer_get_ping(struct rt_bytes bytes, struct peer_ping *out);
int peer_get_snapshot_begin(struct rt_buf *frame, struct rt_bytes bytes, struct peer_inbound **out);
int peer_get_snapshot_end(struct rt_bytes bytes, struct peer_snapshot_end *out);
int peer_get_snapshot_result(struct rt_bytes bytes, struct peer_snapshot_result *out);

/* A configuration as bytes (message ConfState), for messages and the membership record. */
void peer_put_conf(struct rt_string *out, const struct raft_conf_state *conf);
int peer_get_conf(struct rt_bytes bytes, struct raft_conf_state *out);
