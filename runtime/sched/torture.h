/* sched/torture.h: a storm of preemptions, to find code that cannot bear them. KVD_TORTURE=storm turns
 * it on when the runtime starts, in any program; KVD_TORTURE=storm+audit also has audit.h look below
 * each preemption.
 *
 * Two winds blow. Each M has a timer of its own that sends it SIGURG 20 to 50 us after the last one,
 * so that what runs there is interrupted at an instruction nobody chose; the handler takes such a
 * signal for a request of a random kind. And a thread asks the G of a random P to stop every 0.1 to
 * 1 ms through preempt_request, as sysmon does, so that requests of others meet the M's own. Where
 * signals cannot interrupt (ThreadSanitizer) only the second one blows; in a simulated world none. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

void torture_start(void); // after it is known how many Ps there are
void torture_stop(void);  // after every M has ended
void torture_thread_start(void);
void torture_thread_stop(void);

/* What the storm asks of the calling M's goroutine (enum preempt_kind, NONE without a storm), and the
 * next gust is on its way; a later one when `idle`.  Context: signal-safe; an M's SIGURG handler. */
uint8_t torture_gust(bool idle);
