/* inspect/dump.c: every goroutine as text, for people.
 *
 *     goroutine 17 [chan receive, 12.250 s]: wal-writer
 *         wal_write_loop+0x4f
 *         goroutine_main+0x6e
 *       created at wal_open+0x1d2
 *
 * Used on the way out, too, so it takes no lock and asks no allocator; it reads goroutines while
 * they run, so a line may be out of date. A parked goroutine's stack is walked by frame pointers
 * from where it was saved, inside its own slot only. */
#include "runtime/inspect/dump.h"
#include "rt/inspect.h"
#include "runtime/inspect/symbols.h"
#include "runtime/sched/gmp.h"
#include "runtime/sched/stack.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { FRAMES_MAX = 48, SAVED_RBP = 6, SAVED_PC = 7 }; // words above a saved stack pointer

/* Where the text goes: a string or a descriptor. */
struct sink {
    struct rt_string *string;
    int fd;
    size_t used;
    char buffer[2048];
};

static void flush(struct sink *s)
{
    size_t at = 0;
    while (!s->string && at < s->used) {
        ssize_t n = write(s->fd, s->buffer + at, s->used - at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break; // nobody reads it
        at += (size_t)n;
    }
    if (s->string)
        rt_string_append(s->string, s->buffer, s->used);
    s->used = 0;
}

static void put(struct sink *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void put(struct sink *s, const char *format, ...)
{
    enum { LINE_MAX_BYTES = 512 };
    if (sizeof(s->buffer) - s->used < LINE_MAX_BYTES)
        flush(s);
    va_list args;
    va_start(args, format);
    int n = vsnprintf(s->buffer + s->used, LINE_MAX_BYTES, format, args);
    va_end(args);
    if (n > 0)
        s->used += (size_t)n < LINE_MAX_BYTES ? (size_t)n : LINE_MAX_BYTES - 1;
}

static const char *const reason_names[PARK_REASONS] = {
    [PARK_NONE] = "nothing",
    [PARK_YIELD] = "yield",
    [PARK_SLEEP] = "sleep",
    [PARK_CHAN_SEND] = "chan send",
    [PARK_CHAN_RECV] = "chan receive",
    [PARK_SELECT] = "select",
    [PARK_MUTEX] = "mutex",
    [PARK_RWMUTEX] = "rwmutex",
    [PARK_COND] = "cond",
    [PARK_WAITGROUP] = "waitgroup",
    [PARK_SEM] = "semaphore",
    [PARK_NOTE] = "note",
    [PARK_MAILBOX] = "mailbox",
    [PARK_READ] = "read",
    [PARK_WRITE] = "write",
    [PARK_CONN] = "connection",
    [PARK_FILE] = "file",
    [PARK_BLOCKING] = "blocking call's turn",
    [PARK_FOREVER] = "wait",
};

const char *park_reason_name(enum park_reason reason)
{
    return (unsigned)reason < PARK_REASONS ? reason_names[reason] : "?";
}

static void put_place(struct sink *s, const struct symbols *symbols, const char *before,
                      uintptr_t pc)
{
    uintptr_t offset;
    const char *name = symbols_find(symbols, pc, &offset);
    if (name)
        put(s, "%s%s+0x%lx\n", before, name, (unsigned long)offset);
    else
        put(s, "%s0x%lx\n", before, (unsigned long)pc);
}

/* The words at `frame` are the caller's frame and the return address. */
static void put_frames(struct sink *s, const struct symbols *symbols, const struct g *gp,
                       uintptr_t frame)
{
    uintptr_t low = stack_slot_of(gp) + STACK_GUARD, high = stack_slot_of(gp) + STACK_SLOT;
    for (int i = 0; i < FRAMES_MAX; i++) {
        if (frame < low || frame > high - 16 || frame % 8 != 0)
            return;
        uintptr_t next = ((const uintptr_t *)frame)[0], pc = ((const uintptr_t *)frame)[1];
        if (pc == 0)
            return;
        put_place(s, symbols, "    ", pc - 1); // inside the call, not after it
        if (next <= frame)
            return;
        low = frame;
        frame = next;
    }
    put(s, "    ...\n");
}

static void put_header(struct sink *s, const struct g *gp)
{
    uint8_t status = load_relaxed(&gp->status);
    int64_t waited_ns = sched_now_ns() - load_relaxed(&gp->since_ns);
    const char *state = "running";
    bool timed = false;
    if (status == G_RUNNABLE) {
        state = "runnable";
    } else if (status == G_PARKED) {
        state = park_reason_name(load_relaxed(&gp->reason));
        timed = true;
    } else if (status == G_BLOCKING) {
        state = "blocking call";
        timed = true;
    }
    put(s, "goroutine %llu [%s", (unsigned long long)gp->id, state);
    if (timed && waited_ns >= 0)
        put(s, ", %lld.%03lld s", (long long)(waited_ns / RT_SECOND),
            (long long)(waited_ns % RT_SECOND / RT_MS));
    put(s, "%s%s]: %s\n", gp->urgent ? ", urgent" : "", gp->pins ? ", pinned" : "",
        gp->name ? gp->name : "?");
}

static void put_goroutine(struct sink *s, const struct symbols *symbols, const struct g *gp,
                          const struct g *self, uintptr_t pc, uintptr_t frame)
{
    put_header(s, gp);
    if (gp == self) {
        if (pc)
            put_place(s, symbols, "    ", pc);
        put_frames(s, symbols, gp, frame);
    } else if (load_acquire(&gp->status) == G_PARKED) {
        const uintptr_t *saved = gp->sp;
        uintptr_t low = stack_slot_of(gp) + STACK_GUARD;
        if ((uintptr_t)saved >= low && (uintptr_t)saved < low + STACK_SLOT - STACK_GUARD - 64) {
            put_place(s, symbols, "    ", saved[SAVED_PC] - 1);
            put_frames(s, symbols, gp, saved[SAVED_RBP]);
        }
    }
    if (gp->created_at)
        put_place(s, symbols, "  created at ", (uintptr_t)gp->created_at - 1);
    put(s, "\n");
}

static void dump(struct sink *s, const struct g *self, uintptr_t pc, uintptr_t frame)
{
    struct symbols symbols;
    if (!stack_arena)
        return;
    symbols_open(&symbols);
    put(s, "goroutines:\n\n");
    if (self) // first who has most to say
        put_goroutine(s, &symbols, self, self, pc, frame);
    uint32_t used = stack_used_slots();
    for (uint32_t i = 0; i < used; i++) {
        const struct g *gp = &stack_table[i];
        if (gp != self && load_acquire(&gp->status) != G_FREE)
            put_goroutine(s, &symbols, gp, self, 0, 0);
    }
    symbols_close(&symbols);
    flush(s);
}

void sched_dump_to_fd(int fd)
{
    struct sink s = {.fd = fd};
    dump(&s, g_self(), 0, (uintptr_t)__builtin_frame_address(0));
}

void sched_dump_fault_to_fd(int fd, const struct g *gp, uintptr_t pc, uintptr_t frame)
{
    struct sink s = {.fd = fd};
    dump(&s, gp, pc, frame);
}

void rt_dump(struct rt_string *out)
{
    struct sink s = {.string = out, .fd = -1};
    g_nopreempt_begin(); // its stack is being read
    dump(&s, g_self(), 0, (uintptr_t)__builtin_frame_address(0));
    g_nopreempt_end();
}

void rt_stats(struct rt_stats *out)
{
    memset(out, 0, sizeof(*out));
    for (unsigned i = 0; i < sched.procs; i++) {
        const struct p *p = &sched.ps[i];
        out->spawned += load_relaxed(&p->spawned);
        out->goroutines += load_relaxed(&p->spawned) - load_relaxed(&p->exited);
        out->switches += load_relaxed(&p->switches);
        out->steals += load_relaxed(&p->steals);
        out->stolen += load_relaxed(&p->stolen);
        out->global_gets += load_relaxed(&p->global_gets);
        out->polls += load_relaxed(&p->polls);
    }
    out->preempted_slice = load_relaxed(&sched.preempted_slice);
    out->preempted_need = load_relaxed(&sched.preempted_need);
    out->preempt_refused = load_relaxed(&sched.preempt_refused);
    out->handoffs = load_relaxed(&sched.handoffs);
    out->wakeups = load_relaxed(&sched.wakeups);
    out->wakeups_for_nothing = load_relaxed(&sched.wakeups_for_nothing);
    const struct sched_poller *poller = load_acquire(&sched.poller);
    out->poller = poller ? poller->name : "none";
    out->poller_why = poller ? poller->why : "no descriptor was ever waited for";
}
