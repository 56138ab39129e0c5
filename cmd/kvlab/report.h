/* cmd/kvlab/report.h: what an experiment has to say: tables, plots, checks and sentences, in sections.
 * Each is written as it becomes known, so that a run that is stopped leaves a whole report of what
 * was measured. All memory lives in the report's arena. */
#pragma once
#include "cmd/kvlab/stats.h"
#include <rt/alloc.h>
#include <rt/why.h>

/* ---- Tables ---- */

enum { TABLE_COLUMNS_MAX = 16, TABLE_ROWS_MAX = 256 };

/* A cell shows text, or a number with digits after the point, or a spread: the median and, smaller,
 * the lowest and highest of the trials. In CSV a spread takes three columns. */
enum cell_kind { CELL_EMPTY, CELL_TEXT, CELL_NUMBER, CELL_SPREAD, CELL_INTERVAL };
struct cell {
    enum cell_kind kind;
    const char *text;
    struct stat_spread number; // NUMBER: median alone; INTERVAL: median is the value
    bool emphasis;
};
struct column {
    const char *name, *unit; // unit "" when there is none
    bool spread;             // three columns in CSV
    int digits;              // after the point; -1: as many as three significant ones need
};
struct table {
    const char *id, *title, *note; // id names the CSV file; note may be NULL
    uint32_t column_count, row_count;
    struct column columns[TABLE_COLUMNS_MAX];
    struct cell *rows[TABLE_ROWS_MAX];
};

static inline struct cell cell_text(const char *text)
{
    return (struct cell){.kind = CELL_TEXT, .text = text};
}
static inline struct cell cell_number(double v)
{
    return (struct cell){.kind = CELL_NUMBER, .number = {v, v, v, 1}};
}
static inline struct cell cell_spread(struct stat_spread s)
{
    return (struct cell){.kind = CELL_SPREAD, .number = s};
}
static inline struct cell cell_interval(const struct stat_difference *d)
{
    return (struct cell){.kind = CELL_INTERVAL,
                         .number = {d->value, d->low, d->high, d->pairs},
                         .emphasis = d->differs};
}

/* ---- Plots (drawn by plot.c) ---- */

/* STEPS: a point's x is the upper edge of a step of that height; the first point is the lower edge of
 * all, the last the end of all. STACK: boxes upon each other, a bar for each x. */
enum plot_kind { PLOT_LINES, PLOT_POINTS, PLOT_STEPS, PLOT_STACK };
struct plot_point {
    double x, y, low, high; // low and high: an error bar, when they differ
};
struct plot_series {
    struct plot_series *next;
    const char *name;
    struct plot_point *points;
    uint32_t count, cap;
    bool marks;        // vertical lines at x, in the background
    bool on_the_right; // y belongs to the right axis
};
struct plot {
    const char *id, *title, *x_label, *y_label, *y2_label; // id names the files
    enum plot_kind kind;
    bool log_x, log_y;
    const char *const *x_names; // STACK: names of the bars
    struct plot_series *first, *last;
    bool drawn;
    const char *missing;  // why it could not be drawn; NULL: it was, or was not tried
    struct rt_string svg; // ready for a page
};

/* ---- Sections ---- */

enum section_state {
    SECTION_RUNNING,
    SECTION_DONE,
    SECTION_SKIPPED,
    SECTION_FAILED,
    SECTION_INTERRUPTED
};
enum block_kind { BLOCK_TABLE, BLOCK_PLOT, BLOCK_SENTENCE, BLOCK_CHECK };
struct block {
    struct block *next;
    enum block_kind kind;
    struct table *table;
    struct plot *plot;
    const char *text;            // SENTENCE, CHECK
    struct stat_spread interval; // SENTENCE: what it says of a difference; trials 0: nothing
    bool held;                   // CHECK
};
struct section {
    struct section *next;
    const char *id, *title, *question, *claim;
    struct rt_string setup;
    enum section_state state;
    const char *why; // FAILED, SKIPPED
    struct block *first, *last;
};

struct report {
    struct rt_arena arena;
    struct section *first, *last;
    bool quick, interrupted;
    const char *machine;   // a line: CPU, kernel, disk
    const char *taken;     // when, and the command
    const char *unwritten; // of the result folder; NULL: all is there
};

void report_init(struct report *r);
void report_deinit(struct report *r);
struct section *report_section(struct report *r, const char *id, const char *title,
                               const char *question, const char *claim);
/* The columns are copied. */
struct table *report_table(struct report *r, struct section *s, const char *id, const char *title,
                           const struct column *columns, uint32_t count);
/* A new row of empty cells; cells beyond the columns do not exist. */
struct cell *table_row(struct report *r, struct table *t);
struct plot *report_plot(struct report *r, struct section *s, const char *id, const char *title,
                         enum plot_kind kind, const char *x_label, const char *y_label);
struct plot_series *plot_series(struct report *r, struct plot *p, const char *name);
void plot_add(struct plot_series *s, double x, double y);
void plot_add_spread(struct plot_series *s, double x, struct stat_spread y);
void report_say(struct report *r, struct section *s, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The last sentence tells of this difference: its interval counts among the page's. */
void report_said_difference(struct section *s, const struct stat_difference *d);
/* A statement that was tested. A check that does not hold is shown as such. Returns `held`. */
bool report_check(struct report *r, struct section *s, bool held, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* A failed section has no figures: what it shows are tables of words only, such as a log's end, and the
 * checks that do not hold. */
bool block_is_shown(const struct section *s, const struct block *b);
/* How many intervals of differences are shown that have enough pairs to be called one; an interval that a
 * table and a sentence of a section both have counts once. */
uint32_t report_count_intervals(const struct report *r);

/* ---- Forms ---- */

const char *cell_show(const struct table *t, uint32_t column, const struct cell *c, char *buf,
                      size_t cap); // plain text
void table_to_csv(const struct table *t, struct rt_string *out);
void table_to_text(const struct table *t, struct rt_string *out);
void section_to_text(const struct section *s, struct rt_string *out);
void report_to_html(const struct report *r, struct rt_string *out);
void text_to_html(struct rt_string *out, const char *text);
void text_to_json(struct rt_string *out, const char *text); // with its quotes; NULL: ""
