/* Random commands against a model, with compactions, clean restarts and crashes: a crash leaves the
 * directory as the last flush made it, and what was applied since comes again from the log. */
#include "tests/kv/store/model.h"

enum { COMMANDS = 3000, LEASES = 6 };

struct logged {
    enum store_command_kind kind;
    struct rt_string bytes;
};

struct play {
    struct bench b;
    struct model m;
    struct logged log[COMMANDS + LEASES + 1]; // [index]
    uint64_t seed, random, refused, crashes, restarts, compactions;
};

static uint64_t draw(struct play *p, uint64_t below)
{
    p->random ^= p->random << 13;
    p->random ^= p->random >> 7;
    p->random ^= p->random << 17;
    return p->random % below;
}

static int run(struct play *p, enum store_command_kind kind, struct rt_string *request)
{
    uint64_t index = store_applied_index(p->b.s) + 1;
    struct store_command c = {kind, .request = rt_bytes(request->data, request->len)};
    int code = bench_apply(&p->b, c);
    p->log[index] = (struct logged){kind, *request};
    *request = (struct rt_string){NULL, 0, 0};
    return code;
}

/* ---- Commands ---- */

static void random_key(struct play *p, char key[8]) { model_key(key, (int)draw(p, MODEL_KEYS)); }

static void do_put(struct play *p)
{
    struct rt_string r = {NULL, 0, 0};
    char key[8], value[16];
    random_key(p, key);
    snprintf(value, sizeof value, "v%llu", (unsigned long long)draw(p, 100));
    const struct model_row *old = model_now(&p->m, key);
    struct put_args a = {.key = key, .value = value, .prev_kv = draw(p, 4) == 0};
    if (draw(p, 4) == 0)
        a.lease = 1 + (int64_t)draw(p, LEASES);
    if (draw(p, 6) == 0) {
        a.ignore_value = true;
        a.value = NULL;
    } else if (draw(p, 6) == 0) {
        a.ignore_lease = true;
        a.lease = 0;
    }
    add_put(&r, a);
    int code = run(p, STORE_PUT, &r);
    if ((a.ignore_value || a.ignore_lease) && !old) {
        assert_int_equal(code, STORE_KEY_NOT_FOUND);
        p->refused++;
        return;
    }
    assert_int_equal(code, 0);
    model_begin(&p->m);
    char kept[16];
    snprintf(kept, sizeof kept, "%s", a.ignore_value ? old->value : value);
    model_put(&p->m, key, kept, a.ignore_lease ? old->lease : a.lease);
    model_end(&p->m);
}

static void random_range(struct play *p, char from[8], char to[8])
{
    uint64_t width = 1 + draw(p, draw(p, 5) ? 4 : MODEL_KEYS);
    uint64_t first = draw(p, MODEL_KEYS);
    model_key(from, (int)first);
    model_key(to, (int)(first + width));
}

static void do_delete(struct play *p)
{
    struct rt_string r = {NULL, 0, 0};
    char from[8], to[8];
    random_range(p, from, to);
    add_delete(&r, (struct delete_args){.key = from, .end = B(to), .prev_kv = draw(p, 2)});
    assert_int_equal(run(p, STORE_DELETE_RANGE, &r), 0);
    model_begin(&p->m);
    model_delete(&p->m, from, to);
    model_end(&p->m);
}

/* If version(a) == n then put(b), delete [c, d) else put(a). The keys never meet. */
static void do_txn(struct play *p)
{
    struct rt_string r = {NULL, 0, 0};
    char a[8], b[8];
    random_key(p, a);
    random_key(p, b);
    const struct model_row *old = model_now(&p->m, a);
    int64_t version = draw(p, 2) ? (old ? old->version : 0) : (int64_t)draw(p, 3);
    bool holds = version == (old ? old->version : 0);
    size_t x = field_begin(&r, 1);
    field_add_bytes(&r, 3, B(a)); // VERSION, EQUAL: zeros
    field_add_uint_always(&r, 4, (uint64_t)version);
    field_end(&r, x);
    x = field_begin(&r, 2);
    size_t y = field_begin(&r, 2);
    add_put(&r, (struct put_args){.key = b, .value = "yes"});
    field_end(&r, y);
    field_end(&r, x);
    x = field_begin(&r, 2);
    y = field_begin(&r, 1);
    add_range(&r, (struct range_args){.key = "k", .end = B("l")});
    field_end(&r, y);
    field_end(&r, x);
    x = field_begin(&r, 3);
    y = field_begin(&r, 2);
    add_put(&r, (struct put_args){.key = a, .value = "no", .prev_kv = true});
    field_end(&r, y);
    field_end(&r, x);
    assert_int_equal(run(p, STORE_TXN, &r), 0);
    model_begin(&p->m);
    model_put(&p->m, holds ? b : a, holds ? "yes" : "no", 0);
    model_end(&p->m);
    if (holds) { // the range saw the put before it
        struct rt_string got = {NULL, 0, 0}, want = {NULL, 0, 0};
        struct rt_string kvs = {NULL, 0, 0};
        describe_txn(&got, rt_bytes(p->b.answer.data, p->b.answer.len));
        model_describe(&p->m, "k", "l", p->m.revision, &kvs);
        rt_string_printf(&want, "yes [%lld:] [%lld:%s]", (long long)p->m.revision,
                         (long long)p->m.revision, rt_string_cstr(&kvs));
        assert_string_equal(rt_string_cstr(&got), rt_string_cstr(&want));
        rt_string_deinit(&got);
        rt_string_deinit(&want);
        rt_string_deinit(&kvs);
    }
}

static void do_compact(struct play *p)
{
    struct rt_string r = {NULL, 0, 0};
    int64_t span = p->m.revision - p->m.compact;
    int64_t to = p->m.compact + (int64_t)draw(p, (uint64_t)span + 3);
    field_add_int(&r, 1, to);
    int code = run(p, STORE_COMPACT, &r);
    if (to <= p->m.compact)
        assert_int_equal(code, STORE_COMPACTED);
    else if (to > p->m.revision)
        assert_int_equal(code, STORE_FUTURE_REVISION);
    else {
        assert_int_equal(code, 0);
        p->m.compact = to;
        p->compactions++;
        if (draw(p, 3) == 0)
            assert_int_equal(store_wait_compacted(p->b.s, to, RT_FOREVER), 0);
    }
}

static void do_revoke_and_grant(struct play *p)
{
    struct rt_string r = {NULL, 0, 0};
    int64_t id = 1 + (int64_t)draw(p, LEASES);
    field_add_int(&r, 1, id);
    assert_int_equal(run(p, STORE_LEASE_REVOKE, &r), 0);
    model_begin(&p->m);
    model_revoke(&p->m, id);
    model_end(&p->m);
    field_add_int(&r, 1, 60);
    field_add_int(&r, 2, id);
    assert_int_equal(run(p, STORE_LEASE_GRANT, &r), 0);
}

/* ---- Restarts ---- */

static void copy_file(const char *from, const char *to)
{
    struct rt_file *in, *out;
    uint64_t size;
    uint8_t *block = malloc(1 << 20);
    assert_int_equal(rt_file_open(from, RT_OPEN_READ, 0, &in), 0);
    assert_int_equal(rt_file_open(to, RT_OPEN_WRITE | RT_OPEN_CREATE, 0600, &out), 0);
    assert_int_equal(rt_file_size(in, &size), 0);
    for (uint64_t at = 0; at < size; at += 1 << 20) {
        ssize_t n = rt_file_pread(in, block, 1 << 20, at);
        bool zero = n > 0 && block[0] == 0 && memcmp(block, block + 1, (size_t)n - 1) == 0;
        if (!zero)
            assert_int_equal(rt_file_pwrite(out, block, (size_t)n, at), 0);
    }
    rt_file_truncate(out, size);
    rt_file_close(in);
    rt_file_close(out);
    free(block);
}

static void crash(struct play *p)
{
    char dir[96], from[256], to[256];
    uint64_t durable = store_durable_index(p->b.s), applied = store_applied_index(p->b.s);
    snprintf(dir, sizeof dir, "%s-%llu", "/tmp/kvd-store-crash",
             (unsigned long long)rt_random_u64());
    rt_mkdir(dir, 0700);
    snprintf(to, sizeof to, "%s/db-1", dir);
    rt_mkdir(to, 0700);
    snprintf(from, sizeof from, "%s/current", p->b.dir);
    snprintf(to, sizeof to, "%s/current", dir);
    copy_file(from, to);
    snprintf(from, sizeof from, "%s/db-1/data.mdb", p->b.dir);
    snprintf(to, sizeof to, "%s/db-1/data.mdb", dir);
    copy_file(from, to);
    struct rt_string answer = p->b.answer;
    p->b.answer = (struct rt_string){NULL, 0, 0};
    bench_close(&p->b);
    p->b.answer = answer;
    snprintf(p->b.dir, sizeof p->b.dir, "%s", dir);
    p->b.options.dir = p->b.dir;
    bench_reopen(&p->b);
    assert_int_equal(store_applied_index(p->b.s), durable);
    for (uint64_t i = durable + 1; i <= applied; i++) {
        struct store_command c = {p->log[i].kind,
                                  .request = rt_bytes(p->log[i].bytes.data, p->log[i].bytes.len)};
        bench_apply(&p->b, c);
    }
    p->crashes++;
}

/* ---- Checks ---- */

static void check_range(struct play *p, int64_t revision)
{
    struct rt_string got = {NULL, 0, 0}, want = {NULL, 0, 0};
    char from[8], to[8];
    random_range(p, from, to);
    int code = range(&p->b, (struct range_args){.key = from, .end = B(to), .revision = revision});
    assert_int_equal(code, 0);
    describe_range(&got, rt_bytes(p->b.answer.data, p->b.answer.len));
    model_describe(&p->m, from, to, revision ? revision : p->m.revision, &want);
    assert_string_equal(rt_string_cstr(&got), rt_string_cstr(&want));
    rt_string_deinit(&got);
    rt_string_deinit(&want);
}

static void check(struct play *p)
{
    int64_t oldest = p->m.compact > 1 ? p->m.compact : 1;
    assert_int_equal(store_revision(p->b.s), p->m.revision);
    assert_int_equal(store_compact_revision(p->b.s), p->m.compact);
    check_range(p, 0);
    check_range(p, oldest + (int64_t)draw(p, (uint64_t)(p->m.revision - oldest) + 1));
    if (draw(p, 20) == 0) {
        uint32_t hash;
        int64_t compact, at;
        int64_t wanted = oldest + (int64_t)draw(p, (uint64_t)(p->m.revision - oldest) + 1);
        assert_int_equal(store_hash_kv(p->b.s, wanted, &hash, &compact, &at), 0);
        assert_int_equal(compact, p->m.compact);
        assert_int_equal(at, wanted);
        assert_int_equal(hash, model_hash(&p->m, wanted));
    }
}

static void step(struct play *p)
{
    switch (draw(p, 40)) {
    case 0:
        do_compact(p);
        break;
    case 1:
        do_revoke_and_grant(p);
        break;
    case 2 ... 7:
        do_delete(p);
        break;
    case 8 ... 15:
        do_txn(p);
        break;
    default:
        do_put(p);
        break;
    }
    check(p);
    if (draw(p, 30) == 0)
        assert_int_equal(store_sync(p->b.s, RT_FOREVER), 0);
    if (draw(p, 200) == 0) {
        bench_restart(&p->b);
        p->restarts++;
        check(p);
    } else if (draw(p, 200) == 0) {
        crash(p);
        check(p);
    }
}

static void the_store_answers_as_a_model_does_through_restarts_and_crashes(void **state)
{
    (void)state;
    const char *seed = getenv("KVD_SEED");
    struct play *p = calloc(1, sizeof *p);
    p->seed = seed ? strtoull(seed, NULL, 0) : 20240611;
    p->random = p->seed * 2 + 1;
    printf("# KVD_SEED=%llu\n", (unsigned long long)p->seed);
    p->b.options = (struct store_options){
        .flush_interval_ms = 3600 * 1000, // only when asked: a crash finds a known state
        .compact_slice_rows = 7,
    };
    bench_open(&p->b);
    model_init(&p->m);
    for (int64_t id = 1; id <= LEASES; id++) {
        struct rt_string r = {NULL, 0, 0};
        field_add_int(&r, 1, 60);
        field_add_int(&r, 2, id);
        assert_int_equal(run(p, STORE_LEASE_GRANT, &r), 0);
    }
    while (store_applied_index(p->b.s) + 2 < COMMANDS)
        step(p);
    printf("# %llu refused, %llu compactions, %llu restarts, %llu crashes\n",
           (unsigned long long)p->refused, (unsigned long long)p->compactions,
           (unsigned long long)p->restarts, (unsigned long long)p->crashes);
    assert_true(p->crashes > 0);
    assert_true(p->restarts > 0);
    bench_close(&p->b);
    for (int i = 0; i <= COMMANDS; i++)
        rt_string_deinit(&p->log[i].bytes);
    free(p->m.rows);
    free(p);
}

RT_TEST_GROUP(group,
              ((const struct CMUnitTest[]){
                  cmocka_unit_test(the_store_answers_as_a_model_does_through_restarts_and_crashes),
              }))

int main(void) { return rt_test_main(NULL, group); }
