/* kv/member/command.h: one entry of the log: a small header of ours, then the client's request as it
 * came off the wire. It is made once; the same bytes go to the WAL, to the followers and to apply.
 *
 *     offset  size  field (little-endian)
 *          0     1  format        1
 *          1     1  kind          enum store_command_kind
 *          2     1  flags         1: only the leader of `term` could decide this
 *          3     5  zero
 *          8     8  term          of the member that proposed, as it proposed
 *         16     8  proposer      its member id
 *         24     8  request       its name for the request, never used again (propose.h)
 *         32     8  chosen        an id drawn by the proposer (a lease's), so that apply draws none
 *         40     8  auth_revision of the caller's identity
 *         48     -  body
 *
 * An entry without any bytes is raft's own (a new leader's first). */
#pragma once
#include <rt/alloc.h>
#include <stdbool.h>
#include <stdint.h>

enum { COMMAND_HEADER_BYTES = 48, COMMAND_FORMAT = 1 };

struct command {
    uint32_t kind;
    bool leader_only; // refused at apply unless the entry's own term is `term`
    uint64_t term;
    uint64_t proposer;
    uint64_t request;
    uint64_t chosen;
    uint64_t auth_revision;
    struct rt_bytes body; // a view of the entry
};

/* The one copy of a request: header and body in a fresh buffer of one reference. NULL: out of memory. */
struct rt_buf *command_encode(const struct command *c);

/* 0, or MEMBER_MALFORMED: bytes that no member of this format wrote. Views `entry`. */
int command_decode(struct rt_bytes entry, struct command *out);

/* Stamped before anybody but the proposer sees the entry: the request's name when it has a slot, the
 * term by the raft goroutine when it proposes. */
void command_set_request(struct rt_buf *entry, uint64_t request);
void command_set_term(struct rt_buf *entry, uint64_t term);

/* The body of a STORE_CLUSTER command: a record and its key, in protobuf's form (1: key, 2: record). */
void command_put_record(struct rt_string *body, struct rt_bytes key, struct rt_bytes record);
int command_get_record(struct rt_bytes body, struct rt_bytes *key, struct rt_bytes *record);
