/* kv/member/member.c: the front door: start, stop, and the questions that need no part of their own. */
#include "kv/member/member.h"
#include "kv/member/command.h"
#include "kv/member/config.h"
#include "kv/member/parts.h"
#include "kv/member/start.h"
#include <assert.h>
#include <inttypes.h>
#include <rt/go.h>
#include <stdio.h>

enum { PUBLISH_RETRY_MS = 2000, VERSION_CHECK_MS = 500 };

const char *member_error_words(int err)
{
    switch (err) {
#define X(name, number, words)                                                                     \
    case number:                                                                                   \
        return words;
        MEMBER_ERRORS(X)
#undef X
    default:
        return "unknown";
    }
}

/* ---- Publishing: this member's name and URLs, and the cluster's version ---- */

static int propose_record(struct member *m, struct rt_bytes key, struct rt_bytes record,
                          int64_t deadline_ns)
{
    struct rt_string body = {0};
    command_put_record(&body, key, record);
    struct store_result result = {0};
    struct member_proposal p = {
        .kind = STORE_CLUSTER, .body = rt_bytes(body.data, body.len), .deadline_ns = deadline_ns};
    struct member_outcome out = {.result = &result};
    int err = member_propose_admitted(m, &p, &out);
    if (!err)
        rt_buf_unref(out.command);
    store_result_deinit(m->store, &result);
    rt_string_deinit(&body);
    return err;
}

static bool publish_once(struct member *m)
{
    char key[40];
    struct rt_string record = {0};
    int64_t timeout = PUBLISH_RETRY_MS * RT_MS;
    membership_put_attributes(&record, m->config.name, &m->advertise_client);
    int err = propose_record(m, membership_attributes_key(m->id, key),
                             rt_bytes(record.data, record.len), rt_after_ns(timeout));
    rt_string_deinit(&record);
    if (err)
        return false;
    rt_mutex_lock(&m->membership.lock);
    m->membership.announced = true;
    rt_cond_broadcast(&m->membership.changed);
    rt_mutex_unlock(&m->membership.lock);
    rt_log(m->log, RT_LOG_INFO, "published local member to cluster through raft",
           rt_f_hex("local-member-id", m->id), rt_f_str("name", m->config.name),
           rt_f_str("client-urls", m->config.advertise_client_urls),
           rt_f_hex("cluster-id", m->cluster_id), rt_f_duration("publish-timeout", timeout));
    return true;
}

/* The leader decides the cluster's version, once; its term goes with it. */
static void decide_version(struct member *m)
{
    struct rt_string body = {0};
    command_put_record(&body, RT_BYTES(MEMBERSHIP_VERSION_KEY), RT_BYTES(MEMBER_CLUSTER_VERSION));
    if (atomic_load(&m->core.is_leader))
        member_propose_silently(m, STORE_CLUSTER, rt_bytes(body.data, body.len), true,
                                atomic_load(&m->core.term));
    rt_string_deinit(&body);
}

static void publish_main(void *arg)
{
    struct member *m = arg;
    bool published = false;
    for (;;) {
        if (!published)
            published = publish_once(m);
        struct membership *ms = &m->membership;
        rt_mutex_lock(&ms->lock);
        bool decided = ms->version[0] != 0;
        bool stopped = ms->stopped;
        rt_mutex_unlock(&ms->lock);
        if (stopped || (published && decided))
            break;
        if (!decided)
            decide_version(m);
        rt_mutex_lock(&ms->lock);
        if (!ms->stopped && (!published || !ms->version[0]))
            rt_cond_wait(&ms->changed, &ms->lock, rt_after_ns(VERSION_CHECK_MS * RT_MS));
        rt_mutex_unlock(&ms->lock);
    }
    rt_waitgroup_done(&m->helpers);
}

/* ---- Start and stop ---- */

static void make_metrics(struct member *m)
{
    struct rt_metrics *r = m->config.metrics;
    char label[64];
    if (!r)
        return;
    m->has_leader = rt_metrics_gauge(r, "etcd_server_has_leader", "",
                                     "Whether or not a leader exists. 1 is existence, 0 is not.");
    m->is_leader =
        rt_metrics_gauge(r, "etcd_server_is_leader", "",
                         "Whether or not this member is a leader. 1 if is, 0 otherwise.");
    m->leader_changes = rt_metrics_counter(r, "etcd_server_leader_changes_seen_total", "",
                                           "The number of leader changes seen.");
    m->committed = rt_metrics_gauge(r, "etcd_server_proposals_committed_total", "",
                                    "The index of the newest committed entry.");
    m->applied_total = rt_metrics_gauge(r, "etcd_server_proposals_applied_total", "",
                                        "The index of the newest applied entry.");
    m->proposals.pending = rt_metrics_gauge(r, "etcd_server_proposals_pending", "",
                                            "The current number of pending proposals.");
    m->proposals.failed = rt_metrics_counter(r, "etcd_server_proposals_failed_total", "",
                                             "The total number of failed proposals.");
    m->slow_reads = rt_metrics_counter(r, "etcd_server_slow_read_indexes_total", "",
                                       "The total number of read rounds asked again.");
    m->failed_reads = rt_metrics_counter(r, "etcd_server_read_indexes_failed_total", "",
                                         "The total number of failed read barriers.");
    snprintf(label, sizeof(label), "server_id=\"%" PRIx64 "\"", m->id);
    rt_gauge_set(rt_metrics_gauge(r, "etcd_server_id", label, "This member's id."), 1);
}

/* Close what is open, in whatever state; no goroutine of the member runs. */
static void member_free(struct member *m)
{
    peers_deinit(m);
    latency_deinit(&m->latency);
    core_deinit(m);
    snapshots_deinit(m);
    if (m->wal)
        wal_close(m->wal);
    if (m->store)
        store_close(m->store);
    data_dir_close(&m->dir);
    proposals_deinit(&m->proposals);
    membership_deinit(&m->membership);
    rt_arena_deinit(&m->arena);
    rt_free(m);
}

static int open_all(struct member *m, const struct member_config *config, struct why *why)
{
    rt_arena_init(&m->arena);
    rt_arena_init(&m->membership.arena);
    int err = member_config_fill(m, config, why);
    if (!err)
        err = member_open_state(m, config, why);
    if (!err)
        err = peers_listen(m, why);
    if (!err)
        err = knobs_open(m, why);
    return err;
}

int member_start(const struct member_config *config, struct member **out, struct why *why)
{
    struct member *m = rt_alloc_zero(sizeof(*m));
    m->log = config->log;
    latency_init(&m->latency, config->metrics);
    int err = open_all(m, config, why);
    if (err) {
        member_free(m);
        return err;
    }
    proposals_init(&m->proposals, m->generations.self);
    reads_init(&m->reads, m->generations.self);
    make_metrics(m);
    membership_log_version(m);
    applier_start(m);
    core_start(m);
    peers_start(m);
    lease_clock_start(m);
    rt_waitgroup_add(&m->helpers, 1);
    err = rt_go("publish", publish_main, m); // ends when published, or by membership.stopped
    assert(!err);
    *out = m;
    return 0;
}

void member_begin_stop(struct member *m)
{
    atomic_store(&m->stopping, true);
    atomic_store(&m->knobs.value[KNOB_DEBUG_BURN], 0); // it may be in the midst of it
    rt_mutex_lock(&m->leader_lock);
    rt_cond_broadcast(&m->leader_changed);
    rt_mutex_unlock(&m->leader_lock);
    rt_mutex_lock(&m->membership.lock);
    m->membership.stopped = true;
    rt_cond_broadcast(&m->membership.changed);
    rt_mutex_unlock(&m->membership.lock);
    rt_mailbox_wake(&m->core.inbox); // it ends what waits
}

static bool somebody_else_leads(struct member *m)
{
    uint64_t leader = atomic_load(&m->core.leader);
    return leader != RAFT_NONE && leader != m->id;
}

static void hand_over(struct member *m, int64_t deadline_ns)
{
    if (!atomic_load(&m->core.is_leader) || atomic_load(&m->crash))
        return;
    uint64_t to = peers_any_connected(m);
    if (to == RAFT_NONE)
        return;
    int64_t latest = rt_after_ns(m->config.election_ms * RT_MS);
    if (latest > deadline_ns)
        latest = deadline_ns;
    core_post_event(m, CORE_TRANSFER, to, true);
    rt_mutex_lock(&m->leader_lock);
    while (!somebody_else_leads(m) &&
           rt_cond_wait(&m->leader_changed, &m->leader_lock, latest) == 0)
        ;
    bool done = somebody_else_leads(m);
    rt_mutex_unlock(&m->leader_lock);
    if (done)
        rt_log(m->log, RT_LOG_INFO, "leadership transfer finished",
               rt_f_hex("local-member-id", m->id),
               rt_f_hex("new-leader", atomic_load(&m->core.leader)));
}

void member_stop(struct member *m, int64_t deadline_ns)
{
    member_begin_stop(m);
    hand_over(m, deadline_ns);
    rt_waitgroup_wait(&m->callers, RT_FOREVER); // each was woken
    lease_clock_stop(m);
    peers_stop(m);
    snapshots_stop(m);
    core_quiet(m);
    rt_waitgroup_wait(&m->helpers, RT_FOREVER);
    applier_stop(m);
    wal_close(m->wal); // completes what it has
    m->wal = NULL;
    core_end(m);
    member_free(m);
}

/* ---- Questions ---- */

uint64_t member_id(const struct member *m) { return m->id; }

uint64_t member_cluster_id(const struct member *m) { return m->cluster_id; }

const char *member_name(const struct member *m) { return m->config.name; }

struct store *member_store(struct member *m) { return m->store; }

bool member_is_leader(const struct member *m) { return atomic_load(&m->core.is_leader); }

void member_status(const struct member *m, struct member_status *out)
{
    const struct core *c = &m->core;
    *out = (struct member_status){
        .leader = atomic_load(&c->leader),
        .term = atomic_load(&c->term),
        .commit = atomic_load(&c->commit),
        .applied = atomic_load(&m->applied),
        .raft_index = atomic_load(&c->last_index),
        .first_index = atomic_load(&c->first_index),
        .leader_changes = atomic_load(&c->leader_changes),
        .is_leader = atomic_load(&c->is_leader),
    };
}

int member_wait_leader(struct member *m, int64_t deadline_ns)
{
    int err = 0;
    rt_mutex_lock(&m->leader_lock);
    while (!atomic_load(&m->stopping) && atomic_load(&m->core.leader) == RAFT_NONE && !err)
        err = rt_cond_wait(&m->leader_changed, &m->leader_lock, deadline_ns);
    bool known = atomic_load(&m->core.leader) != RAFT_NONE;
    rt_mutex_unlock(&m->leader_lock);
    if (atomic_load(&m->stopping))
        return MEMBER_STOPPED;
    return known ? 0 : MEMBER_TIMEOUT;
}

int member_wait_no_leader(struct member *m, int64_t deadline_ns)
{
    int64_t patience = 3 * m->config.election_ms * RT_MS;
    int result = MEMBER_TIMEOUT;
    rt_mutex_lock(&m->leader_lock);
    for (;;) {
        int64_t now = rt_now_ns();
        int64_t since = atomic_load(&m->core.leaderless_ns);
        if (atomic_load(&m->stopping)) {
            result = MEMBER_STOPPED;
            break;
        }
        if (since && now - since >= patience) {
            result = 0;
            break;
        }
        if (now >= deadline_ns)
            break;
        int64_t until = since && since + patience < deadline_ns ? since + patience : deadline_ns;
        rt_cond_wait(&m->leader_changed, &m->leader_lock, until);
    }
    rt_mutex_unlock(&m->leader_lock);
    return result;
}

int member_wait_published(struct member *m, int64_t deadline_ns)
{
    struct membership *ms = &m->membership;
    int err = 0;
    rt_mutex_lock(&ms->lock);
    while (!ms->stopped && !ms->announced && !err)
        err = rt_cond_wait(&ms->changed, &ms->lock, deadline_ns);
    bool stopped = ms->stopped, announced = ms->announced;
    rt_mutex_unlock(&ms->lock);
    if (stopped)
        return MEMBER_STOPPED;
    return announced ? 0 : MEMBER_TIMEOUT;
}

int member_transfer_leadership(struct member *m, uint64_t to, int64_t deadline_ns)
{
    if (atomic_load(&m->stopping))
        return MEMBER_STOPPED;
    if (!atomic_load(&m->core.is_leader))
        return MEMBER_NOT_LEADER;
    if (to == RAFT_NONE)
        to = peers_any_connected(m);
    if (to == m->id)
        return 0;
    if (to == RAFT_NONE || !peers_find(m, to))
        return MEMBER_BAD_TRANSFEREE;
    core_post_event(m, CORE_TRANSFER, to, true);
    int err = 0;
    rt_mutex_lock(&m->leader_lock);
    while (!atomic_load(&m->stopping) && atomic_load(&m->core.leader) != to && !err)
        err = rt_cond_wait(&m->leader_changed, &m->leader_lock, deadline_ns);
    rt_mutex_unlock(&m->leader_lock);
    if (atomic_load(&m->stopping))
        return MEMBER_STOPPED;
    return err ? MEMBER_TIMEOUT : 0;
}
