/* cmd/kvlab/report_html.c: the report as one page that needs nothing else: no script, no network. It is
 * light or dark as the reader's system is, and prints in black on white. */
#include "cmd/kvlab/report.h"

static const char page_head[] =
    "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
    "<title>kvlab: a replicated write's latency, and the runtime</title>\n<style>\n"
    ":root{color-scheme:light "
    "dark;--text:#1c1f23;--soft:#5a626b;--line:#d5dae0;--page:#ffffff;--panel:#f5f7f9;"
    "--good:#1a7f4b;--bad:#b3261e;--accent:#1f6fb5}\n"
    "@media "
    "(prefers-color-scheme:dark){:root{--text:#e4e7ea;--soft:#9aa4ae;--line:#353b42;--page:#15181b;"
    "--panel:#1d2125;--good:#58c48d;--bad:#f2877f;--accent:#6cb2ee}}\n"
    "*{box-sizing:border-box}\n"
    "body{margin:0 auto;max-width:68rem;padding:1.5rem 1rem "
    "4rem;background:var(--page);color:var(--text);"
    "font:16px/1.55 system-ui,sans-serif}\n"
    "h1{font-size:1.7rem;line-height:1.25;margin:.5rem 0}h2{font-size:1.3rem;margin:3rem 0 "
    ".5rem;border-top:1px solid "
    "var(--line);padding-top:1.5rem}h3{font-size:1rem;margin:1.6rem 0 .4rem}\n"
    "p{margin:.5rem 0}.soft{color:var(--soft);font-size:.9rem}nav "
    "a{margin-right:1rem}a{color:var(--accent)}\n"
    ".note{background:var(--panel);border-left:4px solid var(--accent);padding:.6rem "
    ".9rem;margin:1rem 0}\n"
    ".bad-note{border-left-color:var(--bad)}pre{white-space:pre-wrap;overflow-wrap:anywhere;font-"
    "size:.8rem}\n"
    ".wide{overflow-x:auto}table{border-collapse:collapse;font-size:.88rem;font-variant-numeric:"
    "tabular-nums;width:100%}\n"
    "th,td{padding:.35rem .6rem;text-align:right;border-bottom:1px solid "
    "var(--line);white-space:nowrap}\n"
    "th{color:var(--soft);font-weight:600;vertical-align:bottom;white-space:normal}th:first-child,"
    "td:first-child{text-align:left;white-space:normal}\n"
    "td small{display:block;color:var(--soft)}td.is{font-weight:700}td.word{text-align:left}\n"
    "figure{margin:1rem 0;padding:.5rem;background:var(--panel);border-radius:6px}figure "
    "svg{width:100%;height:auto;display:block}\n"
    "ul.checks{list-style:none;padding:0}ul.checks "
    "li{padding-left:1.6rem;text-indent:-1.6rem;margin:.25rem 0}\n"
    ".held{color:var(--good);font-weight:700}.broken{color:var(--bad);font-weight:700}\n"
    "@media (max-width:600px){body{padding:1rem .8rem 3rem}h1{font-size:1.4rem}th,td{padding:.3rem "
    ".4rem}th:first-child,td:first-child{position:sticky;left:0;background:var(--page);white-space:"
    "normal;max-width:8rem}figure{overflow-x:auto}figure svg{width:40rem}}\n"
    "@media "
    "print{:root{--text:#000;--soft:#444;--line:#bbb;--page:#fff;--panel:#fff;--good:#060;--bad:#"
    "900;--accent:#000}"
    "body{max-width:none;font-size:10.5pt;padding:0}h2{break-after:avoid}h3{break-after:avoid}"
    "figure,tr,.note{break-inside:avoid}thead{display:table-header-group}nav{display:none}.wide{"
    "overflow:visible}table{font-size:"
    "8.5pt}th,td{white-space:normal;padding:.2rem .3rem}}\n"
    "</style>\n</head>\n<body>\n";

void text_to_html(struct rt_string *out, const char *text)
{
    for (; *text; text++)
        switch (*text) {
        case '<':
            rt_string_append(out, "&lt;", 4);
            break;
        case '>':
            rt_string_append(out, "&gt;", 4);
            break;
        case '&':
            rt_string_append(out, "&amp;", 5);
            break;
        case '"':
            rt_string_append(out, "&quot;", 6);
            break;
        default:
            rt_string_append(out, text, 1);
        }
}

static void element(struct rt_string *out, const char *open, const char *text, const char *close)
{
    rt_string_printf(out, "%s", open);
    text_to_html(out, text);
    rt_string_printf(out, "%s", close);
}

/* A spread as its median with the rest below it. */
static void cell_to_html(const struct table *t, uint32_t column, const struct cell *c,
                         struct rt_string *out)
{
    char text[256];
    cell_show(t, column, c, text, sizeof text);
    char *rest = c->kind == CELL_SPREAD || c->kind == CELL_INTERVAL ? strchr(text, '[') : NULL;
    rt_string_printf(out, "<td%s>",
                     c->emphasis            ? " class=\"is\""
                     : c->kind == CELL_TEXT ? " class=\"word\""
                                            : "");
    if (rest) {
        rest[-1] = 0;
        text_to_html(out, text);
        element(out, "<small>", rest, "</small>");
    } else {
        text_to_html(out, text);
    }
    rt_string_printf(out, "</td>");
}

static void table_to_html(const struct table *t, struct rt_string *out)
{
    element(out, "<h3>", t->title, "</h3>\n<div class=\"wide\"><table>\n<thead><tr>");
    for (uint32_t c = 0; c < t->column_count; c++) {
        element(out, "<th>", t->columns[c].name, "");
        if (*t->columns[c].unit)
            element(out, ", ", t->columns[c].unit, "");
        rt_string_printf(out, "</th>");
    }
    rt_string_printf(out, "</tr></thead>\n<tbody>\n");
    for (uint32_t i = 0; i < t->row_count; i++) {
        rt_string_printf(out, "<tr>");
        for (uint32_t c = 0; c < t->column_count; c++)
            cell_to_html(t, c, &t->rows[i][c], out);
        rt_string_printf(out, "</tr>\n");
    }
    rt_string_printf(out, "</tbody></table></div>\n");
    if (t->note)
        element(out, "<p class=\"soft\">", t->note, "</p>\n");
}

static void plot_to_html(const struct plot *p, struct rt_string *out)
{
    if (p->missing) {
        element(out, "<div class=\"note bad-note\">The plot \u201c", p->title,
                "\u201d is missing:");
        element(out, "<pre>", p->missing, "</pre></div>\n");
    }
    if (!p->drawn)
        return;
    rt_string_printf(out, "<figure role=\"img\" aria-label=\"");
    text_to_html(out, p->title);
    rt_string_printf(out, "\">\n");
    rt_string_append(out, p->svg.data, p->svg.len);
    rt_string_printf(out, "</figure>\n");
}

static void blocks_to_html(const struct section *s, struct rt_string *out)
{
    bool in_checks = false;
    for (const struct block *b = s->first; b; b = b->next) {
        if (!block_is_shown(s, b))
            continue;
        if ((b->kind == BLOCK_CHECK) != in_checks) {
            rt_string_printf(out, in_checks ? "</ul>\n" : "<ul class=\"checks\">\n");
            in_checks = !in_checks;
        }
        switch (b->kind) {
        case BLOCK_TABLE:
            table_to_html(b->table, out);
            break;
        case BLOCK_PLOT:
            plot_to_html(b->plot, out);
            break;
        case BLOCK_SENTENCE:
            element(out, "<p>", b->text, "</p>\n");
            break;
        case BLOCK_CHECK:
            rt_string_printf(out, b->held
                                      ? "<li><span class=\"held\">\u2713</span> "
                                      : "<li><span class=\"broken\">\u2717 does not hold:</span> ");
            element(out, "", b->text, "</li>\n");
            break;
        }
    }
    if (in_checks)
        rt_string_printf(out, "</ul>\n");
}

static void section_to_html(const struct section *s, struct rt_string *out)
{
    rt_string_printf(out, "<section id=\"%s\">\n", s->id);
    element(out, "<h2>", s->title, "</h2>\n");
    element(out, "<p><strong>Question.</strong> ", s->question, "</p>\n");
    if (s->claim)
        element(out, "<p><strong>The article\u2019s claim.</strong> ", s->claim, "</p>\n");
    if (s->setup.len) {
        rt_string_printf(out, "<p><strong>Set-up.</strong> ");
        struct rt_string copy = s->setup;
        text_to_html(out, rt_string_cstr(&copy));
        rt_string_printf(out, "</p>\n");
    }
    if (s->state == SECTION_FAILED)
        element(out,
                "<div class=\"note bad-note\"><strong>This experiment failed; it has no "
                "figures.</strong><pre>",
                s->why ? s->why : "", "</pre></div>\n");
    if (s->state == SECTION_SKIPPED)
        element(out, "<p class=\"note\">Skipped: ", s->why ? s->why : "", "</p>\n");
    if (s->state == SECTION_INTERRUPTED || s->state == SECTION_RUNNING)
        rt_string_printf(out, "<p class=\"note bad-note\">Stopped before its end: what follows is "
                              "what had been measured.</p>\n");
    blocks_to_html(s, out);
    rt_string_printf(out, "</section>\n");
}

static void how_to_read(const struct report *r, struct rt_string *out)
{
    uint32_t intervals = report_count_intervals(r);
    rt_string_printf(
        out,
        "<p class=\"soft\">A figure is the median of its trials, with the lowest and "
        "the highest in brackets. Settings that are compared ran in turns, pair by "
        "pair. A difference is called one only when the 95 %% interval of the pairs\u2019 "
        "median difference (bootstrap) excludes 0 and there are at least %d pairs; "
        "such cells are bold.",
        STAT_PAIRS_MIN);
    if (intervals)
        rt_string_printf(out,
                         " The page holds %u such interval%s of 95 %%: one in twenty may exclude 0 "
                         "by chance where nothing differs.",
                         intervals, intervals == 1 ? "" : "s");
    rt_string_printf(out, "</p>\n");
}

void report_to_html(const struct report *r, struct rt_string *out)
{
    rt_string_append(out, page_head, sizeof page_head - 1);
    rt_string_printf(out, "<h1>What a replicated write\u2019s latency consists of, and what the "
                          "runtime does to it</h1>\n");
    element(out, "<p class=\"soft\">", r->taken ? r->taken : "", "<br>");
    element(out, "", r->machine ? r->machine : "", "</p>\n");
    if (r->quick)
        rt_string_printf(
            out,
            "<p class=\"note\">This is the <strong>quick form</strong>: short trials and few "
            "points. It shows that "
            "everything works and which way things lean; take figures from the full form.</p>\n");
    if (r->interrupted)
        rt_string_printf(out, "<p class=\"note bad-note\">The run was stopped early; this is the "
                              "report of what had been measured.</p>\n");
    if (r->unwritten)
        element(out, "<p class=\"note bad-note\">The result folder is not whole: ", r->unwritten,
                "</p>\n");
    rt_string_printf(out, "<nav>");
    for (const struct section *s = r->first; s; s = s->next) {
        rt_string_printf(out, "<a href=\"#%s\">", s->id);
        element(out, "", s->id, "</a> ");
    }
    rt_string_printf(out, "</nav>\n");
    how_to_read(r, out);
    for (const struct section *s = r->first; s; s = s->next)
        section_to_html(s, out);
    rt_string_printf(out, "</body>\n</html>\n");
}
