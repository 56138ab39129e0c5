/* cmd/kvlab/results.c: what the result folder holds: report.html, run.json, tables/, plots/, raw/,
 * members/ (their logs). */
#include "cmd/kvlab/notes.h"
#include "cmd/kvlab/plot.h"
#include <inttypes.h>
#include <rt/file.h>
#include <stdio.h>

bool lab_write(struct lab *lab, const char *name, struct rt_string *text, struct why *why)
{
    char path[512], words[64];
    snprintf(path, sizeof path, "%s/%s", lab->folder, name);
    int err = rt_replace_file(path, text->data, text->len, 0644);
    rt_string_deinit(text);
    if (err)
        why_set(why, "cannot write %s: %s", path, why_errno(err, words, sizeof words));
    return err == 0;
}

bool lab_write_histogram(struct lab *lab, const char *name, const struct rt_hdr_counts *h,
                         struct why *why)
{
    char path[160];
    struct rt_string text = {0};
    rt_string_printf(&text, "from_ns,below_ns,count\n");
    for (uint32_t b = 0; b < RT_HDR_BUCKETS; b++)
        if (h->buckets[b])
            rt_string_printf(&text, "%" PRId64 ",%" PRId64 ",%" PRIu64 "\n", rt_hdr_bucket_low(b),
                             rt_hdr_bucket_high(b), h->buckets[b]);
    snprintf(path, sizeof path, "raw/%s.csv", name);
    return lab_write(lab, path, &text, why);
}

/* ---- JSON ---- */

static void member_text(struct rt_string *out, const char *name, const char *text,
                        const char *after)
{
    rt_string_printf(out, "  \"%s\": ", name);
    text_to_json(out, text);
    rt_string_printf(out, "%s\n", after);
}

static const char *state_name(enum section_state state)
{
    static const char *const names[] = {[SECTION_RUNNING] = "running",
                                        [SECTION_DONE] = "done",
                                        [SECTION_SKIPPED] = "skipped",
                                        [SECTION_FAILED] = "failed",
                                        [SECTION_INTERRUPTED] = "interrupted"};
    return names[state];
}

static void experiments_json(const struct report *r, struct rt_string *out)
{
    rt_string_printf(out, "  \"experiments\": [");
    for (const struct section *s = r->first; s; s = s->next) {
        rt_string_printf(out, "%s\n    {\"name\": ", s == r->first ? "" : ",");
        text_to_json(out, s->id);
        rt_string_printf(out, ", \"state\": \"%s\"", state_name(s->state));
        if (s->why) {
            rt_string_printf(out, ", \"why\": ");
            text_to_json(out, s->why);
        }
        int checks = 0, missing = 0;
        rt_string_printf(out, ", \"checks\": [");
        for (const struct block *b = s->first; b; b = b->next) {
            if (b->kind != BLOCK_CHECK)
                continue;
            rt_string_printf(out, "%s{\"held\": %s, \"text\": ", checks++ ? ", " : "",
                             b->held ? "true" : "false");
            text_to_json(out, b->text);
            rt_string_append(out, "}", 1);
        }
        rt_string_printf(out, "], \"missing_plots\": [");
        for (const struct block *b = s->first; b; b = b->next) {
            if (b->kind != BLOCK_PLOT || !b->plot->missing)
                continue;
            rt_string_printf(out, missing++ ? ", " : "");
            text_to_json(out, b->plot->id);
        }
        rt_string_printf(out, "]}");
    }
    rt_string_printf(out, "\n  ]\n");
}

void lab_run_json(struct lab *lab, struct rt_string *out)
{
    const struct lab_options *o = lab->options;
    rt_string_printf(out, "{\n");
    member_text(out, "command", lab->command, ",");
    member_text(out, "date_utc", lab->date, ",");
    member_text(out, "kvlab_version", KVD_VERSION, ",");
    member_text(out, "kvd", lab->kvd, ",");
    member_text(out, "kvd_version", lab->kvd_version, ",");
    member_text(out, "etcd_version", lab->etcd_version, ",");
    member_text(out, "gnuplot_version", lab->gnuplot, ",");
    rt_string_printf(out, "  \"kvlab_machine\": {\n");
    member_text(out, "what", "kvlab\u2019s own; the members that it starts run on it, too", ",");
    member_text(out, "kernel", lab->kernel, ",");
    member_text(out, "cpu", lab->cpu, ",");
    member_text(out, "disk_of_results", lab->disk, "");
    rt_string_printf(out, "  },\n  \"servers\": [%s],\n", rt_string_cstr(&lab->servers));
    rt_string_printf(out, "  \"quick\": %s,\n  \"interrupted\": %s,\n  \"seed\": %" PRId64 ",\n",
                     o->quick ? "true" : "false", lab->report.interrupted ? "true" : "false",
                     o->seed);
    rt_string_printf(out,
                     "  \"asked\": {\"trials\": %" PRId64 ", \"trial_ns\": %" PRId64
                     ", \"rate\": %" PRId64 ", \"clients\": %" PRId64 ", \"value_bytes\": %" PRId64
                     ", \"streams\": %" PRId64 "},\n",
                     o->trials, o->trial_ns, o->rate, o->clients, o->value_bytes, o->streams);
    rt_string_printf(out, "  \"clusters\": [%s\n  ],\n", rt_string_cstr(&lab->settings));
    rt_string_printf(out, "  \"settings\": [");
    notes_to_json(lab, out);
    rt_string_printf(out, "\n  ],\n");
    experiments_json(&lab->report, out);
    rt_string_printf(out, "}\n");
}

/* The tables that count. False with the first why; the others are written all the same. */
static bool write_tables(struct lab *lab, const struct section *s, struct why *why)
{
    bool ok = true;
    for (const struct block *b = s->first; b; b = b->next) {
        if (b->kind != BLOCK_TABLE || !block_is_shown(s, b))
            continue;
        char name[160];
        struct why later;
        struct rt_string csv = {0};
        table_to_csv(b->table, &csv);
        snprintf(name, sizeof name, "tables/%s.csv", b->table->id);
        ok = lab_write(lab, name, &csv, ok ? why : &later) && ok;
    }
    return ok;
}

bool lab_write_results(struct lab *lab, struct why *why)
{
    struct why later;
    bool ok = true;
    for (struct section *s = lab->report.first; s; s = s->next)
        ok = write_tables(lab, s, ok ? why : &later) && ok;
    lab->report.unwritten = ok ? NULL : rt_arena_printf(&lab->report.arena, "%s", why->text);
    for (struct section *s = lab->report.first; s;
         s = s->next) // a plot says itself that it is missing
        ok = plot_draw_section(&lab->report, s, lab->folder, &lab->leftovers, ok ? why : &later) &&
             ok;
    struct rt_string json = {0}, html = {0};
    lab_run_json(lab, &json);
    report_to_html(&lab->report, &html);
    ok = lab_write(lab, "run.json", &json, ok ? why : &later) && ok;
    return lab_write(lab, "report.html", &html, ok ? why : &later) && ok;
}
