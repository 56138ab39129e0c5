/* cmd/kvctl/latency.c: where the time of puts goes: the stages of each member by quantile, since it
 * started or, with --watch, since the last look. kv/member/STAGES.md says what each stage is. */
#include "cmd/kvctl/kvctl.h"
#include "proto/kvd.pb-c.h"
#include "rt/hdr.h"
#include <inttypes.h>
#include <stdio.h>

enum { COLUMNS = 9 };
static const char *const head[COLUMNS] = {"MEMBER", "STAGE", "COUNT", "P50",  "P90",
                                          "P99",    "MAX",   "MEAN",  "SHARE"};

/* What one endpoint said the last time, for the difference. */
struct look {
    Kvdpb__LatencyResponse *now;
    struct rt_arena arena; // of it
};

struct board {
    struct kvctl *k;
    struct look before[KVCTL_ENDPOINTS_MAX], after[KVCTL_ENDPOINTS_MAX];
    struct rt_hdr_counts *counts, *earlier;
    const char **cells;
    uint32_t rows, cap;
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
                       const struct look *after, const struct look *before)
{
    struct kvctl *k = b->k;
    if (!difference(b, s, before->now) || !b->counts->count)
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
    int64_t total = path_since(after->now, before->now, "total");
    if (s->on_path && total > 0)
        cells[8] = rt_arena_printf(&k->answers, "%.1f %%",
                                   100 * (double)path_since(after->now, before->now, s->name) /
                                       (double)total);
}

static void show_member(struct board *b, const struct look *after, const struct look *before)
{
    const Kvdpb__LatencyResponse *r = after->now;
    const char *member =
        rt_arena_printf(&b->k->answers, "%s%s", r->name, r->is_leader ? " (leader)" : "");
    for (size_t i = 0; i < r->n_stages; i++)
        show_stage(b, member, r->stages[i], after, before);
}

static void print_rows(struct board *b)
{
    struct kvctl *k = b->k;
    if (k->format == FORMAT_TABLE) {
        print_table(&k->out, head, COLUMNS, b->cells, b->rows);
        return;
    }
    const char *member = "";
    for (uint32_t i = 0; i < b->rows; i++) {
        const char *const *c = &b->cells[(size_t)i * COLUMNS];
        if (strcmp(member, c[0]) != 0)
            rt_string_printf(&k->out, "%s%s\n  %-32s %9s %9s %9s %9s %9s %9s %8s\n", i ? "\n" : "",
                             c[0], "stage", "count", "p50", "p90", "p99", "max", "mean", "share");
        member = c[0];
        rt_string_printf(&k->out, "  %-32s %9s %9s %9s %9s %9s %9s %8s\n", c[1], c[2], c[3], c[4],
                         c[5], c[6], c[7], c[8]);
    }
    if (!b->rows)
        rt_string_printf(&k->out, "no put was sent to these members%s\n",
                         b->before[0].now ? " since the last look" : " yet");
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
        rt_string_printf(&k->out, ",\"latency\":");
        print_json_message(&k->out, &b->after[i].now->base);
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
    for (uint32_t i = 0; i < k->endpoint_count; i++) {
        all &= look_at(b, i);
        struct look *before = &b->before[i], none = {.now = NULL};
        const Kvdpb__LatencyResponse *now = b->after[i].now;
        bool same_life = now && before->now && before->now->started_ns == now->started_ns;
        if (now)
            show_member(b, &b->after[i], same_life ? before : &none);
    }
    if (k->format == FORMAT_JSON)
        print_json(b);
    else
        print_rows(b);
    for (uint32_t i = 0; i < k->endpoint_count; i++) {
        struct look old = b->before[i];
        b->before[i] = b->after[i];
        rt_arena_reset(&old.arena);
        b->after[i] = (struct look){.arena = old.arena};
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
    rt_free(b);
    return exit ? exit : all ? KVCTL_OK : KVCTL_ERROR;
}
