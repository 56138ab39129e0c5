/* kv/member/errors.h: why a member did not do what it was asked to, one line each: name, number,
 * words. The words are for logs; the client's gRPC code and etcd's exact sentence are chosen in
 * kv/service/status.c. */
#pragma once

#define MEMBER_ERRORS(X)                                                                           \
    X(MEMBER_NO_LEADER, -6001, "there is no leader")                                               \
    X(MEMBER_LEADER_CHANGED, -6002, "the leader changed before the request was done")              \
    X(MEMBER_TIMEOUT, -6003, "the deadline passed")                                                \
    X(MEMBER_TIMEOUT_LEADER_LOST, -6004, "the deadline passed; the leader was lost meanwhile")     \
    X(MEMBER_TIMEOUT_LINK_LOST, -6005, "the deadline passed; the link to the leader was lost")     \
    X(MEMBER_TIMEOUT_APPLY, -6006, "the deadline passed while waiting for entries to be applied")  \
    X(MEMBER_TOO_LARGE, -6007, "the request is larger than max-request-bytes")                     \
    X(MEMBER_TOO_MANY, -6008, "too many requests wait already")                                    \
    X(MEMBER_NO_SPACE, -6009, "the database's quota is used up")                                   \
    X(MEMBER_STOPPED, -6010, "the member is stopping")                                             \
    X(MEMBER_NOT_LEADER, -6011, "this member is not the leader")                                   \
    X(MEMBER_NOT_MEMBER, -6012, "this member was removed from its cluster")                        \
    X(MEMBER_STALE_LEADER, -6013, "only the leader of another term could decide this")             \
    X(MEMBER_MALFORMED, -6014, "bytes from a peer or the disk are malformed")                      \
    X(MEMBER_REFUSED, -6015, "the data directory or the cluster does not fit; `why` says how")     \
    X(MEMBER_BAD_CONFIG, -6016, "the configuration does not hold together; `why` says where")      \
    X(MEMBER_NO_LEASE, -6017, "there is no such lease")                                            \
    X(MEMBER_BAD_TRANSFEREE, -6018, "leadership cannot go to that member")                         \
    X(MEMBER_NO_KNOB, -6019, "there is no such knob")                                              \
    X(MEMBER_BAD_KNOB, -6020, "the knob does not take that value; `why` says which it takes")

enum member_error {
#define X(name, number, words) name = number,
    MEMBER_ERRORS(X)
#undef X
};

/* The words of `err`, one of the above. Context: never parks. */
const char *member_error_words(int err);
