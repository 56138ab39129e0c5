/* cmd/kvlab/lab.h: one run of kvlab: what was asked, where results go, whether to stop; and the
 * contract of an experiment. */
#pragma once
#include "cmd/kvlab/leftovers.h"
#include "cmd/kvlab/options.h"
#include "cmd/kvlab/report.h"
#include <rt/hdr.h>
#include <rt/sync.h>
#include <rt/time.h>
#include <stdatomic.h>

/* How far we are: on a terminal a bar that is drawn over, also within a step; else a line a step. */
struct progress {
    struct rt_mutex lock;           // of all below
    bool is_terminal, drawn, quiet; // quiet: something else is on the terminal until the next step
    int64_t started_ns, step_ns;    // step_ns: when the step that runs began
    double planned_s;               // in all, as far as it is known
    double done_s, step_s;          // whole steps; the one that runs
    double due_s;                   // done_s when this experiment ends as planned
    char text[160];
};

struct note;

struct lab {
    const struct lab_options *options;
    struct rt_arena arena;
    const char *folder; // results, absolute or as given; exists
    char kvd[512];      // the program
    char gnuplot[128], kvd_version[256], etcd_version[256];
    const char *kernel, *cpu, *disk, *command, *date;
    char kernel_text[128], cpu_text[128], disk_text[256];
    struct report report;
    struct rt_string settings; // JSON objects of the clusters' knobs, for run.json
    struct rt_string servers;  // the same of a running cluster's members: endpoint and version
    struct note *notes;        // what was compared (notes.h)
    struct progress progress;
    struct leftovers leftovers;
    _Atomic bool stopped; // Ctrl-C: end soon, keep what there is
    _Atomic bool failed;  // some experiment
};

/* How an experiment ended. */
enum outcome { OUTCOME_DONE, OUTCOME_SKIPPED, OUTCOME_FAILED, OUTCOME_STOPPED };

/* An experiment fills section `s`. FAILED and SKIPPED with why. It frees what it started, whatever
 * happens.  Context: parks. */
struct experiment {
    const char *name, *title, *sentence, *question, *claim;
    enum outcome (*run)(struct lab *lab, struct section *s, struct why *why);
    double (*seconds)(const struct lab *lab); // about how long its trials take: sums of their steps
};
enum outcome run_replication(struct lab *lab, struct section *s, struct why *why);
enum outcome run_preemption(struct lab *lab, struct section *s, struct why *why);
enum outcome run_watch(struct lab *lab, struct section *s, struct why *why);
enum outcome run_etcd(struct lab *lab, struct section *s, struct why *why);
enum outcome run_kube(struct lab *lab, struct section *s, struct why *why);
enum outcome run_defer(struct lab *lab, struct section *s, struct why *why);
enum outcome run_allocator(struct lab *lab, struct section *s, struct why *why);
enum outcome run_steal(struct lab *lab, struct section *s, struct why *why);
enum outcome run_gc(struct lab *lab, struct section *s, struct why *why);
enum outcome run_leak(struct lab *lab, struct section *s, struct why *why);
double replication_seconds(const struct lab *lab);
double preemption_seconds(const struct lab *lab);
double watch_seconds(const struct lab *lab);
double etcd_seconds(const struct lab *lab);
double kube_seconds(const struct lab *lab);
double defer_seconds(const struct lab *lab);
double allocator_seconds(const struct lab *lab);
double steal_seconds(const struct lab *lab);
double gc_seconds(const struct lab *lab);
double leak_seconds(const struct lab *lab);

static inline bool lab_is_stopped(struct lab *lab) { return atomic_load(&lab->stopped); }
/* DONE, or STOPPED when the user asked for it, or FAILED. */
static inline enum outcome lab_outcome(struct lab *lab, bool ok)
{
    return lab_is_stopped(lab) ? OUTCOME_STOPPED : ok ? OUTCOME_DONE : OUTCOME_FAILED;
}
/* `full` or, with --quick, `quick`; what the user asked for by an option counts more. */
static inline int64_t lab_choose(const struct lab *lab, int64_t asked, int64_t full, int64_t quick)
{
    return asked ? asked : lab->options->quick ? quick : full;
}

/* Write a file of the result folder: "tables/x.csv". Takes the text. False with why. */
bool lab_write(struct lab *lab, const char *name, struct rt_string *text, struct why *why);
/* A histogram's steps that are not empty: raw/NAME.csv. False with why. */
bool lab_write_histogram(struct lab *lab, const char *name, const struct rt_hdr_counts *h,
                         struct why *why);
/* run.json, tables, plots, report.html, as far as they are known. What cannot be written or drawn costs
 * nothing but itself; then false with the first why.  Context: parks. */
bool lab_write_results(struct lab *lab, struct why *why);
void lab_run_json(struct lab *lab, struct rt_string *out); // the text of run.json

void progress_start(struct lab *lab, bool is_terminal);
void progress_plan(struct lab *lab, double seconds); // more to do
/* An experiment that is to take so long; it has ended, and what it left undone is not to come. */
void progress_begin(struct lab *lab, double seconds);
void progress_end(struct lab *lab);
/* The next step begins, which ends the one before. */
void progress_step(struct lab *lab, double seconds, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void progress_clear(struct lab *lab); // before something else is printed
/* The part of all that is done, 0 to 1, and the line that says so. For tests, too. */
double progress_part(const struct progress *p, int64_t now_ns);
void progress_line(const struct progress *p, int64_t now_ns, char *buf, size_t cap);
