/* kv/member/stages.h: when the entries of one batch passed their stages. A span is made as raft
 * appends a batch; the WAL goroutine writes B and C; on a leader the answers of followers add D and E;
 * when the entries are handed to apply the times are copied for whoever waits for them.
 *
 * The quorum's answer is the first one (of any voter) with which half of the voters, rounded down, have
 * the whole batch: with our own copy that is a majority. Entries are applied only when they are durable
 * here too, so what a put waits for is the later of our own sync and that answer: STAGES.md.
 *
 * Who touches what: first, last, appended_ns, led, and all of the quorum: raft goroutine, under the
 * list's lock. building_ns to synced_ns: WAL goroutine, before `durable`. The list: raft goroutine, under
 * its lock; others only look an entry up, which is for the line about a put that failed: there the times
 * of what was never handed to apply are wanted. */
#pragma once
#include <rt/sync.h>
#include <rt/time.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* make VARIANT=nostamps leaves the stamps and histograms out, to measure what they cost. */
#ifdef KVD_NO_STAMPS
enum { STAGE_STAMPS = 0 };
#else
enum { STAGE_STAMPS = 1 };
#endif
static inline int64_t stage_now(void) { return STAGE_STAMPS ? rt_now_ns() : 0; }

/* What travels with an append and comes back with its answer. All zero: no stamps. */
struct peer_stamps {
    int64_t sent_ns;                     // of the leader's clock
    uint64_t wait_ns, write_ns, sync_ns; // how long the follower took
};

struct stage_times {
    int64_t appended_ns, building_ns, writing_ns, written_ns, synced_ns;
    int64_t answered_ns;       // the quorum's answer
    struct peer_stamps answer; // what it said
    bool led;
};

struct stage_span {
    struct stage_span *next;
    _Atomic uint32_t refs;
    uint64_t first, last;
    _Atomic bool durable; // release by the WAL goroutine, behind its stamps; acquire by who looks
    uint32_t acked;       // by peers: a bit for each place in `peers`
    uint32_t last_of;     // peers whose newest acknowledged span this is: a bit each
    struct stage_times times;
};

/* Spans of entries not yet handed to apply, in order of index: at most STAGE_SPANS, the oldest go. */
enum { STAGE_SPANS = 4096, STAGE_PEERS = 32 };
struct stage_spans {
    struct rt_mutex lock; // held shortly; the raft goroutine reads without it
    struct stage_span *oldest, *newest;
    uint32_t count;
    // By peer, the newest span it has acknowledged, so that its next answer goes on behind that; NULL: it
    // has acknowledged none of the list.
    struct stage_span *upto[STAGE_PEERS];
};

/* The times of a run of entries up to and including `last`: what an apply batch carries. */
struct stage_run {
    uint64_t last;
    struct stage_times times;
};

/* All but stage_spans_find: raft goroutine. */

/* A span of [first, last], which this member appended now as the leader, or not; spans of entries that it
 * replaces go. The list holds one reference, the caller gets one. */
struct stage_span *stage_spans_begin(struct stage_spans *s, uint64_t first, uint64_t last, bool led,
                                     int64_t now_ns);
void stage_span_unref(struct stage_span *span); // NULL is allowed

/* The peer at place `peer` has everything up to `index`, it says at now_ns. `wanted`: how many peers
 * make a quorum with us. */
void stage_spans_answered(struct stage_spans *s, uint32_t peer, uint64_t index, uint32_t wanted,
                          int64_t now_ns, const struct peer_stamps *answer);

/* How many spans begin at or before `last`. */
uint32_t stage_spans_count(const struct stage_spans *s, uint64_t last);
/* Take the times of entries up to `last` off the list: fills at most `cap` and returns how many.
 * Spans that are only partly covered stay. */
uint32_t stage_spans_take(struct stage_spans *s, uint64_t last, struct stage_run *out,
                          uint32_t cap);
void stage_spans_clear(struct stage_spans *s);
/* What is known of the stages of entry `index` so far: what was not passed yet is 0. False: no span has it.
 * Context: any goroutine; parks shortly. */
bool stage_spans_find(struct stage_spans *s, uint64_t index, struct stage_times *out);
