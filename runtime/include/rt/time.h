/* rt/time.h: clocks, sleep, timers, random. Monotonic time is `_ns`; wall time says so. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RT_FOREVER INT64_MAX // a deadline that never comes
#define RT_MS      INT64_C(1000000)
#define RT_SECOND  INT64_C(1000000000)

/* Monotonic, from an arbitrary origin. Virtual in a simulated world.  Context: never parks. */
int64_t rt_now_ns(void);

/* Since 1970, may jump.  Context: never parks. */
int64_t rt_wall_ns(void);

/* now + ns, saturating at RT_FOREVER.  Context: never parks. */
int64_t rt_after_ns(int64_t ns);

/* Context of both: goroutine; parks. */
void rt_sleep_ns(int64_t ns);
void rt_sleep_until(int64_t deadline_ns);

/* A timer that calls fn(arg) on a scheduler's stack at or after when_ns: fn never parks and is
 * short (wake a goroutine, put a message). The struct is the caller's and must stay until the
 * timer has fired or rt_timer_stop returned. Zero-initialise before first use. */
struct rt_timer {
    int64_t when_ns; // owner P's timer lock
    void (*fn)(void *arg);
    void *arg;
    void *heap;   // the heap it is in, or NULL
    uint32_t pos; // its place there
    uint32_t state;
};

/* Arm, or arm again for another time.  Context: goroutine or timer function; never parks. */
void rt_timer_start(struct rt_timer *t, int64_t when_ns, void (*fn)(void *arg), void *arg);

/* Disarm. True when fn had not begun and now never will; false when it ran, is running to its end
 * before this returns, or was never armed.  Context: goroutine; never parks. */
bool rt_timer_stop(struct rt_timer *t);

/* Bytes nobody can guess (getrandom); from the seed in a simulated world.  Context: never parks. */
void rt_random(void *out, size_t len);
uint64_t rt_random_u64(void);
