/* tests/raft/nodes.h: the nodes of a conversation: each a core, a disk, and queues of storage work; and
 * the messages under way between them. With synchronous storage the driver here does what the ready says
 * at once and completes it; that is all that synchronous storage is. */
#pragma once
#include "raft/core.h"
#include "tests/raft/disk.h"
#include "tests/raft/ops.h"
#include "tests/raft/text.h"

enum { NODES_MAX = 8, WORK_MAX = 64, FLYING_MAX = 1024 };

enum flying_kind { NET, APPEND_DONE, APPLY_DONE };

/* Something on its way to a node: a message, or a completion from one of its storage threads. */
struct flying {
    enum flying_kind kind;
    uint64_t to;
    struct raft_message m; // NET
    struct raft_completion done;
    struct raft_snapshot *snapshot; // APPEND_DONE
    struct raft_apply apply;        // APPLY_DONE
};

struct node {
    uint64_t id;
    struct raft *r;
    struct disk disk;
    bool async;
    struct raft_persist append_work[WORK_MAX];
    size_t append_count;
    struct raft_apply apply_work[WORK_MAX];
    size_t apply_count;
};

struct env {
    struct node *node[NODES_MAX];
    size_t nodes;
    struct flying flying[FLYING_MAX];
    size_t flying_count;
    struct str *out; // of the command, or of the part of it that is being indented
    enum raft_level level;
};

static inline void env_log(void *ctx, enum raft_level level, const char *text)
{
    static const char *const name[] = {"DEBUG", "INFO", "WARN", "ERROR", "FATAL"};
    struct env *env = ctx;
    if (level >= env->level)
        str_printf(env->out, "%s %s\n", name[level], text);
}

static inline struct node *node_of(struct env *env, uint64_t id)
{
    return id >= 1 && id <= env->nodes ? env->node[id - 1] : NULL;
}

static inline void put_flying(struct env *env, struct flying f)
{
    assert(env->flying_count < FLYING_MAX);
    env->flying[env->flying_count++] = f;
}

static inline void send_all(struct env *env, struct raft_message **m, size_t *count)
{
    struct raft_message none = {0};
    for (size_t i = 0; i < *count; i++) {
        put_flying(env, (struct flying){.kind = NET, .to = (*m)[i].to, .m = (*m)[i]});
        (*m)[i] = none; // its entries went along
    }
}

/* ---- Text */

static inline void put_lines(struct str *out, const char *text) { str_printf(out, "%s\n", text); }

static inline void put_message(struct str *out, const struct raft_message *m)
{
    size_t n = raft_describe_message(m, NULL, 0);
    char *text = malloc(n + 1);
    assert(text);
    raft_describe_message(m, text, n + 1);
    put_lines(out, text);
    free(text);
}

static inline void put_entry_text(struct str *out, const struct raft_entry *e)
{
    char text[1024];
    raft_describe_entry(e, text, sizeof(text));
    str_put(out, text);
}

static inline void put_entries(struct str *out, const char *title, const struct raft_entry *e,
                               size_t n)
{
    if (n)
        put_lines(out, title);
    for (size_t i = 0; i < n; i++) {
        put_entry_text(out, &e[i]);
        str_put(out, "\n");
    }
}

static inline void put_entries_field(struct str *out, const struct raft_entry *e, size_t n)
{
    if (n == 0)
        return;
    str_put(out, " Entries:[");
    for (size_t i = 0; i < n; i++) {
        if (n > 1)
            str_put(out, "\n  ");
        put_entry_text(out, &e[i]);
    }
    str_put(out, n > 1 ? "\n]" : "]");
}

static inline void put_snapshot(struct str *out, const struct raft_snapshot *s)
{
    char text[2048];
    raft_describe_conf_state(&s->conf, text, sizeof(text));
    str_printf(out, "Index:%" PRIu64 " Term:%" PRIu64 " ConfState:%s", s->index, s->term, text);
}

static inline void put_append_done(struct str *out, uint64_t to, const struct raft_completion *c,
                                   const struct raft_snapshot *s)
{
    str_printf(out,
               "AppendThread->%" PRIx64 " MsgStorageAppendResp Term:%" PRIu64 " Log:%" PRIu64
               "/%" PRIu64,
               to, c->term, c->log_term, c->index);
    if (s) {
        str_put(out, "\n  Snapshot: ");
        put_snapshot(out, s);
    }
    str_put(out, "\n");
}

static inline void put_apply_done(struct str *out, uint64_t to, const struct raft_apply *a)
{
    str_printf(out, "ApplyThread->%" PRIx64 " MsgStorageApplyResp Term:0 Log:0/0", to);
    put_entries_field(out, a->entries, a->count);
    str_put(out, "\n");
}

static inline void put_responses(struct str *out, const struct str *responses)
{
    if (responses->len == 0) {
        str_put(out, "\n");
        return;
    }
    str_put(out, " Responses:[\n");
    str_indented(out, responses);
    str_put(out, "]\n");
}

static inline void append_responses(struct str *out, uint64_t id, const struct raft_persist *p)
{
    for (size_t i = 0; i < p->promise_count; i++)
        put_message(out, &p->promises[i]);
    if (p->completion.needed)
        put_append_done(out, id, &p->completion, p->snapshot);
}

static inline void put_append_work(struct str *out, uint64_t id, const struct raft_persist *p,
                                   bool responses)
{
    struct str r = {0};
    str_printf(out, "%" PRIx64 "->AppendThread MsgStorageAppend Term:%" PRIu64 " Log:0/0", id,
               p->hard_state.term);
    if (p->hard_state.commit)
        str_printf(out, " Commit:%" PRIu64, p->hard_state.commit);
    if (p->hard_state.vote)
        str_printf(out, " Vote:%" PRIu64, p->hard_state.vote);
    put_entries_field(out, p->entries, p->count);
    if (p->snapshot) {
        str_put(out, "\n  Snapshot: ");
        put_snapshot(out, p->snapshot);
    }
    if (responses)
        append_responses(&r, id, p);
    put_responses(out, &r);
    str_deinit(&r);
}

static inline void put_apply_work(struct str *out, uint64_t id, const struct raft_apply *a,
                                  bool responses)
{
    struct str r = {0};
    str_printf(out, "%" PRIx64 "->ApplyThread MsgStorageApply Term:0 Log:0/0", id);
    put_entries_field(out, a->entries, a->count);
    if (responses)
        put_apply_done(&r, id, a);
    put_responses(out, &r);
    str_deinit(&r);
}

static inline void put_hard_state(struct str *out, const struct raft_hard_state *hs)
{
    str_printf(out, "HardState Term:%" PRIu64, hs->term);
    if (hs->vote)
        str_printf(out, " Vote:%" PRIx64, hs->vote);
    str_printf(out, " Commit:%" PRIu64 "\n", hs->commit);
}

static inline void put_ready(struct str *out, const struct node *n, const struct raft_ready *rd)
{
    const struct raft_persist *p = &rd->persist;
    struct str body = {0}, messages = {0};
    if (rd->has_soft_state)
        str_printf(&body, "Lead:%" PRIu64 " State:%s\n", rd->soft_state.leader,
                   raft_role_text(rd->soft_state.role));
    if (p->has_hard_state)
        put_hard_state(&body, &p->hard_state);
    put_entries(&body, "Entries:", p->entries, p->count);
    if (p->snapshot) {
        str_put(&body, "Snapshot ");
        put_snapshot(&body, p->snapshot);
        str_put(&body, "\n");
    }
    put_entries(&body, "CommittedEntries:", rd->apply.entries, rd->apply.count);
    for (size_t i = 0; i < rd->message_count; i++)
        put_message(&messages, &rd->messages[i]);
    if (n->async && p->needed)
        put_append_work(&messages, n->id, p, true);
    for (size_t i = 0; !n->async && i < p->promise_count; i++)
        if (p->promises[i].to != n->id)
            put_message(&messages, &p->promises[i]);
    if (n->async && rd->apply.count)
        put_apply_work(&messages, n->id, &rd->apply, true);
    if (messages.len)
        str_printf(&body, "Messages:\n%s", messages.s);
    if (body.len)
        str_printf(out, "Ready MustSync=%s:\n%s", p->must_sync ? "true" : "false", body.s);
    else
        str_put(out, "<empty Ready>");
    str_deinit(&body);
    str_deinit(&messages);
}

/* ---- Storage */

static inline void store(struct node *n, const struct raft_persist *p)
{
    if (p->has_hard_state)
        n->disk.hard = p->hard_state;
    if (p->snapshot)
        disk_install(&n->disk, p->snapshot);
    disk_append(&n->disk, p->entries, p->count);
}

static inline void apply(struct node *n, const struct raft_apply *a)
{
    for (size_t i = 0; i < a->count; i++) {
        struct raft_conf_state conf = n->disk.newest.conf;
        if (a->entries[i].kind != RAFT_ENTRY_NORMAL)
            raft_apply_conf_change(n->r, &a->entries[i], &conf, NULL);
        disk_apply(&n->disk, &a->entries[i], &conf);
    }
}

static inline void take_snapshot_data(struct node *n, const struct raft_snapshot *s)
{
    struct block *b = s->block; // the state machine is the snapshot now
    disk_set_newest(&n->disk, s->index, s->term, &s->conf, b ? b->bytes : NULL, b ? b->len : 0);
}

static inline void finish_ready(struct env *env, struct node *n, struct raft_ready *rd)
{
    struct raft_persist *p = &rd->persist;
    store(n, p);
    if (p->snapshot)
        take_snapshot_data(n, p->snapshot);
    apply(n, &rd->apply);
    send_all(env, &rd->messages, &rd->message_count);
    for (size_t i = 0; i < p->promise_count; i++)
        if (p->promises[i].to != n->id)
            put_flying(env,
                       (struct flying){.kind = NET, .to = p->promises[i].to, .m = p->promises[i]});
    for (size_t i = 0; i < p->promise_count; i++)
        if (p->promises[i].to == n->id)
            raft_step(n->r, &p->promises[i]);
    if (p->completion.needed)
        raft_append_done(n->r, &p->completion);
    if (rd->apply.count)
        raft_apply_done(n->r, rd->apply.entries[rd->apply.count - 1].index, rd->apply.size_bytes);
}

static inline void process_ready(struct env *env, struct node *n)
{
    struct raft_ready rd;
    raft_ready(n->r, &rd);
    put_ready(env->out, n, &rd);
    if (!n->async) {
        finish_ready(env, n, &rd);
    } else {
        send_all(env, &rd.messages, &rd.message_count);
        if (rd.persist.needed) {
            assert(n->append_count < WORK_MAX);
            n->append_work[n->append_count++] = rd.persist;
            memset(&rd.persist, 0, sizeof(rd.persist));
        }
        if (rd.apply.count) {
            assert(n->apply_count < WORK_MAX);
            n->apply_work[n->apply_count++] = rd.apply;
            memset(&rd.apply, 0, sizeof(rd.apply));
        }
    }
    raft_ready_free(&n->disk.env, &rd);
}

static inline void process_append_thread(struct env *env, struct node *n)
{
    struct raft_persist p;
    if (n->append_count == 0) {
        str_put(env->out, "no append work to perform");
        return;
    }
    p = n->append_work[0];
    n->append_count--;
    memmove(n->append_work, n->append_work + 1, n->append_count * sizeof(p));
    str_put(env->out, "Processing:\n");
    put_append_work(env->out, n->id, &p, false);
    store(n, &p);
    str_put(env->out, "Responses:\n");
    append_responses(env->out, n->id, &p);
    send_all(env, &p.promises, &p.promise_count);
    if (p.completion.needed) {
        put_flying(env, (struct flying){.kind = APPEND_DONE,
                                        .to = n->id,
                                        .done = p.completion,
                                        .snapshot = p.snapshot});
        p.snapshot = NULL;
    }
    raft_persist_free(&n->disk.env, &p);
}

static inline void process_apply_thread(struct env *env, struct node *n)
{
    struct raft_apply a;
    if (n->apply_count == 0) {
        str_put(env->out, "no apply work to perform");
        return;
    }
    a = n->apply_work[0];
    n->apply_count--;
    memmove(n->apply_work, n->apply_work + 1, n->apply_count * sizeof(a));
    str_put(env->out, "Processing:\n");
    put_apply_work(env->out, n->id, &a, false);
    apply(n, &a);
    str_put(env->out, "Responses:\n");
    put_apply_done(env->out, n->id, &a);
    put_flying(env, (struct flying){.kind = APPLY_DONE, .to = n->id, .apply = a});
}
