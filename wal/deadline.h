/* wal/deadline.h: how long a sync may take, and what is said and counted when it takes longer. */
#pragma once
#include "wal/wal.h"
#include <stdatomic.h>

struct wal_deadline {
    _Atomic int64_t timeout_ns; // the knob; 0: group commit, held to WAL_SLOW_SYNC_NS
    _Atomic uint64_t overruns;  // of a timeout above 0
    _Atomic bool slow; // the disk: WAL_SLOW_RUN overdue syncs in a row, until as many in time
    uint32_t late_run; // WAL goroutine only, like all below
    uint32_t timely_run;
    struct rt_log_gate gate;
    struct rt_log *log;
    struct rt_counter *overruns_total; // NULL: no metrics
};

/* One sync is done: entries of `segment` went with it. Context: WAL goroutine; never parks. */
void wal_deadline_judge(struct wal_deadline *d, const struct wal_times *times, const char *segment,
                        uint32_t entries);
