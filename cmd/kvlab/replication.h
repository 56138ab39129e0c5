/* cmd/kvlab/replication.h: the parts of the experiment "replication", and what other experiments share
 * with it. */
#pragma once
#include "cmd/kvlab/trials.h"

struct load_spec replication_load(const struct lab *lab); // of the article's table
double replication_seconds(const struct lab *lab);
double replication_sweep_seconds(const struct lab *lab);
/* Window, value size, rate, added delays; false with why.  Context: parks. */
bool replication_sweeps(struct lab *lab, struct section *s, struct cluster *c, struct why *why);
bool replication_members(struct lab *lab, struct section *s, struct why *why); // 1, 3 and 5

/* Stages by setting, as a table (the first five settings at most) and as stacked bars. */
void replication_stage_table(struct lab *lab, struct section *s, const char *id, const char *title,
                             const struct measured *const *m, uint32_t count);
void replication_stage_plot(struct lab *lab, struct section *s, const char *id, const char *title,
                            const struct measured *const *m, uint32_t count);
/* One sentence on a difference, never claiming what its interval does not show. `base`: what it is a
 * percentage of; 0: none. */
void say_difference(struct lab *lab, struct section *s, const char *what, const char *of,
                    const char *unit, const struct stat_difference *d, double base);
