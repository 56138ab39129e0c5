/* rt/go.h: goroutines.
 *
 * rt_run starts the scheduler (M threads for P processors) and runs one function as the first
 * goroutine; rt_go starts more. A goroutine may use 45 KiB of stack (its slot has 64: 16 are guard, up
 * to 3 lie above the first frame); more ends the process with a report. It may be moved to another
 * thread at every call that parks and, in code linked into the section `rt_go` (runtime/rt_go.ld), at
 * any instruction: so such code uses no thread-local storage, errno included. Runtime calls return
 * -errno instead. */
#pragma once
#include "rt/why.h"
#include <stdbool.h>
#include <stdint.h>

struct rt_world; // rt/sim.h: where clocks, random numbers, sockets and files come from

enum rt_poller { RT_POLLER_AUTO, RT_POLLER_URING, RT_POLLER_EPOLL };

struct rt_options {
    unsigned procs;          // Ps; 0: what KVD_MAXPROCS says, else the CPUs we may run on
    unsigned slice_ms;       // a goroutine may run this long before it is preempted; 0: 10
    bool no_async_preempt;   // only calls into the runtime are preemption points
    enum rt_poller poller;   // AUTO: what KVD_POLLER (uring, epoll) says, else the default
    uint32_t max_goroutines; // stack slots reserved, at most 16 Mi; 0: 1 Mi
    int spill_after_ms;      // a goroutine parked this long keeps its stack as a compact copy;
                             // RT_SPILL_OFF, RT_SPILL_ALWAYS (at every park); 0: what KVD_SPILL
                             // (off, on: 1000, milliseconds, always) says, else off
    const struct rt_world *world; // NULL: the real one
    bool pin_cpus;                // each P has a CPU of its own; false: what KVD_AFFINITY (1) says
    uint64_t random_yield; // seed: at random runtime calls the caller lets others run, to find
                           // what an unkind scheduler finds; 0: what KVD_RANDOM_YIELD says
};
enum { RT_PROCS_MAX = 256 };
enum { RT_SPILL_OFF = -1, RT_SPILL_ALWAYS = -2 };

/* Run fn(arg) as the first goroutine and return when it has returned; other goroutines that still
 * exist are abandoned where they stand. One call at a time per process. Returns fn's result in
 * *result and 0, or -errno with `why` when the runtime cannot start.
 * Context: blocks the thread; not from a goroutine. */
int rt_run(const struct rt_options *options, int (*fn)(void *arg), void *arg, int *result,
           struct why *why);

/* Start a goroutine. `name` is shown in dumps and must outlive it (a literal). Returns 0, or
 * -EAGAIN when max_goroutines exist, or as many as can be guarded: without guard markers (before Linux
 * 6.13) each takes two of the process's mappings, so the usual vm.max_map_count is enough for 31,741
 * (stack_guards of rt_stats tells).  Context: goroutine; never parks. */
int rt_go(const char *name, void (*fn)(void *arg), void *arg);

/* The same, readied at the head of the queue whenever it wakes (bounded to half of a P's turns):
 * for the few goroutines whose delay everyone feels.  Context: as rt_go. */
int rt_go_urgent(const char *name, void (*fn)(void *arg), void *arg);

/* Let others run; the caller goes to the end of the line.  Context: parks. */
void rt_yield(void);

/* A number of the calling goroutine, unique in this process. 0 outside goroutines.
 * Context: any thread; never parks. */
uint64_t rt_go_id(void);

/* How many goroutines exist, and how many Ps there are.  Context: any thread; never parks. */
uint32_t rt_go_count(void);
unsigned rt_procs(void);

/* Have that many Ps, 1 to RT_PROCS_MAX, from now on; what was queued on one that goes is run by the
 * others. 0 once it is so; -EINVAL; -ENOTSUP in a simulated world. One caller at a time gets through,
 * others wait. The numbers of Ps in use are always 0 .. rt_procs() - 1.  Context: goroutine; parks. */
int rt_set_procs(unsigned procs);

/* May a P without work take it from others' queues? On at start; off is for experiments: a goroutine
 * then stays where it was made or woken, unless that P's queue overflows.  Context: never parks. */
void rt_set_steal(bool on);
bool rt_get_steal(void);

/* Between begin and end the goroutine is not preempted asynchronously and must not park. They
 * nest. Needed round every library call that calls back into our code (qsort, nghttp2, LMDB with
 * a comparator): the library's frame below may hold a lock.  Context: never parks. */
void rt_nopreempt_begin(void);
void rt_nopreempt_end(void);

/* Run fn(arg), which may block its thread for long (a database commit, getaddrinfo), on the
 * calling goroutine's stack with the P handed on, and return its result. fn must not call the
 * runtime.  Context: parks; fn blocks the thread. */
int64_t rt_blocking(int64_t (*fn)(void *arg), void *arg);

/* Wire the goroutine to its thread until unpin: it runs nowhere else, and nothing else runs there.
 * For libraries that bind state to a thread (LMDB's write transaction). They nest.
 * Context: goroutine; never parks. */
void rt_pin_thread(void);
void rt_unpin_thread(void);

/* Give the calling goroutine floating-point control words of its own (rounding, traps, denormals: what
 * fesetround and _MM_SET_... change), kept across all it does, for some 10 ns a switch. Without this
 * they are the thread's: who changes them puts them back before it calls the runtime, or others
 * compute with them. (To be preempted in between harms nobody.)  Context: goroutine; never parks. */
void rt_keep_fpu_control(void);

/* Asynchronous preemption on or off, and how long a goroutine may run before it: of the whole process,
 * from now on. Turning on what this build or world cannot do changes nothing: ask get. The slice is 1 ms
 * to 1 s.  Context: goroutine; never parks. */
void rt_set_preempt(bool on);
bool rt_get_preempt(void);
void rt_set_slice_ns(int64_t ns);
int64_t rt_get_slice_ns(void);

/* Wait until one of these signals reaches the process and return its number. A signal that was ever
 * asked for no longer has its default effect until rt_run returns; one that comes while nobody waits
 * for it is kept (once). SIGQUIT always prints the goroutine dump and goes on; asking for it too is
 * allowed. There is no deadline. -EINVAL for signals that cannot be caught, -ENOTSUP in a simulated
 * world.
 * Context: parks. */
int rt_signal_wait(const int *signals, int count);

/* Forget goroutines and stop the process with `status`, without running anything more.
 * Context: any thread. */
_Noreturn void rt_exit(int status);
