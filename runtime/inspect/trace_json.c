/* inspect/trace_json.c: a recording as the JSON of Chrome's trace viewer.
 *
 *     process 1, "processors": a track for each P. A slice is a goroutine on it; its end says why it
 *         left. Instants: steals, hand-offs, rt_trace_event. An arrow goes from the slice that made
 *         a goroutine ready to the slice in which it ran next. A counter for each P: its queue.
 *     process 2, "threads": a track for each thread. Slices: it sleeps, it waits for descriptors and
 *         timers, it is inside a blocking call.
 *
 * The Ms' chunks are merged in order of time; what a P or thread is doing is remembered from event to
 * event, so that every slice that is begun is ended once, before the next one of its track begins. */
#include "rt/alloc.h"
#include "rt/go.h"
#include "rt/time.h"
#include "rt/trace.h"
#include "runtime/inspect/trace_record.h"
#include "runtime/sched/gmp.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { PID_PROCESSORS = 1, PID_THREADS = 2, OUT_BYTES = 64 << 10, LINE_BYTES = 1024 };

/* The chunks of one thread, oldest first. */
struct source {
    int32_t tid;
    uint32_t chunk, at;      // its next event
    const char *doing;       // a slice of its track is open
    bool seen;               // it had an event
    uint32_t *chunks, count; // indexes
};

struct track {
    uint64_t g; // 0: no slice is open
    bool seen;
    uint32_t queue;
};

/* Goroutines that an arrow is on its way to: a hash set. */
struct pending {
    uint64_t *slots; // 0: free
    uint32_t cap, count;
};

struct writer {
    const struct rt_trace *t;
    int (*sink)(void *arg, const char *bytes, size_t len);
    void *arg;
    int err;
    char *out;
    size_t used;
    bool comma;
    uint64_t repaired; // ends without a begin, and the reverse: zero, unless a hook is missing
    struct track *ps;
    struct source *sources;
    uint32_t source_count;
    struct pending pending;
};

/* ---- text ---- */

static void flush(struct writer *w)
{
    if (w->used && !w->err)
        w->err = w->sink(w->arg, w->out, w->used);
    w->used = 0;
    g_check_preempt(); // thousands of events are told between two sinks that park
}

static void put(struct writer *w, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void put(struct writer *w, const char *format, ...)
{
    if (OUT_BYTES - w->used < LINE_BYTES)
        flush(w);
    va_list args;
    va_start(args, format);
    int n = vsnprintf(w->out + w->used, LINE_BYTES, format, args);
    va_end(args);
    assert(n >= 0 && n < LINE_BYTES); // names are cut by put_name
    w->used += (size_t)n;
}

/* A name as the inside of a JSON string; long ones are cut. */
static void put_name(struct writer *w, const char *name)
{
    enum { NAME_MAX_BYTES = 128 };
    char text[6 * NAME_MAX_BYTES + 1];
    size_t n = 0;
    for (size_t i = 0; name && name[i] && i < NAME_MAX_BYTES; i++) {
        unsigned char c = (unsigned char)name[i];
        if (c == '"' || c == '\\')
            text[n++] = '\\';
        if (c < 0x20 || c >= 0x7f)
            n += (size_t)snprintf(text + n, 7, "\\u%04x", c);
        else
            text[n++] = (char)c;
    }
    text[n] = 0;
    put(w, "%s", text);
}

/* The start of an event: phase, track and time, in microseconds from the start. */
static void put_event(struct writer *w, char phase, int pid, int64_t tid, int64_t at_ns)
{
    int64_t ns = at_ns - w->t->started_ns;
    if (ns < 0) // it was written while the recording began
        ns = 0;
    put(w, "%s\n{\"ph\":\"%c\",\"pid\":%d,\"tid\":%" PRId64 ",\"ts\":%" PRId64 ".%03" PRId64,
        w->comma ? "," : "", phase, pid, tid, ns / 1000, ns % 1000);
    w->comma = true;
}

static int64_t track_of(uint16_t p) { return p + 1; } // 0 means "idle" to viewers

/* ---- slices ---- */

static void begin_slice(struct writer *w, uint16_t p, const struct trace_event *e, int64_t at_ns,
                        int32_t tid)
{
    w->ps[p].g = e->g;
    put_event(w, 'B', PID_PROCESSORS, track_of(p), at_ns);
    put(w, ",\"name\":\"");
    put_name(w, (const char *)(uintptr_t)e->arg);
    put(w, " #%" PRIu64 "\",\"args\":{\"goroutine\":%" PRIu64 ",\"thread\":%d}}", e->g, e->g, tid);
}

static void end_slice(struct writer *w, uint16_t p, int64_t at_ns, const char *why)
{
    w->ps[p].g = 0;
    put_event(w, 'E', PID_PROCESSORS, track_of(p), at_ns);
    put(w, ",\"args\":{\"left\":\"%s\"}}", why);
}

static const char *how_left(uint8_t how)
{
    static const char *const names[] = {
        [LEFT_NOTHING] = "?",
        [LEFT_YIELD] = "yield",
        [LEFT_PARK] = "park",
        [LEFT_EXIT] = "exit",
        [LEFT_PREEMPTED] = "preempted at the end of its slice",
        [LEFT_NEEDED] = "preempted by need",
        [LEFT_NO_P] = "no P is free",
    };
    if (how < TRACE_HOW)
        return park_reason_name(how);
    how -= TRACE_HOW;
    return how < sizeof(names) / sizeof(names[0]) && names[how] ? names[how] : "?";
}

/* The goroutine of `e` begins to run on p. */
static void runs(struct writer *w, uint16_t p, const struct trace_event *e, int32_t tid)
{
    struct track *track = &w->ps[p];
    if (track->g) {
        w->repaired++;
        end_slice(w, p, e->at_ns, "?");
    }
    track->seen = true;
    begin_slice(w, p, e, e->at_ns, tid);
}

/* It stops to. Who ran already when the recording began has no begin yet. */
static void stops(struct writer *w, uint16_t p, const struct trace_event *e, int32_t tid,
                  const char *why)
{
    struct track *track = &w->ps[p];
    if (!track->g && !track->seen)
        begin_slice(w, p, e, w->t->started_ns, tid);
    track->seen = true;
    if (track->g == e->g)
        end_slice(w, p, e->at_ns, why);
    else
        w->repaired++;
}

static void thread_begins(struct writer *w, struct source *s, int64_t at_ns, const char *what,
                          const struct trace_event *e)
{
    if (s->doing) {
        w->repaired++;
        put_event(w, 'E', PID_THREADS, s->tid, at_ns);
        put(w, "}");
    }
    s->doing = what;
    put_event(w, 'B', PID_THREADS, s->tid, at_ns);
    put(w, ",\"name\":\"%s", what);
    if (e) {
        put_name(w, (const char *)(uintptr_t)e->arg);
        put(w, " #%" PRIu64, e->g);
    }
    put(w, "\"}");
}

static void thread_ends(struct writer *w, struct source *s, const struct trace_event *e,
                        const char *what)
{
    if (!s->doing && !s->seen) // it did so when the recording began
        thread_begins(w, s, w->t->started_ns, what, e->kind == TRACE_UNBLOCK ? e : NULL);
    if (!s->doing) {
        w->repaired++;
        return;
    }
    s->doing = NULL;
    put_event(w, 'E', PID_THREADS, s->tid, e->at_ns);
    put(w, "}");
}

/* ---- arrows ---- */

static uint64_t *pending_slot(const struct pending *set, uint64_t g)
{
    uint32_t at = (uint32_t)(g * UINT64_C(0x9e3779b97f4a7c15) >> 32) & (set->cap - 1);
    while (set->slots[at] && set->slots[at] != g)
        at = (at + 1) & (set->cap - 1);
    return &set->slots[at];
}

static void pending_grow(struct pending *set)
{
    struct pending grown = {.cap = set->cap ? 2 * set->cap : 1024, .count = set->count};
    grown.slots = rt_alloc_zero(grown.cap * sizeof(uint64_t));
    for (uint32_t i = 0; i < set->cap; i++)
        if (set->slots[i])
            *pending_slot(&grown, set->slots[i]) = set->slots[i];
    rt_free(set->slots);
    *set = grown;
}

/* False: it was in it. */
static bool pending_add(struct pending *set, uint64_t g)
{
    if (2 * set->count >= set->cap)
        pending_grow(set);
    uint64_t *slot = pending_slot(set, g);
    if (*slot)
        return false;
    *slot = g;
    set->count++;
    return true;
}

/* False: it was not in it. */
static bool pending_remove(struct pending *set, uint64_t g)
{
    if (!set->cap || !*pending_slot(set, g))
        return false;
    uint32_t hole = (uint32_t)(pending_slot(set, g) - set->slots);
    set->slots[hole] = 0;
    set->count--;
    for (uint32_t i = (hole + 1) & (set->cap - 1); set->slots[i]; i = (i + 1) & (set->cap - 1)) {
        uint64_t moved = set->slots[i]; // whoever was pushed on by the one that left
        set->slots[i] = 0;
        *pending_slot(set, moved) = moved;
    }
    return true;
}

static void put_arrow(struct writer *w, char phase, int pid, int64_t tid,
                      const struct trace_event *e)
{
    put_event(w, phase, pid, tid, e->at_ns);
    put(w, ",\"cat\":\"ready\",\"name\":\"ready\",\"id\":%" PRIu64 "%s}", e->g,
        phase == 'f' ? ",\"bp\":\"e\"" : "");
}

/* From the slice of who readied it, if one is open: viewers drop arrows that begin nowhere. */
static void arrow_begins(struct writer *w, struct source *s, const struct trace_event *e)
{
    bool from_p = e->p < RT_PROCS_MAX && w->ps[e->p].g && (uint32_t)w->ps[e->p].g == e->value;
    if (!from_p && !s->doing)
        return;
    if (!pending_add(&w->pending, e->g))
        return;
    put_arrow(w, 's', from_p ? PID_PROCESSORS : PID_THREADS, from_p ? track_of(e->p) : s->tid, e);
}

static void arrow_ends(struct writer *w, const struct trace_event *e)
{
    if (pending_remove(&w->pending, e->g))
        put_arrow(w, 'f', PID_PROCESSORS, track_of(e->p), e);
}

/* ---- events ---- */

static void put_instant(struct writer *w, const struct trace_event *e, const char *name)
{
    put_event(w, 'i', PID_PROCESSORS, track_of(e->p), e->at_ns);
    put(w, ",\"s\":\"t\",\"name\":\"");
    put_name(w, name);
}

static void put_queue(struct writer *w, const struct trace_event *e)
{
    struct track *track = &w->ps[e->p];
    if (track->queue == e->value)
        return;
    track->queue = e->value;
    put_event(w, 'C', PID_PROCESSORS, track_of(e->p), e->at_ns);
    put(w, ",\"name\":\"queue of P%u\",\"args\":{\"goroutines\":%u}}", e->p, e->value);
}

static void put_region(struct writer *w, const struct trace_event *e, char phase)
{
    put_event(w, phase, PID_PROCESSORS, track_of(e->p), e->at_ns);
    put(w, ",\"cat\":\"region\",\"id\":%" PRIu64 ",\"name\":\"", e->g);
    put_name(w, (const char *)(uintptr_t)e->arg);
    put(w, "\"}");
}

/* What happened on a P; it is one of ours. */
static void tell_of_p(struct writer *w, struct source *s, const struct trace_event *e)
{
    switch ((enum trace_kind)e->kind) {
    case TRACE_RUN:
        runs(w, e->p, e, s->tid);
        arrow_ends(w, e);
        put_queue(w, e);
        return;
    case TRACE_STOP:
        stops(w, e->p, e, s->tid, how_left(e->how));
        return;
    case TRACE_BLOCK:
        stops(w, e->p, e, s->tid, "blocking call");
        return;
    case TRACE_UNBLOCK:
        runs(w, e->p, e, s->tid);
        return;
    case TRACE_STEAL:
        put_instant(w, e, "steal");
        put(w, "\",\"args\":{\"from\":\"P%" PRIu64 "\",\"goroutines\":%u}}", e->arg, e->value);
        return;
    case TRACE_HAND_OFF:
        put_instant(w, e, "hand-off");
        put(w, "\"}");
        return;
    case TRACE_EVENT:
        put_instant(w, e, (const char *)(uintptr_t)e->arg);
        put(w, "\",\"args\":{\"goroutine\":%" PRIu64 "}}", e->g);
        return;
    case TRACE_REGION_BEGIN:
    case TRACE_REGION_END:
        put_region(w, e, e->kind == TRACE_REGION_BEGIN ? 'b' : 'e');
        return;
    case TRACE_GO:
    case TRACE_READY:
    case TRACE_WAIT:
    case TRACE_WOKEN:
        return; // of the thread
    }
}

static void tell(struct writer *w, struct source *s, const struct trace_event *e)
{
    if (e->kind == TRACE_WAIT)
        thread_begins(w, s, e->at_ns, e->value ? "waits for events" : "sleeps", NULL);
    else if (e->kind == TRACE_WOKEN)
        thread_ends(w, s, e, "waits");
    else if (e->kind == TRACE_UNBLOCK)
        thread_ends(w, s, e, "blocking call: ");
    else if (e->kind == TRACE_READY || e->kind == TRACE_GO)
        arrow_begins(w, s, e);
    if (e->p < RT_PROCS_MAX)
        tell_of_p(w, s, e);
    if (e->kind == TRACE_BLOCK)
        thread_begins(w, s, e->at_ns, "blocking call: ", e);
    s->seen = true;
}

/* ---- the whole ---- */

static uint32_t chunks_of(const struct rt_trace *t)
{
    uint32_t count = load_relaxed(&t->chunk_count);
    return count < t->chunk_cap ? count : t->chunk_cap;
}

void rt_trace_summary(const struct rt_trace *t, struct rt_trace_summary *out)
{
    *out = (struct rt_trace_summary){.duration_ns = t->stopped_ns - t->started_ns,
                                     .full = load_relaxed(&t->full_ns) != 0};
    for (uint32_t i = 0, n = chunks_of(t); i < n; i++)
        out->events += t->chunks[i].used;
}

static struct source *source_of(struct writer *w, int32_t tid)
{
    for (uint32_t i = 0; i < w->source_count; i++)
        if (w->sources[i].tid == tid)
            return &w->sources[i];
    w->sources = rt_realloc(w->sources, (w->source_count + 1) * sizeof(struct source));
    w->sources[w->source_count] = (struct source){.tid = tid};
    return &w->sources[w->source_count++];
}

static void find_sources(struct writer *w)
{
    uint32_t count = chunks_of(w->t);
    for (uint32_t i = 0; i < count; i++) {
        struct source *s = source_of(w, w->t->chunks[i].tid);
        s->chunks = rt_realloc(s->chunks, (s->count + 1) * sizeof(uint32_t));
        s->chunks[s->count++] = i;
    }
}

/* Its next event, or NULL after the last. */
static const struct trace_event *next_of(const struct rt_trace *t, struct source *s)
{
    while (s->chunk < s->count) {
        const struct trace_chunk *chunk = &t->chunks[s->chunks[s->chunk]];
        if (s->at < chunk->used)
            return &chunk->events[s->at];
        s->chunk++;
        s->at = 0;
    }
    return NULL;
}

/* Tell everything that happened until `limit`, the first event of the second in line: threads work in
 * stretches, so this looks at all of them once a stretch. */
static bool tell_stretch(struct writer *w)
{
    struct source *first = NULL;
    int64_t at = INT64_MAX, limit = INT64_MAX;
    for (uint32_t i = 0; i < w->source_count; i++) {
        const struct trace_event *e = next_of(w->t, &w->sources[i]);
        if (!e)
            continue;
        if (!first || e->at_ns < at) {
            limit = at;
            at = e->at_ns;
            first = &w->sources[i];
        } else if (e->at_ns < limit) {
            limit = e->at_ns;
        }
    }
    if (!first)
        return false;
    const struct trace_event *e;
    while (!w->err && (e = next_of(w->t, first)) && e->at_ns <= limit) {
        tell(w, first, e);
        first->at++;
    }
    return !w->err;
}

static void put_names(struct writer *w)
{
    put(w, "{\"displayTimeUnit\":\"ns\",\"traceEvents\":[");
    put(w,
        "\n{\"ph\":\"M\",\"pid\":%d,\"name\":\"process_name\",\"args\":{\"name\":\"processors\"}}",
        PID_PROCESSORS);
    put(w, ",\n{\"ph\":\"M\",\"pid\":%d,\"name\":\"process_name\",\"args\":{\"name\":\"threads\"}}",
        PID_THREADS);
    for (uint32_t i = 0; i < w->source_count; i++)
        put(w,
            ",\n{\"ph\":\"M\",\"pid\":%d,\"tid\":%d,\"name\":\"thread_name\","
            "\"args\":{\"name\":\"thread %d\"}}",
            PID_THREADS, w->sources[i].tid, w->sources[i].tid);
    w->comma = true;
}

/* Names of the Ps; what is open at the end ends there. A P without any event ran one goroutine all the
 * time. */
static void close_tracks(struct writer *w)
{
    const struct rt_trace *t = w->t;
    for (unsigned i = 0; i < RT_PROCS_MAX; i++) {
        const struct trace_initial *first = i < t->procs ? &t->initial[i] : NULL;
        if (!w->ps[i].seen && !first)
            continue;
        put(w,
            ",\n{\"ph\":\"M\",\"pid\":%d,\"tid\":%" PRId64
            ",\"name\":\"thread_name\",\"args\":{\"name\":\"P%u\"}}",
            PID_PROCESSORS, track_of((uint16_t)i), i);
        if (!w->ps[i].seen && first->g) {
            struct trace_event e = {.g = first->g, .arg = (uintptr_t)first->name};
            begin_slice(w, (uint16_t)i, &e, t->started_ns, 0);
        }
        if (w->ps[i].g)
            end_slice(w, (uint16_t)i, t->stopped_ns, "the trace ended");
    }
    for (uint32_t i = 0; i < w->source_count; i++)
        if (w->sources[i].doing) {
            put_event(w, 'E', PID_THREADS, w->sources[i].tid, t->stopped_ns);
            put(w, "}");
        }
}

static void put_end(struct writer *w)
{
    struct rt_trace_summary sum;
    rt_trace_summary(w->t, &sum);
    put(w,
        "\n],\"otherData\":{\"events\":%" PRIu64 ",\"duration_ns\":%" PRId64
        ",\"full\":%s,\"repaired\":%" PRIu64 "}}\n",
        sum.events, sum.duration_ns, sum.full ? "true" : "false", w->repaired);
}

int rt_trace_write(const struct rt_trace *t, int (*sink)(void *arg, const char *bytes, size_t len),
                   void *arg)
{
    struct writer w = {.t = t, .sink = sink, .arg = arg, .out = rt_alloc(OUT_BYTES)};
    w.ps = rt_alloc_zero(RT_PROCS_MAX * sizeof(struct track));
    find_sources(&w);
    put_names(&w);
    while (tell_stretch(&w))
        ;
    close_tracks(&w);
    put_end(&w);
    flush(&w);
    for (uint32_t i = 0; i < w.source_count; i++)
        rt_free(w.sources[i].chunks);
    rt_free(w.sources);
    rt_free(w.pending.slots);
    rt_free(w.ps);
    rt_free(w.out);
    return w.err;
}
