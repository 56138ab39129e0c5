/* sched/stack.c: reserving, guarding and reusing goroutine stacks. */
#include "runtime/sched/stack.h"
#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#ifdef RT_ASAN
#include <sanitizer/asan_interface.h>
#endif

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102 // since Linux 6.13
#endif

uintptr_t stack_arena;
size_t stack_arena_bytes;
struct g *stack_table;

static struct {
    void *mapping;
    size_t mapping_bytes, table_bytes;
    uint32_t slots;
    _Atomic uint32_t used; // slots ever handed out
    _Atomic bool guards_by_mprotect;
    struct spinlock shared_lock;
    struct g *warm, *cold;       // shared_lock: free slots with and without pages
    uint32_t warm_count;         // shared_lock
    _Atomic uint32_t free_count; // shared_lock; read without
} arena;

static void *reserve(size_t bytes)
{
    return mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
}

int stack_reserve(uint32_t slots, struct why *why)
{
    assert(!stack_arena);
    size_t bytes = (size_t)slots * STACK_SLOT;
    arena.mapping_bytes = bytes + STACK_SLOT;
    arena.table_bytes = (size_t)slots * sizeof(struct g);
    arena.mapping = reserve(arena.mapping_bytes);
    void *table = arena.mapping == MAP_FAILED ? MAP_FAILED : reserve(arena.table_bytes);
    if (table == MAP_FAILED) {
        int err = errno;
        char words[128];
        why_set(why,
                "cannot reserve %zu MiB of address space for %u goroutine stacks: %s; lower "
                "max_goroutines, raise the limit of virtual memory (ulimit -v), or allow "
                "overcommit (sysctl vm.overcommit_memory=0)",
                arena.mapping_bytes >> 20, slots, why_errno(err, words, sizeof(words)));
        if (arena.mapping != MAP_FAILED)
            munmap(arena.mapping, arena.mapping_bytes);
        return -err;
    }
    // One touch must not commit 2 MiB. An old kernel without huge pages refuses: nothing is lost.
    madvise(arena.mapping, arena.mapping_bytes, MADV_NOHUGEPAGE);
    arena.slots = slots;
    store_relaxed(&arena.used, 0);
    arena.warm = arena.cold = NULL;
    arena.warm_count = 0;
    store_relaxed(&arena.free_count, 0);
#if defined(RT_ASAN) || defined(RT_TSAN)
    store_relaxed(&arena.guards_by_mprotect, true); // the leak checker reads what is mapped
#endif
    stack_table = table;
    stack_arena_bytes = bytes;
    stack_arena = ((uintptr_t)arena.mapping + STACK_SLOT - 1) / STACK_SLOT * STACK_SLOT;
    return 0;
}

void stack_release(void)
{
    stack_arena_bytes = 0;
    stack_arena = 0;
#ifdef RT_ASAN
    __asan_unpoison_memory_region(arena.mapping, arena.mapping_bytes);
#endif
    munmap(arena.mapping, arena.mapping_bytes);
    munmap(stack_table, arena.table_bytes);
    stack_table = NULL;
}

static void guard(struct g *gp)
{
    void *foot = (void *)stack_slot_of(gp);
    if (!load_relaxed(&arena.guards_by_mprotect)) {
        if (madvise(foot, STACK_GUARD, MADV_GUARD_INSTALL) == 0)
            return;
        store_relaxed(&arena.guards_by_mprotect, true);
    }
    // Two mappings a slot: the kernel's limit of mappings ends this at some 32,000 slots.
    if (mprotect(foot, STACK_GUARD, PROT_NONE) != 0)
        rt_fatal("cannot guard the stack of goroutine slot %u: errno %d; raise vm.max_map_count or "
                 "lower max_goroutines",
                 (unsigned)(gp - stack_table), errno);
}

/* Move up to `want` free slots from the shared list into p's. */
static void take_shared(struct p *p, uint32_t want)
{
    if (load_relaxed(&arena.free_count) == 0)
        return; // a hint; a slot missed now is found by the next spawn
    spin_lock(&arena.shared_lock);
    while (want-- > 0) {
        struct g **from = arena.warm ? &arena.warm : &arena.cold;
        struct g *gp = *from;
        if (!gp)
            break;
        *from = gp->next;
        if (from == &arena.warm)
            arena.warm_count--;
        gp->next = p->free;
        p->free = gp;
        p->free_count++;
        store_relaxed(&arena.free_count, load_relaxed(&arena.free_count) - 1);
    }
    spin_unlock(&arena.shared_lock);
}

struct g *stack_take(struct p *p)
{
    if (!p->free)
        take_shared(p, STACK_FREE_MAX / 2);
    struct g *gp = p->free;
    if (gp) {
        p->free = gp->next;
        p->free_count--;
        return gp;
    }
    uint32_t slot = load_relaxed(&arena.used);
    do {
        if (slot >= arena.slots)
            return NULL;
    } while (!atomic_compare_exchange_weak(&arena.used, &slot, slot + 1));
    gp = &stack_table[slot];
    guard(gp);
    return gp;
}

void stack_give(struct p *p, struct g *gp)
{
#ifdef RT_ASAN
    __asan_unpoison_memory_region((void *)(stack_slot_of(gp) + STACK_GUARD),
                                  STACK_SLOT - STACK_GUARD);
#endif
    gp->next = p->free;
    p->free = gp;
    if (++p->free_count < STACK_FREE_MAX)
        return;
    spin_lock(&arena.shared_lock);
    for (int i = 0; i < STACK_FREE_MAX / 2; i++) {
        gp = p->free;
        p->free = gp->next;
        gp->next = arena.warm;
        arena.warm = gp;
    }
    p->free_count -= STACK_FREE_MAX / 2;
    arena.warm_count += STACK_FREE_MAX / 2;
    store_relaxed(&arena.free_count, load_relaxed(&arena.free_count) + STACK_FREE_MAX / 2);
    spin_unlock(&arena.shared_lock);
}

uint32_t stack_used_slots(void) { return load_acquire(&arena.used); }

void stack_trim(void)
{
    enum { BATCH = 64 };
    struct g *batch[BATCH];
    int count = 0;
    spin_lock(&arena.shared_lock);
    while (count < BATCH && arena.warm_count > STACK_WARM_MAX) {
        batch[count++] = arena.warm;
        arena.warm = arena.warm->next;
        arena.warm_count--;
    }
    store_relaxed(&arena.free_count, load_relaxed(&arena.free_count) - (uint32_t)count);
    spin_unlock(&arena.shared_lock);
    for (int i = 0; i < count; i++) // nobody else has them meanwhile
        madvise((void *)(stack_slot_of(batch[i]) + STACK_GUARD), STACK_SLOT - STACK_GUARD,
                MADV_DONTNEED);
    spin_lock(&arena.shared_lock);
    for (int i = 0; i < count; i++) {
        batch[i]->next = arena.cold;
        arena.cold = batch[i];
    }
    store_relaxed(&arena.free_count, load_relaxed(&arena.free_count) + (uint32_t)count);
    spin_unlock(&arena.shared_lock);
}

/* ---- looking at the stacks of others ---- */

_Atomic bool stack_spill_at_park;

void stack_bring_back(struct g *gp) { store_relaxed(&gp->away, AWAY_NOT); }
void stack_parked(struct g *gp) { (void)gp; }

/* Until stacks can be away, holding is for those who stopped everybody else. */
static bool show(struct g *gp, struct stack_view *view)
{
    uintptr_t sp = (uintptr_t)gp->sp;
    view->sp = sp;
    view->top = stack_top_of(gp);
    view->bytes = (const uint8_t *)sp;
    return sp >= stack_slot_of(gp) + STACK_GUARD && sp < view->top;
}

bool stack_hold(struct g *gp, struct stack_view *view)
{
    return load_acquire(&gp->status) == G_PARKED && show(gp, view);
}

bool stack_hold_stopped(struct g *gp, struct stack_view *view) { return show(gp, view); }

void stack_unhold(struct g *gp) { (void)gp; }
