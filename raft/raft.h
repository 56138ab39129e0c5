/* raft/raft.h: the front door of the Raft core. The core is pure: a call changes memory, and what has
 * to happen in the world (write, send, apply) is told by raft_ready. It owns no goroutine, clock, disk
 * or socket; its memory, the stable log and the references to payloads are callbacks in raft_env.
 * All calls on one `struct raft` come from one goroutine. Nothing here parks.
 *
 * The loop that drives it. Storage writes are asynchronous: the core goes on while the disk works.
 *
 *     raft goroutine                                   WAL goroutine             apply goroutine
 *     --------------                                   -------------             ---------------
 *     for each input: raft_step / raft_propose /
 *         raft_tick / raft_read_index / ...
 *     while (raft_has_ready(r)) {
 *         raft_ready(r, &rd);
 *         send rd.messages to peers          // now: they promise nothing
 *         answer rd.reads when applied >= index
 *         start reading rd.fetches from the WAL      -> later: raft_entries_arrived
 *         if (rd.persist.needed)
 *             post rd.persist ------------------------> write snapshot or entries,
 *         if (rd.apply.count)                           and the hard state; sync if
 *             post rd.apply ----------------.           must_sync; then post back
 *     }                                      \
 *                                             `---------------------------------> apply each in order;
 *     a persist batch comes back, in the order given:                             then post back
 *         the log storage shows its entries (or snapshot)
 *         for each of its promises: to == own id ? raft_step(r, it) : send it
 *         raft_append_done(r, &batch.completion)     // after the promises
 *         raft_persist_free(env, &batch)
 *     an apply batch comes back:
 *         for each entry of a conf change kind, in order: raft_apply_conf_change(r, entry, ...)
 *         raft_apply_done(r, last index, batch.size_bytes)
 *         raft_entries_free(env, batch.entries, batch.count)
 *
 * A promise is an answer that others will build on (append and vote answers, rejections too, and the
 * leader's own acknowledgement, also in a cluster of one). It may leave only when everything handed
 * out with it *and before it* is durable. Batches are written, and completed, in the order given; they
 * are never dropped. Several may be synced at once. A batch with promises but nothing to write still
 * takes its place in the order.
 *
 * Ownership. Entries are immutable and their payload blocks are counted: whoever holds a `raft_entry`
 * in an array of its own holds one reference on entry.block (NULL: no block). Arguments are borrowed:
 * the core takes references of its own for what it keeps. What raft_ready fills in belongs to the
 * caller, each part by itself, to be given back through raft_*_free, from any goroutine. */
#pragma once
#include "raft/limits.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- Words ------------------------------------------------------------------------------------ */

#define RAFT_NONE 0 // no member: ids are never zero

/* Why something was not done. Texts: raft_error_text. */
enum raft_error {
    RAFT_OK = 0,
    RAFT_NO_LEADER = -5001,    // proposal, read: no leader is known; try again
    RAFT_FULL = -5002,         // proposal: too many uncommitted bytes; read: too many waiting
    RAFT_TRANSFERRING = -5003, // proposal: leadership is being handed over; queue it and try again
    RAFT_NOT_A_MEMBER = -5004, // proposal, transfer, report: not in the configuration
    RAFT_NOT_LEADER = -5005,   // we do not lead, and this is not forwarded
    RAFT_BAD_CONF_CHANGE =
        -5006,                  // bytes that are no change, or one the configuration does not allow
    RAFT_BAD_MESSAGE = -5007,   // a message no correct peer sends: drop the connection
    RAFT_LOCAL_MESSAGE = -5008, // a type that never crosses the network
    RAFT_UNKNOWN_PEER = -5009,  // an answer from an id that is not in the configuration
    RAFT_COMPACTED = -5010,     // log storage: older than the first index
    RAFT_UNAVAILABLE = -5011,   // log storage: newer than the last index
    RAFT_LATER = -5012,         // log storage, snapshot: not in memory, ask by a fetch; or not now
    RAFT_BAD_CONFIG = -5013,    // raft_new: settings that contradict each other
};

enum raft_entry_kind {
    RAFT_ENTRY_NORMAL = 0,
    RAFT_ENTRY_CONF_CHANGE = 1, // one op, applied at once
    RAFT_ENTRY_CONF_CHANGE_V2 =
        2, // any number of ops; an empty payload leaves the joint configuration
};

/* One entry of the log. `data` points into `block`, which callbacks count. Both are NULL when empty. */
struct raft_entry {
    uint64_t term;
    uint64_t index;
    const uint8_t *data; // inside block, immutable
    void *block;         // the counted buffer; one reference per raft_entry that somebody keeps
    uint32_t len;        // bytes at data
    uint8_t kind;        // enum raft_entry_kind
};

/* What the limits count: the bytes of this entry in its protobuf form. */
size_t raft_entry_size(const struct raft_entry *e);

struct raft_ids { // sorted ascending, no repetition, zeros after the last
    uint32_t count;
    uint64_t id[RAFT_MEMBERS_MAX];
};

/* A configuration: what a snapshot carries and what the store keeps. */
struct raft_conf_state {
    struct raft_ids voters;
    struct raft_ids outgoing; // of a joint configuration, else empty
    struct raft_ids learners;
    struct raft_ids learners_next; // voters of `outgoing` that become learners when it is left
    bool auto_leave;
};

enum raft_conf_op { RAFT_ADD_VOTER, RAFT_REMOVE, RAFT_UPDATE, RAFT_ADD_LEARNER };
enum raft_transition { RAFT_TRANSITION_AUTO, RAFT_TRANSITION_IMPLICIT, RAFT_TRANSITION_EXPLICIT };

struct raft_conf_change {
    enum raft_transition transition; // V2 only
    uint32_t count;
    struct {
        enum raft_conf_op op;
        uint64_t id;
    } change[RAFT_MEMBERS_MAX];
    const uint8_t *context; // the rest of the payload, untouched (borrowed); NULL when empty
    uint32_t context_len;
};
/* The payload of a conf change entry. encode writes ops and context, returns the bytes needed (also
 * when that is more than cap: then nothing was written). An empty change without context takes none.
 * decode: 0 or RAFT_BAD_CONF_CHANGE; cc->context points into data. */
size_t raft_conf_change_encode(const struct raft_conf_change *cc, uint8_t *buf, size_t cap);
int raft_conf_change_decode(const uint8_t *data, size_t len, struct raft_conf_change *cc);

/* A snapshot's metadata. The bytes travel outside the core; `block` is a counted handle of the caller's
 * (may be NULL), kept as entries' blocks are. */
struct raft_snapshot {
    uint64_t index; // 0: no snapshot
    uint64_t term;
    struct raft_conf_state conf;
    void *block;
};

struct raft_hard_state {
    uint64_t term, vote, commit;
};

enum raft_role { RAFT_FOLLOWER, RAFT_PRE_CANDIDATE, RAFT_CANDIDATE, RAFT_LEADER };

enum raft_message_type {    // the values are the peers' wire values: only append
    RAFT_MSG_APP = 1,       // entries after (log_term, index), and commit
    RAFT_MSG_APP_RESP = 2,  // promise: stored up to index; or reject, reject_hint, log_term
    RAFT_MSG_VOTE = 3,      // (log_term, index) of the candidate's last entry; transfer
    RAFT_MSG_VOTE_RESP = 4, // promise
    RAFT_MSG_PRE_VOTE = 5,
    RAFT_MSG_PRE_VOTE_RESP = 6,  // promise
    RAFT_MSG_HEARTBEAT = 7,      // commit, read_round
    RAFT_MSG_HEARTBEAT_RESP = 8, // read_round
    RAFT_MSG_SNAP = 9,        // snapshot; the member streams its bytes, then raft_report_snapshot
    RAFT_MSG_PROP = 10,       // forwarded proposal: entries without term and index
    RAFT_MSG_READ_INDEX = 11, // forwarded read: read_id
    RAFT_MSG_READ_INDEX_RESP = 12, // read_id, index
    RAFT_MSG_TRANSFER_LEADER = 13, // forwarded to the leader; from = the member to lead
    RAFT_MSG_TIMEOUT_NOW = 14,
};

struct raft_message {
    enum raft_message_type type;
    bool reject;
    bool transfer; // (pre)vote asked for by a leader that hands over: stickiness does not apply
    uint64_t to, from, term; // term 0: MSG_PROP, MSG_READ_INDEX, MSG_TRANSFER_LEADER
    uint64_t log_term, index, commit;
    uint64_t reject_hint;
    uint64_t read_round; // with term: the token of a round of reads, the leader's own counter
    uint64_t read_id;    // the asking member's name for its read
    struct raft_entry *entries; // count of them, one reference each
    uint32_t count;
    struct raft_snapshot *snapshot; // MSG_SNAP only, else NULL
};

/* ---- Callbacks -------------------------------------------------------------------------------- */

enum raft_level { RAFT_DEBUG, RAFT_INFO, RAFT_WARN, RAFT_ERROR, RAFT_FATAL, RAFT_SILENT };

struct raft_entry_info {
    uint64_t term;
    uint32_t len;
    uint8_t kind;
}; // as in struct raft_entry

/* What the core may ask of the world. Const after raft_new; must outlive the core and all it gave out.
 * alloc, free, ref and unref are called by raft_*_free too, so from any goroutine that calls those. */
struct raft_env {
    void *ctx;
    /* Zeroed memory; never NULL (a member without memory dies like one without a disk). */
    void *(*alloc)(void *ctx, size_t size);
    void (*free)(void *ctx, void *p, size_t size); // size as asked for
    /* One more, or one less, reference on a block of an entry or snapshot; never called with NULL. */
    void (*ref)(void *ctx, void *block);
    void (*unref)(void *ctx, void *block);

    /* The stable log as the raft goroutine sees it: what completed persist batches wrote, until
     * compacted. An empty log of a snapshot at index i has first = i+1, last = i. */
    uint64_t (*first_index)(void *ctx);
    uint64_t (*last_index)(void *ctx);
    /* From memory, always, for first-1 (term only) to last: 0, RAFT_COMPACTED or RAFT_UNAVAILABLE. */
    int (*info)(void *ctx, uint64_t index, struct raft_entry_info *out);
    /* Entries from lo up to but without hi, at least one, at most cap, and no more than max_bytes by
     * raft_entry_size except that the first always fits. Fills out with a new reference each and
     * returns how many. RAFT_LATER: lo is not in memory, ask by a fetch. RAFT_COMPACTED. */
    int (*entries)(void *ctx, uint64_t lo, uint64_t hi, uint64_t max_bytes, struct raft_entry *out,
                   size_t cap);
    /* The snapshot to send to a follower that needs more than the log holds: fills *out, with a new
     * reference on its block. Or RAFT_LATER: none now; the core asks again at the next chance. */
    int (*snapshot)(void *ctx, uint64_t to, struct raft_snapshot *out);

    uint64_t (*random)(void *ctx,
                       uint64_t bound); // uniform in [0, bound); asked when a role is reset
    void (*log)(void *ctx, enum raft_level level,
                const char *text); // may be NULL; text is borrowed
};

enum raft_read_only { RAFT_READ_SAFE, RAFT_READ_LEASE };

struct raft_config {
    uint64_t id;
    uint32_t
        election_ticks; // > heartbeat_ticks; a timeout lasts [election_ticks, 2*election_ticks)
    uint32_t heartbeat_ticks;
    bool pre_vote;               // members always set this,
    bool check_quorum;           // this,
    bool step_down_on_removal;   // and this
    bool skip_conf_validation;   // tests only: propose a conf change that may not be allowed
    bool no_proposal_forwarding; // a follower answers RAFT_NOT_LEADER
    bool apply_unstable; // hand entries to apply with the ready that persists them: right only for
                         // a driver that persists before it applies. Members leave it off.
    enum raft_read_only read_only;
    uint64_t max_size_per_msg; // bytes of entries in one MSG_APP; 0 means one entry a message
    uint64_t
        max_inflight_msgs; // unanswered MSG_APPs a follower; > 0; see raft_set_max_inflight_msgs
    uint64_t max_inflight_bytes;    // bytes in them; 0: no limit
    uint64_t max_uncommitted_bytes; // payload bytes in the leader's uncommitted tail; 0: no limit
    uint64_t max_apply_bytes; // bytes of entries handed to apply and not done; 0: max_size_per_msg
    enum raft_level log_level;
    /* What the last life of this member left behind; zero for a new one. */
    struct raft_hard_state hard_state;
    struct raft_conf_state conf; // as of `applied`
    uint64_t applied;
};

/* ---- Life, inputs ----------------------------------------------------------------------------- */

struct raft;

/* A follower with the state the config gives. *env and what it points to must stay. 0 or RAFT_BAD_CONFIG
 * (hard state that contradicts the log included: commit past its end means a lost or foreign log). */
int raft_new(const struct raft_env *env, const struct raft_config *config, struct raft **out);
void raft_free(struct raft *r); // gives every reference back

/* A message from a peer, or one of our own promises after its batch is durable. Borrows m. What a peer
 * may have made up is checked here: any error changes nothing. */
int raft_step(struct raft *r, const struct raft_message *m);
void raft_tick(struct raft *r);

/* Propose entries; only kind, data, len and block are read. A leader appends them and sets
 * *first_index_out (may be NULL) to the index of the first, a follower forwards them and sets it to 0.
 * A conf change that may not be proposed now is appended as an empty normal entry (and logged).
 * 0 or the reason why nothing was taken. */
int raft_propose(struct raft *r, const struct raft_entry *entries, size_t count,
                 uint64_t *first_index_out);

/* Ask for a linearizable read. Its answer is an element of a later rd.reads with the same read_id; none
 * comes if leadership is lost meanwhile (soft state changed): ask again. Borrowed by no one. */
int raft_read_index(struct raft *r, uint64_t read_id);

void raft_campaign(struct raft *r);             // stand for election now, if allowed
int raft_transfer(struct raft *r, uint64_t to); // hand over; forwarded by a follower
void raft_forget_leader(struct raft *r);        // grant votes although a leader was heard
void raft_report_unreachable(struct raft *r, uint64_t peer); // messages to it were lost
void raft_report_snapshot(struct raft *r, uint64_t peer,
                          bool installed); // end of a MSG_SNAP's stream

/* Change the message window while running. A smaller one takes effect as answers come in. */
void raft_set_max_inflight_msgs(struct raft *r, uint64_t max);
void raft_set_log_level(struct raft *r, enum raft_level level);

/* ---- Outputs ---------------------------------------------------------------------------------- */

/* What has become durable; made by raft_ready, given back unchanged. It carries the term it was made
 * in: entries of an older term may have been replaced meanwhile, so they are not taken as stable. */
struct raft_completion {
    uint64_t term;            // our term when it was made
    uint64_t index, log_term; // last entry of the unstable log then; index 0: none
    uint64_t snapshot_index;  // 0: none
    bool needed;              // false: raft_append_done would do nothing
};

struct raft_persist {
    bool needed;    // else all below is empty
    bool must_sync; // entries, or term or vote changed; promises always wait for the sync
                    // of what precedes them
    bool has_hard_state;
    struct raft_hard_state hard_state;
    struct raft_snapshot
        *snapshot; // replaces the whole log; NULL: none. Install it after everything that
                   // was handed to apply before is applied and reported
    struct raft_entry *entries; // the first replaces whatever is stored from its index on
    size_t count;
    struct raft_message *promises;
    size_t promise_count;
    struct raft_completion completion;
};

struct raft_apply {
    struct raft_entry *entries; // committed, stable, in order, each handed out once
    size_t count;
    uint64_t size_bytes; // for raft_apply_done
};

struct raft_read {
    uint64_t read_id, index;
}; // may be served once applied >= index

/* Entries [lo, hi) are needed and not in memory. Only `to` waits for them: a follower, or, when it is our
 * own id, apply. Answer with raft_entries_arrived; a repeated request supersedes the one before. */
struct raft_fetch {
    uint64_t to, lo, hi, max_bytes;
};

struct raft_soft_state {
    uint64_t leader;
    enum raft_role role;
};

struct raft_ready {
    bool has_soft_state; // changed since the last ready
    struct raft_soft_state soft_state;
    struct raft_message *messages; // send at once
    size_t message_count;
    struct raft_persist persist;
    struct raft_apply apply;
    struct raft_read *reads;
    size_t read_count;
    struct raft_fetch *fetches;
    size_t fetch_count;
};

bool raft_has_ready(const struct raft *r);
void raft_ready(struct raft *r, struct raft_ready *rd); // everything in it is now the caller's

void raft_append_done(struct raft *r, const struct raft_completion *done);
void raft_apply_done(struct raft *r, uint64_t index, uint64_t size_bytes);

/* Apply the conf change of a committed entry (every conf change entry must come here, in order, before
 * raft_apply_done of its batch). It is checked again, against the configuration as applied and so alike
 * on every member. 0; or RAFT_BAD_CONF_CHANGE: the configuration is unchanged and *reason_out (may be
 * NULL) says why in words that stay. *conf_out (may be NULL) is the configuration afterwards, either way.
 * Its context can be read by raft_conf_change_decode. */
int raft_apply_conf_change(struct raft *r, const struct raft_entry *e,
                           struct raft_conf_state *conf_out, const char **reason_out);

/* The answer to a fetch: count entries from f->lo on (borrowed), in order; or count 0: they are gone, a
 * follower then gets a snapshot. An answer nobody waits for any more is ignored. */
void raft_entries_arrived(struct raft *r, const struct raft_fetch *f,
                          const struct raft_entry *entries, size_t count);

/* Give back parts of a ready, or a message of the caller's own making. Each zeroes what it is given. */
void raft_entries_free(const struct raft_env *env, struct raft_entry *entries, size_t count);
void raft_messages_free(const struct raft_env *env, struct raft_message *messages, size_t count);
void raft_persist_free(const struct raft_env *env, struct raft_persist *p);
void raft_reads_free(const struct raft_env *env, struct raft_read *reads, size_t count);
void raft_fetches_free(const struct raft_env *env, struct raft_fetch *fetches, size_t count);
void raft_ready_free(const struct raft_env *env, struct raft_ready *rd); // all parts still in it

/* ---- Looking in ------------------------------------------------------------------------------- */

enum raft_flow { RAFT_PROBE, RAFT_REPLICATE, RAFT_SNAPSHOT };

struct raft_peer_status {
    uint64_t id, match, next, pending_snapshot, inflight_msgs, inflight_bytes;
    enum raft_flow flow;
    bool learner, paused, recently_active;
};

struct raft_status {
    uint64_t id, leader, transferee; // RAFT_NONE: none
    enum raft_role role;
    struct raft_hard_state hard_state;
    uint64_t applied, first_index, last_index, uncommitted_bytes, reads_waiting;
    bool pending_conf_change; // a leader that may have one unapplied
    struct raft_conf_state conf;
    uint32_t peer_count; // a leader's view; 0 on others
    struct raft_peer_status peer[RAFT_MEMBERS_MAX];
};
void raft_status(const struct raft *r, struct raft_status *out);

/* Cheap forms of the above. */
enum raft_role raft_role(const struct raft *r);
uint64_t raft_leader(const struct raft *r);
uint64_t raft_term(const struct raft *r);
uint64_t raft_committed(const struct raft *r);
/* As the leader: entries for that follower wait, and only because its window of messages is used up. */
bool raft_is_stalled(const struct raft *r, uint64_t peer);

/* The log may be compacted (log storage drops entries, first_index moves, between any two calls) up to
 * what is applied. This is how far it can go without forcing a recently active follower into a snapshot:
 * the lowest match among them, or what is applied where we do not lead. */
uint64_t raft_compactable(const struct raft *r);

/* ---- State as text ---------------------------------------------------------------------------- */

const char *raft_error_text(int err);
const char *raft_role_text(enum raft_role role);
const char *raft_message_type_text(enum raft_message_type type);
/* Like snprintf: writes at most cap bytes with the final NUL, returns what the whole text takes. */
size_t raft_describe_entry(const struct raft_entry *e, char *buf, size_t cap);
size_t raft_describe_message(const struct raft_message *m, char *buf, size_t cap);
size_t raft_describe_conf_state(const struct raft_conf_state *cs, char *buf, size_t cap);
