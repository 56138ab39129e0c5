/* cmd/kvlab/trials.h: settings compared by trials that run in turns: in every round each setting has
 * one trial, and the order turns round from one round to the next, so that a drift of the machine
 * meets all alike. Trial i of one setting is the pair of trial i of another. */
#pragma once
#include "cmd/kvlab/load.h"

enum { SETTINGS_MAX = 12, TRIALS_MAX = 100, SETTING_KNOBS_MAX = 8 };

struct knob_value {
    const char *name, *value; // NULL name: the end
};
struct setting {
    const char *label, *id; // id: in file names
    struct cluster *cluster;
    struct load_spec load;
    struct knob_value knobs[SETTING_KNOBS_MAX]; // set on all members before each trial
    double x;                                   // where it stands in a sweep
};

enum figure {
    FIGURE_P50,
    FIGURE_P90,
    FIGURE_P95,
    FIGURE_P99,
    FIGURE_P999,
    FIGURE_MEAN,
    FIGURE_STDDEV,
    FIGURE_MAX,
    FIGURE_RATE,
    FIGURES
};

/* What the leader told of one stage, its own or of a follower, trial by trial; NAN where it told nothing.
 * WAITED: what the mean put waited for in it; the total's is its mean. */
enum stage_part { STAGE_WAITED, STAGE_MEAN, STAGE_P50, STAGE_P99, STAGE_PARTS };
struct stage_trials {
    char name[32];
    uint64_t peer; // 0: the leader's own
    bool on_path, of_client;
    double ms[STAGE_PARTS][TRIALS_MAX];
};
/* Two rows beside the stages: what the client saw of the same puts, and what of it is not the server's. */
extern const char stage_client[], stage_outside[];

/* What the leader counted. */
enum tally { TALLY_STALLS, TALLY_SYNCS, TALLY_OVERRUNS, TALLIES };

enum { MEASURED_STAGES_MAX = STAGES_MAX + 2 };
struct measured {
    const struct setting *setting;
    uint32_t trials;                                    // that are complete
    double figures[FIGURES][TRIALS_MAX];                // ms; RATE: a second
    size_t least_samples;                               // of one trial
    struct stage_trials *by_stage[MEASURED_STAGES_MAX]; // in the order they were told
    uint32_t by_stage_count;
    double tallies[TALLIES][TRIALS_MAX]; // NAN: not told
    int64_t client_ns; // the sum of what the client saw, of the puts that `stages` counts
    uint64_t client_puts;
    double *all_ms; // of all trials, sorted by measured_sort
    size_t all_count, all_cap;
    bool is_sorted;
    struct stage_reading *stages;    // of the leader, all trials added up; NULL: not told
    struct stage_reading *followers; // of the other members
};

/* Run `trials` rounds; `out` has one element a setting, zeroed by the caller. False with why; what is
 * complete stays usable. When the user stops it, true with fewer trials.  Context: parks. */
bool trials_run(struct lab *lab, const struct setting *settings, uint32_t count, uint32_t trials,
                const char *name, struct measured *out, struct why *why);
/* One trial of one setting, number t of `trials`; m->setting is set. */
bool trials_run_one(struct lab *lab, const struct setting *s, const char *name, uint32_t t,
                    uint32_t trials, struct measured *m, struct why *why);
void measured_free(struct measured *m, uint32_t count);

struct stat_spread measured_spread(const struct measured *m, enum figure f);
/* b against a, over the pairs both have. */
struct stat_difference measured_difference(const struct lab *lab, const struct measured *a,
                                           const struct measured *b, enum figure f);
/* NULL: never told. */
const struct stage_trials *measured_stage(const struct measured *m, const char *name,
                                          uint64_t peer);
/* Of each trial, what the mean put waited for in these stages together (names, NULL at the end), or NAN,
 * in out[0] to out[m->trials - 1]. */
void measured_waited(const struct measured *m, const char *const *names, double *out);
/* Its spread, and b against a in it, over the pairs that know it. */
struct stat_spread measured_waited_spread(const struct measured *m, const char *const *names);
struct stat_difference measured_waited_difference(const struct lab *lab, const struct measured *a,
                                                  const struct measured *b,
                                                  const char *const *names);
/* A table's note (NULL: none), and what has to be said of P99 when a trial had few samples. */
const char *measured_note(struct lab *lab, const char *note, const struct measured *m,
                          uint32_t count);
/* A curve of the cumulative distribution, up to 1 - 1/count, on points that a log axis shows evenly. */
void measured_cdf(struct measured *m, struct plot_series *s);
double stage_mean_ms(const struct stage *s);
