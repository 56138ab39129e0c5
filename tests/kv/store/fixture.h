/* tests/kv/store/fixture.h: a store in a directory of its own, commands made from C values, and
 * answers read back into C values. */
#pragma once
#include "kv/store/store.h"
#include "proto/fields.h"
#include "tests/support/rt_test.h"
#include <rt/file.h>
#include <rt/time.h>
#include <stdlib.h>

#define B(text) rt_bytes((text), strlen(text))

struct bench {
    struct store *s;
    struct store_options options;
    char dir[96];
    uint64_t term;
    struct rt_string answer; // of the last call
    int64_t revision;        // its header's
    struct store_result result;
};

static inline void remove_files(const char *dir);
static inline void remove_one(void *arg, const char *name)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", (const char *)arg, name);
    if (rt_unlink(path)) {
        remove_files(path);
        rt_rmdir(path);
    }
}
static inline void remove_files(const char *dir) { rt_list_dir(dir, remove_one, (void *)dir); }

static inline void bench_reopen(struct bench *b)
{
    struct why why = {""};
    int err = store_open(&b->options, &b->s, &why);
    if (err)
        fail_msg("store_open: %d: %s", err, why.text);
}

static inline void bench_open(struct bench *b)
{
    struct store_options options = b->options;
    const char *tmp = getenv("TMPDIR");
    memset(b, 0, sizeof *b);
    snprintf(b->dir, sizeof b->dir, "%s/kvd-store-%016llx", tmp ? tmp : "/tmp",
             (unsigned long long)rt_random_u64());
    b->options = options;
    b->options.dir = b->dir;
    b->term = 1;
    bench_reopen(b);
}

static inline void bench_close(struct bench *b)
{
    if (b->s)
        store_close(b->s);
    remove_files(b->dir);
    rt_rmdir(b->dir);
    rt_string_deinit(&b->answer);
}

static inline void bench_restart(struct bench *b)
{
    store_close(b->s);
    bench_reopen(b);
}

/* Apply one command; the answer, for the kinds that have one, is in b->answer. Returns its code. */
static inline int bench_apply(struct bench *b, struct store_command c)
{
    c.index = store_applied_index(b->s) + 1;
    if (!c.term)
        c.term = b->term;
    memset(&b->result, 0, sizeof b->result);
    b->answer.len = 0;
    assert_int_equal(store_wait_room(b->s, RT_FOREVER), 0);
    store_apply(b->s, &c, &b->result);
    int code = b->result.code;
    b->revision = b->result.revision;
    if (code == 0 && c.kind >= STORE_PUT && c.kind <= STORE_TXN)
        code = store_answer(b->s, c.kind, c.request, &b->result, &b->answer);
    else
        store_result_deinit(b->s, &b->result);
    return code;
}

/* ---- Requests, as wire bytes ---- */

struct put_args {
    const char *key, *value;
    int64_t lease;
    bool prev_kv, ignore_value, ignore_lease;
};
static inline void add_put(struct rt_string *r, struct put_args a)
{
    field_add_bytes(r, 1, B(a.key));
    if (a.value)
        field_add_bytes(r, 2, B(a.value));
    field_add_int(r, 3, a.lease);
    field_add_uint(r, 4, a.prev_kv);
    field_add_uint(r, 5, a.ignore_value);
    field_add_uint(r, 6, a.ignore_lease);
}
static inline int put_full(struct bench *b, struct put_args a)
{
    struct rt_string r = {NULL, 0, 0};
    add_put(&r, a);
    int code =
        bench_apply(b, (struct store_command){STORE_PUT, .request = rt_bytes(r.data, r.len)});
    rt_string_deinit(&r);
    return code;
}
static inline int put(struct bench *b, const char *key, const char *value)
{
    return put_full(b, (struct put_args){.key = key, .value = value});
}

struct delete_args {
    const char *key;
    struct rt_bytes end;
    bool prev_kv;
};
static inline void add_delete(struct rt_string *r, struct delete_args a)
{
    field_add_bytes(r, 1, B(a.key));
    field_add_bytes(r, 2, a.end);
    field_add_uint(r, 3, a.prev_kv);
}
static inline int delete_full(struct bench *b, struct delete_args a)
{
    struct rt_string r = {NULL, 0, 0};
    add_delete(&r, a);
    int code = bench_apply(
        b, (struct store_command){STORE_DELETE_RANGE, .request = rt_bytes(r.data, r.len)});
    rt_string_deinit(&r);
    return code;
}
static inline int del(struct bench *b, const char *key)
{
    return delete_full(b, (struct delete_args){.key = key});
}

/* A flat message of up to two integers. */
static inline int apply_ints(struct bench *b, enum store_command_kind kind, int64_t one,
                             int64_t two, int64_t three)
{
    struct rt_string r = {NULL, 0, 0};
    field_add_int(&r, 1, one);
    field_add_int(&r, 2, two);
    field_add_int(&r, 3, three);
    int code = bench_apply(
        b, (struct store_command){kind, .request = rt_bytes(r.data, r.len), .chosen_id = 4711});
    rt_string_deinit(&r);
    return code;
}
static inline int compact(struct bench *b, int64_t revision)
{
    return apply_ints(b, STORE_COMPACT, revision, 0, 0);
}
static inline int grant(struct bench *b, int64_t ttl, int64_t id)
{
    return apply_ints(b, STORE_LEASE_GRANT, ttl, id, 0);
}
static inline int revoke_lease(struct bench *b, int64_t id)
{
    return apply_ints(b, STORE_LEASE_REVOKE, id, 0, 0);
}
static inline int alarm_set(struct bench *b, int64_t action, int64_t member, int64_t type)
{
    return apply_ints(b, STORE_ALARM, action, member, type);
}

struct range_args {
    const char *key;
    struct rt_bytes end;
    int64_t limit, revision, order, target, min_mod, max_mod, min_create, max_create;
    bool keys_only, count_only;
};
static inline void add_range(struct rt_string *r, struct range_args a)
{
    field_add_bytes(r, 1, B(a.key));
    field_add_bytes(r, 2, a.end);
    field_add_int(r, 3, a.limit);
    field_add_int(r, 4, a.revision);
    field_add_int(r, 5, a.order);
    field_add_int(r, 6, a.target);
    field_add_uint(r, 8, a.keys_only);
    field_add_uint(r, 9, a.count_only);
    field_add_int(r, 10, a.min_mod);
    field_add_int(r, 11, a.max_mod);
    field_add_int(r, 12, a.min_create);
    field_add_int(r, 13, a.max_create);
}
static inline int range(struct bench *b, struct range_args a)
{
    struct rt_string r = {NULL, 0, 0};
    add_range(&r, a);
    b->answer.len = 0;
    int code = store_range(b->s, rt_bytes(r.data, r.len), &b->answer, &b->revision);
    rt_string_deinit(&r);
    return code;
}
#define FROM_HERE rt_bytes("\0", 1)
#define ALL_KEYS  .end = FROM_HERE

/* ---- Answers as text, for comparing by eye ---- */

/* "key=value@create.mod.version[+lease]" */
static inline void describe_kv(struct rt_string *out, struct rt_bytes kv)
{
    struct fields f = fields_of(kv);
    struct field it;
    struct rt_bytes key = {NULL, 0}, value = {NULL, 0};
    int64_t n[7] = {0};
    while (fields_next(&f, &it) > 0) {
        if (it.number == 1)
            key = it.bytes;
        else if (it.number == 5)
            value = it.bytes;
        else
            n[it.number] = (int64_t)it.value;
    }
    rt_string_printf(out, "%.*s=%.*s@%lld.%lld.%lld", (int)key.len, (const char *)key.data,
                     (int)value.len, (const char *)value.data, (long long)n[2], (long long)n[3],
                     (long long)n[4]);
    if (n[6])
        rt_string_printf(out, "+%lld", (long long)n[6]);
}

/* A RangeResponse: its pairs, "more", "count=N". */
static inline void describe_range(struct rt_string *out, struct rt_bytes body)
{
    struct fields f = fields_of(body);
    struct field it;
    while (fields_next(&f, &it) > 0) {
        if (it.number == 2) {
            describe_kv(out, it.bytes);
            rt_string_printf(out, " ");
        } else if (it.number == 3 && it.value)
            rt_string_printf(out, "more ");
        else if (it.number == 4)
            rt_string_printf(out, "count=%lld", (long long)it.value);
    }
}

static inline int64_t header_revision(struct rt_bytes header)
{
    struct fields f = fields_of(header);
    struct field it;
    int64_t revision = 0;
    while (fields_next(&f, &it) > 0)
        if (it.number == 3)
            revision = (int64_t)it.value;
    return revision;
}

/* A TxnResponse: "yes" or "no", then each answer in brackets with its header's revision. */
static inline void describe_txn(struct rt_string *out, struct rt_bytes body)
{
    struct fields f = fields_of(body);
    struct field it;
    bool succeeded = false;
    struct rt_string ops = {NULL, 0, 0};
    while (fields_next(&f, &it) > 0) {
        if (it.number == 2)
            succeeded = it.value;
        if (it.number != 3)
            continue;
        struct fields op = fields_of(it.bytes), inner;
        struct field kind, x;
        assert_int_equal(fields_next(&op, &kind), 1);
        rt_string_printf(&ops, " [");
        inner = fields_of(kind.bytes);
        while (fields_next(&inner, &x) > 0) {
            if (x.number == 1)
                rt_string_printf(&ops, "%lld:", (long long)header_revision(x.bytes));
            else if (kind.number == 3 && x.number == 2)
                rt_string_printf(&ops, "deleted=%lld", (long long)x.value);
            else if (kind.number == 4)
                continue;
            else if (x.wire == FIELD_LEN) {
                describe_kv(&ops, x.bytes);
                rt_string_printf(&ops, " ");
            } else if (kind.number == 1 && x.number == 4)
                rt_string_printf(&ops, "count=%lld", (long long)x.value);
        }
        if (kind.number == 4)
            describe_txn(&ops, kind.bytes);
        rt_string_printf(&ops, "]");
    }
    rt_string_printf(out, "%s%s", succeeded ? "yes" : "no", rt_string_cstr(&ops));
    rt_string_deinit(&ops);
}

#define expect_text(out, wanted)                                                                   \
    do {                                                                                           \
        assert_string_equal(rt_string_cstr(&(out)), (wanted));                                     \
        rt_string_deinit(&(out));                                                                  \
        (out) = (struct rt_string){NULL, 0, 0};                                                    \
    } while (0)

#define expect_range(b, args, wanted)                                                              \
    do {                                                                                           \
        struct rt_string text_ = {NULL, 0, 0};                                                     \
        assert_int_equal(range((b), (struct range_args)args), 0);                                  \
        describe_range(&text_, rt_bytes((b)->answer.data, (b)->answer.len));                       \
        expect_text(text_, wanted);                                                                \
    } while (0)
#define R(k, ...)                                                                                  \
    {                                                                                              \
        .key = (k), __VA_ARGS__                                                                    \
    }
