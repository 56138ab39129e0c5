/* inspect/metrics.h: what the registry offers inside the runtime beyond rt/metrics.h. */
#pragma once
#include "rt/metrics.h"

/* A counter computed when read; fn never parks. */
void metrics_counter_fn(struct rt_metrics *m, const char *name, const char *labels,
                        const char *help, double (*fn)(void *arg), void *arg);

/* A histogram that somebody else keeps and that stays as long as the registry. */
void metrics_hdr_of(struct rt_metrics *m, const char *name, const char *labels, const char *help,
                    struct rt_hdr *h, const int64_t *bounds_ns, int count);
