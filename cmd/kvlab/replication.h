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

/* What the article says of the growth from its default to both knobs, by the test: in sentences; and on
 * disks made slower, which is false with why.  Context: parks. */
void growth_say(struct lab *lab, struct section *s, const struct measured *a,
                const struct measured *b);
bool growth_on_disks(struct lab *lab, struct section *s, struct cluster *c, struct why *why);
double growth_seconds(const struct lab *lab);

/* Stages by setting, as a table (as many settings as have room) and as stacked bars. */
void replication_stage_table(struct lab *lab, struct section *s, const char *id, const char *title,
                             const struct measured *const *m, uint32_t count);
void replication_stage_plot(struct lab *lab, struct section *s, const char *id, const char *title,
                            const struct measured *const *m, uint32_t count);
/* The check that the stages on the path add up to the server's own time. */
void replication_check_sums(struct lab *lab, struct section *s, const struct measured *m);
/* One sentence on a difference, never claiming what its interval does not show. `base`: what it is a
 * percentage of; 0: none. */
void say_difference(struct lab *lab, struct section *s, const char *what, const char *of,
                    const char *unit, const struct stat_difference *d, double base);
