/* kv/member/peers.h: the links to the other members. Each member dials each other one and only sends on
 * what it dialled; what it accepted it only reads. So a link has one writer and one reader, each way:
 *
 *     outbox --sender goroutine, a batch a writev--> socket --> reader goroutine --> raft's inbox
 *
 * A link that is down takes nothing: raft is told, and sends again. Snapshots go over a connection of
 * their own (snapshot.h), so that they never delay a heartbeat. */
#pragma once
#include "kv/member/latency.h"
#include "kv/member/limits.h"
#include "kv/member/peer_codec.h"
#include "kv/member/stages.h"
#include <rt/log.h>
#include <rt/metrics.h>
#include <rt/net.h>
#include <rt/sync.h>

struct member;
struct membership_entry;

struct peer {
    // set before start, then const
    struct member *m;
    uint64_t id;
    char **address; // what rt_dial takes; address_count of them
    uint32_t address_count;
    struct rt_counter *sent_bytes, *sent_failures, *received_bytes, *received_failures;
    struct rt_counter *disconnected, *active;
    struct rt_histogram *round_trip;
    struct follower_latency latency;
    // the outbox
    struct rt_mailbox outbox;
    _Atomic int64_t queued_msgs, queued_bytes;
    _Atomic bool connected; // the sender has a welcomed connection
    _Atomic bool broken;    // its watcher saw the other side close
    _Atomic bool stopping;
    struct rt_waitgroup running; // sender and watcher
    // sender goroutine only
    struct rt_conn *conn;
    struct frame_batch batch;
    int64_t next_ping_ns;
    struct rt_mail *held_first, *held_last; // taken from the outbox, in order, and not due yet
    struct rt_log_gate refused_gate, dial_gate;
};

struct inbound; // an accepted connection

struct peers {
    struct rt_mutex lock;
    bool stopped;                        // lock
    struct peer *peer[RAFT_MEMBERS_MAX]; // lock to add; none ever goes, so readers take no lock
    _Atomic uint32_t count;              // release by who adds, acquire by readers
    struct rt_listener *listener[MEMBER_LISTENERS];
    uint32_t listener_count;
    struct rt_mutex inbound_lock;
    struct inbound *inbound; // inbound_lock
    uint32_t inbound_count;  // inbound_lock
    bool inbound_stopped;    // inbound_lock
    struct rt_log_gate refusal_gate, malformed_gate, accept_gate;
    struct rt_waitgroup running; // accepters and readers
};

/* Bind the peer ports. 0 or -errno with why. */
int peers_listen(struct member *m, struct why *why);
/* Start to accept, and to dial every other member that the membership names. */
void peers_start(struct member *m);
/* Close everything and wait for the goroutines; what is sent from then on is dropped. */
void peers_stop(struct member *m);
void peers_deinit(struct member *m); // also after a start that failed
/* Some peer with a link, the one connected longest; RAFT_NONE: there is none. */
uint64_t peers_any_connected(struct member *m);
/* A member more, or no longer. */
void peers_follow_membership(struct member *m);

/* Send; takes over the message's entries and snapshot. `stamps` go with an answer to an append (NULL:
 * none); an append gets its own as it leaves. False when it was dropped (no link, or a full queue): they
 * are freed all the same.  Context: raft or WAL goroutine; never parks. */
bool peers_send(struct member *m, struct raft_message *message, const struct peer_stamps *stamps);
bool peers_send_lease_call(struct member *m, uint64_t to, const struct peer_lease_call *call);
bool peers_send_lease_answer(struct member *m, uint64_t to, const struct peer_lease_answer *answer);
/* It sent what no correct member sends: close what it opened. Never parks for long. */
void peers_drop_from(struct member *m, uint64_t id, const char *why);
bool peers_is_connected(struct member *m, uint64_t id);

/* Connect to a peer and shake hands for `stream`. For senders and for snapshots. */
int peer_connect(struct peer *p, uint32_t stream, struct rt_conn **out, struct why *why);
/* The peer of that id, or NULL. It stays until the member ends. */
struct peer *peers_find(struct member *m, uint64_t id);
