/* inspect/runtime_metrics.c: the scheduler's own numbers as metrics. Each is read when the metrics
 * are, so that the scheduler pays nothing for them. */
#include "rt/inspect.h"
#include "rt/log.h"
#include "rt/time.h"
#include "runtime/inspect/latency.h"
#include "runtime/inspect/metrics.h"
#include "runtime/mem/figures.h"
#include <stddef.h>
#include <string.h>

struct stat_metric {
    const char *name, *help;
    size_t offset; // of a uint64_t in struct rt_stats
};

static double read_stat(void *arg)
{
    const struct stat_metric *metric = arg;
    struct rt_stats stats;
    uint64_t value;
    rt_stats(&stats);
    memcpy(&value, (const char *)&stats + metric->offset, sizeof(value));
    return (double)value;
}

static double read_log_dropped(void *arg)
{
    (void)arg;
    return (double)rt_log_dropped();
}

/* From a switch that was waited for a moment to a second. */
static const int64_t latency_bounds_ns[] = {
    1000,       2500,       5000,       10 * 1000,   25 * 1000,   50 * 1000,
    100 * 1000, 250 * 1000, 500 * 1000, RT_MS,       2500 * 1000, 5 * RT_MS,
    10 * RT_MS, 25 * RT_MS, 50 * RT_MS, 100 * RT_MS, 250 * RT_MS, RT_SECOND,
};

void rt_metrics_add_runtime(struct rt_metrics *m)
{
    static const struct stat_metric threads = {"kvd_runtime_threads", "Threads of the scheduler.",
                                               offsetof(struct rt_stats, threads)};
    static const struct stat_metric goroutines = {"go_goroutines",
                                                  "Number of goroutines that currently exist.",
                                                  offsetof(struct rt_stats, goroutines)};
    static const struct stat_metric counters[] = {
        {"kvd_runtime_spawned_total", "Goroutines started.", offsetof(struct rt_stats, spawned)},
        {"kvd_runtime_switches_total", "Switches to a goroutine.",
         offsetof(struct rt_stats, switches)},
        {"kvd_runtime_preempted_slice_total", "Goroutines preempted at the end of their slice.",
         offsetof(struct rt_stats, preempted_slice)},
        {"kvd_runtime_preempted_need_total", "Goroutines preempted because others were due.",
         offsetof(struct rt_stats, preempted_need)},
        {"kvd_runtime_preempt_refused_total", "Preemption signals that came at an unsafe place.",
         offsetof(struct rt_stats, preempt_refused)},
        {"kvd_runtime_steals_total", "Times a processor stole work.",
         offsetof(struct rt_stats, steals)},
        {"kvd_runtime_steals_empty_total", "Of these, by one whose own queue was empty.",
         offsetof(struct rt_stats, steals_empty)},
        {"kvd_runtime_steals_idle_total", "Of these, by one that had been idle for 10 ms or more.",
         offsetof(struct rt_stats, steals_idle)},
        {"kvd_runtime_steals_long_total",
         "Of these, from a queue of 64 or more by a busy processor.",
         offsetof(struct rt_stats, steals_long)},
        {"kvd_runtime_stolen_total", "Goroutines stolen.", offsetof(struct rt_stats, stolen)},
        {"kvd_runtime_global_gets_total", "Goroutines taken from the global queue.",
         offsetof(struct rt_stats, global_gets)},
        {"kvd_runtime_handoffs_total", "Processors taken from a thread that blocks.",
         offsetof(struct rt_stats, handoffs)},
        {"kvd_runtime_wakeups_total", "Threads woken for work.",
         offsetof(struct rt_stats, wakeups)},
        {"kvd_runtime_wakeups_for_nothing_total", "Threads woken that found no work.",
         offsetof(struct rt_stats, wakeups_for_nothing)},
        {"kvd_runtime_polls_total", "Times the poller was asked.",
         offsetof(struct rt_stats, polls)},
    };
    rt_metrics_gauge_fn(m, goroutines.name, "", goroutines.help, read_stat, (void *)&goroutines);
    rt_metrics_gauge_fn(m, threads.name, "", threads.help, read_stat, (void *)&threads);
    if (latency_histogram())
        metrics_hdr_of(m, "kvd_runtime_sched_latency_seconds", "",
                       "How long goroutines that became ready waited to run; one of 64 is timed.",
                       latency_histogram(), latency_bounds_ns,
                       sizeof(latency_bounds_ns) / sizeof(latency_bounds_ns[0]));
    for (size_t i = 0; i < sizeof(counters) / sizeof(counters[0]); i++)
        metrics_counter_fn(m, counters[i].name, "", counters[i].help, read_stat,
                           (void *)&counters[i]);
    metrics_counter_fn(m, "kvd_runtime_log_dropped_total", "",
                       "Log lines dropped because their descriptor had no room.", read_log_dropped,
                       NULL);
    mem_metrics_add(m);
}
