/* tests/raft/test_interaction.c: whole clusters, in etcd's conversations with them: each command's log
 * lines, readies and messages must come out byte for byte. What these files cannot see is in the other
 * tests here. */
#include "tests/raft/nodes.h"
#include <strings.h>

static uint64_t id_of(const char *s)
{
    uint64_t id = strtoull(s, NULL, 10);
    assert(id > 0);
    return id;
}

static bool is_number(const char *s) { return *s && strspn(s, "0123456789") == strlen(s); }

static void read_conf(const struct directive *d, struct raft_conf_state *conf)
{
    const struct arg *voters = find_arg(d, "voters"), *learners = find_arg(d, "learners");
    for (size_t i = 0; voters && i < voters->count; i++) {
        uint64_t id = id_of(voters->value[i]);
        assert(conf->voters.count == 0 || conf->voters.id[conf->voters.count - 1] < id);
        conf->voters.id[conf->voters.count++] = id;
    }
    for (size_t i = 0; learners && i < learners->count; i++)
        conf->learners.id[conf->learners.count++] = id_of(learners->value[i]);
}

static uint64_t number_arg(const struct directive *d, const char *key, uint64_t otherwise)
{
    const struct arg *a = find_arg(d, key);
    return a ? strtoull(a->value[0], NULL, 10) : otherwise;
}

static void add_node(struct env *env, const struct directive *d)
{
    struct node *n = calloc(1, sizeof(*n));
    struct raft_conf_state conf = {0};
    uint64_t index = number_arg(d, "index", 0);
    const char *content = find_arg(d, "content") ? find_arg(d, "content")->value[0] : "";
    struct raft_config config = {.election_ticks = 3,
                                 .heartbeat_ticks = 1,
                                 .max_size_per_msg = UINT64_MAX,
                                 .log_level = RAFT_DEBUG,
                                 .apply_unstable = true};
    assert(env->nodes < NODES_MAX);
    assert(n);
    n->id = config.id = env->nodes + 1;
    n->async = arg_is(d, "async-storage-writes", "true");
    disk_init(&n->disk);
    n->disk.random = n->id;
    n->disk.log_line = env_log;
    n->disk.log_ctx = env;
    read_conf(d, &conf);
    if (conf.voters.count || conf.learners.count || index || *content) {
        assert(index > 1);
        n->disk.start = index;
        n->disk.start_term = 1;
        config.conf = conf;
        config.applied = index;
        disk_set_newest(&n->disk, index, 1, &conf, content, strlen(content));
    }
    config.apply_unstable = !n->async;
    config.max_inflight_msgs = number_arg(d, "inflight", INT32_MAX);
    config.pre_vote = arg_is(d, "prevote", "true");
    config.check_quorum = arg_is(d, "checkquorum", "true");
    config.step_down_on_removal = arg_is(d, "step-down-on-removal", "true");
    config.skip_conf_validation = arg_is(d, "disable-conf-change-validation", "true");
    config.read_only = arg_is(d, "read-only", "lease-based") ? RAFT_READ_LEASE : RAFT_READ_SAFE;
    config.max_apply_bytes = number_arg(d, "max-committed-size-per-ready", 0);
    env->node[env->nodes++] = n;
    int err = raft_new(&n->disk.env, &config, &n->r);
    assert(err == 0);
}

static void put_error(struct env *env, int err)
{
    switch (err) {
    case 0:
        break;
    case RAFT_LOCAL_MESSAGE:
    case RAFT_UNKNOWN_PEER:
        str_printf(env->out, "raft: %s", raft_error_text(err));
        break;
    default:
        str_put(env->out, "raft proposal dropped");
    }
}

static void propose(struct env *env, struct node *n, enum raft_entry_kind kind, const void *bytes,
                    size_t len)
{
    struct block *b = len ? block_new(&n->disk, bytes, len) : NULL;
    struct raft_entry e = {
        .kind = (uint8_t)kind, .data = b ? b->bytes : NULL, .len = (uint32_t)len, .block = b};
    put_error(env, raft_propose(n->r, &e, 1, NULL));
    if (b)
        disk_unref(&n->disk, b);
}

static void propose_conf_change(struct env *env, struct node *n, const struct directive *d)
{
    struct raft_conf_change cc = {0};
    uint8_t bytes[1024];
    bool v1 = arg_is(d, "v1", "true");
    parse_ops(d->input, &cc);
    if (arg_is(d, "transition", "explicit"))
        cc.transition = RAFT_TRANSITION_EXPLICIT;
    if (arg_is(d, "transition", "implicit"))
        cc.transition = RAFT_TRANSITION_IMPLICIT;
    propose(env, n, v1 ? RAFT_ENTRY_CONF_CHANGE : RAFT_ENTRY_CONF_CHANGE_V2, bytes,
            raft_conf_change_encode(&cc, bytes, sizeof(bytes)));
}

/* ---- Delivering */

static void put_flying_text(struct str *out, const struct flying *f)
{
    if (f->kind == NET)
        put_message(out, &f->m);
    else if (f->kind == APPEND_DONE)
        put_append_done(out, f->to, &f->done, f->snapshot);
    else
        put_apply_done(out, f->to, &f->apply);
}

static void release_flying(struct node *n, struct flying *f)
{
    raft_entries_free(&n->disk.env, f->m.entries, f->m.count);
    raft_snapshot_free(&n->disk.env, f->m.snapshot);
    raft_snapshot_free(&n->disk.env, f->snapshot);
    raft_entries_free(&n->disk.env, f->apply.entries, f->apply.count);
}

/* Whose counters the allocations of f went to. */
static struct node *owner_of(struct env *env, const struct flying *f)
{
    return node_of(env, f->kind == NET ? f->m.from : f->to);
}

static bool matches(const struct flying *f, uint64_t to, const char *type)
{
    if (f->to != to)
        return false;
    return !type || (f->kind == NET && strcmp(raft_message_type_text(f->m.type), type) == 0);
}

static void hand_in(struct env *env, struct node *n, struct flying *f)
{
    if (f->kind == NET) {
        int err = raft_step(n->r, &f->m);
        if (err) {
            put_error(env, err);
            str_put(env->out, "\n");
        }
    } else if (f->kind == APPEND_DONE) {
        if (f->snapshot)
            take_snapshot_data(n, f->snapshot);
        raft_append_done(n->r, &f->done);
    } else {
        raft_apply_done(n->r, f->apply.entries[f->apply.count - 1].index, f->apply.size_bytes);
    }
}

static size_t deliver(struct env *env, uint64_t to, const char *type, bool drop)
{
    struct flying *taken = calloc(FLYING_MAX, sizeof(*taken));
    size_t count = 0, kept = 0;
    assert(taken);
    for (size_t i = 0; i < env->flying_count; i++) {
        struct flying *f = &env->flying[i];
        bool local = f->kind != NET || f->m.from == f->m.to;
        if (matches(f, to, type) && !(drop && local))
            taken[count++] = *f;
        else
            env->flying[kept++] = *f;
    }
    env->flying_count = kept;
    for (size_t i = 0; i < count; i++) {
        if (drop)
            str_put(env->out, "dropped: ");
        put_flying_text(env->out, &taken[i]);
        if (!drop)
            hand_in(env, node_of(env, to), &taken[i]);
        release_flying(owner_of(env, &taken[i]), &taken[i]);
    }
    free(taken);
    return count;
}

static void deliver_msgs(struct env *env, const struct directive *d)
{
    const char *type = find_arg(d, "type") ? find_arg(d, "type")->value[0] : NULL;
    size_t n = 0;
    for (size_t i = 0; i < d->args; i++) {
        const struct arg *a = &d->arg[i];
        if (is_number(a->key))
            n += deliver(env, id_of(a->key), type, false);
        for (size_t j = 0; strcmp(a->key, "drop") == 0 && j < a->count; j++)
            n += deliver(env, id_of(a->value[j]), type, true);
    }
    if (n == 0)
        str_put(env->out, "no messages");
}

/* ---- Commands that act on several nodes */

/* The output of one node's part, under a title, indented. */
static void under_title(struct env *env, struct node *n, const char *title,
                        void (*act)(struct env *, struct node *))
{
    struct str inner = {0}, *outer = env->out;
    str_printf(outer, "> %" PRIx64 " %s\n", n->id, title);
    env->out = &inner;
    act(env, n);
    env->out = outer;
    str_indented(outer, &inner);
    str_deinit(&inner);
}

static void receive(struct env *env, struct node *n) { deliver(env, n->id, NULL, false); }

static void all_append_work(struct env *env, struct node *n)
{
    while (n->append_count)
        process_append_thread(env, n);
}

static void all_apply_work(struct env *env, struct node *n)
{
    while (n->apply_count)
        process_apply_thread(env, n);
}

static void each(struct env *env, const struct directive *d, const char *title,
                 void (*act)(struct env *, struct node *))
{
    size_t ids = 0;
    for (size_t i = 0; i < d->args; i++)
        ids += is_number(d->arg[i].key);
    for (size_t i = 0; i < d->args; i++) {
        struct node *n = is_number(d->arg[i].key) ? node_of(env, id_of(d->arg[i].key)) : NULL;
        if (!n)
            continue;
        if (ids > 1)
            under_title(env, n, title, act);
        else
            act(env, n);
    }
}

static bool has_mail(const struct env *env, uint64_t id)
{
    for (size_t i = 0; i < env->flying_count; i++)
        if (env->flying[i].to == id)
            return true;
    return false;
}

static bool stabilize_round(struct env *env, struct node **set, size_t count)
{
    bool did = false;
    for (size_t i = 0; i < count; i++)
        if (raft_has_ready(set[i]->r)) {
            under_title(env, set[i], "handling Ready", process_ready);
            did = true;
        }
    for (size_t i = 0; i < count; i++)
        if (has_mail(env, set[i]->id)) {
            under_title(env, set[i], "receiving messages", receive);
            did = true;
        }
    for (size_t i = 0; i < count; i++)
        if (set[i]->append_count) {
            under_title(env, set[i], "processing append thread", all_append_work);
            did = true;
        }
    for (size_t i = 0; i < count; i++)
        if (set[i]->apply_count) {
            under_title(env, set[i], "processing apply thread", all_apply_work);
            did = true;
        }
    return did;
}

static enum raft_level level_of(const char *s)
{
    static const char *const name[] = {"debug", "info", "warn", "error", "fatal", "none"};
    for (int i = 0; i < 6; i++)
        if (strcasecmp(s, name[i]) == 0)
            return (enum raft_level)i;
    abort();
}

static void stabilize(struct env *env, const struct directive *d)
{
    struct node *set[NODES_MAX];
    enum raft_level before = env->level;
    size_t count = 0;
    for (size_t i = 0; i < d->args; i++)
        if (is_number(d->arg[i].key))
            set[count++] = node_of(env, id_of(d->arg[i].key));
    for (size_t i = 0; count == 0 && i < env->nodes; i++)
        set[i] = env->node[i];
    if (count == 0)
        count = env->nodes;
    if (find_arg(d, "log-level"))
        env->level = level_of(find_arg(d, "log-level")->value[0]);
    while (stabilize_round(env, set, count))
        ;
    if (env->level == RAFT_SILENT)
        str_clear(env->out);
    env->level = before;
}

/* ---- Looking */

static void raft_log(struct env *env, struct node *n)
{
    struct disk *d = &n->disk;
    if (d->count == 0)
        str_printf(env->out, "log is empty: first index=%" PRIu64 ", last index=%" PRIu64,
                   d->start + 1, d->start);
    for (size_t i = 0; i < d->count; i++) {
        put_entry_text(env->out, &d->log[i]);
        str_put(env->out, "\n");
    }
}

static void raft_state(struct env *env)
{
    for (size_t i = 0; i < env->nodes; i++) {
        struct raft *r = env->node[i]->r;
        str_printf(env->out, "%" PRIx64 ": %s %s Term:%" PRIu64 " Lead:%" PRIu64 "\n", r->id,
                   raft_role_text(r->role),
                   raft_members_is_voter(&r->members, r->id) ? "(Voter)" : "(Non-Voter)", r->term,
                   r->leader);
    }
}

static void status(struct env *env, struct node *n)
{
    for (uint32_t i = 0; n->r->role == RAFT_LEADER && i < n->r->members.peer_count; i++)
        str_printf(env->out, "%" PRIx64 ": %s\n", n->r->members.peer[i]->id,
                   raft_text_of_progress(n->r, n->r->members.peer[i]));
}

static void send_snapshot(struct env *env, struct node *from, uint64_t to)
{
    struct raft_message m = {
        .type = RAFT_MSG_SNAP, .from = from->id, .to = to, .term = from->r->term};
    m.snapshot = raft_snapshot_copy(&from->disk.env, &from->disk.newest);
    put_message(env->out, &m);
    put_flying(env, (struct flying){.kind = NET, .to = to, .m = m});
}

static bool command_of_one(struct env *env, struct node *n, const struct directive *d)
{
    const char *c = d->command;
    if (strcmp(c, "campaign") == 0)
        raft_campaign(n->r);
    else if (strcmp(c, "propose") == 0)
        propose(env, n, RAFT_ENTRY_NORMAL, d->arg[1].key, strlen(d->arg[1].key));
    else if (strcmp(c, "propose-conf-change") == 0)
        propose_conf_change(env, n, d);
    else if (strcmp(c, "tick-election") == 0 || strcmp(c, "tick-heartbeat") == 0)
        for (int i = c[5] == 'e' ? 3 : 1; i > 0; i--)
            raft_tick(n->r);
    else if (strcmp(c, "set-randomized-election-timeout") == 0)
        n->r->election_timeout = (uint32_t)number_arg(d, "timeout", 0);
    else if (strcmp(c, "raft-log") == 0)
        raft_log(env, n);
    else if (strcmp(c, "status") == 0)
        status(env, n);
    else if (strcmp(c, "compact") == 0) {
        disk_compact(&n->disk, id_of(d->arg[1].key));
        raft_log(env, n);
    } else if (strcmp(c, "send-snapshot") == 0)
        send_snapshot(env, n, id_of(d->arg[1].key));
    else if (strcmp(c, "forget-leader") == 0)
        raft_forget_leader(n->r);
    else if (strcmp(c, "report-unreachable") == 0)
        raft_report_unreachable(n->r, id_of(d->arg[1].key));
    else
        return false;
    return true;
}

static void answer(void *ctx, const struct directive *d, struct str *out)
{
    struct env *env = ctx;
    const char *c = d->command;
    bool silent;
    env->out = out;
    if (strcmp(c, "log-level") == 0)
        env->level = level_of(d->arg[0].key);
    silent = env->level == RAFT_SILENT;
    if (strcmp(c, "add-nodes") == 0)
        for (uint64_t i = id_of(d->arg[0].key); i > 0; i--)
            add_node(env, d);
    else if (strcmp(c, "process-ready") == 0)
        each(env, d, "handling Ready", process_ready);
    else if (strcmp(c, "process-append-thread") == 0)
        each(env, d, "processing append thread", process_append_thread);
    else if (strcmp(c, "process-apply-thread") == 0)
        each(env, d, "processing apply thread", process_apply_thread);
    else if (strcmp(c, "deliver-msgs") == 0)
        deliver_msgs(env, d);
    else if (strcmp(c, "stabilize") == 0)
        stabilize(env, d);
    else if (strcmp(c, "raft-state") == 0)
        raft_state(env);
    else if (strcmp(c, "transfer-leadership") == 0)
        raft_transfer(node_of(env, number_arg(d, "from", 0))->r, number_arg(d, "to", 0));
    else if (strcmp(c, "log-level") != 0 &&
             !command_of_one(env, node_of(env, id_of(d->arg[0].key)), d))
        str_printf(out, "unknown command %s", c);
    if (silent)
        str_clear(out);
    if (out->len == 0)
        str_put(out, "ok");
}

/* ---- A file */

static void release_node(struct node *n)
{
    raft_free(n->r);
    for (size_t i = 0; i < n->append_count; i++)
        raft_persist_free(&n->disk.env, &n->append_work[i]);
    for (size_t i = 0; i < n->apply_count; i++)
        raft_entries_free(&n->disk.env, n->apply_work[i].entries, n->apply_work[i].count);
}

static bool run(const char *path)
{
    struct env *env = calloc(1, sizeof(*env));
    long bytes = 0, blocks = 0;
    assert(env);
    bool ok = run_script(path, answer, env);
    struct str rest = {0};
    env->out = &rest;
    for (size_t i = 0; i < env->flying_count; i++)
        release_flying(owner_of(env, &env->flying[i]), &env->flying[i]);
    for (size_t i = 0; i < env->nodes; i++)
        release_node(env->node[i]);
    for (size_t i = 0; i < env->nodes; i++)
        disk_deinit(&env->node[i]->disk);
    for (size_t i = 0; i < env->nodes;
         i++) { // blocks cross from node to node: only the sum must be zero
        bytes += env->node[i]->disk.allocated;
        blocks += env->node[i]->disk.blocks;
        free(env->node[i]);
    }
    if (bytes || blocks) {
        printf("# %s: %ld bytes and %ld blocks were not given back\n", path, bytes, blocks);
        ok = false;
    }
    str_deinit(&rest);
    free(env);
    return ok;
}

int main(void) { return run_folder("interaction", run); }
