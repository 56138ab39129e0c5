/* sched/stack.c: reserving, guarding and reusing goroutine stacks.
 *
 * A free G has no saved stack pointer, so `sp` links batches; its link `next` is that of the batch it
 * is in, and `taken` of a batch's first one counts it. */
#include "runtime/sched/stack.h"
#include "runtime/sched/spill.h"
#include "runtime/sched/valgrind.h"
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#ifdef RT_ASAN
#include <sanitizer/asan_interface.h>
#endif

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 // since Linux 5.14
#endif

enum {
    MAPPINGS_DEFAULT = 65530, // vm.max_map_count, where it cannot be read
    MAPPINGS_OTHERS = 2048,   // for everything but stacks
    VALGRIND_SLOTS = 8192, // it keeps account of 30,000 mappings, and has no room for many stacks
};

uintptr_t stack_arena;
size_t stack_arena_bytes;
struct g *stack_table;

static struct {
    void *mapping;
    size_t mapping_bytes, table_bytes;
    int file;              // memory file, or -1
    uint32_t slots;        // const while reserved
    bool by_mprotect;      // const while reserved
    char guard_why[160];   // const while reserved
    _Atomic uint32_t used; // slots ever handed out
    struct spinlock shared_lock;
    struct g *warm, *cold;         // shared_lock: batches with and without pages
    struct g *bare;                // shared_lock: taken once, the kernel refused the guard
    _Atomic uint32_t bare_count;   // shared_lock; read without
    uint32_t warm_count, warm_low; // shared_lock: slots; the least since the last trim
    _Atomic uint32_t free_count;   // shared_lock: slots; read without
} arena = {.file = -1};

/* ---- reserving ---- */

static void *reserve(size_t bytes, int file)
{
    int kind = file >= 0 ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK;
    return mmap(NULL, bytes, PROT_READ | PROT_WRITE, kind | MAP_NORESERVE, file, 0);
}

/* The file whose pages are the stacks, when this run may spill: see spill.h for what it must be able
 * to do. -1: private memory, and no spilling. */
static int open_file(size_t bytes)
{
    if (!spill_is_wanted())
        return -1;
    int file = memfd_create("goroutine-stacks", MFD_CLOEXEC);
    if (file < 0) {
        spill_refuse("off: this system has no memory files (memfd_create)");
        return -1;
    }
    if (ftruncate(file, (off_t)bytes) != 0) {
        spill_refuse("off: no memory file of the arena's size is allowed (ulimit -f)");
        close(file);
        return -1;
    }
    return file;
}

static bool has_guard_markers(void *page)
{
    return madvise(page, STACK_PAGE, STACK_GUARD_INSTALL) == 0 &&
           madvise(page, STACK_PAGE, STACK_GUARD_REMOVE) == 0;
}

/* Map the arena: shared when it may be spilled and this kernel has guards on shared memory. */
static void *map_arena(size_t bytes)
{
    arena.file = open_file(bytes);
    if (arena.file >= 0) {
        void *at = reserve(bytes, arena.file);
        if (at != MAP_FAILED && has_guard_markers(at)) {
            madvise(at, bytes, MADV_DONTFORK); // a child must not write into our stacks
            return at;
        }
        spill_refuse(at == MAP_FAILED
                         ? "off: no shared mapping of the arena's size is allowed"
                         : "off: this kernel has no guards on shared memory (Linux 6.15)");
        if (at != MAP_FAILED)
            munmap(at, bytes);
        close(arena.file);
        arena.file = -1;
    }
    return reserve(bytes, -1);
}

static uint32_t mappings_allowed(void)
{
    char text[24] = "";
    int fd = open("/proc/sys/vm/max_map_count", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof(text) - 1);
    if (fd >= 0)
        close(fd);
    uint32_t value = 0;
    for (ssize_t i = 0; i < n && text[i] >= '0' && text[i] <= '9' && value < (1u << 26); i++)
        value = value * 10 + (uint32_t)(text[i] - '0');
    return value ? value : MAPPINGS_DEFAULT;
}

/* Markers if the kernel has them; else mprotect, and as many slots as that has room for. */
static void choose_guards(uint32_t slots)
{
    const char *asked = getenv("KVD_STACK_GUARD");
    bool forced = asked && strcmp(asked, "mprotect") == 0;
#if defined(RT_ASAN) || defined(RT_TSAN)
    forced = true; // the leak checker reads what is mapped
#endif
    forced = forced || valgrind_watches();
    arena.slots = slots;
    arena.by_mprotect = forced || !has_guard_markers(arena.mapping);
    if (!arena.by_mprotect) {
        snprintf(arena.guard_why, sizeof(arena.guard_why), "guard markers, %u slots", slots);
        return;
    }
    uint32_t allowed = mappings_allowed();
    uint32_t most =
        allowed > 2 * MAPPINGS_OTHERS ? (allowed - MAPPINGS_OTHERS) / 2 : MAPPINGS_OTHERS / 2;
    if (arena.slots > most)
        arena.slots = most;
    snprintf(arena.guard_why, sizeof(arena.guard_why), "mprotect (%s): %u slots%s",
             valgrind_watches() ? "valgrind watches"
             : forced           ? "asked for"
                                : "no guard markers: Linux 6.13",
             arena.slots,
             arena.slots < slots ? ", two mappings each: raise vm.max_map_count for more" : "");
}

int stack_reserve(uint32_t slots, struct why *why)
{
    assert(!stack_arena);
    if (valgrind_watches() && slots > VALGRIND_SLOTS)
        slots = VALGRIND_SLOTS;
    size_t bytes = (size_t)slots * STACK_SLOT;
    arena.mapping_bytes = bytes + STACK_SLOT;
    arena.table_bytes = (size_t)slots * sizeof(struct g);
    arena.mapping = map_arena(arena.mapping_bytes);
    void *table = arena.mapping == MAP_FAILED ? MAP_FAILED : reserve(arena.table_bytes, -1);
    int err = table == MAP_FAILED ? -errno : spill_start(slots);
    if (err) {
        char words[128];
        why_set(why,
                "cannot reserve %zu MiB of address space for %u goroutine stacks: %s; lower "
                "max_goroutines, raise the limit of virtual memory (ulimit -v), or allow "
                "overcommit (sysctl vm.overcommit_memory=0)",
                arena.mapping_bytes >> 20, slots, why_errno(-err, words, sizeof(words)));
        if (arena.mapping != MAP_FAILED)
            munmap(arena.mapping, arena.mapping_bytes);
        if (table != MAP_FAILED)
            munmap(table, arena.table_bytes);
        if (arena.file >= 0)
            close(arena.file);
        arena.file = -1;
        return err;
    }
    // One touch must not commit 2 MiB. An old kernel without huge pages refuses: nothing is lost.
    madvise(arena.mapping, arena.mapping_bytes, MADV_NOHUGEPAGE);
    choose_guards(slots);
    store_relaxed(&arena.used, 0);
    arena.warm = arena.cold = arena.bare = NULL;
    arena.warm_count = arena.warm_low = 0;
    store_relaxed(&arena.bare_count, 0);
    store_relaxed(&arena.free_count, 0);
    stack_table = table;
    stack_arena_bytes = bytes;
    stack_arena = ((uintptr_t)arena.mapping + STACK_SLOT - 1) / STACK_SLOT * STACK_SLOT;
    return 0;
}

void stack_release(void)
{
    spill_stop();
    stack_arena_bytes = 0;
    stack_arena = 0;
#ifdef RT_ASAN
    __asan_unpoison_memory_region(arena.mapping, arena.mapping_bytes);
#endif
    munmap(arena.mapping, arena.mapping_bytes);
    munmap(stack_table, arena.table_bytes);
    stack_table = NULL;
    if (arena.file >= 0)
        close(arena.file);
    arena.file = -1;
}

const char *stack_guard_why(void) { return arena.guard_why; }
uint32_t stack_slots(void) { return arena.slots; }
uint32_t stack_used_slots(void) { return load_acquire(&arena.used); }
int stack_file(void) { return arena.file; }
off_t stack_file_offset(uintptr_t at) { return (off_t)(at - (uintptr_t)arena.mapping); }

int stack_drop_pages(uintptr_t at, size_t len)
{
    int rc = arena.file >= 0 ? fallocate(arena.file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                                         stack_file_offset(at), (off_t)len)
                             : madvise((void *)at, len, MADV_DONTNEED);
    return rc == 0 ? 0 : -errno;
}

/* ---- guards ---- */

static bool guard(struct g *gp)
{
    uintptr_t foot = stack_slot_of(gp);
    if (!arena.by_mprotect)
        return madvise((void *)foot, STACK_GUARD, STACK_GUARD_INSTALL) == 0;
    if (mprotect((void *)foot, STACK_GUARD, PROT_NONE) != 0)
        return false;
    valgrind_tell_stack(foot + STACK_GUARD, foot + STACK_SLOT);
    return true;
}

/* The page that the first frames will be on. A hint: whoever runs there first would get it, too. */
static void populate(struct g *gp)
{
    void *page = (void *)((stack_top_of(gp) - 1) / STACK_PAGE * STACK_PAGE);
    madvise(page, STACK_PAGE, MADV_POPULATE_WRITE);
}

/* The kernel gives no more (mappings, most likely; other parts of the process use some, too): the
 * slot is tried again when somebody wants one. */
static void put_bare(struct g *gp)
{
    spin_lock(&arena.shared_lock);
    gp->next = arena.bare;
    arena.bare = gp;
    store_relaxed(&arena.bare_count, load_relaxed(&arena.bare_count) + 1);
    spin_unlock(&arena.shared_lock);
}

static struct g *take_bare(void)
{
    spin_lock(&arena.shared_lock);
    struct g *gp = arena.bare;
    if (gp) {
        arena.bare = gp->next;
        store_relaxed(&arena.bare_count, load_relaxed(&arena.bare_count) - 1);
    }
    spin_unlock(&arena.shared_lock);
    if (gp && !guard(gp)) {
        put_bare(gp);
        return NULL;
    }
    return gp;
}

/* ---- taking and giving ---- */

static struct g *next_batch(struct g *batch) { return batch->sp; }

static void push_batch(struct g **list, struct g *batch)
{
    batch->sp = *list;
    *list = batch;
}

/* What the shared list has changes by that many. Under its lock. */
static void count_shared(int64_t warm, int64_t all)
{
    arena.warm_count += (uint32_t)warm;
    if (arena.warm_count < arena.warm_low)
        arena.warm_low = arena.warm_count;
    store_relaxed(&arena.free_count, load_relaxed(&arena.free_count) + (uint32_t)all);
}

static void give_batch(struct g *batch, uint32_t count)
{
    batch->taken = count;
    spin_lock(&arena.shared_lock);
    push_batch(&arena.warm, batch);
    count_shared(count, count);
    spin_unlock(&arena.shared_lock);
}

/* A batch from the shared list becomes what p has. */
static bool take_batch(struct p *p)
{
    if (load_relaxed(&arena.free_count) == 0)
        return false; // a hint; a slot missed now is found by the next spawn
    spin_lock(&arena.shared_lock);
    bool is_warm = arena.warm != NULL;
    struct g **list = is_warm ? &arena.warm : &arena.cold, *batch = *list;
    if (batch) {
        *list = next_batch(batch);
        count_shared(is_warm ? -(int64_t)batch->taken : 0, -(int64_t)batch->taken);
    }
    spin_unlock(&arena.shared_lock);
    if (!batch)
        return false;
    p->free = batch;
    p->free_count = batch->taken;
    if (!is_warm && p->fresh_streak >= STACK_BATCH) // somebody starts many
        for (struct g *gp = batch; gp; gp = gp->next)
            populate(gp);
    if (!is_warm)
        p->fresh_streak += p->free_count;
    return true;
}

/* Slots that were never used: one, or in a burst a batch, with their pages. */
static struct g *take_fresh(struct p *p)
{
    bool burst = p->fresh_streak >= STACK_BATCH;
    if (load_relaxed(&arena.bare_count) > 0)
        return take_bare();
    uint32_t slot = load_relaxed(&arena.used), count;
    do {
        count = arena.slots - slot;
        if (count == 0)
            return take_bare();
        if (count > (burst ? STACK_BATCH : 1))
            count = burst ? STACK_BATCH : 1;
    } while (!atomic_compare_exchange_weak(&arena.used, &slot, slot + count));
    assert(!p->free);
    struct g *first = NULL;
    for (uint32_t i = count; i-- > 0;) { // the lowest one last, and so first
        struct g *gp = &stack_table[slot + i];
        if (!guard(gp)) {
            put_bare(gp);
            continue;
        }
        if (burst)
            populate(gp);
        if (first) {
            first->next = p->free;
            p->free = first;
            p->free_count++;
        }
        first = gp;
    }
    p->fresh_streak += count;
    return first;
}

struct g *stack_take_slow(struct p *p)
{
    if (p->spare) {
        p->free = p->spare;
        p->free_count = STACK_BATCH;
        p->spare = NULL;
    } else if (!take_batch(p)) {
        return take_fresh(p);
    }
    struct g *gp = p->free;
    p->free = gp->next;
    p->free_count--;
    return gp;
}

void stack_give_full(struct p *p)
{
    if (p->spare)
        give_batch(p->spare, STACK_BATCH);
    p->spare = p->free;
    p->free = NULL;
    p->free_count = 0;
    p->fresh_streak = 0;
}

#ifdef RT_ASAN
void stack_unpoison(struct g *gp)
{
    __asan_unpoison_memory_region((void *)(stack_slot_of(gp) + STACK_GUARD), STACK_ROOM);
}
#endif

/* ---- giving back ---- */

/* The newest warm batch, when there are more than `most` warm slots, or always for `most` 0. */
static struct g *take_unneeded(uint32_t most)
{
    spin_lock(&arena.shared_lock);
    struct g *batch = arena.warm_count > most ? arena.warm : NULL;
    if (batch) {
        arena.warm = next_batch(batch);
        count_shared(-(int64_t)batch->taken, -(int64_t)batch->taken);
    }
    spin_unlock(&arena.shared_lock);
    return batch;
}

static void cool(struct g *batch)
{
    for (struct g *gp = batch; gp; gp = gp->next) // nobody else has them meanwhile
        stack_drop_pages(stack_slot_of(gp) + STACK_GUARD, STACK_ROOM);
    spin_lock(&arena.shared_lock);
    push_batch(&arena.cold, batch);
    count_shared(0, batch->taken);
    spin_unlock(&arena.shared_lock);
}

bool stack_trim(int batches)
{
    struct g *batch = NULL;
    while (batches-- > 0 && (batch = take_unneeded(STACK_WARM_MAX)) != NULL)
        cool(batch);
    if (batch)
        return true;
    spin_lock(&arena.shared_lock);
    bool unused = arena.warm_low >= STACK_WARM_SPARE; // since the last look
    arena.warm_low = arena.warm_count;
    spin_unlock(&arena.shared_lock);
    if (unused && (batch = take_unneeded(0)) != NULL)
        cool(batch);
    return false;
}
