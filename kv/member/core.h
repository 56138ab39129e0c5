/* kv/member/core.h: the goroutine that owns raft. Everything reaches it by one mailbox, which it
 * drains whole: all proposals that wait are appended at once, and one ready is made of all input.
 *
 *     proposals, reads, peers' messages, WAL completions, ticks --> inbox --> raft --> ready:
 *         messages -> senders (at once: the leader sends before its own fsync)
 *         persist  -> WAL; its completion releases the promises made with it
 *         apply    -> applier
 *         reads    -> whoever waits, when applied
 *
 * A promise to a peer is sent by the WAL goroutine itself the moment its batch is durable; our own
 * promises and the completion come back here. */
#pragma once
#include "kv/member/core_item.h"
#include "kv/member/log_cache.h"
#include "kv/member/stages.h"
#include "raft/raft.h"
#include "wal/wal.h"
#include <rt/time.h>
#include <stdatomic.h>

struct member;
struct proposal;
struct peer_inbound;
struct snapshot_in;

struct core_message {
    struct core_item item;
    struct peer_inbound *in;
    struct rt_buf *snapshot; // MSG_SNAP: the received image (snapshot.h), one reference
    size_t charged_bytes;    // of the inbox's budget
    int64_t received_ns;
};

struct core_event {
    struct core_item item;
    uint64_t peer;
    bool ok;
};

/* Entries read back from the WAL for a follower, or for apply. */
struct fetch_job {
    struct core_item item;
    struct member *m;
    struct raft_fetch fetch;
    struct raft_entry *entries;
    size_t count, cap;
};

struct persist_job {
    struct core_item item;
    struct member *m;
    struct raft_persist persist;
    struct wal_request request;
    struct wal_record *records;
    struct stage_span *span;
    struct stage_echo *echoes; // of the promises; NULL: none
    struct persist_job *next;  // behind an installation
    bool failed;               // the WAL closed without it
};

struct proposal_list {
    struct proposal *first, *last; // linked by item.mail.next
    uint32_t count;
};

/* An append that came in and is not answered yet: core_stages.c. */
struct stage_echo {
    uint64_t index; // of its last entry; 0: none
    uint64_t from, turn;
    int64_t sent_ns, received_ns;
};

enum {
    CORE_ECHOES = 1024,          // an older append is answered without stamps
    CORE_CONFS = 64,             // remembered configurations, for images of older states
    CORE_PROPOSE_ENTRIES = 4096, // given to raft by one call
};

struct core {
    struct rt_mailbox inbox;
    struct rt_mailbox applied; // finished apply jobs, fetched when we run anyway
    struct rt_note quiet;      // after a stop: nothing more will be given to the WAL
    struct rt_note ended;
    struct rt_timer tick;
    _Atomic bool tick_due, tick_over;
    struct rt_sem inbox_bytes; // readers of peers acquire, we release

    // raft goroutine only
    struct raft *raft;
    struct log_cache log;
    struct stage_spans spans;
    struct raft_entry *scratch; // CORE_PROPOSE_ENTRIES
    struct proposal_list fresh; // taken from the inbox in this turn
    struct proposal_list held;  // no leader, or a transfer, or a full queue: tried again
    struct persist_job *waiting_first, *waiting_last; // behind an installation
    bool installing;
    bool stopping, ending;
    uint64_t applied_index;    // as told to raft
    uint64_t jobs_out;         // persist and apply and fetch jobs that will come back
    struct stage_echo *echoes; // CORE_ECHOES, by index
    uint64_t turns;            // begun so far
    bool watched_windows;      // as the leader, in the turn before
    struct {
        uint64_t index;
        struct raft_conf_state conf;
    } confs[CORE_CONFS];
    uint32_t conf_count;

    // written by the raft goroutine, read by any
    _Atomic uint64_t leader, term, commit, first_index, last_index, leader_changes;
    _Atomic bool is_leader;
    _Atomic int64_t leaderless_ns; // since when there is no leader; 0: there is one
};

/* The end comes in two steps, so that the WAL can be closed between them, which completes what it has:
 * after core_quiet nothing more is appended; core_end waits until all came back. */
void core_quiet(struct member *m);
void core_end(struct member *m);

/* The state machine as the log, the store and the configuration left it. */
int core_open(struct member *m, const struct wal_recovered *recovered,
              const struct raft_conf_state *conf, uint64_t applied, struct why *why);
void core_start(struct member *m);
void core_deinit(struct member *m);

/* Any goroutine; never parks. */
void core_post(struct member *m, struct core_item *item);
void core_post_event(struct member *m, enum core_kind kind, uint64_t peer, bool ok);

/* raft_env of a member. */
void core_env_init(struct raft_env *env, struct member *m);
