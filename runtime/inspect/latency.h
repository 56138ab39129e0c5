/* inspect/latency.h: the histogram behind latency_begin and latency_end of trace.h. */
#pragma once
#include "rt/hdr.h"

/* Before the first M of a run starts; the histogram stays from run to run. */
void latency_begin_run(unsigned procs);
struct rt_hdr *latency_histogram(void); // NULL: there was no run yet
