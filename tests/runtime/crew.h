/* tests/runtime/crew.h: several goroutines that do the same, waited for together. Their bodies use
 * assert, not cmocka's assertions, which belong to the thread of the group. */
#pragma once
#include "tests/support/rt_test.h"
#include <assert.h>
#include <rt/sync.h>

enum { CREW_MAX = 64 };
#define CREW_LATE (rt_after_ns(100 * RT_SECOND)) // long after anything healthy

struct crew_member {
    struct crew *crew;
    int who;
};

struct crew {
    void (*fn)(int who, void *arg);
    void *arg;
    struct rt_waitgroup busy;
    struct crew_member members[CREW_MAX];
};

static inline void crew_main(void *arg)
{
    struct crew_member *m = arg;
    m->crew->fn(m->who, m->crew->arg);
    rt_waitgroup_done(&m->crew->busy);
}

/* Start `count` goroutines running fn(0 .. count - 1, arg). The crew must stay until crew_wait. */
static inline void crew_start(struct crew *c, int count, void (*fn)(int who, void *arg), void *arg)
{
    assert(count <= CREW_MAX);
    *c = (struct crew){.fn = fn, .arg = arg};
    rt_waitgroup_add(&c->busy, count);
    for (int i = 0; i < count; i++) {
        c->members[i] = (struct crew_member){c, i};
        int err = rt_go("crew", crew_main, &c->members[i]);
        assert(err == 0);
    }
}

static inline void crew_wait(struct crew *c)
{
    int err = rt_waitgroup_wait(&c->busy, CREW_LATE);
    assert(err == 0); // else somebody waits for ever: the dump says where
}

static inline void crew_run(int count, void (*fn)(int who, void *arg), void *arg)
{
    struct crew c;
    crew_start(&c, count, fn, arg);
    crew_wait(&c);
}

/* The same, each started once those before it have parked: on one P they queue in this order. */
static inline void let_others_park(void);
static inline void crew_start_in_line(struct crew *c, int count, void (*fn)(int who, void *arg),
                                      void *arg)
{
    crew_start(c, 0, fn, arg);
    rt_waitgroup_add(&c->busy, count);
    for (int i = 0; i < count; i++) {
        c->members[i] = (struct crew_member){c, i};
        int err = rt_go("crew", crew_main, &c->members[i]);
        assert(err == 0);
        let_others_park();
    }
}

/* Let the others run until all of them have parked, with one P; with more, just let them run. */
static inline void let_others_park(void)
{
    for (int i = 0; i < 100; i++)
        rt_yield();
}

/* A small random sequence of a test's own. */
static inline uint32_t next_random(uint32_t *x)
{
    *x = *x * 1664525u + 1013904223u;
    return *x >> 16;
}

/* The group on one P, where orders are exact, and on four, where races are. */
static inline int on_one_and_four(int (*group)(void *))
{
    int failed = rt_test_main(&(struct rt_options){.procs = 1}, group);
    return failed + rt_test_main(&(struct rt_options){.procs = 4}, group);
}
