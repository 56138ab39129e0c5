/* inspect/trace_record.h: what a recording is made of, for trace.c, which fills it, and
 * trace_json.c, which tells it. */
#pragma once
#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum trace_kind {
    TRACE_GO,           // g: the child, value: low half of the parent's id, arg: its name
    TRACE_READY,        // g: who is readied, value: low half of the id of who did it (0: none)
    TRACE_RUN,          // g, arg: name, value: length of the P's queue
    TRACE_STOP,         // g, arg: name, how
    TRACE_BLOCK,        // g, arg: name
    TRACE_UNBLOCK,      // g, arg: name; p is TRACE_NO_P when it has to wait for one
    TRACE_STEAL,        // arg: the victim's index, value: how many
    TRACE_HAND_OFF,     // p: the one that was taken
    TRACE_WAIT,         // value: 1 when it polls
    TRACE_WOKEN,        //
    TRACE_EVENT,        // g, arg: name of the program's
    TRACE_REGION_BEGIN, // the same
    TRACE_REGION_END,   // the same
};

enum { TRACE_NO_P = 0xffff, TRACE_HOW = 128 };

struct trace_event {
    int64_t at_ns;
    uint64_t g;
    uint64_t arg;
    uint32_t value;
    uint16_t p;
    uint8_t kind; // enum trace_kind
    uint8_t how;  // TRACE_STOP: a park_reason, or TRACE_HOW + an enum left
};
static_assert(sizeof(struct trace_event) == 32, "what rt/trace.h says of its bytes");

enum { TRACE_CHUNK_BYTES = 32 << 10 };

/* A piece of a recording that one M fills, in order of time. */
struct trace_chunk {
    int32_t tid;
    uint32_t used; // events; the M's while it records
    uint64_t unused[3];
    struct trace_event events[(TRACE_CHUNK_BYTES - 32) / 32];
};
static_assert(sizeof(struct trace_chunk) == TRACE_CHUNK_BYTES, "chunks tile the pool");

enum { TRACE_CHUNK_EVENTS = (TRACE_CHUNK_BYTES - 32) / 32 };

/* Who was on a P when the recording began. */
struct trace_initial {
    uint64_t g; // 0: nobody
    const char *name;
};

struct rt_trace {
    struct trace_chunk *chunks;
    uint32_t chunk_cap;
    _Atomic uint32_t chunk_count; // may pass chunk_cap: that many asked
    uint32_t session;
    int64_t started_ns, stopped_ns;
    _Atomic int64_t full_ns;       // when the bytes were used up; 0: they were not
    unsigned procs;                // when it began; there may be more, and fewer, later
    struct trace_initial *initial; // procs of them
};
