/* rt/trace.h: the execution tracer: what each P and each thread did when, and who woke whom. It is
 * off until somebody asks, on and off live, and writes the JSON of Chrome's trace viewer, which
 * https://ui.perfetto.dev and chrome://tracing open.
 *
 *     rt_trace_start(8 << 20, &why);
 *     ...
 *     struct rt_trace *trace;
 *     if (rt_trace_stop(&trace, &why) == 0) {
 *         rt_trace_write(trace, append_to_file, file);
 *         rt_trace_free(trace);
 *     }
 *
 * One recording at a time in a process. While none runs a hook costs a load and a branch. */
#pragma once
#include "rt/why.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct rt_trace; // what was recorded

enum { RT_TRACE_MIN_BYTES = 1 << 20, RT_TRACE_EVENT_BYTES = 32 };

/* Begin to record, into at most max_bytes (an event takes 32; RT_TRACE_MIN_BYTES to 1 GiB). When they
 * are used up recording ends by itself, so that what is there has no holes. 0; -EBUSY: one runs
 * already; -EINVAL: max_bytes; -ENOMEM.  Context: goroutine; never parks. */
int rt_trace_start(size_t max_bytes, struct why *why);

/* End the recording and give it out; the caller frees it. NULL: throw it away. 0, or -ENOENT when
 * none runs.  Context: goroutine; never parks. */
int rt_trace_stop(struct rt_trace **out, struct why *why);

/* rt_trace_start was called and rt_trace_stop not yet.  Context: any thread; never parks. */
bool rt_trace_is_on(void);

struct rt_trace_summary {
    int64_t duration_ns; // from start to stop, or to where the bytes were used up
    uint64_t events;
    bool full; // it ended early: max_bytes were used up
};
void rt_trace_summary(const struct rt_trace *t, struct rt_trace_summary *out); // never parks

/* The recording as JSON, in pieces of at most 64 KiB. Ends early with what `sink` returns when that
 * is not 0, or with -ENOMEM.  Context: goroutine; parks where sink does. */
int rt_trace_write(const struct rt_trace *t, int (*sink)(void *arg, const char *bytes, size_t len),
                   void *arg);
void rt_trace_free(struct rt_trace *t); // NULL is allowed; never parks

/* Marks of the program's own, on the calling goroutine: a moment, or a region (which may park, and
 * may hold others). `name` outlives the recording (a literal). Nothing while no trace is taken.
 * Context: never parks. */
void rt_trace_event(const char *name);
void rt_trace_region_begin(const char *name);
void rt_trace_region_end(const char *name);
