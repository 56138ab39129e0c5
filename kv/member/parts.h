/* kv/member/parts.h: what a member is made of. Private to the folder; each part's own header says who
 * may touch it. */
#pragma once
#include "kv/member/apply.h"
#include "kv/member/bootstrap.h"
#include "kv/member/core.h"
#include "kv/member/generations.h"
#include "kv/member/ids.h"
#include "kv/member/knobs.h"
#include "kv/member/latency.h"
#include "kv/member/lease_clock.h"
#include "kv/member/limits.h"
#include "kv/member/member.h"
#include "kv/member/membership.h"
#include "kv/member/peers.h"
#include "kv/member/propose.h"
#include "kv/member/reads.h"
#include "kv/member/snapshot.h"
#include "kv/store/store.h"
#include "wal/wal.h"

struct member {
    // set before start, then const
    struct rt_arena arena;       // the configuration's strings
    struct member_config config; // defaults filled in
    struct member_urls listen_peer, advertise_peer, advertise_client;
    uint64_t id, cluster_id;
    struct data_dir dir;
    struct generations generations;
    struct rt_log *log;
    struct wal *wal;
    struct store *store;
    struct raft_env env;
    struct rt_counter *has_leader, *is_leader, *leader_changes, *committed, *applied_total;
    struct rt_counter *slow_reads, *failed_reads;
    // parts
    struct core core;
    struct proposals proposals;
    struct reads reads;
    struct applier applier;
    struct membership membership;
    struct peers peers;
    struct lease_clock leases;
    struct snapshots snapshots;
    struct latency latency;
    struct knobs knobs;
    // who leads: waiting
    struct rt_mutex leader_lock;
    struct rt_cond leader_changed; // leader_lock
    // any goroutine
    _Atomic uint64_t applied; // effects visible to reads
    _Atomic bool stopping;
    _Atomic bool refused;        // peers told us that our directory is old: we take no part
    _Atomic bool crash;          // tests: end without flushing anything
    struct rt_waitgroup helpers; // fetches, streams, publisher, ...: each ends by `stopping`
    struct rt_waitgroup callers; // inside a public call that waits
};
