/* wal/deadline.c: see deadline.h. A timeout that is set holds each sync to it; without one a second
 * is what makes a sync overdue. Lines are limited in rate: a sick disk must not fill the log file. */
#include "wal/deadline.h"

static void count_run(struct wal_deadline *d, bool late)
{
    d->late_run = late ? d->late_run + 1 : 0;
    d->timely_run = late ? 0 : d->timely_run + 1;
    bool slow = atomic_load_explicit(&d->slow, memory_order_relaxed);
    if (!slow && d->late_run >= WAL_SLOW_RUN) {
        atomic_store_explicit(&d->slow, true, memory_order_relaxed);
        rt_log(d->log, RT_LOG_WARN, "the log's disk is slow: many syncs in a row were overdue",
               rt_f_uint("in_a_row", d->late_run));
    } else if (slow && d->timely_run >= WAL_SLOW_RUN) {
        atomic_store_explicit(&d->slow, false, memory_order_relaxed);
        rt_log(d->log, RT_LOG_INFO, "the log's disk is no longer slow");
    }
}

void wal_deadline_judge(struct wal_deadline *d, const struct wal_times *times, const char *segment,
                        uint32_t entries)
{
    int64_t timeout = atomic_load_explicit(&d->timeout_ns, memory_order_relaxed);
    int64_t write_ns = times->written_ns - times->begun_ns;
    int64_t sync_ns = times->synced_ns - times->written_ns;
    int64_t took_ns = write_ns == 0 || sync_ns == 0 ? write_ns + sync_ns : sync_ns; // or one call
    bool overrun = timeout > 0 && took_ns > timeout;
    bool slow = took_ns >= WAL_SLOW_SYNC_NS;
    count_run(d, overrun || (timeout == 0 && slow));
    if (overrun) {
        atomic_fetch_add_explicit(&d->overruns, 1, memory_order_relaxed);
        if (d->overruns_total)
            rt_counter_add(d->overruns_total, 1);
    }
    if ((!overrun && !slow) || !rt_log_gate_open(&d->gate, WAL_SLOW_LOG_NS))
        return;
    if (slow)
        rt_log(d->log, RT_LOG_WARN, "slow fdatasync", rt_f_int("took_ms", took_ns / RT_MS),
               rt_f_str("segment", segment), rt_f_uint("entries", entries));
    else
        rt_log(d->log, RT_LOG_WARN, "a sync took longer than its deadline",
               rt_f_duration("deadline", timeout),
               rt_f_duration("wait", times->begun_ns - times->taken_ns),
               rt_f_duration("write", write_ns), rt_f_duration("sync", sync_ns),
               rt_f_str("segment", segment), rt_f_uint("entries", entries),
               rt_f_uint("in_a_row", d->late_run));
}
