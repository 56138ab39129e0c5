/* Leases: what is replicated, and the leader's clock (times are the test's own numbers). */
#include "tests/kv/store/fixture.h"

enum { S = 1000000000 };

static void grants_follow_etcds_limits(void **state)
{
    (void)state;
    struct bench b = {.s = NULL};
    bench_open(&b);
    assert_int_equal(grant(&b, 60, 5), 0);
    assert_int_equal(b.result.lease, 5);
    assert_int_equal(b.result.ttl_s, 60);
    assert_int_equal(grant(&b, 60, 5), STORE_LEASE_EXISTS);
    assert_int_equal(grant(&b, 1, 6), 0);
    assert_int_equal(b.result.ttl_s, 2); // raised to the floor
    assert_int_equal(grant(&b, -7, 7), 0);
    assert_int_equal(b.result.ttl_s, 2);
    assert_int_equal(grant(&b, 9000000001, 8), STORE_LEASE_TTL_TOO_LARGE);
    assert_int_equal(grant(&b, 9000000000, 8), 0);
    assert_int_equal(grant(&b, 60, 0), 0);
    assert_int_equal(b.result.lease, 4711); // the proposer's choice
    assert_int_equal(revoke_lease(&b, 99), STORE_LEASE_NOT_FOUND);
    assert_int_equal(store_revision(b.s), 1); // leases make no revisions
    bench_close(&b);
}

static int collect(void *arg, struct rt_bytes key)
{
    rt_string_printf(arg, "%.*s ", (int)key.len, (const char *)key.data);
    return 0;
}

#define expect_keys(b, lease, wanted)                                                              \
    do {                                                                                           \
        struct rt_string keys_ = {NULL, 0, 0};                                                     \
        assert_int_equal(store_lease_keys((b)->s, (lease), collect, &keys_), 0);                   \
        expect_text(keys_, wanted);                                                                \
    } while (0)

static void a_put_moves_its_key_from_lease_to_lease(void **state)
{
    (void)state;
    struct bench b = {.s = NULL};
    bench_open(&b);
    grant(&b, 60, 1);
    grant(&b, 60, 2);
    put_full(&b, (struct put_args){.key = "b", .lease = 1});
    put_full(&b, (struct put_args){.key = "a", .lease = 1});
    put_full(&b, (struct put_args){.key = "c", .lease = 1});
    expect_keys(&b, 1, "a b c ");
    put_full(&b, (struct put_args){.key = "b", .lease = 2});
    put_full(&b, (struct put_args){.key = "a"}); // lease 0 detaches
    put_full(&b, (struct put_args){.key = "c", .value = "x", .ignore_lease = true});
    for (int i = 0; i < 2; i++) {
        expect_keys(&b, 1, "c ");
        expect_keys(&b, 2, "b ");
        bench_restart(&b);
    }
    del(&b, "c");
    expect_keys(&b, 1, "");
    bench_close(&b);
}

static void a_revocation_deletes_its_keys_in_one_revision(void **state)
{
    (void)state;
    struct bench b = {.s = NULL};
    bench_open(&b);
    grant(&b, 60, 1);
    put_full(&b, (struct put_args){.key = "b", .lease = 1});
    put_full(&b, (struct put_args){.key = "a", .lease = 1});
    put(&b, "c", "1");
    assert_int_equal(revoke_lease(&b, 1), 0);
    assert_int_equal(store_revision(b.s), 5);
    expect_range(&b, R("a", .end = B("z")), "c=1@4.4.1 count=1");
    expect_range(&b, R("a", .end = B("z"), .revision = 4),
                 "a=@3.3.1+1 b=@2.2.1+1 c=1@4.4.1 count=3");
    grant(&b, 60, 1);
    revoke_lease(&b, 1); // without keys: no revision
    assert_int_equal(store_revision(b.s), 5);
    bench_restart(&b);
    int64_t *ids;
    assert_int_equal(store_lease_list(b.s, &ids), 0);
    rt_free(ids);
    bench_close(&b);
}

static void the_clock_runs_only_where_it_was_started(void **state)
{
    (void)state;
    struct bench b = {.s = NULL};
    int64_t ttl, granted, ids[4];
    bench_open(&b);
    grant(&b, 10, 1);
    assert_int_equal(store_lease_renew(b.s, 1, 0, &ttl), STORE_NOT_PRIMARY);
    assert_int_equal(store_lease_expired(b.s, INT64_MAX / 2, ids, 4), 0);
    store_lease_promote(b.s, 100LL * S, 1LL * S);
    assert_int_equal(store_lease_ttl(b.s, 1, 104LL * S, &ttl, &granted), 0);
    assert_int_equal(ttl, 7);
    assert_int_equal(granted, 10);
    assert_int_equal(store_lease_renew(b.s, 1, 105LL * S, &ttl), 0);
    assert_int_equal(ttl, 10);
    assert_int_equal(store_lease_expired(b.s, 114LL * S, ids, 4), 0);
    assert_int_equal(store_lease_expired(b.s, 115LL * S, ids, 4), 1);
    assert_int_equal(ids[0], 1);
    assert_int_equal(store_lease_expired(b.s, 116LL * S, ids, 4), 0); // told
    assert_int_equal(store_lease_expired(b.s, 118LL * S, ids, 4), 1); // and again
    assert_int_equal(store_lease_renew(b.s, 1, 116LL * S, &ttl), STORE_LEASE_EXPIRED);
    assert_int_equal(store_lease_ttl(b.s, 1, 116LL * S, &ttl, &granted), STORE_LEASE_NOT_FOUND);
    assert_int_equal(store_lease_renew(b.s, 2, 116LL * S, &ttl), STORE_LEASE_NOT_FOUND);
    revoke_lease(&b, 1);
    assert_int_equal(store_lease_wait_gone(b.s, 1, 0), 0);
    assert_int_equal(store_lease_expired(b.s, 130LL * S, ids, 4), 0);
    store_lease_demote(b.s);
    bench_close(&b);
}

static void leases_expire_in_order_of_their_time(void **state)
{
    (void)state;
    struct bench b = {.s = NULL};
    int64_t ids[100], *all;
    bench_open(&b);
    for (int i = 0; i < 100; i++)
        grant(&b, 10 + i * 37 % 100, i + 1);
    store_lease_promote(b.s, 0, 0);
    assert_int_equal(store_lease_list(b.s, &all), 100);
    assert_int_equal(store_lease_expired(b.s, 59LL * S, ids, 100), 50);
    for (int i = 0; i < 50; i++) {
        assert_int_equal(ids[i], all[i]);
        assert_int_equal(10 + (ids[i] - 1) * 37 % 100, 10 + i);
    }
    rt_free(all);
    bench_close(&b);
}

static void what_remains_survives_a_new_leader_and_a_restart(void **state)
{
    (void)state;
    struct bench b = {.s = NULL};
    struct store_checkpoint due[4];
    int64_t ttl, granted;
    bench_open(&b);
    grant(&b, 1000, 1);
    grant(&b, 100, 2); // shorter than the interval: never told
    store_lease_promote(b.s, 0, 0);
    assert_int_equal(store_lease_due_checkpoints(b.s, 299LL * S, 300LL * S, due, 4), 0);
    assert_int_equal(store_lease_due_checkpoints(b.s, 300LL * S, 300LL * S, due, 4), 1);
    assert_int_equal(due[0].lease, 1);
    assert_int_equal(due[0].remaining_ttl_s, 700);
    assert_int_equal(store_lease_due_checkpoints(b.s, 301LL * S, 300LL * S, due, 4), 0);
    struct rt_string r = {NULL, 0, 0};
    size_t x = field_begin(&r, 1);
    field_add_int(&r, 1, 1);
    field_add_int(&r, 2, 700);
    field_end(&r, x);
    assert_int_equal(bench_apply(&b, (struct store_command){STORE_LEASE_CHECKPOINT,
                                                            .request = rt_bytes(r.data, r.len)}),
                     0);
    rt_string_deinit(&r);
    bench_restart(&b);
    store_lease_promote(b.s, 5000LL * S, 1LL * S);
    assert_int_equal(store_lease_ttl(b.s, 1, 5000LL * S, &ttl, &granted), 0);
    assert_int_equal(ttl, 701);
    assert_int_equal(granted, 1000);
    // Renewed, it has its full time again: the others must hear that the checkpoint is void.
    assert_int_equal(store_lease_renew(b.s, 1, 5001LL * S, &ttl), 0);
    assert_int_equal(store_lease_due_checkpoints(b.s, 5001LL * S, 300LL * S, due, 4), 1);
    assert_int_equal(due[0].remaining_ttl_s, 0);
    bench_close(&b);
}

RT_TEST_GROUP(group, ((const struct CMUnitTest[]){
                         cmocka_unit_test(grants_follow_etcds_limits),
                         cmocka_unit_test(a_put_moves_its_key_from_lease_to_lease),
                         cmocka_unit_test(a_revocation_deletes_its_keys_in_one_revision),
                         cmocka_unit_test(the_clock_runs_only_where_it_was_started),
                         cmocka_unit_test(leases_expire_in_order_of_their_time),
                         cmocka_unit_test(what_remains_survives_a_new_leader_and_a_restart),
                     }))

int main(void) { return rt_test_main(NULL, group); }
