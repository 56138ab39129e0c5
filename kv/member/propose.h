/* kv/member/propose.h: proposals and who waits for them.
 *
 * A waiter has a slot of a fixed table; the slot's number is part of the request's name, which stands
 * in the entry, so that apply finds the waiter without a search:
 *
 *     request = generation of this start << 48 | uses of the slot << 15 | slot
 *
 * Whoever ends a wait (apply, a refusal, the deadline) first claims the slot: swaps its request for 0.
 * Only the winner may touch the proposal's results, so that a waiter whose deadline passes while apply
 * works for it waits that instant longer, and nobody writes into a frame that is gone. */
#pragma once
#include "kv/member/core_item.h"
#include "kv/member/member.h"
#include <rt/sync.h>
#include <stdatomic.h>

enum { PROPOSAL_SLOT_BITS = 15, PROPOSAL_SLOTS = 1 << PROPOSAL_SLOT_BITS };

struct proposal {
    struct core_item item; // its place in queues; the queue's while it is in one
    _Atomic uint32_t refs;
    struct rt_buf *entry; // one reference, until raft has it
    uint64_t request;     // 0: nobody waits
    uint32_t kind;        // enum store_command
    bool leader_only;     // only as the leader of `term`
    uint64_t term;
    // raft goroutine, once raft has it; read by who applies it, or by the waiter when it failed
    _Atomic int64_t taken_ns;
    _Atomic uint64_t appended_index; // in our log, as the leader; 0: forwarded
    struct rt_note done;
    // below: whoever claimed the slot, until `done` is set
    int code;
    struct store_result *result;
    struct rt_buf *command; // the entry's block, referenced for the waiter
    struct rt_bytes body;
    uint64_t chosen, index, entry_term;
    struct member_stages *stages; // the waiter's
};

struct proposal_slot {
    _Atomic uint64_t request;  // 0: free or claimed
    _Atomic uint64_t term;     // our term when it was proposed; 0: not yet
    struct proposal *proposal; // valid for who claimed; one reference
    uint64_t uses;             // who holds the slot
};

struct proposals {
    struct proposal_slot *slots; // PROPOSAL_SLOTS
    uint64_t generation;
    struct rt_mutex free_lock;
    uint16_t *free;      // free_lock: a stack of slots, the warmest on top
    uint32_t free_count; // free_lock
    _Atomic int64_t queued_bytes;
    struct rt_counter *pending, *failed; // metrics; may be NULL
};

void proposals_init(struct proposals *p, uint64_t generation);
void proposals_deinit(struct proposals *p);

void proposal_ref(struct proposal *p);
void proposal_unref(struct proposal *p);

/* Raft has it: its first stamp, and where a leader's log has it.  Context: raft goroutine. */
static inline void proposal_taken(struct proposal *p, int64_t now_ns, uint64_t appended_index)
{
    atomic_store_explicit(&p->taken_ns, now_ns, memory_order_relaxed);
    atomic_store_explicit(&p->appended_index, appended_index, memory_order_relaxed);
}

/* The proposal of `request`, claimed, with the slot's reference; NULL: nobody waits (any more).
 * Context: never parks. */
struct proposal *proposals_claim(struct proposals *p, uint64_t request);
/* End a claimed proposal: set its code, wake its waiter, drop the reference. */
void proposal_complete(struct proposal *p, int code);
/* Claim and end; nothing when nobody waits. */
void proposals_fail(struct proposals *p, uint64_t request, int code);
/* End every waiting one whose entry was proposed in a term before `term` (UINT64_MAX: every one). */
void proposals_fail_before(struct proposals *p, uint64_t term, int code);
/* Somebody still waits under this name. */
bool proposals_is_waiting(const struct proposals *p, uint64_t request);
void proposals_set_term(struct proposals *p, uint64_t request, uint64_t term);

/* Propose without waiting for anything: commands of the member itself, tried once. A leader_only one
 * is dropped unless this member leads `term` when raft takes it. False: the queue is full. */
bool member_propose_silently(struct member *m, uint32_t kind, struct rt_bytes body,
                             bool leader_only, uint64_t term);
/* member_propose without the checks of size, quota and lag: for what the member itself must say. */
int member_propose_admitted(struct member *m, const struct member_proposal *it,
                            struct member_outcome *out);
/* Tell the cluster that this member's quota is used up. */
void member_raise_no_space(struct member *m);
