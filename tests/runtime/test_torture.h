/* tests/runtime/test_torture.h: the frame of the torture test: who is tortured, and how it says that a
 * result was wrong. Works are in test_torture_*.h, each with a table at its end. */
#pragma once
#include <rt/alloc.h>
#include <rt/go.h>
#include <rt/sync.h>
#include <rt/time.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

struct tortured;

/* One kind of work. `open` makes what its goroutines share, `round` does something whose result is
 * known and says whether it was right, `close` looks at what was shared once all have ended. */
struct work {
    const char *name;
    int count; // of goroutines
    void *(*open)(const char *folder);
    bool (*round)(struct tortured *t);
    void (*leave)(struct tortured *t); // each goroutine's last act; may be NULL, as open and close
    bool (*close)(void *shared, char *wrong, size_t cap);
};

struct tortured {
    const struct work *work;
    void *shared;    // what open made
    void *own;       // of this goroutine; its first round makes it
    int who;         // among those of its work
    uint64_t random; // a sequence of its own
    uint64_t rounds, wrongs;
    char wrong[240]; // about the first one
};

static inline uint64_t draw(struct tortured *t)
{
    t->random ^= t->random << 13;
    t->random ^= t->random >> 7;
    t->random ^= t->random << 17;
    return t->random;
}

static inline uint64_t draw_below(struct tortured *t, uint64_t limit)
{
    return (draw(t) >> 11) % limit;
}

/* A round ends with this when something is not as it must be: keeps the words, returns false. */
static inline bool __attribute__((format(printf, 2, 3)))
torture_wrong(struct tortured *t, const char *format, ...)
{
    if (t->wrong[0])
        return false;
    va_list args;
    va_start(args, format);
    vsnprintf(t->wrong, sizeof(t->wrong), format, args);
    va_end(args);
    return false;
}

/* Some microseconds in our own text, so that the storm meets a goroutine between two calls into a
 * library, and not only inside them, where it is not allowed in. */
static __attribute__((noinline)) void stroll(struct tortured *t)
{
    volatile uint64_t steps = draw_below(t, 4000);
    while (steps > 0)
        steps = steps - 1;
}

/* Long after anything healthy: who waits this long waits for something that was lost. */
#define TORTURE_LATE (rt_after_ns(100 * RT_SECOND))

/* Bytes that say where they belong. */
static inline uint8_t pattern_at(uint64_t seed, size_t i)
{
    return (uint8_t)((seed >> (i % 57)) + i * 131 + (i >> 8));
}

/* What servers do to a byte before they send it back. */
static inline uint8_t turned(uint8_t byte) { return (uint8_t)(255 - byte); }

static inline void pattern_fill(void *to, size_t len, uint64_t seed)
{
    uint8_t *bytes = to;
    for (size_t i = 0; i < len; i++)
        bytes[i] = pattern_at(seed, i);
}

static inline bool pattern_holds(const void *at, size_t len, uint64_t seed)
{
    const uint8_t *bytes = at;
    for (size_t i = 0; i < len; i++)
        if (bytes[i] != pattern_at(seed, i))
            return false;
    return true;
}

/* Start fn(arg) beside the caller, who waits for it with helper_wait before its round ends. */
struct helpers {
    struct rt_waitgroup busy;
};
struct helper {
    struct helpers *of;
    void (*fn)(void *arg);
    void *arg;
};
static inline void helper_main(void *arg)
{
    struct helper *h = arg;
    struct helpers *of = h->of;
    h->fn(h->arg);
    rt_free(h);
    rt_waitgroup_done(&of->busy);
}
static inline bool helper_start(struct helpers *of, void (*fn)(void *arg), void *arg)
{
    struct helper *h = rt_alloc(sizeof(*h));
    *h = (struct helper){of, fn, arg};
    rt_waitgroup_add(&of->busy, 1);
    if (rt_go("torture-helper", helper_main, h) == 0)
        return true;
    rt_free(h);
    rt_waitgroup_done(&of->busy);
    return false;
}
static inline bool helpers_wait(struct helpers *of)
{
    return rt_waitgroup_wait(&of->busy, TORTURE_LATE) == 0;
}
