/* kv/member/core_item.h: what the raft goroutine's mailbox carries. Each kind is the first field of a
 * bigger struct. */
#pragma once
#include <rt/sync.h>
#include <stddef.h>
#include <stdint.h>

enum core_kind {
    CORE_PROPOSAL,      // struct proposal
    CORE_READ,          // struct read_wait
    CORE_MESSAGE,       // struct core_message
    CORE_PERSISTED,     // struct persist_job: came back from the WAL
    CORE_INSTALLED,     // struct apply_job: an image is in place, its marker may be written
    CORE_FETCHED,       // struct fetch_job
    CORE_IMAGE_READY,   // struct core_event: a snapshot can be sent
    CORE_UNREACHABLE,   // struct core_event
    CORE_SNAPSHOT_SENT, // struct core_event
    CORE_TRANSFER,      // struct core_event
    CORE_STOP,          // struct core_event
    CORE_WINDOW,        // struct core_event: `peer` is the new max-inflight-msgs
    CORE_END,           // struct core_event
};

struct core_item {
    struct rt_mail mail; // first: a mail is an item
    enum core_kind kind;
};

static inline struct core_item *core_item_of(struct rt_mail *mail)
{
    return (struct core_item *)mail;
}
