/* sim/driver.c: seed, virtual time, the choice among runnable goroutines, the digest. */
#include "runtime/sim/driver.h"
#include "rt/alloc.h"
#include "rt/go.h"
#include "runtime/sched/proc.h"
#include <assert.h>
#include <string.h>

/* Virtual time begins here, so that no deadline is 0 by accident; wall time at a fixed day. */
static const int64_t first_ns = RT_SECOND;
static const int64_t first_wall_ns = INT64_C(1700000000) * RT_SECOND;
/* What a turn of a goroutine costs: without it time would stand still while anybody can run, and a
 * deadline could never come between two steps. */
enum { TURN_MIN_NS = 100, TURN_MAX_NS = 3000 };
static const uint32_t million = 1000000;

/* ---- numbers ----------------------------------------------------------------------------- */

static uint64_t splitmix(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static uint64_t rotate_left(uint64_t x, int bits) { return x << bits | x >> (64 - bits); }

uint64_t sim_draw(struct sim *sim, enum sim_stream stream)
{
    uint64_t *s = sim->random[stream].s;
    uint64_t result = rotate_left(s[1] * 5, 7) * 9;
    uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate_left(s[3], 45);
    return result;
}

/* By multiplication; the bias is below range / 2^64. */
uint64_t sim_draw_between(struct sim *s, enum sim_stream stream, uint64_t low, uint64_t high)
{
    assert(low <= high);
    uint64_t range = high - low + 1;
    uint64_t drawn = sim_draw(s, stream);
    return range ? low + (uint64_t)((unsigned __int128)drawn * range >> 64) : drawn;
}

bool sim_chance(struct sim *s, enum sim_stream stream, uint32_t ppm)
{
    return ppm && sim_draw_between(s, stream, 0, million - 1) < ppm;
}

/* FNV-1a with a finish. */
uint64_t sim_hash(const void *data, size_t len)
{
    const uint8_t *at = data;
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < len; i++)
        h = (h ^ at[i]) * 0x100000001b3u;
    return h ^ h >> 29;
}

uint64_t sim_hash_text(const char *text) { return sim_hash(text, strlen(text)); }

static uint64_t mix(uint64_t digest, uint64_t x)
{
    uint64_t state = digest ^ x * 0x9fb21c651e98df25u;
    return splitmix(&state);
}

void sim_event(struct sim *s, const char *op, uint64_t what, int64_t result)
{
    uint64_t id = rt_go_id();
    if (id && !s->first_id)
        s->first_id = id;
    s->digest = mix(s->digest, (uint64_t)s->now_ns);
    s->digest = mix(s->digest, id ? id - s->first_id + 1 : 0);
    s->digest = mix(s->digest, sim_hash_text(op));
    s->digest = mix(s->digest, what);
    s->digest = mix(s->digest, (uint64_t)result);
    s->events++;
    sim_turn(s);
}

/* ---- the world's functions --------------------------------------------------------------- */

static int64_t sim_now(void *state)
{
    struct sim *s = state;
    sim_turn(s);
    int64_t now = s->now_ns;
    sim_turn(s);
    return now;
}

static int64_t sim_wall(void *state)
{
    struct sim *s = state;
    return sim_now(s) + s->wall_offset_ns; // const
}

static void sim_random_bytes(void *state, void *out, size_t len)
{
    struct sim *s = state;
    uint8_t *at = out;
    sim_turn(s);
    for (size_t left = len; left > 0;) {
        uint64_t drawn = sim_draw(s, SIM_PROGRAM);
        size_t n = left < sizeof drawn ? left : sizeof drawn;
        memcpy(at, &drawn, n);
        at += n;
        left -= n;
    }
    sim_event(s, "random", len, (int64_t)sim_hash(out, len));
}

/* Begin or end holding one goroutine back; returns whether one is. The held one keeps its place
 * while others come and go, since the runnable stand in order of arrival. */
static bool somebody_starves(struct sim *s, uint32_t count)
{
    if (s->starve_until_ns && s->now_ns >= s->starve_until_ns)
        s->starve_until_ns = 0;
    if (!s->starve_until_ns && count > 1 && sim_chance(s, SIM_PICK, s->faults.starve_ppm)) {
        int64_t longest = s->faults.starve_max_ns ? s->faults.starve_max_ns : 100 * RT_MS;
        s->starve_pos = (uint32_t)sim_draw_between(s, SIM_PICK, 0, count - 1);
        s->starve_until_ns =
            s->now_ns + (int64_t)sim_draw_between(s, SIM_PICK, 1, (uint64_t)longest);
        sim_event(s, "starve", s->starve_pos, s->starve_until_ns);
    }
    return s->starve_until_ns != 0;
}

static uint32_t sim_pick(void *state, uint32_t count)
{
    struct sim *s = state;
    assert(count > 0);
    sim_turn(s);
    s->now_ns += (int64_t)sim_draw_between(s, SIM_PICK, TURN_MIN_NS, TURN_MAX_NS);
    bool starving = somebody_starves(s, count);
    uint32_t at;
    if (starving && count > 1) {
        at = (uint32_t)sim_draw_between(s, SIM_PICK, 0, count - 2);
        if (at >= s->starve_pos)
            at++;
        else
            s->starve_pos--; // one in front of it goes
    } else {
        at = (uint32_t)sim_draw_between(s, SIM_PICK, 0, count - 1);
        s->starve_until_ns = 0; // it was the only one left
    }
    sim_event(s, "pick", count, at);
    return at;
}

static bool sim_idle(void *state, int64_t next_timer_ns)
{
    struct sim *s = state;
    sim_turn(s);
    if (next_timer_ns == RT_FOREVER)
        return false;
    if (next_timer_ns > s->now_ns)
        s->now_ns = next_timer_ns;
    sim_event(s, "idle", 0, s->now_ns);
    return true;
}

/* ---- a run and its end ------------------------------------------------------------------- */

/* In the poller's place the scheduler tells us when a run ends. One run at a time in a process. */
static struct sim *in_run;

static int nothing_to_poll(int p, int64_t until_ns)
{
    (void)p;
    (void)until_ns;
    return 0;
}

static void nobody_to_wake(void) {}

static void end_run(void)
{
    struct sim *s = in_run;
    in_run = NULL;
    simnet_end_run(s);
    simdisk_end_run(s);
    s->running = false;
    s->first_id = 0;
    s->starve_until_ns = 0;
}

void sim_begin_run(struct sim *s)
{
    static const struct sched_poller simulated = {.name = "simulated",
                                                  .why = "a simulated world",
                                                  .poll = nothing_to_poll,
                                                  .wake = nobody_to_wake,
                                                  .stop = end_run};
    sim_turn(s);
    if (s->running)
        return;
    bool first = sched_poller_set(&simulated);
    assert(first);
    assert(!in_run);
    in_run = s;
    s->running = true;
}

/* ---- the public face --------------------------------------------------------------------- */

struct sim *sim_of(const struct rt_world *world)
{
    assert(world);
    assert(world->net == &net_simulated);
    struct sim *s = (struct sim *)(uintptr_t)world;
    sim_turn(s);
    return s;
}

struct rt_world *rt_sim_new(uint64_t seed)
{
    struct sim *s = rt_alloc_zero(sizeof *s);
    s->world = (struct rt_world){.state = s,
                                 .now_ns = sim_now,
                                 .wall_ns = sim_wall,
                                 .random = sim_random_bytes,
                                 .pick = sim_pick,
                                 .idle = sim_idle,
                                 .net = &net_simulated,
                                 .file = &file_simulated};
    s->now_ns = first_ns;
    s->wall_offset_ns = first_wall_ns - first_ns;
    for (int i = 0; i < SIM_STREAMS; i++)
        for (int j = 0; j < 4; j++)
            s->random[i].s[j] = splitmix(&seed);
    s->faults = (struct rt_sim_faults){.net_latency_min_ns = 50000,
                                       .net_latency_max_ns = 500000,
                                       .disk_latency_min_ns = 20000,
                                       .disk_latency_max_ns = 200000};
    s->net = simnet_new(s);
    s->disk = simdisk_new();
    return &s->world;
}

void rt_sim_free(struct rt_world *world)
{
    struct sim *s = sim_of(world);
    assert(!s->running);
    simnet_free(s->net);
    simdisk_free(s->disk);
    rt_free(s);
}

uint64_t rt_sim_digest(const struct rt_world *world) { return sim_of(world)->digest; }
uint64_t rt_sim_events(const struct rt_world *world) { return sim_of(world)->events; }

void rt_sim_set_faults(struct rt_world *world, const struct rt_sim_faults *faults)
{
    assert(faults->net_latency_min_ns <= faults->net_latency_max_ns);
    assert(faults->disk_latency_min_ns <= faults->disk_latency_max_ns);
    assert(faults->net_latency_min_ns >= 0);
    assert(faults->disk_latency_min_ns >= 0);
    struct sim *s = sim_of(world);
    s->faults = *faults;
    sim_turn(s);
}

void rt_sim_get_faults(const struct rt_world *world, struct rt_sim_faults *out)
{
    *out = sim_of(world)->faults;
}
