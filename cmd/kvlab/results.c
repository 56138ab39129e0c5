/* cmd/kvlab/results.c: what the result folder holds: report.html, run.json, tables/, plots/, raw/,
 * members/ (their logs). */
#include "cmd/kvlab/lab.h"
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

/* ---- JSON ---- */

static void json_text(struct rt_string *out, const char *text)
{
    rt_string_append(out, "\"", 1);
    for (; text && *text; text++) {
        if (*text == '"' || *text == '\\')
            rt_string_printf(out, "\\%c", *text);
        else if ((unsigned char)*text < 0x20)
            rt_string_printf(out, "\\u%04x", *text);
        else
            rt_string_append(out, text, 1);
    }
    rt_string_append(out, "\"", 1);
}

static void member_text(struct rt_string *out, const char *name, const char *text,
                        const char *after)
{
    rt_string_printf(out, "  \"%s\": ", name);
    json_text(out, text);
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
        json_text(out, s->id);
        rt_string_printf(out, ", \"state\": \"%s\"", state_name(s->state));
        if (s->why) {
            rt_string_printf(out, ", \"why\": ");
            json_text(out, s->why);
        }
        int checks = 0;
        rt_string_printf(out, ", \"checks\": [");
        for (const struct block *b = s->first; b; b = b->next) {
            if (b->kind != BLOCK_CHECK)
                continue;
            rt_string_printf(out, "%s{\"held\": %s, \"text\": ", checks++ ? ", " : "",
                             b->held ? "true" : "false");
            json_text(out, b->text);
            rt_string_append(out, "}", 1);
        }
        rt_string_printf(out, "]}");
    }
    rt_string_printf(out, "\n  ]\n");
}

static void run_json(struct lab *lab, struct rt_string *out)
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
    member_text(out, "kernel", lab->kernel, ",");
    member_text(out, "cpu", lab->cpu, ",");
    member_text(out, "disk", lab->disk, ",");
    rt_string_printf(out, "  \"quick\": %s,\n  \"interrupted\": %s,\n  \"seed\": %" PRId64 ",\n",
                     o->quick ? "true" : "false", lab->report.interrupted ? "true" : "false",
                     o->seed);
    rt_string_printf(out,
                     "  \"asked\": {\"trials\": %" PRId64 ", \"trial_ns\": %" PRId64
                     ", \"rate\": %" PRId64 ", \"clients\": %" PRId64 ", \"value_bytes\": %" PRId64
                     ", \"streams\": %" PRId64 "},\n",
                     o->trials, o->trial_ns, o->rate, o->clients, o->value_bytes, o->streams);
    rt_string_printf(out, "  \"clusters\": [%s\n  ],\n", rt_string_cstr(&lab->settings));
    experiments_json(&lab->report, out);
    rt_string_printf(out, "}\n");
}

static bool write_tables(struct lab *lab, const struct section *s, struct why *why)
{
    for (const struct block *b = s->first; b; b = b->next) {
        if (b->kind != BLOCK_TABLE)
            continue;
        char name[160];
        struct rt_string csv = {0};
        table_to_csv(b->table, &csv);
        snprintf(name, sizeof name, "tables/%s.csv", b->table->id);
        if (!lab_write(lab, name, &csv, why))
            return false;
    }
    return true;
}

bool lab_write_results(struct lab *lab, struct why *why)
{
    for (struct section *s = lab->report.first; s; s = s->next)
        if (!write_tables(lab, s, why) || !plot_draw_section(s, lab->folder, why))
            return false;
    struct rt_string json = {0}, html = {0};
    run_json(lab, &json);
    if (!lab_write(lab, "run.json", &json, why))
        return false;
    report_to_html(&lab->report, &html);
    return lab_write(lab, "report.html", &html, why);
}
