/* kv/member/membership.c: see membership.h. Records change rarely, so the copy is made anew from the
 * store with each change. */
#include "kv/member/membership.h"
#include "kv/member/parts.h"
#include "kv/member/peer_fields.h"
#include <inttypes.h>
#include <rt/parse.h>
#include <stdio.h>

static char *text_of(struct rt_arena *arena, struct rt_bytes b)
{
    char *s = rt_arena_alloc(arena, b.len + 1);
    if (b.len)
        memcpy(s, b.data, b.len);
    s[b.len] = 0;
    return s;
}

static int add_url(struct member_urls *urls, struct rt_arena *arena, struct rt_bytes url)
{
    if (urls->count == MEMBER_URLS || url.len >= MEMBER_URL_BYTES)
        return MEMBER_MALFORMED;
    if (!urls->url)
        urls->url = rt_arena_alloc(arena, MEMBER_URLS * sizeof(*urls->url));
    urls->url[urls->count++] = text_of(arena, url);
    return 0;
}

/* ---- Writing records ---- */

static void put_member(struct rt_string *out, uint64_t id, const struct member_urls *urls,
                       bool is_learner)
{
    size_t mark = field_begin(out, 2);
    peer_add_fixed64(out, 1, id);
    for (uint32_t u = 0; u < urls->count; u++)
        field_add_text(out, 2, urls->url[u]);
    field_add_uint(out, 3, is_learner);
    field_end(out, mark);
}

void membership_first_record(const struct member_seeds *seeds, uint64_t cluster_id,
                             struct rt_string *out)
{
    struct raft_conf_state conf = {0};
    for (uint32_t i = 0; i < seeds->count; i++)
        conf.voters.id[conf.voters.count++] = seeds->seed[i].id;
    size_t mark = field_begin(out, 1);
    peer_put_conf(out, &conf);
    field_end(out, mark);
    for (uint32_t i = 0; i < seeds->count; i++)
        put_member(out, seeds->seed[i].id, &seeds->seed[i].peer_urls, false);
    peer_add_fixed64(out, 3, cluster_id);
}

static bool has_id(const struct raft_ids *ids, uint64_t id)
{
    for (uint32_t i = 0; i < ids->count; i++)
        if (ids->id[i] == id)
            return true;
    return false;
}

/* The change's context: {1: id, 2: repeated peer URL} of the member added or updated. */
static int context_urls(const struct raft_conf_change *change, struct rt_arena *arena, uint64_t *id,
                        struct member_urls *urls)
{
    struct fields f = fields_of(rt_bytes(change->context, change->context_len));
    struct field it;
    int more, err = 0;
    *id = 0;
    *urls = (struct member_urls){0};
    while (!err && (more = fields_next(&f, &it)) > 0) {
        if (FIELD_KEY(it.number, it.wire) == FIELD_KEY(1, FIELD_I64))
            *id = it.value;
        else if (FIELD_KEY(it.number, it.wire) == FIELD_KEY(2, FIELD_LEN))
            err = add_url(urls, arena, it.bytes);
    }
    return err || more < 0 ? MEMBER_MALFORMED : 0;
}

void membership_changed_record(struct member *m, const struct raft_conf_state *conf,
                               const struct raft_conf_change *change, struct rt_string *out)
{
    struct membership *ms = &m->membership;
    struct rt_arena arena;
    struct member_urls urls;
    uint64_t id;
    bool placed = false;
    rt_arena_init(&arena);
    if (context_urls(change, &arena, &id, &urls))
        id = 0; // the configuration counts; a context that says nothing leaves the URLs as they are
    size_t mark = field_begin(out, 1);
    peer_put_conf(out, conf);
    field_end(out, mark);
    rt_mutex_lock(&ms->lock);
    for (uint32_t i = 0; i <= ms->count; i++) {
        const struct membership_entry *e = i < ms->count ? &ms->entry[i] : NULL;
        bool learner = has_id(&conf->learners, id);
        if (id && !placed && (!e || e->id >= id)) {
            if (has_id(&conf->voters, id) || learner || has_id(&conf->outgoing, id))
                put_member(out, id, &urls, learner);
            placed = true;
        }
        if (e && e->id != id &&
            (has_id(&conf->voters, e->id) || has_id(&conf->learners, e->id) ||
             has_id(&conf->outgoing, e->id)))
            put_member(out, e->id, &e->peer_urls, has_id(&conf->learners, e->id));
    }
    uint64_t cluster_id = ms->cluster_id;
    rt_mutex_unlock(&ms->lock);
    peer_add_fixed64(out, 3, cluster_id);
    rt_arena_deinit(&arena);
}

struct rt_bytes membership_attributes_key(uint64_t id, char *buf)
{
    int len = snprintf(buf, 40, MEMBERSHIP_ATTRIBUTES "%" PRIx64, id);
    return rt_bytes(buf, (size_t)len);
}

void membership_put_attributes(struct rt_string *out, const char *name,
                               const struct member_urls *client_urls)
{
    field_add_text(out, 1, name);
    for (uint32_t u = 0; u < client_urls->count; u++)
        field_add_text(out, 2, client_urls->url[u]);
}

/* ---- Reading them ---- */

static int get_member(struct membership *ms, struct rt_bytes bytes)
{
    struct fields f = fields_of(bytes);
    struct field it;
    int more, err = 0;
    if (ms->count == RAFT_MEMBERS_MAX)
        return MEMBER_MALFORMED;
    struct membership_entry *e = &ms->entry[ms->count];
    *e = (struct membership_entry){.name = ""};
    while (!err && (more = fields_next(&f, &it)) > 0) {
        switch (FIELD_KEY(it.number, it.wire)) {
        case FIELD_KEY(1, FIELD_I64):
            e->id = it.value;
            break;
        case FIELD_KEY(2, FIELD_LEN):
            err = add_url(&e->peer_urls, &ms->arena, it.bytes);
            break;
        case FIELD_KEY(3, FIELD_VARINT):
            e->is_learner = it.value != 0;
            break;
        }
    }
    if (err || more < 0 || !e->id || (ms->count && e->id <= ms->entry[ms->count - 1].id))
        return MEMBER_MALFORMED;
    ms->count++;
    return 0;
}

static int get_membership(struct membership *ms, struct rt_bytes record)
{
    struct fields f = fields_of(record);
    struct field it;
    int more, err = 0;
    while (!err && (more = fields_next(&f, &it)) > 0) {
        switch (FIELD_KEY(it.number, it.wire)) {
        case FIELD_KEY(1, FIELD_LEN):
            err = peer_get_conf(it.bytes, &ms->conf);
            break;
        case FIELD_KEY(2, FIELD_LEN):
            err = get_member(ms, it.bytes);
            break;
        case FIELD_KEY(3, FIELD_I64):
            ms->cluster_id = it.value;
            break;
        }
    }
    return err || more < 0 ? MEMBER_MALFORMED : 0;
}

static void get_attributes(struct membership *ms, struct rt_bytes key, struct rt_bytes record)
{
    const size_t prefix = sizeof(MEMBERSHIP_ATTRIBUTES) - 1;
    char hex[32];
    uint64_t id;
    snprintf(hex, sizeof(hex), "%.*s", (int)(key.len - prefix), (const char *)key.data + prefix);
    if (rt_parse_hex(hex, &id))
        return;
    for (uint32_t i = 0; i < ms->count; i++) {
        struct membership_entry *e = &ms->entry[i];
        if (e->id != id)
            continue;
        struct fields f = fields_of(record);
        struct field it;
        while (fields_next(&f, &it) > 0) {
            if (FIELD_KEY(it.number, it.wire) == FIELD_KEY(1, FIELD_LEN))
                e->name = text_of(&ms->arena, it.bytes);
            else if (FIELD_KEY(it.number, it.wire) == FIELD_KEY(2, FIELD_LEN))
                add_url(&e->client_urls, &ms->arena, it.bytes);
        }
    }
}

static bool starts_with(struct rt_bytes key, const char *prefix)
{
    size_t len = strlen(prefix);
    return key.len >= len && memcmp(key.data, prefix, len) == 0;
}

static void take_record(void *arg, struct rt_bytes key, struct rt_bytes record)
{
    struct membership *ms = arg;
    if (starts_with(key, MEMBERSHIP_ATTRIBUTES))
        get_attributes(ms, key, record);
    else if (rt_bytes_equal(key, RT_BYTES(MEMBERSHIP_VERSION_KEY)))
        snprintf(ms->version, sizeof(ms->version), "%.*s", (int)record.len,
                 (const char *)record.data);
}

int membership_load(struct member *m)
{
    struct membership *ms = &m->membership;
    struct rt_string record = {0};
    int got = store_cluster_get(m->store, RT_BYTES(MEMBERSHIP_KEY), &record);
    if (got == 1) {
        rt_mutex_lock(&ms->lock);
        rt_arena_reset(&ms->arena);
        ms->count = 0;
        ms->version[0] = 0;
        if (get_membership(ms, rt_bytes(record.data, record.len)))
            got = MEMBER_MALFORMED;
        else
            store_cluster_each(m->store, take_record, ms);
        rt_cond_broadcast(&ms->changed);
        rt_mutex_unlock(&ms->lock);
    }
    rt_string_deinit(&record);
    return got;
}

/* "3.6" of "3.6.0". */
static void log_version(struct member *m, bool is_first)
{
    char minor[16];
    snprintf(minor, sizeof(minor), "%s", m->membership.version);
    char *dot = strrchr(minor, '.');
    if (dot && strchr(minor, '.') != dot)
        *dot = 0;
    if (is_first)
        rt_log(m->log, RT_LOG_INFO, "set initial cluster version",
               rt_f_hex("cluster-id", m->cluster_id), rt_f_hex("local-member-id", m->id),
               rt_f_str("cluster-version", minor));
    rt_log(m->log, RT_LOG_INFO, "enabled capabilities for version",
           rt_f_str("cluster-version", minor));
}

void membership_log_version(struct member *m)
{
    if (m->membership.version[0])
        log_version(m, false);
}

void membership_record_applied(struct member *m, struct rt_bytes key, struct rt_bytes record)
{
    (void)record;
    bool had_version = m->membership.version[0] != 0;
    if (membership_load(m) < 0)
        rt_log(m->log, RT_LOG_ERROR, "the membership's record is malformed",
               rt_f_uint("applied", store_applied_index(m->store)));
    if (rt_bytes_equal(key, RT_BYTES(MEMBERSHIP_VERSION_KEY)))
        log_version(m, !had_version);
}

int membership_preload(struct member *m, struct rt_bytes record)
{
    return get_membership(&m->membership, record);
}

void membership_deinit(struct membership *ms) { rt_arena_deinit(&ms->arena); }

/* ---- The front door's questions ---- */

static void copy_urls(struct rt_arena *arena, const struct member_urls *from,
                      const char *const **urls, uint32_t *count)
{
    const char **copy = rt_arena_alloc(arena, (from->count + 1) * sizeof(*copy));
    for (uint32_t u = 0; u < from->count; u++)
        copy[u] = rt_arena_copy(arena, from->url[u], strlen(from->url[u]) + 1);
    *urls = copy;
    *count = from->count;
}

int member_list(struct member *m, struct rt_arena *arena, const struct member_info **out)
{
    struct membership *ms = &m->membership;
    rt_mutex_lock(&ms->lock);
    uint32_t count = ms->count;
    struct member_info *list = rt_arena_alloc_zero(arena, (count + 1) * sizeof(*list));
    for (uint32_t i = 0; i < count; i++) {
        const struct membership_entry *e = &ms->entry[i];
        list[i].id = e->id;
        list[i].name = rt_arena_copy(arena, e->name, strlen(e->name) + 1);
        list[i].is_learner = e->is_learner;
        copy_urls(arena, &e->peer_urls, &list[i].peer_urls, &list[i].peer_url_count);
        copy_urls(arena, &e->client_urls, &list[i].client_urls, &list[i].client_url_count);
    }
    rt_mutex_unlock(&ms->lock);
    *out = list;
    return (int)count;
}

void member_cluster_version(struct member *m, char *buf)
{
    rt_mutex_lock(&m->membership.lock);
    snprintf(buf, 16, "%s", m->membership.version);
    rt_mutex_unlock(&m->membership.lock);
}
