/* inspect/latency.c: how long the goroutines that became ready waited for a P: one histogram of the
 * process. A goroutine that yields does not count: it asked to wait. */
#include "runtime/inspect/latency.h"
#include "runtime/inspect/hdr.h"
#include "runtime/inspect/trace.h"

static struct rt_hdr *latency; // set before the first M starts, then const

void latency_begin_run(unsigned procs)
{
    if (!latency)
        latency = hdr_new_ahead(procs);
}

void latency_begin(struct g *gp)
{
    gp->ready_ns = sched_now_ns();
    gp->marks |= MARK_TIMED;
}

void latency_end(struct g *gp)
{
    if (latency)
        hdr_record_ahead(latency, sched_now_ns() - gp->ready_ns);
    gp->ready_ns = 0;
    gp->marks &= (uint8_t)~MARK_TIMED;
}

struct rt_hdr *latency_histogram(void) { return latency; }
