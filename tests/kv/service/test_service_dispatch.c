/* What holds for every method: refusals, deadlines, a missing leader, the end of the service. */
#include "tests/kv/service/service_fixture.h"

#define PUT   "/etcdserverpb.KV/Put"
#define RANGE "/etcdserverpb.KV/Range"

static const char *const built_unary[] = {
    "/etcdserverpb.KV/Range",
    "/etcdserverpb.KV/Put",
    "/etcdserverpb.KV/DeleteRange",
    "/etcdserverpb.KV/Txn",
    "/etcdserverpb.KV/Compact",
    "/etcdserverpb.Lease/LeaseGrant",
    "/etcdserverpb.Lease/LeaseRevoke",
    "/etcdserverpb.Lease/LeaseTimeToLive",
    "/etcdserverpb.Lease/LeaseLeases",
    "/etcdserverpb.Cluster/MemberList",
    "/etcdserverpb.Maintenance/Alarm",
    "/etcdserverpb.Maintenance/Status",
    "/etcdserverpb.Maintenance/Defragment",
    "/etcdserverpb.Maintenance/Hash",
    "/etcdserverpb.Maintenance/HashKV",
    "/etcdserverpb.Maintenance/MoveLeader",
    "/grpc.health.v1.Health/Check",
};

static void bytes_that_are_no_message_are_refused_by_every_method(void **state)
{
    (void)state;
    struct served s;
    served_up(&s, NULL);
    for (size_t i = 0; i < ARRAY_LEN(built_unary); i++) {
        struct rt_buf *answer =
            call_raw(&s, built_unary[i], RT_BYTES("\xff\xff\xff"), NULL, 0, patience());
        if (answer)
            fail_msg("%s takes garbage", built_unary[i]);
        if (s.status.code != GRPC_INTERNAL ||
            strcmp(s.status.text, service_status_text(STATUS_MALFORMED)) != 0)
            fail_msg("%s: %s", built_unary[i], s.status.text);
    }
    assert_int_equal(put_kv(&s, "after", "it"), 2);
    served_down(&s);
}

static void what_is_not_built_is_unimplemented(void **state)
{
    (void)state;
    struct served s;
    served_up(&s, NULL);
    static const struct {
        const char *path, *text;
    } rows[] = {
        {"/etcdserverpb.Auth/UserAdd", "unknown"},
        {"/etcdserverpb.KV/RangeStream", "unknown method RangeStream for service etcdserverpb.KV"},
        {"/etcdserverpb.KV/Nonsense", "unknown method Nonsense for service etcdserverpb.KV"},
        {"/nobody.Nothing/Nonsense", "unknown service nobody.Nothing"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_null(call_raw(&s, rows[i].path, RT_BYTES(""), NULL, 0, patience()));
        if (s.status.code != GRPC_UNIMPLEMENTED || !strstr(s.status.text, rows[i].text))
            fail_msg("%s: %s: %s", rows[i].path, grpc_code_name(s.status.code), s.status.text);
    }
    served_down(&s);
}

static void a_client_version_must_be_text(void **state)
{
    (void)state;
    struct served s;
    served_up(&s, NULL);
    struct grpc_metadata good = {"client-api-version", "3.7"},
                         bad = {"client-api-version", "3.\xff"};
    struct rt_buf *answer =
        call_raw(&s, "/etcdserverpb.Maintenance/Status", RT_BYTES(""), &good, 1, patience());
    assert_non_null(answer);
    rt_buf_unref(answer);
    assert_null(
        call_raw(&s, "/etcdserverpb.Maintenance/Status", RT_BYTES(""), &bad, 1, patience()));
    expect_status(&s, STATUS_BAD_CLIENT_VERSION);
    served_down(&s);
}

/* PutRequest{key "k"} and RangeRequest{key "k"} are the same bytes. */
static const struct rt_bytes key_k = {(const uint8_t *)"\x0a\x01k", 3};
static const struct rt_bytes key_k_serializable = {(const uint8_t *)"\x0a\x01k\x38\x01", 5};

static void without_a_leader_only_local_answers_come(void **state)
{
    (void)state;
    struct served s;
    struct grpc_metadata hasleader = {"hasleader", "true"};
    memset(&s, 0, sizeof s);
    cluster_init(&s.c, 3);
    member_up(&s.c, 0); // one of three: no quorum
    service_up(&s, NULL);
    for (size_t i = 0; i < ARRAY_LEN(built_unary); i++) {
        assert_null(call_raw(&s, built_unary[i], key_k, &hasleader, 1, patience()));
        expect_status(&s, STATUS_NO_LEADER);
    }
    struct grpc_stream *stream = stream_open(&s, "/etcdserverpb.Watch/Watch", true);
    assert_null(stream_next(&s, stream, &etcdserverpb__watch_response__descriptor));
    expect_status(&s, STATUS_NO_LEADER);
    grpc_stream_close(stream);
    // Who does not insist gets what this member knows, and an end in time for the rest.
    struct rt_buf *answer = call_raw(&s, RANGE, key_k_serializable, NULL, 0, patience());
    assert_non_null(answer);
    rt_buf_unref(answer);
    Etcdserverpb__StatusRequest r = ETCDSERVERPB__STATUS_REQUEST__INIT;
    Etcdserverpb__StatusResponse *status = must(&s, "/etcdserverpb.Maintenance/Status", &r.base,
                                                &etcdserverpb__status_response__descriptor);
    assert_int_equal(status->leader, 0);
    assert_string_equal(status->errors[0], "etcdserver: no leader");
    assert_null(call_raw(&s, PUT, key_k, NULL, 0, patience()));
    assert_int_equal(s.status.code, GRPC_UNAVAILABLE);
    assert_null(call_raw(&s, RANGE, key_k, NULL, 0, patience()));
    assert_int_equal(s.status.code, GRPC_UNAVAILABLE);
    service_down(&s);
    cluster_deinit(&s.c);
}

static void a_stream_that_insists_ends_when_the_leader_is_lost(void **state)
{
    (void)state;
    struct served s;
    memset(&s, 0, sizeof s);
    cluster_init(&s.c, 2);
    cluster_up(&s.c);
    service_up(&s, NULL);
    assert_int_equal(member_wait_leader(s.c.member[0], patience()), 0);
    struct grpc_stream *watch = stream_open(&s, "/etcdserverpb.Watch/Watch", true);
    struct grpc_stream *lease = stream_open(&s, "/etcdserverpb.Lease/LeaseKeepAlive", true);
    struct grpc_stream *patient = stream_open(&s, "/etcdserverpb.Watch/Watch", false);
    // A create each, so that the streams are known to be there.
    struct grpc_stream *both[] = {watch, patient};
    for (int i = 0; i < 2; i++) {
        assert_int_equal(
            grpc_stream_send(both[i], &(struct grpc_part){.bytes = RT_BYTES("\x0a\x03\x0a\x01k")},
                             1, patience()),
            0);
        Etcdserverpb__WatchResponse *r =
            stream_next(&s, both[i], &etcdserverpb__watch_response__descriptor);
        assert_true(r->created);
    }
    assert_int_equal(
        grpc_stream_send(lease, &(struct grpc_part){.bytes = RT_BYTES("\x08\x05")}, 1, patience()),
        0);
    assert_non_null(stream_next(&s, lease, &etcdserverpb__lease_keep_alive_response__descriptor));
    member_down(&s.c, 1);
    assert_null(stream_next(&s, watch, &etcdserverpb__watch_response__descriptor));
    expect_status(&s, STATUS_NO_LEADER);
    assert_null(stream_next(&s, lease, &etcdserverpb__lease_keep_alive_response__descriptor));
    expect_status(&s, STATUS_NO_LEADER);
    struct rt_buf *message;
    assert_int_equal(grpc_stream_recv(patient, &message, 0), -ETIMEDOUT); // still there
    grpc_stream_close(watch);
    grpc_stream_close(lease);
    grpc_stream_close(patient);
    service_down(&s);
    cluster_deinit(&s.c);
}

static void a_passed_deadline_is_told_as_such(void **state)
{
    (void)state;
    struct served s;
    memset(&s, 0, sizeof s);
    cluster_init(&s.c, 3);
    member_up(&s.c, 0); // nothing will ever be done
    service_up(&s, NULL);
    assert_null(call_raw(&s, RANGE, key_k, NULL, 0, rt_after_ns(200 * RT_MS)));
    assert_int_equal(s.status.code, GRPC_DEADLINE_EXCEEDED);
    assert_null(call_raw(&s, PUT, key_k, NULL, 0, rt_after_ns(200 * RT_MS)));
    if (s.status.code != GRPC_DEADLINE_EXCEEDED && s.status.code != GRPC_UNAVAILABLE)
        fail_msg("%s", s.status.text); // refused at once, or waited for in vain
    service_down(&s);
    cluster_deinit(&s.c);
}

struct writer {
    struct grpc_client *client;
    struct rt_note ended;
    _Atomic int acknowledged;
    struct grpc_status last;
};

static void write_until_refused(void *arg)
{
    struct writer *w = arg;
    struct rt_buf *answer;
    while (grpc_client_call(w->client, PUT, key_k, NULL, 0, patience(), &answer, &w->last) == 0) {
        atomic_fetch_add(&w->acknowledged, 1);
        rt_buf_unref(answer);
    }
    rt_note_set(&w->ended);
}

static void stopping_lets_calls_finish_and_ends_streams(void **state)
{
    (void)state;
    enum { WRITERS = 8 };
    struct served s;
    struct writer *writers = calloc(WRITERS, sizeof *writers);
    served_up(&s, NULL);
    struct grpc_stream *watch = stream_open(&s, "/etcdserverpb.Watch/Watch", false);
    assert_int_equal(grpc_stream_send(watch,
                                      &(struct grpc_part){.bytes = RT_BYTES("\x0a\x03\x0a\x01q")},
                                      1, patience()),
                     0);
    assert_non_null(stream_next(&s, watch, &etcdserverpb__watch_response__descriptor));
    for (int i = 0; i < WRITERS; i++) {
        assert_int_equal(grpc_client_dial(rt_listener_address(s.clients), NULL, patience(),
                                          &writers[i].client, NULL),
                         0);
        assert_int_equal(rt_go("test-writer", write_until_refused, &writers[i]), 0);
    }
    for (int i = 0; i < WRITERS; i++)
        while (atomic_load(&writers[i].acknowledged) < 10)
            rt_sleep_ns(RT_MS);
    service_stop_accepting(&s);
    service_stop(s.service, patience());
    assert_null(stream_next(&s, watch, &etcdserverpb__watch_response__descriptor));
    expect_status(&s, STATUS_STOPPED);
    grpc_stream_close(watch);
    int acknowledged = 0;
    for (int i = 0; i < WRITERS; i++) {
        assert_int_equal(rt_note_wait(&writers[i].ended, patience()), 0);
        acknowledged += atomic_load(&writers[i].acknowledged);
        if (writers[i].last.code != GRPC_UNAVAILABLE)
            fail_msg("a writer ended with %s: %s", grpc_code_name(writers[i].last.code),
                     writers[i].last.text);
        grpc_client_close(writers[i].client);
    }
    free(writers);
    // Nothing that was begun was cut: each put made a revision and was acknowledged.
    assert_int_equal(store_revision(member_store(s.c.member[0])), 1 + acknowledged);
    grpc_client_close(s.client);
    member_begin_stop(s.c.member[0]);
    service_free(s.service);
    rt_metrics_free(s.metrics);
    rt_arena_deinit(&s.answers);
    cluster_deinit(&s.c);
}

static void every_status_has_a_code_and_a_sentence(void **state)
{
    (void)state;
    for (int i = 0; i < SERVICE_STATUS_COUNT; i++) {
        const char *text = service_status_text((enum service_status)i);
        assert_in_range(service_status_code((enum service_status)i), 0, GRPC_CODES - 1);
        if (i != STATUS_OK && !*text)
            fail_msg("status %d has no sentence", i);
        for (int j = 0; j < i; j++)
            if (strcmp(text, service_status_text((enum service_status)j)) == 0)
                fail_msg("\"%s\" stands twice", text);
    }
    // Every code of the floors below is foreseen, but for those that no client can cause.
    static const int codes[] = {
#define X(name, number, words) name,
        MEMBER_ERRORS(X) STORE_ERRORS(X)
#undef X
    };
    static const int unforeseen[] = {
        MEMBER_MALFORMED,        MEMBER_REFUSED,       MEMBER_BAD_CONFIG, STORE_FORMAT,
        STORE_DAMAGED,           STORE_IMAGE_OLD,      STORE_BUSY,        STORE_WATCH_DUPLICATE_ID,
        STORE_WATCH_EMPTY_RANGE, STORE_WATCH_TOO_MANY, // told in a watch's cancel_reason
    };
    for (size_t i = 0; i < ARRAY_LEN(codes); i++) {
        bool is_unforeseen = false;
        for (size_t j = 0; j < ARRAY_LEN(unforeseen); j++)
            is_unforeseen |= codes[i] == unforeseen[j];
        if (is_unforeseen != (service_status_of(codes[i]) == STATUS_INTERNAL))
            fail_msg("code %d: %s", codes[i], service_status_text(service_status_of(codes[i])));
    }
    assert_int_equal(service_status_of(0), STATUS_OK);
    assert_int_equal(service_status_of(-EIO), STATUS_INTERNAL);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(bytes_that_are_no_message_are_refused_by_every_method),
    cmocka_unit_test(what_is_not_built_is_unimplemented),
    cmocka_unit_test(a_client_version_must_be_text),
    cmocka_unit_test(without_a_leader_only_local_answers_come),
    cmocka_unit_test(a_stream_that_insists_ends_when_the_leader_is_lost),
    cmocka_unit_test(a_passed_deadline_is_told_as_such),
    cmocka_unit_test(stopping_lets_calls_finish_and_ends_streams),
    cmocka_unit_test(every_status_has_a_code_and_a_sentence),
};
RT_TEST_GROUP(group, tests)

int main(void) { return rt_test_main(NULL, group); }
