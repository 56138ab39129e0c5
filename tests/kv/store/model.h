/* tests/kv/store/model.h: a store that anybody can see is right: every row ever written in one array,
 * and every question answered by looking at all of them. */
#pragma once
#include "tests/kv/store/fixture.h"

enum { MODEL_KEYS = 24 };

struct model_row {
    int64_t main, create, version, lease;
    uint32_t sub;
    bool tombstone;
    char key[8], value[16];
};

struct model {
    struct model_row *rows;
    uint32_t count, cap;
    int64_t revision, compact, main; // main: of the command at hand
    uint32_t sub;
};

static inline void model_init(struct model *m)
{
    *m = (struct model){.revision = 1, .compact = -1};
}

/* The newest row of the key before (main, sub); NULL when none or a deletion. */
static inline const struct model_row *model_find(const struct model *m, const char *key,
                                                 int64_t main, uint32_t sub)
{
    const struct model_row *found = NULL;
    for (uint32_t i = 0; i < m->count; i++) {
        const struct model_row *r = &m->rows[i];
        if (strcmp(r->key, key) == 0 && (r->main < main || (r->main == main && r->sub < sub)))
            found = r;
    }
    return found && !found->tombstone ? found : NULL;
}
static inline const struct model_row *model_now(const struct model *m, const char *key)
{
    return model_find(m, key, INT64_MAX, 0);
}

static inline struct model_row *model_add(struct model *m, const char *key)
{
    if (m->count == m->cap) {
        m->cap = m->cap ? 2 * m->cap : 1024;
        m->rows = realloc(m->rows, m->cap * sizeof *m->rows);
    }
    struct model_row *r = &m->rows[m->count++];
    memset(r, 0, sizeof *r);
    snprintf(r->key, sizeof r->key, "%s", key);
    r->main = m->main;
    r->sub = m->sub++;
    return r;
}

static inline void model_begin(struct model *m)
{
    m->main = m->revision + 1;
    m->sub = 0;
}
static inline void model_end(struct model *m)
{
    if (m->sub)
        m->revision = m->main;
}

static inline void model_put(struct model *m, const char *key, const char *value, int64_t lease)
{
    const struct model_row *old = model_now(m, key);
    int64_t create = old ? old->create : m->main, version = old ? old->version + 1 : 1;
    struct model_row *r = model_add(m, key);
    snprintf(r->value, sizeof r->value, "%s", value);
    r->create = create;
    r->version = version;
    r->lease = lease;
}

static inline void model_key(char key[8], int i) { snprintf(key, 8, "k%02d", i); }

/* Deletes every living key in [from, to). */
static inline uint32_t model_delete(struct model *m, const char *from, const char *to)
{
    uint32_t n = 0;
    for (int i = 0; i < MODEL_KEYS; i++) {
        char key[8];
        model_key(key, i);
        if (strcmp(key, from) >= 0 && strcmp(key, to) < 0 && model_now(m, key)) {
            model_add(m, key)->tombstone = true;
            n++;
        }
    }
    return n;
}

static inline void model_revoke(struct model *m, int64_t lease)
{
    for (int i = 0; i < MODEL_KEYS; i++) {
        char key[8];
        model_key(key, i);
        const struct model_row *r = model_now(m, key);
        if (r && r->lease == lease)
            model_add(m, key)->tombstone = true;
    }
}

/* All keys of [from, to) at a revision, as describe_range writes them. */
static inline void model_describe(const struct model *m, const char *from, const char *to,
                                  int64_t revision, struct rt_string *out)
{
    int64_t count = 0;
    for (int i = 0; i < MODEL_KEYS; i++) {
        char key[8];
        model_key(key, i);
        if (strcmp(key, from) < 0 || strcmp(key, to) >= 0)
            continue;
        const struct model_row *r = model_find(m, key, revision + 1, 0);
        if (!r)
            continue;
        count++;
        rt_string_printf(out, "%s=%s@%lld.%lld.%lld", r->key, r->value, (long long)r->create,
                         (long long)r->main, (long long)r->version);
        if (r->lease)
            rt_string_printf(out, "+%lld", (long long)r->lease);
        rt_string_printf(out, " ");
    }
    if (count)
        rt_string_printf(out, "count=%lld", (long long)count);
}

/* ---- HashKV, from its definition ---- */

static inline uint32_t model_crc(uint32_t crc, const void *data, size_t len)
{
    const uint8_t *p = data;
    crc = ~crc;
    for (size_t i = 0; i < len; i++) {
        crc ^= p[i];
        for (int b = 0; b < 8; b++)
            crc = crc >> 1 ^ (crc & 1 ? 0x82F63B78u : 0);
    }
    return ~crc;
}

static inline bool model_is_newest(const struct model *m, const struct model_row *r, int64_t at)
{
    return model_find(m, r->key, at + 1, 0) == r;
}

static inline uint32_t model_hash(const struct model *m, int64_t at)
{
    uint32_t crc = model_crc(0, "key", 3);
    bool any = false;
    for (uint32_t i = 0; i < m->count; i++)
        any |= m->rows[i].main <= at && model_is_newest(m, &m->rows[i], at);
    for (uint32_t i = 0; i < m->count; i++) {
        const struct model_row *r = &m->rows[i];
        struct rt_string value = {NULL, 0, 0};
        uint8_t name[18];
        if (r->main > at)
            break;
        // With nothing alive at `at`, etcd hashes what the compaction itself has left.
        if (r->main <= m->compact && !model_is_newest(m, r, any ? at : m->compact))
            continue;
        for (int b = 0; b < 8; b++) {
            name[b] = (uint8_t)((uint64_t)r->main >> (56 - 8 * b));
            name[9 + b] = (uint8_t)((uint64_t)r->sub >> (56 - 8 * b));
        }
        name[8] = '_';
        name[17] = 't';
        field_add_bytes(&value, 1, B(r->key));
        if (!r->tombstone) {
            field_add_int(&value, 2, r->create);
            field_add_int(&value, 3, r->main);
            field_add_int(&value, 4, r->version);
            field_add_bytes(&value, 5, B(r->value));
            field_add_int(&value, 6, r->lease);
        }
        crc = model_crc(crc, name, r->tombstone ? 18 : 17);
        crc = model_crc(crc, value.data, value.len);
        rt_string_deinit(&value);
    }
    return crc;
}
