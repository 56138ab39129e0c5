/* cmd/kvlab/cluster.h: members that we start (kvd or etcd, on loopback, data in the result folder), or
 * a running cluster named by its endpoints. A member that ends by itself fails what runs on it. */
#pragma once
#include "cmd/kvlab/client.h"
#include "cmd/kvlab/lab.h"
#include <rt/hdr.h>
#include <rt/process.h>
#include <rt/sync.h>

enum { CLUSTER_MEMBERS_MAX = LAB_ENDPOINTS_MAX, CLUSTER_FLAGS_MAX = 24, CLUSTER_SAVED_MAX = 64 };

struct member {
    struct cluster *cluster;
    char name[16];
    char endpoint[64], peer[64]; // host:port
    char metrics[64]; // the same, with the pages of /debug/; "": not asked for, or not ours
    char log_path[480], data_path[480];
    struct client client;   // for status, knobs and stages
    struct rt_child *child; // NULL: not ours
    _Atomic bool ended;     // by itself
    int status;             // valid when ended
    struct rt_note gone;    // waited for
};

/* A knob of a running cluster that was not ours, as it was before. */
struct saved_knob {
    uint32_t member;
    char name[40], value[40];
};

struct cluster {
    struct lab *lab;
    char name[48], folder[400];
    bool is_etcd, is_ours;
    bool has_insight;       // tells its stages and takes knobs
    uint32_t count, leader; // leader: position in members
    struct member members[CLUSTER_MEMBERS_MAX];
    _Atomic bool stopping, broken; // broken: a member ended by itself
    bool told;                     // the end of its log is shown; the experiment's goroutine only
    struct saved_knob saved[CLUSTER_SAVED_MAX];
    uint32_t saved_count;
};

struct cluster_spec {
    const char *name;
    uint32_t members;
    bool is_etcd;
    const char *const *flags; // more flags for every member; ends in NULL; NULL: none
    int procs;                // KVD_MAXPROCS of the members; 0: as it is
    bool metrics;             // listen for /debug/, too
    bool own;                 // even when the user named endpoints
};

/* Start members and wait until all answer a linearizable read. NULL with why, which has the last
 * lines of a member that did not come up. With --endpoints (and not spec->own) the running cluster
 * is taken as it is. Context: parks. */
struct cluster *cluster_start(struct lab *lab, const struct cluster_spec *spec, struct why *why);
/* End the members, put back the knobs of a cluster that is not ours, remove data, free. NULL is
 * allowed.  Context: parks. */
void cluster_stop(struct cluster *c);
/* False when a member ended by itself: why has its status and the line of its log that says most. More of
 * the log goes to stderr and into the section, once. */
bool cluster_is_whole(struct cluster *c, struct why *why);
/* Find the leader now; false with why when there is none within 10 s. */
bool cluster_find_leader(struct cluster *c, struct why *why);
static inline struct member *cluster_leader(struct cluster *c) { return &c->members[c->leader]; }

/* Set a knob on every member (or one), remembering what it was where the cluster is not ours. */
bool cluster_set(struct cluster *c, const char *knob, const char *value, struct why *why);
bool cluster_set_at(struct cluster *c, uint32_t member, const char *knob, const char *value,
                    struct why *why);

/* Where in a log (its last part) to begin reading about its end: the words on which a process died (a dump
 * of goroutines follows), or the last error unless it is long ago, or else the last `lines` lines.
 * Context: never parks. */
const char *log_end(const char *text, int lines);

/* Resident memory of a member of ours, in bytes; 0 when unknown. */
uint64_t member_resident_bytes(const struct member *m);
/* Seconds of CPU it has used. */
double member_cpu_s(const struct member *m);

/* ---- What a member tells of its stages ---- */

enum { STAGES_MAX = 40, COUNTERS_MAX = 96 };
struct stage {
    char name[32];
    uint64_t peer; // 0: the member's own
    bool on_path;
    int64_t path_ns; // of the sum, what puts waited for
    struct rt_hdr_counts *counts;
};
struct stage_counter {
    char name[64];
    uint64_t peer;
    int64_t value;
    bool gauge;
};
struct stage_reading {
    uint32_t count, counter_count;
    struct stage stages[STAGES_MAX];
    struct stage_counter counters[COUNTERS_MAX];
    int64_t started_ns;
};
/* NULL with why, also when the server has no Insight.  Context: parks. */
struct stage_reading *stages_read(struct member *m, struct why *why);
void stages_free(struct stage_reading *r); // NULL is allowed
/* `after` becomes the window between the two. False when the member was started anew in between. */
bool stages_subtract(struct stage_reading *after, const struct stage_reading *before);
/* Add a window to a sum of windows (NULL: makes one). */
struct stage_reading *stages_merge(struct stage_reading *sum, const struct stage_reading *more);
/* A window as CSV, raw/NAME-stages.csv in the result folder: of every stage the sums and the histogram's
 * steps, and the counters. False with why.  Context: parks. */
bool stages_write_raw(struct lab *lab, const struct stage_reading *r, const char *name,
                      struct why *why);
/* The stage of the same name and peer in another reading; NULL: none. */
const struct stage *stages_same(const struct stage_reading *r, const struct stage *s);
const struct stage *stages_find(const struct stage_reading *r,
                                const char *name); // NULL: none; peers' are merged by name order
/* The sum over peers; -1 when there is no such counter. */
int64_t stages_counter(const struct stage_reading *r, const char *name);
