/* The Lease service through gRPC. */
#include "tests/kv/service/service_fixture.h"

#define REVOKE     "/etcdserverpb.Lease/LeaseRevoke"
#define KEEP_ALIVE "/etcdserverpb.Lease/LeaseKeepAlive"

static bool revoke_lease(struct served *s, int64_t id)
{
    Etcdserverpb__LeaseRevokeRequest r = ETCDSERVERPB__LEASE_REVOKE_REQUEST__INIT;
    r.id = id;
    return call(s, REVOKE, &r.base, &etcdserverpb__lease_revoke_response__descriptor) != NULL;
}

static Etcdserverpb__LeaseTimeToLiveResponse *time_to_live(struct served *s, int64_t id, bool keys)
{
    Etcdserverpb__LeaseTimeToLiveRequest r = ETCDSERVERPB__LEASE_TIME_TO_LIVE_REQUEST__INIT;
    r.id = id;
    r.keys = keys;
    return must(s, "/etcdserverpb.Lease/LeaseTimeToLive", &r.base,
                &etcdserverpb__lease_time_to_live_response__descriptor);
}

static void put_leased(struct served *s, const char *key, int64_t lease)
{
    Etcdserverpb__PutRequest r = ETCDSERVERPB__PUT_REQUEST__INIT;
    r.key = blob(key);
    r.lease = lease;
    assert_non_null(put_request(s, &r));
}

static int64_t count_of(struct served *s, const char *key)
{
    Etcdserverpb__RangeRequest r = ETCDSERVERPB__RANGE_REQUEST__INIT;
    r.key = blob(key);
    return range_request(s, &r)->count;
}

static void a_grant_chooses_an_id_or_takes_the_one_given(void **state)
{
    (void)state;
    struct served s;
    served_up(&s, NULL);
    Etcdserverpb__LeaseGrantResponse *chosen = grant(&s, 60, 0), *given = grant(&s, 60, 4711);
    assert_true(chosen->id > 0);
    assert_int_equal(chosen->ttl, 60);
    assert_string_equal(chosen->error, "");
    assert_int_equal(chosen->header->revision, 1); // a lease makes none
    assert_int_equal(given->id, 4711);
    assert_null(grant(&s, 60, 4711));
    expect_status(&s, STATUS_LEASE_EXISTS);
    assert_null(grant(&s, 9000000001, 0));
    expect_status(&s, STATUS_LEASE_TTL_TOO_LARGE);
    assert_true(grant(&s, 0, 0)->ttl > 0); // raised to the least
    Etcdserverpb__LeaseLeasesRequest all = ETCDSERVERPB__LEASE_LEASES_REQUEST__INIT;
    Etcdserverpb__LeaseLeasesResponse *list =
        must(&s, "/etcdserverpb.Lease/LeaseLeases", &all.base,
             &etcdserverpb__lease_leases_response__descriptor);
    assert_int_equal(list->n_leases, 3);
    served_down(&s);
}

static void revoking_deletes_the_keys_in_one_revision(void **state)
{
    (void)state;
    struct served s;
    served_up(&s, NULL);
    grant(&s, 60, 5);
    put_leased(&s, "a", 5); // 2
    put_leased(&s, "b", 5); // 3
    Etcdserverpb__LeaseTimeToLiveResponse *ttl = time_to_live(&s, 5, true);
    assert_int_equal(ttl->grantedttl, 60);
    assert_true(ttl->ttl > 0 && ttl->ttl <= 60);
    assert_int_equal(ttl->n_keys, 2);
    assert_true(blob_is(ttl->keys[0], "a"));
    assert_int_equal(time_to_live(&s, 5, false)->n_keys, 0); // only when asked for
    assert_true(revoke_lease(&s, 5));
    assert_int_equal(count_of(&s, "a"), 0);
    assert_int_equal(count_of(&s, "b"), 0);
    assert_int_equal(put_kv(&s, "c", "v"), 5); // 4 was the revocation
    assert_false(revoke_lease(&s, 5));
    expect_status(&s, STATUS_LEASE_NOT_FOUND);
    ttl = time_to_live(&s, 5, true);
    assert_int_equal(ttl->ttl, -1);
    assert_int_equal(ttl->grantedttl, 0);
    assert_int_equal(ttl->id, 5);
    served_down(&s);
}

static Etcdserverpb__LeaseKeepAliveResponse *renew(struct served *s, struct grpc_stream *stream,
                                                   int64_t id)
{
    Etcdserverpb__LeaseKeepAliveRequest r = ETCDSERVERPB__LEASE_KEEP_ALIVE_REQUEST__INIT;
    r.id = id;
    stream_send(stream, &r.base);
    Etcdserverpb__LeaseKeepAliveResponse *a =
        stream_next(s, stream, &etcdserverpb__lease_keep_alive_response__descriptor);
    if (!a)
        fail_msg("the stream ended: %s", s->status.text);
    assert_int_equal(a->id, id);
    return a;
}

static void keep_alive_renews_and_tells_of_lost_leases_without_ending(void **state)
{
    (void)state;
    struct served s;
    served_up(&s, NULL);
    grant(&s, 60, 5);
    struct grpc_stream *stream = stream_open(&s, KEEP_ALIVE, false);
    assert_int_equal(renew(&s, stream, 5)->ttl, 60);
    assert_int_equal(renew(&s, stream, 6)->ttl, 0); // no such lease
    assert_int_equal(renew(&s, stream, 5)->ttl, 60);
    revoke_lease(&s, 5);
    assert_int_equal(renew(&s, stream, 5)->ttl, 0);
    grpc_stream_half_close(stream);
    assert_null(stream_next(&s, stream, &etcdserverpb__lease_keep_alive_response__descriptor));
    assert_int_equal(s.status.code, GRPC_OK);
    grpc_stream_close(stream);
    stream = stream_open(&s, KEEP_ALIVE, false);
    assert_int_equal(
        grpc_stream_send(stream, &(struct grpc_part){.bytes = RT_BYTES("\x08")}, 1, patience()), 0);
    assert_null(stream_next(&s, stream, &etcdserverpb__lease_keep_alive_response__descriptor));
    expect_status(&s, STATUS_MALFORMED);
    grpc_stream_close(stream);
    served_down(&s);
}

static void an_expired_lease_takes_its_keys_along_and_watchers_see_it(void **state)
{
    (void)state;
    struct served s;
    served_up(&s, NULL);
    int64_t id = grant(&s, 1, 0)->id; // as short as leases are
    put_leased(&s, "leased", id);
    struct grpc_stream *stream = stream_open(&s, "/etcdserverpb.Watch/Watch", false);
    Etcdserverpb__WatchCreateRequest create = ETCDSERVERPB__WATCH_CREATE_REQUEST__INIT;
    Etcdserverpb__WatchRequest request = ETCDSERVERPB__WATCH_REQUEST__INIT;
    create.key = blob("leased");
    request.request_union_case = ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_CREATE_REQUEST;
    request.create_request = &create;
    stream_send(stream, &request.base);
    Etcdserverpb__WatchResponse *r =
        stream_next(&s, stream, &etcdserverpb__watch_response__descriptor);
    assert_true(r->created);
    r = stream_next(&s, stream, &etcdserverpb__watch_response__descriptor);
    assert_int_equal(r->events[0]->type, MVCCPB__EVENT__EVENT_TYPE__DELETE);
    assert_int_equal(time_to_live(&s, id, false)->ttl, -1);
    assert_int_equal(count_of(&s, "leased"), 0);
    grpc_stream_close(stream);
    served_down(&s);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_grant_chooses_an_id_or_takes_the_one_given),
    cmocka_unit_test(revoking_deletes_the_keys_in_one_revision),
    cmocka_unit_test(keep_alive_renews_and_tells_of_lost_leases_without_ending),
    cmocka_unit_test(an_expired_lease_takes_its_keys_along_and_watchers_see_it),
};
RT_TEST_GROUP(group, tests)

int main(void) { return rt_test_main(NULL, group); }
