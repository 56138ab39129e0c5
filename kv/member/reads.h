/* kv/member/reads.h: linearizable reads. One ReadIndex round is in flight; whoever comes meanwhile
 * waits for the next one, so that a round serves all that queued. A round that a lost leader or a lost
 * message swallowed is asked again for the same waiters: a read changes nothing.
 *
 *     pending --round begins--> asked --index known--> (applied < index) waiting --applied--> done */
#pragma once
#include "kv/member/core_item.h"
#include <stdatomic.h>
#include <stdbool.h>

struct member;

struct read_wait {
    struct core_item item;
    _Atomic uint32_t refs;  // the waiter's and the queue's
    struct read_wait *next; // the list it is in
    _Atomic bool has_index; // the round is done, only apply is behind
    struct rt_note done;
    int code; // set before `done`
};

struct read_list {
    struct read_wait *first, *last;
    uint32_t count;
};

struct read_round { // waits for apply
    struct read_round *next;
    uint64_t index;
    struct read_list waits;
};

struct reads {
    // raft goroutine only
    struct read_list pending, asked;
    uint64_t asked_id, next_id;
    int64_t asked_ns;
    // apply_lock
    struct rt_mutex apply_lock;
    struct read_round *rounds;     // in no order; few
    _Atomic uint64_t lowest_index; // of rounds; UINT64_MAX: none. Read by apply without the lock
    bool stopped;
    // any goroutine
    _Atomic uint32_t inside;
};

void reads_init(struct reads *r, uint64_t generation);

/* Raft goroutine. */
void reads_add(struct member *m, struct read_wait *w);
void reads_begin_round(struct member *m, int64_t now_ns); // when none is in flight
void reads_confirmed(struct member *m, uint64_t read_id, uint64_t index);
void reads_leader_changed(struct member *m);       // ask again
void reads_tick(struct member *m, int64_t now_ns); // ask again what was lost
void reads_fail_all(struct member *m, int code);

/* Apply goroutine: everything up to `applied` is visible. Cheap when nobody waits. */
void reads_applied(struct member *m, uint64_t applied);
