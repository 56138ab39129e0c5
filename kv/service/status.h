/* kv/service/status.h: every way a call may end, with gRPC's code and etcd's exact sentence. Clients
 * match on the sentence (Go's clientv3 byte by byte), so the table is part of the wire protocol.
 * Source: etcd's api/v3rpc/rpctypes/error.go and server/etcdserver/errors. */
#pragma once

#define SERVICE_STATUSES(X)                                                                        \
    X(STATUS_OK, GRPC_OK, "")                                                                      \
    X(STATUS_CANCELED, GRPC_CANCELLED, "context canceled")                                         \
    X(STATUS_DEADLINE, GRPC_DEADLINE_EXCEEDED, "context deadline exceeded")                        \
    X(STATUS_BAD_KNOB, GRPC_INVALID_ARGUMENT,                                                      \
      "kvd: there is no such knob, or it does not take that value")                                \
    X(STATUS_KEY_EMPTY, GRPC_INVALID_ARGUMENT, "etcdserver: key is not provided")                  \
    X(STATUS_KEY_NOT_FOUND, GRPC_INVALID_ARGUMENT, "etcdserver: key not found")                    \
    X(STATUS_VALUE_PROVIDED, GRPC_INVALID_ARGUMENT, "etcdserver: value is provided")               \
    X(STATUS_LEASE_PROVIDED, GRPC_INVALID_ARGUMENT, "etcdserver: lease is provided")               \
    X(STATUS_TOO_MANY_OPS, GRPC_INVALID_ARGUMENT,                                                  \
      "etcdserver: too many operations in txn request")                                            \
    X(STATUS_DUPLICATE_KEY, GRPC_INVALID_ARGUMENT,                                                 \
      "etcdserver: duplicate key given in txn request")                                            \
    X(STATUS_INVALID_SORT, GRPC_INVALID_ARGUMENT, "etcdserver: invalid sort option")               \
    X(STATUS_TOO_LARGE, GRPC_INVALID_ARGUMENT, "etcdserver: request is too large")                 \
    X(STATUS_BAD_CLIENT_VERSION, GRPC_INVALID_ARGUMENT, "etcdserver: invalid client api version")  \
    X(STATUS_TOO_DEEP, GRPC_INVALID_ARGUMENT, "etcdserver: request is nested too deeply")          \
    X(STATUS_MALFORMED, GRPC_INTERNAL,                                                             \
      "grpc: failed to unmarshal the received message: the bytes are no such message")             \
    X(STATUS_COMPACTED, GRPC_OUT_OF_RANGE,                                                         \
      "etcdserver: mvcc: required revision has been compacted")                                    \
    X(STATUS_FUTURE_REVISION, GRPC_OUT_OF_RANGE,                                                   \
      "etcdserver: mvcc: required revision is a future revision")                                  \
    X(STATUS_LEASE_TTL_TOO_LARGE, GRPC_OUT_OF_RANGE, "etcdserver: too large lease TTL")            \
    X(STATUS_LEASE_NOT_FOUND, GRPC_NOT_FOUND, "etcdserver: requested lease not found")             \
    X(STATUS_MEMBER_NOT_FOUND, GRPC_NOT_FOUND, "etcdserver: member not found")                     \
    X(STATUS_LEASE_EXISTS, GRPC_FAILED_PRECONDITION, "etcdserver: lease already exists")           \
    X(STATUS_NOT_LEADER, GRPC_FAILED_PRECONDITION, "etcdserver: not leader")                       \
    X(STATUS_BAD_TRANSFEREE, GRPC_FAILED_PRECONDITION, "etcdserver: bad leader transferee")        \
    X(STATUS_NO_SPACE, GRPC_RESOURCE_EXHAUSTED, "etcdserver: mvcc: database space exceeded")       \
    X(STATUS_ANSWER_TOO_LARGE, GRPC_RESOURCE_EXHAUSTED,                                            \
      "grpc: trying to send message larger than max; ask for less by limit")                       \
    X(STATUS_TOO_MANY, GRPC_RESOURCE_EXHAUSTED, "etcdserver: too many requests")                   \
    X(STATUS_CORRUPT, GRPC_DATA_LOSS, "etcdserver: corrupt cluster")                               \
    X(STATUS_NO_LEADER, GRPC_UNAVAILABLE, "etcdserver: no leader")                                 \
    X(STATUS_LEADER_CHANGED, GRPC_UNAVAILABLE, "etcdserver: leader changed")                       \
    X(STATUS_TIMEOUT, GRPC_UNAVAILABLE, "etcdserver: request timed out")                           \
    X(STATUS_TIMEOUT_LEADER_LOST, GRPC_UNAVAILABLE,                                                \
      "etcdserver: request timed out, possibly due to previous leader failure")                    \
    X(STATUS_TIMEOUT_LINK_LOST, GRPC_UNAVAILABLE,                                                  \
      "etcdserver: request timed out, possibly due to connection lost")                            \
    X(STATUS_TIMEOUT_APPLY, GRPC_UNAVAILABLE,                                                      \
      "etcdserver: request timed out, waiting for the applied index took too long")                \
    X(STATUS_TIMEOUT_TRANSFER, GRPC_UNKNOWN,                                                       \
      "etcdserver: request timed out, leader transfer took too long")                              \
    X(STATUS_STOPPED, GRPC_UNAVAILABLE, "etcdserver: server stopped")                              \
    X(STATUS_WATCH_CANCELED, GRPC_CANCELLED, "etcdserver: watch canceled")                         \
    X(STATUS_UNKNOWN_SERVICE, GRPC_NOT_FOUND, "unknown service")                                   \
    X(STATUS_NOT_BUILT, GRPC_UNIMPLEMENTED, "kvd does not have this yet")                          \
    X(STATUS_INTERNAL, GRPC_INTERNAL, "kvd: the request met a bug; its log says more")

enum service_status {
#define X(name, code, text) name,
    SERVICE_STATUSES(X)
#undef X
        SERVICE_STATUS_COUNT
};

/* gRPC's number and the sentence. Context of both: never parks. */
int service_status_code(enum service_status status);
const char *service_status_text(enum service_status status);

/* How a code of the member's or the store's (kv/member/errors.h, kv/store/store.h), or of the field
 * reader, or -errno, is told to a client. 0 is STATUS_OK. */
enum service_status service_status_of(int err);
