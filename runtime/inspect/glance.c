/* inspect/glance.c: walking stacks by frame pointers, from the inside of the process, while it runs.
 *
 * Whatever is read may be out of date or half changed: addresses are checked to lie in the goroutine's
 * own slot, above its guard, before they are followed, and each frame must lie above the one before.
 *   parked           held still by stack_hold: what we see is how it is. It may lie in a copy
 *                    (spill.h): the view says where.
 *   in rt_blocking   its frames above that call stay as they are until it returns; its registers lie
 *                    at gp->sp (stop_rest). If it returned meanwhile, what we saw is dropped.
 *   in a queue       as parked ones, but it may start to run while we look: dropped, too.
 *   running          its M gets SIGURG, whose handler walks the interrupted stack for us:
 *     (A) asker:   glance_wanted = gp, then the signal.
 *     (B) handler: CAS glance_wanted gp -> NULL: the answer is its to write, then `answered`, release.
 *     (C) asker, tired of waiting: the same CAS. Won: nobody will write. Lost: `answered` comes. */
#include "runtime/inspect/glance.h"
#include "runtime/sched/stack.h"
#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

extern char __start_rt_go[] __attribute__((weak, visibility("hidden")));
extern char __stop_rt_go[] __attribute__((weak, visibility("hidden")));

enum {
    SAVED_RBP = 0, // words above the stack pointer of one that was switched away
    SAVED_PC = 1,
    RESTING_RBP = 1, // of one in rt_blocking: struct stop_registers
    ANSWER_WITHIN_NS = 10 * 1000 * 1000,
    ANSWER_SPIN_NS = 100 * 1000, // before the wait becomes a sleep
};

// Reads what its owner may be writing: that is the idea.
#define GLANCES __attribute__((no_sanitize("thread", "address")))

_Atomic(struct g *) glance_wanted;

static struct {
    _Atomic uint32_t busy; // somebody asks
    _Atomic uint32_t answered;
    int frames;
    bool cut;
    uintptr_t pcs[GLANCE_FRAMES];
} sample;

/* A stack to walk: the word at address a of it is at bytes[a - low]. */
struct walk {
    uintptr_t low, high;
    const uint8_t *bytes;
    uintptr_t *pcs;
    int frames;
    bool cut;
};

static void add(struct walk *w, uintptr_t pc)
{
    if (w->frames < GLANCE_FRAMES)
        w->pcs[w->frames++] = pc;
    else
        w->cut = true;
}

GLANCES static uintptr_t word_at(const struct walk *w, uintptr_t at)
{
    return *(const volatile uintptr_t *)(w->bytes + (at - w->low));
}

/* The words at `frame` are the caller's frame and the return address. */
static void walk_up(struct walk *w, uintptr_t frame)
{
    while (!w->cut) {
        if (frame < w->low || frame > w->high - 16 || frame % 8 != 0)
            return;
        uintptr_t next = word_at(w, frame), pc = word_at(w, frame + 8);
        if (pc == 0)
            return;
        add(w, pc - 1);
        if (next <= frame)
            return;
        frame = next;
    }
}

static struct walk walk_slot(const struct g *gp, uintptr_t *pcs)
{
    uintptr_t low = stack_slot_of(gp) + STACK_GUARD;
    return (struct walk){
        .low = low,
        .high = stack_slot_of(gp) + STACK_SLOT,
        .bytes = (const uint8_t *)low,
        .pcs = pcs,
    };
}

static bool is_program_text(uintptr_t pc)
{
    return pc >= (uintptr_t)__start_rt_go && pc < (uintptr_t)__stop_rt_go;
}

/* Of a goroutine that never leaves the runtime, all but the innermost frame is the place. */
static int head_of(const struct glance *at)
{
    for (int i = 0; i < at->frames; i++)
        if (is_program_text(at->pcs[i]))
            return i > 0 ? i - 1 : 0;
    return at->frames > 1 ? 1 : 0;
}

static void take(struct glance *out, int frames, bool cut)
{
    out->frames = frames;
    out->cut = cut;
    out->head = head_of(out);
}

/* One that was switched away, with everything above sp as it was then. */
static void walk_saved(struct walk *w, uintptr_t sp)
{
    if (sp < w->low || sp % 8 != 0 || sp + 8 * (SAVED_PC + 1) > w->high)
        return;
    add(w, word_at(w, sp + 8 * SAVED_PC) - 1);
    walk_up(w, word_at(w, sp + 8 * SAVED_RBP));
}

static bool look_at_parked(struct g *gp, struct glance *out)
{
    struct stack_view view;
    if (!stack_hold(gp, &view))
        return false;
    struct walk w = {.low = view.sp, .high = view.top, .bytes = view.bytes, .pcs = out->pcs};
    walk_saved(&w, view.sp);
    stack_unhold(gp);
    take(out, w.frames, w.cut);
    return true;
}

GLANCES static uintptr_t sp_of(const struct g *gp) { return (uintptr_t)gp->sp; }

/* In a queue: what is seen counts if it stayed there, and in its slot. */
static void look_at_runnable(struct g *gp, struct glance *out)
{
    uintptr_t sp = sp_of(gp);
    struct walk w = walk_slot(gp, out->pcs);
    if (load_acquire(&gp->away) != AWAY_NOT)
        return;
    walk_saved(&w, sp);
    if (load_acquire(&gp->status) == G_RUNNABLE && sp_of(gp) == sp)
        take(out, w.frames, w.cut);
}

static void look_at_blocking(struct g *gp, struct glance *out)
{
    uintptr_t sp = sp_of(gp);
    struct walk w = walk_slot(gp, out->pcs);
    if (sp < w.low || sp % 8 != 0 || sp + 8 * (RESTING_RBP + 1) > w.high)
        return;
    walk_up(&w, word_at(&w, sp + 8 * RESTING_RBP));
    if (load_acquire(&gp->status) == G_BLOCKING && sp_of(gp) == sp)
        take(out, w.frames, w.cut);
}

/* ---- running ---- */

void glance_answer(struct g *gp, uintptr_t pc, uintptr_t frame)
{
    if (!atomic_compare_exchange_strong(&glance_wanted, &gp, NULL)) // (B)
        return;
    struct walk w = walk_slot(gp, sample.pcs);
    add(&w, pc);
    walk_up(&w, frame);
    sample.frames = w.frames;
    sample.cut = w.cut;
    store_release(&sample.answered, 1);
}

static bool wait_for_answer(void)
{
    int64_t begun = clock_real_now_ns(), waited = 0;
    while (!load_acquire(&sample.answered) && waited < ANSWER_WITHIN_NS) {
        if (waited < ANSWER_SPIN_NS)
            cpu_relax();
        else
            nanosleep(&(struct timespec){.tv_nsec = ANSWER_SPIN_NS}, NULL);
        waited = clock_real_now_ns() - begun;
    }
    return load_acquire(&sample.answered);
}

static void look_at_running(struct g *gp, struct m *m, struct glance *out)
{
    int saved_errno = errno; // of whoever calls us from a handler
    uint32_t idle = 0;
    if (!m || sched.simulated || !atomic_compare_exchange_strong(&sample.busy, &idle, 1))
        return;
    store_relaxed(&sample.answered, 0);
    store_seq(&glance_wanted, gp); // (A)
    syscall(SYS_tgkill, getpid(), m->tid, SIGURG);
    bool answered = wait_for_answer();
    struct g *wanted = gp;
    if (!answered && !atomic_compare_exchange_strong(&glance_wanted, &wanted, NULL)) // (C)
        while (!load_acquire(&sample.answered))
            cpu_relax();
    if (load_relaxed(&sample.answered)) {
        memcpy(out->pcs, sample.pcs, sizeof(sample.pcs));
        take(out, sample.frames, sample.cut);
    }
    store_release(&sample.busy, 0);
    errno = saved_errno;
}

/* ---- one goroutine ---- */

GLANCES static void note_facts(const struct g *gp, enum g_status status, struct glance *out)
{
    out->status = status;
    out->id = gp->id;
    out->name = gp->name;
    out->urgent = gp->urgent;
    out->pinned = gp->pins > 0;
    out->created_at = gp->created_at ? (uintptr_t)gp->created_at - 1 : 0;
    out->reason = load_relaxed(&gp->reason);
    out->waited_ns = 0;
    take(out, 0, false);
    if (status == G_PARKED || status == G_BLOCKING) {
        int64_t waited = sched_now_ns() - load_relaxed(&gp->since_ns);
        out->waited_ns = waited > 0 ? waited : 0;
    }
}

void glance_at_self(const struct g *gp, uintptr_t pc, uintptr_t frame, struct glance *out)
{
    note_facts(gp, load_relaxed(&gp->status), out);
    struct walk w = walk_slot(gp, out->pcs);
    if (pc)
        add(&w, pc);
    walk_up(&w, frame);
    take(out, w.frames, w.cut);
}

GLANCES static struct m *m_of(const struct g *gp) { return gp->m; }

bool glance_at(struct g *gp, struct glance *out)
{
    enum g_status status = load_acquire(&gp->status);
    if (status == G_FREE)
        return false;
    note_facts(gp, status, out);
    if (status == G_PARKED && !look_at_parked(gp, out))
        out->status = status = load_acquire(&gp->status); // it was just readied
    if (status == G_RUNNABLE)
        look_at_runnable(gp, out);
    else if (status == G_BLOCKING)
        look_at_blocking(gp, out);
    else if (status == G_RUNNING)
        look_at_running(gp, m_of(gp), out);
    return status != G_FREE;
}

bool glance_at_rest(struct g *gp, struct glance *out)
{
    enum g_status status = load_acquire(&gp->status);
    if (status != G_PARKED && status != G_BLOCKING)
        return false;
    note_facts(gp, status, out);
    if (status == G_PARKED)
        return look_at_parked(gp, out);
    look_at_blocking(gp, out);
    return true;
}

uint32_t glance_slots(void) { return stack_arena ? stack_used_slots() : 0; }

struct g *glance_slot(uint32_t i)
{
    assert(i < glance_slots());
    return &stack_table[i];
}
