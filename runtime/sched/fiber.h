/* sched/fiber.h: switching stacks, told to the sanitizers. In plain builds this is switch_stack. */
#pragma once
#include "runtime/sched/gmp.h"
#include "runtime/sched/switch.h"
#include <stdbool.h>

/* From the stack of `from` (NULL: the M's scheduler) to that of `to` (NULL: the scheduler). `dying`:
 * nobody comes back. Returns when somebody switches back. */
#if defined(RT_ASAN) || defined(RT_TSAN)
void fiber_switch(void **save, struct g *from, bool dying, void *to_sp, struct g *to, struct m *m);
/* The same, and nobody comes back. */
_Noreturn void fiber_end(void **save, struct g *from, void *to_sp, struct g *to, struct m *m);
/* First thing on a new stack. */
void fiber_started(struct g *gp);
/* A G gets a new life on its slot. */
void fiber_new(struct g *gp);
/* The scheduler's stack is this thread's. */
void fiber_thread(struct m *m);
/* The slots go away. */
void fiber_free_all(void);
#else
static inline void fiber_switch(void **save, struct g *from, bool dying, void *to_sp, struct g *to,
                                struct m *m)
{
    (void)from;
    (void)dying;
    (void)to;
    (void)m;
    switch_stack(save, to_sp);
}
static inline _Noreturn void fiber_end(void **save, struct g *from, void *to_sp, struct g *to,
                                       struct m *m)
{
    (void)save;
    (void)from;
    (void)to;
    (void)m;
    switch_away(to_sp);
}
static inline void fiber_started(struct g *gp) { (void)gp; }
static inline void fiber_new(struct g *gp) { (void)gp; }
static inline void fiber_thread(struct m *m) { (void)m; }
static inline void fiber_free_all(void) {}
#endif

/* ThreadSanitizer sees each goroutine as a thread, and M and P as data that these threads share
 * without a lock. Between quiet_begin and quiet_end it takes no plain access for a race (atomics
 * still order); the scheduler's own work is inside. What one goroutine hands another is said by
 * fiber_release (before the other may run) and fiber_acquire (when it runs). */
#ifdef RT_TSAN
#define FIBER_ENDS __attribute__((no_sanitize("thread")))
void __tsan_acquire(void *address);
void __tsan_release(void *address);
/* They nest. */
void quiet_begin(void);
void quiet_end(void);
static inline void fiber_acquire(struct g *gp) { __tsan_acquire(gp); }
static inline void fiber_release(struct g *gp) { __tsan_release(gp); }
/* What every goroutine did before it last left its thread comes before what follows whoever acquires
 * `what`: for memory that nobody reaches any more. */
void fiber_release_all(void *what);
static inline void fiber_acquire_all(void *what) { __tsan_acquire(what); }
#else
#define FIBER_ENDS
static inline void quiet_begin(void) {}
static inline void quiet_end(void) {}
static inline void fiber_acquire(struct g *gp) { (void)gp; }
static inline void fiber_release(struct g *gp) { (void)gp; }
static inline void fiber_release_all(void *what) { (void)what; }
static inline void fiber_acquire_all(void *what) { (void)what; }
#endif
