/* cmd/kvlab/stages.c: stage histograms of a member, as windows between two readings. */
#include "cmd/kvlab/cluster.h"
#include <inttypes.h>
#include <stdio.h>

static bool take_stage(struct stage_reading *r, const Kvdpb__Stage *s)
{
    struct stage *to = &r->stages[r->count];
    snprintf(to->name, sizeof to->name, "%s", s->name);
    to->peer = s->peer;
    to->on_path = s->on_path;
    to->path_ns = s->path_ns;
    to->counts = rt_hdr_counts_new();
    r->count++;
    return rt_hdr_decode(rt_bytes(s->histogram.data, s->histogram.len), to->counts) == 0;
}

struct stage_reading *stages_read(struct member *m, struct why *why)
{
    struct rt_arena arena;
    Kvdpb__LatencyResponse *answer;
    rt_arena_init(&arena);
    if (client_latency(&m->client, &arena, &answer, why)) {
        rt_arena_deinit(&arena);
        return NULL;
    }
    struct stage_reading *r = rt_alloc_zero(sizeof *r);
    bool ok = true;
    r->started_ns = answer->started_ns;
    for (size_t i = 0; i < answer->n_stages && r->count < STAGES_MAX && ok; i++)
        ok = take_stage(r, answer->stages[i]);
    for (size_t i = 0; i < answer->n_counters && r->counter_count < COUNTERS_MAX; i++) {
        struct stage_counter *to = &r->counters[r->counter_count++];
        snprintf(to->name, sizeof to->name, "%s", answer->counters[i]->name);
        to->peer = answer->counters[i]->peer;
        to->value = answer->counters[i]->value;
        to->gauge = answer->counters[i]->gauge;
    }
    rt_arena_deinit(&arena);
    if (ok)
        return r;
    why_set(
        why,
        "%s: the histogram of a stage has another layout; kvlab and kvd are of different versions",
        m->endpoint);
    stages_free(r);
    return NULL;
}

void stages_free(struct stage_reading *r)
{
    for (uint32_t i = 0; r && i < r->count; i++)
        rt_free(r->stages[i].counts);
    rt_free(r);
}

const struct stage *stages_same(const struct stage_reading *r, const struct stage *s)
{
    for (uint32_t i = 0; i < r->count; i++)
        if (r->stages[i].peer == s->peer && strcmp(r->stages[i].name, s->name) == 0)
            return &r->stages[i];
    return NULL;
}

static const struct stage_counter *find_counter(const struct stage_reading *r,
                                                const struct stage_counter *c)
{
    for (uint32_t i = 0; i < r->counter_count; i++)
        if (r->counters[i].peer == c->peer && strcmp(r->counters[i].name, c->name) == 0)
            return &r->counters[i];
    return NULL;
}

bool stages_subtract(struct stage_reading *after, const struct stage_reading *before)
{
    if (after->started_ns != before->started_ns)
        return false;
    for (uint32_t i = 0; i < after->count; i++) {
        const struct stage *old = stages_same(before, &after->stages[i]);
        if (old && !rt_hdr_counts_subtract(after->stages[i].counts, old->counts))
            return false;
        after->stages[i].path_ns -= old ? old->path_ns : 0;
    }
    for (uint32_t i = 0; i < after->counter_count; i++) {
        const struct stage_counter *old = find_counter(before, &after->counters[i]);
        if (old && !after->counters[i].gauge)
            after->counters[i].value -= old->value;
    }
    return true;
}

struct stage_reading *stages_merge(struct stage_reading *sum, const struct stage_reading *more)
{
    if (!sum)
        sum = rt_alloc_zero(sizeof *sum);
    for (uint32_t i = 0; i < more->count; i++) {
        struct stage *to = (struct stage *)stages_same(sum, &more->stages[i]);
        if (!to) {
            if (sum->count == STAGES_MAX)
                continue;
            to = &sum->stages[sum->count++];
            *to = more->stages[i];
            to->counts = rt_hdr_counts_new();
        } else {
            to->path_ns += more->stages[i].path_ns;
        }
        rt_hdr_counts_merge(to->counts, more->stages[i].counts);
    }
    for (uint32_t i = 0; i < more->counter_count; i++) {
        struct stage_counter *to = (struct stage_counter *)find_counter(sum, &more->counters[i]);
        if (to)
            to->value = to->gauge ? more->counters[i].value : to->value + more->counters[i].value;
        else if (sum->counter_count < COUNTERS_MAX)
            sum->counters[sum->counter_count++] = more->counters[i];
    }
    return sum;
}

const struct stage *stages_find(const struct stage_reading *r, const char *name)
{
    for (uint32_t i = 0; i < r->count; i++)
        if (strcmp(r->stages[i].name, name) == 0)
            return &r->stages[i];
    return NULL;
}

int64_t stages_counter(const struct stage_reading *r, const char *name)
{
    int64_t sum = -1;
    for (uint32_t i = 0; i < r->counter_count; i++)
        if (strcmp(r->counters[i].name, name) == 0)
            sum = (sum < 0 ? 0 : sum) + r->counters[i].value;
    return sum;
}

static void add_line(struct rt_string *out, const struct stage *s, const char *what, int64_t value)
{
    rt_string_printf(out, "%s,%" PRIx64 ",%s,,,%" PRId64 "\n", s->name, s->peer, what, value);
}

bool stages_write_raw(struct lab *lab, const struct stage_reading *r, const char *name,
                      struct why *why)
{
    char path[160];
    struct rt_string text = {0};
    rt_string_printf(&text, "of,peer,what,from_ns,below_ns,value\n");
    for (uint32_t i = 0; i < r->count; i++) {
        const struct stage *s = &r->stages[i];
        add_line(&text, s, "sum_ns", s->counts->sum_ns);
        if (s->on_path)
            add_line(&text, s, "path_ns", s->path_ns);
        for (uint32_t b = 0; b < RT_HDR_BUCKETS; b++)
            if (s->counts->buckets[b])
                rt_string_printf(
                    &text, "%s,%" PRIx64 ",count,%" PRId64 ",%" PRId64 ",%" PRIu64 "\n", s->name,
                    s->peer, rt_hdr_bucket_low(b), rt_hdr_bucket_high(b), s->counts->buckets[b]);
    }
    for (uint32_t i = 0; i < r->counter_count; i++)
        rt_string_printf(&text, "%s,%" PRIx64 ",%s,,,%" PRId64 "\n", r->counters[i].name,
                         r->counters[i].peer, r->counters[i].gauge ? "gauge" : "counter",
                         r->counters[i].value);
    snprintf(path, sizeof path, "raw/%s-stages.csv", name);
    return lab_write(lab, path, &text, why);
}
