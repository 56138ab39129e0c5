/* cmd/kvlab/client.h: the few calls of etcd's API and of kvd's Insight that the experiments need.
 * Each returns 0 or -1 with why, which names the endpoint. Context of all: parks. */
#pragma once
#include "cmd/kvlab/http_answer.h"
#include "proto/grpc.h"
#include "proto/kvd.pb-c.h"
#include "proto/rpc.pb-c.h"
#include <rt/alloc.h>
#include <rt/why.h>

struct client {
    const char *endpoint;
    struct grpc_client *grpc;
};

int client_dial(const char *endpoint, struct client *out, struct why *why);
void client_close(struct client *c); // also one that was never dialled

/* The answer is unpacked into the arena. */
int client_status(struct client *c, struct rt_arena *arena, Etcdserverpb__StatusResponse **out,
                  struct why *why);
int client_range(struct client *c, struct rt_bytes key, struct rt_bytes end, struct rt_arena *arena,
                 Etcdserverpb__RangeResponse **out, struct why *why);
int client_put(struct client *c, struct rt_bytes key, struct rt_bytes value, int64_t *revision_out,
               struct why *why);
int client_delete_range(struct client *c, struct rt_bytes key, struct rt_bytes end,
                        struct why *why);
/* The revision a linearizable read sees. */
int client_revision(struct client *c, int64_t *out, struct why *why);
int client_latency(struct client *c, struct rt_arena *arena, Kvdpb__LatencyResponse **out,
                   struct why *why);
int client_knobs(struct client *c, struct rt_arena *arena, Kvdpb__KnobListResponse **out,
                 struct why *why);
/* `previous` (may be NULL) gets the value before. */
int client_set_knob(struct client *c, const char *name, const char *value, char *previous,
                    size_t cap, struct why *why);

/* Open a stream that watches [key, end), from now on; its first message says that it is there. The caller
 * closes it. */
int client_watch(struct client *c, struct rt_bytes key, struct rt_bytes end,
                 struct grpc_stream **out, struct why *why);

/* One request over HTTP/1.1, without TLS; the answer's memory is used again, and freed by the caller
 * (http_answer_deinit) also after a failure. Its status is the caller's to look at. */
int client_http(const char *endpoint, const char *method, const char *target,
                struct http_answer *answer, struct why *why);
/* The sum of all series of a metric on http://endpoint/metrics. */
int client_metric(const char *endpoint, const char *name, double *out, struct why *why);
/* The same for several names at once, one request. */
int client_metrics(const char *endpoint, const char *const *names, double *out, uint32_t count,
                   struct why *why);
/* How often the member's runtime has preempted a goroutine, its slice used up or its P needed. */
int client_preemptions(const char *endpoint, double *out, struct why *why);
/* Add up the lines of `name` in a text of metrics; 0 when there is none. For tests. */
double metric_of(const char *text, const char *name);
