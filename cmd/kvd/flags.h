/* cmd/kvd/flags.h: what an operator may set, from the command line and the environment. One table
 * (flags.c) makes parsing, --help, environment names and the test of README's flag list. */
#pragma once
#include <rt/alloc.h>
#include <rt/why.h>
#include <stdbool.h>
#include <stdint.h>

struct kvd_flags {
    // who this member is
    const char *name, *data_dir, *wal_dir;
    const char *listen_peer_urls, *listen_client_urls, *listen_metrics_urls;
    const char *initial_advertise_peer_urls, *advertise_client_urls;
    const char *initial_cluster, *initial_cluster_state, *initial_cluster_token;
    // the log and its replication
    int64_t heartbeat_ms, election_ms, snapshot_count, snapshot_catchup_entries;
    int64_t max_inflight_msgs, sync_timeout_ns, wal_segment_bytes;
    const char *wal_io;
    // limits
    int64_t max_request_bytes, max_txn_ops, quota_backend_bytes;
    int64_t watch_progress_notify_ns;
    // the runtime
    const char *poller;
    int64_t maxprocs;
    bool preempt;
    const char *log_level;
};

enum kvd_flags_verdict {
    KVD_FLAGS_RUN,   // *out is complete
    KVD_FLAGS_SHOWN, // --help or --version: print `text` on stdout, exit 0
    KVD_FLAGS_WRONG, // print `why` on stderr, exit 2
};

/* Read argv and the environment (KVD_NAME, then ETCD_NAME). Warnings about flags that are accepted
 * without effect are appended to `warnings`, a line each. Strings in *out are borrowed from argv,
 * env or the arena, which must outlive it.  Context: blocks nothing; before the runtime starts. */
enum kvd_flags_verdict kvd_flags_read(int argc, char **argv, char **env, struct rt_arena *arena,
                                      struct kvd_flags *out, struct rt_string *text,
                                      struct rt_string *warnings, struct why *why);
