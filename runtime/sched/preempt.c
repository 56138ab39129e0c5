/* sched/preempt.c: SIGURG, and where a switch is safe.
 *
 * The handler never switches. It changes the interrupted context so that the goroutine goes on in
 * preempt_entry (switch_amd64.S) as if it had called it at that instruction, and returns. It does so
 * only when, in this order,
 *   1. the stack pointer is in a goroutine's slot: else this is a scheduler's or a foreign stack;
 *   2. that G is what this M runs, with a P: else it is on its way off or on;
 *   3. its no-preempt count is zero: it holds no lock, and no library is below it on the stack;
 *   4. the program counter is in the section rt_go: text of ours, compiled for this, with no
 *      thread-local in a register. Libraries and this runtime lie outside;
 *   5. there is room below the stack pointer for all registers and the scheduler;
 *   6. it holds no rt_mutex, or has held it for too long (enum preempt_kind).
 * Otherwise the request stays in the G and is honoured at the next runtime call.
 *
 * Whoever tests the count and the handler run on the same thread, so program order is enough. */
#include "runtime/sched/preempt.h"
#include "runtime/inspect/glance.h"
#include "runtime/sched/audit.h"
#include "runtime/sched/fault.h"
#include "runtime/sched/stack.h"
#include "runtime/sched/switch.h"
#include "runtime/sched/torture.h"
#include "runtime/sched/valgrind.h"
#include <assert.h>
#include <cpuid.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

// Weak: a program without goroutine text of its own has no such section.
extern char __start_rt_go[] __attribute__((weak, visibility("hidden")));
extern char __stop_rt_go[] __attribute__((weak, visibility("hidden")));

unsigned preempt_save_how __attribute__((visibility("hidden")));
unsigned preempt_save_mask __attribute__((visibility("hidden")));

static struct {
    bool able;          // this build, CPU and world can; set before start, then const
    const char *why;    // the same
    _Atomic bool async; // signals are used at all: rt_set_preempt
    struct sigaction old_urg;
} preempt;

enum { NEED_ASK_AGAIN_NS = PREEMPT_NEED_MIN_RUN_NS };
#ifdef RT_TSAN
enum { HOLDS_SIGNALS_BACK = true }; // until the program calls something of its own
#else
enum { HOLDS_SIGNALS_BACK = false };
#endif
enum { XCR0_WANTED = 0xe7, XCR0_AVX = 4 }; // not PKRU (the thread's own), not AMX (never granted)

/* How to save the vector state. */
static void choose_save(void)
{
    unsigned a, b, c, d;
    preempt_save_how = PREEMPT_SAVE_FXSAVE;
    preempt_save_mask = 3;
    __cpuid(1, a, b, c, d);
    if (!(c & bit_OSXSAVE))
        return; // then the system offers no AVX either
    __asm__("xgetbv" : "=a"(a), "=d"(d) : "c"(0));
    preempt_save_mask = a & XCR0_WANTED;
    preempt_save_how = PREEMPT_SAVE_XSAVE;
    if (__get_cpuid_count(0xd, 1, &a, &b, &c, &d) && (a & 2))
        preempt_save_how = PREEMPT_SAVE_XSAVEC;
}

static void choose_able(void)
{
    preempt.why = sched.simulated      ? "off: a simulated world"
                  : HOLDS_SIGNALS_BACK ? "off: ThreadSanitizer holds signals back"
                  : valgrind_watches() ? "off: valgrind watches"
                                       : NULL;
    preempt.able = !preempt.why;
}

static bool is_preemptible_text(uintptr_t pc)
{
    return pc >= (uintptr_t)__start_rt_go && pc < (uintptr_t)__stop_rt_go;
}

static void on_urgent(int signal_number, siginfo_t *info, void *context)
{
    (void)signal_number;
    (void)info;
    greg_t *regs = ((ucontext_t *)context)->uc_mcontext.gregs;
    uintptr_t sp = (uintptr_t)regs[REG_RSP];
    struct g *gp = stack_g_of(sp);
    struct m *m = gp ? gp->m : m_self(); // a scheduler's stack: the thread-local is its own
    if (!m)
        return;
    glance_on_signal(gp, (uintptr_t)regs[REG_RIP], (uintptr_t)regs[REG_RBP]);
    // Taken also when it is of no use now, or nobody would signal this M for need again.
    uint8_t kind = atomic_exchange_explicit(&m->preempt_want, PREEMPT_NONE, memory_order_relaxed);
    uint8_t gust = torture_gust(!gp);
    kind = kind == PREEMPT_NONE ? gust : kind;
    if (kind == PREEMPT_NONE || !gp || load_relaxed(&m->cur) != gp || !m->p)
        return;
    if (gp->nopreempt != 0 || !is_preemptible_text((uintptr_t)regs[REG_RIP]) ||
        sp < stack_slot_of(gp) + STACK_GUARD + STACK_MIN_ROOM || g_is_let_go_on(gp, kind)) {
        store_relaxed(&gp->preempt_pending, kind);
        atomic_fetch_add_explicit(&sched.preempt_refused, 1, memory_order_relaxed);
        return;
    }
    store_relaxed(&gp->preempt_pending, kind); // preempt_switch reads what it was
    uintptr_t *top = (uintptr_t *)(sp - 128);  // the red zone belongs to the interrupted function
    *--top = (uintptr_t)regs[REG_RIP];
    regs[REG_RSP] = (greg_t)top;
    regs[REG_RIP] = (greg_t)preempt_entry;
}

void preempt_request(struct p *p, enum preempt_kind kind)
{
    struct m *m = load_acquire(&p->m);
    if (!m || load_relaxed(&p->status) != P_RUNNING)
        return;
    struct g *gp = load_relaxed(&m->cur);
    if (!gp)
        return;
    // It may be another G's turn by now, or another P's: then somebody stops once too often.
    store_relaxed(&gp->preempt_pending, (uint8_t)kind);
    if (!load_relaxed(&preempt.async))
        return;
    if (atomic_exchange_explicit(&m->preempt_want, (uint8_t)kind, memory_order_relaxed) ==
            PREEMPT_NONE ||
        kind != PREEMPT_NEED)
        syscall(SYS_tgkill, getpid(), m->tid, SIGURG);
}

void preempt_by_need(void)
{
    struct p *longest = NULL;
    int64_t now = load_relaxed(&sched.coarse_ns), since = now - PREEMPT_NEED_MIN_RUN_NS;
    for (unsigned i = 0; i < sched.procs; i++) {
        struct p *p = &sched.ps[i];
        int64_t seen = load_relaxed(&p->seen_since_ns);
        // One that is inside a library may not hear us for long: then another one is asked.
        bool asked = now - load_relaxed(&p->need_asked_ns) < NEED_ASK_AGAIN_NS;
        if (load_relaxed(&p->status) != P_RUNNING || asked)
            continue;
        if (load_relaxed(&p->slice) != load_relaxed(&p->seen_slice)) {
            store_release(&p->attention,
                          1); // it has turned since sysmon's last look: so it will again
            return;
        }
        if (seen <= since) {
            since = seen;
            longest = p;
        }
    }
    if (!longest)
        return;
    store_relaxed(&longest->need_asked_ns, now);
    store_release(&longest->attention, 1);
    preempt_request(longest, PREEMPT_NEED);
}

static size_t signal_stack_bytes(void)
{
    size_t least = getauxval(AT_MINSIGSTKSZ);
    return ((least ? least : 8192) + (32 << 10) + 4095) / 4096 * 4096;
}

void preempt_thread_start(struct m *m)
{
    size_t bytes = signal_stack_bytes();
    m->signal_stack = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (m->signal_stack == MAP_FAILED)
        rt_fatal("out of memory: no stack for signals, %zu bytes", bytes);
    stack_t ss = {.ss_sp = m->signal_stack, .ss_size = bytes};
    if (sigaltstack(&ss, NULL) != 0)
        rt_fatal("cannot set the signal stack: errno %d", errno);
    sigset_t mask;
    sigfillset(&mask);
    sigdelset(&mask, SIGURG);
    sigdelset(&mask, SIGSEGV);
    sigdelset(&mask, SIGBUS);
    sigdelset(&mask, SIGFPE);
    sigdelset(&mask, SIGILL);
    sigdelset(&mask, SIGABRT);
    sigdelset(&mask, SIGTRAP);
    pthread_sigmask(SIG_SETMASK, &mask, NULL);
    torture_thread_start();
}

void preempt_thread_stop(struct m *m)
{
    torture_thread_stop();
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, NULL);
    stack_t off = {.ss_flags = SS_DISABLE};
    sigaltstack(&off, NULL);
    munmap(m->signal_stack, signal_stack_bytes());
}

int preempt_start(struct why *why)
{
    audit_start();
    choose_save();
    choose_able();
    store_relaxed(&preempt.async, preempt.able && !sched.options.no_async_preempt);
    struct sigaction urg = {.sa_sigaction = on_urgent,
                            .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART};
    sigemptyset(&urg.sa_mask);
    if (sigaction(SIGURG, &urg, &preempt.old_urg) != 0) {
        int err = errno;
        why_set(why, "cannot install signal handlers: errno %d", err);
        return -err;
    }
    int err = fault_start(why);
    if (!err)
        torture_start();
    return err;
}

void rt_set_preempt(bool on) { store_relaxed(&preempt.async, on && preempt.able); }

bool rt_get_preempt(void) { return load_relaxed(&preempt.async); }

const char *preempt_why(void)
{
    if (!preempt.able)
        return preempt.why;
    return rt_get_preempt() ? "on: by signals" : "off: asked for";
}

void preempt_stop(void)
{
    torture_stop();
    sigaction(SIGURG, &preempt.old_urg, NULL);
    fault_stop();
}
