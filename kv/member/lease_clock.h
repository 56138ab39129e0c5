/* kv/member/lease_clock.h: the leader keeps the leases' time. A goroutine promotes the store's clock
 * once this member leads and has applied an entry of its own term (so that it knows every lease that
 * was granted before), demotes it when it leads no more, proposes the revocation of what expired and
 * replicates remaining times. Other members ask the leader. */
#pragma once
#include "kv/member/peer_codec.h"
#include <rt/sync.h>

struct member;

struct lease_call {
    struct lease_call *next;
    uint64_t id;
    struct rt_note done;
    struct peer_lease_answer answer; // before `done`
};

struct lease_clock {
    struct rt_mailbox wake; // nothing in it: to be woken
    struct rt_note ended;
    uint64_t promoted_term;        // lease goroutine only; 0: not promoted
    _Atomic uint64_t applied_term; // term of the newest applied entry, by apply
    // When raft's goroutine last had a tick, when one came so late that somebody else may lead, and when
    // the cluster was last asked: raft goroutine; raft goroutine; who asked
    _Atomic int64_t tick_ns, stalled_ns, confirmed_ns;
    struct rt_mutex calls_lock;
    struct lease_call *calls; // calls_lock: waiting for the leader
    uint32_t call_count;      // calls_lock
    uint64_t next_call;       // calls_lock
};

void lease_clock_start(struct member *m);
void lease_clock_wake(struct member *m); // never parks
void lease_clock_stop(struct member *m);
void lease_clock_tick(struct member *m, int64_t now_ns); // raft goroutine
/* A peer asks, or answers: reader goroutines. */
void lease_clock_asked(struct member *m, uint64_t from, const struct peer_lease_call *call);
void lease_clock_answered(struct member *m, const struct peer_lease_answer *answer);
