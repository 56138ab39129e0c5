/* cmd/kvctl/cluster.c: endpoint health, status and hashkv; member list; alarms; move-leader. */
#include "cmd/kvctl/kvctl.h"
#include "proto/kvd.pb-c.h"
#include "rt/parse.h"
#include <inttypes.h>
#include <stdio.h>

static const struct rt_string nothing;

bool kvctl_use_cluster(struct kvctl *k)
{
    Etcdserverpb__MemberListResponse *r;
    k->exit = kvctl_call(k, "/etcdserverpb.Cluster/MemberList", &nothing,
                         &etcdserverpb__member_list_response__descriptor, &r);
    if (k->exit)
        return false;
    k->endpoint_count = 0;
    for (size_t i = 0; i < r->n_members; i++)
        for (size_t j = 0;
             j < r->members[i]->n_clienturls && k->endpoint_count < KVCTL_ENDPOINTS_MAX; j++)
            k->endpoints[k->endpoint_count++] = r->members[i]->clienturls[j];
    return true;
}

static bool read_words(struct kvctl *k, const struct option *options, uint32_t count,
                       const bool *cluster, const char *usage)
{
    return kvctl_options(k, options, count, 0, 0, usage) && (!*cluster || kvctl_use_cluster(k));
}

/* One row of cells for print_table, in the arena. */
static const char **add_row(const char ***rows, uint32_t columns, uint32_t *count, struct kvctl *k)
{
    const char **grown = rt_arena_alloc(&k->arena, (size_t)(*count + 1) * columns * sizeof *grown);
    if (*count)
        memcpy(grown, *rows, (size_t)*count * columns * sizeof *grown);
    *rows = grown;
    return &grown[(size_t)(*count)++ * columns];
}

static void json_open(struct kvctl *k, uint32_t n) { rt_string_printf(&k->out, n ? "," : "["); }

int command_endpoint_health(struct kvctl *k)
{
    static const char *const head[] = {"ENDPOINT", "HEALTH", "TOOK", "ERROR"};
    bool cluster = false;
    const struct option options[] = {
        {"cluster", 0, OPTION_SWITCH, &cluster, "all members of the cluster"}};
    if (!read_words(k, options, 1, &cluster, "endpoint health [options]"))
        return k->exit;
    struct rt_string request = {0};
    field_add_text(&request, 1, "health");
    const char **rows = NULL;
    uint32_t sick = 0, count = 0;
    for (uint32_t i = 0; i < k->endpoint_count; i++) {
        Etcdserverpb__RangeResponse *r;
        struct grpc_status status;
        char took[32];
        int64_t began_ns = rt_now_ns();
        bool well = kvctl_call_at(k, k->endpoints[i], "/etcdserverpb.KV/Range", &request,
                                  &etcdserverpb__range_response__descriptor, &r, &status) == 0;
        rt_format_duration(rt_now_ns() - began_ns, took);
        sick += !well;
        if (k->format == FORMAT_JSON) {
            json_open(k, i);
            rt_string_printf(&k->out, "{\"endpoint\":");
            print_json_text(&k->out, k->endpoints[i], strlen(k->endpoints[i]));
            rt_string_printf(&k->out, ",\"health\":%s,\"took\":\"%s\"", well ? "true" : "false",
                             took);
            if (!well) {
                rt_string_printf(&k->out, ",\"error\":");
                print_json_text(&k->out, status.text, strlen(status.text));
            }
            rt_string_printf(&k->out, "}");
        } else if (k->format == FORMAT_FIELDS) {
            rt_string_printf(
                &k->out,
                "\"Endpoint\" : \"%s\"\n\"Health\" : %s\n\"Took\" : \"%s\"\n\"Error\" : \"%s\"\n\n",
                k->endpoints[i], well ? "true" : "false", took, well ? "" : status.text);
        } else if (k->format == FORMAT_TABLE) {
            const char **cells = add_row(&rows, 4, &count, k);
            cells[0] = k->endpoints[i];
            cells[1] = well ? "true" : "false";
            cells[2] = rt_arena_printf(&k->arena, "%s", took);
            cells[3] = well ? "" : rt_arena_printf(&k->arena, "%s", status.text);
        } else if (well) {
            rt_string_printf(&k->out, "%s is healthy: successfully committed proposal: took = %s\n",
                             k->endpoints[i], took);
        } else {
            fprintf(stderr, "%s is unhealthy: failed to commit proposal: %s\n", k->endpoints[i],
                    status.text);
        }
    }
    rt_string_deinit(&request);
    if (k->format == FORMAT_JSON)
        rt_string_printf(&k->out, "]\n");
    if (k->format == FORMAT_TABLE)
        print_table(&k->out, head, 4, rows, count);
    int exit = kvctl_flush(k);
    return sick ? kvctl_fail(KVCTL_ERROR, "unhealthy cluster") : exit;
}

/* Bytes as etcdctl's table has them: "20 kB", "1.5 MB". */
static const char *human_bytes(struct kvctl *k, int64_t bytes)
{
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB"};
    double value = (double)bytes;
    unsigned unit = 0;
    while (value >= 1000 && unit < 4) {
        value /= 1000;
        unit++;
    }
    return rt_arena_printf(&k->arena, unit && value < 10 ? "%.1f %s" : "%.0f %s", value,
                           units[unit]);
}

/* ---- The knobs in force: asked for beside the status, whose answer stays etcd's ---- */

/* What a member's knobs are set to; NULL from a server that has none, as etcd. */
static const Kvdpb__KnobListResponse *ask_knobs(struct kvctl *k, const char *endpoint)
{
    Kvdpb__KnobListResponse *r;
    struct grpc_status status;
    if (kvctl_call_at(k, endpoint, "/kvdpb.Insight/KnobList", &nothing,
                      &kvdpb__knob_list_response__descriptor, &r, &status) == 0)
        return r;
    if (status.code != GRPC_UNIMPLEMENTED)
        fprintf(stderr, "The knobs of endpoint %s are not known (%s)\n", endpoint, status.text);
    return NULL;
}

static void knobs_json(struct kvctl *k, const Kvdpb__KnobListResponse *r)
{
    rt_string_printf(&k->out, ",\"Knobs\":{");
    for (size_t i = 0; i < r->n_knobs; i++) {
        rt_string_printf(&k->out, i ? "," : "");
        print_json_text(&k->out, r->knobs[i]->name, strlen(r->knobs[i]->name));
        rt_string_printf(&k->out, ":");
        print_json_text(&k->out, r->knobs[i]->value, strlen(r->knobs[i]->value));
    }
    rt_string_printf(&k->out, "}");
}

static void knobs_simple(struct kvctl *k, const Kvdpb__KnobListResponse *r)
{
    for (size_t i = 0; i < r->n_knobs; i++)
        rt_string_printf(&k->out, "%s%s=%s", i ? " " : ", ", r->knobs[i]->name, r->knobs[i]->value);
}

static void knobs_fields(struct kvctl *k, const Kvdpb__KnobListResponse *r)
{
    for (size_t i = 0; i < r->n_knobs; i++)
        rt_string_printf(&k->out, "\"Knob %s\" : \"%s\"\n", r->knobs[i]->name, r->knobs[i]->value);
}

static const char *knob_value(const Kvdpb__KnobListResponse *r, const char *name)
{
    for (size_t i = 0; r && i < r->n_knobs; i++)
        if (strcmp(r->knobs[i]->name, name) == 0)
            return r->knobs[i]->value;
    return "";
}

/* A row a knob, a column a member: a line of all knobs would be too wide to read. At most KNOB_TABLE_MEMBERS
 * members, which answered. */
enum { KNOB_TABLE_MEMBERS = 7 };
static void knobs_table(struct kvctl *k, const char *const *endpoints,
                        const Kvdpb__KnobListResponse *const *members, uint32_t count)
{
    const Kvdpb__KnobListResponse *names = NULL;
    const char *head[KNOB_TABLE_MEMBERS + 1] = {"KNOB"};
    for (uint32_t i = 0; i < count; i++) {
        head[i + 1] = endpoints[i];
        if (!names || (members[i] && members[i]->n_knobs > names->n_knobs))
            names = members[i];
    }
    if (!names || !names->n_knobs)
        return;
    const char **rows = NULL;
    uint32_t row_count = 0;
    for (size_t n = 0; n < names->n_knobs; n++) {
        const char **cells = add_row(&rows, count + 1, &row_count, k);
        cells[0] = names->knobs[n]->name;
        for (uint32_t i = 0; i < count; i++)
            cells[i + 1] = knob_value(members[i], names->knobs[n]->name);
    }
    print_table(&k->out, head, count + 1, rows, row_count);
}

/* ---- endpoint status ---- */

static void status_cells(struct kvctl *k, const char *endpoint,
                         const Etcdserverpb__StatusResponse *r, const char **cells)
{
    struct rt_string errors = {0};
    for (size_t i = 0; i < r->n_errors; i++)
        rt_string_printf(&errors, "%s%s", i ? ", " : "", r->errors[i]);
    uint64_t id = r->header ? r->header->member_id : 0;
    cells[0] = endpoint;
    cells[1] = rt_arena_printf(&k->arena, "%" PRIx64, id);
    cells[2] = r->version;
    cells[3] = human_bytes(k, r->dbsize);
    cells[4] = id == r->leader ? "true" : "false";
    cells[5] = r->islearner ? "true" : "false";
    cells[6] = rt_arena_printf(&k->arena, "%" PRIu64, r->raftterm);
    cells[7] = rt_arena_printf(&k->arena, "%" PRIu64, r->raftindex);
    cells[8] = rt_arena_printf(&k->arena, "%" PRIu64, r->raftappliedindex);
    cells[9] = rt_arena_printf(&k->arena, "%s", rt_string_cstr(&errors));
    rt_string_deinit(&errors);
}

static void status_fields(struct kvctl *k, const char *endpoint,
                          const Etcdserverpb__StatusResponse *r,
                          const Kvdpb__KnobListResponse *knobs)
{
    print_fields_header(&k->out, r->header);
    rt_string_printf(&k->out,
                     "\"Version\" : \"%s\"\n\"DBSize\" : %" PRId64 "\n\"DBSizeInUse\" : %" PRId64
                     "\n\"DBSizeQuota\" : %" PRId64 "\n\"Leader\" : %" PRIu64
                     "\n\"IsLearner\" : %s\n\"RaftIndex\" : %" PRIu64 "\n\"RaftTerm\" : %" PRIu64
                     "\n\"RaftAppliedIndex\" : %" PRIu64 "\n",
                     r->version, r->dbsize, r->dbsizeinuse, r->dbsizequota, r->leader,
                     r->islearner ? "true" : "false", r->raftindex, r->raftterm,
                     r->raftappliedindex);
    for (size_t i = 0; i < r->n_errors; i++)
        rt_string_printf(&k->out, "\"Error\" : \"%s\"\n", r->errors[i]);
    if (knobs)
        knobs_fields(k, knobs);
    rt_string_printf(&k->out, "\"Endpoint\" : \"%s\"\n\n", endpoint);
}

int command_endpoint_status(struct kvctl *k)
{
    enum { COLUMNS = 10 };
    static const char *const head[COLUMNS] = {"ENDPOINT",  "ID",         "VERSION",
                                              "DB SIZE",   "IS LEADER",  "IS LEARNER",
                                              "RAFT TERM", "RAFT INDEX", "RAFT APPLIED INDEX",
                                              "ERRORS"};
    bool cluster = false;
    const struct option options[] = {
        {"cluster", 0, OPTION_SWITCH, &cluster, "all members of the cluster"}};
    if (!read_words(k, options, 1, &cluster, "endpoint status [options]"))
        return k->exit;
    const char **rows = NULL, *answered[KVCTL_ENDPOINTS_MAX];
    const Kvdpb__KnobListResponse *knobs[KVCTL_ENDPOINTS_MAX];
    uint32_t failed = 0, count = 0, shown = 0;
    for (uint32_t i = 0; i < k->endpoint_count; i++) {
        Etcdserverpb__StatusResponse *r;
        struct grpc_status status;
        if (kvctl_call_at(k, k->endpoints[i], "/etcdserverpb.Maintenance/Status", &nothing,
                          &etcdserverpb__status_response__descriptor, &r, &status)) {
            fprintf(stderr, "Failed to get the status of endpoint %s (%s)\n", k->endpoints[i],
                    status.text);
            failed++;
            continue;
        }
        const Kvdpb__KnobListResponse *set = ask_knobs(k, k->endpoints[i]);
        if (k->format == FORMAT_JSON) {
            json_open(k, shown++);
            rt_string_printf(&k->out, "{\"Endpoint\":");
            print_json_text(&k->out, k->endpoints[i], strlen(k->endpoints[i]));
            rt_string_printf(&k->out, ",\"Status\":");
            print_json_message(&k->out, &r->base);
            if (set)
                knobs_json(k, set);
            rt_string_printf(&k->out, "}");
        } else if (k->format == FORMAT_FIELDS) {
            status_fields(k, k->endpoints[i], r, set);
        } else {
            answered[count] = k->endpoints[i];
            knobs[count] = set;
            const char **cells = add_row(&rows, COLUMNS, &count, k);
            status_cells(k, k->endpoints[i], r, cells);
            if (k->format == FORMAT_SIMPLE) {
                for (uint32_t c = 0; c < COLUMNS; c++)
                    rt_string_printf(&k->out, "%s%s", c ? ", " : "", cells[c]);
                if (set)
                    knobs_simple(k, set);
                rt_string_printf(&k->out, "\n");
            }
        }
    }
    if (k->format == FORMAT_JSON)
        rt_string_printf(&k->out, shown ? "]\n" : "[]\n");
    if (k->format == FORMAT_TABLE) {
        print_table(&k->out, head, COLUMNS, rows, count);
        for (uint32_t i = 0; i < count; i += KNOB_TABLE_MEMBERS)
            knobs_table(k, &answered[i], &knobs[i],
                        count - i < KNOB_TABLE_MEMBERS ? count - i : KNOB_TABLE_MEMBERS);
    }
    int exit = kvctl_flush(k);
    return failed ? KVCTL_ERROR : exit;
}

int command_endpoint_hashkv(struct kvctl *k)
{
    static const char *const head[] = {"ENDPOINT", "HASH", "HASH REVISION"};
    bool cluster = false;
    int64_t rev = 0;
    const struct option options[] = {
        {"cluster", 0, OPTION_SWITCH, &cluster, "all members of the cluster"},
        {"rev", 0, OPTION_INT, &rev, "of the store at this revision"}};
    if (!read_words(k, options, 2, &cluster, "endpoint hashkv [options]"))
        return k->exit;
    struct rt_string request = {0};
    field_add_int(&request, 1, rev);
    const char **rows = NULL;
    uint32_t failed = 0, count = 0, shown = 0;
    for (uint32_t i = 0; i < k->endpoint_count; i++) {
        Etcdserverpb__HashKVResponse *r;
        struct grpc_status status;
        if (kvctl_call_at(k, k->endpoints[i], "/etcdserverpb.Maintenance/HashKV", &request,
                          &etcdserverpb__hash_kvresponse__descriptor, &r, &status)) {
            fprintf(stderr, "Failed to get the hash of endpoint %s (%s)\n", k->endpoints[i],
                    status.text);
            failed++;
            continue;
        }
        if (k->format == FORMAT_JSON) {
            json_open(k, shown++);
            rt_string_printf(&k->out, "{\"Endpoint\":");
            print_json_text(&k->out, k->endpoints[i], strlen(k->endpoints[i]));
            rt_string_printf(&k->out, ",\"HashKV\":");
            print_json_message(&k->out, &r->base);
            rt_string_printf(&k->out, "}");
        } else if (k->format == FORMAT_FIELDS) {
            print_fields_header(&k->out, r->header);
            rt_string_printf(&k->out,
                             "\"Endpoint\" : \"%s\"\n\"Hash\" : %" PRIu32
                             "\n\"HashRevision\" : %" PRId64 "\n\n",
                             k->endpoints[i], r->hash, r->hash_revision);
        } else if (k->format == FORMAT_TABLE) {
            const char **cells = add_row(&rows, 3, &count, k);
            cells[0] = k->endpoints[i];
            cells[1] = rt_arena_printf(&k->arena, "%" PRIu32, r->hash);
            cells[2] = rt_arena_printf(&k->arena, "%" PRId64, r->hash_revision);
        } else {
            rt_string_printf(&k->out, "%s, %" PRIu32 ", %" PRId64 "\n", k->endpoints[i], r->hash,
                             r->hash_revision);
        }
    }
    rt_string_deinit(&request);
    if (k->format == FORMAT_JSON)
        rt_string_printf(&k->out, shown ? "]\n" : "[]\n");
    if (k->format == FORMAT_TABLE)
        print_table(&k->out, head, 3, rows, count);
    int exit = kvctl_flush(k);
    return failed ? KVCTL_ERROR : exit;
}

static const char *joined(struct kvctl *k, char *const *texts, size_t count)
{
    const char *all = "";
    for (size_t i = 0; i < count; i++)
        all = rt_arena_printf(&k->arena, "%s%s%s", all, i ? "," : "", texts[i]);
    return all;
}

static void member_fields(struct kvctl *k, const Etcdserverpb__MemberListResponse *r)
{
    print_fields_header(&k->out, r->header);
    for (size_t i = 0; i < r->n_members; i++) {
        const Etcdserverpb__Member *m = r->members[i];
        rt_string_printf(&k->out, "\"ID\" : %" PRIu64 "\n\"Name\" : \"%s\"\n", m->id, m->name);
        for (size_t j = 0; j < m->n_peerurls; j++)
            rt_string_printf(&k->out, "\"PeerURL\" : \"%s\"\n", m->peerurls[j]);
        for (size_t j = 0; j < m->n_clienturls; j++)
            rt_string_printf(&k->out, "\"ClientURL\" : \"%s\"\n", m->clienturls[j]);
        rt_string_printf(&k->out, "\"IsLearner\" : %s\n\n", m->islearner ? "true" : "false");
    }
}

int command_member_list(struct kvctl *k)
{
    enum { COLUMNS = 6 };
    static const char *const head[COLUMNS] = {"ID",         "STATUS",       "NAME",
                                              "PEER ADDRS", "CLIENT ADDRS", "IS LEARNER"};
    const char *consistency = "l";
    const struct option options[] = {{"consistency", 0, OPTION_TEXT, &consistency,
                                      "l (linearizable, the default) or s (serializable)"}};
    if (!kvctl_options(k, options, 1, 0, 0, "member list [options]"))
        return k->exit;
    if (strcmp(consistency, "l") != 0 && strcmp(consistency, "s") != 0)
        return kvctl_fail(KVCTL_BAD_INPUT, "bad consistency \"%s\"", consistency);
    struct rt_string request = {0};
    Etcdserverpb__MemberListResponse *r;
    field_add_uint(&request, 1, consistency[0] == 'l');
    int status = kvctl_call(k, "/etcdserverpb.Cluster/MemberList", &request,
                            &etcdserverpb__member_list_response__descriptor, &r);
    rt_string_deinit(&request);
    if (status)
        return status;
    const char **rows = NULL;
    uint32_t count = 0;
    for (size_t i = 0; i < r->n_members; i++) {
        const Etcdserverpb__Member *m = r->members[i];
        const char **cells = add_row(&rows, COLUMNS, &count, k);
        cells[0] = rt_arena_printf(&k->arena, "%" PRIx64, m->id);
        cells[1] = *m->name ? "started" : "unstarted";
        cells[2] = m->name;
        cells[3] = joined(k, m->peerurls, m->n_peerurls);
        cells[4] = joined(k, m->clienturls, m->n_clienturls);
        cells[5] = m->islearner ? "true" : "false";
    }
    if (k->format == FORMAT_JSON) {
        print_json_line(k, &r->base);
    } else if (k->format == FORMAT_FIELDS) {
        member_fields(k, r);
    } else if (k->format == FORMAT_TABLE) {
        print_table(&k->out, head, COLUMNS, rows, count);
    } else {
        for (uint32_t i = 0; i < count * COLUMNS; i++)
            rt_string_printf(&k->out, "%s%s", rows[i], (i + 1) % COLUMNS ? ", " : "\n");
    }
    return kvctl_flush(k);
}

static const char *alarm_name(int type)
{
    return type == ETCDSERVERPB__ALARM_TYPE__NOSPACE   ? "NOSPACE"
           : type == ETCDSERVERPB__ALARM_TYPE__CORRUPT ? "CORRUPT"
                                                       : "NONE";
}

static int alarm_call(struct kvctl *k, int action, uint64_t member, int type,
                      Etcdserverpb__AlarmResponse **r)
{
    struct rt_string request = {0};
    field_add_uint(&request, 1, (uint64_t)action);
    field_add_uint(&request, 2, member);
    field_add_uint(&request, 3, (uint64_t)type);
    int status = kvctl_call(k, "/etcdserverpb.Maintenance/Alarm", &request,
                            &etcdserverpb__alarm_response__descriptor, r);
    rt_string_deinit(&request);
    return status;
}

static void print_alarms(struct kvctl *k, const Etcdserverpb__AlarmResponse *r)
{
    if (k->format == FORMAT_JSON) {
        print_json_line(k, &r->base);
        return;
    }
    if (k->format == FORMAT_FIELDS)
        print_fields_header(&k->out, r->header);
    for (size_t i = 0; i < r->n_alarms; i++)
        rt_string_printf(&k->out,
                         k->format == FORMAT_FIELDS ? "\"MemberID\" : %" PRIu64
                                                      "\n\"AlarmType\" : \"%s\"\n\n"
                                                    : "memberID:%" PRIu64 " alarm:%s \n",
                         r->alarms[i]->memberid, alarm_name((int)r->alarms[i]->alarm));
}

int command_alarm_list(struct kvctl *k)
{
    Etcdserverpb__AlarmResponse *r;
    if (!kvctl_options(k, NULL, 0, 0, 0, "alarm list"))
        return k->exit;
    int status = alarm_call(k, ETCDSERVERPB__ALARM_REQUEST__ALARM_ACTION__GET, 0,
                            ETCDSERVERPB__ALARM_TYPE__NONE, &r);
    if (status)
        return status;
    print_alarms(k, r);
    return kvctl_flush(k);
}

int command_alarm_disarm(struct kvctl *k)
{
    Etcdserverpb__AlarmResponse *all, *r;
    if (!kvctl_options(k, NULL, 0, 0, 0, "alarm disarm"))
        return k->exit;
    int status = alarm_call(k, ETCDSERVERPB__ALARM_REQUEST__ALARM_ACTION__GET, 0,
                            ETCDSERVERPB__ALARM_TYPE__NONE, &all);
    for (size_t i = 0; status == 0 && i < all->n_alarms; i++) {
        status = alarm_call(k, ETCDSERVERPB__ALARM_REQUEST__ALARM_ACTION__DEACTIVATE,
                            all->alarms[i]->memberid, (int)all->alarms[i]->alarm, &r);
        if (status == 0)
            print_alarms(k, r);
    }
    int exit = kvctl_flush(k);
    return status ? status : exit;
}

int command_move_leader(struct kvctl *k)
{
    uint64_t to;
    if (!kvctl_options(k, NULL, 0, 1, 1, "move-leader <member id>"))
        return k->exit;
    if (rt_parse_hex(k->args[0], &to))
        return kvctl_fail(
            KVCTL_BAD_ARGS,
            "bad member id \"%s\": it is a hexadecimal number, as member list prints it",
            k->args[0]);
    for (uint32_t i = 0; i < k->endpoint_count; i++) {
        Etcdserverpb__StatusResponse *r;
        Etcdserverpb__MoveLeaderResponse *moved;
        struct grpc_status status;
        if (kvctl_call_at(k, k->endpoints[i], "/etcdserverpb.Maintenance/Status", &nothing,
                          &etcdserverpb__status_response__descriptor, &r, &status) ||
            !r->header || r->header->member_id != r->leader)
            continue;
        struct rt_string request = {0};
        field_add_uint(&request, 1, to);
        int code =
            kvctl_call_at(k, k->endpoints[i], "/etcdserverpb.Maintenance/MoveLeader", &request,
                          &etcdserverpb__move_leader_response__descriptor, &moved, &status);
        rt_string_deinit(&request);
        if (code)
            return kvctl_fail(KVCTL_ERROR, "%s", status.text);
        rt_string_printf(&k->out, "Leadership transferred from %" PRIx64 " to %" PRIx64 "\n",
                         r->leader, to);
        return kvctl_flush(k);
    }
    return kvctl_fail(KVCTL_BAD_ARGS, "none of the endpoints is the leader's");
}
