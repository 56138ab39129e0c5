/* kv/member/start.c: how a member begins: a new cluster, or what the last life left behind.
 *
 *   identity  log      store           then
 *   none      empty    empty           new: entry 1 (the membership) is written by every member alike
 *   none      entry 1  empty           a crash in the first start: go on
 *   none      else     -               refuse: not ours to guess
 *   there     empty    -               refuse: the log was lost
 *   there     ...      behind the log  refuse: entries between them are gone
 *   there     ...      beyond its end  an image was being installed: finish; else refuse
 *   there     ...      inside the log  replay from the store's applied index */
#include "kv/member/start.h"
#include "kv/member/command.h"
#include "kv/member/config.h"
#include "kv/member/parts.h"
#include <assert.h>
#include <inttypes.h>

#define REPLACE_HINT "Replace this member: deploy/README.md, \"Replace a member\""

static int replay_entry(void *arg, const struct wal_record *record, struct why *why)
{
    struct member *m = arg;
    struct log_cache *log = &m->core.log;
    if (record->kind > RAFT_ENTRY_CONF_CHANGE_V2) {
        why_set(why, "the log has an entry of unknown kind %u at index %" PRIu64, record->kind,
                record->index);
        return MEMBER_REFUSED;
    }
    struct rt_buf *block = record->len ? rt_buf_copy(record->data, record->len) : NULL;
    struct raft_entry e = {
        .term = record->term,
        .index = record->index,
        .kind = record->kind,
        .block = block,
        .data = block ? block->data : NULL,
        .len = record->len,
    };
    if (log->last == 0 && log->first == 1 && record->index != 1)
        log_cache_reset(log, record->index - 1, 0); // the base's term comes with wal_recovered
    log_cache_append(log, &e, 1);
    rt_buf_unref(block);
    return 0;
}

static int open_wal(struct member *m, const struct identity *who, struct wal_recovered *recovered,
                    struct why *why)
{
    static const enum wal_io io[] = {
        [MEMBER_WAL_AUTO] = WAL_IO_AUTO,
        [MEMBER_WAL_DIRECT] = WAL_IO_DIRECT,
        [MEMBER_WAL_BUFFERED] = WAL_IO_BUFFERED,
    };
    struct wal_options options = {
        .dir = m->dir.wal,
        .cluster_id = who->cluster_id,
        .member_id = who->member_id,
        .segment_bytes = m->config.wal_segment_bytes,
        .io = io[m->config.wal_io],
        .sync_timeout_ns = m->config.sync_timeout_ns,
        .log = m->log,
        .metrics = m->config.metrics,
    };
    struct wal_replay replay = {.entry = replay_entry, .arg = m};
    log_cache_init(&m->core.log, MEMBER_LOG_CACHE_BYTES);
    int err = wal_open(&options, &replay, &m->wal, recovered, why);
    if (err)
        return err;
    struct log_cache *log = &m->core.log;
    if (log->first > log->last)
        log_cache_reset(log, recovered->base_index, recovered->base_term);
    log->base_term = recovered->base_term;
    assert(log->first == recovered->base_index + 1);
    assert(log->last == recovered->last_index);
    if (wal_record_bytes_max(m->wal) < m->config.max_request_bytes + COMMAND_HEADER_BYTES) {
        why_set(why, "--wal-segment-bytes %" PRIu64 " is too small for --max-request-bytes %u",
                m->config.wal_segment_bytes, m->config.max_request_bytes);
        return MEMBER_BAD_CONFIG;
    }
    return 0;
}

static int open_store(struct member *m, struct why *why)
{
    int64_t election_s = ((int64_t)m->config.election_ms * 3 / 2 + 999) / 1000;
    struct store_options options = {
        .dir = m->dir.store,
        .quota_bytes = m->config.quota_bytes,
        .lease_min_ttl_s = election_s,
        .log = m->log,
        .metrics = m->config.metrics,
    };
    return store_open(&options, &m->store, why);
}

/* ---- The first entry ---- */

static void note_done(struct wal_request *request) { rt_note_set(request->arg); }

static void append_and_wait(struct member *m, struct wal_request *request)
{
    struct rt_note done = {0};
    request->done = note_done;
    request->arg = &done;
    wal_append(m->wal, request);
    rt_note_wait(&done, RT_FOREVER);
}

/* Entry 1: the same bytes on every member, so that they need no leader to agree on it. */
static void write_first_entry(struct member *m, const struct member_seeds *seeds,
                              const struct identity *who, struct wal_recovered *recovered)
{
    struct rt_string record = {0}, body = {0};
    membership_first_record(seeds, who->cluster_id, &record);
    command_put_record(&body, RT_BYTES(MEMBERSHIP_KEY), rt_bytes(record.data, record.len));
    struct command c = {.kind = STORE_CLUSTER, .term = 1, .body = rt_bytes(body.data, body.len)};
    struct rt_buf *entry = command_encode(&c);
    struct wal_record first = {.kind = RAFT_ENTRY_NORMAL,
                               .term = 1,
                               .index = 1,
                               .data = entry->data,
                               .len = (uint32_t)entry->len};
    struct wal_request request = {
        .records = &first,
        .count = 1,
        .has_hard_state = true,
        .hard_state = {.term = 1, .commit = 1},
    };
    append_and_wait(m, &request);
    replay_entry(m, &first, NULL);
    recovered->last_index = recovered->last_term = 1;
    recovered->hard_state = request.hard_state;
    rt_buf_unref(entry);
    rt_string_deinit(&record);
    rt_string_deinit(&body);
}

static int begin_new(struct member *m, struct identity *who, const struct member_seeds *seeds,
                     struct wal_recovered *recovered, struct why *why)
{
    if (recovered->base_index || recovered->last_index > 1 || store_applied_index(m->store) > 1) {
        why_set(why,
                "%s holds a log or a database, but does not say of which member; nothing was "
                "changed. " REPLACE_HINT,
                m->dir.root);
        return MEMBER_REFUSED;
    }
    if (recovered->last_index == 0)
        write_first_entry(m, seeds, who, recovered);
    return data_dir_adopt(&m->dir, who, why);
}

/* ---- What the last life left ---- */

/* Does the log hold the entry, or the marker, that the image ends with? A log that reaches further may be
 * another one, which the image was to replace: then the entry at its index has another term. */
static bool log_has(const struct member *m, uint64_t index, uint64_t term)
{
    struct raft_entry_info info;
    int err = log_cache_info(&m->core.log, index, &info);
    return err == RAFT_COMPACTED || (err == 0 && info.term == term);
}

static int finish_install(struct member *m, struct wal_recovered *recovered, struct why *why)
{
    uint64_t index = 0, term = 0, applied = store_applied_index(m->store);
    int got = data_dir_get_installing(&m->dir, &index, &term, why);
    if (got < 0)
        return got;
    if (got == 1 && applied == index && !log_has(m, index, term)) {
        struct wal_record marker = {.kind = WAL_SNAPSHOT, .index = index, .term = term};
        struct wal_hard_state *hard = &recovered->hard_state;
        if (hard->term < term) // it came with a new term, which was to be written with the marker
            *hard = (struct wal_hard_state){.term = term};
        hard->commit = index;
        struct wal_request request = {
            .records = &marker, .count = 1, .has_hard_state = true, .hard_state = *hard};
        append_and_wait(m, &request);
        log_cache_reset(&m->core.log, index, term);
        recovered->base_index = recovered->last_index = index;
        recovered->base_term = recovered->last_term = term;
    }
    return got == 1 ? data_dir_clear_installing(&m->dir, why) : 0;
}

static int begin_again(struct member *m, struct wal_recovered *recovered, struct why *why)
{
    if (recovered->is_new) {
        why_set(why,
                "the log in %s is missing; the database in %s alone is not a member. " REPLACE_HINT,
                m->dir.wal, m->dir.store);
        return MEMBER_REFUSED;
    }
    int err = finish_install(m, recovered, why);
    if (err)
        return err;
    uint64_t applied = store_applied_index(m->store);
    if (applied > recovered->last_index) {
        why_set(why,
                "the log in %s ends at index %" PRIu64 ", before what the database holds (%" PRIu64
                "): the log is older or lost its end. " REPLACE_HINT,
                m->dir.wal, recovered->last_index, applied);
        return MEMBER_REFUSED;
    }
    if (applied < recovered->base_index) {
        why_set(why,
                "the log in %s begins behind index %" PRIu64 ", the database ends at %" PRIu64
                ": entries between them are missing. " REPLACE_HINT,
                m->dir.wal, recovered->base_index, applied);
        return MEMBER_REFUSED;
    }
    return 0;
}

/* ---- The configuration as of what is applied ---- */

static int preload_first(void *arg, const struct wal_record *record)
{
    struct member *m = arg;
    struct command c;
    struct rt_bytes key, value;
    if (command_decode(rt_bytes(record->data, record->len), &c) ||
        command_get_record(c.body, &key, &value) || !rt_bytes_equal(key, RT_BYTES(MEMBERSHIP_KEY)))
        return MEMBER_MALFORMED;
    return membership_preload(m, value);
}

static int load_membership(struct member *m, struct why *why)
{
    int got = membership_load(m);
    if (got == 0 && store_applied_index(m->store) == 0) {
        // not applied, or not flushed, yet: the log says it
        got = wal_read(m->wal, 1, 2, UINT64_MAX, preload_first, m, why);
    }
    if (got == 1)
        return 0;
    why_set(why,
            "the membership of the cluster is neither in the database nor in the log of "
            "%s. " REPLACE_HINT,
            m->dir.root);
    return MEMBER_REFUSED;
}

int member_open_state(struct member *m, const struct member_config *given, struct why *why)
{
    struct member_seeds seeds = {0};
    struct identity who;
    int err = data_dir_open(&m->config, &m->dir, why);
    if (err)
        return err;
    if (m->dir.has_identity) {
        who = m->dir.identity;
        err = data_dir_check_settings(&m->dir, given, why);
    } else {
        err = member_config_identity(m, &seeds, &who, why);
    }
    if (err)
        return err;
    m->id = who.member_id;
    m->cluster_id = who.cluster_id;

    struct wal_recovered recovered;
    bool is_new = !m->dir.has_identity;
    err = generations_begin(&m->generations, &m->dir, why);
    if (!err)
        err = open_wal(m, &who, &recovered, why);
    if (!err)
        err = open_store(m, why);
    if (!err)
        err =
            is_new ? begin_new(m, &who, &seeds, &recovered, why) : begin_again(m, &recovered, why);
    if (!err)
        err = load_membership(m, why);
    if (!err)
        err = core_open(m, &recovered, &m->membership.conf, store_applied_index(m->store), why);
    if (!err && !is_new)
        rt_log(m->log, RT_LOG_INFO, "restarting local member",
               rt_f_hex("cluster-id", m->cluster_id), rt_f_hex("local-member-id", m->id),
               rt_f_uint("commit-index", recovered.hard_state.commit),
               rt_f_uint("applied-index", store_applied_index(m->store)),
               rt_f_uint("last-index", recovered.last_index));
    if (!err && is_new)
        rt_log(m->log, RT_LOG_INFO, "starting local member", rt_f_hex("local-member-id", m->id),
               rt_f_hex("cluster-id", m->cluster_id));
    return err;
}
