/* inspect/trace_writer.h: what an M keeps for the execution tracer (trace.h). Of its own, as gmp.h
 * embeds it. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct trace_chunk;

struct trace_writer {
    _Atomic uint32_t writing;  // itself, others look: (A), (B) of trace.c
    uint32_t readied;          // itself: readies, counted to time one of some
    uint32_t session;          // itself: of `chunk`
    int32_t tid;               // itself: of the thread, from its first event on
    bool listed;               // itself: it is in trace.c's list
    struct trace_chunk *chunk; // itself: where its next event goes; NULL: nowhere yet
    struct trace_writer *next; // trace.c's list; set before it is published, then const
};
