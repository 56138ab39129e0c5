/* kv/member/limits.h: every bound of a member, and what happens at it. */
#pragma once

enum {
    /* Proposals. At either limit member_propose answers MEMBER_TOO_MANY. */
    MEMBER_WAITERS = 32768,          // proposals that wait for their apply
    MEMBER_QUEUED_BYTES = 256 << 20, // bytes given to raft and not yet applied here
    MEMBER_APPLY_LAG_ENTRIES = 5000, // committed - applied: refused above, as etcd does
    MEMBER_READERS = 65536,          // goroutines inside member_read_barrier: MEMBER_TOO_MANY
    MEMBER_LEASE_CALLS = 8192,       // forwarded lease calls in flight: MEMBER_TOO_MANY

    /* Raft. */
    MEMBER_MSG_BYTES = 1 << 20,       // of entries in one append message (one entry may exceed it)
    MEMBER_INFLIGHT_BYTES = 64 << 20, // of appends not answered by one follower: it waits
    MEMBER_UNCOMMITTED_BYTES = 512 << 20, // tail of a leader without quorum: proposals are refused
    MEMBER_APPLY_BATCH_BYTES = 4 << 20,   // committed entries handed to the apply goroutine at once
    MEMBER_LOG_CACHE_BYTES = 64 << 20,    // of entries in memory; older ones come from the WAL
    MEMBER_INBOX_BYTES = 128 << 20, // of messages waiting for raft: readers of peers stop reading

    /* Peers. */
    MEMBER_MEMBERS = 32,    // members of a cluster: more are refused at start
    MEMBER_LISTENERS = 8,   // addresses of --listen-peer-urls
    MEMBER_URLS = 16,       // URLs of one member
    MEMBER_URL_BYTES = 512, // one URL
    MEMBER_NAME_BYTES = 256,
    MEMBER_FRAME_BYTES = 64 << 20,       // payload of one frame: a longer one drops the connection
    MEMBER_MESSAGE_ENTRIES = 65536,      // entries of one message: more drop the connection
    MEMBER_FRAME_MESSAGES = 256,         // messages a sender puts into one writev
    MEMBER_PEER_QUEUE_MSGS = 4096,       // waiting for one peer: what comes on top is dropped, raft
    MEMBER_PEER_QUEUE_BYTES = 128 << 20, // ... sends it again
    MEMBER_PEER_CONNS = 256,             // accepted connections: the next is closed at once
    MEMBER_SNAPSHOT_CHUNK_BYTES = 256 << 10,
    MEMBER_SNAPSHOTS_OUT = 2, // sent at once: the next follower waits

    MEMBER_SLOW_REQUEST_MS = 300, // the default of the knob slow-request-threshold
    MEMBER_SLOW_LOG_MS = 100,     // at most one "slow request" line in this time

    /* Leases. */
    MEMBER_REVOKES_IN_FLIGHT = 16,
    MEMBER_REVOKES_PER_PASS = 500,
    MEMBER_CHECKPOINTS_PER_ENTRY = 1000,
};
