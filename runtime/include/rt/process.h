/* rt/process.h: what a process says to whoever started it. */
#pragma once

/* Tell the supervisor that asked for it (systemd, by NOTIFY_SOCKET) how we are: "READY=1",
 * "STOPPING=1". 0, also when nobody asked; or -errno. Source: sd_notify(3).
 * Context: any thread; never parks. */
int rt_notify_supervisor(const char *state);

/* End as if `signal` had not been caught, so that the parent sees what asked us to stop.
 * Context: any thread. */
_Noreturn void rt_exit_by_signal(int signal);
