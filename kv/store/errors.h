/* kv/store/errors.h: why the store did not do what it was asked to, one line each: name, number,
 * words. The words are for logs; the client's gRPC code and etcd's exact sentence are chosen in
 * kv/service/status.c. */
#pragma once

#define STORE_ERRORS(X)                                                                            \
    X(STORE_COMPACTED, -5201, "the revision has been compacted")                                   \
    X(STORE_FUTURE_REVISION, -5202, "the revision is not there yet")                               \
    X(STORE_KEY_EMPTY, -5203, "a key is empty")                                                    \
    X(STORE_KEY_NOT_FOUND, -5204,                                                                  \
      "ignore_value or ignore_lease on a key that does not exist, or "                             \
      "an operation of a transaction without content")                                             \
    X(STORE_VALUE_PROVIDED, -5205, "ignore_value with a value")                                    \
    X(STORE_LEASE_PROVIDED, -5206, "ignore_lease with a lease")                                    \
    X(STORE_DUPLICATE_KEY, -5207, "a key is changed twice in one transaction")                     \
    X(STORE_TOO_MANY_OPS, -5208, "a transaction has too many operations")                          \
    X(STORE_BAD_SORT, -5209, "an unknown sort order or target")                                    \
    X(STORE_LEASE_NOT_FOUND, -5210, "there is no such lease")                                      \
    X(STORE_LEASE_EXISTS, -5211, "the lease exists already")                                       \
    X(STORE_LEASE_TTL_TOO_LARGE, -5212, "the lease's time to live is too long")                    \
    X(STORE_LEASE_EXPIRED, -5213, "the lease has expired and waits for its revocation")            \
    X(STORE_NOT_PRIMARY, -5214, "this member does not keep the leases' clock")                     \
    X(STORE_STALE_TERM, -5215, "only the leader of another term could decide this")                \
    X(STORE_NO_SPACE, -5216, "the quota is used up: the NOSPACE alarm is on")                      \
    X(STORE_CORRUPT, -5217, "the CORRUPT alarm is on")                                             \
    X(STORE_MALFORMED, -5218, "the request's bytes are not the message they should be")            \
    X(STORE_TOO_DEEP, -5219, "transactions are nested too deep")                                   \
    X(STORE_TOO_LARGE, -5220, "the answer would be larger than allowed")                           \
    X(STORE_FORMAT, -5221, "the database has a format this program does not know")                 \
    X(STORE_DAMAGED, -5222, "the database or an image of it is damaged; `why` says where")         \
    X(STORE_TIMEOUT, -5223, "the deadline passed")                                                 \
    X(STORE_CLOSED, -5224, "the store or the stream is closing")                                   \
    X(STORE_WATCH_DUPLICATE_ID, -5225, "the watch id is in use on this stream")                    \
    X(STORE_WATCH_EMPTY_RANGE, -5226, "the watch's range is empty")                                \
    X(STORE_WATCH_TOO_MANY, -5227, "too many watches on this stream")                              \
    X(STORE_IMAGE_OLD, -5228, "the image is older than what was applied")                          \
    X(STORE_BUSY, -5229, "an image is being installed already")

enum store_error {
#define X(name, number, words) name = number,
    STORE_ERRORS(X)
#undef X
};

/* The words of `err`, one of the above. Context: never parks. */
const char *store_error_words(int err);
