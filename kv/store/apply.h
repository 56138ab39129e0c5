/* kv/store/apply.h: the scratch of the goroutine that applies, and the steps that the kinds of
 * commands share. A command is judged first, on the state before it (nothing is changed); then its
 * rows are planned, which changes the index at once, so that a later operation of a transaction sees
 * what an earlier one did; then all is encoded into one entry of the recent log and published:
 *
 *     judge (locks for reading) -> index_lock: plan, encode, append, publish -> ring the bells
 */
#pragma once
#include "kv/store/request.h"
#include "kv/store/row.h"
#include <rt/alloc.h>

struct store;

struct planned {
    struct row row;
    struct rev rev;
};

struct planned_change {
    uint8_t name[STORE_CLUSTER_KEY_BYTES + 1];
    uint16_t name_len;
    uint8_t small[16]; // where value may point
    struct rt_bytes value;
    bool removed;
};

struct apply {
    const struct store_command *command;
    struct store_result *result; // may be NULL
    int64_t main;                // revision of its writes, should there be any
    struct planned *rows;
    uint32_t row_count, row_cap;
    struct planned_change *changes;
    uint32_t change_count, change_cap;
    int64_t compact; // compact revision after this command
    bool tell_flusher;
    bool effects;   // more than a number: needs an entry
    bool *branches; // of the transactions on the chosen path, in order of execution
    uint32_t branch_count, branch_cap, branch_next;
    struct rt_arena arena; // values fetched for the command
    int64_t pin_revision;  // oldest revision that the answer has to read; INT64_MAX: none
};
void apply_deinit(struct apply *a);

/* ---- For the verbs (apply_kv.c, apply_txn.c, apply_rest.c). The applier only. ---- */

/* Plan one put or all deletes of a range; the index changes at once.
 * Context: index_lock for writing. */
void plan_put(struct store *s, struct rt_bytes key, struct rt_bytes value, int64_t lease);
uint32_t plan_delete_range(struct store *s, const struct key_range *keys);
void plan_delete(struct store *s, struct rt_bytes key);
struct planned_change *plan_change(struct store *s); // zeroed
void plan_lease_change(struct store *s, int64_t id, int64_t ttl_s, int64_t remaining_s);
void plan_outcome(struct store *s, uint32_t outcome);

/* Could this put be carried out on the state as it is? */
int judge_put(struct store *s, const struct put_request *put);
/* The lease and value a judged put will really write.  Context: no lock. */
int resolve_put(struct store *s, struct put_request *put);
int judge_txn(struct store *s, struct rt_bytes txn);
/* Context: index_lock for writing; judged. */
void execute_put(struct store *s, const struct put_request *put);
void execute_delete(struct store *s, const struct delete_request *del);
void execute_txn(struct store *s, struct rt_bytes txn);

int apply_compact(struct store *s);
int apply_lease_grant(struct store *s);
int apply_lease_revoke(struct store *s);
int apply_lease_checkpoint(struct store *s);
int apply_alarm(struct store *s);
int apply_cluster(struct store *s);
