/* sched/signals.h: signals of the process as events for goroutines, and SIGQUIT's dump. The thread
 * that called rt_run takes them; all others hold them back. */
#pragma once
#include <stdint.h>

void signals_start(void); // context: rt_run's thread
/* Hand on what has come. Context: rt_run's thread. */
void signals_deliver(void);
void signals_stop(void);
