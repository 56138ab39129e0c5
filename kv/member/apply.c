/* kv/member/apply.c: see apply.h. */
#include "kv/member/apply.h"
#include "kv/member/command.h"
#include "kv/member/parts.h"
#include <assert.h>
#include <rt/go.h>

enum {
    WAKE_ENTRIES = 256, // waiters are woken after this many entries, not only after the batch
    ROOM_RETRY_MS = 1000,
};

/* Waiters of one run of entries: ended together, once their effects are visible. */
struct run {
    struct proposal *done[WAKE_ENTRIES];
    uint32_t count;
    uint64_t last;
};

/* Of one span, and given to raft at once: all their stages between are the same. */
static bool is_alike(const struct member_stages *a, const struct member_stages *b)
{
    return a->taken_ns == b->taken_ns && a->appended_ns == b->appended_ns &&
           a->synced_ns == b->synced_ns && a->committed_ns == b->committed_ns;
}

/* Count the puts among those from `first` on that are alike. Returns the place behind them. */
static uint32_t count_alike(struct member *m, const struct run *run, uint32_t first)
{
    const struct member_stages *one = run->done[first]->stages;
    uint32_t end = first, puts = 0;
    for (; end < run->count && is_alike(one, run->done[end]->stages); end++)
        puts += run->done[end]->kind == STORE_PUT;
    int64_t turn = puts ? latency_applied(&m->latency, one, puts) : 0;
    for (uint32_t i = first; i < end; i++)
        run->done[i]->stages->log_turn_ns = turn;
    return end;
}

static void end_run(struct member *m, struct run *run)
{
    if (!run->last)
        return;
    atomic_store(&m->applied, run->last); // before anybody looks: reads.c
    reads_applied(m, run->last);
    int64_t now = stage_now();
    for (uint32_t i = 0; i < run->count; i++)
        run->done[i]->stages->applied_ns = now;
    for (uint32_t i = 0; STAGE_STAMPS && i < run->count;)
        i = count_alike(m, run, i);
    for (uint32_t i = 0; i < run->count; i++)
        proposal_complete(run->done[i], 0);
    run->count = 0;
    run->last = 0;
}

static void stamp(struct proposal *p, const struct apply_job *job, uint64_t index, uint32_t *at)
{
    struct member_stages *s = p->stages;
    while (*at < job->time_count && job->times[*at].last < index)
        ++*at;
    s->taken_ns = atomic_load_explicit(&p->taken_ns, memory_order_relaxed);
    s->committed_ns = job->committed_ns;
    if (*at == job->time_count)
        return;
    latency_take_times(s, &job->times[*at].times);
}

static const struct apply_conf *conf_of(const struct apply_job *job, uint64_t index)
{
    for (uint32_t i = 0; i < job->conf_count; i++)
        if (job->confs[i].index == index)
            return &job->confs[i];
    return NULL;
}

static void apply_record(struct member *m, struct store_command *command, struct rt_bytes record,
                         struct store_result *result)
{
    command->kind = STORE_CLUSTER;
    command->request = record;
    store_apply(m->store, command, result);
    membership_record_applied(m, command->cluster_key, record);
}

/* A configuration change: raft has decided it, the store keeps what came of it. */
static void apply_conf_change(struct member *m, const struct apply_job *job,
                              const struct raft_entry *e, struct store_command *command)
{
    const struct apply_conf *conf = conf_of(job, e->index);
    struct raft_conf_change change;
    if (!conf || !conf->accepted || raft_conf_change_decode(e->data, e->len, &change)) {
        store_apply(m->store, command, NULL); // refused alike everywhere: only the index moves
        return;
    }
    struct rt_string record = {0};
    membership_changed_record(m, &conf->conf, &change, &record);
    command->cluster_key = RT_BYTES(MEMBERSHIP_KEY);
    apply_record(m, command, rt_bytes(record.data, record.len), NULL);
    rt_string_deinit(&record);
    peers_follow_membership(m);
}

static void apply_command(struct member *m, const struct raft_entry *e, const struct command *c,
                          struct store_command *command, struct store_result *result)
{
    command->kind = c->kind;
    command->request = c->body;
    command->chosen_id = (int64_t)c->chosen;
    command->leader_term = c->leader_only ? c->term : 0;
    if (c->kind == STORE_CLUSTER) {
        struct rt_bytes record;
        if (command_get_record(c->body, &command->cluster_key, &record) == 0 &&
            command->cluster_key.len <= STORE_CLUSTER_KEY_BYTES &&
            (!c->leader_only || c->term == e->term)) {
            apply_record(m, command, record, result);
            return;
        }
        command->kind = STORE_NOOP;
    } else if (c->kind > STORE_CLUSTER) {
        rt_log(m->log, RT_LOG_ERROR,
               "an entry of a kind that this version does not know was skipped",
               rt_f_uint("index", e->index), rt_f_uint("kind", c->kind));
        command->kind = STORE_NOOP;
    }
    store_apply(m->store, command, result);
}

static void apply_entry(struct member *m, const struct apply_job *job, const struct raft_entry *e,
                        struct run *run, uint32_t *time_at)
{
    struct store_command command = {.kind = STORE_NOOP, .index = e->index, .term = e->term};
    struct command c;
    if (e->kind != RAFT_ENTRY_NORMAL) {
        apply_conf_change(m, job, e, &command);
        return;
    }
    if (!e->len) {
        store_apply(m->store, &command, NULL);
        return;
    }
    if (command_decode(rt_bytes(e->data, e->len), &c)) {
        rt_log(m->log, RT_LOG_ERROR, "an entry that no member of this version wrote was skipped",
               rt_f_uint("index", e->index));
        store_apply(m->store, &command, NULL);
        return;
    }
    struct proposal *p = c.proposer == m->id ? proposals_claim(&m->proposals, c.request) : NULL;
    apply_command(m, e, &c, &command, p ? p->result : NULL);
    if (!p)
        return;
    p->command = rt_buf_ref(e->block);
    p->body = c.body;
    p->chosen = c.chosen;
    p->index = e->index;
    p->entry_term = e->term;
    stamp(p, job, e->index, time_at);
    assert(run->count < WAKE_ENTRIES);
    run->done[run->count++] = p;
}

/* The first entry of a term: whoever waits for an entry of an older one waits in vain (or for one that
 * comes much later), and a new leader now knows all leases. */
static void enter_term(struct member *m, uint64_t term)
{
    m->applier.last_term = term;
    atomic_store(&m->leases.applied_term, term);
    proposals_fail_before(&m->proposals, term, MEMBER_LEADER_CHANGED);
    lease_clock_wake(m);
}

static void apply_entries(struct member *m, struct apply_job *job)
{
    struct run *run = rt_alloc(sizeof(*run));
    *run = (struct run){.count = 0};
    uint32_t time_at = 0;
    while (store_wait_room(m->store, rt_after_ns(ROOM_RETRY_MS * RT_MS)))
        if (atomic_load(&m->stopping))
            break; // a full disk must not hold up the end; memory has room for one batch
    for (size_t i = 0; i < job->batch.count; i++) {
        const struct raft_entry *e = &job->batch.entries[i];
        apply_entry(m, job, e, run, &time_at);
        run->last = e->index;
        if (e->term > m->applier.last_term) {
            end_run(m, run);
            enter_term(m, e->term);
        }
        if ((i + 1) % WAKE_ENTRIES == 0)
            end_run(m, run);
    }
    end_run(m, run);
    rt_free(run);
    if (m->applied_total)
        rt_gauge_set(m->applied_total, (int64_t)atomic_load(&m->applied));
    if (!store_quota_has(m->store, 0) && !store_has_alarm(m->store, STORE_ALARM_NOSPACE))
        member_raise_no_space(m);
}

/* The batch goes back to raft: at once when it matters to it, else with its next turn. */
static void give_back(struct member *m, struct apply_job *job)
{
    bool soon = job->batch.size_bytes >= MEMBER_APPLY_BATCH_BYTES / 4 || job->conf_count ||
                job->kind != APPLY_ENTRIES || atomic_load(&m->stopping);
    rt_mailbox_put(&m->core.applied, &job->item.mail);
    if (soon)
        rt_mailbox_wake(&m->core.inbox);
}

/* An image that raft accepted replaces the store. Everything behind it in raft's order waits. */
static void install(struct member *m, struct apply_job *job)
{
    struct raft_snapshot *snapshot = job->persist->persist.snapshot;
    struct snapshot_in *in = (struct snapshot_in *)((struct rt_buf *)snapshot->block)->data;
    struct store_image_meta meta;
    struct why why = {{0}};
    int err = data_dir_set_installing(&m->dir, snapshot->index, snapshot->term, &why);
    if (!err) {
        struct store_install *image = in->install;
        in->install = NULL;
        err = store_install_commit(image, &meta, &why);
    }
    if (err)
        rt_fatal("the snapshot at index %llu from member %llx cannot be installed: %s",
                 (unsigned long long)snapshot->index, (unsigned long long)in->from, why.text);
    assert(meta.index == snapshot->index);
    m->applier.last_term = meta.term;
    atomic_store(&m->leases.applied_term, meta.term);
    if (membership_load(m) != 1)
        rt_fatal("the snapshot at index %llu has no membership", (unsigned long long)meta.index);
    atomic_store(&m->applied, meta.index);
    reads_applied(m, meta.index);
    peers_follow_membership(m);
    lease_clock_wake(m);
    rt_log(m->log, RT_LOG_INFO, "applied snapshot", rt_f_uint("snapshot-index", meta.index),
           rt_f_uint("snapshot-term", meta.term), rt_f_int("revision", meta.revision),
           rt_f_hex("from", in->from));
    job->item.kind = CORE_INSTALLED;
    core_post(m, &job->item);
}

static void applier_main(void *arg)
{
    struct member *m = arg;
    for (bool stop = false; !stop;) {
        struct rt_mail *mail = rt_mailbox_take(&m->applier.box, RT_FOREVER);
        while (mail) {
            struct apply_job *job = (struct apply_job *)core_item_of(mail);
            mail = mail->next;
            if (job->kind == APPLY_STOP) {
                stop = true;
                rt_free(job);
            } else if (job->kind == APPLY_INSTALL) {
                install(m, job);
            } else {
                apply_entries(m, job);
                give_back(m, job);
            }
        }
    }
    rt_note_set(&m->applier.ended);
}

void applier_start(struct member *m)
{
    m->applier.last_term = store_applied_term(m->store);
    atomic_store(&m->leases.applied_term, m->applier.last_term);
    int err = rt_go_urgent("apply", applier_main, m); // ends by APPLY_STOP
    assert(!err);
}

void applier_stop(struct member *m)
{
    struct apply_job *job = rt_alloc_zero(sizeof(*job));
    job->kind = APPLY_STOP;
    applier_post(m, job);
    rt_note_wait(&m->applier.ended, RT_FOREVER);
}

void applier_post(struct member *m, struct apply_job *job)
{
    rt_mailbox_put(&m->applier.box, &job->item.mail);
}
