/* cmd/kvlab/machine.h: what the run stands on. */
#pragma once
#include "cmd/kvlab/lab.h"

/* Fill in kernel, CPU, disk (of the result folder), the programs' versions and the date. Nothing here
 * fails the run: what cannot be found out is "unknown". False only without gnuplot or kvd, with why.
 * Context: parks. */
bool machine_describe(struct lab *lab, struct why *why);
/* A member of a cluster that is not ours, and the version it says it is.  Context: never parks. */
void machine_note_server(struct lab *lab, const char *endpoint, const char *version);
/* "2026-11-23 19:50:00" and "20261123-195000" of a wall time. */
void machine_date(int64_t wall_ns, char *text, size_t text_cap, char *compact, size_t compact_cap);
