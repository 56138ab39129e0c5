/* kv/member/stages.h: when the entries of one batch passed their stages. A span is made as raft
 * appends a batch; the WAL goroutine writes B and C, the first sender D; when the entries are handed
 * to apply the times are copied for whoever waits for them.
 *
 * Who touches what: first, last, appended_ns: raft goroutine, before the span is shared. written_ns,
 * synced_ns: WAL goroutine, before the completion is posted. sent_ns: senders, by CAS from 0. The list:
 * raft goroutine only. */
#pragma once
#include <stdatomic.h>
#include <stdint.h>

struct stage_span {
    struct stage_span *next;
    _Atomic uint32_t refs;
    uint64_t first, last;
    int64_t appended_ns, written_ns, synced_ns;
    _Atomic int64_t sent_ns;
};

/* Spans of entries not yet handed to apply, in order of index: at most STAGE_SPANS, the oldest go. */
enum { STAGE_SPANS = 4096 };
struct stage_spans {
    struct stage_span *oldest, *newest;
    uint32_t count;
};

/* The times of a run of entries up to and including `last`: what an apply batch carries. */
struct stage_times {
    uint64_t last;
    int64_t appended_ns, written_ns, synced_ns, sent_ns;
};

/* A span of [first, last]; spans of entries that it replaces go. The list holds one reference, the
 * caller gets one. */
struct stage_span *stage_spans_begin(struct stage_spans *s, uint64_t first, uint64_t last,
                                     int64_t now_ns);
struct stage_span *stage_span_ref(struct stage_span *span);
void stage_span_unref(struct stage_span *span);                // NULL is allowed
void stage_span_sent(struct stage_span *span, int64_t now_ns); // NULL is allowed

/* Take the times of entries up to `last` off the list: fills at most `cap` and returns how many.
 * Spans that are only partly covered stay. */
uint32_t stage_spans_take(struct stage_spans *s, uint64_t last, struct stage_times *out,
                          uint32_t cap);
void stage_spans_clear(struct stage_spans *s);
