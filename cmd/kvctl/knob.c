/* cmd/kvctl/knob.c: what can be changed while members run: look at it, and set it, on each endpoint. */
#include "cmd/kvctl/kvctl.h"
#include "proto/kvd.pb-c.h"
#include <inttypes.h>
#include <stdio.h>

enum { COLUMNS = 7 };
static const char *const head[COLUMNS] = {"ENDPOINT", "KNOB",      "VALUE",     "STARTED WITH",
                                          "RANGE",    "PERSISTED", "WHAT IT IS"};

struct rows {
    const char **cells;
    uint32_t count, cap;
};

static void add_row(struct kvctl *k, struct rows *r, const char *endpoint, const Kvdpb__Knob *knob)
{
    if (r->count == r->cap) {
        uint32_t cap = r->cap ? 2 * r->cap : 16;
        const char **grown = rt_arena_alloc(&k->answers, (size_t)cap * COLUMNS * sizeof *grown);
        if (r->count)
            memcpy(grown, r->cells, (size_t)r->count * COLUMNS * sizeof *grown);
        r->cells = grown;
        r->cap = cap;
    }
    const char **cells = &r->cells[(size_t)r->count++ * COLUMNS];
    cells[0] = endpoint;
    cells[1] = knob->name;
    cells[2] = knob->value;
    cells[3] = knob->default_value;
    cells[4] = knob->range;
    cells[5] = knob->persisted ? "yes" : "no";
    cells[6] = knob->text;
}

static void add_json(struct kvctl *k, const char *endpoint, const ProtobufCMessage *message)
{
    rt_string_printf(&k->out, "%s{\"endpoint\":", k->out.len ? "," : "[");
    print_json_text(&k->out, endpoint, strlen(endpoint));
    rt_string_printf(&k->out, ",\"answer\":");
    print_json_message(&k->out, message);
    rt_string_printf(&k->out, "}");
}

static bool read_words(struct kvctl *k, const struct option *options, uint32_t count,
                       const bool *cluster, int words, const char *usage)
{
    if (!kvctl_options(k, options, count, words, words, usage))
        return false;
    if (k->format == FORMAT_FIELDS)
        return kvctl_over(k, KVCTL_BAD_ARGS, "knobs are printed as simple, json or table");
    return !*cluster || kvctl_use_cluster(k);
}

static int end(struct kvctl *k, const struct rows *r, uint32_t failed)
{
    if (k->format == FORMAT_JSON)
        rt_string_printf(&k->out, k->out.len ? "]\n" : "[]\n");
    else if (k->format == FORMAT_TABLE && r->count)
        print_table(&k->out, head, COLUMNS, r->cells, r->count);
    int exit = kvctl_flush(k);
    return failed ? KVCTL_ERROR : exit;
}

static int list(struct kvctl *k, const char *name)
{
    struct rt_string request = {0};
    struct rows rows = {0};
    uint32_t failed = 0;
    field_add_text(&request, 1, name);
    for (uint32_t i = 0; i < k->endpoint_count; i++) {
        Kvdpb__KnobListResponse *r;
        struct grpc_status status;
        const char *at = k->endpoints[i];
        if (kvctl_call_at(k, at, "/kvdpb.Insight/KnobList", &request,
                          &kvdpb__knob_list_response__descriptor, &r, &status)) {
            fprintf(stderr, "%s: %s\n", at, status.text);
            failed++;
            continue;
        }
        if (k->format == FORMAT_JSON)
            add_json(k, at, &r->base);
        for (size_t n = 0; n < r->n_knobs; n++) {
            const Kvdpb__Knob *knob = r->knobs[n];
            add_row(k, &rows, at, knob);
            if (k->format == FORMAT_SIMPLE && *name)
                rt_string_printf(&k->out, "%s: %s = %s\n", at, knob->name, knob->value);
            else if (k->format == FORMAT_SIMPLE)
                rt_string_printf(&k->out, "%s: %-24s %-8s (%s)%s %s\n", at, knob->name, knob->value,
                                 knob->range, knob->persisted ? " persisted;" : "", knob->text);
        }
    }
    rt_string_deinit(&request);
    return end(k, &rows, failed);
}

int command_knob_list(struct kvctl *k)
{
    bool cluster = false;
    const struct option options[] = {
        {"cluster", 0, OPTION_SWITCH, &cluster, "all members of the cluster"}};
    return read_words(k, options, 1, &cluster, 0, "knob list [options]") ? list(k, "") : k->exit;
}

int command_knob_get(struct kvctl *k)
{
    bool cluster = false;
    const struct option options[] = {
        {"cluster", 0, OPTION_SWITCH, &cluster, "all members of the cluster"}};
    return read_words(k, options, 1, &cluster, 1, "knob get <name> [options]") ? list(k, k->args[0])
                                                                               : k->exit;
}

int command_knob_set(struct kvctl *k)
{
    bool cluster = false, persist = false;
    const struct option options[] = {
        {"cluster", 0, OPTION_SWITCH, &cluster, "on all members of the cluster"},
        {"persist", 0, OPTION_SWITCH, &persist,
         "for later starts, too; with the value \"default\": forget what was persisted"},
    };
    if (!read_words(k, options, 2, &cluster, 2, "knob set <name> <value>|default [options]"))
        return k->exit;
    struct rt_string request = {0};
    struct rows rows = {0};
    uint32_t failed = 0;
    field_add_text(&request, 1, k->args[0]);
    field_add_text(&request, 2, k->args[1]);
    field_add_uint(&request, 3, persist);
    for (uint32_t i = 0; i < k->endpoint_count; i++) {
        Kvdpb__KnobSetResponse *r;
        struct grpc_status status;
        const char *at = k->endpoints[i];
        if (kvctl_call_at(k, at, "/kvdpb.Insight/KnobSet", &request,
                          &kvdpb__knob_set_response__descriptor, &r, &status) ||
            !r->knob) {
            fprintf(stderr, "Error: %s: %s\n", at, status.text);
            failed++;
            continue;
        }
        add_row(k, &rows, at, r->knob);
        if (k->format == FORMAT_JSON)
            add_json(k, at, &r->base);
        else if (k->format == FORMAT_SIMPLE)
            rt_string_printf(&k->out, "%s: %s = %s (was %s)%s\n", at, r->knob->name, r->knob->value,
                             r->previous,
                             !persist             ? ""
                             : r->knob->persisted ? ", persisted"
                                                  : ", no longer persisted");
    }
    rt_string_deinit(&request);
    return end(k, &rows, failed);
}
