/* inspect/histogram.h: counts by exponential buckets, updated by anybody without a lock. A reader
 * sees each count at some instant, not all at the same one; their sum is what it reports as total,
 * so that the line for +Inf and the total always agree. */
#pragma once
#include "rt/metrics.h"

enum { HISTOGRAM_MAX_BOUNDS = 64 };

/* Bounds start * factor^i for i < count.  Context: any thread; never parks. */
struct rt_histogram *histogram_new(double start, double factor, int count);
void histogram_free(struct rt_histogram *h);

/* Lines for bucket, sum and count.  Context: never parks. */
void histogram_write(const struct rt_histogram *h, const char *name, const char *labels,
                     struct rt_string *out);
