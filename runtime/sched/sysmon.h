/* sched/sysmon.h: the watchman. */
#pragma once

/* The body of sysmon's thread; returns when the runtime stops. */
void sysmon_run(void);
/* Make it look around now. */
void sysmon_break(void);
/* The poll role was given up, and its holder goes to run something: for how long nobody knows, and
 * meanwhile nobody else may be awake.  Context: any thread; never parks. */
void sysmon_poll_left(void);
