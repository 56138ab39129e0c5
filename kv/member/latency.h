/* kv/member/latency.h: where the times of puts end up: the split of one put into its stages, their
 * histograms, the exact counts beside them, and the line about a slow request. STAGES.md says what
 * each figure means. */
#pragma once
#include "kv/member/member.h"
#include "kv/member/stages.h"
#include <rt/hdr.h>
#include <rt/log.h>

/* The stages whose time is not always on the path, in order: B, C, D, E. */
enum { LATENCY_DETOURS = STAGE_FOLLOW - STAGE_WRITE + 1, LATENCY_OWN = 4 };

/* The link to one follower, seen by a leader. */
struct follower_latency {
    struct rt_hdr *part[STAGE_TOTAL - STAGE_PATH + 1]; // E, then its parts
    struct rt_counter *appends, *stalls, *stall_ns;
    struct rt_counter own[3]; // without a registry
    int64_t stalled_since_ns; // raft goroutine only; 0: it is not
};

struct latency {
    // set before start, then const
    struct rt_hdr *took[MEMBER_STAGES], *detour[LATENCY_DETOURS];
    struct rt_hdr *own[LATENCY_OWN]; // those of `took` that each put has for itself
    bool owns_histograms;            // no registry does
    int64_t started_ns;
    // atomic, relaxed
    _Atomic int64_t slow_ns; // the knob; 0: no lines
    _Atomic int64_t batches, entries, proposals;
    struct rt_log_gate slow_gate;
};

void latency_init(struct latency *l, struct rt_metrics *metrics);
void latency_deinit(struct latency *l);
void follower_latency_init(struct follower_latency *f, struct rt_metrics *metrics, uint64_t id);
void follower_latency_deinit(struct follower_latency *f, struct rt_metrics *metrics);

/* So many puts passed taken_ns to applied_ns together, as `s` says: count their stages between. Those before
 * and after are counted as each is answered. Returns the log_turn_ns of each.  Context: never parks. */
int64_t latency_applied(struct latency *l, const struct member_stages *s, uint32_t puts);

/* The times of the batch that a proposal went with. */
void latency_take_times(struct member_stages *s, const struct stage_times *t);

/* An answer to an append came in from the follower.  Context: raft goroutine. */
void follower_answered(struct follower_latency *f, int64_t now_ns,
                       const struct peer_stamps *answer);
/* Does something wait for this follower's window now?  Context: raft goroutine. */
void follower_stalled(struct follower_latency *f, bool stalled, int64_t now_ns);
