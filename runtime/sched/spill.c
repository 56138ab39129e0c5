/* sched/spill.c: stacks that are away: see the header for who may do what when.
 *
 * A stack is away while its slot's `copy` is set. Everything of a slot, and the G's `away`, changes
 * under the slot's lock only. `away` is what others read without it: AWAY_NOT says that there is no
 * copy and nobody holds the stack, or that this G was not parked when somebody tried. */
#include "runtime/sched/spill.h"
#include "runtime/sched/copies.h"
#include "runtime/sched/fault.h"
#include "runtime/sched/stack.h"
#include "runtime/sched/valgrind.h"
#include <assert.h>
#include <errno.h>
#include <linux/membarrier.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22 // since Linux 5.14
#endif
#if defined(RT_ASAN) || defined(RT_TSAN)
enum { TOOLS_WATCH_STACKS = true };
#else
enum { TOOLS_WATCH_STACKS = false };
#endif

enum {
    BATCH = 64,                        // between two looks at the clock
    SHORTEST_ROUND_NS = 10 * 1000000,  // of the search for who is parked for long
    LONGEST_ROUND_NS = 2000 * 1000000, // when nobody was found
    SHARE = 20,                        // of its time the search may take, as 1 in so many
    LOCK_YIELDS = 1 << 20,             // the holder is dead by then, or we are
};

struct slot {
    uint8_t *copy; // lock: NULL: the stack is where it belongs
    _Atomic uint8_t lock;
    uint8_t was;        // lock: `away` before stack_hold
    uint16_t bytes;     // lock: of the copy
    uint32_t done_park; // spill thread: which park it has dealt with
};
static_assert(sizeof(struct slot) == 16, "one for each goroutine");

static struct {
    // set before start, then const
    struct slot *slots;
    uint32_t slot_count;
    bool is_able;
    const char *why;

    _Atomic int64_t after_ns;
    _Atomic uint32_t word; // futex of the spill thread
    _Atomic uint64_t spilled, restored, strays, trimmed, away, away_bytes;
} spill;

/* ---- of a run ---- */

/* In milliseconds; RT_SPILL_OFF, RT_SPILL_ALWAYS. */
static int asked_after_ms(void)
{
    const char *text = getenv("KVD_SPILL");
    if (sched.options.spill_after_ms != 0)
        return sched.options.spill_after_ms;
    if (!text || !*text)
        return RT_SPILL_OFF;
    if (strcmp(text, "on") == 0)
        return SPILL_AFTER_MS;
    if (strcmp(text, "always") == 0)
        return RT_SPILL_ALWAYS;
    int ms = 0;
    for (const char *at = text; *at >= '0' && *at <= '9' && ms < 1000000; at++)
        ms = ms * 10 + (*at - '0');
    return ms > 0 ? ms : RT_SPILL_OFF;
}

bool spill_is_wanted(void)
{
    int ms = asked_after_ms();
    memset(&spill, 0, sizeof(spill));
    bool watched = TOOLS_WATCH_STACKS || valgrind_watches();
    spill.is_able = !watched && !sched.simulated && ms != RT_SPILL_OFF;
    spill.why = TOOLS_WATCH_STACKS ? "off: a sanitizer watches the stacks"
                : watched          ? "off: valgrind watches the stacks"
                : sched.simulated  ? "off: a simulated world"
                : spill.is_able    ? "on: guards on a memory file"
                                   : "off: not asked for";
    store_relaxed(&spill.after_ns, ms == RT_SPILL_OFF      ? RT_FOREVER
                                   : ms == RT_SPILL_ALWAYS ? 0
                                                           : ms * RT_MS);
    return spill.is_able;
}

void spill_refuse(const char *why)
{
    spill.is_able = false;
    spill.why = why;
}

int spill_start(uint32_t slots)
{
    spill.slot_count = slots;
    spill.slots = mmap(NULL, slots * sizeof(struct slot), PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (spill.slots == MAP_FAILED)
        return -errno;
    if (spill.is_able && copies_start(slots) != 0)
        spill_refuse("off: no address space for the copies (ulimit -v)");
    spill_set_after_ns(load_relaxed(&spill.after_ns));
    return 0;
}

void spill_stop(void)
{
    set_unusual(UNUSUAL_SPILLING, false);
    if (spill.is_able)
        copies_stop();
    munmap(spill.slots, spill.slot_count * sizeof(struct slot));
    spill.slots = NULL;
    spill.is_able = false;
}

bool spill_is_able(void) { return spill.is_able; }
const char *spill_why(void) { return spill.why; }
int64_t spill_get_after_ns(void) { return load_relaxed(&spill.after_ns); }

void spill_set_after_ns(int64_t ns)
{
    if (!spill.is_able)
        ns = RT_FOREVER;
    store_relaxed(&spill.after_ns, ns);
    set_unusual(UNUSUAL_SPILLING, ns == 0);
    spill_break();
}

void spill_read_stats(struct spill_stats *out)
{
    out->spilled = load_relaxed(&spill.spilled);
    out->restored = load_relaxed(&spill.restored);
    out->strays = load_relaxed(&spill.strays);
    out->trimmed = load_relaxed(&spill.trimmed);
    out->away = load_relaxed(&spill.away);
    out->away_bytes = spill.is_able ? copies_held_bytes() : 0;
}

static void add(_Atomic uint64_t *counter, int64_t by)
{
    atomic_fetch_add_explicit(counter, (uint64_t)by, memory_order_relaxed);
}

/* ---- a slot ---- */

static struct slot *slot_of(const struct g *gp) { return &spill.slots[gp - stack_table]; }

/* False when its holder does not come back: a process that dies, seen by its own dump. */
static bool try_lock(struct slot *s)
{
    enum { SPINS_BEFORE_YIELD = 200 };
    for (unsigned spins = 0; spins < LOCK_YIELDS; spins++) {
        if (load_relaxed(&s->lock) == 0 &&
            atomic_exchange_explicit(&s->lock, 1, memory_order_acquire) == 0)
            return true;
        if (spins < SPINS_BEFORE_YIELD)
            cpu_relax();
        else
            sched_yield();
    }
    return false;
}

static void lock(struct slot *s)
{
    if (!try_lock(s))
        rt_fatal("the stack of goroutine slot %u stays locked", (unsigned)(s - spill.slots));
}

static void unlock(struct slot *s) { store_release(&s->lock, 0); }

/* Each thread of ours that runs has passed a barrier when this returns. Where the kernel refuses, it
 * has at the start, too: then no P is taken for solo (procs.c). */
static void barrier_everywhere(void)
{
    syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0);
}

/* (C): from true until `away` is as before, and the lock released, gp does not run. */
static bool claim(struct g *gp, struct slot *s)
{
    uint8_t parked = PARKED;
    s->was = load_relaxed(&gp->away);
    store_relaxed(&gp->away, AWAY_HELD);
    barrier_everywhere();
    if (atomic_compare_exchange_strong_explicit(&gp->parking, &parked, PARKED, memory_order_acq_rel,
                                                memory_order_relaxed))
        return true;
    store_release(&gp->away, s->was);
    return false;
}

/* ---- out and back ---- */

/* What it waits for leaves nothing of the kernel's on its stack. (A connection's goroutine waits for
 * readiness and calls the kernel when it runs again.) */
static bool may_go_away(const struct g *gp)
{
    static const bool clean[PARK_REASONS] = {
        [PARK_SLEEP] = true,   [PARK_CHAN_SEND] = true, [PARK_CHAN_RECV] = true,
        [PARK_SELECT] = true,  [PARK_MUTEX] = true,     [PARK_RWMUTEX] = true,
        [PARK_COND] = true,    [PARK_WAITGROUP] = true, [PARK_SEM] = true,
        [PARK_NOTE] = true,    [PARK_MAILBOX] = true,   [PARK_READ] = true,
        [PARK_WRITE] = true,   [PARK_CONN] = true,      [PARK_BLOCKING] = true,
        [PARK_FOREVER] = true,
    };
    return clean[load_relaxed(&gp->reason)] && !gp->pinned_m;
}

static uintptr_t room_of(const struct g *gp) { return stack_slot_of(gp) + STACK_GUARD; }

/* gp is held and uses much, or nothing can be away: of its slot only what lies more than a page below
 * its stack pointer goes. */
static void give_back_below(const struct g *gp)
{
    uintptr_t end = (uintptr_t)gp->sp / STACK_PAGE * STACK_PAGE - STACK_PAGE;
    if (end > room_of(gp) && stack_drop_pages(room_of(gp), end - room_of(gp)) == 0)
        add(&spill.trimmed, 1);
}

static bool lift_guard(const struct g *gp)
{
    return madvise((void *)room_of(gp), STACK_ROOM, STACK_GUARD_REMOVE) == 0;
}

/* gp is held. From the guard on whoever touches the stack traps and waits for our lock. False: it
 * stays where it is. */
static bool put_away(struct g *gp, struct slot *s)
{
    uintptr_t sp = (uintptr_t)gp->sp;
    size_t bytes = stack_top_of(gp) - sp;
    assert(sp > room_of(gp));
    assert(sp < stack_top_of(gp));
    if (!spill.is_able || bytes > SPILL_MOST || !fault_is_ours()) {
        give_back_below(gp);
        return false;
    }
    uint8_t *copy = copies_take(bytes);
    if (!copy)
        return false;
    bool guarded = madvise((void *)room_of(gp), STACK_ROOM, STACK_GUARD_INSTALL) == 0;
    if (!guarded || pread(stack_file(), copy, bytes, stack_file_offset(sp)) != (ssize_t)bytes ||
        stack_drop_pages(room_of(gp), STACK_ROOM) != 0) {
        if (!lift_guard(gp)) // the pages are still in the file, but it cannot run without them
            rt_fatal("cannot map the stack of goroutine %llu again: errno %d",
                     (unsigned long long)gp->id, errno);
        copies_give(copy, bytes);
        return false;
    }
    s->copy = copy;
    s->bytes = (uint16_t)bytes;
    add(&spill.spilled, 1);
    add(&spill.away, 1);
    return true;
}

/* Where writing to the file is refused (a limit on the size of files, set meanwhile), through a mapping
 * of the same pages. */
static bool fill_mapped(uintptr_t at, const uint8_t *from, size_t bytes)
{
    uintptr_t page = at / STACK_PAGE * STACK_PAGE;
    size_t len = at + bytes - page;
    uint8_t *window =
        mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, stack_file(), stack_file_offset(page));
    if (window == MAP_FAILED)
        return false;
    memcpy(window + (at - page), from, bytes);
    munmap(window, len);
    return true;
}

static void bring_back(struct g *gp, struct slot *s)
{
    uintptr_t sp = (uintptr_t)gp->sp;
    size_t bytes = s->bytes;
    bool filled = pwrite(stack_file(), s->copy, bytes, stack_file_offset(sp)) == (ssize_t)bytes ||
                  fill_mapped(sp, s->copy, bytes);
    if (!filled || !lift_guard(gp))
        rt_fatal("cannot bring back the stack of goroutine %llu: errno %d; is memory exhausted?",
                 (unsigned long long)gp->id, errno);
    copies_give(s->copy, bytes);
    s->copy = NULL;
    add(&spill.restored, 1);
    add(&spill.away, -1);
}

bool spill_try(struct g *gp)
{
    struct slot *s = slot_of(gp);
    lock(s);
    bool is_away = s->copy != NULL;
    if (!is_away && claim(gp, s)) {
        is_away = may_go_away(gp) && put_away(gp, s);
        if (!is_away)
            store_release(&gp->away, s->was);
    }
    unlock(s);
    return is_away;
}

void stack_parked(struct g *gp)
{
    if (load_relaxed(&gp->away) == AWAY_NOT)
        spill_try(gp);
}

void stack_bring_back(struct g *gp)
{
    struct slot *s = slot_of(gp);
    lock(s);
    if (s->copy)
        bring_back(gp, s);
    store_release(&gp->away, AWAY_NOT);
    unlock(s);
}

/* ---- strangers ---- */

/* True when the stack was away. It stays until gp has run. */
static bool keep_in(struct g *gp, struct slot *s)
{
    bool was_away = s->copy != NULL;
    if (was_away) {
        bring_back(gp, s);
        add(&spill.strays, 1);
    }
    store_release(&gp->away, AWAY_TOUCHED);
    return was_away;
}

bool spill_serve_trap(struct g *gp, uintptr_t at)
{
    struct slot *s = slot_of(gp);
    assert(at >= room_of(gp));
    if (!spill.is_able || !try_lock(s))
        return false;
    // Or somebody else brought it back between the trap and our lock: then the page can be had, as long
    // as nobody puts it away again.
    bool served = (s->copy && keep_in(gp, s)) || madvise((void *)(at / STACK_PAGE * STACK_PAGE),
                                                         STACK_PAGE, MADV_POPULATE_READ) == 0;
    unlock(s);
    return served;
}

bool spill_touch(const void *at, size_t len)
{
    uintptr_t from = (uintptr_t)at, to = from + len;
    bool any = false;
    struct g *self = g_self();
    if (!spill.is_able)
        return false;
    for (struct g *gp; from < to && (gp = stack_g_of(from)) != NULL;
         from = stack_slot_of(gp) + STACK_SLOT) {
        struct slot *s = slot_of(gp);
        if (gp == self)
            continue;
        lock(s);
        keep_in(gp, s);
        unlock(s);
        any = true;
    }
    return any;
}

size_t spill_bytes_of(const struct g *gp)
{
    const struct slot *s = slot_of(gp);
    return s->copy ? s->bytes : 0;
}

/* ---- looking ---- */

static bool show(const struct g *gp, const struct slot *s, struct stack_view *view)
{
    view->sp = (uintptr_t)gp->sp;
    view->top = stack_top_of(gp);
    view->bytes = s->copy ? s->copy : (const uint8_t *)view->sp;
    return view->sp >= room_of(gp) && view->sp < view->top;
}

bool stack_hold(struct g *gp, struct stack_view *view)
{
    struct slot *s = slot_of(gp);
    if (load_relaxed(&gp->parking) != PARKED && load_relaxed(&gp->away) == AWAY_NOT)
        return false; // it runs, or is about to
    if (!try_lock(s))
        return false;
    if (s->copy || claim(gp, s)) {
        bool shown = show(gp, s, view);
        assert(shown); // it left through switch_stack
        return true;
    }
    unlock(s);
    return false;
}

bool stack_hold_stopped(struct g *gp, struct stack_view *view)
{
    struct slot *s = slot_of(gp);
    if (!try_lock(s))
        return false;
    s->was = load_relaxed(&gp->away);
    if (show(gp, s, view))
        return true;
    unlock(s);
    return false;
}

void stack_unhold(struct g *gp)
{
    struct slot *s = slot_of(gp);
    if (!s->copy)
        store_release(&gp->away, s->was);
    unlock(s);
}

/* ---- who is parked for long ---- */

void spill_break(void)
{
    store_release(&spill.word, 1);
    futex_wake(&spill.word, 1);
}

static void sleep_until(int64_t until_ns)
{
    if (!load_seq(&sched.stopping))
        futex_wait(&spill.word, 0, until_ns);
    store_relaxed(&spill.word, 0);
}

/* True when it had something to do. */
static bool consider(struct g *gp, int64_t parked_before)
{
    if (load_relaxed(&gp->status) != G_PARKED || load_relaxed(&gp->away) != AWAY_NOT)
        return false;
    int64_t since = load_relaxed(&gp->since_ns);
    uint32_t park = (uint32_t)((uint64_t)since >> 16) | 1;
    struct slot *s = slot_of(gp);
    if (since > parked_before || s->done_park == park)
        return false;
    if (!spill_try(gp))
        s->done_park = park; // not again before its next one
    return true;
}

/* Look at everybody once. It shares its thread's time with those who work: half of it at most. */
static uint32_t look_at_all(int64_t parked_before)
{
    uint32_t used = stack_used_slots(), found = 0;
    int64_t began = clock_real_now_ns();
    for (uint32_t i = 0; i < used && !load_relaxed(&sched.stopping); i++) {
        if (!consider(&stack_table[i], parked_before) || ++found % BATCH != 0)
            continue;
        int64_t now = clock_real_now_ns();
        if (load_relaxed(&sched.idle_p_count) < sched.procs)
            sleep_until(now + (now - began));
        began = clock_real_now_ns();
    }
    return found;
}

void spill_run(void)
{
    int64_t delay = SHORTEST_ROUND_NS;
    while (!TOOLS_WATCH_STACKS && !load_seq(&sched.stopping)) {
        int64_t after = load_relaxed(&spill.after_ns), began = clock_real_now_ns();
        if (after == 0 || after == RT_FOREVER)
            after = SPILL_AFTER_MS * RT_MS; // pages are given back all the same
        uint32_t found = look_at_all(began - after);
        int64_t now = clock_real_now_ns(), least = (now - began) * SHARE;
        delay = found ? after / 4 : delay * 2;
        if (delay < SHORTEST_ROUND_NS)
            delay = SHORTEST_ROUND_NS;
        if (delay > LONGEST_ROUND_NS)
            delay = LONGEST_ROUND_NS;
        sleep_until(now + (delay > least ? delay : least));
    }
}
