/* cmd/kvlab/plot.h: plots by gnuplot, each as SVG and PNG in the result folder's plots/. */
#pragma once
#include "cmd/kvlab/leftovers.h"
#include "cmd/kvlab/report.h"

/* gnuplot's version in buf, or false with a why that says how to get it.  Context: parks. */
bool plot_find_gnuplot(struct leftovers *left, char *buf, size_t cap, const char *scratch_path,
                       struct why *why);

/* Draw the plots of a section that have points and were not tried yet: plots/ID.{dat,gp,svg,png} under
 * folder, and the SVG, ready to stand in a page, in plot->svg. One that cannot be drawn says why in
 * plot->missing and costs the others nothing; then false with the first why.  Context: parks. */
bool plot_draw_section(struct report *r, struct section *s, const char *folder,
                       struct leftovers *left, struct why *why);

/* The text of a plot's data file and script; for tests.  Context: never parks. */
void plot_data(const struct plot *p, struct rt_string *out);
void plot_script(const struct plot *p, const char *base, struct rt_string *out);
/* gnuplot's SVG as part of a page: no XML head, black becomes the page's colour of text. */
void plot_inline(struct rt_bytes svg, struct rt_string *out);
