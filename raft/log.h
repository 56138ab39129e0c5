/* raft/log.h: stable and unstable entries as one log.
 *
 *      first_index         offset        in_progress        last_index
 *          |  stable log      |  handed out  |  not handed out  |
 *          |  (callbacks)     |<-------- unstable[] ----------->|
 *
 * What storage shows from `offset` on is never looked at: a write under way may still replace it. A
 * snapshot that is not yet installed stands in front of the unstable entries, in place of the whole
 * stable log.
 *
 * Invariants: (1) offset <= in_progress <= offset + count. (2) applied <= applying <= committed <=
 * last_index. (3) Nothing at or below committed is ever replaced. (4) Entries are never written to once
 * they are here: replacing drops references. */
#pragma once
#include "raft/say.h"

enum { RAFT_SLICE_MAX = 1024 }; // entries in one message or one batch to apply

struct raft_log {
    const struct raft_env *env;
    struct raft_voice *voice;
    struct raft_snapshot *snapshot; // unstable; NULL: none
    bool snapshot_in_progress;      // handed out
    struct raft_entry *unstable;    // the live ones are [head, head + count)
    size_t head, count, cap;
    uint64_t offset, in_progress;
    uint64_t committed, applying, applied;
    uint64_t applying_bytes, max_applying_bytes; // handed to apply and not done
    bool applying_paused;
    bool apply_unstable;
    bool fetch_wanted;          // entries after `applying` are not in memory
    bool fetch_asked;           // a fetch for them was handed out and not answered
    struct raft_entry *arrived; // its answer, waiting for the next ready
    size_t arrived_count;
    struct raft_entry scratch[RAFT_SLICE_MAX];
};

void raft_log_init(struct raft_log *l, const struct raft_env *env, struct raft_voice *voice);
void raft_log_deinit(struct raft_log *l);

uint64_t raft_log_first_index(const struct raft_log *l);
uint64_t raft_log_last_index(const struct raft_log *l);
uint64_t raft_log_last_term(const struct raft_log *l);
/* 0, RAFT_COMPACTED or RAFT_UNAVAILABLE. */
int raft_log_info(const struct raft_log *l, uint64_t index, struct raft_entry_info *out);
int raft_log_term(const struct raft_log *l, uint64_t index, uint64_t *term_out);
uint64_t raft_log_term_or_zero(const struct raft_log *l, uint64_t index);
bool raft_log_matches(const struct raft_log *l, uint64_t index, uint64_t term);
/* A log that ends at (term, index) is as new as ours (Raft paper 5.4.1). */
bool raft_log_is_up_to_date(const struct raft_log *l, uint64_t term, uint64_t index);
/* The largest index of ours <= index whose term is <= term, and that term; (index, 0) where the log
 * begins before one is found. */
uint64_t raft_log_find_by_term(const struct raft_log *l, uint64_t index, uint64_t term,
                               uint64_t *term_out);

/* A leader's own entries, after the last. References are taken. */
void raft_log_append(struct raft_log *l, const struct raft_entry *entries, size_t count);
/* What a leader sent after (index, term): 0 with *last_out the last index the message covers; or
 * RAFT_UNAVAILABLE, when the log does not hold (index, term); or RAFT_BAD_MESSAGE, when it would replace
 * something committed. Only a true conflict replaces anything. */
int raft_log_try_append(struct raft_log *l, uint64_t index, uint64_t term, uint64_t commit,
                        const struct raft_entry *entries, size_t count, uint64_t *last_out);
void raft_log_commit_to(struct raft_log *l, uint64_t index); // requires index <= last index

/* Up to max_bytes (at least one) of the entries [lo, hi), into l->scratch, with references that the
 * caller takes over. Returns how many, or RAFT_COMPACTED, RAFT_LATER. */
int raft_log_slice(struct raft_log *l, uint64_t lo, uint64_t hi, uint64_t max_bytes);

/* Storage. */
bool raft_log_has_unstable(const struct raft_log *l);     // entries not handed out
bool raft_log_has_new_snapshot(const struct raft_log *l); // a snapshot not handed out
void raft_log_stable_to(struct raft_log *l, uint64_t index, uint64_t term);
void raft_log_snapshot_stable(struct raft_log *l, uint64_t index);
void raft_log_restore(struct raft_log *l, const struct raft_snapshot *s); // s replaces everything

/* Applying. */
bool raft_log_can_apply(const struct raft_log *l);
uint64_t raft_log_appliable(const struct raft_log *l);
void raft_log_applying_to(struct raft_log *l, uint64_t index, uint64_t bytes);
void raft_log_applied_to(struct raft_log *l, uint64_t index, uint64_t bytes);
/* True if one of the entries (after, last] is a conf change (or that cannot be told). */
bool raft_log_has_conf_change_after(const struct raft_log *l, uint64_t after, uint64_t last);
