/* mem/figures.h: the allocator's figures as metrics. For inspect/. */
#pragma once
struct rt_metrics;

/* Into m: read when the metrics are.  Context: goroutine; never parks. */
void mem_metrics_add(struct rt_metrics *m);
