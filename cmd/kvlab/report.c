/* cmd/kvlab/report.c: sections and what is in them. */
#include "cmd/kvlab/report.h"
#include <assert.h>
#include <stdio.h>

void report_init(struct report *r)
{
    *r = (struct report){0};
    rt_arena_init(&r->arena);
}

void report_deinit(struct report *r)
{
    for (struct section *s = r->first; s; s = s->next) {
        rt_string_deinit(&s->setup);
        for (struct block *b = s->first; b; b = b->next)
            if (b->kind == BLOCK_PLOT)
                rt_string_deinit(&b->plot->svg);
    }
    rt_arena_deinit(&r->arena);
}

struct section *report_section(struct report *r, const char *id, const char *title,
                               const char *question, const char *claim)
{
    struct section *s = rt_arena_alloc_zero(&r->arena, sizeof *s);
    s->id = id;
    s->title = title;
    s->question = question;
    s->claim = claim;
    if (r->last)
        r->last->next = s;
    else
        r->first = s;
    r->last = s;
    return s;
}

static struct block *add_block(struct report *r, struct section *s, enum block_kind kind)
{
    struct block *b = rt_arena_alloc_zero(&r->arena, sizeof *b);
    b->kind = kind;
    if (s->last)
        s->last->next = b;
    else
        s->first = b;
    s->last = b;
    return b;
}

struct table *report_table(struct report *r, struct section *s, const char *id, const char *title,
                           const struct column *columns, uint32_t count)
{
    assert(count > 0);
    assert(count <= TABLE_COLUMNS_MAX);
    struct table *t = rt_arena_alloc_zero(&r->arena, sizeof *t);
    t->id = id;
    t->title = title;
    t->column_count = count;
    memcpy(t->columns, columns, count * sizeof *columns);
    add_block(r, s, BLOCK_TABLE)->table = t;
    return t;
}

struct cell *table_row(struct report *r, struct table *t)
{
    assert(t->row_count < TABLE_ROWS_MAX);
    struct cell *row = rt_arena_alloc_zero(&r->arena, t->column_count * sizeof *row);
    t->rows[t->row_count++] = row;
    return row;
}

struct plot *report_plot(struct report *r, struct section *s, const char *id, const char *title,
                         enum plot_kind kind, const char *x_label, const char *y_label)
{
    struct plot *p = rt_arena_alloc_zero(&r->arena, sizeof *p);
    p->id = id;
    p->title = title;
    p->kind = kind;
    p->x_label = x_label;
    p->y_label = y_label;
    add_block(r, s, BLOCK_PLOT)->plot = p;
    return p;
}

struct plot_series *plot_series(struct report *r, struct plot *p, const char *name)
{
    enum { POINTS = 4096 }; // of one curve; more are not seen on paper
    struct plot_series *s = rt_arena_alloc_zero(&r->arena, sizeof *s);
    s->name =
        rt_arena_printf(&r->arena, "%s", name); // often of a reading that goes before the report
    s->cap = POINTS;
    s->points = rt_arena_alloc(&r->arena, POINTS * sizeof *s->points);
    if (p->last)
        p->last->next = s;
    else
        p->first = s;
    p->last = s;
    return s;
}

void plot_add(struct plot_series *s, double x, double y)
{
    if (s->count < s->cap)
        s->points[s->count++] = (struct plot_point){x, y, y, y};
}

void plot_add_spread(struct plot_series *s, double x, struct stat_spread y)
{
    if (s->count < s->cap)
        s->points[s->count++] = (struct plot_point){x, y.median, y.low, y.high};
}

static const char *format_into(struct report *r, const char *format, va_list args)
{
    char text[1024];
    vsnprintf(text, sizeof text, format, args);
    return rt_arena_printf(&r->arena, "%s", text);
}

void report_say(struct report *r, struct section *s, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    add_block(r, s, BLOCK_SENTENCE)->text = format_into(r, format, args);
    va_end(args);
}

void report_said_difference(struct section *s, const struct stat_difference *d)
{
    assert(s->last);
    assert(s->last->kind == BLOCK_SENTENCE);
    s->last->interval = (struct stat_spread){d->value, d->low, d->high, d->pairs};
}

bool report_check(struct report *r, struct section *s, bool held, const char *format, ...)
{
    va_list args;
    struct block *b = add_block(r, s, BLOCK_CHECK);
    va_start(args, format);
    b->text = format_into(r, format, args);
    va_end(args);
    b->held = held;
    return held;
}

static bool has_figures(const struct table *t)
{
    for (uint32_t i = 0; i < t->row_count; i++)
        for (uint32_t c = 0; c < t->column_count; c++)
            if (t->rows[i][c].kind != CELL_EMPTY && t->rows[i][c].kind != CELL_TEXT)
                return true;
    return false;
}

bool block_is_shown(const struct section *s, const struct block *b)
{
    if (s->state != SECTION_FAILED)
        return true;
    return (b->kind == BLOCK_CHECK && !b->held) ||
           (b->kind == BLOCK_TABLE && !has_figures(b->table));
}

/* ---- Intervals ---- */

/* Add to `seen`, an array of spreads, what is not in it. */
static void see_interval(struct rt_string *seen, const struct stat_spread *d)
{
    if (d->trials < STAT_PAIRS_MIN)
        return;
    const struct stat_spread *all = (const void *)seen->data;
    for (size_t i = 0; i < seen->len / sizeof *all; i++)
        if (all[i].median == d->median && all[i].low == d->low && all[i].high == d->high)
            return;
    rt_string_append(seen, d, sizeof *d);
}

static void see_table(struct rt_string *seen, const struct table *t)
{
    for (uint32_t i = 0; i < t->row_count; i++)
        for (uint32_t c = 0; c < t->column_count; c++)
            if (t->rows[i][c].kind == CELL_INTERVAL)
                see_interval(seen, &t->rows[i][c].number);
}

uint32_t report_count_intervals(const struct report *r)
{
    uint32_t count = 0;
    struct rt_string seen = {0};
    for (const struct section *s = r->first; s; s = s->next) {
        seen.len = 0;
        for (const struct block *b = s->first; b; b = b->next) {
            if (!block_is_shown(s, b))
                continue;
            if (b->kind == BLOCK_TABLE)
                see_table(&seen, b->table);
            else if (b->kind == BLOCK_SENTENCE)
                see_interval(&seen, &b->interval);
        }
        count += (uint32_t)(seen.len / sizeof(struct stat_spread));
    }
    rt_string_deinit(&seen);
    return count;
}

/* ---- Tables as text and CSV ---- */

/* Digits that leave three significant ones. */
static int digits_for(double v)
{
    double a = v < 0 ? -v : v;
    return a == 0 || a >= 100 ? 0 : a >= 10 ? 1 : a >= 1 ? 2 : a >= 0.1 ? 3 : 4;
}

static void show_number(const struct column *c, double v, char *buf, size_t cap)
{
    snprintf(buf, cap, "%.*f", c->digits < 0 ? digits_for(v) : c->digits, v);
}

const char *cell_show(const struct table *t, uint32_t column, const struct cell *c, char *buf,
                      size_t cap)
{
    const struct column *col = &t->columns[column];
    char value[40], low[40], high[40];
    buf[0] = 0;
    switch (c->kind) {
    case CELL_EMPTY:
        break;
    case CELL_TEXT:
        snprintf(buf, cap, "%s", c->text);
        break;
    case CELL_NUMBER:
        show_number(col, c->number.median, buf, cap);
        break;
    case CELL_SPREAD:
    case CELL_INTERVAL:
        show_number(col, c->number.median, value, sizeof value);
        show_number(col, c->number.low, low, sizeof low);
        show_number(col, c->number.high, high, sizeof high);
        if (c->kind == CELL_SPREAD && c->number.trials < 2)
            snprintf(buf, cap, "%s", value);
        else
            snprintf(buf, cap, "%s [%s, %s]", value, low, high);
        break;
    }
    return buf;
}

static void csv_text(struct rt_string *out, const char *text)
{
    if (!strpbrk(text, ",\"\n")) {
        rt_string_printf(out, "%s", text);
        return;
    }
    rt_string_append(out, "\"", 1);
    for (; *text; text++)
        rt_string_append(out, *text == '"' ? "\"\"" : text, *text == '"' ? 2 : 1);
    rt_string_append(out, "\"", 1);
}

static void csv_head(const struct table *t, struct rt_string *out)
{
    static const char *const parts[] = {"", " low", " high"};
    for (uint32_t c = 0; c < t->column_count; c++)
        for (int part = 0; part < (t->columns[c].spread ? 3 : 1); part++) {
            char name[160];
            const char *unit = t->columns[c].unit;
            snprintf(name, sizeof name, "%s%s%s%s%s", t->columns[c].name, parts[part],
                     *unit ? " (" : "", unit, *unit ? ")" : "");
            if (c || part)
                rt_string_append(out, ",", 1);
            csv_text(out, name);
        }
    rt_string_append(out, "\n", 1);
}

void table_to_csv(const struct table *t, struct rt_string *out)
{
    csv_head(t, out);
    for (uint32_t i = 0; i < t->row_count; i++) {
        for (uint32_t c = 0; c < t->column_count; c++) {
            const struct cell *cell = &t->rows[i][c];
            if (c)
                rt_string_append(out, ",", 1);
            if (cell->kind == CELL_TEXT)
                csv_text(out, cell->text);
            else if (cell->kind != CELL_EMPTY)
                rt_string_printf(out, "%.9g", cell->number.median);
            if (!t->columns[c].spread)
                continue;
            if (cell->kind == CELL_SPREAD || cell->kind == CELL_INTERVAL)
                rt_string_printf(out, ",%.9g,%.9g", cell->number.low, cell->number.high);
            else
                rt_string_append(out, ",,", 2);
        }
        rt_string_append(out, "\n", 1);
    }
}

static const char *head_of(const struct column *c, char *buf, size_t cap)
{
    snprintf(buf, cap, "%s%s%s", c->name, *c->unit ? ", " : "", c->unit);
    return buf;
}

/* Characters, not bytes: names hold "±" and the like. */
static int width_of(const char *text)
{
    int width = 0;
    for (; *text; text++)
        width += (*text & 0xc0) != 0x80;
    return width;
}

void table_to_text(const struct table *t, struct rt_string *out)
{
    int widths[TABLE_COLUMNS_MAX];
    char buf[256];
    for (uint32_t c = 0; c < t->column_count; c++) {
        widths[c] = width_of(head_of(&t->columns[c], buf, sizeof buf));
        for (uint32_t i = 0; i < t->row_count; i++) {
            int w = width_of(cell_show(t, c, &t->rows[i][c], buf, sizeof buf));
            widths[c] = w > widths[c] ? w : widths[c];
        }
    }
    rt_string_printf(out, "%s\n", t->title);
    for (int64_t i = -1; i < (int64_t)t->row_count; i++) {
        for (uint32_t c = 0; c < t->column_count; c++) {
            const char *text = i < 0 ? head_of(&t->columns[c], buf, sizeof buf)
                                     : cell_show(t, c, &t->rows[i][c], buf, sizeof buf);
            int pad = widths[c] - width_of(text);
            if (c == 0) // the first column to the left, numbers to the right
                rt_string_printf(out, "  %s%*s", text, pad, "");
            else
                rt_string_printf(out, "  %*s%s", pad, "", text);
        }
        rt_string_append(out, "\n", 1);
    }
}

void section_to_text(const struct section *s, struct rt_string *out)
{
    rt_string_printf(out, "\n== %s\n", s->title);
    for (const struct block *b = s->first; b; b = b->next) {
        if (!block_is_shown(s, b))
            continue;
        switch (b->kind) {
        case BLOCK_TABLE:
            rt_string_append(out, "\n", 1);
            table_to_text(b->table, out);
            break;
        case BLOCK_SENTENCE:
            rt_string_printf(out, "%s\n", b->text);
            break;
        case BLOCK_CHECK:
            rt_string_printf(out, "%s %s\n", b->held ? "holds:" : "DOES NOT HOLD:", b->text);
            break;
        case BLOCK_PLOT:
            break;
        }
    }
}

void text_to_json(struct rt_string *out, const char *text)
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
