/* sim/driver.h: the simulated world's own state: one seed, one virtual clock, one digest.
 *
 * What happens later (bytes that arrive, a disk that answers) is a timer or a sleep of the runtime
 * itself, so that there is one order of everything: by time, then as armed. Each kind of choice
 * draws from a stream of its own: one more read does not shift what the scheduler does.
 *
 * One thread runs a simulated world, so nothing here is locked. */
#pragma once
#include "rt/sim.h"
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum sim_stream { SIM_PICK, SIM_NET, SIM_DISK, SIM_PROGRAM, SIM_STREAMS };

struct sim_random {
    uint64_t s[4]; // xoshiro256**
};

struct simnet;
struct simdisk;

struct sim {
    struct rt_world world; // first: rt_sim_new hands out a pointer to it
    struct sim_random random[SIM_STREAMS];
    struct rt_sim_faults faults;
    int64_t now_ns, wall_offset_ns;
    uint64_t digest, events;
    uint64_t first_id;       // of the goroutines of this run, 0: none seen yet
    _Atomic uint32_t turns;  // TSan builds only, see sim_turn
    bool running;            // a run has begun and its end will call us
    int64_t starve_until_ns; // one goroutine is held back
    uint32_t starve_pos;     // where it stands among the runnable
    struct simnet *net;
    struct simdisk *disk;
};

struct sim *sim_of(const struct rt_world *world);

/* At the beginning and the end of whatever touches the world's state. Goroutines of a simulated
 * world take turns on one thread, which orders all they do; TSan, told that switching orders
 * nothing, learns it here. Nothing elsewhere. sim_event counts as an end.  Context: never parks. */
static inline void sim_turn(struct sim *s)
{
#ifdef RT_TSAN
    atomic_fetch_add_explicit(&s->turns, 1, memory_order_acq_rel);
#else
    (void)s;
#endif
}

/* What happened, into the digest. `op` is a literal; what and result are numbers that are the same
 * in each run of a seed: never an address.  Context: never parks. */
void sim_event(struct sim *s, const char *op, uint64_t what, int64_t result);
uint64_t sim_hash(const void *data, size_t len);
uint64_t sim_hash_text(const char *text);

uint64_t sim_draw(struct sim *s, enum sim_stream stream);
/* Uniform in [low, high]. */
uint64_t sim_draw_between(struct sim *s, enum sim_stream stream, uint64_t low, uint64_t high);
/* True `ppm` times in a million; draws only when ppm is not zero. */
bool sim_chance(struct sim *s, enum sim_stream stream, uint32_t ppm);

/* To be called before anything of this run is made: sockets and open files end with the run. */
void sim_begin_run(struct sim *s);

/* The two others. `end_run` forgets what goroutines that are gone held. */
struct simnet *simnet_new(struct sim *s);
void simnet_free(struct simnet *net);
void simnet_end_run(struct sim *s);
extern const struct rt_net_world net_simulated;
struct simdisk *simdisk_new(void);
void simdisk_free(struct simdisk *disk);
void simdisk_end_run(struct sim *s);
extern const struct rt_file_world file_simulated;
