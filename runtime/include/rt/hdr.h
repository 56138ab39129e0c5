/* rt/hdr.h: histograms of latencies, in HdrHistogram's layout: each doubling of the value has the
 * same number of equal steps, so the error is relative, and small everywhere.
 *
 *     range      0 to about 137 s, in nanoseconds; what is above counts as the highest step, what
 *                is below 0 as 0. The greatest value and the sum are kept as they are.
 *     steps      8 ns up to 2,048 ns, then 128 to a doubling: a step is at most 1/128 of the value
 *                it holds, and a quantile names the middle of its step: an error of at most 0.4 %
 *                from 1 us on (4 ns below).
 *
 * Two kinds. `rt_hdr` is written by anybody at once without a lock: each P has counters of its own,
 * made at its first record. `rt_hdr_counts` is a plain copy with one owner: read it out of an
 * rt_hdr, or record into it directly; merge, subtract, ask quantiles, send it.
 * Context of all: any thread; never parks. */
#pragma once
#include "rt/alloc.h"
#include <stdbool.h>
#include <stdint.h>

enum {
    RT_HDR_UNIT_BITS = 3, // the finest step: 8 ns
    RT_HDR_STEP_BITS = 7, // 128 steps to a doubling
    RT_HDR_VALUE_BITS = 37,
    RT_HDR_STEPS = 1 << RT_HDR_STEP_BITS,
    RT_HDR_DOUBLINGS = RT_HDR_VALUE_BITS - RT_HDR_UNIT_BITS - RT_HDR_STEP_BITS,
    RT_HDR_BUCKETS = (RT_HDR_DOUBLINGS + 1) * RT_HDR_STEPS, // 3,584
};

/* ---- Written by many ---- */

struct rt_hdr;
struct rt_hdr *rt_hdr_new(void);
void rt_hdr_free(struct rt_hdr *h); // NULL is allowed
/* Two additions to the calling P's own counters. */
void rt_hdr_record(struct rt_hdr *h, int64_t ns);
/* The same, `times` over, for ns[i] in h[i], of `count`; what is below 0 is left out. */
void rt_hdr_record_each(struct rt_hdr *const *h, const int64_t *ns, unsigned count, uint64_t times);

/* ---- With one owner ---- */

/* About 28 KiB: make it with rt_hdr_counts_new, never on a stack. */
struct rt_hdr_counts {
    uint64_t count; // the sum of buckets
    int64_t sum_ns; // exact
    int64_t min_ns; // exact when recorded here; out of an rt_hdr, the lowest step's lower edge
    int64_t max_ns; // exact; after a subtraction, the highest step's upper edge
    uint64_t buckets[RT_HDR_BUCKETS];
};
struct rt_hdr_counts *rt_hdr_counts_new(void); // empty; rt_free
void rt_hdr_counts_reset(struct rt_hdr_counts *c);
/* Record `times` observations of one value. */
void rt_hdr_counts_add(struct rt_hdr_counts *c, int64_t ns, uint64_t times);
void rt_hdr_counts_merge(struct rt_hdr_counts *c, const struct rt_hdr_counts *other);
/* c becomes what was recorded after `earlier`, an older reading of the same histogram. Returns
 * false, with c unchanged, when it is not one (the writer was started anew in between). */
bool rt_hdr_counts_subtract(struct rt_hdr_counts *c, const struct rt_hdr_counts *earlier);

/* Add what `h` holds now to c. Writers go on: each observation is in it whole or not at all, but
 * for the sum, which may lack the newest ones. */
void rt_hdr_read(const struct rt_hdr *h, struct rt_hdr_counts *c);

/* The value that the fraction q (0 to 1) of the observations does not exceed, to the middle of its
 * step and never above max_ns; 0 when there is none. */
int64_t rt_hdr_quantile(const struct rt_hdr_counts *c, double q);
double rt_hdr_mean(const struct rt_hdr_counts *c);   // exact, ns; 0 when empty
double rt_hdr_stddev(const struct rt_hdr_counts *c); // of the population, from the steps' middles
/* How many observations lie in steps that end at or below ns: exact when ns is the edge of a step. */
uint64_t rt_hdr_count_upto(const struct rt_hdr_counts *c, int64_t ns);

/* The step of a value; the edges of a step: low <= value < high. */
uint32_t rt_hdr_bucket(int64_t ns);
int64_t rt_hdr_bucket_low(uint32_t bucket);
int64_t rt_hdr_bucket_high(uint32_t bucket);

/* ---- On the wire ----
 *
 *     version (1), RT_HDR_UNIT_BITS, RT_HDR_STEP_BITS, RT_HDR_VALUE_BITS, count, sum, min, max,
 *     then for each step that is not empty: how many empty ones before it, its count; all varints. */
void rt_hdr_encode(const struct rt_hdr_counts *c, struct rt_string *out);
/* Add the histogram in `bytes` to c. 0, or -EINVAL with c unchanged: not one, cut short, or of
 * another layout. Accepts any bytes. */
int rt_hdr_decode(struct rt_bytes bytes, struct rt_hdr_counts *c);
