/* kv/member/core_env.c: the world as raft sees it, and how the core is opened. */
#include "kv/member/core_ready.h"
#include "kv/member/parts.h"
#include <assert.h>

static void *env_alloc(void *ctx, size_t size)
{
    (void)ctx;
    void *p = rt_alloc_zero(size);
    if (!p)
        rt_fatal("out of memory: raft asks for %zu bytes", size);
    return p;
}

static void env_free(void *ctx, void *p, size_t size)
{
    (void)ctx;
    (void)size;
    rt_free(p);
}

static void env_ref(void *ctx, void *block)
{
    (void)ctx;
    rt_buf_ref(block);
}

static void env_unref(void *ctx, void *block)
{
    (void)ctx;
    rt_buf_unref(block);
}

static uint64_t env_first_index(void *ctx) { return ((struct member *)ctx)->core.log.first; }

static uint64_t env_last_index(void *ctx) { return ((struct member *)ctx)->core.log.last; }

static int env_info(void *ctx, uint64_t index, struct raft_entry_info *out)
{
    return log_cache_info(&((struct member *)ctx)->core.log, index, out);
}

static int env_entries(void *ctx, uint64_t lo, uint64_t hi, uint64_t max_bytes,
                       struct raft_entry *out, size_t cap)
{
    return log_cache_entries(&((struct member *)ctx)->core.log, lo, hi, max_bytes, out, cap);
}

static int env_snapshot(void *ctx, uint64_t to, struct raft_snapshot *out)
{
    return snapshot_for_raft(ctx, to, out);
}

static uint64_t env_random(void *ctx, uint64_t bound)
{
    (void)ctx;
    return rt_random_u64() % bound; // the bias over a few ticks is nothing
}

static void env_log(void *ctx, enum raft_level level, const char *text)
{
    static const enum rt_log_level levels[] = {
        [RAFT_DEBUG] = RT_LOG_DEBUG, [RAFT_INFO] = RT_LOG_INFO,   [RAFT_WARN] = RT_LOG_WARN,
        [RAFT_ERROR] = RT_LOG_ERROR, [RAFT_FATAL] = RT_LOG_FATAL,
    };
    // raft's conversations have this line at info; with a log that is written asynchronously it is said
    // of every second batch
    static const char routine[] = "entry at index ";
    struct member *m = ctx;
    if (level == RAFT_INFO && strncmp(text, routine, sizeof(routine) - 1) == 0)
        level = RAFT_DEBUG;
    if (level < RAFT_SILENT)
        rt_log(m->log, levels[level], text);
}

void core_env_init(struct raft_env *env, struct member *m)
{
    *env = (struct raft_env){
        .ctx = m,
        .alloc = env_alloc,
        .free = env_free,
        .ref = env_ref,
        .unref = env_unref,
        .first_index = env_first_index,
        .last_index = env_last_index,
        .info = env_info,
        .entries = env_entries,
        .snapshot = env_snapshot,
        .random = env_random,
        .log = env_log,
    };
}

int core_open(struct member *m, const struct wal_recovered *recovered,
              const struct raft_conf_state *conf, uint64_t applied, struct why *why)
{
    struct core *c = &m->core;
    const struct member_config *config = &m->config;
    struct raft_hard_state hard = {recovered->hard_state.term, recovered->hard_state.vote,
                                   recovered->hard_state.commit};
    if (hard.commit < applied)
        hard.commit = applied; // what the store holds was committed, whatever was written of it
    if (hard.commit > c->log.last) {
        why_set(why,
                "the log ends at index %llu, but %llu was committed: the log lost its end. "
                "Replace this member: deploy/README.md, \"Replace a member\"",
                (unsigned long long)c->log.last, (unsigned long long)hard.commit);
        return MEMBER_REFUSED;
    }
    struct raft_config rc = {
        .id = m->id,
        .election_ticks = config->election_ms / config->heartbeat_ms,
        .heartbeat_ticks = 1,
        .pre_vote = true,
        .check_quorum = true,
        .step_down_on_removal = true,
        .read_only = RAFT_READ_SAFE,
        .max_size_per_msg = MEMBER_MSG_BYTES,
        .max_inflight_msgs = config->max_inflight_msgs,
        .max_inflight_bytes = MEMBER_INFLIGHT_BYTES,
        .max_uncommitted_bytes = MEMBER_UNCOMMITTED_BYTES,
        .max_apply_bytes = MEMBER_APPLY_BATCH_BYTES,
        .log_level = RAFT_INFO,
        .hard_state = hard,
        .conf = *conf,
        .applied = applied,
    };
    c->inbox_bytes.count = MEMBER_INBOX_BYTES;
    c->echoes = rt_alloc_zero(CORE_ECHOES * sizeof(*c->echoes));
    c->scratch = rt_alloc(CORE_PROPOSE_ENTRIES * sizeof(*c->scratch));
    c->applied_index = applied;
    core_remember_conf(m, applied, conf);
    core_env_init(&m->env, m);
    int err = raft_new(&m->env, &rc, &c->raft);
    if (err) {
        why_set(why,
                "raft does not start from term %llu, commit %llu, log %llu to %llu, applied %llu: "
                "%s",
                (unsigned long long)hard.term, (unsigned long long)hard.commit,
                (unsigned long long)c->log.first, (unsigned long long)c->log.last,
                (unsigned long long)applied, raft_error_text(err));
        return MEMBER_REFUSED;
    }
    atomic_store(&m->applied, applied);
    atomic_store(&c->leaderless_ns, rt_now_ns());
    core_publish(m);
    return 0;
}

void core_deinit(struct member *m)
{
    struct core *c = &m->core;
    if (c->raft)
        raft_free(c->raft);
    rt_free(c->scratch);
    rt_free(c->echoes);
    stage_spans_clear(&c->spans);
    if (c->log.ring)
        log_cache_deinit(&c->log);
}
