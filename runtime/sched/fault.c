/* sched/fault.c: what a trap means.
 *
 *     in a slot, above its guard    the stack may be away (spill.h): it is brought back, and the
 *                                   instruction runs again
 *     in a slot's guard             the goroutine overflowed: said, with where it was started and
 *                                   how deep it is, on the signal stack; then abort
 *     elsewhere                     a wild pointer: said with the goroutine, and the default effect
 *
 * A frame that reaches past the whole guard lands in the next slot, and is not seen as what it is;
 * hence 16 KiB of guard. */
#include "runtime/sched/fault.h"
#include "runtime/inspect/dump.h"
#include "runtime/inspect/symbols.h"
#include "runtime/sched/gmp.h"
#include "runtime/sched/spill.h"
#include "runtime/sched/stack.h"
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>
#include <unistd.h>

static struct sigaction old_segv, old_bus; // set before any thread, then const

/* Text for a dying process: no malloc, no stdio lock. */
static void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void say(const char *format, ...)
{
    char line[512];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    size_t len = n < 0 ? 0 : (size_t)n < sizeof(line) ? (size_t)n : sizeof(line) - 1;
    ssize_t written = write(STDERR_FILENO, line, len);
    (void)written; // nobody left to tell
}

static const char *name_of(const struct g *gp) { return gp->name ? gp->name : "?"; }

static void say_place(const struct symbols *symbols, const char *before, uintptr_t pc)
{
    uintptr_t offset;
    const char *name = symbols_find(symbols, pc, &offset);
    if (name)
        say("%s%s+0x%lx", before, name, (unsigned long)offset);
    else
        say("%s0x%lx", before, (unsigned long)pc);
}

/* Frames from `frame` upward to the goroutine's first. */
static unsigned count_frames(const struct g *gp, uintptr_t frame)
{
    uintptr_t low = stack_slot_of(gp) + STACK_GUARD, high = stack_top_of(gp) - 16;
    unsigned count = 0;
    while (frame >= low && frame <= high && frame % 8 == 0) {
        count++;
        low = frame + 16;
        frame = *(const uintptr_t *)frame;
    }
    return count;
}

/* Not signal(): a program may have one of its own. */
static void take_default(int number)
{
    struct sigaction action = {.sa_handler = SIG_DFL};
    sigaction(number, &action, NULL);
}

static _Noreturn void report_overflow(const struct g *gp, uintptr_t pc, uintptr_t frame)
{
    struct symbols symbols;
    symbols_open(&symbols);
    say("goroutine %llu (%s) overflowed its stack of %u KiB (%u KiB and a guard), %u frames deep, "
        "at ",
        (unsigned long long)gp->id, name_of(gp), STACK_SLOT >> 10, STACK_ROOM >> 10,
        count_frames(gp, frame));
    say_place(&symbols, "", pc);
    if (gp->created_at)
        say_place(&symbols, ", started at ", (uintptr_t)gp->created_at - 1);
    say("\n");
    symbols_close(&symbols);
    sched_dump_fault_to_fd(STDERR_FILENO, gp, pc, frame);
    take_default(SIGABRT);
    abort();
}

static void on_fault(int number, siginfo_t *info, void *context)
{
    greg_t *regs = ((ucontext_t *)context)->uc_mcontext.gregs;
    uintptr_t at = (uintptr_t)info->si_addr, pc = (uintptr_t)regs[REG_RIP];
    struct g *hit = info->si_code > 0 ? stack_g_of(at) : NULL;
    if (hit && at >= stack_slot_of(hit) + STACK_GUARD) {
        int saved = errno; // of a thread that was interrupted anywhere
        bool served = spill_serve_trap(hit, at);
        errno = saved;
        if (served)
            return;
    } else if (hit) {
        // The stack pointer may itself be below its slot already: the guard tells whose it is.
        report_overflow(hit, pc, (uintptr_t)regs[REG_RBP]);
    }
    struct sigaction *old = number == SIGBUS ? &old_bus : &old_segv;
    if (old->sa_flags & SA_SIGINFO) { // a sanitizer's, which says more than we can
        old->sa_sigaction(number, info, context);
        return;
    }
    struct g *gp = stack_g_of((uintptr_t)regs[REG_RSP]);
    say("%s at address 0x%lx, pc 0x%lx", number == SIGBUS ? "SIGBUS" : "SIGSEGV", (unsigned long)at,
        (unsigned long)pc);
    if (gp)
        say(", goroutine %llu (%s)", (unsigned long long)gp->id, name_of(gp));
    say("\n");
    take_default(number); // and the instruction runs again, for the core file
    sched_dump_fault_to_fd(STDERR_FILENO, gp, pc, (uintptr_t)regs[REG_RBP]);
}

int fault_start(struct why *why)
{
    struct sigaction fault = {.sa_sigaction = on_fault,
                              .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};
    sigemptyset(&fault.sa_mask);
    sigaddset(&fault.sa_mask, SIGURG); // it comes after us, to the goroutine
    if (sigaction(SIGSEGV, &fault, &old_segv) != 0 || sigaction(SIGBUS, &fault, &old_bus) != 0) {
        int err = errno;
        why_set(why, "cannot install signal handlers: errno %d", err);
        return -err;
    }
    return 0;
}

bool fault_is_ours(void)
{
    struct sigaction now;
    return sigaction(SIGSEGV, NULL, &now) == 0 && (now.sa_flags & SA_ONSTACK) &&
           (now.sa_flags & SA_SIGINFO) && now.sa_sigaction == on_fault;
}

void fault_stop(void)
{
    sigaction(SIGSEGV, &old_segv, NULL);
    sigaction(SIGBUS, &old_bus, NULL);
}
