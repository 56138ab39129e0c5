/* inspect/dump.c: every goroutine as text, for people.
 *
 *     goroutine 17 [chan receive, 12.250 s]: wal-writer
 *         rt_chan_recv+0x61
 *         wal_write_loop+0x4f
 *         goroutine_main+0x6e
 *       created at wal_open+0x1d2
 *
 * and in the short form those that are in the same place as one, most numerous first:
 *
 *     100 goroutines [select, 0.004 to 12.250 s]: watch-stream
 *         ...
 *
 * Used on the way out, too, so the long form takes no lock and asks no allocator; it reads goroutines
 * while they run (glance.c), so a line may be out of date. */
#include "runtime/inspect/dump.h"
#include "rt/inspect.h"
#include "runtime/inspect/places.h"
#include "runtime/inspect/text.h"
#include "runtime/sched/preempt.h"
#include "runtime/sched/spill.h"
#include "runtime/sched/stack.h"
#include <string.h>

enum {
    DUMP_MOST = 10 * 1000, // goroutines in the long form; the short one has them all
    LOOKS_BETWEEN = 64,    // goroutines between two chances for others to run
};

static void put_wait(struct sink *s, const char *before, int64_t ns, const char *after)
{
    sink_put(s, "%s%lld.%03lld%s", before, (long long)(ns / RT_SECOND),
             (long long)(ns % RT_SECOND / RT_MS), after);
}

static void put_goroutine(struct sink *s, struct names *names, const struct glance *at)
{
    sink_put(s, "goroutine %llu [%s", (unsigned long long)at->id, text_state(at));
    if (at->status == G_PARKED || at->status == G_BLOCKING)
        put_wait(s, ", ", at->waited_ns, " s");
    sink_put(s, "%s%s]: %s\n", at->urgent ? ", urgent" : "", at->pinned ? ", pinned" : "",
             at->name ? at->name : "?");
    text_stack(s, names, at);
    sink_put(s, "\n");
}

/* `self` first: it has most to say. */
static void dump(struct sink *s, const struct g *self, uintptr_t pc, uintptr_t frame)
{
    struct names names;
    struct glance at;
    uint32_t slots = glance_slots(), shown = 0, left_out = 0;
    if (slots == 0)
        return;
    names_open(&names);
    sink_put(s, "goroutines:\n\n");
    if (self) {
        glance_at_self(self, pc, frame, &at);
        put_goroutine(s, &names, &at);
    }
    for (uint32_t i = 0; i < slots; i++) {
        struct g *gp = glance_slot(i);
        if (s->string && i % LOOKS_BETWEEN == 0)
            g_check_preempt();
        if (gp == self)
            continue;
        if (shown == DUMP_MOST)
            left_out += load_relaxed(&gp->status) != G_FREE;
        else if (glance_at(gp, &at)) {
            put_goroutine(s, &names, &at);
            shown++;
        }
    }
    if (left_out)
        sink_put(s, "... and %u more\n", left_out);
    names_close(&names);
    sink_flush(s);
}

void sched_dump_to_fd(int fd)
{
    struct sink s = {.fd = fd};
    dump(&s, g_self(), 0, (uintptr_t)__builtin_frame_address(0));
}

void sched_dump_fault_to_fd(int fd, const struct g *gp, uintptr_t pc, uintptr_t frame)
{
    struct sink s = {.fd = fd};
    dump(&s, gp, pc, frame);
}

void rt_dump(struct rt_string *out)
{
    struct sink s = {.string = out, .fd = -1};
    dump(&s, g_self(), 0, (uintptr_t)__builtin_frame_address(0));
}

static void put_place(struct sink *s, struct names *names, const struct place *place)
{
    const struct glance *at = &place->first;
    sink_put(s, "%u goroutine%s [%s", place->count, place->count == 1 ? "" : "s", text_state(at));
    if (at->status == G_PARKED || at->status == G_BLOCKING) {
        put_wait(s, ", ", place->least_wait_ns, "");
        put_wait(s, " to ", place->most_wait_ns, " s");
    }
    sink_put(s, "]: %s\n", at->name ? at->name : "?");
    text_stack(s, names, at);
    sink_put(s, "\n");
}

void rt_dump_short(struct rt_string *out)
{
    struct sink s = {.string = out, .fd = -1};
    struct places places = {0};
    struct names names;
    struct glance at;
    uint32_t slots = glance_slots(), count = 0;
    struct g *self = g_self();
    for (uint32_t i = 0; i < slots; i++) {
        struct g *gp = glance_slot(i);
        if (i % LOOKS_BETWEEN == 0)
            g_check_preempt();
        if (gp == self)
            glance_at_self(self, 0, (uintptr_t)__builtin_frame_address(0), &at);
        else if (!glance_at(gp, &at))
            continue;
        struct place *place = places_of(&places, &at, true);
        if (place)
            place_add(place, &at);
        count++;
    }
    places_sort(&places);
    names_open(&names);
    sink_put(&s, "%u goroutines in %u places:\n\n", count, places.count);
    for (uint32_t i = 0; i < places.count; i++)
        put_place(&s, &names, places.all[i]);
    if (places.uncounted)
        sink_put(&s, "... and %llu goroutines in other places\n",
                 (unsigned long long)places.uncounted);
    names_close(&names);
    sink_flush(&s);
    places_deinit(&places);
}

void rt_stats(struct rt_stats *out)
{
    memset(out, 0, sizeof(*out));
    for (unsigned i = 0; i < sched.made; i++) {
        const struct p *p = &sched.ps[i];
        out->spawned += load_relaxed(&p->spawned);
        out->switches += load_relaxed(&p->switches);
        out->steals_empty += load_relaxed(&p->steals_by[STEAL_EMPTY]);
        out->steals_idle += load_relaxed(&p->steals_by[STEAL_IDLE]);
        out->steals_long += load_relaxed(&p->steals_by[STEAL_LONG]);
        out->steals += load_relaxed(&p->steals);
        out->stolen += load_relaxed(&p->stolen);
        out->global_gets += load_relaxed(&p->global_gets);
        out->polls += load_relaxed(&p->polls);
    }
    out->goroutines = rt_go_count();
    out->preempted_slice = load_relaxed(&sched.preempted_slice);
    out->preempted_need = load_relaxed(&sched.preempted_need);
    out->preempt_refused = load_relaxed(&sched.preempt_refused);
    out->handoffs = load_relaxed(&sched.handoffs);
    out->wakeups = load_relaxed(&sched.wakeups);
    out->wakeups_for_nothing = load_relaxed(&sched.wakeups_for_nothing);
    out->threads = load_relaxed(&sched.live_ms);
    const struct sched_poller *poller = load_acquire(&sched.poller);
    out->poller = poller ? poller->name : "none";
    out->poller_why = poller ? poller->why : "no descriptor was ever waited for";
    out->stack_guards = stack_guard_why();
    out->spilling = spill_why();
    out->preemption = preempt_why();
}
