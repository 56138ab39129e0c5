/* rt/metrics.h: counters, gauges and histograms in Prometheus' sense. A registry hangs off its
 * member (no global); metrics are made at start and never removed. Updates are relaxed atomics.
 * Context of all: any thread; never parks (functions that are called when a metric is read, neither). */
#pragma once
#include "rt/alloc.h"
#include <stdatomic.h>
#include <stdint.h>

struct rt_metrics;
struct rt_metrics *rt_metrics_new(void);
void rt_metrics_free(struct rt_metrics *m);

struct rt_counter { // also used for gauges
    _Atomic int64_t value;
};
static inline void rt_counter_add(struct rt_counter *c, int64_t n)
{
    atomic_fetch_add_explicit(&c->value, n, memory_order_relaxed);
}
static inline void rt_gauge_set(struct rt_counter *c, int64_t v)
{
    atomic_store_explicit(&c->value, v, memory_order_relaxed);
}
static inline int64_t rt_counter_get(const struct rt_counter *c)
{
    return atomic_load_explicit(&c->value, memory_order_relaxed);
}

/* `labels` is the inside of the braces, in alphabetical order ("To=\"8e9e\""), or "". Strings are
 * copied. The same name and labels give the same metric. Never NULL. */
struct rt_counter *rt_metrics_counter(struct rt_metrics *m, const char *name, const char *labels,
                                      const char *help);
struct rt_counter *rt_metrics_gauge(struct rt_metrics *m, const char *name, const char *labels,
                                    const char *help);
/* A gauge computed when read; fn never parks. */
void rt_metrics_gauge_fn(struct rt_metrics *m, const char *name, const char *labels,
                         const char *help, double (*fn)(void *arg), void *arg);

/* Buckets: `count` upper bounds in seconds, start * factor^i. */
struct rt_histogram;
struct rt_histogram *rt_metrics_histogram(struct rt_metrics *m, const char *name,
                                          const char *labels, const char *help, double start,
                                          double factor, int count);
void rt_histogram_observe_ns(struct rt_histogram *h, int64_t ns); // never parks
void rt_histogram_observe(struct rt_histogram *h, double value);

/* A histogram kept in HdrHistogram's layout (rt/hdr.h), for quantiles and for /metrics, where it shows
 * `count` upper bounds in nanoseconds, rising (borrowed: they outlive m). m owns it. */
struct rt_hdr;
struct rt_hdr *rt_metrics_hdr(struct rt_metrics *m, const char *name, const char *labels,
                              const char *help, const int64_t *bounds_ns, int count);

/* The text format 0.0.4, appended; families in order of name. */
void rt_metrics_write(struct rt_metrics *m, struct rt_string *out);
/* The runtime's own (goroutines, switches, preemptions, steals, hand-offs, ...) into m. */
void rt_metrics_add_runtime(struct rt_metrics *m);
