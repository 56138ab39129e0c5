/* sched/signals.c: a handler that only notes the number and wakes rt_run's thread, which does the
 * rest as an ordinary caller of the scheduler. */
#include "runtime/sched/signals.h"
#include "runtime/sched/gmp.h"
#include "runtime/sched/life.h"
#include <errno.h>
#include <signal.h>
#include <unistd.h>

enum { SIGNALS = 64 };

static struct {
    _Atomic uint64_t arrived; // bits of numbers, set by the handler
    struct spinlock lock;
    uint64_t taken;                // lock: we have the disposition
    uint64_t kept;                 // lock: arrived, nobody has waited for it yet
    struct g *waiting;             // lock: by next; wait.object is the set
    struct sigaction old[SIGNALS]; // lock
} sig;

static uint64_t bit(int number) { return UINT64_C(1) << (number & (SIGNALS - 1)); }

static void on_signal(int number)
{
    int saved = errno; // of a thread that is not ours alone
    atomic_fetch_or(&sig.arrived, bit(number));
    atomic_fetch_add(&sched.end_word, 1);
    futex_wake(&sched.end_word, 1);
    errno = saved;
}

static int take_locked(int number)
{
    if (sig.taken & bit(number))
        return 0;
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    if (sigaction(number, &action, &sig.old[number]) != 0)
        return -errno;
    sig.taken |= bit(number);
    return 0;
}

void signals_start(void)
{
    atomic_store(&sig.arrived, 0);
    sig.taken = sig.kept = 0;
    sig.waiting = NULL;
    spin_lock(&sig.lock);
    take_locked(SIGQUIT);
    spin_unlock(&sig.lock);
}

void signals_stop(void)
{
    for (int number = 1; number < SIGNALS; number++)
        if (sig.taken & bit(number))
            sigaction(number, &sig.old[number], NULL);
    sig.taken = 0;
}

/* Take out of the list a G whose set holds one of `have`; its result is set and the bit goes. */
static struct g *match_locked(void)
{
    for (struct g **at = &sig.waiting; *at; at = &(*at)->next) {
        struct g *gp = *at;
        uint64_t hit = sig.kept & (uint64_t)(uintptr_t)gp->wait.object;
        if (!hit)
            continue;
        int number = __builtin_ctzll(hit);
        sig.kept &= ~bit(number);
        gp->wait.result = number;
        *at = gp->next;
        return gp;
    }
    return NULL;
}

static void match_all(void)
{
    for (;;) {
        spin_lock(&sig.lock);
        struct g *gp = match_locked();
        spin_unlock(&sig.lock);
        if (!gp)
            return;
        sched_ready(gp);
    }
}

void signals_deliver(void)
{
    uint64_t arrived = atomic_exchange(&sig.arrived, 0);
    if (!arrived)
        return;
    if (arrived & bit(SIGQUIT))
        sched_dump_to_fd(STDERR_FILENO);
    spin_lock(&sig.lock);
    sig.kept |= arrived;
    if (!(sig.waiting))
        sig.kept &= ~bit(SIGQUIT);
    spin_unlock(&sig.lock);
    match_all();
}

static bool queue_up(struct g *gp, void *set)
{
    gp->wait.object = (void *)(uintptr_t) * (uint64_t *)set;
    gp->next = sig.waiting;
    sig.waiting = gp;
    // One that came before us is ours now: then we do not park at all.
    struct g *first = match_locked();
    if (first == gp) {
        spin_unlock(&sig.lock);
        return false;
    }
    spin_unlock(&sig.lock);
    if (first)
        sched_ready(first);
    return true;
}

int rt_signal_wait(const int *signals, int count)
{
    uint64_t set = 0;
    if (sched.simulated)
        return -ENOTSUP;
    for (int i = 0; i < count; i++) {
        int number = signals[i];
        if (number < 1 || number >= SIGNALS || number == SIGKILL || number == SIGSTOP ||
            number == SIGURG || number == SIGSEGV || number == SIGBUS)
            return -EINVAL;
        set |= bit(number);
    }
    if (!set)
        return -EINVAL;
    spin_lock(&sig.lock);
    int err = 0;
    for (int i = 0; i < count && !err; i++)
        err = take_locked(signals[i]);
    if (err) {
        spin_unlock(&sig.lock);
        return err;
    }
    sched_park(queue_up, &set, PARK_FOREVER);
    return (int)g_self()->wait.result;
}
