/* cmd/kvlab/options.c: the table of options and what unfolds from it. */
#include "cmd/kvlab/options.h"
#include <inttypes.h>
#include <rt/parse.h>
#include <rt/time.h>
#include <string.h>

enum kind { SWITCH, TEXT, COUNT, DURATION, LIST };
struct option {
    const char *name, *value; // value: its word in the help
    enum kind kind;
    size_t offset;
    int64_t min, max;
    const char *help;
};
#define AT(field) offsetof(struct lab_options, field)
static const struct option options[] = {
    {"quick", "", SWITCH, AT(quick), 0, 0,
     "short trials and few points: under a minute an experiment"},
    {"out", "DIR", TEXT, AT(out), 0, 0,
     "folder for the results, new or empty (default kvlab-<date>-<time>)"},
    {"endpoints", "LIST", LIST, 0, 0, 0,
     "measure a running cluster, host:port,...: all its members (default: start our own)"},
    {"trials", "N", COUNT, AT(trials), 1, 100,
     "trials of each setting that is compared (default 10, quick 6)"},
    {"trial-length", "D", DURATION, AT(trial_ns), RT_SECOND / 10, 600 * RT_SECOND,
     "length of one trial (default 10s, quick about 1s)"},
    {"rate", "N", COUNT, AT(rate), 1, 1000000,
     "requests a second where the load is an open loop (default: the experiment's)"},
    {"clients", "N", COUNT, AT(clients), 1, 4096, "requests in flight at most (default 64)"},
    {"value-bytes", "N", COUNT, AT(value_bytes), 32, 1 << 20, "size of values (default 256)"},
    {"streams", "N", COUNT, AT(streams), 1, 200000, "watch streams (default 10000)"},
    {"soak", "D", DURATION, AT(soak_ns), 3 * RT_SECOND, INT64_C(7) * 24 * 3600 * RT_SECOND,
     "length of the soak of leak (default 10m, quick 18s)"},
    {"seed", "N", COUNT, AT(seed), 0, INT64_MAX, "of what is drawn at random (default 1)"},
    {"kvd", "PATH", TEXT, AT(kvd), 0, 0, "the server to start (default: kvd beside kvlab)"},
    {"etcd", "PATH", TEXT, AT(etcd), 0, 0, "the etcd to compare with (default: that of PATH)"},
    {"kube-apiserver", "PATH", TEXT, AT(kube_apiserver), 0, 0, "for the experiment kube"},
    {"keep-data", "", SWITCH, AT(keep_data), 0, 0, "leave the members' data in the result folder"},
};
enum { OPTIONS = sizeof(options) / sizeof(options[0]) };

/* Edit distance, for "did you mean"; names are short. */
static unsigned distance(const char *a, const char *b)
{
    unsigned row[64];
    size_t bl = strlen(b);
    if (bl >= 63)
        return 64;
    for (size_t j = 0; j <= bl; j++)
        row[j] = (unsigned)j;
    for (size_t i = 1; a[i - 1]; i++) {
        unsigned diagonal = row[0];
        row[0] = (unsigned)i;
        for (size_t j = 1; j <= bl; j++) {
            unsigned change = diagonal + (a[i - 1] != b[j - 1]);
            unsigned drop = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;
            diagonal = row[j];
            row[j] = change < drop ? change : drop;
        }
    }
    return row[bl];
}

const char *options_nearest(const char *word, const char *const *names, uint32_t count)
{
    const char *best = NULL;
    unsigned least = 5; // further away is no help
    for (uint32_t i = 0; i < count; i++) {
        unsigned d = distance(word, names[i]);
        bool begins = strlen(word) >= 3 && strncmp(word, names[i], strlen(word)) == 0;
        if (begins || d < least) {
            least = begins ? 0 : d;
            best = names[i];
        }
    }
    return best;
}

static const struct option *find(const char *name, size_t len)
{
    for (int i = 0; i < OPTIONS; i++)
        if (strlen(options[i].name) == len && memcmp(options[i].name, name, len) == 0)
            return &options[i];
    return NULL;
}

static enum options_result unknown(const char *word, struct why *why)
{
    const char *names[OPTIONS];
    for (int i = 0; i < OPTIONS; i++)
        names[i] = options[i].name;
    const char *near = options_nearest(word + 2, names, OPTIONS);
    why_set(why, "unknown option %s%s%s%s; see kvlab --help", word, near ? "; did you mean --" : "",
            near ? near : "", near ? "?" : "");
    return OPTIONS_WRONG;
}

static bool split_endpoints(struct lab_options *out, struct rt_arena *arena, const char *list,
                            struct why *why)
{
    while (*list) {
        size_t len = strcspn(list, ",");
        const char *from = list;
        if (strncmp(from, "http://", 7) == 0) {
            from += 7;
        }
        if (out->endpoint_count == LAB_ENDPOINTS_MAX) {
            why_set(why, "--endpoints: more than %d members", LAB_ENDPOINTS_MAX);
            return false;
        }
        if (len)
            out->endpoints[out->endpoint_count++] =
                rt_arena_printf(arena, "%.*s", (int)(list + len - from), from);
        list += len;
        list += *list == ',';
    }
    if (!out->endpoint_count)
        why_set(why, "--endpoints: no endpoint is given");
    return out->endpoint_count > 0;
}

static bool assign(const struct option *o, const char *text, struct rt_arena *arena,
                   struct lab_options *out, struct why *why)
{
    void *to = (char *)out + o->offset;
    int64_t number = 0;
    switch (o->kind) {
    case SWITCH:
        *(bool *)to = true;
        return true;
    case TEXT:
        *(const char **)to = text;
        return true;
    case LIST:
        return split_endpoints(out, arena, text, why);
    case DURATION:
        if (rt_parse_duration(text, &number) || number < o->min || number > o->max) {
            char low[32], high[32];
            why_set(why, "--%s: \"%s\" is not a duration from %s to %s", o->name, text,
                    rt_format_duration(o->min, low), rt_format_duration(o->max, high));
            return false;
        }
        break;
    case COUNT:
        if (rt_parse_i64(text, &number) || number < o->min || number > o->max) {
            why_set(why, "--%s: \"%s\" is not a whole number from %" PRId64 " to %" PRId64, o->name,
                    text, o->min, o->max);
            return false;
        }
        break;
    }
    *(int64_t *)to = number;
    return true;
}

static void show_help(struct rt_string *text)
{
    rt_string_printf(
        text,
        "kvlab measures what a replicated write's latency consists of and what the runtime does to "
        "it,\n"
        "and writes a report.\n\n"
        "Usage: kvlab EXPERIMENT [options]     (kvlab list explains the experiments)\n\nExamples:\n"
        "  kvlab replication --quick\n"
        "  kvlab all --out results --trials 20\n"
        "  kvlab replication --endpoints 10.0.0.1:2379,10.0.0.2:2379,10.0.0.3:2379 --rate "
        "500\n\nOptions:\n");
    for (int i = 0; i < OPTIONS; i++)
        rt_string_printf(text, "  --%s %s%*s%s\n", options[i].name, options[i].value,
                         (int)(24 - strlen(options[i].name) - strlen(options[i].value)), "",
                         options[i].help);
    rt_string_printf(text, "\nExit status: 0 all was measured and right, 1 an experiment failed, 2 "
                           "wrong words, 130 stopped by Ctrl-C\n"
                           "(the report of what had been measured is written).\n");
}

static void set_defaults(struct lab_options *o)
{
    *o = (struct lab_options){.value_bytes = 256, .clients = 64, .seed = 1, .streams = 10000};
}

enum options_result options_read(int argc, char **argv, struct rt_arena *arena,
                                 struct lab_options *out, struct rt_string *text, struct why *why)
{
    set_defaults(out);
    for (int i = 1; i < argc; i++) {
        const char *word = argv[i];
        if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 || strcmp(word, "help") == 0) {
            show_help(text);
            return OPTIONS_SHOWN;
        }
        if (strncmp(word, "--", 2) != 0) {
            if (out->experiment) {
                why_set(why, "one experiment at a time: %s or %s, or all", out->experiment, word);
                return OPTIONS_WRONG;
            }
            out->experiment = word;
            continue;
        }
        size_t len = strcspn(word + 2, "=");
        const struct option *o = find(word + 2, len);
        const char *value = word[2 + len] ? word + 3 + len : NULL;
        if (!o)
            return unknown(word, why);
        if (o->kind == SWITCH && value) {
            why_set(why, "--%s takes no value", o->name);
            return OPTIONS_WRONG;
        }
        if (o->kind != SWITCH && !value && !(value = i + 1 < argc ? argv[++i] : NULL)) {
            why_set(why, "--%s needs a value", o->name);
            return OPTIONS_WRONG;
        }
        if (!assign(o, value, arena, out, why))
            return OPTIONS_WRONG;
    }
    if (!out->experiment) {
        why_set(why, "which experiment? See kvlab list");
        return OPTIONS_WRONG;
    }
    return OPTIONS_RUN;
}
