/* sched/stack.h: the stack arena: equal slots in one reserved mapping, a guard at the foot of each,
 * and the dense table of Gs, one for each slot.
 *
 * From the stack pointer alone one gets the G, at any instruction, in a signal handler too. Slots are
 * guarded once, at first use, and kept for reuse: what a spawn costs is decided by finding a slot
 * whose top page is already there (warm), so free slots are taken newest first.
 *
 *     P: free, then spare (a full batch) <-- batches --> shared: warm, then cold <-- never used
 *
 * A batch moves as a whole, by one lock and two links, so a P whose goroutines come and go takes and
 * gives without an atomic instruction. */
#pragma once
#include "rt/why.h"
#include "runtime/sched/gmp.h"
#include <stddef.h>
#include <stdint.h>

#if defined(RT_ASAN) || defined(RT_TSAN)
enum { STACK_SLOT = 256 << 10 }; // instrumented frames are several times as big
#else
enum { STACK_SLOT = 64 << 10 };
#endif
enum {
    STACK_PAGE = 4096,
    STACK_GUARD = 16 << 10, // Debian's libraries do not probe their frames; few are bigger
    STACK_ROOM = STACK_SLOT - STACK_GUARD,
    STACK_BATCH = 32,
    STACK_FREE_MAX = 2 * STACK_BATCH, // warm slots a P keeps
    STACK_MIN_ROOM = 6 << 10,         // below the stack pointer for an injected preemption
    STACK_WARM_MAX = 4096,            // slots on the shared list that keep their pages
    STACK_WARM_SPARE = 256,           // of these, unused for a while: they go slowly
};

extern uintptr_t stack_arena; // first slot; 0 when there is no arena
extern size_t stack_arena_bytes;
extern struct g *stack_table; // one G for each slot

/* The G whose slot `sp` points into, or NULL.  Context: signal-safe. */
static inline struct g *stack_g_of(uintptr_t sp)
{
    uintptr_t offset = sp - stack_arena;
    return offset < stack_arena_bytes ? &stack_table[offset / STACK_SLOT] : NULL;
}

static inline uintptr_t stack_slot_of(const struct g *gp)
{
    return stack_arena + (uintptr_t)(gp - stack_table) * STACK_SLOT;
}

/* Reserve `slots` slots. 0 or -errno with why. Where the kernel has no guards that are free (markers,
 * Linux 6.13), each takes two of the process's mappings: then there are only as many slots as
 * vm.max_map_count allows, and stack_guard_why says so. KVD_STACK_GUARD=mprotect asks for that; under
 * valgrind it is always so, with 8,192 slots at most.
 * Context: before any M runs. */
int stack_reserve(uint32_t slots, struct why *why);
void stack_release(void);

/* How slots are guarded, and how many there are at most, in a few words. */
const char *stack_guard_why(void);
uint32_t stack_slots(void);

/* The rare halves of what follows. */
struct g *stack_take_slow(struct p *p);
void stack_give_full(struct p *p);
void stack_unpoison(struct g *gp);

/* A G with a guarded slot, or NULL when all are in use (some may lie in other Ps' caches). The
 * fields of its last use are still there.  Context: owner P; never parks. */
static inline struct g *stack_take(struct p *p)
{
    struct g *gp = p->free;
    if (__builtin_expect(!gp, false))
        return stack_take_slow(p);
    p->free = gp->next;
    p->free_count--;
    return gp;
}

/* gp is off its stack for good.  Context: owner P; never parks. */
static inline void stack_give(struct p *p, struct g *gp)
{
#ifdef RT_ASAN
    stack_unpoison(gp);
#endif
    gp->next = p->free;
    p->free = gp;
    if (__builtin_expect(++p->free_count == STACK_BATCH, false))
        stack_give_full(p);
}

/* Where the first frame goes: 16-aligned, staggered so that the tops of many stacks do not share
 * cache sets. */
static inline uintptr_t stack_top_of(const struct g *gp)
{
    enum { STAGGER_STEPS = 24, STAGGER_BYTES = 128 };
    uintptr_t slot = (uintptr_t)(gp - stack_table);
    return stack_slot_of(gp) + STACK_SLOT - STAGGER_BYTES * (slot % STAGGER_STEPS) - 64;
}

/* ---- stacks that are elsewhere, or held: spill.c ---- */

/* gp is about to run, and its `away` says that its stack may be elsewhere, or held.
 * Context: the M that is about to run it; never parks. */
void stack_bring_back(struct g *gp);
/* gp was parked by this M a moment ago, and everything spills at once (it may run again by now). */
void stack_parked(struct g *gp);

/* The stack of a goroutine that is not running, as it is kept: the word at address `a` of the stack,
 * sp <= a < top, is at bytes[a - sp], in the slot or in a copy (spill.h). */
struct stack_view {
    uintptr_t sp, top;
    const uint8_t *bytes;
};

/* Hold gp where it is: from true until stack_unhold it does not run, even if it is readied, and what
 * the view shows stays (but for what others write there). False: it is not parked, or was just
 * readied, or its slot is being worked on: try again, or treat it as one that runs. Between the two
 * no goroutine's stack may be touched but the caller's own and the view, nothing may park or be
 * preempted, and the time is short: whoever wants to run it spins.
 * Context: any thread; never parks; signal-safe. */
bool stack_hold(struct g *gp, struct stack_view *view);
/* The same when the caller knows that no goroutine but himself runs (the world is stopped, a process is
 * dying): of any G that is off its thread, parked or not. */
bool stack_hold_stopped(struct g *gp, struct stack_view *view);
void stack_unhold(struct g *gp);

/* ---- */

/* How many slots were ever used: for dumps.  Context: signal-safe. */
uint32_t stack_used_slots(void);
/* Give pages of unused slots back, of `batches` at most; true when there are more than are kept. Once
 * a second or so, or again while it says true.  Context: sysmon. */
bool stack_trim(int batches);

/* The memory file behind the arena, -1 when it is private memory; the offset of an address in it. */
int stack_file(void);
off_t stack_file_offset(uintptr_t at);
/* Give [at, at + len) back to the kernel: zeros from now on. 0 or -errno.  Context: signal-safe. */
int stack_drop_pages(uintptr_t at, size_t len);
enum { STACK_GUARD_INSTALL = 102, STACK_GUARD_REMOVE = 103 }; // madvise; since Linux 6.13
