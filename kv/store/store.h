/* kv/store/store.h: a multi-version key-value store with leases and watches: revisions, rows and
 * rules are etcd's. The front door; it knows nothing of consensus, only that commands come in one
 * order, numbered.
 *
 *     one goroutine --- store_apply --> index + recent log --- flusher, in the background --> LMDB
 *     any goroutine --- store_range, store_answer, store_watch_next, ... reads all three
 *
 * store_apply touches no disk: what it did is durable when store_durable_index has reached the
 * command's index, and until then whoever feeds the store keeps the commands. The same commands
 * give the same rows on every member, byte for byte.
 *
 * Requests are read in place from the client's protobuf bytes (etcdserverpb); answers are appended
 * as bytes, without the response's header (field 1), which the caller writes in front.
 * Unless a function says otherwise: context goroutine, parks, any number of callers at once. */
#pragma once
#include "kv/store/errors.h"
#include <rt/alloc.h>
#include <rt/log.h>
#include <rt/metrics.h>
#include <rt/why.h>
#include <stdbool.h>
#include <stdint.h>

struct store;

/* ---- Open and close ---- */

struct store_options {
    const char *dir;             // made with mode 0700 when absent; one store owns it
    int64_t quota_bytes;         // 0: 2 GiB; negative: none
    uint32_t recent_bytes;       // of the recent log; 0: 16 MiB
    uint32_t flush_interval_ms;  // the oldest effect waits this long for its flush; 0: 500
    int64_t lease_min_ttl_s;     // shorter leases are raised to it; 0: 2
    uint32_t compact_slice_rows; // rows one slice of a compaction removes; 0: 2,000
    uint64_t range_max_bytes;    // the largest answer of a range; 0: 2 GiB - 1
    struct rt_log *log;          // NULL: silence. Outlives the store
    struct rt_metrics *metrics;  // NULL: none are kept. Outlives the store
};

/* Open or make the database, load everything into memory and start the goroutines. 0; STORE_FORMAT,
 * STORE_DAMAGED, or -errno (-EAGAIN: another process has it open), all with `why`. */
int store_open(const struct store_options *options, struct store **out, struct why *why);

/* Flush what can be flushed, end the goroutines, free. Nobody may be inside another call: end
 * watch streams and image readers first. */
void store_close(struct store *s);

/* ---- Apply: one caller ---- */

enum store_command_kind {
    STORE_NOOP,             // only the index moves (raft's empty entries, configuration changes)
    STORE_PUT,              // PutRequest
    STORE_DELETE_RANGE,     // DeleteRangeRequest
    STORE_TXN,              // TxnRequest
    STORE_COMPACT,          // CompactionRequest
    STORE_LEASE_GRANT,      // LeaseGrantRequest; the id is chosen_id when the request has none
    STORE_LEASE_REVOKE,     // LeaseRevokeRequest
    STORE_LEASE_CHECKPOINT, // LeaseCheckpointRequest
    STORE_ALARM,            // AlarmRequest
    STORE_CLUSTER,          // cluster_key and request as its record (empty: delete the record)
};

struct store_command {
    enum store_command_kind kind;
    uint64_t index, term;    // index is one more than that of the command before
    struct rt_bytes request; // borrowed for the call
    int64_t chosen_id;       // LEASE_GRANT, chosen by the proposer, positive
    uint64_t leader_term;    // not 0: only the leader of this term could decide this (expiry,
                             // checkpoints); refused with STORE_STALE_TERM unless it equals term
    struct rt_bytes cluster_key; // CLUSTER: at most STORE_CLUSTER_KEY_BYTES
};
enum { STORE_CLUSTER_KEY_BYTES = 256 };

/* A view pinned against physical compaction. Private. */
struct store_pin {
    struct store_pin *next, **link; // NULL link: not pinned
    int64_t revision;
    int64_t since_ns;
};

/* What a command did. Zeroed by the caller before store_apply, not moved between store_apply and
 * store_result_deinit. Only code, revision, changed, lease and ttl are for callers. */
struct store_result {
    int code;         // 0, or why the command was refused (nothing of it was done)
    bool changed;     // it made a revision, or changed a lease, an alarm, a record
    int64_t revision; // the answer's header.revision
    int64_t lease;    // LEASE_GRANT: the id
    int64_t ttl_s;    // LEASE_GRANT: the time granted
    int64_t main;     // private: revision of its writes, made or not
    struct store_pin pin;
    uint32_t *outcomes; // private: branches taken and counts deleted, in order of execution
    uint32_t outcome_count, outcome_cap;
};

/* Apply one command: deterministic, touches no disk but for a value that a compare or ignore_value
 * needs and store_prefetch has not warmed. A refused command moves the applied index like any
 * other. `result` is NULL when nobody waits for the answer here.
 * Context: one goroutine at a time, the same that installs images; parks only for locks. */
void store_apply(struct store *s, const struct store_command *command, struct store_result *result);

/* Warm what store_apply may have to read for this command. Never needed for correctness. */
void store_prefetch(struct store *s, enum store_command_kind kind, struct rt_bytes request);

/* Wait until the recent log has room for more: call it before each batch of store_apply. 0, or
 * STORE_TIMEOUT while the flusher cannot write (store_no_space tells whether the disk is full). */
int store_wait_room(struct store *s, int64_t deadline_ns);

/* Append the answer to a PUT, DELETE_RANGE or TXN that was applied here with result->code 0:
 * PutResponse, DeleteRangeResponse or TxnResponse without header. 0; STORE_COMPACTED when the
 * caller came so late that the values are gone, STORE_TOO_LARGE. Call at most once. */
int store_answer(struct store *s, enum store_command_kind kind, struct rt_bytes request,
                 struct store_result *result, struct rt_string *body);
void store_result_deinit(struct store *s, struct store_result *result); // also when code is not 0

/* ---- Validation before a command is proposed ---- */

struct store_request {
    bool read_only;    // TXN: only ranges, in both branches: serve it by store_read_txn
    bool serializable; // every range says so, and there is at least one
    bool writes_value; // may make a put or a lease: refused while the quota is used up
    int64_t cost;      // bytes to count against the quota
};
/* Check a PUT, DELETE_RANGE, TXN, COMPACT, LEASE_* or ALARM request as etcd does before proposing.
 * max_txn_ops 0: any number. 0 with *out (may be NULL), or a code.  Context: never parks. */
int store_check(enum store_command_kind kind, struct rt_bytes request, uint32_t max_txn_ops,
                struct store_request *out);

/* ---- Reads ---- */

/* Append a RangeResponse without header; *revision: the header's. 0 or a code; on failure `body`
 * is as it was. */
int store_range(struct store *s, struct rt_bytes request, struct rt_string *body,
                int64_t *revision);
/* Append the TxnResponse, without header, of a read-only transaction. */
int store_read_txn(struct store *s, struct rt_bytes request, struct rt_string *body,
                   int64_t *revision);

/* Context of these: never park. */
int64_t store_revision(const struct store *s);         // current; 1 when nothing was ever written
int64_t store_compact_revision(const struct store *s); // -1 when never compacted
uint64_t store_applied_index(const struct store *s);
uint64_t store_applied_term(const struct store *s);
uint64_t store_durable_index(const struct store *s); // what LMDB holds durably
uint64_t store_durable_term(const struct store *s);
bool store_no_space(const struct store *s);       // the flusher waits for disk space
int64_t store_quota_bytes(const struct store *s); // as set; 0 when there is none
/* Whether a command of this cost fits the quota now. */
bool store_quota_has(const struct store *s, int64_t cost);
int64_t store_size_bytes(const struct store *s); // the database; never 0
int64_t store_size_in_use_bytes(const struct store *s);

/* Wait until everything applied so far is durable in LMDB. 0 or STORE_TIMEOUT. */
int store_sync(struct store *s, int64_t deadline_ns);
/* Wait until rows up to the compaction of `revision` are physically removed and that is durable
 * (CompactionRequest.physical). 0 or STORE_TIMEOUT. */
int store_wait_compacted(struct store *s, int64_t revision, int64_t deadline_ns);

/* HashKV as etcd computes it. `at` 0: the current revision; *at_out is what was used. */
int store_hash_kv(struct store *s, int64_t at, uint32_t *hash, int64_t *compact_revision,
                  int64_t *at_out);
/* A hash of all that is replicated: rows, leases, alarms, records. Equal on members that have
 * applied the same commands and finished the same compactions. */
int store_hash(struct store *s, uint32_t *hash);

/* ---- Alarms and cluster records ---- */

enum store_alarm_type { STORE_ALARM_NONE, STORE_ALARM_NOSPACE, STORE_ALARM_CORRUPT };
struct store_alarm {
    uint64_t member;
    enum store_alarm_type type;
};
enum { STORE_ALARMS = 256 }; // more are refused: STORE_NO_SPACE
/* Active alarms of a type (NONE: all) in order of type and member; at most `max`. Returns how
 * many there are. */
uint32_t store_alarms(struct store *s, enum store_alarm_type type, struct store_alarm *out,
                      uint32_t max);
bool store_has_alarm(const struct store *s, enum store_alarm_type type); // never parks

/* The record under `key`, appended. 1, or 0 when there is none. */
int store_cluster_get(struct store *s, struct rt_bytes key, struct rt_string *out);
/* Call `each` for every record in order of key. It must not park. */
void store_cluster_each(struct store *s,
                        void (*each)(void *arg, struct rt_bytes key, struct rt_bytes record),
                        void *arg);

/* ---- Leases ----
 * Grants, revocations and checkpoints are commands. Time is kept only by the member that leads:
 * between store_lease_promote and store_lease_demote. Times are monotonic, now_ns the caller's. */

#define STORE_LEASE_MAX_TTL_S INT64_C(9000000000)
/* Start the clock: every lease gets its checkpointed remainder or full time, plus extend_ns. */
void store_lease_promote(struct store *s, int64_t now_ns, int64_t extend_ns);
void store_lease_demote(struct store *s);
/* Start the lease's time again. 0 with the granted TTL; STORE_LEASE_NOT_FOUND;
 * STORE_LEASE_EXPIRED: wait by store_lease_wait_gone, then answer TTL 0; STORE_NOT_PRIMARY. */
int store_lease_renew(struct store *s, int64_t lease, int64_t now_ns, int64_t *ttl_s);
/* 0 when the lease is gone (revoked); STORE_TIMEOUT; STORE_NOT_PRIMARY when demoted meanwhile. */
int store_lease_wait_gone(struct store *s, int64_t lease, int64_t deadline_ns);
/* Leases to revoke now, at most max; each is told again after three seconds if it is still there.
 * Returns how many. 0 when not promoted. */
uint32_t store_lease_expired(struct store *s, int64_t now_ns, int64_t *ids, uint32_t max);
struct store_checkpoint {
    int64_t lease, remaining_ttl_s;
};
/* Leases whose remaining time should be replicated, at most max: those that have not been for
 * interval_ns and are longer than it. Returns how many; they count as told. */
uint32_t store_lease_due_checkpoints(struct store *s, int64_t now_ns, int64_t interval_ns,
                                     struct store_checkpoint *out, uint32_t max);
/* Remaining whole seconds (promoted: by the clock, never below 0; else what is known from
 * checkpoints) and granted TTL. 0 or STORE_LEASE_NOT_FOUND (also when expired). */
int store_lease_ttl(struct store *s, int64_t lease, int64_t now_ns, int64_t *remaining_s,
                    int64_t *granted_s);
/* Call `each` with every key attached to the lease, in order of key, in pages: it may park. */
int store_lease_keys(struct store *s, int64_t lease, int (*each)(void *arg, struct rt_bytes key),
                     void *arg);
/* Ids of all leases: by expiry where promoted, else by id; an array to rt_free. */
uint32_t store_lease_list(struct store *s, int64_t **ids_out);

/* ---- Watches ----
 * A stream has many watches and one consumer goroutine. Each watch gets the events of its range
 * from its start on: ordered, unique, none left out, those of one revision in one batch. A stream
 * that reads slowly gets them later from the store instead of from memory. */

struct store_watch_stream;
enum store_watch_filter { STORE_WATCH_NO_PUT = 1, STORE_WATCH_NO_DELETE = 2 };
struct store_watch_options {
    int64_t id;          // 0: chosen
    struct rt_bytes key; // empty: "\0"
    struct rt_bytes range_end;
    int64_t start_revision; // 0: after the current one; negative: STORE_COMPACTED
    uint32_t filters;       // of enum store_watch_filter
    bool prev_kv;
    bool progress_notify;
};

struct store_watch_stream *store_watch_open(struct store *s);
/* Frees the stream. The consumer must have left store_watch_next. */
void store_watch_close(struct store_watch_stream *w);
/* Make store_watch_next return STORE_CLOSED from now on. Any goroutine; never parks for long. */
void store_watch_shut(struct store_watch_stream *w);

/* Add a watch and queue its CREATED batch; a refused one queues it too (code says why), so that
 * answers stand in the order of the requests. Returns 0 or that code. */
int store_watch_create(struct store_watch_stream *w, const struct store_watch_options *options);
/* End a watch and queue its CANCELED batch; unknown ids are ignored in silence. Events of it that
 * were queued before are dropped. */
void store_watch_cancel(struct store_watch_stream *w, int64_t id);
/* Ask for one PROGRESS batch with id -1, once every watch of the stream has all events up to the
 * revision that is current now. Asked again while one is due: one answer. None without watches. */
void store_watch_ask_progress(struct store_watch_stream *w);
/* Queue PROGRESS for each watch that wants notifications, is synced and had no event since the
 * last tick. The caller's timer ticks. */
void store_watch_tick(struct store_watch_stream *w);

enum store_watch_batch_kind {
    STORE_WATCH_CREATED, // code 0; or the refusal: id is -1
    STORE_WATCH_EVENTS,
    STORE_WATCH_PROGRESS,  // id -1: the whole stream
    STORE_WATCH_COMPACTED, // the watch is over: compact_revision
    STORE_WATCH_CANCELED,
};
struct store_watch_batch {
    enum store_watch_batch_kind kind;
    int64_t id;
    int code;
    int64_t revision; // for the header
    int64_t compact_revision;
    struct rt_bytes *events; // EVENTS: each one mvccpb.Event, preceded by tag (11, LEN) and
    uint32_t event_count;    // length: ready to stand in a WatchResponse. Revisions ascend
    uint64_t event_bytes;    // their sum
    struct rt_buf *buf;      // private: who owns the bytes
};
/* The next batch. 0, STORE_TIMEOUT, STORE_CLOSED. One consumer; free by store_watch_batch_deinit. */
int store_watch_next(struct store_watch_stream *w, int64_t deadline_ns,
                     struct store_watch_batch *out);
void store_watch_batch_deinit(struct store_watch_batch *b);

/* ---- Images: the whole store at one revision, for a member that fell behind ---- */

struct store_image;
struct store_image_meta {
    uint64_t index, term; // of the last command in it
    int64_t revision;
    uint64_t bytes; // about how large the stream will be
};
/* Begin to read the durable state. While it is open, compactions remove no row of it, but not for
 * longer than STORE_PIN_MAX_S: then store_image_next answers STORE_COMPACTED: begin again. */
int store_image_open(struct store *s, struct store_image **out, struct store_image_meta *meta);
/* Append the next chunk (about max_bytes, self-checking). 1; 0 at the end; or a code. */
int store_image_next(struct store_image *i, size_t max_bytes, struct rt_string *out);
void store_image_close(struct store_image *i);
enum { STORE_PIN_MAX_S = 600 };

struct store_install;
/* Receive an image beside the database in use. 0; STORE_BUSY while another is; or -errno. */
int store_install_begin(struct store *s, struct store_install **out, struct why *why);
/* Chunks exactly as made and in order. 0, STORE_DAMAGED, or -errno, with `why`. */
int store_install_chunk(struct store_install *i, struct rt_bytes chunk, struct why *why);
/* What the image says of itself: known, and not to be believed, after the first chunk. */
void store_install_meta(const struct store_install *i, struct store_image_meta *meta);
/* All chunks came: make it durable, then switch to it atomically: after a crash the directory has
 * the one or the other. Reads go on at the new state, watches resync, leases lose their clock
 * (promote again). STORE_DAMAGED when incomplete, STORE_IMAGE_OLD when it does not reach further
 * than what was applied: nothing is changed then.
 * Frees `i`.  Context: the goroutine that applies. */
int store_install_commit(struct store_install *i, struct store_image_meta *meta, struct why *why);
void store_install_abort(struct store_install *i);
