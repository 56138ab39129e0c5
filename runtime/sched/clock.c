/* sched/clock.c: time and randomness, real or the simulated world's. */
#include "rt/sim.h"
#include "runtime/sched/gmp.h"
#include <assert.h>
#include <errno.h>
#include <sys/random.h>
#include <time.h>

static int64_t read_clock(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return t.tv_sec * RT_SECOND + t.tv_nsec;
}

int64_t clock_real_now_ns(void) { return read_clock(CLOCK_MONOTONIC); }

int64_t rt_now_ns(void)
{
    g_check_preempt();
    const struct rt_world *world = sched.world;
    return world ? world->now_ns(world->state) : read_clock(CLOCK_MONOTONIC);
}

int64_t rt_wall_ns(void)
{
    const struct rt_world *world = sched.world;
    return world ? world->wall_ns(world->state) : read_clock(CLOCK_REALTIME);
}

int64_t rt_after_ns(int64_t ns)
{
    int64_t now = rt_now_ns();
    assert(now >= 0);
    return ns > RT_FOREVER - now ? RT_FOREVER : now + ns;
}

void rt_random(void *out, size_t len)
{
    const struct rt_world *world = sched.world;
    if (world) {
        world->random(world->state, out, len);
        return;
    }
    uint8_t *to = out;
    while (len > 0) {
        ssize_t n = getrandom(to, len, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            rt_fatal("the system gives no random numbers: getrandom, errno %d", errno);
        to += n;
        len -= (size_t)n;
    }
}

uint64_t rt_random_u64(void)
{
    uint64_t out;
    rt_random(&out, sizeof(out));
    return out;
}
