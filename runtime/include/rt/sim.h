/* rt/sim.h: the world a runtime lives in. Clocks, random numbers, sockets and files of the process go
 * through one table, so that unmodified members run inside a simulated world: one thread, one P,
 * choices among runnable goroutines from a seed, virtual time that jumps to the next timer when
 * nothing can run. There are no processes in it (rt_spawn: -ENOTSUP), and no signals. A world of one's
 * own may replace clocks and random numbers; what stands behind `net` and `file` is the runtime's. */
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
    const struct rt_net_world *net;   // sockets; NULL: the system's
    const struct rt_file_world *file; // files; NULL: the system's
};

/* A simulated world from a seed: virtual clocks, in-memory sockets and files (runtime/sim). The same
 * seed gives the same run. Run it with rt_run(&(struct rt_options){.world = ...}); its files outlive
 * the run and are there in the next one, its sockets do not.
 * Context of both: any thread, while no run uses it; never parks. */
struct rt_world *rt_sim_new(uint64_t seed);
void rt_sim_free(struct rt_world *world);
/* Hash of every event so far (time, goroutine, operation, result): equal for equal seeds. */
uint64_t rt_sim_digest(const struct rt_world *world);
uint64_t rt_sim_events(const struct rt_world *world); // how many went into it

/* How unkind the world is. Rates are in millionths per opportunity. A new world is kind: all rates
 * zero, 50 to 500 us for bytes to arrive, 20 to 200 us for a sync. May be changed while it runs.
 * Context: never parks. */
struct rt_sim_faults {
    int64_t net_latency_min_ns, net_latency_max_ns;
    int64_t disk_latency_min_ns, disk_latency_max_ns;
    uint32_t starve_ppm;      // per choice: pick one goroutine and hold it back ...
    int64_t starve_max_ns;    // ... for up to this long (0: 100 ms)
    uint32_t short_read_ppm;  // a read returns a prefix
    uint32_t short_write_ppm; // a try_writev takes a prefix
    uint32_t reset_ppm;       // a read or write meets -ECONNRESET, for both ends
    uint32_t refuse_ppm;      // a dial is refused
    uint32_t read_eio_ppm, write_eio_ppm;
    uint32_t sync_eio_ppm;     // what it should have written never is, though the next one succeeds
    uint32_t write_enospc_ppm; // writes that grow a file, and allocate
};
void rt_sim_set_faults(struct rt_world *world, const struct rt_sim_faults *faults);
void rt_sim_get_faults(const struct rt_world *world, struct rt_sim_faults *out);
/* Space of the disk in bytes; writes beyond give -ENOSPC. 0: without limit. */
void rt_sim_set_disk_bytes(struct rt_world *world, uint64_t bytes);

/* Power loss for all files whose path begins with `prefix`: what was not synced survives in an
 * arbitrary subset of 512-byte sectors and of names; open files give -EIO from then on.
 * Context: never parks. */
void rt_sim_power_loss(struct rt_world *world, const char *prefix);
