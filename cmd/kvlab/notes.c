/* cmd/kvlab/notes.c: a list in the order of first trials. */
#include "cmd/kvlab/notes.h"

static struct note *find(const struct lab *lab, const char *experiment, const char *id)
{
    struct note *n = lab->notes;
    while (n && (strcmp(n->experiment, experiment) != 0 || strcmp(n->id, id) != 0))
        n = n->next;
    return n;
}

void note_run(struct lab *lab, const char *experiment, const char *id, uint32_t trials,
              const char *facts)
{
    struct note *n = find(lab, experiment, id);
    if (!n) {
        struct note **end = &lab->notes;
        while (*end)
            end = &(*end)->next;
        *end = n = rt_arena_alloc_zero(&lab->arena, sizeof *n);
        n->experiment = rt_arena_printf(&lab->arena, "%s", experiment);
        n->id = rt_arena_printf(&lab->arena, "%s", id);
        n->facts = rt_arena_printf(&lab->arena, "%s", facts);
    }
    n->trials = trials;
}

static void load_facts(const struct load_spec *l, struct rt_string *out)
{
    static const char *const kinds[] = {[LOAD_PUT] = "put",
                                        [LOAD_GET] = "get",
                                        [LOAD_GET_SERIALIZABLE] = "serializable get",
                                        [LOAD_OTHER] = "request of a server in front"};
    rt_string_printf(out, "\"load\": {\"kind\": \"%s\", \"loop\": \"%s\"", kinds[l->kind],
                     l->rate > 0 ? "open" : "closed");
    if (l->rate > 0)
        rt_string_printf(out, ", \"rate\": %.9g", l->rate);
    rt_string_printf(
        out, ", \"clients\": %u, \"value_bytes\": %u, \"length_s\": %.9g, \"warmup_s\": %.9g}",
        l->clients, l->value_bytes, (double)l->length_ns / 1e9, (double)l->warmup_ns / 1e9);
}

static void add_knob(struct rt_string *out, bool first, const char *name, const char *value)
{
    rt_string_printf(out, first ? "" : ", ");
    text_to_json(out, name);
    rt_string_printf(out, ": ");
    text_to_json(out, value);
}

/* All that the leader has, or, where it does not tell, what the setting asks for. */
static void knob_facts(const struct setting *s, struct rt_string *out)
{
    struct rt_arena arena;
    Kvdpb__KnobListResponse *knobs;
    struct why absent; // of etcd, or a member that is gone: then what was asked for
    rt_arena_init(&arena);
    rt_string_printf(out, "\"knobs\": {");
    if (s->cluster->has_insight &&
        client_knobs(&cluster_leader(s->cluster)->client, &arena, &knobs, &absent) == 0)
        for (size_t i = 0; i < knobs->n_knobs; i++)
            add_knob(out, i == 0, knobs->knobs[i]->name, knobs->knobs[i]->value);
    else
        for (int k = 0; k < SETTING_KNOBS_MAX && s->knobs[k].name; k++)
            add_knob(out, k == 0, s->knobs[k].name, s->knobs[k].value);
    rt_string_printf(out, "}");
    rt_arena_deinit(&arena);
}

void note_trial(struct lab *lab, const char *experiment, const struct setting *s, uint32_t trials)
{
    struct rt_string facts = {0};
    if (!find(lab, experiment, s->id)) {
        rt_string_printf(&facts, "\"label\": ");
        text_to_json(&facts, s->label);
        rt_string_printf(&facts, ", \"cluster\": ");
        text_to_json(&facts, s->cluster->name);
        rt_string_printf(&facts, ", \"members\": %u, ", s->cluster->count);
        load_facts(&s->load, &facts);
        rt_string_printf(&facts, ", ");
        knob_facts(s, &facts);
    }
    note_run(lab, experiment, s->id, trials, rt_string_cstr(&facts));
    rt_string_deinit(&facts);
}

void notes_to_json(struct lab *lab, struct rt_string *out)
{
    for (const struct note *n = lab->notes; n; n = n->next) {
        rt_string_printf(out, "%s\n    {\"experiment\": ", n == lab->notes ? "" : ",");
        text_to_json(out, n->experiment);
        rt_string_printf(out, ", \"setting\": ");
        text_to_json(out, n->id);
        rt_string_printf(out, ", \"trials\": %u%s%s}", n->trials, *n->facts ? ", " : "", n->facts);
    }
}
