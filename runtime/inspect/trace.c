/* inspect/trace.c: recording. Each M fills chunks of a pool that is reserved when the recording
 * begins; a chunk is claimed by one atomic addition every thousand events, and nothing else is
 * shared. Stopping must not take the pool away under a writer:
 *
 *   (A) writer: `writing` = 1, sequentially consistent, then looks at trace_on.
 *   (B) writer: `writing` = 0, release.
 *   (C) stop:   trace_on = 0, sequentially consistent, then waits until each `writing` is 0, acquire.
 *       Who came before (C) is waited for; who comes after it sees trace_on = 0 and writes nothing.
 *   (D) list:   an M lists its writer, sequentially consistent, before its first (A): who is not in
 *       the list yet when (C) walks it looks at trace_on later. */
#include "runtime/inspect/trace.h"
#include "rt/alloc.h"
#include "rt/trace.h"
#include "runtime/inspect/latency.h"
#include "runtime/inspect/trace_record.h"
#include <assert.h>
#include <errno.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { TRACE_MAX_BYTES = 1 << 30, SPINS_BEFORE_YIELD = 1000 };

/* CHANGING keeps a second caller out while the first is half done. */
enum state { OFF, CHANGING, ON };

static _Atomic uint32_t trace_on;

static struct {
    _Atomic uint32_t state; // enum state, by CAS
    struct rt_trace *trace; // while ON; writers read it between (A) and (B)
    uint32_t sessions;      // whoever is CHANGING
    _Atomic(struct trace_writer *) writers;
} tracer;

/* ---- writing ---- */

static void list_writer(struct trace_writer *w)
{
    w->listed = true;
    w->tid = (int32_t)syscall(SYS_gettid);
    w->next = atomic_load(&tracer.writers);
    while (!atomic_compare_exchange_weak(&tracer.writers, &w->next, w)) // (D)
        ;
}

/* Room for an event, or NULL: the pool is used up. */
static struct trace_event *place(struct rt_trace *t, struct trace_writer *w)
{
    if (w->session != t->session || !w->chunk || w->chunk->used == TRACE_CHUNK_EVENTS) {
        uint32_t at = atomic_fetch_add_explicit(&t->chunk_count, 1, memory_order_relaxed);
        w->session = t->session;
        w->chunk = at < t->chunk_cap ? &t->chunks[at] : NULL;
        if (!w->chunk)
            return NULL;
        w->chunk->tid = w->tid;
    }
    return &w->chunk->events[w->chunk->used];
}

static void record(struct m *m, struct trace_event event)
{
    struct trace_writer *w = &m->trace;
    if (!w->listed)
        list_writer(w);
    store_seq(&w->writing, 1); // (A)
    if (load_seq(&trace_on)) {
        struct rt_trace *t = tracer.trace;
        event.at_ns = sched_now_ns();
        struct trace_event *to = place(t, w);
        if (to) {
            *to = event;
            w->chunk->used++;
        } else {
            int64_t never = 0;
            atomic_compare_exchange_strong(&t->full_ns, &never, event.at_ns);
            store_seq(&trace_on, 0);
        }
    }
    store_release(&w->writing, 0); // (B)
}

static uint16_t p_of(const struct m *m) { return m->p ? (uint16_t)m->p->index : TRACE_NO_P; }

static void record_g(struct m *m, enum trace_kind kind, const struct g *gp, uint32_t value)
{
    record(m, (struct trace_event){.kind = (uint8_t)kind,
                                   .g = gp->id,
                                   .arg = (uintptr_t)gp->name,
                                   .value = value,
                                   .p = p_of(m)});
}

static uint32_t self_id(void)
{
    struct g *self = g_self();
    return self ? (uint32_t)self->id : 0;
}

void trace_record_go(struct m *m, const struct g *child)
{
    record_g(m, TRACE_GO, child, self_id());
}

void trace_record_ready(struct m *m, const struct g *gp)
{
    record_g(m, TRACE_READY, gp, self_id());
}

void trace_record_run(struct m *m, const struct g *gp)
{
    struct p *p = m->p;
    record_g(m, TRACE_RUN, gp, p ? runq_len(&p->ring) + runq_len(&p->urgent) : 0);
}

void trace_record_stop(struct m *m, const struct g *gp, int left)
{
    uint8_t how = left == LEFT_PARK ? load_relaxed(&gp->reason) : (uint8_t)(TRACE_HOW + left);
    record(
        m,
        (struct trace_event){
            .kind = TRACE_STOP, .g = gp->id, .arg = (uintptr_t)gp->name, .p = p_of(m), .how = how});
}

void trace_record_block(struct m *m, const struct g *gp) { record_g(m, TRACE_BLOCK, gp, 0); }

void trace_record_unblock(struct m *m, const struct g *gp) { record_g(m, TRACE_UNBLOCK, gp, 0); }

void trace_record_steal(struct m *m, uint32_t victim, uint32_t count)
{
    record(m,
           (struct trace_event){.kind = TRACE_STEAL, .arg = victim, .value = count, .p = p_of(m)});
}

void trace_record_hand_off(struct m *m, uint32_t p)
{
    record(m, (struct trace_event){.kind = TRACE_HAND_OFF, .p = (uint16_t)p});
}

void trace_record_wait(struct m *m, bool polls)
{
    record(m, (struct trace_event){.kind = TRACE_WAIT, .value = polls, .p = p_of(m)});
}

void trace_record_woken(struct m *m)
{
    record(m, (struct trace_event){.kind = TRACE_WOKEN, .p = p_of(m)});
}

static void record_mark(enum trace_kind kind, const char *name)
{
    assert(name);
    struct g *self = g_self();
    if (self)
        record(self->m, (struct trace_event){
                            .kind = (uint8_t)kind,
                            .g = self->id,
                            .arg = (uintptr_t)name,
                            .p = p_of(self->m),
                        });
}

void rt_trace_event(const char *name)
{
    if (trace_is_on())
        record_mark(TRACE_EVENT, name);
}

void rt_trace_region_begin(const char *name)
{
    if (trace_is_on())
        record_mark(TRACE_REGION_BEGIN, name);
}

void rt_trace_region_end(const char *name)
{
    if (trace_is_on())
        record_mark(TRACE_REGION_END, name);
}

/* ---- start and stop ---- */

/* Who runs where, at about now: they may be gone before we have read them. */
__attribute__((no_sanitize("thread"))) static void note_running(struct rt_trace *t)
{
    for (unsigned i = 0; i < t->procs; i++) {
        struct m *m = load_acquire(&sched.ps[i].m);
        struct g *gp = m ? load_relaxed(&m->cur) : NULL;
        if (gp)
            t->initial[i] = (struct trace_initial){gp->id, gp->name};
    }
}

static struct rt_trace *new_trace(size_t max_bytes)
{
    struct rt_trace *t = rt_alloc_zero(sizeof(*t));
    t->chunk_cap = (uint32_t)(max_bytes / TRACE_CHUNK_BYTES);
    void *pool = mmap(NULL, (size_t)t->chunk_cap * TRACE_CHUNK_BYTES, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (pool == MAP_FAILED) {
        rt_free(t);
        return NULL;
    }
    t->chunks = pool;
    t->procs = sched.procs;
    t->initial = rt_alloc_zero(t->procs * sizeof(t->initial[0]));
    return t;
}

static bool change_from(enum state from)
{
    uint32_t was = from;
    return atomic_compare_exchange_strong(&tracer.state, &was, CHANGING);
}

int rt_trace_start(size_t max_bytes, struct why *why)
{
    assert(g_self());
    if (max_bytes < RT_TRACE_MIN_BYTES || max_bytes > TRACE_MAX_BYTES) {
        why_set(why, "a trace of %zu bytes: it takes %d to %d", max_bytes, RT_TRACE_MIN_BYTES,
                TRACE_MAX_BYTES);
        return -EINVAL;
    }
    if (!change_from(OFF)) {
        why_set(why, "a trace is being taken already; stop that one first");
        return -EBUSY;
    }
    struct rt_trace *t = new_trace(max_bytes);
    if (!t) {
        store_seq(&tracer.state, OFF);
        why_set(why, "out of memory: a trace of %zu bytes", max_bytes);
        return -ENOMEM;
    }
    t->session = ++tracer.sessions;
    t->started_ns = sched_now_ns();
    note_running(t);
    tracer.trace = t;
    store_seq(&trace_on, 1);
    set_unusual(UNUSUAL_TRACED, true);
    store_seq(&tracer.state, ON);
    return 0;
}

static void wait_for_writers(void)
{
    for (struct trace_writer *w = atomic_load(&tracer.writers); w; w = w->next)
        for (unsigned spins = 0; load_acquire(&w->writing); spins++) // (C)
            if (spins < SPINS_BEFORE_YIELD)
                cpu_relax();
            else
                sched_yield(); // its thread is not on a CPU
}

int rt_trace_stop(struct rt_trace **out, struct why *why)
{
    assert(g_self());
    if (!change_from(ON)) {
        why_set(why, "no trace is being taken");
        return -ENOENT;
    }
    set_unusual(UNUSUAL_TRACED, false);
    store_seq(&trace_on, 0); // (C)
    wait_for_writers();
    struct rt_trace *t = tracer.trace;
    tracer.trace = NULL;
    int64_t full_ns = load_relaxed(&t->full_ns);
    t->stopped_ns = full_ns ? full_ns : sched_now_ns();
    store_seq(&tracer.state, OFF);
    if (out)
        *out = t;
    else
        rt_trace_free(t);
    return 0;
}

bool rt_trace_is_on(void) { return load_seq(&tracer.state) == ON; }

void rt_trace_free(struct rt_trace *t)
{
    if (!t)
        return;
    munmap(t->chunks, (size_t)t->chunk_cap * TRACE_CHUNK_BYTES);
    rt_free(t->initial);
    rt_free(t);
}

void trace_begin_run(unsigned procs) { latency_begin_run(procs); }

void trace_end_run(void)
{
    set_unusual(UNUSUAL_TRACED, false);
    store_seq(&trace_on, 0);
    rt_trace_free(tracer.trace);
    tracer.trace = NULL;
    for (struct trace_writer *w = atomic_load(&tracer.writers), *next; w; w = next) {
        next = w->next;
        w->listed = false; // sysmon's lives on
        w->chunk = NULL;
    }
    store_seq(&tracer.writers, NULL);
    store_seq(&tracer.state, OFF);
}
