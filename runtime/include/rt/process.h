/* rt/process.h: this process as others see it, and processes that it starts. */
#pragma once
#include "rt/why.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Tell the supervisor that asked for it (systemd, by NOTIFY_SOCKET) how we are: "READY=1",
 * "STOPPING=1". 0, also when nobody asked; or -errno. Source: sd_notify(3).
 * Context: any thread; never parks. */
int rt_notify_supervisor(const char *state);

/* End as if `signal` had not been caught, so that the parent sees what asked us to stop.
 * Context: any thread. */
_Noreturn void rt_exit_by_signal(int signal);

/* The file this process runs, in `buf`. 0 or -errno (-ENAMETOOLONG).  Context: never parks. */
int rt_own_program(char *buf, size_t cap);

/* Does a person read descriptor fd?  Context: never parks. */
bool rt_is_terminal(int fd);

/* ---- Children: by posix_spawn, never by fork, since other threads may hold any lock ---- */

struct rt_child;

struct rt_command {
    const char *const *argv; // ends in NULL; argv[0] is a path, or a name looked up in PATH
    const char *const *envp; // ends in NULL; NULL: our own
    const char *stdout_path; // appended to; NULL: thrown away
    const char *stderr_path; // the same; may be the same file
};

/* Start a program: stdin empty, no signal blocked or ignored, in a process group of its own, so that
 * Ctrl-C at the terminal reaches us alone. 0 and *out (wait for it, then free it), or -errno with
 * the facts in why; -ENOTSUP in a simulated world.  Context: parks. */
int rt_spawn(const struct rt_command *command, struct rt_child **out, struct why *why);

/* Wait until it has ended: 0 with *status_out (its exit status, or 128 + the signal that ended it;
 * asked again, the same answer), -ETIMEDOUT, or -errno. One waiter at a time.
 * Context: parks; holds a thread while it waits. */
int rt_wait_child(struct rt_child *c, int64_t deadline_ns, int *status_out);

/* Send a signal. 0, or -ESRCH once it has been waited for.  Context: never parks. */
int rt_kill(struct rt_child *c, int signal);

int64_t rt_child_pid(const struct rt_child *c); // never parks

/* After its end was waited for (asserted). NULL is allowed.  Context: never parks. */
void rt_child_free(struct rt_child *c);
