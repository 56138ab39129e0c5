/* kv/member/core_ready.c: see core_ready.h. The order in core_take_ready is the contract with raft:
 * messages leave at once, promises with the completion of what was handed out before and with them. */
#include "kv/member/core_ready.h"
#include "kv/member/core_stages.h"
#include "kv/member/parts.h"
#include <assert.h>
#include <errno.h>
#include <rt/go.h>

/* ---- Persist ---- */

/* WAL goroutine: the batch is durable. Promises to peers leave now; the rest is raft's. */
static void persist_done(struct wal_request *request)
{
    struct persist_job *job = request->arg;
    struct member *m = job->m;
    job->failed = request->result != 0; // the log is closing without it: nothing is promised
    if (job->failed) {
        core_post(m, &job->item);
        return;
    }
    if (job->span) {
        job->span->times.building_ns = request->times.building_ns;
        job->span->times.writing_ns = request->times.begun_ns;
        job->span->times.written_ns = request->times.written_ns;
        job->span->times.synced_ns = request->times.synced_ns;
        atomic_store_explicit(&job->span->durable, true, memory_order_release);
    }
    if (!atomic_load_explicit(&m->refused, memory_order_relaxed)) {
        for (size_t i = 0; i < job->persist.promise_count; i++) {
            struct raft_message copy = job->persist.promises[i];
            assert(copy.count == 0);
            struct peer_stamps stamps = persist_stamps(job, i);
            if (copy.to != m->id)
                peers_send(m, &copy, &stamps);
        }
    }
    core_post(m, &job->item);
}

static void make_records(struct persist_job *job)
{
    struct raft_persist *p = &job->persist;
    size_t count = p->count + (p->snapshot != NULL), n = 0;
    job->records = rt_alloc((count ? count : 1) * sizeof(*job->records));
    if (p->snapshot)
        job->records[n++] = (struct wal_record){
            .kind = WAL_SNAPSHOT, .term = p->snapshot->term, .index = p->snapshot->index};
    for (size_t i = 0; i < p->count; i++)
        job->records[n++] = (struct wal_record){
            .kind = p->entries[i].kind,
            .term = p->entries[i].term,
            .index = p->entries[i].index,
            .data = p->entries[i].data,
            .len = p->entries[i].len,
        };
    job->request = (struct wal_request){
        .records = job->records,
        .count = (uint32_t)n,
        .has_hard_state = p->has_hard_state,
        .lazy = !p->must_sync && n == 0,
        .hard_state = {p->hard_state.term, p->hard_state.vote, p->hard_state.commit},
        .done = persist_done,
        .arg = job,
    };
}

/* Behind an installation everything waits: batches are written in the order they were made. */
static void persist(struct member *m, struct persist_job *job)
{
    struct core *c = &m->core;
    if (c->installing) {
        if (c->waiting_last)
            c->waiting_last->next = job;
        else
            c->waiting_first = job;
        c->waiting_last = job;
        return;
    }
    if (job->persist.snapshot) {
        c->installing = true;
        struct apply_job *install = rt_alloc_zero(sizeof(*install));
        install->kind = APPLY_INSTALL;
        install->persist = job;
        applier_post(m, install);
        return;
    }
    wal_append(m->wal, &job->request);
}

void core_installed(struct member *m, struct apply_job *install)
{
    struct core *c = &m->core;
    struct persist_job *job = install->persist;
    assert(c->installing);
    rt_free(install);
    c->conf_count = 0;
    core_remember_conf(m, job->persist.snapshot->index, &job->persist.snapshot->conf);
    c->applied_index = job->persist.snapshot->index;
    wal_append(m->wal, &job->request);
    c->installing = false;
    while (c->waiting_first && !c->installing) {
        struct persist_job *next = c->waiting_first;
        c->waiting_first = next->next;
        if (!c->waiting_first)
            c->waiting_last = NULL;
        next->next = NULL;
        persist(m, next);
    }
}

static struct stage_span *begin_span(struct member *m, const struct raft_persist *p)
{
    struct core *c = &m->core;
    if (!p->count)
        return NULL;
    atomic_fetch_add_explicit(&m->latency.batches, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&m->latency.entries, (int64_t)p->count, memory_order_relaxed);
    if (!STAGE_STAMPS)
        return NULL;
    return stage_spans_begin(&c->spans, p->entries[0].index, p->entries[p->count - 1].index,
                             raft_role(c->raft) == RAFT_LEADER, rt_now_ns());
}

static void take_persist(struct member *m, struct raft_persist *p, struct stage_span *span)
{
    struct persist_job *job = rt_alloc_zero(sizeof(*job));
    job->item.kind = CORE_PERSISTED;
    job->m = m;
    job->persist = *p;
    *p = (struct raft_persist){0};
    job->span = span;
    core_note_promises(m, job);
    make_records(job);
    m->core.jobs_out++;
    persist(m, job);
}

/* ---- Messages ---- */

static void take_messages(struct member *m, struct raft_ready *rd)
{
    bool silent = atomic_load_explicit(&m->refused, memory_order_relaxed);
    for (size_t i = 0; i < rd->message_count; i++) {
        struct raft_message *it = &rd->messages[i];
        if (silent)
            continue;
        if (it->type == RAFT_MSG_SNAP) {
            snapshot_send(m, it);
            continue;
        }
        uint64_t to = it->to;
        bool was_append = it->type == RAFT_MSG_APP;
        if (!peers_send(m, it, NULL) && was_append)
            raft_report_unreachable(m->core.raft, to);
    }
    raft_messages_free(&m->env, rd->messages, rd->message_count);
}

/* ---- Apply ---- */

void core_remember_conf(struct member *m, uint64_t index, const struct raft_conf_state *conf)
{
    struct core *c = &m->core;
    if (c->conf_count == CORE_CONFS) {
        memmove(&c->confs[0], &c->confs[1], (CORE_CONFS - 1) * sizeof(c->confs[0]));
        c->conf_count--;
    }
    c->confs[c->conf_count].index = index;
    c->confs[c->conf_count].conf = *conf;
    c->conf_count++;
}

bool core_conf_at(struct member *m, uint64_t index, struct raft_conf_state *out)
{
    const struct core *c = &m->core;
    for (uint32_t i = c->conf_count; i-- > 0;) {
        if (c->confs[i].index <= index) {
            *out = c->confs[i].conf;
            return true;
        }
    }
    return false;
}

/* Raft learns of configuration changes as their batch is handed out; the applier gets what came of
 * them and stores it with the entry. */
static void take_conf_changes(struct member *m, struct apply_job *job)
{
    uint32_t n = 0;
    for (size_t i = 0; i < job->batch.count; i++)
        n += job->batch.entries[i].kind != RAFT_ENTRY_NORMAL;
    if (!n)
        return;
    job->confs = rt_alloc_zero(n * sizeof(*job->confs));
    for (size_t i = 0; i < job->batch.count; i++) {
        const struct raft_entry *e = &job->batch.entries[i];
        if (e->kind == RAFT_ENTRY_NORMAL)
            continue;
        struct apply_conf *conf = &job->confs[job->conf_count++];
        const char *reason = "";
        conf->index = e->index;
        conf->accepted = raft_apply_conf_change(m->core.raft, e, &conf->conf, &reason) == 0;
        if (conf->accepted)
            core_remember_conf(m, e->index, &conf->conf);
        else
            rt_log(m->log, RT_LOG_WARN, "a configuration change was not allowed",
                   rt_f_uint("index", e->index), rt_f_str("reason", reason));
    }
}

static void take_apply(struct member *m, struct raft_apply *batch)
{
    struct apply_job *job = rt_alloc_zero(sizeof(*job));
    job->kind = APPLY_ENTRIES;
    job->batch = *batch;
    *batch = (struct raft_apply){0};
    job->committed_ns = stage_now();
    uint64_t last = job->batch.entries[job->batch.count - 1].index;
    uint32_t spans = stage_spans_count(&m->core.spans, last);
    if (spans) {
        job->times = rt_alloc(spans * sizeof(*job->times));
        job->time_count = stage_spans_take(&m->core.spans, last, job->times, spans);
    }
    take_conf_changes(m, job);
    m->core.jobs_out++;
    applier_post(m, job);
}

/* ---- Old entries, from the WAL ---- */

static int keep_entry(void *arg, const struct wal_record *record)
{
    struct fetch_job *job = arg;
    if (job->count == job->cap) {
        job->cap = job->cap ? 2 * job->cap : 64;
        job->entries = rt_realloc(job->entries, job->cap * sizeof(*job->entries));
    }
    struct raft_entry *e = &job->entries[job->count++];
    *e = (struct raft_entry){.term = record->term, .index = record->index, .kind = record->kind};
    if (record->len) {
        struct rt_buf *block = rt_buf_copy(record->data, record->len);
        e->block = block;
        e->data = block->data;
        e->len = record->len;
    }
    return 0;
}

static void fetch_main(void *arg)
{
    struct fetch_job *job = arg;
    struct member *m = job->m;
    struct why why = {{0}};
    int n =
        wal_read(m->wal, job->fetch.lo, job->fetch.hi, job->fetch.max_bytes, keep_entry, job, &why);
    if (n == -ENOMEM || n == -EMFILE || n == -ENFILE)
        rt_log(m->log, RT_LOG_WARN, "cannot read the log now, and will try again",
               rt_f_str("error", why.text));
    else if (n < 0 && n != WAL_COMPACTED && n != WAL_UNAVAILABLE)
        rt_fatal("%s", why.text); // damaged, or the disk does not give back what it took
    else if (n < 0)
        rt_log(m->log, RT_LOG_INFO, "entries are no longer in the log",
               rt_f_uint("from", job->fetch.lo), rt_f_uint("to", job->fetch.hi));
    struct rt_waitgroup *helpers = &m->helpers;
    core_post(m, &job->item);
    rt_waitgroup_done(helpers);
}

static void take_fetches(struct member *m, struct raft_ready *rd)
{
    for (size_t i = 0; i < rd->fetch_count; i++) {
        struct fetch_job *job = rt_alloc_zero(sizeof(*job));
        job->item.kind = CORE_FETCHED;
        job->m = m;
        job->fetch = rd->fetches[i];
        m->core.jobs_out++;
        rt_waitgroup_add(&m->helpers, 1);
        if (rt_go("wal-fetch", fetch_main, job)) { // it ends when it has read
            rt_waitgroup_done(&m->helpers);
            core_post(m, &job->item); // nothing was read: asked for again
        }
    }
    raft_fetches_free(&m->env, rd->fetches, rd->fetch_count);
}

/* ---- Leadership ---- */

static void take_soft_state(struct member *m, const struct raft_soft_state *soft, int64_t now_ns)
{
    struct core *c = &m->core;
    uint64_t before = atomic_load(&c->leader);
    bool leads = soft->role == RAFT_LEADER;
    if (before != soft->leader || leads != atomic_load(&c->is_leader))
        reads_leader_changed(m);
    rt_mutex_lock(&m->leader_lock);
    atomic_store(&c->leader, soft->leader);
    atomic_store(&c->is_leader, leads);
    atomic_store(&c->term, raft_term(c->raft));
    atomic_store(&c->leaderless_ns, soft->leader == RAFT_NONE ? now_ns : 0);
    if (soft->leader != RAFT_NONE && soft->leader != before) {
        atomic_fetch_add(&c->leader_changes, 1);
        if (m->leader_changes)
            rt_counter_add(m->leader_changes, 1);
    }
    rt_cond_broadcast(&m->leader_changed);
    rt_mutex_unlock(&m->leader_lock);
    if (m->has_leader)
        rt_gauge_set(m->has_leader, soft->leader != RAFT_NONE);
    if (m->is_leader)
        rt_gauge_set(m->is_leader, leads);
    lease_clock_wake(m);
}

/* ---- The rest ---- */

void core_take_ready(struct member *m, int64_t now_ns)
{
    struct raft_ready rd;
    raft_ready(m->core.raft, &rd);
    if (rd.has_soft_state)
        take_soft_state(m, &rd.soft_state, now_ns);
    struct stage_span *span = begin_span(m, &rd.persist);
    if (rd.message_count)
        take_messages(m, &rd);
    if (rd.persist.needed)
        take_persist(m, &rd.persist, span);
    if (rd.apply.count)
        take_apply(m, &rd.apply);
    for (size_t i = 0; i < rd.read_count; i++)
        reads_confirmed(m, rd.reads[i].read_id, rd.reads[i].index);
    raft_reads_free(&m->env, rd.reads, rd.read_count);
    if (rd.fetch_count)
        take_fetches(m, &rd);
}

void core_publish(struct member *m)
{
    struct core *c = &m->core;
    atomic_store_explicit(&c->term, raft_term(c->raft), memory_order_relaxed);
    atomic_store_explicit(&c->commit, raft_committed(c->raft), memory_order_relaxed);
    atomic_store_explicit(&c->first_index, c->log.first, memory_order_relaxed);
    atomic_store_explicit(&c->last_index, c->log.last, memory_order_relaxed);
}

/* What nobody needs: durable in the store, and older than the newest catchup_entries or than what the
 * slowest live follower lacks, but never more than catchup_bytes of it. */
void core_release_log(struct member *m)
{
    struct core *c = &m->core;
    const struct member_config *config = &m->config;
    uint64_t newest_kept =
        c->log.last > config->catchup_entries ? c->log.last - config->catchup_entries : 0;
    uint64_t upto = raft_compactable(c->raft);
    if (upto > newest_kept)
        upto = newest_kept;
    uint64_t excess = log_cache_excess(&c->log, config->catchup_bytes);
    bool is_too_big = excess >= c->log.first;
    if (upto < excess)
        upto = excess;
    uint64_t durable = store_durable_index(m->store);
    if (upto > durable)
        upto = durable;
    if (upto > c->applied_index)
        upto = c->applied_index;
    if (upto < c->log.first)
        return;
    if (!is_too_big && upto - c->log.first + 1 < config->snapshot_count)
        return;
    log_cache_release(&c->log, upto);
    wal_release(m->wal, upto);
    rt_log(m->log, RT_LOG_INFO, "compacted Raft logs", rt_f_uint("compact-index", upto));
}

void core_begin(struct member *m)
{
    struct raft_conf_state conf;
    if (core_conf_at(m, UINT64_MAX, &conf) && conf.voters.count == 1 && conf.outgoing.count == 0 &&
        conf.voters.id[0] == m->id)
        raft_campaign(m->core.raft);
}
