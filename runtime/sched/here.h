/* sched/here.h: the calling goroutine, and what the short paths of sync/ do with it. */
#pragma once
#include "runtime/sched/stack.h"
#include "runtime/sched/usual.h"
#include <assert.h>

/* g_self, without a call. */
static inline struct g *g_here(void) { return stack_g_of((uintptr_t)__builtin_frame_address(0)); }

/* The M of the only P. */
static inline struct m *m_solo(void) { return load_relaxed(&sched.ps->m); }

/* g_here, where there is a P. By the stack pointer the next turn could not begin before the last has
 * loaded it; what a solo P has is found without.  Context: with a P. */
static inline struct g *g_running(void)
{
    return likely(is_solo()) ? load_relaxed(&m_solo()->cur) : g_here();
}
static inline struct m *m_running(struct g *gp) { return likely(is_solo()) ? m_solo() : gp->m; }

/* sched_ready, by the goroutine `self` (or NULL: whoever calls finds out). */
void g_ready(struct g *self, struct g *gp);
/* Park, for the commonest commit: release `lock` (of sync/), under which `self` was queued. */
void g_park_unlocking(struct g *self, _Atomic uint32_t *lock, enum park_reason reason);

/* The exit of a runtime call: honour a request that came meanwhile.  Context: goroutine or any. */
void g_honour_pending(struct g *gp);
static inline void g_exit_call(struct g *gp)
{
    if (gp && unlikely(load_relaxed(&gp->preempt_pending) != PREEMPT_NONE))
        g_honour_pending(gp);
}

/* g_lock_taken, g_lock_forgotten. */
static inline void g_lock_taken_by(struct g *gp)
{
    if (gp)
        gp->taken++;
    atomic_signal_fence(memory_order_seq_cst);
}
static inline void g_lock_given_by(struct g *gp)
{
    atomic_signal_fence(memory_order_seq_cst);
    if (!gp)
        return;
    assert(gp->given != gp->taken); // whoever unlocks is the one who locked
    gp->given++;
}
