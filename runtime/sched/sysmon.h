/* sched/sysmon.h: the watchman. */
#pragma once

/* The body of sysmon's thread; returns when the runtime stops. */
void sysmon_run(void);
/* Make it look around now. */
void sysmon_break(void);
