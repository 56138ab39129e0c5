/* kv/service/insight.c: what kvd tells of itself beside etcd's API: the stages of puts, and the knobs
 * (proto/kvd.proto). */
#include "kv/service/serve.h"
#include "proto/kvd.pb-c.h"
#include "rt/hdr.h"
#include "rt/time.h"
#include <stdio.h>

enum { INSIGHT_REQUEST_BYTES = 64 << 10 }; // of memory that a request may unpack to

/* An answer under construction; all of it lives in the arena. */
struct insight {
    struct rt_arena arena;
    bool histograms;
    struct rt_hdr_counts *counts; // reused from row to row
    Kvdpb__Stage **stages;
    Kvdpb__Counter **counters;
    size_t stage_count, stage_cap, counter_count, counter_cap;
};

static void *grow(struct insight *i, void *list, size_t count, size_t *cap)
{
    if (count < *cap)
        return list;
    size_t before = *cap;
    *cap = before ? 2 * before : 32;
    void **grown = rt_arena_alloc(&i->arena, *cap * sizeof *grown);
    if (before)
        memcpy(grown, list, before * sizeof *grown);
    return grown;
}

static void read_counts(struct insight *i, const struct rt_hdr *h)
{
    rt_hdr_counts_reset(i->counts);
    rt_hdr_read(h, i->counts);
}

static void add_histogram(struct insight *i, Kvdpb__Stage *s)
{
    struct rt_string bytes = {0};
    rt_hdr_encode(i->counts, &bytes);
    s->histogram.data = rt_arena_copy(&i->arena, bytes.data, bytes.len);
    s->histogram.len = bytes.len;
    rt_string_deinit(&bytes);
}

static void add_stage(void *arg, const struct member_latency_row *row)
{
    struct insight *i = arg;
    const struct rt_hdr_counts *c = i->counts;
    Kvdpb__Stage *s = rt_arena_alloc(&i->arena, sizeof *s);
    kvdpb__stage__init(s);
    if (row->path) {
        read_counts(i, row->path);
        s->on_path = true;
        s->path_ns = c->sum_ns;
        s->path_count = c->count;
    }
    if (row->path != row->took)
        read_counts(i, row->took);
    s->name = rt_arena_printf(&i->arena, "%s", member_stage_name(row->stage));
    s->peer = row->peer;
    s->count = c->count;
    s->sum_ns = c->sum_ns;
    s->mean_ns = rt_hdr_mean(c);
    s->stddev_ns = rt_hdr_stddev(c);
    s->min_ns = c->min_ns;
    s->max_ns = c->max_ns;
    s->p50_ns = rt_hdr_quantile(c, 0.5);
    s->p90_ns = rt_hdr_quantile(c, 0.9);
    s->p95_ns = rt_hdr_quantile(c, 0.95);
    s->p99_ns = rt_hdr_quantile(c, 0.99);
    s->p999_ns = rt_hdr_quantile(c, 0.999);
    if (i->histograms)
        add_histogram(i, s);
    i->stages = grow(i, i->stages, i->stage_count, &i->stage_cap);
    i->stages[i->stage_count++] = s;
}

static void add_counter(void *arg, const char *name, uint64_t peer, int64_t value, bool gauge)
{
    struct insight *i = arg;
    Kvdpb__Counter *c = rt_arena_alloc(&i->arena, sizeof *c);
    kvdpb__counter__init(c);
    c->name = rt_arena_printf(&i->arena, "%s", name);
    c->peer = peer;
    c->value = value;
    c->gauge = gauge;
    i->counters = grow(i, i->counters, i->counter_count, &i->counter_cap);
    i->counters[i->counter_count++] = c;
}

static char *text(struct rt_arena *arena, const char *from)
{
    return rt_arena_printf(arena, "%s", from);
}

static Kvdpb__Knob *knob_message(struct rt_arena *arena, const struct member_knob *from)
{
    Kvdpb__Knob *k = rt_arena_alloc(arena, sizeof *k);
    kvdpb__knob__init(k);
    k->name = text(arena, from->name);
    k->value = text(arena, from->value);
    k->default_value = text(arena, from->initial);
    k->range = text(arena, from->range);
    k->unit = text(arena, from->unit);
    k->text = text(arena, from->text);
    k->persisted = from->persisted;
    k->debug = from->debug;
    k->number = from->number;
    return k;
}

/* The knob of that name, or all for "". */
static size_t list_knobs(struct service *s, struct rt_arena *arena, const char *name,
                         Kvdpb__Knob ***out)
{
    struct member_knob *all = rt_arena_alloc(arena, MEMBER_KNOBS_MAX * sizeof *all);
    uint32_t count = member_knobs(s->member, all, MEMBER_KNOBS_MAX);
    size_t n = 0;
    *out = rt_arena_alloc(arena, MEMBER_KNOBS_MAX * sizeof **out);
    for (uint32_t i = 0; i < count; i++)
        if (!*name || strcmp(name, all[i].name) == 0)
            (*out)[n++] = knob_message(arena, &all[i]);
    return n;
}

static void answer(struct service *s, struct grpc_call *call, const ProtobufCMessage *message)
{
    struct rt_string body = {0};
    fields_pack(&body, message);
    serve_answer(s, call, store_revision(s->store), &body); // with the header before it
}

enum grpc_done serve_latency(void *ctx, struct grpc_call *call, struct rt_bytes message)
{
    struct service *s = ctx;
    uint64_t histograms;
    if (!serve_numbers(s, call, message, &histograms, 1))
        return GRPC_DONE;
    struct insight i = {.histograms = histograms != 0, .counts = rt_hdr_counts_new()};
    rt_arena_init(&i.arena);
    Kvdpb__LatencyResponse r = KVDPB__LATENCY_RESPONSE__INIT;
    r.started_ns = member_started_ns(s->member);
    r.now_ns = rt_now_ns();
    r.is_leader = member_is_leader(s->member);
    r.name = text(&i.arena, member_name(s->member));
    r.stamps = member_latency(s->member, add_stage, &i);
    member_counters(s->member, add_counter, &i);
    r.stages = i.stages;
    r.n_stages = i.stage_count;
    r.counters = i.counters;
    r.n_counters = i.counter_count;
    r.n_knobs = list_knobs(s, &i.arena, "", &r.knobs);
    answer(s, call, &r.base);
    rt_arena_deinit(&i.arena);
    rt_free(i.counts);
    return GRPC_DONE;
}

/* False: the call has been failed. */
static bool unpack(struct service *s, struct grpc_call *call, struct rt_bytes message,
                   const ProtobufCMessageDescriptor *type, struct rt_arena *arena,
                   ProtobufCMessage **out)
{
    int err = fields_unpack(type, message, arena, INSIGHT_REQUEST_BYTES, out);
    if (err)
        serve_fail(s, call, err);
    return err == 0;
}

static void fail_why(struct grpc_call *call, enum grpc_code code, const struct why *why)
{
    char line[sizeof why->text + 16];
    snprintf(line, sizeof line, "kvd: %s", why->text);
    grpc_fail(call, code, line);
}

enum grpc_done serve_knob_list(void *ctx, struct grpc_call *call, struct rt_bytes message)
{
    struct service *s = ctx;
    struct rt_arena arena;
    ProtobufCMessage *request;
    rt_arena_init(&arena);
    if (unpack(s, call, message, &kvdpb__knob_list_request__descriptor, &arena, &request)) {
        const char *name = ((const Kvdpb__KnobListRequest *)request)->name;
        Kvdpb__KnobListResponse r = KVDPB__KNOB_LIST_RESPONSE__INIT;
        r.n_knobs = list_knobs(s, &arena, name, &r.knobs);
        struct why why;
        why_set(&why, "there is no knob \"%.64s\"; kvctl knob list names them", name);
        if (r.n_knobs)
            answer(s, call, &r.base);
        else
            fail_why(call, GRPC_INVALID_ARGUMENT, &why);
    }
    rt_arena_deinit(&arena);
    return GRPC_DONE;
}

static void set_knob(struct service *s, struct grpc_call *call, struct rt_arena *arena,
                     const Kvdpb__KnobSetRequest *request)
{
    struct member_knob knob;
    char previous[MEMBER_KNOB_BYTES];
    struct why why = {{0}};
    int err = member_knob_set(s->member, request->name, request->value, request->persist, &knob,
                              previous, &why);
    if (err == MEMBER_NO_KNOB || err == MEMBER_BAD_KNOB) {
        fail_why(call, GRPC_INVALID_ARGUMENT, &why);
    } else if (err == MEMBER_STOPPED) {
        serve_fail(s, call, err);
    } else if (err) {
        why_prefix(&why, "%s is set, but not persisted", request->name);
        fail_why(call, GRPC_INTERNAL, &why);
    } else {
        Kvdpb__KnobSetResponse r = KVDPB__KNOB_SET_RESPONSE__INIT;
        r.knob = knob_message(arena, &knob);
        r.previous = previous;
        answer(s, call, &r.base);
    }
}

enum grpc_done serve_knob_set(void *ctx, struct grpc_call *call, struct rt_bytes message)
{
    struct service *s = ctx;
    struct rt_arena arena;
    ProtobufCMessage *request;
    rt_arena_init(&arena);
    if (unpack(s, call, message, &kvdpb__knob_set_request__descriptor, &arena, &request))
        set_knob(s, call, &arena, (const Kvdpb__KnobSetRequest *)request);
    rt_arena_deinit(&arena);
    return GRPC_DONE;
}
