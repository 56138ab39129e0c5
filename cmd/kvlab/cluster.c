/* cmd/kvlab/cluster.c: starting, watching and ending members. */
#include "cmd/kvlab/cluster.h"
#include "cmd/kvlab/run_tool.h"
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <rt/file.h>
#include <rt/go.h>
#include <rt/net.h>
#include <rt/parse.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

enum { START_MS = 45000, END_MS = 10000, TAIL_LINES = 10, TAIL_BYTES = 256 << 10 };

/* ---- Ports ---- */

/* Ports that are free now: all are held at once, so that they differ, and then let go. */
static bool choose_addresses(struct cluster *c, bool metrics, struct why *why)
{
    enum { EACH = 3 };
    struct rt_listener *held[EACH * CLUSTER_MEMBERS_MAX];
    uint32_t count = 0;
    bool ok = true;
    for (uint32_t i = 0; i < EACH * c->count && ok; i++) {
        struct member *m = &c->members[i / EACH];
        char *const places[EACH] = {m->endpoint, m->peer, m->metrics};
        if (i % EACH == 2 && !metrics)
            continue;
        ok = rt_listen("127.0.0.1:0", &held[count], why) == 0;
        if (ok)
            snprintf(places[i % EACH], sizeof m->peer, "%s", rt_listener_address(held[count++]));
    }
    while (count)
        rt_listener_close(held[--count]);
    return ok;
}

/* ---- Processes ---- */

static void watch_member(void *arg)
{
    struct member *m = arg;
    int status = -1;
    rt_wait_child(m->child, RT_FOREVER, &status);
    m->status = status;
    if (!atomic_load(&m->cluster->stopping)) {
        atomic_store(&m->ended, true);
        atomic_store(&m->cluster->broken, true);
    }
    rt_note_set(&m->gone);
}

static bool make_folders(struct cluster *c, struct why *why)
{
    char words[64];
    int err = rt_mkdir(c->folder, 0755);
    if (err)
        why_set(why, "cannot make %s: %s", c->folder, why_errno(err, words, sizeof words));
    return err == 0;
}

static void list_cluster(const struct cluster *c, struct rt_string *out)
{
    for (uint32_t i = 0; i < c->count; i++)
        rt_string_printf(out, "%s%s=http://%s", i ? "," : "", c->members[i].name,
                         c->members[i].peer);
}

static bool spawn_member(struct member *m, const struct cluster_spec *spec, const char *all,
                         struct why *why)
{
    struct cluster *c = m->cluster;
    char client_url[96], peer_url[96], metrics_url[96], procs[32];
    const char *argv[CLUSTER_FLAGS_MAX + 24];
    const char *envp[256];
    int n = 0, e = 0;
    snprintf(client_url, sizeof client_url, "http://%s", m->endpoint);
    snprintf(peer_url, sizeof peer_url, "http://%s", m->peer);
    const char *const words[] = {
        c->is_etcd ? (c->lab->options->etcd ? c->lab->options->etcd : "etcd") : c->lab->kvd,
        "--name",
        m->name,
        "--data-dir",
        m->data_path,
        "--listen-client-urls",
        client_url,
        "--advertise-client-urls",
        client_url,
        "--listen-peer-urls",
        peer_url,
        "--initial-advertise-peer-urls",
        peer_url,
        "--initial-cluster",
        all};
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        argv[n++] = words[i];
    for (int i = 0; spec->flags && spec->flags[i]; i++) {
        assert(i < CLUSTER_FLAGS_MAX);
        argv[n++] = spec->flags[i];
    }
    snprintf(metrics_url, sizeof metrics_url, "http://%s", m->metrics);
    if (*m->metrics) {
        argv[n++] = "--listen-metrics-urls";
        argv[n++] = metrics_url;
    }
    argv[n] = NULL;
    for (char **old = environ; *old && e < 250; old++)
        if (!spec->procs || strncmp(*old, "KVD_MAXPROCS=", 13) != 0)
            envp[e++] = *old;
    snprintf(procs, sizeof procs, "KVD_MAXPROCS=%d", spec->procs);
    if (spec->procs)
        envp[e++] = procs;
    envp[e] = NULL;
    struct rt_command command = {
        .argv = argv, .envp = envp, .stdout_path = m->log_path, .stderr_path = m->log_path};
    if (leftovers_spawn(&c->lab->leftovers, &command, &m->child, why))
        return false;
    if (rt_go("member-watcher", watch_member, m) == 0) // ends when the member has
        return true;
    why_set(why, "no goroutine to watch a member");
    int status;
    rt_kill(m->child, SIGKILL);
    rt_wait_child(m->child, RT_FOREVER, &status);
    rt_note_set(&m->gone);
    return false;
}

/* ---- A member that ended ---- */

static const char *next_line(const char *line)
{
    line += strcspn(line, "\n");
    return line + (*line == '\n');
}

static bool line_has(const char *line, const char *words)
{
    const char *at = strstr(line, words);
    return at && at < line + strcspn(line, "\n");
}

const char *log_end(const char *text, int lines)
{
    enum { NEAR = 4 }; // an error so many screens back has nothing to do with the end
    static const char dump[] = "goroutines:\n"; // behind the last words of a dying process
    const char *died = NULL, *error = NULL, *words = text, *at;
    int since_error = 0;
    for (at = text; *at; at = next_line(at), since_error++) {
        if (line_has(at, "\"level\":\"error\"") || line_has(at, "\"level\":\"fatal\"")) {
            error = at;
            since_error = 0;
        }
        if (strncmp(at, dump, sizeof dump - 1) == 0)
            died = words;
        if (*at != '\n')
            words = at;
    }
    if (died)
        return died;
    if (error && since_error <= NEAR * lines)
        return error;
    for (at -= at > text && at[-1] == '\n'; at > text; at--)
        if (at[-1] == '\n' && --lines == 0)
            break;
    return at;
}

/* Up to TAIL_LINES lines, on stderr and as a table of the section that runs, long ones broken. */
static void show_end(struct lab *lab, const struct member *m, const char *end)
{
    enum { WIDTH = 200 }; // bytes that a cell shows whole
    static const struct column columns[] = {{"line", "", false, 0}};
    struct report *r = &lab->report;
    const char *log = strrchr(m->log_path, '/') + 1;
    struct table *t = NULL;
    if (r->last)
        t = report_table(r, r->last, rt_arena_printf(&r->arena, "%s-end", m->cluster->name),
                         rt_arena_printf(&r->arena, "The end of %s, member %s of %s", log, m->name,
                                         m->cluster->name),
                         columns, 1);
    progress_clear(lab);
    for (int line = 0; *end && line < TAIL_LINES; line++, end = next_line(end)) {
        size_t len = strcspn(end, "\n");
        fprintf(stderr, "%s: %.*s\n", log, (int)len, end);
        for (size_t from = 0; t && from < len && t->row_count < TABLE_ROWS_MAX; from += WIDTH)
            table_row(r, t)[0] = cell_text(rt_arena_printf(
                &r->arena, "%.*s", (int)(len - from < WIDTH ? len - from : WIDTH), end + from));
    }
}

static void tell_end(struct cluster *c, const struct member *m, struct why *why)
{
    enum { QUOTED = 360 }; // of the line, so that all fits
    char *text = rt_alloc(TAIL_BYTES);
    file_tail(m->log_path, INT32_MAX, text, TAIL_BYTES);
    const char *end = log_end(text, TAIL_LINES);
    if (!c->told)
        show_end(c->lab, m, end);
    c->told = true;
    size_t len = strcspn(end, "\n");
    why_set(why, "member %s of %s ended with status %d; the end of %s:\n%.*s", m->name, c->name,
            m->status, strrchr(m->log_path, '/') + 1, (int)(len < QUOTED ? len : QUOTED), end);
    rt_free(text);
}

bool cluster_is_whole(struct cluster *c, struct why *why)
{
    if (!atomic_load(&c->broken))
        return true;
    for (uint32_t i = 0; i < c->count; i++)
        if (atomic_load(&c->members[i].ended)) {
            tell_end(c, &c->members[i], why);
            return false;
        }
    return true;
}

/* ---- Health ---- */

static bool answers(struct member *m, struct why *why)
{
    int64_t revision;
    if (!m->client.grpc && client_dial(m->endpoint, &m->client, why))
        return false;
    if (client_revision(&m->client, &revision, why) == 0)
        return true;
    client_close(&m->client);
    return false;
}

static bool wait_healthy(struct cluster *c, struct why *why)
{
    int64_t deadline = rt_after_ns(START_MS * RT_MS);
    for (uint32_t i = 0; i < c->count; i++)
        while (!answers(&c->members[i], why)) {
            if (!cluster_is_whole(c, why))
                return false;
            if (!c->is_ours || rt_now_ns() > deadline || lab_is_stopped(c->lab)) {
                if (c->is_ours)
                    why_prefix(why, "%s does not become healthy", c->name);
                return false;
            }
            rt_sleep_ns(50 * RT_MS);
        }
    return true;
}

bool cluster_find_leader(struct cluster *c, struct why *why)
{
    int64_t deadline = rt_after_ns(10 * RT_SECOND);
    struct rt_arena arena;
    rt_arena_init(&arena);
    bool found = false;
    do {
        for (uint32_t i = 0; i < c->count && !found; i++) {
            Etcdserverpb__StatusResponse *s;
            if (client_status(&c->members[i].client, &arena, &s, why) == 0 && s->leader &&
                s->leader == s->header->member_id) {
                c->leader = i;
                found = true;
            }
        }
        if (!found)
            rt_sleep_ns(50 * RT_MS);
    } while (!found && rt_now_ns() < deadline && !atomic_load(&c->broken));
    rt_arena_deinit(&arena);
    if (!found && cluster_is_whole(c, why))
        why_set(why, "%s: none of the endpoints is the leader (name all members)", c->name);
    return found;
}

/* ---- Life ---- */

static struct cluster *cluster_new(struct lab *lab, const struct cluster_spec *spec)
{
    struct cluster *c = rt_alloc_zero(sizeof *c);
    c->lab = lab;
    c->is_etcd = spec->is_etcd;
    c->is_ours = spec->own || spec->is_etcd || lab->options->endpoint_count == 0;
    c->count = c->is_ours ? spec->members : lab->options->endpoint_count;
    assert(c->count > 0);
    assert(c->count <= CLUSTER_MEMBERS_MAX);
    snprintf(c->name, sizeof c->name, "%s", c->is_ours ? spec->name : "the cluster");
    snprintf(c->folder, sizeof c->folder, "%s/members/%s", lab->folder, spec->name);
    for (uint32_t i = 0; i < c->count; i++) {
        struct member *m = &c->members[i];
        m->cluster = c;
        snprintf(m->name, sizeof m->name, "m%u", i + 1);
        snprintf(m->log_path, sizeof m->log_path, "%s/members/%s/m%u.log", lab->folder, spec->name,
                 i + 1);
        snprintf(m->data_path, sizeof m->data_path, "%s/members/%s/m%u", lab->folder, spec->name,
                 i + 1);
        if (!c->is_ours)
            snprintf(m->endpoint, sizeof m->endpoint, "%s", lab->options->endpoints[i]);
    }
    return c;
}

static bool spawn_all(struct cluster *c, const struct cluster_spec *spec, struct why *why)
{
    struct rt_string all = {0};
    if (!make_folders(c, why) || !choose_addresses(c, spec->metrics, why))
        return false;
    list_cluster(c, &all);
    bool ok = true;
    for (uint32_t i = 0; i < c->count && ok; i++)
        ok = spawn_member(&c->members[i], spec, rt_string_cstr(&all), why);
    rt_string_deinit(&all);
    return ok;
}

/* The knobs in force, for run.json; also finds whether the server has any. */
static void note_settings(struct cluster *c, const struct cluster_spec *spec)
{
    struct rt_string *out = &c->lab->settings;
    struct rt_arena arena;
    Kvdpb__KnobListResponse *knobs;
    struct why absent; // etcd has none
    rt_arena_init(&arena);
    c->has_insight = client_knobs(&cluster_leader(c)->client, &arena, &knobs, &absent) == 0;
    rt_string_printf(
        out,
        "%s\n    {\"name\": \"%s\", \"members\": %u, \"ours\": %s, \"maxprocs\": %d, \"flags\": [",
        out->len ? "," : "", spec->name, c->count, c->is_ours ? "true" : "false", spec->procs);
    for (int i = 0; spec->flags && spec->flags[i]; i++)
        rt_string_printf(out, "%s\"%s\"", i ? ", " : "", spec->flags[i]);
    rt_string_printf(out, "], \"knobs\": {");
    for (size_t i = 0; c->has_insight && i < knobs->n_knobs; i++)
        rt_string_printf(out, "%s\"%s\": \"%s\"", i ? ", " : "", knobs->knobs[i]->name,
                         knobs->knobs[i]->value);
    rt_string_printf(out, "}}");
    rt_arena_deinit(&arena);
}

struct cluster *cluster_start(struct lab *lab, const struct cluster_spec *spec, struct why *why)
{
    struct cluster *c = cluster_new(lab, spec);
    if ((!c->is_ours || spawn_all(c, spec, why)) && wait_healthy(c, why) &&
        cluster_find_leader(c, why)) {
        note_settings(c, spec);
        return c;
    }
    cluster_stop(c);
    return NULL;
}

static void end_members(struct cluster *c)
{
    atomic_store(&c->stopping, true);
    for (uint32_t i = 0; i < c->count; i++)
        if (c->members[i].child)
            rt_kill(c->members[i].child, SIGTERM); // it may have ended already
    int64_t deadline = rt_after_ns(END_MS * RT_MS);
    for (uint32_t i = 0; i < c->count; i++) {
        struct member *m = &c->members[i];
        if (!m->child)
            continue;
        if (rt_note_wait(&m->gone, deadline)) {
            rt_kill(m->child, SIGKILL);
            rt_note_wait(&m->gone, RT_FOREVER);
        }
        leftovers_child_free(&c->lab->leftovers, m->child);
    }
}

/* A cluster that is not ours gets its knobs back, newest first, and our keys go. */
static void leave_as_found(struct cluster *c)
{
    struct why why;
    for (uint32_t i = c->saved_count; i-- > 0;) {
        struct saved_knob *s = &c->saved[i];
        if (client_set_knob(&c->members[s->member].client, s->name, s->value, NULL, 0, &why))
            fprintf(stderr, "kvlab: cannot put back %s=%s: %s\n", s->name, s->value, why.text);
        else
            leftovers_knob_back(&c->lab->leftovers, c->members[s->member].endpoint, s->name);
    }
    if (c->members[c->leader].client.grpc &&
        client_delete_range(&c->members[c->leader].client, RT_BYTES("kvlab/"), RT_BYTES("kvlab0"),
                            &why))
        fprintf(stderr, "kvlab: cannot remove the keys under kvlab/: %s\n", why.text);
}

void cluster_stop(struct cluster *c)
{
    if (!c)
        return;
    if (!c->is_ours)
        leave_as_found(c);
    for (uint32_t i = 0; i < c->count; i++)
        client_close(&c->members[i].client);
    if (c->is_ours) {
        end_members(c);
        for (uint32_t i = 0; i < c->count && !c->lab->options->keep_data; i++)
            file_remove_tree(c->members[i].data_path);
    }
    rt_free(c);
}

/* ---- Knobs ---- */

/* Only what the user had before us counts, so a knob is saved once. */
static void save(struct cluster *c, uint32_t member, const char *knob, const char *value)
{
    for (uint32_t i = 0; i < c->saved_count; i++)
        if (c->saved[i].member == member && strcmp(c->saved[i].name, knob) == 0)
            return;
    if (c->saved_count == CLUSTER_SAVED_MAX)
        return;
    struct saved_knob *s = &c->saved[c->saved_count++];
    s->member = member;
    snprintf(s->name, sizeof s->name, "%s", knob);
    snprintf(s->value, sizeof s->value, "%s", value);
    leftovers_knob_turned(&c->lab->leftovers, c->members[member].endpoint, knob, value);
}

bool cluster_set_at(struct cluster *c, uint32_t member, const char *knob, const char *value,
                    struct why *why)
{
    char previous[40];
    if (!c->has_insight) {
        why_set(why, "%s has no knobs to set (it is not kvd, or an older one)", c->name);
        return false;
    }
    if (client_set_knob(&c->members[member].client, knob, value, previous, sizeof previous, why)) {
        struct why dead;
        if (!cluster_is_whole(c, &dead))
            *why = dead;
        return false;
    }
    if (!c->is_ours)
        save(c, member, knob, previous);
    return true;
}

bool cluster_set(struct cluster *c, const char *knob, const char *value, struct why *why)
{
    for (uint32_t i = 0; i < c->count; i++)
        if (!cluster_set_at(c, i, knob, value, why))
            return false;
    return true;
}

/* ---- Resources ---- */

uint64_t member_resident_bytes(const struct member *m)
{
    char path[64], text[2048], number[24];
    int64_t kib = 0;
    if (!m->child)
        return 0;
    snprintf(path, sizeof path, "/proc/%" PRId64 "/status", rt_child_pid(m->child));
    if (file_text(path, text, sizeof text) < 0)
        return 0;
    const char *at = strstr(text, "VmRSS:");
    if (!at)
        return 0;
    at += 6;
    at += strspn(at, " \t");
    snprintf(number, sizeof number, "%.*s", (int)strspn(at, "0123456789"), at);
    return rt_parse_i64(number, &kib) ? 0 : (uint64_t)kib * 1024;
}

double member_cpu_s(const struct member *m)
{
    enum { UTIME = 14, HZ = 100 }; // fields of proc(5); USER_HZ is 100 on Linux
    char path[64], text[1024], number[24];
    int64_t ticks, sum = 0;
    if (!m->child)
        return 0;
    snprintf(path, sizeof path, "/proc/%" PRId64 "/stat", rt_child_pid(m->child));
    if (file_text(path, text, sizeof text) < 0)
        return 0;
    const char *at = strrchr(text, ')');
    for (int field = 2; at && field < UTIME + 2; field++) {
        if (field >= UTIME) {
            snprintf(number, sizeof number, "%.*s", (int)strcspn(at, " "), at);
            sum += rt_parse_i64(number, &ticks) ? 0 : ticks;
        }
        at = strchr(at, ' ');
        at += at != NULL;
    }
    return (double)sum / HZ;
}
