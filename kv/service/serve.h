/* kv/service/serve.h: what the methods share: the service itself, and how an answer is made. Private to
 * this folder. */
#pragma once
#include "kv/member/member.h"
#include "kv/service/debug.h"
#include "kv/service/limits.h"
#include "kv/service/service.h"
#include "kv/service/status.h"
#include "kv/store/store.h"
#include "proto/fields.h"
#include "proto/grpc.h"
#include "proto/http1.h"
#include "rt/sync.h"

struct service {
    struct service_config config;
    struct member *member;
    struct store *store;
    uint64_t cluster_id, member_id;
    struct grpc_server *grpc;
    struct http1_options metrics_http;
    struct debug *debug; // pages of the metrics port
    struct rt_mutex leader_calls_lock;
    struct leader_call *leader_calls; // leader_calls_lock
    struct rt_note leader_watch_ended;
    struct rt_log_gate health_gate, bug_gate;
    _Atomic bool stopping;
};

/* One handler a line of rpc.def. They are weak: one that is not linked is a method not built yet,
 * which clients are told (Unimplemented). */
#define RPC(service, method, request, response, shape, needs, handler)                             \
    enum grpc_done handler(void *ctx, struct grpc_call *call, struct rt_bytes message)             \
        __attribute__((weak));
#include "proto/rpc.def"

/* When a call must have ended: the client's deadline or the server's own, whichever is earlier. */
int64_t serve_deadline_ns(const struct service *s, const struct grpc_call *call);

/* End the call with the status of `err` (see service_status_of); a call that was cancelled or is
 * past its deadline ends with that instead. A code that nobody foresaw is logged. */
void serve_fail(struct service *s, struct grpc_call *call, int err);
void serve_fail_status(struct grpc_call *call, enum service_status status);

/* Read a message of whole numbers (and booleans): out[i] becomes the last value of field i + 1, 0 when
 * it is absent. Other fields are skipped. 0 or FIELDS_MALFORMED. */
int serve_read_numbers(struct rt_bytes message, uint64_t *out, uint32_t count);
/* The same; false when the bytes are no message and the call has been failed. */
bool serve_numbers(struct service *s, struct grpc_call *call, struct rt_bytes message,
                   uint64_t *out, uint32_t count);

/* Answer with header (revision 0 leaves the field out) and `body`, which is used up. */
void serve_answer(struct service *s, struct grpc_call *call, int64_t revision,
                  struct rt_string *body);

/* Append field 1, the ResponseHeader. */
void serve_add_header(struct service *s, struct rt_string *out, int64_t revision);

/* Propose `request` and wait for it; at most max-request-bytes. True when it was applied and the store did it, with *result and
 * *out to use and then to release by serve_release. False when the call has been failed. */
bool serve_propose(struct service *s, struct grpc_call *call, enum store_command_kind kind,
                   struct rt_bytes request, struct store_result *result,
                   struct member_outcome *out);
void serve_release(struct service *s, struct store_result *result, struct member_outcome *out);

/* Make what is read next linearizable. False when the call has been failed. */
bool serve_barrier(struct service *s, struct grpc_call *call);

/* A stream whose client asked to be told when there is no leader ("hasleader").  (require_leader.c) */
struct leader_call {
    struct grpc_call *call;
    struct leader_call *next, **link; // leader_calls_lock; in the list if it asked
    _Atomic bool lost;                // there is no leader: end with MEMBER_NO_LEADER
};
/* From enter to leave, `lost` is set and the call woken when there has been no leader for three
 * election timeouts. Of a call that did not ask, nothing happens. Memory is the caller's. */
void leader_call_enter(struct service *s, struct leader_call *l, struct grpc_call *call);
void leader_call_leave(struct service *s, struct leader_call *l);
/* The goroutine that does it; ends when the service or the member stops, and sets
 * leader_watch_ended. */
void leader_calls_watch(void *service);

/* HTTP/1.1 on both ports.  (http.c) */
void serve_http_client(void *ctx, const struct http1_request *request,
                       struct http1_response *response);
void serve_http_metrics(void *ctx, const struct http1_request *request,
                        struct http1_response *response);
