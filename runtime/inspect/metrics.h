/* inspect/metrics.h: what the registry offers inside the runtime beyond rt/metrics.h. */
#pragma once
#include "rt/metrics.h"

/* A counter computed when read; fn never parks. */
void metrics_counter_fn(struct rt_metrics *m, const char *name, const char *labels,
                        const char *help, double (*fn)(void *arg), void *arg);
