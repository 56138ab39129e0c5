/* kv/member/config.c: a configuration with its defaults filled in, checked. */
#include "kv/member/config.h"
#include "kv/member/parts.h"
#include <stdio.h>

static const char *copy(struct rt_arena *a, const char *text, const char *fallback)
{
    const char *from = text && *text ? text : fallback;
    return rt_arena_copy(a, from, strlen(from) + 1);
}

static void fill_numbers(struct member_config *c)
{
    if (!c->heartbeat_ms)
        c->heartbeat_ms = 100;
    if (!c->election_ms)
        c->election_ms = 1000;
    if (!c->snapshot_count)
        c->snapshot_count = 10000;
    if (!c->catchup_entries)
        c->catchup_entries = 5000;
    if (!c->catchup_bytes)
        c->catchup_bytes = UINT64_C(256) << 20;
    if (!c->max_request_bytes)
        c->max_request_bytes = 1572864;
    if (!c->max_txn_ops)
        c->max_txn_ops = 128;
    if (!c->max_inflight_msgs)
        c->max_inflight_msgs = 512;
}

static int check_numbers(const struct member_config *c, struct why *why)
{
    if (c->election_ms < 5 * (uint64_t)c->heartbeat_ms) {
        why_set(why,
                "--election-timeout %u ms must be at least five times --heartbeat-interval %u ms",
                c->election_ms, c->heartbeat_ms);
        return MEMBER_BAD_CONFIG;
    }
    if (c->election_ms > 50000) {
        why_set(why, "--election-timeout %u ms is longer than 50000 ms", c->election_ms);
        return MEMBER_BAD_CONFIG;
    }
    if (c->max_request_bytes > MEMBER_FRAME_BYTES / 2) {
        why_set(why, "--max-request-bytes %u is more than the %d that members exchange",
                c->max_request_bytes, MEMBER_FRAME_BYTES / 2);
        return MEMBER_BAD_CONFIG;
    }
    return 0;
}

static int refuse_secure(const struct member_urls *urls, const char *flag, struct why *why)
{
    for (uint32_t i = 0; i < urls->count; i++) {
        if (member_url_is_secure(urls->url[i])) {
            why_set(why, "%s: %s: members speak without TLS in this version; use http://", flag,
                    urls->url[i]);
            return MEMBER_BAD_CONFIG;
        }
    }
    return 0;
}

static int parse_urls(struct member *m, const char *flag, const char *text, struct member_urls *out,
                      bool may_be_secure, struct why *why)
{
    int err = member_urls_parse(text, &m->arena, out, why);
    if (err) {
        why_prefix(why, "%s", flag);
        return err;
    }
    if (!out->count) {
        why_set(why, "%s: needs at least one URL", flag);
        return MEMBER_BAD_CONFIG;
    }
    return may_be_secure ? 0 : refuse_secure(out, flag, why);
}

/* "<name>=<url>" for each URL that we advertise. */
static const char *own_cluster(struct member *m)
{
    struct rt_string text = {0};
    for (uint32_t i = 0; i < m->advertise_peer.count; i++)
        rt_string_printf(&text, "%s%s=%s", i ? "," : "", m->config.name, m->advertise_peer.url[i]);
    const char *copied = rt_arena_copy(&m->arena, rt_string_cstr(&text), text.len + 1);
    rt_string_deinit(&text);
    return copied;
}

int member_config_fill(struct member *m, const struct member_config *from, struct why *why)
{
    struct member_config *c = &m->config;
    struct rt_arena *a = &m->arena;
    *c = *from;
    c->name = copy(a, from->name, "default");
    if (strlen(c->name) >= MEMBER_NAME_BYTES || strpbrk(c->name, "\n=,")) {
        why_set(why, "--name: at most %d bytes, without '=', ',' or a new line",
                MEMBER_NAME_BYTES - 1);
        return MEMBER_BAD_CONFIG;
    }
    char dir[MEMBER_NAME_BYTES + 8];
    snprintf(dir, sizeof(dir), "%s.kvd", c->name);
    c->data_dir = copy(a, from->data_dir, dir);
    c->wal_dir = copy(a, from->wal_dir, "");
    c->listen_peer_urls = copy(a, from->listen_peer_urls, "http://localhost:2380");
    c->advertise_peer_urls = copy(a, from->advertise_peer_urls, c->listen_peer_urls);
    c->advertise_client_urls = copy(a, from->advertise_client_urls, "http://localhost:2379");
    c->initial_cluster_token = copy(a, from->initial_cluster_token, "etcd-cluster");
    if (strlen(c->initial_cluster_token) >= 256 || strchr(c->initial_cluster_token, '\n')) {
        why_set(why, "--initial-cluster-token: at most 255 bytes, without a new line");
        return MEMBER_BAD_CONFIG;
    }
    fill_numbers(c);
    int err = check_numbers(c, why);
    if (!err)
        err = parse_urls(m, "--listen-peer-urls", c->listen_peer_urls, &m->listen_peer, false, why);
    if (!err)
        err = parse_urls(m, "--initial-advertise-peer-urls", c->advertise_peer_urls,
                         &m->advertise_peer, false, why);
    if (!err)
        err = parse_urls(m, "--advertise-client-urls", c->advertise_client_urls,
                         &m->advertise_client, true, why);
    if (!err && m->listen_peer.count > MEMBER_LISTENERS) {
        why_set(why, "--listen-peer-urls: more than %d addresses", MEMBER_LISTENERS);
        err = MEMBER_BAD_CONFIG;
    }
    if (!err)
        c->initial_cluster = copy(a, from->initial_cluster, own_cluster(m));
    return err;
}

static const struct member_seed *own_seed(const struct member *m, const struct member_seeds *seeds)
{
    for (uint32_t i = 0; i < seeds->count; i++)
        if (strcmp(seeds->seed[i].name, m->config.name) == 0)
            return &seeds->seed[i];
    return NULL;
}

int member_config_identity(struct member *m, struct member_seeds *seeds, struct identity *out,
                           struct why *why)
{
    const struct member_config *c = &m->config;
    int err =
        member_seeds_parse(c->initial_cluster, c->initial_cluster_token, &m->arena, seeds, why);
    if (err)
        return err;
    for (uint32_t i = 0; i < seeds->count; i++) {
        err = refuse_secure(&seeds->seed[i].peer_urls, "--initial-cluster", why);
        if (err)
            return err;
    }
    const struct member_seed *self = own_seed(m, seeds);
    if (!self) {
        why_set(why, "--initial-cluster does not name this member, %s", c->name);
        return MEMBER_BAD_CONFIG;
    }
    if (!member_urls_same(&self->peer_urls, &m->advertise_peer)) {
        why_set(why, "--initial-cluster gives %s other URLs than --initial-advertise-peer-urls %s",
                c->name, c->advertise_peer_urls);
        return MEMBER_BAD_CONFIG;
    }
    if (c->initial_cluster_existing) {
        why_set(why,
                "%s holds no member yet, and joining a running cluster (--initial-cluster-state "
                "existing) is not built yet",
                c->data_dir);
        return MEMBER_BAD_CONFIG;
    }
    uint64_t ids[MEMBER_MEMBERS];
    for (uint32_t i = 0; i < seeds->count; i++)
        ids[i] = seeds->seed[i].id;
    *out = (struct identity){
        .cluster_id = member_cluster_id_of(ids, seeds->count),
        .member_id = self->id,
    };
    snprintf(out->name, sizeof(out->name), "%s", c->name);
    snprintf(out->token, sizeof(out->token), "%s", c->initial_cluster_token);
    return 0;
}
