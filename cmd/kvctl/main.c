/* cmd/kvctl/main.c: the client. Finds the command and the options of all commands; the rest of the words
 * are the command's. stdout is for results, stderr for everything else. */
#include "cmd/kvctl/kvctl.h"
#include "rt/go.h"
#include "rt/parse.h"
#include <stdio.h>
#include <unistd.h>

static const struct command {
    const char *name;
    int (*run)(struct kvctl *k);
    const char *help;
} commands[] = {
    {"get", command_get, "read keys"},
    {"put", command_put, "write a key"},
    {"del", command_del, "delete keys"},
    {"txn", command_txn, "compare, then do one of two things, atomically"},
    {"compaction", command_compaction, "forget the history before a revision"},
    {"watch", command_watch, "follow changes"},
    {"lease grant", command_lease_grant, "make a lease"},
    {"lease revoke", command_lease_revoke, "end a lease and delete its keys"},
    {"lease timetolive", command_lease_timetolive, "what remains of a lease"},
    {"lease list", command_lease_list, "all leases"},
    {"lease keep-alive", command_lease_keep_alive, "renew a lease, again and again"},
    {"endpoint health", command_endpoint_health, "is each endpoint able to serve"},
    {"endpoint status", command_endpoint_status, "what each endpoint says about itself"},
    {"endpoint hashkv", command_endpoint_hashkv, "a hash of what each endpoint stores"},
    {"member list", command_member_list, "who belongs to the cluster"},
    {"alarm list", command_alarm_list, "active alarms"},
    {"alarm disarm", command_alarm_disarm, "clear all alarms"},
    {"latency", command_latency, "where the time of puts goes, stage by stage"},
    {"knob list", command_knob_list, "what can be changed while members run"},
    {"knob get", command_knob_get, "one of them"},
    {"knob set", command_knob_set, "change one, on every endpoint"},
    {"move-leader", command_move_leader, "hand leadership to a member"},
    {"debug goroutines", command_debug_goroutines, "every goroutine of a member, with its stack"},
    {"debug trace", command_debug_trace, "what a member's processors and threads do, as a file"},
    {"debug leaks", command_debug_leaks, "goroutines that pile up"},
};
enum { COMMANDS = sizeof(commands) / sizeof(commands[0]) };

static void show_help(FILE *to)
{
    fprintf(to, "kvctl talks to kvd, and to anything else that speaks etcd's v3 API.\n\n"
                "Usage: kvctl [options] <command> [words]\n\nExamples:\n"
                "  kvctl put greeting hello\n"
                "  kvctl --endpoints 10.0.0.1:2379,10.0.0.2:2379 get --prefix gree -w json\n"
                "  kvctl watch --prefix \"\" --rev 1\n\nCommands:\n");
    for (int i = 0; i < COMMANDS; i++)
        fprintf(to, "  %-18s %s\n", commands[i].name, commands[i].help);
    fprintf(to, "  %-18s %s\n", "version", "print the version");
    fprintf(to, "\nReach the cluster:\n"
                "  --endpoints LIST       host:port,... (default 127.0.0.1:2379)\n"
                "  --dial-timeout D       to connect (default 2s)\n"
                "  --command-timeout D    for one call (default 5s)\n"
                "\nOutput:\n"
                "  -w, --write-out FORM   simple, json, fields or table (default simple)\n"
                "  --hex                  print keys and values as \\x..\n"
                "\nEach may be set as KVCTL_NAME or ETCDCTL_NAME in the environment. kvctl "
                "<command> --help tells more.\n");
}

/* Options of all commands; they may stand anywhere. */
struct common {
    const char *endpoints, *write_out;
};

static const char *env_of(const char *name)
{
    static const char *const prefixes[] = {"KVCTL_", "ETCDCTL_"};
    for (int p = 0; p < 2; p++)
        for (char **e = environ; *e; e++) {
            size_t plen = strlen(prefixes[p]), nlen = strlen(name);
            if (strncmp(*e, prefixes[p], plen) == 0 && strncmp(*e + plen, name, nlen) == 0 &&
                (*e)[plen + nlen] == '=')
                return *e + plen + nlen + 1;
        }
    return NULL;
}

static bool set_common(struct kvctl *k, struct common *c, const char *name, const char *value)
{
    if (strcmp(name, "endpoints") == 0)
        c->endpoints = value;
    else if (strcmp(name, "write-out") == 0)
        c->write_out = value;
    else if (rt_parse_duration(value, strcmp(name, "dial-timeout") == 0 ? &k->dial_timeout_ns
                                                                        : &k->command_timeout_ns))
        return kvctl_over(k, KVCTL_BAD_ARGS,
                          "invalid argument \"%s\" for \"--%s\": it takes a duration such as 5s",
                          value, name);
    return true;
}

static const char *const valued[] = {"endpoints", "write-out", "dial-timeout", "command-timeout"};
static const char *const env_names[] = {"ENDPOINTS", "WRITE_OUT", "DIAL_TIMEOUT",
                                        "COMMAND_TIMEOUT"};
/* etcdctl's options that ask for nothing here (true), or for what is not built (false). */
static const struct {
    const char *name;
    bool harmless, has_value;
} others[] = {
    {"debug", true, false},
    {"insecure-transport", true, false},
    {"insecure-discovery", true, false},
    {"keepalive-time", true, true},
    {"keepalive-timeout", true, true},
    {"insecure-skip-tls-verify", false, false},
    {"cert", false, true},
    {"key", false, true},
    {"cacert", false, true},
    {"user", false, true},
    {"password", false, true},
    {"discovery-srv", false, true},
    {"discovery-srv-name", false, true},
};

/* One word: taken (1), not a common option (0), or wrong (-1, printed). */
static int take_common(struct kvctl *k, struct common *c, char **argv, int argc, int *at)
{
    const char *word = argv[*at];
    bool is_w = word[0] == '-' && word[1] == 'w';
    const char *name = is_w ? "write-out" : word + 2;
    size_t len = is_w ? strlen(name) : strcspn(name, "=");
    const char *value = is_w        ? (word[2] ? word + 2 + (word[2] == '=') : NULL)
                        : name[len] ? name + len + 1
                                    : NULL;
    if (!is_w && strncmp(word, "--", 2) != 0)
        return 0;
    if (len == 3 && strncmp(name, "hex", 3) == 0) {
        k->hex = true;
        return 1;
    }
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
        if (strlen(others[i].name) == len && strncmp(others[i].name, name, len) == 0) {
            if (!others[i].harmless) {
                kvctl_over(k, KVCTL_BAD_ARGS,
                           "--%s: TLS, authentication and discovery are not built yet",
                           others[i].name);
                return -1;
            }
            *at += others[i].has_value && !value;
            return 1;
        }
    for (int i = 0; i < 4; i++)
        if (strlen(valued[i]) == len && strncmp(valued[i], name, len) == 0) {
            if (!value && *at + 1 == argc) {
                kvctl_over(k, KVCTL_BAD_ARGS, "--%s needs a value", valued[i]);
                return -1;
            }
            return set_common(k, c, valued[i], value ? value : argv[++*at]) ? 1 : -1;
        }
    return 0;
}

static bool split_endpoints(struct kvctl *k, const char *list)
{
    k->endpoint_count = 0;
    while (*list) {
        size_t len = strcspn(list, ",");
        if (k->endpoint_count == KVCTL_ENDPOINTS_MAX)
            return kvctl_over(k, KVCTL_BAD_ARGS, "more than %d endpoints", KVCTL_ENDPOINTS_MAX);
        if (len)
            k->endpoints[k->endpoint_count++] = rt_arena_printf(&k->arena, "%.*s", (int)len, list);
        list += list[len] ? len + 1 : len;
    }
    return k->endpoint_count ? true : kvctl_over(k, KVCTL_BAD_ARGS, "no endpoint is given");
}

static bool read_common(struct kvctl *k, int argc, char **argv)
{
    static const char *const formats[] = {"simple", "json", "fields", "table"};
    struct common c = {.endpoints = "127.0.0.1:2379", .write_out = "simple"};
    for (int i = 0; i < 4; i++) {
        const char *value = env_of(env_names[i]);
        if (value && *value && !set_common(k, &c, valued[i], value))
            return false;
    }
    k->unread = rt_arena_alloc(&k->arena, (size_t)argc * sizeof *k->unread);
    bool only_words = false;
    for (int i = 1; i < argc; i++) {
        only_words |= strcmp(argv[i], "--") == 0;
        int taken = only_words ? 0 : take_common(k, &c, argv, argc, &i);
        if (taken < 0)
            return false;
        if (!taken)
            k->unread[k->unread_count++] = argv[i];
    }
    for (int f = 0; f < 4; f++)
        if (strcmp(c.write_out, formats[f]) == 0) {
            k->format = (enum kvctl_format)f;
            return split_endpoints(k, c.endpoints);
        }
    return kvctl_over(k, KVCTL_BAD_ARGS,
                      "unsupported output format \"%s\": there are simple, json, fields and table",
                      c.write_out);
}

/* The command that the first one or two words name. */
static const struct command *find_command(const struct kvctl *k, int *words)
{
    for (int i = 0; i < COMMANDS; i++) {
        const char *name = commands[i].name, *space = strchr(name, ' ');
        size_t first = space ? (size_t)(space - name) : strlen(name);
        *words = space ? 2 : 1;
        if (k->unread_count >= *words && strlen(k->unread[0]) == first &&
            strncmp(k->unread[0], name, first) == 0 &&
            (!space || strcmp(k->unread[1], space + 1) == 0))
            return &commands[i];
    }
    return NULL;
}

static int unknown_command(const struct kvctl *k)
{
    const char *word = k->unread[0];
    fprintf(stderr, "Error: unknown command \"%s%s%s\" for \"kvctl\"\n", word,
            k->unread_count > 1 ? " " : "", k->unread_count > 1 ? k->unread[1] : "");
    for (int i = 0; i < COMMANDS; i++)
        if (strncmp(commands[i].name, word, 2) == 0)
            fprintf(stderr, "  did you mean: kvctl %s\n", commands[i].name);
    fprintf(stderr, "Run 'kvctl --help' for usage.\n");
    return KVCTL_BAD_ARGS;
}

struct run {
    struct kvctl *k;
    const struct command *command;
};

static int run_command(void *arg)
{
    struct run *r = arg;
    int status = r->command->run(r->k);
    kvctl_hang_up(r->k);
    return status;
}

int main(int argc, char **argv)
{
    struct kvctl *k = rt_alloc_zero(sizeof *k);
    struct why why;
    int words, status = KVCTL_ERROR;
    k->dial_timeout_ns = 2 * RT_SECOND;
    k->command_timeout_ns = 5 * RT_SECOND;
    rt_arena_init(&k->arena);
    rt_arena_init(&k->answers);
    if (!read_common(k, argc, argv))
        return k->exit;
    const char *first = k->unread_count ? k->unread[0] : "";
    if (!*first || strcmp(first, "--help") == 0 || strcmp(first, "-h") == 0 ||
        strcmp(first, "help") == 0) {
        show_help(*first ? stdout : stderr);
        return *first ? KVCTL_OK : KVCTL_BAD_ARGS;
    }
    if (strcmp(first, "version") == 0 || strcmp(first, "--version") == 0) {
        printf("kvctl version: %s\nAPI version: 3.6\n", KVD_VERSION);
        return KVCTL_OK;
    }
    struct run r = {.k = k, .command = find_command(k, &words)};
    if (!r.command)
        return unknown_command(k);
    k->command = r.command->name;
    k->unread += words;
    k->unread_count -= words;
    if (rt_run(&(struct rt_options){.procs = 1}, run_command, &r, &status, &why))
        return kvctl_fail(KVCTL_ERROR, "%s", why.text);
    rt_string_deinit(&k->out);
    rt_arena_deinit(&k->answers);
    rt_arena_deinit(&k->arena);
    rt_free(k);
    return status;
}
