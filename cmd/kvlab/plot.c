/* cmd/kvlab/plot.c: from points to pictures. A data file has one block a series, two empty lines
 * between (gnuplot's "index"). */
#include "cmd/kvlab/plot.h"
#include "cmd/kvlab/run_tool.h"
#include <inttypes.h>
#include <rt/file.h>
#include <stdio.h>

/* Seen on white and on black, and told apart by those who see fewer colours (Okabe and Ito, darker
 * where white asks for it). */
static const char *const colors[] = {"#2a7ab8", "#d2691e", "#2e9e77", "#b8589a",
                                     "#8a7a12", "#6a6fd0", "#c44e52", "#5b8c9a",
                                     "#9c6b3c", "#3f8f3f", "#a07fd0", "#7f7f7f"};
enum { COLORS = sizeof(colors) / sizeof(colors[0]), SVG_MAX = 16 << 20 };

static void quote(struct rt_string *out, const char *text)
{
    rt_string_append(out, "\"", 1);
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            rt_string_append(out, "\\", 1);
        rt_string_append(out, text, 1);
    }
    rt_string_append(out, "\"", 1);
}

/* The part of bar `i` below series `upto`. */
static double below(const struct plot *p, const struct plot_series *upto, uint32_t i)
{
    double sum = 0;
    for (const struct plot_series *s = p->first; s != upto; s = s->next)
        sum += i < s->count ? s->points[i].y : 0;
    return sum;
}

/* x y low high; of a stack: the middle of a box, its centre, its sides, its lower and upper edge. */
void plot_data(const struct plot *p, struct rt_string *out)
{
    for (const struct plot_series *s = p->first; s; s = s->next) {
        for (uint32_t i = 0; i < s->count; i++) {
            const struct plot_point *at = &s->points[i];
            double from = p->kind == PLOT_STACK ? below(p, s, i) : 0;
            if (p->kind == PLOT_STACK)
                rt_string_printf(out, "%u %.9g %.9g %.9g %.9g %.9g\n", i, from + at->y / 2, i - 0.3,
                                 i + 0.3, from, from + at->y);
            else
                rt_string_printf(out, "%.9g %.9g %.9g %.9g\n", at->x, at->y, at->low, at->high);
        }
        rt_string_printf(out, s->next ? "\n\n" : "");
    }
}

static void head(const struct plot *p, struct rt_string *out)
{
    rt_string_printf(out, "set title ");
    quote(out, p->title);
    rt_string_printf(out, " noenhanced\nset xlabel ");
    quote(out, p->x_label);
    rt_string_printf(out, " noenhanced\nset ylabel ");
    quote(out, p->y_label);
    rt_string_printf(
        out,
        " noenhanced\nset border 3 lw 0.8\nset xtics nomirror\nset ytics nomirror\n"
        "set grid ytics lc rgb \"#9aa0a6\" lw 0.5 dt 3\nset key above horizontal noenhanced\n");
    if (p->log_x)
        rt_string_printf(out, "set logscale x\n");
    if (p->kind == PLOT_POINTS)
        rt_string_printf(out, "set xrange [0:*]\n");
    if (p->log_y)
        rt_string_printf(out, "set logscale y\nset format y \"%%g\"\n");
    else
        rt_string_printf(out, "set yrange [0:*]\n");
    if (p->y2_label) {
        rt_string_printf(out, "set border 11 lw 0.8\nset y2tics\nset y2range [0:*]\nset y2label ");
        quote(out, p->y2_label);
        rt_string_printf(out, " noenhanced\n");
    }
}

static bool has_spread(const struct plot_series *s)
{
    for (uint32_t i = 0; i < s->count; i++)
        if (s->points[i].low != s->points[i].high)
            return true;
    return false;
}

/* One series of a plot of x and y, after "plot" or a comma. */
static void draw_series(const struct plot *p, const struct plot_series *s, int index,
                        const char *base, struct rt_string *out)
{
    static const char *const with[] = {[PLOT_LINES] = "linespoints pt 7 ps 0.5",
                                       [PLOT_POINTS] = "points pt 7 ps 0.25",
                                       [PLOT_STEPS] = "fsteps",
                                       [PLOT_STACK] = ""};
    enum { DENSE = 40 }; // points that would run together
    const char *color = colors[index % COLORS],
               *how = p->kind == PLOT_LINES && s->count > DENSE ? "lines" : with[p->kind];
    if (s->marks) {
        rt_string_printf(
            out,
            "\"%s.dat\" index %d using 1:2 with impulses lw 2 lc rgb \"#b4bcc4\" axes x1y%d title ",
            base, index, s->on_the_right ? 2 : 1);
        quote(out, s->name);
        return;
    }
    if (has_spread(s))
        rt_string_printf(
            out,
            "\"%s.dat\" index %d using 1:2:3:4 with yerrorbars pt 0 lw 1 lc rgb \"%s\" notitle, ",
            base, index, color);
    rt_string_printf(out, "\"%s.dat\" index %d using 1:2 with %s%s lc rgb \"%s\" axes x1y%d title ",
                     base, index, how, p->kind == PLOT_POINTS ? "" : " lw 1.8", color,
                     s->on_the_right ? 2 : 1);
    quote(out, s->name);
}

static void draw(const struct plot *p, const char *base, struct rt_string *out)
{
    int index = 0;
    rt_string_printf(out, "plot ");
    for (const struct plot_series *s = p->first; s; s = s->next, index++) {
        if (index)
            rt_string_printf(out, ", \\\n     ");
        if (p->kind == PLOT_STACK) {
            rt_string_printf(out,
                             "\"%s.dat\" index %d using 1:2:3:4:5:6 with boxxyerror fs solid 0.9 "
                             "noborder lc rgb \"%s\" title ",
                             base, index, colors[index % COLORS]);
            quote(out, s->name);
        } else {
            draw_series(p, s, index, base, out);
        }
    }
    rt_string_printf(out, "\n");
}

static void name_bars(const struct plot *p, struct rt_string *out)
{
    rt_string_printf(out, "set xrange [-0.6:%.1f]\nset xtics scale 0 noenhanced (",
                     p->first ? p->first->count - 0.4 : 1.0);
    for (uint32_t i = 0; p->first && i < p->first->count; i++) {
        rt_string_printf(out, i ? ", " : "");
        quote(out, p->x_names[i]);
        rt_string_printf(out, " %u", i);
    }
    rt_string_printf(out, ")\n");
}

/* From edge to edge, with a number at each step's end. */
static void name_steps(const struct plot *p, struct rt_string *out)
{
    const struct plot_series *s = p->first;
    if (!s || s->count < 2)
        return;
    rt_string_printf(out, "set xrange [%.9g:%.9g]\nset xtics nomirror (", s->points[0].x,
                     s->points[s->count - 1].x);
    for (uint32_t i = 1; i < s->count && s->points[i].x < s->points[s->count - 1].x; i++)
        rt_string_printf(out, i > 1 ? ", %.9g" : "%.9g", s->points[i].x);
    rt_string_printf(out, ")\n");
}

void plot_script(const struct plot *p, const char *base, struct rt_string *out)
{
    rt_string_printf(out,
                     "reset\nset encoding utf8\nset terminal svg size 820,440 dynamic font "
                     "\"sans-serif,13\"\nset output \"%s.svg\"\n",
                     base);
    head(p, out);
    if (p->kind == PLOT_STACK)
        name_bars(p, out);
    if (p->kind == PLOT_STEPS)
        name_steps(p, out);
    draw(p, base, out);
    rt_string_printf(out,
                     "set terminal pngcairo size 1230,660 font \"sans,13\" background rgb "
                     "\"white\"\nset output \"%s.png\"\nreplot\nset output\n",
                     base);
}

void plot_inline(struct rt_bytes svg, struct rt_string *out)
{
    static const char *const words[] = {"\"black\"", "'black'", "\"rgb(  0,   0,   0)\""};
    size_t at = 0;
    while (at < svg.len && !(svg.len - at >= 5 && memcmp(svg.data + at, "<svg", 4) == 0))
        at++;
    size_t from = at;
    while (at < svg.len) {
        size_t len = 0;
        for (size_t w = 0; w < sizeof(words) / sizeof(words[0]) && !len; w++)
            if (svg.len - at >= strlen(words[w]) &&
                memcmp(svg.data + at, words[w], strlen(words[w])) == 0)
                len = strlen(words[w]);
        if (!len) {
            at++;
            continue;
        }
        rt_string_append(out, svg.data + from, at - from);
        rt_string_printf(out, "\"currentColor\"");
        from = at += len;
    }
    rt_string_append(out, svg.data + from, at - from);
}

bool plot_find_gnuplot(struct leftovers *left, char *buf, size_t cap, const char *scratch_path,
                       struct why *why)
{
    static const char *const argv[] = {"gnuplot", "--version", NULL};
    if (run_tool(left, argv, scratch_path, buf, cap, why) == 0)
        return true;
    why_set(why, "plots need gnuplot, which is not there; install it: deploy/deps.sh experiments, "
                 "or apt-get install gnuplot-nox");
    return false;
}

static bool write_text(const char *path, struct rt_string *text, struct why *why)
{
    char words[64];
    int err = rt_replace_file(path, text->data, text->len, 0644);
    rt_string_deinit(text);
    if (err)
        why_set(why, "cannot write %s: %s", path, why_errno(err, words, sizeof words));
    return err == 0;
}

static bool take_svg(struct plot *p, const char *base, struct why *why)
{
    char path[512], words[64];
    uint8_t *data;
    size_t len;
    snprintf(path, sizeof path, "%s.svg", base);
    int err = rt_read_file(path, SVG_MAX, &data, &len);
    if (err) {
        why_set(why, "gnuplot left no %s: %s", path, why_errno(err, words, sizeof words));
        return false;
    }
    plot_inline(rt_bytes(data, len), &p->svg);
    rt_free(data);
    p->drawn = true;
    return true;
}

static bool draw_plot(struct plot *p, const char *folder, struct leftovers *left, struct why *why)
{
    char base[400], path[480], said[256];
    struct rt_string data = {0}, script = {0};
    snprintf(base, sizeof base, "%s/plots/%s", folder, p->id);
    snprintf(path, sizeof path, "%s.dat", base);
    plot_data(p, &data);
    plot_script(p, base, &script);
    if (!write_text(path, &data, why)) {
        rt_string_deinit(&script);
        return false;
    }
    snprintf(path, sizeof path, "%s.gp", base);
    if (!write_text(path, &script, why))
        return false;
    const char *const argv[] = {"gnuplot", path, NULL};
    char log[480];
    snprintf(log, sizeof log, "%s/plots/gnuplot.log", folder);
    if (run_tool(left, argv, log, said, sizeof said, why)) {
        why_set(why, "gnuplot refuses %s: %s", path, said);
        return false;
    }
    return take_svg(p, base, why);
}

static bool has_points(const struct plot *p)
{
    for (const struct plot_series *s = p->first; s; s = s->next)
        if (s->count && !s->marks)
            return true;
    return false;
}

bool plot_draw_section(struct report *r, struct section *s, const char *folder,
                       struct leftovers *left, struct why *why)
{
    bool ok = true;
    for (struct block *b = s->first; b; b = b->next) {
        struct why refused;
        if (b->kind != BLOCK_PLOT || !block_is_shown(s, b) || b->plot->drawn || b->plot->missing ||
            !has_points(b->plot) || draw_plot(b->plot, folder, left, &refused))
            continue;
        b->plot->missing = rt_arena_printf(&r->arena, "%s", refused.text);
        if (ok)
            *why = refused;
        ok = false;
    }
    return ok;
}
