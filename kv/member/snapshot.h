/* kv/member/snapshot.h: the store of one member, streamed to another that needs more than the log still
 * holds.
 *
 *     leader: raft asks for a snapshot -> an image of the durable store is opened in the background
 *             -> raft sends MSG_SNAP -> a goroutine of its own streams the rows over a connection of
 *             its own, throttled -> raft hears whether it worked
 *     follower: rows go into an install beside the store -> when complete, MSG_SNAP reaches raft ->
 *             raft accepts -> apply installs it atomically -> the WAL gets a marker -> raft goes on
 *
 * What raft carries as a snapshot's `block` is an rt_buf whose bytes are a struct snapshot_image or a
 * struct snapshot_in; its release closes what it holds. */
#pragma once
#include "kv/member/limits.h"
#include "raft/raft.h"
#include <rt/alloc.h>
#include <rt/net.h>
#include <rt/sync.h>

struct member;
struct store_image;
struct store_install;
struct rt_counter;

/* Leader: an open image of the store. One stream uses it. */
struct snapshot_image {
    struct member *m;
    struct store_image *image; // NULL once a stream took it
    uint64_t index, term, bytes;
};

/* Follower: a complete image, not installed yet. */
struct snapshot_in {
    struct member *m;
    struct store_install *install; // NULL once committed
    uint64_t index, term, from;
};

struct snapshots {
    struct rt_mutex lock;
    struct rt_buf *ready;                      // lock: an image nobody has taken, or NULL
    bool opening;                              // lock
    uint32_t streams;                          // lock
    struct rt_conn *out[MEMBER_SNAPSHOTS_OUT]; // lock: of streams that are connected; NULL: none
    bool stopped;                              // lock
    bool receiving;                            // lock: one at a time
};

/* raft_env.snapshot: raft goroutine. */
int snapshot_for_raft(struct member *m, uint64_t to, struct raft_snapshot *out);
/* A MSG_SNAP left raft: stream it. Takes over the message. */
void snapshot_send(struct member *m, struct raft_message *message);
/* An accepted connection is a snapshot's: read it to its end. */
void snapshot_receive(struct member *m, uint64_t from, struct rt_conn *conn);
/* End the streams that are under way: a follower that hangs must not hold up our end. */
void snapshots_stop(struct member *m);
void snapshots_deinit(struct member *m);
