/* kv/service/status.c: the one table where a code of ours becomes gRPC's code and etcd's sentence. */
#include "kv/service/status.h"
#include "kv/member/member.h"
#include "kv/store/store.h"
#include "proto/fields.h"
#include "proto/grpc.h"
#include <assert.h>
#include <errno.h>

static const struct {
    int code;
    const char *text;
} table[SERVICE_STATUS_COUNT] = {
#define X(name, code, text) [name] = {code, text},
    SERVICE_STATUSES(X)
#undef X
};

int service_status_code(enum service_status status)
{
    assert(status < SERVICE_STATUS_COUNT);
    return table[status].code;
}

const char *service_status_text(enum service_status status)
{
    assert(status < SERVICE_STATUS_COUNT);
    return table[status].text;
}

static const struct {
    int err;
    enum service_status status;
} meanings[] = {
    {0, STATUS_OK},
    {MEMBER_NO_LEADER, STATUS_NO_LEADER},
    {MEMBER_LEADER_CHANGED, STATUS_LEADER_CHANGED},
    {MEMBER_TIMEOUT, STATUS_TIMEOUT},
    {MEMBER_TIMEOUT_LEADER_LOST, STATUS_TIMEOUT_LEADER_LOST},
    {MEMBER_TIMEOUT_LINK_LOST, STATUS_TIMEOUT_LINK_LOST},
    {MEMBER_TIMEOUT_APPLY, STATUS_TIMEOUT_APPLY},
    {MEMBER_TOO_LARGE, STATUS_TOO_LARGE},
    {MEMBER_TOO_MANY, STATUS_TOO_MANY},
    {MEMBER_NO_SPACE, STATUS_NO_SPACE},
    {MEMBER_STOPPED, STATUS_STOPPED},
    {MEMBER_NOT_LEADER, STATUS_NOT_LEADER},
    {MEMBER_NOT_MEMBER, STATUS_STOPPED},
    {MEMBER_STALE_LEADER, STATUS_LEADER_CHANGED},
    {MEMBER_NO_LEASE, STATUS_LEASE_NOT_FOUND},
    {MEMBER_NO_KNOB, STATUS_BAD_KNOB},
    {MEMBER_BAD_KNOB, STATUS_BAD_KNOB},
    {MEMBER_BAD_TRANSFEREE, STATUS_BAD_TRANSFEREE},
    {STORE_COMPACTED, STATUS_COMPACTED},
    {STORE_FUTURE_REVISION, STATUS_FUTURE_REVISION},
    {STORE_KEY_EMPTY, STATUS_KEY_EMPTY},
    {STORE_KEY_NOT_FOUND, STATUS_KEY_NOT_FOUND},
    {STORE_VALUE_PROVIDED, STATUS_VALUE_PROVIDED},
    {STORE_LEASE_PROVIDED, STATUS_LEASE_PROVIDED},
    {STORE_DUPLICATE_KEY, STATUS_DUPLICATE_KEY},
    {STORE_TOO_MANY_OPS, STATUS_TOO_MANY_OPS},
    {STORE_BAD_SORT, STATUS_INVALID_SORT},
    {STORE_LEASE_NOT_FOUND, STATUS_LEASE_NOT_FOUND},
    {STORE_LEASE_EXISTS, STATUS_LEASE_EXISTS},
    {STORE_LEASE_TTL_TOO_LARGE, STATUS_LEASE_TTL_TOO_LARGE},
    {STORE_LEASE_EXPIRED, STATUS_LEASE_NOT_FOUND},
    {STORE_NOT_PRIMARY, STATUS_LEADER_CHANGED},
    {STORE_STALE_TERM, STATUS_LEADER_CHANGED},
    {STORE_NO_SPACE, STATUS_NO_SPACE},
    {STORE_CORRUPT, STATUS_CORRUPT},
    {STORE_MALFORMED, STATUS_MALFORMED},
    {STORE_TOO_DEEP, STATUS_TOO_DEEP},
    {STORE_TOO_LARGE, STATUS_ANSWER_TOO_LARGE},
    {STORE_TIMEOUT, STATUS_TIMEOUT_APPLY},
    {STORE_CLOSED, STATUS_STOPPED},
    {FIELDS_MALFORMED, STATUS_MALFORMED},
    {FIELDS_BAD_UTF8, STATUS_MALFORMED},
    {FIELDS_TOO_DEEP, STATUS_TOO_DEEP},
    {FIELDS_TOO_BIG, STATUS_TOO_LARGE},
    {-ECANCELED, STATUS_CANCELED},
    {-ETIMEDOUT, STATUS_DEADLINE},
    {-ESHUTDOWN, STATUS_STOPPED}, // a stream while the server drains
};

enum service_status service_status_of(int err)
{
    for (size_t i = 0; i < sizeof(meanings) / sizeof(meanings[0]); i++)
        if (meanings[i].err == err)
            return meanings[i].status;
    return STATUS_INTERNAL;
}
