/* cmd/kvctl/latency.c: where the time of puts goes: the stages of each member by quantile and what it
 * counted, since it started or, with --watch, since the last look that it answered, in every format.
 * kv/member/STAGES.md says what each stage is. */
#include "cmd/kvctl/kvctl.h"
#include "proto/kvd.pb-c.h"
#include "rt/hdr.h"
#include <inttypes.h>
#include <stdio.h>

enum { COLUMNS = 9 };
static const char *const head[COLUMNS] = {"MEMBER", "STAGE", "COUNT", "P50",  "P90",
                                          "P99",    "MAX",   "MEAN",  "SHARE"};

/* What one endpoint said. */
struct look {
    Kvdpb__LatencyResponse *now;
    struct rt_arena arena; // of it
};

struct board {
    struct kvctl *k;
    struct look before[KVCTL_ENDPOINTS_MAX]; // the last one that was answered
    struct look after[KVCTL_ENDPOINTS_MAX];
    struct rt_hdr_counts *counts, *earlier;
    const char **cells;
    uint32_t rows, cap;
    struct rt_string counted; // a line for each member
    bool since_look;          // of some member
};

static const char *stage_words(const char *name)
{
    static const char *const words[][2] = {
        {"A", "A append"},
        {"B", "B write"},
        {"C", "C sync"},
        {"D", "D send"},
        {"E", "E follower"},
        {"F", "F commit"},
        {"E.network", "  network"},
        {"E.wait", "  wait"},
        {"E.write", "  write"},
        {"E.sync", "  sync"},
    };
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (strcmp(name, words[i][0]) == 0)
            return words[i][1];
    return name;
}

/* Three digits and a unit. */
static const char *human(struct kvctl *k, double ns)
{
    static const char *const units[] = {"us", "ms", "s"};
    double value = ns / 1000;
    int unit = 0;
    while (value >= 1000 && unit < 2) {
        value /= 1000;
        unit++;
    }
    return rt_arena_printf(&k->answers, "%.*f%s",
                           value < 10    ? 2
                           : value < 100 ? 1
                                         : 0,
                           value, units[unit]);
}

static const Kvdpb__Stage *same_stage(const Kvdpb__LatencyResponse *r, const Kvdpb__Stage *like)
{
    for (size_t i = 0; r && i < r->n_stages; i++)
        if (r->stages[i]->peer == like->peer && strcmp(r->stages[i]->name, like->name) == 0)
            return r->stages[i];
    return NULL;
}

static bool decode(const Kvdpb__Stage *s, struct rt_hdr_counts *out)
{
    rt_hdr_counts_reset(out);
    return rt_hdr_decode(kvctl_blob(s->histogram), out) == 0;
}

/* What `s` counted since the look before, into b->counts; 0 looks back: all. */
static bool difference(struct board *b, const Kvdpb__Stage *s, const Kvdpb__LatencyResponse *before)
{
    const Kvdpb__Stage *old = same_stage(before, s);
    if (!decode(s, b->counts))
        return false;
    return !old || (decode(old, b->earlier) && rt_hdr_counts_subtract(b->counts, b->earlier));
}

static int64_t path_since(const Kvdpb__LatencyResponse *now, const Kvdpb__LatencyResponse *before,
                          const char *name)
{
    const Kvdpb__Stage *s = same_stage(now, &(const Kvdpb__Stage){.name = (char *)(uintptr_t)name});
    const Kvdpb__Stage *old = s ? same_stage(before, s) : NULL;
    bool is_total = strcmp(name, "total") == 0;
    if (!s)
        return 0;
    return is_total ? s->sum_ns - (old ? old->sum_ns : 0) : s->path_ns - (old ? old->path_ns : 0);
}

static const char **add_row(struct board *b)
{
    if (b->rows == b->cap) {
        b->cap = b->cap ? 2 * b->cap : 64;
        b->cells = rt_realloc(b->cells, (size_t)b->cap * COLUMNS * sizeof *b->cells);
    }
    return &b->cells[(size_t)b->rows++ * COLUMNS];
}

static void show_stage(struct board *b, const char *member, const Kvdpb__Stage *s,
                       const Kvdpb__LatencyResponse *now, const Kvdpb__LatencyResponse *before)
{
    struct kvctl *k = b->k;
    if (!difference(b, s, before) || !b->counts->count)
        return;
    const char **cells = add_row(b);
    cells[0] = member;
    cells[1] = s->peer ? rt_arena_printf(&k->answers, "to %" PRIx64 ": %s", s->peer, s->name)
                       : stage_words(s->name);
    cells[2] = rt_arena_printf(&k->answers, "%" PRIu64, b->counts->count);
    cells[3] = human(k, (double)rt_hdr_quantile(b->counts, 0.5));
    cells[4] = human(k, (double)rt_hdr_quantile(b->counts, 0.9));
    cells[5] = human(k, (double)rt_hdr_quantile(b->counts, 0.99));
    cells[6] = human(k, (double)b->counts->max_ns);
    cells[7] = human(k, rt_hdr_mean(b->counts));
    cells[8] = "";
    int64_t total = path_since(now, before, "total");
    if (s->on_path && total > 0)
        cells[8] = rt_arena_printf(&k->answers, "%.1f %%",
                                   100 * (double)path_since(now, before, s->name) / (double)total);
}

/* What was counted under this name since the look before, over all followers. */
static int64_t counted(const Kvdpb__LatencyResponse *now, const Kvdpb__LatencyResponse *before,
                       const char *name)
{
    int64_t sum = 0;
    for (size_t i = 0; i < now->n_counters; i++)
        if (strcmp(now->counters[i]->name, name) == 0)
            sum += now->counters[i]->value;
    for (size_t i = 0; before && i < before->n_counters; i++)
        if (strcmp(before->counters[i]->name, name) == 0)
            sum -= before->counters[i]->value;
    return sum;
}

static void show_counters(struct board *b, const char *member, const Kvdpb__LatencyResponse *now,
                          const Kvdpb__LatencyResponse *before)
{
    const int64_t stalls = counted(now, before, "window_stalls");
    rt_string_printf(&b->counted,
                     "%s: %" PRId64 " entries in %" PRId64 " batches, %" PRId64 " syncs, %" PRId64
                     " overruns, %" PRId64 " window stalls",
                     member, counted(now, before, "append_entries"),
                     counted(now, before, "append_batches"), counted(now, before, "wal_syncs"),
                     counted(now, before, "wal_sync_overruns"), stalls);
    if (stalls)
        rt_string_printf(&b->counted, " (%s)",
                         human(b->k, (double)counted(now, before, "window_stall_ns")));
    rt_string_printf(&b->counted, "\n");
}

static void show_member(struct board *b, const Kvdpb__LatencyResponse *now,
                        const Kvdpb__LatencyResponse *before)
{
    const char *member =
        rt_arena_printf(&b->k->answers, "%s%s", now->name, now->is_leader ? " (leader)" : "");
    for (size_t i = 0; i < now->n_stages; i++)
        show_stage(b, member, now->stages[i], now, before);
    show_counters(b, member, now, before);
}

static void print_rows(struct board *b)
{
    struct kvctl *k = b->k;
    const char *member = "";
    if (k->format == FORMAT_TABLE && b->rows)
        print_table(&k->out, head, COLUMNS, b->cells, b->rows);
    for (uint32_t i = 0; k->format != FORMAT_TABLE && i < b->rows; i++) {
        const char *const *c = &b->cells[(size_t)i * COLUMNS];
        if (strcmp(member, c[0]) != 0)
            rt_string_printf(&k->out, "%s%s\n  %-32s %9s %9s %9s %9s %9s %9s %8s\n", i ? "\n" : "",
                             c[0], "stage", "count", "p50", "p90", "p99", "max", "mean", "share");
        member = c[0];
        rt_string_printf(&k->out, "  %-32s %9s %9s %9s %9s %9s %9s %8s\n", c[1], c[2], c[3], c[4],
                         c[5], c[6], c[7], c[8]);
    }
    if (k->format != FORMAT_TABLE && b->rows)
        rt_string_printf(&k->out, "\n");
    rt_string_append(&k->out, b->counted.data, b->counted.len);
    if (!b->rows)
        rt_string_printf(&k->out, "no put was sent to these members%s\n",
                         b->since_look ? " since the last look" : " yet");
}

/* A stage of the answer as it is since the look before: a copy in k->answers. */
static Kvdpb__Stage *stage_since(struct board *b, const Kvdpb__Stage *now,
                                 const Kvdpb__LatencyResponse *before)
{
    Kvdpb__Stage *s = rt_arena_copy(&b->k->answers, now, sizeof *now);
    const Kvdpb__Stage *old = same_stage(before, now);
    const struct rt_hdr_counts *c = b->counts;
    struct rt_string bytes = {0};
    if (!old || !difference(b, now, before))
        return s;
    s->path_ns -= old->path_ns;
    s->path_count -= old->path_count;
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
    rt_hdr_encode(c, &bytes);
    s->histogram.data = rt_arena_copy(&b->k->answers, bytes.data, bytes.len);
    s->histogram.len = bytes.len;
    rt_string_deinit(&bytes);
    return s;
}

static Kvdpb__Counter *counter_since(struct board *b, const Kvdpb__Counter *now,
                                     const Kvdpb__LatencyResponse *before)
{
    Kvdpb__Counter *c = rt_arena_copy(&b->k->answers, now, sizeof *now);
    for (size_t i = 0; i < before->n_counters && !c->gauge; i++)
        if (before->counters[i]->peer == c->peer && strcmp(before->counters[i]->name, c->name) == 0)
            c->value -= before->counters[i]->value;
    return c;
}

/* The answer with what came since the look before in place of the totals. */
static const Kvdpb__LatencyResponse *answer_since(struct board *b,
                                                  const Kvdpb__LatencyResponse *now,
                                                  const Kvdpb__LatencyResponse *before)
{
    struct rt_arena *arena = &b->k->answers;
    Kvdpb__LatencyResponse *r = rt_arena_copy(arena, now, sizeof *now);
    r->stages = rt_arena_alloc(arena, r->n_stages * sizeof(Kvdpb__Stage *));
    r->counters = rt_arena_alloc(arena, r->n_counters * sizeof(Kvdpb__Counter *));
    for (size_t i = 0; i < r->n_stages; i++)
        r->stages[i] = stage_since(b, now->stages[i], before);
    for (size_t i = 0; i < r->n_counters; i++)
        r->counters[i] = counter_since(b, now->counters[i], before);
    return r;
}

/* What the endpoint said before; NULL: nothing, or in another life. */
static const Kvdpb__LatencyResponse *look_before(const struct board *b, uint32_t i)
{
    const Kvdpb__LatencyResponse *now = b->after[i].now, *before = b->before[i].now;
    return now && before && now->started_ns == before->started_ns ? before : NULL;
}

static void print_json(struct board *b)
{
    struct kvctl *k = b->k;
    const char *separator = "[";
    for (uint32_t i = 0; i < k->endpoint_count; i++) {
        if (!b->after[i].now)
            continue;
        rt_string_printf(&k->out, "%s{\"endpoint\":", separator);
        print_json_text(&k->out, k->endpoints[i], strlen(k->endpoints[i]));
        const Kvdpb__LatencyResponse *now = b->after[i].now, *before = look_before(b, i);
        rt_string_printf(&k->out, ",\"since_ns\":%" PRId64 ",\"latency\":",
                         before ? before->now_ns : now->started_ns);
        print_json_message(&k->out, before ? &answer_since(b, now, before)->base : &now->base);
        rt_string_printf(&k->out, "}");
        separator = ",";
    }
    rt_string_printf(&k->out, *separator == '[' ? "[]\n" : "]\n");
}

/* Ask one endpoint. False: said why. */
static bool look_at(struct board *b, uint32_t i)
{
    struct kvctl *k = b->k;
    struct rt_string request = {0};
    struct grpc_status status;
    struct rt_arena mine = k->answers;
    k->answers = b->after[i].arena; // it outlives this round
    field_add_uint(&request, 1, 1);
    int code = kvctl_call_at(k, k->endpoints[i], "/kvdpb.Insight/Latency", &request,
                             &kvdpb__latency_response__descriptor, &b->after[i].now, &status);
    b->after[i].arena = k->answers;
    k->answers = mine;
    rt_string_deinit(&request);
    if (code) {
        b->after[i].now = NULL;
        fprintf(stderr, "%s: %s\n", k->endpoints[i], status.text);
        return false;
    }
    if (!b->after[i].now->stamps)
        fprintf(stderr, "%s was built without stamps of stages\n", k->endpoints[i]);
    return true;
}

/* One look at all. False: some did not answer. */
static bool one_round(struct board *b)
{
    struct kvctl *k = b->k;
    bool all = true;
    b->rows = 0;
    b->since_look = false;
    b->counted.len = 0;
    for (uint32_t i = 0; i < k->endpoint_count; i++) {
        all &= look_at(b, i);
        if (!b->after[i].now)
            continue;
        const Kvdpb__LatencyResponse *before = look_before(b, i);
        if (!before && b->before[i].now)
            fprintf(stderr, "%s was started anew: its figures are since then\n", k->endpoints[i]);
        b->since_look |= before != NULL;
        show_member(b, b->after[i].now, before);
    }
    if (k->format == FORMAT_JSON)
        print_json(b);
    else
        print_rows(b);
    for (uint32_t i = 0; i < k->endpoint_count; i++) {
        if (b->after[i].now) { // else the next difference is to the look before still
            struct look old = b->before[i];
            b->before[i] = b->after[i];
            b->after[i] = (struct look){.arena = old.arena};
        }
        rt_arena_reset(&b->after[i].arena);
    }
    rt_arena_reset(&k->answers);
    return all;
}

int command_latency(struct kvctl *k)
{
    bool cluster = false, watch = false;
    int64_t every_ns = 2 * RT_SECOND, rounds = 0;
    const struct option options[] = {
        {"cluster", 0, OPTION_SWITCH, &cluster, "all members of the cluster"},
        {"watch", 0, OPTION_SWITCH, &watch,
         "again and again, each time what came since the last look"},
        {"interval", 0, OPTION_DURATION, &every_ns, "between two looks (default 2s)"},
        {"rounds", 0, OPTION_INT, &rounds, "end after so many looks (default: never)"},
    };
    if (!kvctl_options(k, options, 4, 0, 0, "latency [options]"))
        return k->exit;
    if (k->format == FORMAT_FIELDS)
        return kvctl_fail(KVCTL_BAD_ARGS, "latency prints simple, json or table");
    if (every_ns < 100 * RT_MS || rounds < 0)
        return kvctl_fail(KVCTL_BAD_ARGS,
                          "--interval takes at least 100ms, --rounds no negative number");
    if (cluster && !kvctl_use_cluster(k))
        return k->exit;
    struct board *b = rt_alloc_zero(sizeof *b);
    b->k = k;
    b->counts = rt_hdr_counts_new();
    b->earlier = rt_hdr_counts_new();
    bool all = true;
    int exit = 0;
    for (int64_t n = 1; exit == 0; n++) {
        all = one_round(b);
        exit = kvctl_flush(k);
        if (!watch || n == rounds)
            break;
        rt_sleep_ns(every_ns);
    }
    for (uint32_t i = 0; i < KVCTL_ENDPOINTS_MAX; i++) {
        rt_arena_deinit(&b->before[i].arena);
        rt_arena_deinit(&b->after[i].arena);
    }
    rt_free(b->counts);
    rt_free(b->earlier);
    rt_free(b->cells);
    rt_string_deinit(&b->counted);
    rt_free(b);
    return exit ? exit : all ? KVCTL_OK : KVCTL_ERROR;
}
