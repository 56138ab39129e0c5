/* kv/service/service.h: the RPC methods: what a client's bytes mean, checked, done, answered. The
 * front door for cmd/.
 *
 *     connection -> proto (HTTP/2, gRPC) -> dispatch (rpc.def) -> serve_put, serve_range, ...
 *                                               |                     |
 *                                   limits, stopping, status      member_propose, member_read_barrier,
 *                                                                 store_range, store_watch_...
 *
 * One service stands before one member; nothing here is global. */
#pragma once
#include <rt/log.h>
#include <rt/metrics.h>
#include <rt/why.h>
#include <stdbool.h>
#include <stdint.h>

struct member;
struct service;
struct rt_listener;

struct service_config {
    struct member *member;      // outlives the service
    struct rt_log *log;         // outlives it; NULL: silence
    struct rt_metrics *metrics; // outlives it
    uint32_t max_request_bytes; // of one encoded request
    uint32_t max_txn_ops;
    uint32_t election_ms;       // request timeouts are 5 s and two of these
    int64_t progress_notify_ns; // between progress notes on an idle watch
};

/* Never NULL. */
struct service *service_new(const struct service_config *config);

/* Accept on `listener` and serve each connection in a goroutine of its own until the listener is
 * closed: gRPC over HTTP/2, and /version, /health and /metrics over HTTP/1.1.  Context: parks. */
void service_accept_clients(struct service *s, struct rt_listener *listener);

/* The same for a metrics port: HTTP/1.1 only, and also the insides of the process: goroutines, traces,
 * leaks (/debug/ lists the pages).  Context: parks. */
void service_accept_metrics(struct service *s, struct rt_listener *listener);

/* Refuse new calls, end streams, let unary calls finish; returns when all connections have ended
 * or at the deadline, when the rest are cut. Close the listeners first.  Context: parks. */
void service_stop(struct service *s, int64_t deadline_ns);
/* Only after service_stop. */
void service_free(struct service *s);
