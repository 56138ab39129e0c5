/* rt/sim.h: the world a runtime lives in. Every clock, random number, network, file and spawn call
 * of the process goes through one table, so that unmodified members run inside a simulated world:
 * one thread, one P, choices among runnable goroutines from a seed, virtual time that jumps to the
 * next timer when nothing can run. */
#pragma once
#include "rt/file.h"
#include "rt/net.h"

struct rt_world {
    void *state; // passed to every function
    int64_t (*now_ns)(void *state);
    int64_t (*wall_ns)(void *state);
    void (*random)(void *state, void *out, size_t len);
    /* Simulated worlds only, else NULL. `pick` chooses among `count` runnable goroutines (the
     * position in arrival order); `idle` is called when none can run, with the earliest timer
     * (RT_FOREVER: none): it moves virtual time or delivers network and disk events, and returns
     * false when nothing can ever happen again (a deadlock, reported with the dump). */
    uint32_t (*pick)(void *state, uint32_t count);
    bool (*idle)(void *state, int64_t next_timer_ns);
    const struct rt_net_world *net;   // poll/conn.h
    const struct rt_file_world *file; // poll/file.h
};

/* A simulated world from a seed: virtual clocks, in-memory sockets and files (runtime/sim). The same
 * seed gives the same run. Run it with rt_run(&(struct rt_options){.world = ...}). */
struct rt_world *rt_sim_new(uint64_t seed);
void rt_sim_free(struct rt_world *world);
/* Hash of every event so far (time, goroutine, operation, result): equal for equal seeds. */
uint64_t rt_sim_digest(const struct rt_world *world);
