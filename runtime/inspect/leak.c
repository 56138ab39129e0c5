/* inspect/leak.c: who stays, and was not there before. See rt/leak.h for what counts.
 *
 * Who was there at the baseline is kept as a set of ids, eight bytes each; ids are never used again
 * in a process. Running and queued goroutines are not looked at: a leak waits. */
#include "rt/leak.h"
#include "rt/go.h"
#include "runtime/inspect/places.h"
#include "runtime/inspect/text.h"
#include <assert.h>
#include <errno.h>

enum {
    LOOKS_BETWEEN = 64, // goroutines between two chances for others to run
    RECENT = 3,         // looks that have to agree
};
static_assert(sizeof(((struct place *)NULL)->recent) == RECENT * sizeof(uint32_t), "places.h");
static_assert((int)TEXT_LINE_STACK == (int)RT_LEAK_LINE, "the line is cut where we say");

struct ids {
    uint64_t *slots; // 0: free
    size_t cap, count;
};

struct rt_leak_watch {
    struct rt_leak_options options;
    unsigned round;
    uint64_t goroutines_before, goroutines_now;
    struct ids base;
    struct places places; // of everybody ever seen at rest
};

/* ---- ids ---- */

static uint64_t *id_slot(const struct ids *ids, uint64_t id)
{
    size_t at = (size_t)(id * UINT64_C(0x9e3779b97f4a7c15) >> 20) & (ids->cap - 1);
    while (ids->slots[at] && ids->slots[at] != id)
        at = (at + 1) & (ids->cap - 1);
    return &ids->slots[at];
}

static void ids_add(struct ids *ids, uint64_t id)
{
    if (2 * ids->count >= ids->cap) {
        struct ids grown = {.cap = ids->cap ? 2 * ids->cap : 1024, .count = ids->count};
        grown.slots = rt_alloc_zero(grown.cap * sizeof(uint64_t));
        if (!grown.slots) // some ten million goroutines
            return;
        for (size_t i = 0; i < ids->cap; i++)
            if (ids->slots[i])
                *id_slot(&grown, ids->slots[i]) = ids->slots[i];
        rt_free(ids->slots);
        *ids = grown;
    }
    uint64_t *slot = id_slot(ids, id);
    ids->count += *slot == 0;
    *slot = id;
}

static bool ids_has(const struct ids *ids, uint64_t id)
{
    return ids->cap && *id_slot(ids, id) == id;
}

/* ---- looking ---- */

int rt_leak_options_check(const struct rt_leak_options *o, struct why *why)
{
    if (o->period_ns < RT_MS || o->period_ns > 3600 * RT_SECOND)
        why_set(why, "the period between two looks is 1ms to 1h");
    else if (o->rounds < 1 || o->rounds > RT_LEAK_ROUNDS_MAX)
        why_set(why, "a watch has 1 to %d rounds", RT_LEAK_ROUNDS_MAX);
    else
        return 0;
    return -EINVAL;
}

static uint32_t growth_of(const struct place *place)
{
    uint32_t more = place->count > place->base ? place->count - place->base : 0;
    return more < place->fresh ? more : place->fresh;
}

/* Everybody who is at rest, into the places. */
static void look(struct rt_leak_watch *w, bool at_baseline)
{
    struct glance at;
    for (uint32_t i = 0, slots = glance_slots(); i < slots; i++) {
        if (i % LOOKS_BETWEEN == 0)
            g_check_preempt();
        struct g *gp = glance_slot(i);
        if (at_baseline && load_acquire(&gp->status) != G_FREE)
            ids_add(&w->base, gp->id); // it may be running: it was there all the same
        if (!glance_at_rest(gp, &at))
            continue;
        struct place *place = places_of(&w->places, &at, false);
        if (!place)
            continue;
        place_add(place, &at);
        place->base += at_baseline;
        place->fresh += at.waited_ns >= w->options.period_ns && !ids_has(&w->base, at.id);
    }
}

struct rt_leak_watch *rt_leak_watch_new(const struct rt_leak_options *o)
{
    assert(rt_leak_options_check(o, NULL) == 0);
    struct rt_leak_watch *w = rt_alloc_zero(sizeof(*w));
    w->options = *o;
    w->goroutines_before = w->goroutines_now = rt_go_count();
    look(w, true);
    return w;
}

void rt_leak_watch_free(struct rt_leak_watch *w)
{
    if (!w)
        return;
    places_deinit(&w->places);
    rt_free(w->base.slots);
    rt_free(w);
}

/* The least growth of the last looks, 0 when it is no leak. */
static uint32_t leak_of(const struct rt_leak_watch *w, const struct place *place)
{
    uint32_t least = UINT32_MAX;
    for (unsigned i = 0; i < RECENT && i < w->round; i++)
        if (place->recent[i] < least)
            least = place->recent[i];
    return w->round > 0 && least > w->options.threshold ? least : 0;
}

static void log_leaks(const struct rt_leak_watch *w)
{
    struct names names;
    char stack[TEXT_LINE_STACK + 1];
    if (!w->options.log)
        return;
    names_open(&names);
    for (uint32_t i = 0; i < w->places.count; i++) {
        const struct place *place = w->places.all[i];
        if (!leak_of(w, place))
            continue;
        text_stack_line(&names, &place->first, stack);
        rt_log(w->options.log, RT_LOG_WARN, "goroutines pile up",
               rt_f_str("name", place->first.name ? place->first.name : "?"),
               rt_f_uint("before", place->base), rt_f_uint("now", place->count),
               rt_f_str("stack", stack));
    }
    names_close(&names);
}

bool rt_leak_watch_look_now(struct rt_leak_watch *w)
{
    assert(w->round < w->options.rounds);
    for (uint32_t i = 0; i < w->places.count; i++)
        w->places.all[i]->count = w->places.all[i]->fresh = 0;
    w->goroutines_now = rt_go_count();
    w->places.uncounted = 0;
    look(w, false);
    for (uint32_t i = 0; i < w->places.count; i++) {
        struct place *place = w->places.all[i];
        for (int k = RECENT - 1; k > 0; k--)
            place->recent[k] = place->recent[k - 1];
        place->recent[0] = growth_of(place);
    }
    if (++w->round < w->options.rounds)
        return true;
    log_leaks(w);
    return false;
}

bool rt_leak_watch_look(struct rt_leak_watch *w)
{
    rt_sleep_ns(w->options.period_ns);
    return rt_leak_watch_look_now(w);
}

/* ---- telling ---- */

void rt_leak_watch_summary(const struct rt_leak_watch *w, struct rt_leak_summary *out)
{
    *out = (struct rt_leak_summary){
        .rounds = w->round,
        .goroutines_before = w->goroutines_before,
        .goroutines_now = w->goroutines_now,
        .unwatched = w->places.uncounted,
    };
    for (uint32_t i = 0; i < w->places.count; i++)
        out->leaks += leak_of(w, w->places.all[i]) > 0;
}

static void put_leak(struct sink *s, struct names *names, const struct place *place,
                     enum rt_leak_form form)
{
    char stack[TEXT_LINE_STACK + 1];
    text_stack_line(names, &place->first, stack);
    sink_put(s, "+%u (%u -> %u) %s: %s\n", place->recent[0], place->base, place->count,
             place->first.name ? place->first.name : "?", stack);
    if (form == RT_LEAK_LINES)
        return;
    text_stack(s, names, &place->first);
    sink_put(s, "\n");
}

/* The place that is told next: the greatest leak below `before`, in order of the list among equals. */
static const struct place *next_leak(const struct rt_leak_watch *w, uint64_t *before)
{
    const struct place *next = NULL;
    uint64_t best = 0;
    for (uint32_t i = 0; i < w->places.count; i++) {
        uint64_t order = (uint64_t)leak_of(w, w->places.all[i]) << 32 | (PLACES_MAX - i);
        if (order >> 32 && order < *before && order > best) {
            best = order;
            next = w->places.all[i];
        }
    }
    *before = best;
    return next;
}

void rt_leak_watch_report(const struct rt_leak_watch *w, enum rt_leak_form form,
                          struct rt_string *out)
{
    struct sink s = {.string = out, .fd = -1};
    struct names names;
    uint64_t before = UINT64_MAX;
    names_open(&names);
    for (const struct place *place; (place = next_leak(w, &before));)
        put_leak(&s, &names, place, form);
    names_close(&names);
    sink_flush(&s);
}
