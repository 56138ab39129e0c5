/* cmd/kvlab/load.h: clients that speak gRPC, as goroutines, and what they saw.
 *
 * Closed loop: each client sends its next request when the last is answered. Open loop: request i is
 * due at start + i / rate, whatever became of those before; its latency counts from when it was due,
 * so that a stall of the server costs every request that was due meanwhile. */
#pragma once
#include "cmd/kvlab/cluster.h"

enum load_kind { LOAD_PUT, LOAD_GET, LOAD_GET_SERIALIZABLE, LOAD_OTHER };

/* LOAD_OTHER: a server in front of the cluster. Each client has a connection of its own; a request checks
 * its answer. NULL or false with why.  Context: parks. */
struct load_target {
    void *(*open)(void *arg, struct why *why);
    bool (*request)(void *connection, struct why *why);
    void (*close)(void *connection);
    void *arg;
};

struct load_spec {
    enum load_kind kind;
    const struct load_target *target; // of LOAD_OTHER
    double rate;                      // a second; 0: closed loop
    uint32_t clients;                 // requests in flight at most
    uint32_t connections;             // they share these; 0: one for each 16 clients
    uint32_t value_bytes;             // at least 32
    int64_t length_ns;
    int64_t warmup_ns; // at the beginning: sent and checked, not counted
};

struct load_sample {
    int64_t at_ns; // when it was due, from the start
    int64_t latency_ns;
};

struct load_result {
    struct load_sample *samples; // in order of no kind
    size_t count;
    double *sorted_ms; // their latencies
    double p50_ms, p90_ms, p95_ms, p99_ms, p999_ms, max_ms, mean_ms, stddev_ms;
    double per_s;                // answered in the counted time
    uint64_t acknowledged;       // all, the warm-up's too
    struct rt_hdr_counts *every; // the latencies of all, the warm-up's too
    int64_t started_ns;          // rt_now_ns of the first; samples count from here
};

enum { LOAD_SAMPLES_MAX = 4 << 20 }; // of one run; a load that would give more is refused

/* Load the leader and check the answers: every request succeeded; puts raised the revision by exactly
 * as many; the last acknowledged value of each key is read back; gets answered what was put. NULL with
 * why, a dead member first.  Context: parks. */
struct load_result *load_run(struct cluster *c, const struct load_spec *spec, struct why *why);
void load_free(struct load_result *r); // NULL is allowed

/* The samples as points, seconds and milliseconds. More than the curve holds are thinned: of equal spans
 * of time the fastest and the slowest stay. Returns whether they were.  Context: never parks. */
bool load_draw(const struct load_result *r, struct plot_series *to);
/* The raw histogram as CSV: raw/NAME.csv in the result folder. */
bool load_write_raw(struct lab *lab, const struct load_result *r, const char *name,
                    struct why *why);
