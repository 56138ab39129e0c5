/* kv/member/member.h: one member of a cluster: raft, log, store and peers glued together. This is
 * the front door: what the service floor and cmd/ may know of consensus.
 *
 *     service --- member_propose ------> queue -> raft -> WAL and peers -> commit -> apply -> woken
 *     service --- member_read_barrier -> read index, one round for all that wait -> applied -> woken
 *     service --- member_store --------> reads of what is applied, watches, leases' keys
 *
 * A process may hold several members: nothing here is global. Every call below is made by a
 * goroutine and may come from any number of them at once, unless it says otherwise. */
#pragma once
#include "kv/member/errors.h"
#include <rt/alloc.h>
#include <rt/log.h>
#include <rt/metrics.h>
#include <rt/why.h>
#include <stdbool.h>
#include <stdint.h>

struct member;
struct rt_hdr;
struct store;
struct store_result;

enum member_wal_io { MEMBER_WAL_AUTO, MEMBER_WAL_DIRECT, MEMBER_WAL_BUFFERED };

/* URL lists are as on the command line: "http://10.0.0.1:2380,http://[::1]:2380". All strings are
 * copied. A zero means the default that stands beside it. */
struct member_config {
    const char *name;                  // "default"
    const char *data_dir;              // "<name>.kvd"; made with mode 0700 when absent
    const char *wal_dir;               // NULL or "": beside the store, in data_dir/member/wal
    const char *listen_peer_urls;      // "http://localhost:2380"
    const char *advertise_peer_urls;   // the listen URLs
    const char *advertise_client_urls; // "http://localhost:2379"
    const char *initial_cluster;       // "name=peerURL,name=peerURL"; "<name>=<advertised>"
    const char *initial_cluster_token; // "etcd-cluster"
    bool initial_cluster_existing;     // --initial-cluster-state existing
    uint32_t heartbeat_ms;             // 100
    uint32_t election_ms;              // 1000; at least 5 heartbeats, at most 50,000
    uint64_t snapshot_count;           // 10,000 entries
    uint64_t catchup_entries;          // 5,000 entries stay in the log for slow followers
    uint64_t catchup_bytes;            // 256 MiB: ... unless they are bigger than this
    uint32_t max_request_bytes;        // 1.5 MiB
    uint32_t max_txn_ops;              // 128
    int64_t quota_bytes;               // 0: 2 GiB; negative: none
    enum member_wal_io wal_io;
    uint64_t wal_segment_bytes; // 64 MiB
    uint32_t max_inflight_msgs; // 512 appends in flight to a follower; 1: stop and wait
    int64_t sync_timeout_ns;    // 0: group commit
    struct rt_log *log;         // NULL: silence. Outlives the member
    struct rt_metrics *metrics; // NULL: none are kept. Outlives the member
};

/* Open or make the data directory, replay the log, listen for peers and start the goroutines; the
 * peer port answers when this returns, a leader may come later (member_wait_leader). Returns 0;
 * MEMBER_BAD_CONFIG or MEMBER_REFUSED; a code of the store or the log; or -errno: all with `why`,
 * and then nothing of the member is left.  Context: parks. */
int member_start(const struct member_config *config, struct member **out, struct why *why);

/* Refuse new work (MEMBER_STOPPED), hand leadership to the most advanced follower when we lead,
 * waiting at most until the deadline, then end every goroutine, close log and store, free. Nobody
 * may use `m` or hold an answer of member_store afterwards: the caller ended its own users first,
 * or made them leave by member_begin_stop.  Context: parks. */
void member_stop(struct member *m, int64_t deadline_ns);
/* Only the first step: from now on every call here ends with MEMBER_STOPPED, those that wait too. */
void member_begin_stop(struct member *m);

uint64_t member_id(const struct member *m);
uint64_t member_cluster_id(const struct member *m);
const char *member_name(const struct member *m);
struct store *member_store(struct member *m); // lives as long as `m`

struct member_status {
    uint64_t leader; // 0: none
    uint64_t term;
    uint64_t commit;         // highest committed index known here
    uint64_t applied;        // highest index whose effects reads see here
    uint64_t raft_index;     // last index of the log
    uint64_t first_index;    // oldest index still in it
    uint64_t leader_changes; // seen since start: a generation number
    bool is_leader;
    bool is_learner;
};
/* Context: never parks. */
void member_status(const struct member *m, struct member_status *out);
bool member_is_leader(const struct member *m);

/* Wait until a leader is known. 0, MEMBER_TIMEOUT, MEMBER_STOPPED.  Context: parks. */
int member_wait_leader(struct member *m, int64_t deadline_ns);
/* Wait until no leader has been known for three election timeouts (what ends the streams of clients
 * that asked for a leader). 0, MEMBER_TIMEOUT, MEMBER_STOPPED.  Context: parks. */
int member_wait_no_leader(struct member *m, int64_t deadline_ns);
/* Wait until this member's name and client URLs are in the replicated membership: it is ready to
 * serve. 0, MEMBER_TIMEOUT, MEMBER_STOPPED.  Context: parks. */
int member_wait_published(struct member *m, int64_t deadline_ns);

struct member_info {
    uint64_t id;
    const char *name; // "" until the member has started once
    const char *const *peer_urls;
    const char *const *client_urls;
    uint32_t peer_url_count, client_url_count;
    bool is_learner;
};
/* The cluster's members in order of id, as applied here, in `arena`. Returns how many.
 * Context: parks. */
int member_list(struct member *m, struct rt_arena *arena, const struct member_info **out);
/* "3.6.0", or "" until the leader has decided; into buf (at least 16 bytes).  Context: parks. */
void member_cluster_version(struct member *m, char *buf);

/* When one proposal passed its stages here, monotonic; 0: not passed, or not on this member (one that
 * forwarded knows neither A nor its leader's D and E). STAGES.md has the drawing. All but the caller's are 0 in a build
 * without stamps. */
struct member_stages {
    int64_t
        arrived_ns;    //    the caller's: the request was read whole; 0: queued_ns begins the count
    int64_t queued_ns; //    checked, and put into raft's queue
    int64_t taken_ns;  //    raft's goroutine gives it to raft
    int64_t appended_ns;  // A  in the log in memory
    int64_t building_ns;  //    the log began to build the batch that it went with
    int64_t writing_ns;   //    the call that writes began
    int64_t written_ns;   // B  written to the WAL's file
    int64_t synced_ns;    // C  durable here
    int64_t sent_ns;      // D  taken by the sender to the follower whose answer made the quorum
    int64_t answered_ns;  // E  that answer came in
    int64_t committed_ns; // F  handed to apply
    int64_t applied_ns;   //    effects visible to reads
    int64_t replied_ns;   //    the answer was handed to the connection
    int64_t peer_wait_ns, peer_write_ns, peer_sync_ns; // inside E, by the follower's own clock
    int64_t log_turn_ns; // the wait for the sync before its own, when on the path: part of queued
    bool led;            //    appended as the leader
    // of one that failed, which has no applied_ns; A to E only after member_replied, when it was slow
    int64_t failed_ns; // the waiting goroutine runs again; 0: it was not proposed
    uint64_t index;    // in the log of this member, which led; 0: it is not there
    bool is_committed; // it was handed to apply
};

/* What the time went to. The first STAGE_PATH of them follow each other and add up to the total, to
 * the nanosecond. */
enum member_stage {
    STAGE_DECODE,
    STAGE_QUEUED,  // for raft, and for the sync before its own
    STAGE_FORWARD, // to the leader, until it comes back as an entry; 0 on a leader
    STAGE_APPEND,  // A
    STAGE_WRITE,   // B
    STAGE_SYNC,    // C
    STAGE_SEND,    // D
    STAGE_FOLLOW,  // E
    STAGE_COMMIT,  // F
    STAGE_APPLY,
    STAGE_ANSWER,
    STAGE_PATH,
    STAGE_E_NETWORK = STAGE_PATH, // the parts of E
    STAGE_E_WAIT,
    STAGE_E_WRITE,
    STAGE_E_SYNC,
    STAGE_TOTAL,
    MEMBER_STAGES
};
struct member_split {
    int64_t path_ns[STAGE_PATH];    // what the proposal waited for
    int64_t took_ns[MEMBER_STAGES]; // how long each took, waited for or not; -1: unknown
    enum member_stage longest;      // on the path
    bool failed;                    // it was not applied: then nothing is in `answer`, and
    enum member_stage unfinished;   // this is the stage that it never left; the rest is in it
};
/* "decode", "A", "E.network", "total".  Context of both: never parks. */
const char *member_stage_name(enum member_stage stage);
void member_split_stages(const struct member_stages *stages, struct member_split *out);

/* The answer to a proposal of `kind` was handed over: stamp that, count the stages of a put, and say so
 * in the log when it was slow. Once for each member_outcome, of a failed proposal too: of that, stages that
 * it passed are added to `stages` when it is logged.  Context: parks shortly. */
void member_replied(struct member *m, uint32_t kind, struct member_stages *stages);

/* One histogram: of this member's puts (peer 0), or of the appends to one follower. */
struct member_latency_row {
    enum member_stage stage;
    uint64_t peer;
    const struct rt_hdr *took;
    const struct rt_hdr *path; // NULL: not on the path; equal to `took`: always on it
};
/* Tell all of them, in the order of the stages, followers last. False: a build without stamps, nothing
 * was told.  Context: `each` may park. */
bool member_latency(struct member *m, void (*each)(void *arg, const struct member_latency_row *row),
                    void *arg);
/* What is counted exactly, beside: batches, syncs, stalls of the window, preemptions. `peer` 0: of no
 * follower.  Context: parks shortly. */
void member_counters(struct member *m,
                     void (*each)(void *arg, const char *name, uint64_t peer, int64_t value,
                                  bool gauge),
                     void *arg);
int64_t member_started_ns(const struct member *m);

/* What may be changed while the member runs (knobs.h). Values are text: a number, a duration, on, off. */
enum { MEMBER_KNOBS_MAX = 16, MEMBER_KNOB_BYTES = 32, MEMBER_KNOB_RANGE_BYTES = 80 };
struct member_knob {
    const char *name, *unit, *text;
    char value[MEMBER_KNOB_BYTES], initial[MEMBER_KNOB_BYTES]; // initial: by the command line
    char range[MEMBER_KNOB_RANGE_BYTES];
    double number;  // the value: a count, bytes, seconds, 0 or 1
    bool persisted; // the next start finds it set to this value
    bool debug;
};
/* All of them, in a fixed order, at most cap. Returns how many.  Context: parks. */
uint32_t member_knobs(struct member *m, struct member_knob *out, uint32_t cap);
/* Set one, from now on; with persist also for later starts. "default" is what the member was started
 * with; with persist it takes back what was persisted. *out is how it is now, `previous`
 * (MEMBER_KNOB_BYTES) its value before. 0; MEMBER_NO_KNOB or MEMBER_BAD_KNOB: nothing was changed, `why`
 * names the range; MEMBER_STOPPED; -errno with why: set, but not persisted.  Context: parks. */
int member_knob_set(struct member *m, const char *name, const char *text, bool persist,
                    struct member_knob *out, char *previous, struct why *why);

struct member_proposal {
    uint32_t kind;          // enum store_command
    struct rt_bytes body;   // the client's request as it came, validated; copied once
    uint64_t auth_revision; // of the caller's identity; 0 without auth
    int64_t deadline_ns;
};

struct member_outcome {
    struct store_result *result; // in: where the store's result goes; the caller's
    struct rt_buf *command;      // out: the entry; the caller unrefs it. NULL unless applied
    struct rt_bytes body;        // out: the request's bytes inside `command`
    uint64_t chosen_id;          // out: what the entry carries for a lease without an id
    uint64_t index, term;        // out: where it stands in the log
    struct member_stages stages; // out
};

/* Replicate one command and wait until it is applied HERE. Returns 0: applied, *out is complete,
 * and out->result says whether the store did it or refused. Otherwise nothing of `out` but the
 * stages is set and the command was not applied as far as this member knows: after MEMBER_TIMEOUT*,
 * MEMBER_LEADER_CHANGED and MEMBER_STOPPED it may still be, once, later; after MEMBER_NO_LEADER,
 * MEMBER_TOO_LARGE, MEMBER_TOO_MANY, MEMBER_NO_SPACE, MEMBER_NOT_MEMBER and MEMBER_STALE_LEADER it
 * never will. It is never proposed twice.  Context: parks. */
int member_propose(struct member *m, const struct member_proposal *p, struct member_outcome *out);

/* Return once this member has applied all that was committed in the cluster when this was called:
 * a read of member_store from then on is linearizable. 0, MEMBER_NO_LEADER, MEMBER_LEADER_CHANGED,
 * MEMBER_TIMEOUT, MEMBER_TIMEOUT_APPLY, MEMBER_TOO_MANY, MEMBER_STOPPED.  Context: parks. */
int member_read_barrier(struct member *m, int64_t deadline_ns);

/* Keep a lease alive on the leader's clock, wherever the leader is. *ttl_s becomes the granted TTL.
 * 0, MEMBER_NO_LEASE, MEMBER_NO_LEADER, MEMBER_TIMEOUT, MEMBER_STOPPED.  Context: parks. */
int member_lease_renew(struct member *m, int64_t lease, int64_t deadline_ns, int64_t *ttl_s);
/* What remains of a lease by the leader's clock, in whole seconds, and what was granted.
 * As member_lease_renew. */
int member_lease_ttl(struct member *m, int64_t lease, int64_t deadline_ns, int64_t *remaining_s,
                     int64_t *granted_s);

/* Give leadership to member `to` (0: the most advanced follower) and wait until somebody else
 * leads. 0, MEMBER_NOT_LEADER, MEMBER_BAD_TRANSFEREE, MEMBER_TIMEOUT, MEMBER_STOPPED.
 * Context: parks. */
int member_transfer_leadership(struct member *m, uint64_t to, int64_t deadline_ns);
