/* kv/member/frame.h: frames between members. A frame is a checked header and a payload, one message
 * of proto/peer.proto (or rows of a snapshot).
 *
 *     offset  size  field (little-endian)
 *          0     4  length       of the payload
 *          4     1  kind         enum frame_kind
 *          5     3  zero
 *          8     4  payload crc  CRC32C
 *         12     4  header crc   CRC32C of the 12 bytes before
 *
 * Frames are gathered in a batch, so that all that waits for a peer leaves by one writev. What a
 * batch holds is bytes of its own and views of entries' payloads, which are never copied; whoever
 * adds a view keeps its block alive until the batch is reset. */
#pragma once
#include <rt/alloc.h>
#include <stdbool.h>
#include <sys/uio.h>

enum frame_kind {
    FRAME_HELLO = 1,
    FRAME_WELCOME = 2,
    FRAME_REFUSAL = 3,
    FRAME_RAFT = 4,
    FRAME_LEASE_CALL = 5,
    FRAME_LEASE_ANSWER = 6,
    FRAME_PING = 7,
    FRAME_SNAPSHOT_BEGIN = 8,
    FRAME_SNAPSHOT_ROWS = 9,
    FRAME_SNAPSHOT_END = 10,
    FRAME_SNAPSHOT_RESULT = 11,
    FRAME_KINDS
};

enum { FRAME_HEADER_BYTES = 16 };

struct frame {
    enum frame_kind kind;
    uint32_t len;
    uint32_t crc;
};

/* 0, or MEMBER_MALFORMED: a checksum, a kind or a length that no member writes.
 * Context: never parks. */
int frame_header_decode(const uint8_t header[FRAME_HEADER_BYTES], struct frame *out);
void frame_header_encode(const struct frame *f, uint8_t header[FRAME_HEADER_BYTES]);

struct frame_part {
    const uint8_t *view; // NULL: our own bytes
    size_t offset;       // of our own bytes
    size_t len;
};

struct frame_batch { // zero-initialised
    struct rt_string own;
    struct frame_part *part;
    uint32_t part_count, part_cap;
    struct iovec *iov; // room for part_cap of them
    size_t total_bytes;
    uint32_t frames;
    uint32_t open_part; // of the frame being made: its header's part
};

/* Begin a frame; bytes are appended to batch->own and by frame_add_view; end it. */
void frame_begin(struct frame_batch *b, enum frame_kind kind);
void frame_add_view(struct frame_batch *b, struct rt_bytes view);
void frame_end(struct frame_batch *b);
/* All of it as `*count` pieces, valid until the batch is touched again. */
const struct iovec *frame_batch_iov(struct frame_batch *b, uint32_t *count);
void frame_batch_reset(struct frame_batch *b); // empty; keeps its memory up to a bound
void frame_batch_deinit(struct frame_batch *b);
