/* inspect/glance.h: what one goroutine is doing, noted while it and all others go on: for the dump
 * and the leak detector. */
#pragma once
#include "runtime/sched/gmp.h"
#include <stdbool.h>
#include <stdint.h>

enum { GLANCE_FRAMES = 48 };

struct glance {
    uint64_t id;
    const char *name; // NULL: none
    enum g_status status;
    enum park_reason reason; // while parked
    int64_t waited_ns;       // parked or in a blocking call; else 0
    bool urgent, pinned;
    bool cut;             // it has more frames
    uintptr_t created_at; // inside the call of rt_go; 0: unknown
    int frames;
    int head; // how many of the runtime's own frames lie on top of the one the program called
    uintptr_t pcs[GLANCE_FRAMES]; // innermost first, each inside its call
};

/* Look at gp. False: there is no goroutine. One that is parked is held for the moment that copying its
 * return addresses takes. One that runs is asked by a signal, which may fail; one in a queue may be
 * about to run: its frames are from now or a moment ago, or none.
 * Context: any thread; never parks; signal-safe. */
bool glance_at(struct g *gp, struct glance *out);
/* The same for one that is parked or in a blocking call only; false also when it is neither. */
bool glance_at_rest(struct g *gp, struct glance *out);
/* The caller itself, from `frame` (of a function that is left out) on; `pc`: where it is, or 0. */
void glance_at_self(const struct g *gp, uintptr_t pc, uintptr_t frame, struct glance *out);

/* How many slots there are to look at, and the G of each.  Context: signal-safe. */
uint32_t glance_slots(void);
struct g *glance_slot(uint32_t i);

/* ---- the hook, for preempt.c's signal handler: gp was interrupted at pc, with that frame ---- */

extern _Atomic(struct g *) glance_wanted __attribute__((visibility("hidden")));
void glance_answer(struct g *gp, uintptr_t pc, uintptr_t frame);

static inline void glance_on_signal(struct g *gp, uintptr_t pc, uintptr_t frame)
{
    if (__builtin_expect(gp && load_relaxed(&glance_wanted) == gp, 0))
        glance_answer(gp, pc, frame);
}
