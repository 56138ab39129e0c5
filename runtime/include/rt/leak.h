/* rt/leak.h: finding goroutines that pile up. A watch notes who is there (the baseline), then looks
 * again some times, a period apart, and counts goroutines by fingerprint: name, where it was started,
 * and the stack from the call into the runtime on.
 *
 * What counts as grown. A goroutine counts when it has waited in one place for at least a period and was
 * not there at the baseline; the growth of a fingerprint is how many of these there are, but at most
 * how many more there are than at the baseline. A fingerprint leaks when its growth was above the
 * threshold at each of the last three looks (or at all, while there were fewer). So whoever comes and
 * goes, moves on, or takes the place of another one does not count, however many there are; a lasting
 * new load does, as from inside it looks the same.
 *
 *     struct rt_leak_watch *w = rt_leak_watch_new(&RT_LEAK_DEFAULTS);
 *     while (rt_leak_watch_look(w)) // parks for a period
 *         ;
 *     rt_leak_watch_report(w, RT_LEAK_LINES, &text);
 *     rt_leak_watch_free(w); */
#pragma once
#include "rt/alloc.h"
#include "rt/log.h"
#include "rt/time.h"
#include "rt/why.h"
#include <stdbool.h>
#include <stdint.h>

enum { RT_LEAK_ROUNDS_MAX = 100000, RT_LEAK_LINE = 128 };

struct rt_leak_options {
    int64_t period_ns;  // between two looks: 1 ms to 1 h
    unsigned rounds;    // looks after the baseline: 1 to RT_LEAK_ROUNDS_MAX
    unsigned threshold; // a growth of more than this is a leak
    struct rt_log *log; // at the end a line for each leak; NULL: silence
};
#define RT_LEAK_DEFAULTS                                                                           \
    ((const struct rt_leak_options){.period_ns = 5 * RT_SECOND, .rounds = 10, .threshold = 2})

/* 0, or -EINVAL with why: a number is out of its range. */
int rt_leak_options_check(const struct rt_leak_options *o, struct why *why);

/* A watch, with its baseline taken; options that pass the check.  Context: goroutine; never parks. */
struct rt_leak_watch *rt_leak_watch_new(const struct rt_leak_options *o);
void rt_leak_watch_free(struct rt_leak_watch *w); // never parks

/* Sleep for a period and look again. False when that was the last round: the leaks were logged.
 * Context: parks. */
bool rt_leak_watch_look(struct rt_leak_watch *w);
/* The same for whoever keeps the time himself: he calls it a period after the last look.
 * Context: goroutine; never parks. */
bool rt_leak_watch_look_now(struct rt_leak_watch *w);

/* What is known so far.  Context: never parks. */
struct rt_leak_summary {
    unsigned rounds;            // looks so far
    uint64_t goroutines_before; // at the baseline
    uint64_t goroutines_now;    // at the last look
    uint64_t leaks;             // fingerprints that leak
    uint64_t unwatched;         // goroutines beyond the 4,096 fingerprints that a watch keeps
};
void rt_leak_watch_summary(const struct rt_leak_watch *w, struct rt_leak_summary *out);

/* The leaks as text, greatest growth first: for each a line "+3 (0 -> 3) name: stack", with the stack
 * cut after RT_LEAK_LINE characters; in the long form followed by the whole stack, a function a line.
 * Context: goroutine; never parks. */
enum rt_leak_form { RT_LEAK_LINES, RT_LEAK_STACKS };
void rt_leak_watch_report(const struct rt_leak_watch *w, enum rt_leak_form form,
                          struct rt_string *out);
