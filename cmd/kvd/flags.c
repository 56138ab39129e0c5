/* cmd/kvd/flags.c: the table of flags and what unfolds from it.
 *
 * A value comes from the command line, else from KVD_<NAME>, else from ETCD_<NAME>, else it is the
 * default. A flag that is set on the command line and in the environment is refused, as etcd does:
 * one of them would be ignored without a word. Names of etcd's that kvd has no use for are taken
 * with a warning, so that existing unit files start; names whose absence would be a loss of
 * security or of data are refused with a sentence. */
#include "cmd/kvd/flags.h"
#include "rt/parse.h"
#include "rt/time.h"
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

enum kind { TEXT, COUNT, BYTES, MILLIS, DURATION, SWITCH, CHOICE };
enum group { IDENTITY, REPLICATION, LIMITS, RUNTIME, GROUPS };

static const char *const group_titles[GROUPS] = {
    [IDENTITY] = "Who this member is, and where it listens",
    [REPLICATION] = "Log and replication",
    [LIMITS] = "Limits",
    [RUNTIME] = "Runtime and logging",
};

struct flag {
    const char *name;
    enum kind kind;
    enum group group;
    size_t offset;
    const char *standard; // the default, in the form a user would type
    int64_t min, max;     // of numbers, in the flag's own unit
    const char *choices;  // CHOICE: "a|b|c"
    const char *help;
};

#define AT(field) offsetof(struct kvd_flags, field)
#define GIB       (INT64_C(1) << 30)
static const struct flag flags[] = {
    {"name", TEXT, IDENTITY, AT(name), "default", 0, 0, NULL, "human-readable name of this member"},
    {"data-dir", TEXT, IDENTITY, AT(data_dir), "", 0, 0, NULL,
     "where the member keeps its data (default: <name>.kvd)"},
    {"wal-dir", TEXT, IDENTITY, AT(wal_dir), "", 0, 0, NULL,
     "where it keeps its log (default: inside the data directory)"},
    {"listen-peer-urls", TEXT, IDENTITY, AT(listen_peer_urls), "http://localhost:2380", 0, 0, NULL,
     "addresses to accept other members on"},
    {"listen-client-urls", TEXT, IDENTITY, AT(listen_client_urls), "http://localhost:2379", 0, 0,
     NULL, "addresses to accept clients on"},
    {"listen-metrics-urls", TEXT, IDENTITY, AT(listen_metrics_urls), "", 0, 0, NULL,
     "more addresses for /metrics, /health and the goroutine dump"},
    {"initial-advertise-peer-urls", TEXT, IDENTITY, AT(initial_advertise_peer_urls), "", 0, 0, NULL,
     "how other members reach this one (default: http://localhost:2380)"},
    {"advertise-client-urls", TEXT, IDENTITY, AT(advertise_client_urls), "", 0, 0, NULL,
     "how clients reach this member (default: http://localhost:2379)"},
    {"initial-cluster", TEXT, IDENTITY, AT(initial_cluster), "", 0, 0, NULL,
     "all first members: name=http://host:port,... (default: this one alone)"},
    {"initial-cluster-state", CHOICE, IDENTITY, AT(initial_cluster_state), "new", 0, 0,
     "new|existing", "start a cluster, or join one"},
    {"initial-cluster-token", TEXT, IDENTITY, AT(initial_cluster_token), "etcd-cluster", 0, 0, NULL,
     "mixed into the ids, so that two clusters never meet"},
    {"heartbeat-interval", MILLIS, REPLICATION, AT(heartbeat_ms), "100", 1, 10000, NULL,
     "between a leader's heartbeats"},
    {"election-timeout", MILLIS, REPLICATION, AT(election_ms), "1000", 10, 50000, NULL,
     "without a leader before an election; at least 5 heartbeats"},
    {"snapshot-count", COUNT, REPLICATION, AT(snapshot_count), "10000", 1, 100000000, NULL,
     "entries after which old log may go"},
    {"snapshot-catchup-entries", COUNT, REPLICATION, AT(snapshot_catchup_entries), "5000", 1,
     100000000, NULL, "entries kept for slow followers"},
    {"max-inflight-msgs", COUNT, REPLICATION, AT(max_inflight_msgs), "512", 1, 65536, NULL,
     "append messages in flight per follower; 1 is stop and wait"},
    {"sync-timeout", DURATION, REPLICATION, AT(sync_timeout_ns), "0s", 0, 60 * RT_SECOND, NULL,
     "0: one sync covers all that queued; more: a sync for every entry, and this is its deadline"},
    {"wal-io", CHOICE, REPLICATION, AT(wal_io), "auto", 0, 0, "auto|direct|buffered",
     "how the log is written"},
    {"wal-segment-bytes", BYTES, REPLICATION, AT(wal_segment_bytes), "67108864", 1 << 20, 4 * GIB,
     NULL, "size of one file of the log"},
    {"max-request-bytes", BYTES, LIMITS, AT(max_request_bytes), "1572864", 1024, 64 << 20, NULL,
     "largest request"},
    {"max-txn-ops", COUNT, LIMITS, AT(max_txn_ops), "128", 1, 100000, NULL,
     "most operations in a transaction"},
    {"quota-backend-bytes", BYTES, LIMITS, AT(quota_backend_bytes), "0", INT64_MIN, INT64_MAX, NULL,
     "database size at which writes are refused; 0: 2 GiB, negative: no limit"},
    {"watch-progress-notify-interval", DURATION, LIMITS, AT(watch_progress_notify_ns), "10m",
     100 * 1000000, INT64_MAX, NULL, "between progress notes on an idle watch"},
    {"poller", CHOICE, RUNTIME, AT(poller), "auto", 0, 0, "auto|uring|epoll",
     "how goroutines wait for sockets"},
    {"maxprocs", COUNT, RUNTIME, AT(maxprocs), "0", 0, 1024, NULL,
     "processors that run goroutines; 0: all CPUs"},
    {"preempt", SWITCH, RUNTIME, AT(preempt), "true", 0, 0, NULL,
     "interrupt goroutines that run longer than a slice"},
    {"log-level", CHOICE, RUNTIME, AT(log_level), "info", 0, 0, "debug|info|warn|error",
     "least level that is logged"},
};
enum { FLAGS = sizeof(flags) / sizeof(flags[0]) };

/* etcd's names that change nothing here: taken, with a warning. */
static const char *const without_effect[] = {
    "auto-compaction-batch-limit",
    "backend-batch-interval",
    "backend-batch-limit",
    "backend-bbolt-freelist-type",
    "bcrypt-cost",
    "bootstrap-defrag-threshold-megabytes",
    "compaction-batch-limit",
    "compaction-sleep-interval",
    "compact-hash-check-enabled",
    "compact-hash-check-time",
    "cors",
    "debug",
    "downgrade-check-time",
    "enable-distributed-tracing",
    "enable-grpc-gateway",
    "enable-lease-checkpoint",
    "enable-lease-checkpoint-persist",
    "enable-log-rotation",
    "enable-pprof",
    "enable-v2",
    "feature-gates",
    "grpc-keepalive-interval",
    "grpc-keepalive-min-time",
    "grpc-keepalive-timeout",
    "host-whitelist",
    "initial-corrupt-check",
    "initial-election-tick-advance",
    "log-format",
    "log-output",
    "log-outputs",
    "log-package-levels",
    "log-rotation-config-json",
    "logger",
    "max-concurrent-streams",
    "max-learners",
    "max-snapshots",
    "max-wals",
    "memory-mlock",
    "metrics",
    "pre-vote",
    "proxy",
    "raft-read-timeout",
    "raft-write-timeout",
    "socket-reuse-address",
    "socket-reuse-port",
    "stop-grpc-service-on-defrag",
    "strict-reconfig-check",
    "txn-mode-write-with-shared-buffer",
    "v2-deprecation",
    "warning-apply-duration",
    "warning-unary-request-duration",
};
/* etcd's names that promise something kvd does not give yet: refused. */
static const struct {
    const char *name, *why;
} not_yet[] = {
#define TLS "TLS is not built yet; put a TLS proxy in front or leave it out"
    {"cert-file", TLS},
    {"key-file", TLS},
    {"client-cert-auth", TLS},
    {"trusted-ca-file", TLS},
    {"auto-tls", TLS},
    {"client-cert-file", TLS},
    {"client-key-file", TLS},
    {"client-crl-file", TLS},
    {"client-cert-allowed-hostname", TLS},
    {"peer-cert-file", TLS},
    {"peer-key-file", TLS},
    {"peer-client-cert-auth", TLS},
    {"peer-trusted-ca-file", TLS},
    {"peer-client-cert-file", TLS},
    {"peer-client-key-file", TLS},
    {"peer-skip-client-san-verification", TLS},
    {"peer-auto-tls", TLS},
    {"peer-crl-file", TLS},
    {"peer-cert-allowed-cn", TLS},
    {"peer-cert-allowed-hostname", TLS},
    {"cipher-suites", TLS},
    {"tls-min-version", TLS},
    {"tls-max-version", TLS},
    {"self-signed-cert-validity", TLS},
#undef TLS
    {"auth-token", "authentication is not built yet"},
    {"auth-token-ttl", "authentication is not built yet"},
    {"auto-compaction-mode", "automatic compaction is not built yet; run kvctl compaction"},
    {"auto-compaction-retention", "automatic compaction is not built yet; run kvctl compaction"},
    {"discovery", "discovery is not built yet; set --initial-cluster"},
    {"discovery-srv", "discovery is not built yet; set --initial-cluster"},
    {"discovery-token", "discovery is not built yet; set --initial-cluster"},
    {"config-file", "configuration files are not built yet; set flags or KVD_ variables"},
    {"force-new-cluster", "disaster recovery by this flag is not built yet"},
    {"unsafe-no-fsync", "kvd never acknowledges what is not durable"},
    {"listen-client-http-urls",
     "HTTP is served on the client URLs; a listener of its own is not built yet"},
    {"corrupt-check-time", "corruption checks are not built yet; compare kvctl endpoint hashkv"},
};

static const struct flag *find_flag(const char *name)
{
    for (size_t i = 0; i < FLAGS; i++)
        if (strcmp(flags[i].name, name) == 0)
            return &flags[i];
    return NULL;
}

/* Why a name of etcd's is refused, or NULL. */
static const char *why_not_yet(const char *name)
{
    for (size_t i = 0; i < sizeof(not_yet) / sizeof(not_yet[0]); i++)
        if (strcmp(not_yet[i].name, name) == 0)
            return not_yet[i].why;
    return NULL;
}

static bool is_without_effect(const char *name)
{
    for (size_t i = 0; i < sizeof(without_effect) / sizeof(without_effect[0]); i++)
        if (strcmp(without_effect[i], name) == 0)
            return true;
    return false;
}

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

static const char *nearest(const char *name)
{
    const char *best = NULL;
    unsigned least = 4; // further away is no help
    for (size_t i = 0; i < FLAGS; i++) {
        unsigned d = distance(name, flags[i].name);
        if (d < least) {
            least = d;
            best = flags[i].name;
        }
    }
    return best;
}

static bool is_choice(const char *choices, const char *text)
{
    size_t text_len = strlen(text);
    for (const char *c = choices;;) {
        size_t len = strcspn(c, "|");
        if (len == text_len && memcmp(c, text, len) == 0)
            return true;
        if (!c[len])
            return false;
        c += len + 1;
    }
}

static int parse_switch(const char *text, bool *out)
{
    static const char *const yes[] = {"true", "1", "t", "T", "TRUE", "True"};
    static const char *const no[] = {"false", "0", "f", "F", "FALSE", "False"};
    for (size_t i = 0; i < 6; i++) {
        bool is_yes = strcmp(text, yes[i]) == 0;
        if (is_yes || strcmp(text, no[i]) == 0) {
            *out = is_yes;
            return 0;
        }
    }
    return -EINVAL;
}

static const char *const units[] = {
    [TEXT] = "",   [COUNT] = "", [BYTES] = "bytes", [MILLIS] = "ms", [DURATION] = "duration",
    [SWITCH] = "", [CHOICE] = ""};

/* Put `text` into the field of `flag`. `where` says where it was set. False with why. */
static bool assign(const struct flag *flag, const char *text, const char *where,
                   struct kvd_flags *out, struct why *why)
{
    void *field = (char *)out + flag->offset;
    int64_t number = 0;
    switch (flag->kind) {
    case TEXT:
        *(const char **)field = text;
        return true;
    case CHOICE:
        if (!is_choice(flag->choices, text)) {
            why_set(why, "%s: \"%s\" is none of %s", where, text, flag->choices);
            return false;
        }
        *(const char **)field = text;
        return true;
    case SWITCH:
        if (parse_switch(text, field)) {
            why_set(why, "%s: \"%s\" is neither true nor false", where, text);
            return false;
        }
        return true;
    case DURATION:
        if (rt_parse_duration(text, &number)) {
            why_set(why, "%s: \"%s\" is not a duration such as 5ms, 1.5s or 2m", where, text);
            return false;
        }
        break;
    case COUNT:
    case BYTES:
    case MILLIS:
        if (rt_parse_i64(text, &number)) {
            why_set(why, "%s: \"%s\" is not a whole number", where, text);
            return false;
        }
        break;
    }
    if (number < flag->min || number > flag->max) {
        if (flag->kind == DURATION) {
            char low[32], high[32];
            why_set(why, "%s: %s is out of range: from %s to %s", where, text,
                    rt_format_duration(flag->min, low), rt_format_duration(flag->max, high));
        } else {
            why_set(why, "%s: %s is out of range: from %" PRId64 " to %" PRId64 "%s%s", where, text,
                    flag->min, flag->max, *units[flag->kind] ? " " : "", units[flag->kind]);
        }
        return false;
    }
    *(int64_t *)field = number;
    return true;
}

static void show_help(struct rt_string *text)
{
    rt_string_printf(
        text, "kvd serves a replicated key-value store that etcd's clients understand.\n\n"
              "Usage: kvd [--flag value]...\n\nExamples:\n"
              "  kvd                                       # one member, data in default.kvd\n"
              "  kvd --name m1 --data-dir /var/lib/kvd --listen-client-urls http://0.0.0.0:2379 "
              "--advertise-client-urls http://10.0.0.1:2379\n"
              "  KVD_LOG_LEVEL=debug kvd --max-inflight-msgs 1 --sync-timeout 5ms\n");
    for (int g = 0; g < GROUPS; g++) {
        rt_string_printf(text, "\n%s:\n", group_titles[g]);
        for (size_t i = 0; i < FLAGS; i++) {
            const struct flag *f = &flags[i];
            if ((int)f->group != g)
                continue;
            char head[96];
            snprintf(head, sizeof head, "--%s%s%s", f->name, f->choices ? " " : "",
                     f->choices ? f->choices : "");
            rt_string_printf(text, "  %-38s %s", head, f->help);
            if (*f->standard && *units[f->kind] && f->kind != DURATION)
                rt_string_printf(text, " (default %s %s)", f->standard, units[f->kind]);
            else if (*f->standard)
                rt_string_printf(text, " (default %s)", f->standard);
            rt_string_printf(text, "\n");
        }
    }
    rt_string_printf(
        text, "\nEvery flag may be set as KVD_NAME or ETCD_NAME in the environment, with - as _.\n"
              "  --version                              print the version\n"
              "  --help                                 print this\n");
}

/* "KVD_" or "ETCD_" + NAME of a flag, in `buf`. */
static const char *env_name(const char *prefix, const char *flag, char *buf, size_t cap)
{
    int n = snprintf(buf, cap, "%s", prefix);
    assert(n > 0);
    size_t at = (size_t)n;
    for (; *flag && at + 1 < cap; flag++)
        buf[at++] = (char)(*flag == '-' ? '_' : *flag >= 'a' && *flag <= 'z' ? *flag - 32 : *flag);
    buf[at] = 0;
    return buf;
}

static const char *env_value(char **env, const char *name)
{
    size_t len = strlen(name);
    for (; env && *env; env++)
        if (strncmp(*env, name, len) == 0 && (*env)[len] == '=')
            return *env + len + 1;
    return NULL;
}

/* The variable that sets `flag`, its name in `name`; NULL when there is none. An empty one does not count. */
static const char *env_of(char **env, const char *flag, char *name, size_t cap)
{
    static const char *const prefixes[] = {"KVD_", "ETCD_"};
    for (size_t p = 0; p < 2; p++) {
        const char *value = env_value(env, env_name(prefixes[p], flag, name, cap));
        if (value && *value)
            return value;
    }
    return NULL;
}

static bool read_environment(char **env, const bool *set, struct kvd_flags *out, struct why *why)
{
    char name[96];
    for (size_t i = 0; i < FLAGS; i++) {
        const char *value = env_of(env, flags[i].name, name, sizeof name);
        if (value && set[i]) {
            why_set(why,
                    "conflicting environment variable \"%s\" is shadowed by corresponding "
                    "command-line flag "
                    "(either unset environment variable or disable flag)",
                    name);
            return false;
        }
        if (value && !assign(&flags[i], value, name, out, why))
            return false;
    }
    return true;
}

/* Whoever asks by a variable for what kvd cannot give is told so, as on the command line. */
static bool read_foreign_environment(char **env, struct rt_string *warnings, struct why *why)
{
    char name[96];
    for (size_t i = 0; i < sizeof(not_yet) / sizeof(not_yet[0]); i++)
        if (env_of(env, not_yet[i].name, name, sizeof name)) {
            why_set(why, "%s: %s", name, not_yet[i].why);
            return false;
        }
    for (size_t i = 0; i < sizeof(without_effect) / sizeof(without_effect[0]); i++)
        if (env_of(env, without_effect[i], name, sizeof name))
            rt_string_printf(warnings, "%s has no effect in kvd\n", name);
    return true;
}

/* A name that is no flag of ours. True when it was dealt with by a warning. */
static bool tolerate(const char *name, struct rt_string *warnings, struct why *why)
{
    const char *refusal = why_not_yet(name);
    if (refusal) {
        why_set(why, "--%s: %s", name, refusal);
        return false;
    }
    if (is_without_effect(name)) {
        rt_string_printf(warnings, "--%s has no effect in kvd\n", name);
        return true;
    }
    const char *near = nearest(name);
    if (near)
        why_set(why, "unknown flag --%s: did you mean --%s? (kvd --help lists all)", name, near);
    else
        why_set(why, "unknown flag --%s (kvd --help lists all)", name);
    return false;
}

static bool read_arguments(int argc, char **argv, bool *set, struct rt_arena *arena,
                           struct kvd_flags *out, struct rt_string *warnings, struct why *why)
{
    for (int i = 1; i < argc; i++) {
        const char *arg = argv[i];
        if (arg[0] != '-' || !arg[1]) {
            why_set(why, "\"%s\" is no flag: kvd takes only flags (kvd --help lists them)", arg);
            return false;
        }
        arg += arg[1] == '-' ? 2 : 1;
        size_t name_len = strcspn(arg, "=");
        char *name = rt_arena_printf(arena, "%.*s", (int)name_len, arg);
        if (strncmp(name, "experimental-", 13) == 0)
            name += 13;
        const char *value = arg[name_len] ? arg + name_len + 1 : NULL;
        const struct flag *flag = find_flag(name);
        if (!flag) {
            if (!tolerate(name, warnings, why))
                return false;
            if (!value && i + 1 < argc && argv[i + 1][0] != '-')
                i++; // its value
            continue;
        }
        if (!value && flag->kind == SWITCH)
            value = "true";
        if (!value && ++i == argc) {
            why_set(why, "--%s needs a value", name);
            return false;
        }
        char where[96];
        snprintf(where, sizeof where, "--%s", name);
        if (!assign(flag, value ? value : argv[i], where, out, why))
            return false;
        set[flag - flags] = true;
    }
    return true;
}

enum kvd_flags_verdict kvd_flags_read(int argc, char **argv, char **env, struct rt_arena *arena,
                                      struct kvd_flags *out, struct rt_string *text,
                                      struct rt_string *warnings, struct why *why)
{
    bool set[FLAGS] = {false};
    for (int i = 1; i < argc; i++) {
        const char *arg = argv[i];
        if (strcmp(arg, "--help") == 0 || strcmp(arg, "-h") == 0 || strcmp(arg, "-help") == 0) {
            show_help(text);
            return KVD_FLAGS_SHOWN;
        }
        if (strcmp(arg, "--version") == 0 || strcmp(arg, "-version") == 0) {
            rt_string_printf(text, "kvd Version: %s\nAPI: etcd 3.6\n", KVD_VERSION);
            return KVD_FLAGS_SHOWN;
        }
    }
    for (size_t i = 0; i < FLAGS; i++) {
        bool ok = assign(&flags[i], flags[i].standard, flags[i].name, out, why);
        assert(ok);
    }
    if (!read_arguments(argc, argv, set, arena, out, warnings, why) ||
        !read_environment(env, set, out, why) || !read_foreign_environment(env, warnings, why))
        return KVD_FLAGS_WRONG;
    if (out->election_ms < 5 * out->heartbeat_ms) {
        why_set(why,
                "--election-timeout %" PRId64
                " ms must be at least 5 times --heartbeat-interval %" PRId64 " ms",
                out->election_ms, out->heartbeat_ms);
        return KVD_FLAGS_WRONG;
    }
    if (!*out->data_dir)
        out->data_dir = rt_arena_printf(arena, "%s.kvd", out->name);
    return KVD_FLAGS_RUN;
}
