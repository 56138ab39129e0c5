/* Three members in one process, over loopback. */
#include "tests/kv/member/member_fixture.h"

/* All have applied the same and hold the same rows. */
static void settle_and_compare(struct cluster *c)
{
    uint32_t hash[MEMBERS_MAX];
    int64_t compact, at, wanted = 0;
    for (int i = 0; i < c->count; i++) {
        assert_int_equal(member_read_barrier(c->member[i], patience()), 0);
        if (store_revision(member_store(c->member[i])) > wanted)
            wanted = store_revision(member_store(c->member[i]));
    }
    for (int i = 0; i < c->count; i++) {
        assert_int_equal(member_read_barrier(c->member[i], patience()), 0);
        assert_int_equal(store_hash_kv(member_store(c->member[i]), wanted, &hash[i], &compact, &at),
                         0);
        assert_int_equal(hash[i], hash[0]);
    }
}

static void puts_through_any_member_are_read_on_every_other(void **state)
{
    (void)state;
    struct cluster c;
    char key[16], value[32];
    cluster_init(&c, 3);
    cluster_up(&c);
    for (int i = 0; i < 30; i++) {
        snprintf(key, sizeof(key), "key%d", i);
        assert_int_equal(put(c.member[i % 3], key, key), 0);
        assert_string_equal(get(c.member[(i + 1) % 3], key, value, sizeof(value)), key);
    }
    settle_and_compare(&c);
    cluster_deinit(&c);
}

static void ids_are_those_that_etcd_computes(void **state)
{
    (void)state;
    struct cluster c;
    cluster_init(&c, 3);
    cluster_up(&c);
    assert_true(member_cluster_id(c.member[0]) == member_cluster_id(c.member[1]));
    assert_true(member_id(c.member[0]) != member_id(c.member[1]));
    cluster_deinit(&c);
}

static void a_new_leader_takes_over_and_the_old_one_catches_up(void **state)
{
    (void)state;
    struct cluster c;
    char key[16], value[32];
    cluster_init(&c, 3);
    cluster_up(&c);
    assert_int_equal(put(c.member[0], "before", "1"), 0);
    int old = leader_of(&c);
    assert_true(old >= 0);
    c.member[old]->crash = true; // no handing over
    member_down(&c, old);
    for (int i = 0; i < 20; i++) {
        snprintf(key, sizeof(key), "key%d", i);
        assert_int_equal(put(c.member[(old + 1 + i % 2) % 3], key, key), 0);
    }
    member_up(&c, old);
    assert_string_equal(get(c.member[old], "before", value, sizeof(value)), "1");
    assert_string_equal(get(c.member[old], "key19", value, sizeof(value)), "key19");
    settle_and_compare(&c);
    cluster_deinit(&c);
}

static void a_stopped_leader_hands_over_first(void **state)
{
    (void)state;
    struct cluster c;
    cluster_init(&c, 3);
    cluster_up(&c);
    int old = leader_of(&c);
    assert_int_equal(put(c.member[old], "k", "v"), 0);
    assert_int_equal(member_transfer_leadership(c.member[old], 0, patience()), 0);
    assert_false(member_is_leader(c.member[old]));
    int now = -1;
    for (int i = 0; i < 3; i++)
        if (member_is_leader(c.member[i]))
            now = i;
    assert_int_equal(put(c.member[old], "k", "w"), 0);
    assert_true(now != old);
    cluster_deinit(&c);
}

static void without_a_quorum_nothing_is_promised(void **state)
{
    (void)state;
    struct cluster c;
    cluster_init(&c, 3);
    cluster_up(&c);
    assert_int_equal(put(c.member[0], "k", "v"), 0);
    member_down(&c, 1);
    member_down(&c, 2);
    int64_t soon = rt_after_ns(2 * RT_SECOND);
    assert_int_not_equal(member_read_barrier(c.member[0], soon), 0);
    struct store_result result = {0};
    struct rt_string body = {0};
    field_add_text(&body, 1, "k");
    struct member_proposal p = {.kind = STORE_PUT,
                                .body = rt_bytes(body.data, body.len),
                                .deadline_ns = rt_after_ns(RT_SECOND)};
    struct member_outcome out = {.result = &result};
    int err = member_propose(c.member[0], &p, &out);
    assert_true(err == MEMBER_TIMEOUT || err == MEMBER_TIMEOUT_LEADER_LOST ||
                err == MEMBER_LEADER_CHANGED);
    store_result_deinit(member_store(c.member[0]), &result);
    rt_string_deinit(&body);
    assert_int_equal(member_wait_no_leader(c.member[0], patience()), 0);
    member_up(&c, 1);
    assert_int_equal(put(c.member[1], "k", "w"), 0);
    member_up(&c, 2);
    settle_and_compare(&c);
    cluster_deinit(&c);
}

static int64_t grant(struct member *m, int64_t ttl_s)
{
    struct rt_string body = {0};
    field_add_int(&body, 1, ttl_s); // LeaseGrantRequest.TTL
    struct store_result result = {0};
    struct member_proposal p = {.kind = STORE_LEASE_GRANT,
                                .body = rt_bytes(body.data, body.len),
                                .deadline_ns = patience()};
    struct member_outcome out = {.result = &result};
    assert_int_equal(member_propose(m, &p, &out), 0);
    assert_int_equal(result.code, 0);
    assert_true(result.lease > 0);
    assert_true(result.lease == (int64_t)out.chosen_id);
    int64_t id = result.lease;
    rt_buf_unref(out.command);
    store_result_deinit(member_store(m), &result);
    rt_string_deinit(&body);
    return id;
}

static void leases_live_through_a_change_of_leader_and_are_renewed_by_any_member(void **state)
{
    (void)state;
    struct cluster c;
    int64_t ttl, granted;
    char value[16];
    cluster_init(&c, 3);
    cluster_up(&c);
    int64_t lease = grant(c.member[0], 600);
    assert_int_equal(put_with_lease(c.member[1], "leased", "x", lease, NULL), 0);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(member_lease_renew(c.member[i], lease, patience(), &ttl), 0);
        assert_int_equal(ttl, 600);
        assert_int_equal(member_lease_ttl(c.member[i], lease, patience(), &ttl, &granted), 0);
        assert_int_equal(granted, 600);
        assert_in_range(ttl, 500, 600);
    }
    assert_int_equal(member_lease_renew(c.member[0], 12345, patience(), &ttl), MEMBER_NO_LEASE);
    int old = leader_of(&c);
    c.member[old]->crash = true;
    member_down(&c, old);
    assert_int_equal(member_lease_renew(c.member[(old + 1) % 3], lease, patience(), &ttl), 0);
    assert_int_equal(ttl, 600);
    assert_string_equal(get(c.member[(old + 2) % 3], "leased", value, sizeof(value)), "x");
    cluster_deinit(&c);
}

static void an_expired_lease_is_revoked_with_its_keys(void **state)
{
    (void)state;
    struct cluster c;
    int64_t ttl;
    char value[16];
    cluster_init(&c, 3);
    cluster_up(&c);
    int64_t lease = grant(c.member[0], 1);
    assert_int_equal(put_with_lease(c.member[0], "leased", "x", lease, NULL), 0);
    int64_t until = patience();
    while (*get(c.member[0], "leased", value, sizeof(value)) && rt_now_ns() < until)
        rt_sleep_ns(20 * RT_MS);
    assert_string_equal(value, "");
    assert_int_equal(member_lease_renew(c.member[1], lease, patience(), &ttl), MEMBER_NO_LEASE);
    settle_and_compare(&c);
    cluster_deinit(&c);
}

static void a_leader_that_slept_asks_the_cluster_before_it_answers_for_a_lease(void **state)
{
    (void)state;
    struct cluster c;
    int64_t ttl, until = patience();
    cluster_init(&c, 3);
    cluster_up(&c);
    struct member *m = c.member[leader_of(&c)];
    struct lease_clock *l = &m->leases;
    int64_t lease = grant(m, 60);
    assert_int_equal(member_lease_renew(m, lease, patience(), &ttl), 0);
    int64_t stalled_before = atomic_load(&l->stalled_ns);
    while (atomic_load(&l->stalled_ns) == stalled_before && rt_now_ns() < until) {
        atomic_store(&l->tick_ns, rt_now_ns() - 10 * RT_SECOND); // as if it had been stopped
        rt_sleep_ns(10 * RT_MS);
    }
    int64_t stalled = atomic_load(&l->stalled_ns);
    assert_true(stalled > stalled_before);
    assert_int_equal(member_lease_renew(m, lease, patience(), &ttl), 0);
    assert_true(atomic_load(&l->confirmed_ns) >= stalled);
    cluster_deinit(&c);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_leader_that_slept_asks_the_cluster_before_it_answers_for_a_lease),
    cmocka_unit_test(puts_through_any_member_are_read_on_every_other),
    cmocka_unit_test(ids_are_those_that_etcd_computes),
    cmocka_unit_test(a_new_leader_takes_over_and_the_old_one_catches_up),
    cmocka_unit_test(a_stopped_leader_hands_over_first),
    cmocka_unit_test(without_a_quorum_nothing_is_promised),
    cmocka_unit_test(leases_live_through_a_change_of_leader_and_are_renewed_by_any_member),
    cmocka_unit_test(an_expired_lease_is_revoked_with_its_keys),
};
RT_TEST_GROUP(group, tests)

int main(void) { return rt_test_main(NULL, group); }
