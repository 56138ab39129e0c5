/* inspect/hdr.h: a histogram of rt/hdr.h as Prometheus' text. */
#pragma once
#include "rt/hdr.h"

/* Lines for buckets (count upper bounds, in ns), sum and count. A bound inside a step counts the steps
 * that end at or below it.  Context: never parks. */
void hdr_write(const struct rt_hdr *h, const char *name, const char *labels,
               const int64_t *bounds_ns, int count, struct rt_string *out);

/* A histogram with counters for the first `procs` Ps made ahead; and recording that never allocates:
 * who has no counters of its own shares those of all others.  Context: as rt_hdr_record. */
struct rt_hdr *hdr_new_ahead(unsigned procs);
void hdr_record_ahead(struct rt_hdr *h, int64_t ns);
