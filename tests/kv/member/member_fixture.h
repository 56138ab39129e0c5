/* tests/kv/member/member_fixture.h: members of one cluster in one process, on loopback, each with a
 * directory under a temporary one that goes at the end. */
#pragma once
#include "kv/member/member.h"
#include "kv/member/parts.h"
#include "kv/store/store.h"
#include "proto/fields.h"
#include "tests/support/rt_test.h"
#include <errno.h>
#include <ftw.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MEMBERS_MAX = 3, PATIENCE_S = 60 };

struct cluster {
    char dir[64];
    int count;
    uint16_t port[MEMBERS_MAX];
    char initial[256];
    char listen[MEMBERS_MAX][48], name[MEMBERS_MAX][8], data[MEMBERS_MAX][96];
    struct member_config config[MEMBERS_MAX];
    struct member *member[MEMBERS_MAX]; // NULL: not running
    struct rt_log *log;
};

static inline int64_t patience(void) { return rt_after_ns(PATIENCE_S * RT_SECOND); }

static inline int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st;
    (void)flag;
    (void)ftw;
    return remove(path);
}

static inline void remove_tree(const char *path)
{
    nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* Ports that were free a moment ago. */
static inline void pick_ports(struct cluster *c)
{
    struct rt_listener *held[MEMBERS_MAX];
    for (int i = 0; i < c->count; i++) {
        assert_int_equal(rt_listen("127.0.0.1:0", &held[i], NULL), 0);
        const char *address = rt_listener_address(held[i]);
        c->port[i] = (uint16_t)atoi(strrchr(address, ':') + 1);
    }
    for (int i = 0; i < c->count; i++)
        rt_listener_close(held[i]);
}

static inline void cluster_init(struct cluster *c, int count)
{
    memset(c, 0, sizeof(*c));
    const char *tmp = getenv("TMPDIR");
    snprintf(c->dir, sizeof(c->dir), "%.40s/kvd-member-XXXXXX", tmp ? tmp : "/tmp");
    assert_non_null(mkdtemp(c->dir));
    c->count = count;
    c->log = getenv("KVD_TEST_LOG") ? rt_log_new(2, RT_LOG_INFO) : NULL;
    pick_ports(c);
    for (int i = 0; i < count; i++) {
        snprintf(c->name[i], sizeof(c->name[i]), "m%d", i);
        snprintf(c->listen[i], sizeof(c->listen[i]), "http://127.0.0.1:%d", c->port[i]);
        snprintf(c->data[i], sizeof(c->data[i]), "%s/%s", c->dir, c->name[i]);
        snprintf(c->initial + strlen(c->initial), sizeof(c->initial) - strlen(c->initial),
                 "%s%s=%s", i ? "," : "", c->name[i], c->listen[i]);
    }
    for (int i = 0; i < count; i++)
        c->config[i] = (struct member_config){
            .name = c->name[i],
            .data_dir = c->data[i],
            .listen_peer_urls = c->listen[i],
            .advertise_client_urls = "http://127.0.0.1:1",
            .initial_cluster = c->initial,
            .heartbeat_ms = 50,
            .election_ms = 500,
            .wal_segment_bytes = 4 << 20,
            .log = c->log,
        };
}

static inline void member_up(struct cluster *c, int i)
{
    struct why why = {{0}};
    int err = member_start(&c->config[i], &c->member[i], &why);
    if (err)
        fail_msg("member %d does not start: %d, %s", i, err, why.text);
}

static inline void member_down(struct cluster *c, int i)
{
    member_stop(c->member[i], patience());
    c->member[i] = NULL;
}

static inline void cluster_up(struct cluster *c)
{
    for (int i = 0; i < c->count; i++)
        member_up(c, i);
    for (int i = 0; i < c->count; i++)
        assert_int_equal(member_wait_leader(c->member[i], patience()), 0);
}

static inline void cluster_deinit(struct cluster *c)
{
    for (int i = 0; i < c->count; i++)
        if (c->member[i])
            member_down(c, i);
    rt_log_free(c->log);
    remove_tree(c->dir);
}

static inline int leader_of(struct cluster *c)
{
    for (int i = 0; i < c->count; i++)
        if (c->member[i] && member_is_leader(c->member[i]))
            return i;
    return -1;
}

/* PutRequest {key, value, lease}. 0 or the member's or the store's code. */
static inline int put_with_lease(struct member *m, const char *key, const char *value,
                                 int64_t lease, int64_t *revision)
{
    struct rt_string body = {0};
    field_add_text(&body, 1, key);
    field_add_text(&body, 2, value);
    field_add_int(&body, 3, lease);
    struct store_result result = {0};
    struct member_proposal p = {
        .kind = STORE_PUT, .body = rt_bytes(body.data, body.len), .deadline_ns = patience()};
    struct member_outcome out = {.result = &result};
    int err = member_propose(m, &p, &out);
    if (!err) {
        err = result.code;
        if (revision)
            *revision = result.revision;
        rt_buf_unref(out.command);
    }
    store_result_deinit(member_store(m), &result);
    rt_string_deinit(&body);
    return err;
}

static inline int put(struct member *m, const char *key, const char *value)
{
    return put_with_lease(m, key, value, 0, NULL);
}

/* The value of a key after a read barrier, into buf; "" when there is none. */
static inline const char *get(struct member *m, const char *key, char *buf, size_t cap)
{
    struct rt_string request = {0}, body = {0};
    int64_t revision;
    buf[0] = 0;
    assert_int_equal(member_read_barrier(m, patience()), 0);
    field_add_text(&request, 1, key);
    assert_int_equal(
        store_range(member_store(m), rt_bytes(request.data, request.len), &body, &revision), 0);
    struct fields f = fields_of(rt_bytes(body.data, body.len));
    struct field it;
    while (fields_next(&f, &it) > 0) {
        if (FIELD_KEY(it.number, it.wire) != FIELD_KEY(2, FIELD_LEN))
            continue;
        struct fields kv = fields_of(it.bytes);
        struct field part;
        while (fields_next(&kv, &part) > 0)
            if (FIELD_KEY(part.number, part.wire) == FIELD_KEY(5, FIELD_LEN))
                snprintf(buf, cap, "%.*s", (int)part.bytes.len, (const char *)part.bytes.data);
    }
    rt_string_deinit(&request);
    rt_string_deinit(&body);
    return buf;
}
