/* cmd/kvlab/main.c: the experiments by name, the result folder, Ctrl-C. Exit status: 0 measured and right,
 * 1 an experiment failed, 2 wrong words, 130 stopped. */
#include "cmd/kvlab/client.h"
#include "cmd/kvlab/lab.h"
#include "cmd/kvlab/machine.h"
#include "cmd/kvlab/run_tool.h"
#include <errno.h>
#include <rt/file.h>
#include <rt/go.h>
#include <rt/process.h>
#include <signal.h>
#include <stdio.h>

static const struct experiment experiments[] = {
    {"replication", "Log replication and its two knobs",
     "the stages of a put, MaxInflightMsgs and SyncTimeout in a 2x2, and sweeps of window, value "
     "size, rate, members, slow disks and far members",
     "What does a replicated write's latency consist of, and what do MaxInflightMsgs and "
     "SyncTimeout do to it?",
     "With MaxInflightMsgs=1 and SyncTimeout=5ms against the defaults, P50 grows from 2.1 to 3.8 "
     "ms, P99 from 18.7 to 26.4 ms, jitter "
     "(standard deviation) from 4.3 to 7.9 ms; the growth comes from stages C (the leader's fsync) "
     "and E (the follower's fsync and answer) becoming serial, most on slow disks.",
     run_replication, replication_seconds},
    {"preemption", "Long computations and preemption",
     "puts beside a goroutine that computes for 200 ms at a time inside a member, with preemption "
     "off and on",
     "Does preempting long computations keep the tail of a control plane's requests short?",
     "P99 falls from 217 to 80 ms (-63 %) when preemption is turned on.", run_preemption,
     preemption_seconds},
    {"watch", "Ten thousand watch streams",
     "10,000 streams over at most 100 connections, every stream's every event checked, under a low "
     "and a high load of puts",
     "How long does an event take to reach 10,000 watchers, and what does a stream cost in memory?",
     "P95 of delivery is 8.2 ms under low and 47.6 ms under high load, with 12 and 328 preemptions "
     "a second.",
     run_watch, watch_seconds},
    {"etcd", "The same load on etcd",
     "puts and gets on kvd and on etcd from Debian, in turns on the same disk",
     "How do kvd and etcd compare under the same load on this machine?", NULL, run_etcd,
     etcd_seconds},
    {"kube", "LIST of pods through kube-apiserver",
     "LIST requests through a kube-apiserver given by --kube-apiserver, as a histogram with a "
     "log-normal fit",
     "How are the latencies of LIST through kube-apiserver on kvd distributed?",
     "At 2,000 requests/s p99 falls from 187 to 112 ms and the standard deviation from 62 to 33 ms "
     "between two runtimes; latencies in buckets of "
     "1, 5, 10, 25, 50, 100, 200, 500 ms are fitted by a log-normal distribution.",
     run_kube, kube_seconds},
    {"defer", "A thousand deferred calls",
     "1,000 defers in slots of the frame beside a linked list, and beside Go where its program is "
     "built",
     "What does a deferred call cost when its place is in the frame, and when it is a block in a "
     "list?",
     "1,000 defers fall from 428 to 96 ns when a linked list becomes an array in the frame.",
     run_defer, defer_seconds},
    {"allocator", "Blocks for sixteen at once",
     "blocks of 16 B to 16 KiB, allocated and freed by sixteen at once: a cache a P beside one "
     "lock, glibc, "
     "mimalloc and jemalloc",
     "What do caches a P do for an allocator that many use at once?",
     "Allocation of 16 KiB objects by 16 threads falls from 124 ns with one lock to 8.3 ns with "
     "caches a P.",
     run_allocator, allocator_seconds},
    {"steal", "Work that begins on one P",
     "a lopsided load with stealing on and off: who does the work, and how long a task waits",
     "What does it help that a P without work takes some from another?", NULL, run_steal,
     steal_seconds},
    {"gc", "The collector\u2019s ways",
     "a managed heap of 200 MB under change: both barriers beside a stop of the world, how late a "
     "sleeper wakes",
     "What does collecting beside the program, by either barrier, do to the others?", NULL, run_gc,
     gc_seconds},
    {"leak", "Do goroutines stay behind?",
     "a soak of settable length (--soak): goroutines of each member at rest, and while a hundred "
     "watch streams "
     "come and go",
     "Does the number of goroutines grow while watch streams come and go?",
     "Watched over time, the number of goroutines went from 18 to 19 at rest and from 214 to 217 "
     "under load.",
     run_leak, leak_seconds},
};
enum { EXPERIMENTS = sizeof(experiments) / sizeof(experiments[0]) };

static void show_list(void)
{
    for (int i = 0; i < EXPERIMENTS; i++)
        printf("%-12s %s\n", experiments[i].name, experiments[i].sentence);
    printf("%-12s %s\n", "all", "every experiment above, one report");
}

static bool is_experiment(const char *name)
{
    for (int i = 0; i < EXPERIMENTS; i++)
        if (strcmp(experiments[i].name, name) == 0)
            return true;
    return strcmp(name, "all") == 0;
}

static int unknown_experiment(const char *name)
{
    const char *names[EXPERIMENTS + 2];
    for (int i = 0; i < EXPERIMENTS; i++)
        names[i] = experiments[i].name;
    names[EXPERIMENTS] = "all";
    names[EXPERIMENTS + 1] = "list";
    const char *near = options_nearest(name, names, EXPERIMENTS + 2);
    fprintf(stderr, "kvlab: there is no experiment \"%s\"%s%s%s; kvlab list explains them\n", name,
            near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
    return 2;
}

/* ---- The result folder ---- */

static void note_entry(void *arg, const char *name)
{
    (void)name;
    *(bool *)arg = true;
}

static const char *const inside[] = {"tables", "plots", "raw", "members"};

/* A run that cannot begin leaves no folder that would be in the next one's way. */
static void unmake_folder(struct lab *lab)
{
    char path[512];
    for (int i = 0; i < 4; i++) {
        snprintf(path, sizeof path, "%s/%s", lab->folder, inside[i]);
        rt_rmdir(path); // empty still
    }
    rt_rmdir(lab->folder);
}

static bool make_folder(struct lab *lab, struct why *why)
{
    char date[32], compact[32], path[512], words[64];
    machine_date(rt_wall_ns(), date, sizeof date, compact, sizeof compact);
    lab->folder =
        lab->options->out ? lab->options->out : rt_arena_printf(&lab->arena, "kvlab-%s", compact);
    if (strlen(lab->folder) > 300) {
        why_set(why, "--out: the path is too long");
        return false;
    }
    bool used = false;
    int err = rt_mkdir(lab->folder, 0755);
    if (err == -EEXIST) {
        err = rt_list_dir(lab->folder, note_entry, &used);
        if (!err && used) {
            why_set(why, "%s is not empty; results go into a new folder (--out)", lab->folder);
            return false;
        }
    }
    for (int i = 0; i < 4 && !err; i++) {
        snprintf(path, sizeof path, "%s/%s", lab->folder, inside[i]);
        err = rt_mkdir(path, 0755);
    }
    if (err)
        why_set(why, "cannot write results to %s: %s; choose another folder by --out", lab->folder,
                why_errno(err, words, sizeof words));
    return err == 0;
}

/* ---- A run ---- */

/* nohup wants a closed terminal to end nothing. Source: proc(5), a bit a signal, SIGHUP's the lowest. */
static bool hangup_is_ignored(void)
{
    enum { DIGITS = 16 };
    char text[2048];
    const char *at =
        file_text("/proc/self/status", text, sizeof text) > 0 ? strstr(text, "SigIgn:\t") : NULL;
    return at && strlen(at) > 8 + DIGITS && strchr("13579bdf", at[8 + DIGITS - 1]);
}

/* What we started must not outlive us, and who lent us a cluster must know what we did to it. */
static _Noreturn void end_at_once(struct lab *lab)
{
    struct rt_string text = {0};
    leftovers_end(&lab->leftovers, &text);
    progress_clear(lab);
    for (const char *line = rt_string_cstr(&text); *line; line += strcspn(line, "\n") + 1)
        fprintf(stderr, "kvlab: %.*s\n", (int)strcspn(line, "\n"), line);
    if (lab->options->endpoint_count)
        fprintf(stderr, "kvlab: keys under kvlab/ may be left (kvctl del --prefix kvlab/)\n");
    rt_exit(130);
}

/* The first Ctrl-C asks for the report of what there is, the second does not wait; a request to end and a
 * terminal that is closed count as one. Never ends. */
static void hear_signals(void *arg)
{
    struct lab *lab = arg;
    static const int asking[] = {SIGINT, SIGTERM, SIGHUP};
    int count = hangup_is_ignored() ? 2 : 3;
    if (rt_signal_wait(asking, count) < 0)
        return;
    progress_clear(lab);
    fprintf(stderr,
            "kvlab: stopping; the report of what was measured follows (again: stop at once)\n");
    atomic_store(&lab->stopped, true);
    rt_signal_wait(asking, count);
    end_at_once(lab);
}

static void print_section(const struct section *s)
{
    struct rt_string text = {0};
    section_to_text(s, &text);
    fputs(rt_string_cstr(&text), stdout);
    fflush(stdout);
    rt_string_deinit(&text);
}

static bool has_broken_check(const struct section *s)
{
    for (const struct block *b = s->first; b; b = b->next)
        if (b->kind == BLOCK_CHECK && !b->held)
            return true;
    return false;
}

static void run_experiment(struct lab *lab, const struct experiment *e)
{
    static const enum section_state states[] = {[OUTCOME_DONE] = SECTION_DONE,
                                                [OUTCOME_SKIPPED] = SECTION_SKIPPED,
                                                [OUTCOME_FAILED] = SECTION_FAILED,
                                                [OUTCOME_STOPPED] = SECTION_INTERRUPTED};
    struct why why = {{0}};
    struct section *s = report_section(&lab->report, e->name, e->title, e->question, e->claim);
    int64_t started = rt_now_ns();
    progress_begin(lab, e->seconds(lab));
    enum outcome outcome = e->run(lab, s, &why);
    s->state = states[outcome];
    progress_end(lab);
    progress_clear(lab);
    print_section(s);
    if (outcome == OUTCOME_SKIPPED || outcome == OUTCOME_FAILED)
        s->why = rt_arena_printf(&lab->arena, "%s", why.text);
    if (outcome == OUTCOME_SKIPPED)
        printf("%s: skipped: %s\n", e->name, why.text);
    if (outcome == OUTCOME_FAILED || has_broken_check(s)) {
        atomic_store(&lab->failed, true);
        fprintf(stderr, "kvlab: %s: %s\n", e->name,
                outcome == OUTCOME_FAILED ? why.text : "a check does not hold (see the report)");
    }
    if (outcome != OUTCOME_SKIPPED)
        rt_string_printf(&s->setup, "%sThe experiment took %.0f s.", s->setup.len ? " " : "",
                         (double)(rt_now_ns() - started) / 1e9);
}

static bool is_asked_for(const struct lab *lab, const struct experiment *e)
{
    return strcmp(lab->options->experiment, "all") == 0 ||
           strcmp(lab->options->experiment, e->name) == 0;
}

static int run_all(struct lab *lab)
{
    for (int i = 0; i < EXPERIMENTS; i++)
        if (is_asked_for(lab, &experiments[i]))
            progress_plan(lab, experiments[i].seconds(lab));
    for (int i = 0; i < EXPERIMENTS && !lab_is_stopped(lab); i++) {
        struct why why = {{0}};
        if (!is_asked_for(lab, &experiments[i]))
            continue;
        run_experiment(lab, &experiments[i]);
        lab->report.interrupted = lab_is_stopped(lab);
        if (!lab_write_results(lab, &why)) { // after each, so that a crash loses one at most
            fprintf(stderr, "kvlab: %s: %s\n", experiments[i].name, why.text);
            atomic_store(&lab->failed, true);
        }
    }
    printf("\nreport: %s/report.html\n", lab->folder);
    return lab_is_stopped(lab) ? 130 : atomic_load(&lab->failed) ? 1 : 0;
}

/* A running cluster must answer before anything else is done, and says what it is. */
static bool reach_endpoints(struct lab *lab, struct why *why)
{
    struct rt_arena arena;
    bool ok = true;
    rt_arena_init(&arena);
    for (uint32_t i = 0; i < lab->options->endpoint_count && ok; i++) {
        struct client c;
        Etcdserverpb__StatusResponse *status;
        const char *endpoint = lab->options->endpoints[i];
        if (client_dial(endpoint, &c, why)) {
            ok = false;
            continue;
        }
        ok = client_status(&c, &arena, &status, why) == 0;
        if (ok)
            machine_note_server(lab, endpoint, status->version);
        client_close(&c);
    }
    rt_arena_deinit(&arena);
    return ok;
}

static int run(void *arg)
{
    struct lab *lab = arg;
    struct why why = {{0}};
    bool ok = reach_endpoints(lab, &why) && make_folder(lab, &why);
    if (ok && !machine_describe(lab, &why)) {
        unmake_folder(lab);
        ok = false;
    }
    if (!ok) {
        fprintf(stderr, "kvlab: %s\n", why.text);
        return 1;
    }
    if (rt_go("signals", hear_signals, lab)) {
        fprintf(stderr, "kvlab: no goroutine to hear signals\n");
        return 1;
    }
    progress_start(lab, rt_is_terminal(2));
    return run_all(lab);
}

/* kvd beside this program, unless --kvd says otherwise. */
static bool find_kvd(struct lab *lab)
{
    if (lab->options->kvd)
        return (size_t)snprintf(lab->kvd, sizeof lab->kvd, "%s", lab->options->kvd) <
               sizeof lab->kvd;
    if (rt_own_program(lab->kvd, sizeof lab->kvd - 4))
        return false;
    char *slash = strrchr(lab->kvd, '/');
    snprintf(slash + 1, 4, "kvd");
    return true;
}

static const char *words_of(struct lab *lab, int argc, char **argv)
{
    const char *text = "kvlab";
    for (int i = 1; i < argc; i++)
        text = rt_arena_printf(&lab->arena, "%s %s", text, argv[i]);
    return text;
}

int main(int argc, char **argv)
{
    struct lab *lab = rt_alloc_zero(sizeof *lab);
    struct lab_options options;
    struct rt_string text = {0};
    struct why why = {{0}};
    int status = 1;
    rt_arena_init(&lab->arena);
    report_init(&lab->report);
    lab->options = &options;
    enum options_result read = options_read(argc, argv, &lab->arena, &options, &text, &why);
    if (read == OPTIONS_SHOWN) {
        fputs(rt_string_cstr(&text), stdout);
        return 0;
    }
    if (read == OPTIONS_WRONG) {
        fprintf(stderr, "kvlab: %s\n", why.text);
        return 2;
    }
    if (strcmp(options.experiment, "list") == 0) {
        show_list();
        return 0;
    }
    if (!is_experiment(options.experiment))
        return unknown_experiment(options.experiment);
    if (!find_kvd(lab)) {
        fprintf(stderr, "kvlab: cannot tell where this program lies; set --kvd\n");
        return 1;
    }
    lab->report.quick = options.quick;
    lab->command = words_of(lab, argc, argv);
    if (rt_run(&(struct rt_options){0}, run, lab, &status, &why)) {
        fprintf(stderr, "kvlab: %s\n", why.text);
        return 1;
    }
    rt_string_deinit(&lab->settings);
    rt_string_deinit(&lab->servers);
    report_deinit(&lab->report);
    rt_arena_deinit(&lab->arena);
    rt_free(lab);
    return status;
}
