/* kv/member/apply.h: the goroutine that gives committed entries to the store, in order, and wakes who
 * waited for them. It also installs images that raft has accepted: both change the store, and a
 * store has one writer. */
#pragma once
#include "kv/member/core_item.h"
#include "kv/member/stages.h"
#include "raft/raft.h"
#include <rt/alloc.h>

struct member;
struct persist_job;

enum apply_kind { APPLY_ENTRIES, APPLY_INSTALL, APPLY_STOP };

/* A configuration change of a batch: what it made of the configuration. */
struct apply_conf {
    uint64_t index;
    bool accepted;
    struct raft_conf_state conf;
};

struct apply_job {
    struct core_item item; // first: also its place in the applier's mailbox
    enum apply_kind kind;
    struct raft_apply batch; // ENTRIES
    struct apply_conf *confs;
    uint32_t conf_count;
    struct stage_run *times; // of its entries, in order of index
    uint32_t time_count;
    int64_t committed_ns;
    struct persist_job *persist; // INSTALL: waits for it
};

struct applier {
    struct rt_mailbox box;
    struct rt_note ended;
    uint64_t last_term; // of the last entry applied
};

void applier_start(struct member *m);
void applier_stop(struct member *m);                        // after everything posted is done
void applier_post(struct member *m, struct apply_job *job); // never parks
