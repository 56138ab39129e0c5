/* Maintenance, Cluster and Health through gRPC, and what the two ports answer to HTTP/1.1. */
#include "tests/kv/service/service_fixture.h"

#define MAINTENANCE "/etcdserverpb.Maintenance/"

static Etcdserverpb__StatusResponse *status_of(struct served *s)
{
    Etcdserverpb__StatusRequest r = ETCDSERVERPB__STATUS_REQUEST__INIT;
    return must(s, MAINTENANCE "Status", &r.base, &etcdserverpb__status_response__descriptor);
}

static Etcdserverpb__AlarmResponse *alarm_call(struct served *s,
                                               Etcdserverpb__AlarmRequest__AlarmAction action,
                                               uint64_t member, Etcdserverpb__AlarmType type)
{
    Etcdserverpb__AlarmRequest r = ETCDSERVERPB__ALARM_REQUEST__INIT;
    r.action = action;
    r.memberid = member;
    r.alarm = type;
    return must(s, MAINTENANCE "Alarm", &r.base, &etcdserverpb__alarm_response__descriptor);
}
#define GET        ETCDSERVERPB__ALARM_REQUEST__ALARM_ACTION__GET
#define ACTIVATE   ETCDSERVERPB__ALARM_REQUEST__ALARM_ACTION__ACTIVATE
#define DEACTIVATE ETCDSERVERPB__ALARM_REQUEST__ALARM_ACTION__DEACTIVATE
#define NONE       ETCDSERVERPB__ALARM_TYPE__NONE
#define NOSPACE    ETCDSERVERPB__ALARM_TYPE__NOSPACE
#define CORRUPT    ETCDSERVERPB__ALARM_TYPE__CORRUPT

/* One HTTP/1.1 request; the whole answer, until the end of the test. */
static const char *http(struct served *s, struct rt_listener *port, const char *method,
                        const char *target)
{
    struct rt_conn *conn;
    struct rt_string answer = {0};
    char buf[2048];
    ssize_t got;
    assert_int_equal(rt_dial(rt_listener_address(port), patience(), &conn, NULL), 0);
    int n = snprintf(buf, sizeof buf, "%s %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
                     method, target);
    assert_int_equal(rt_conn_write(conn, buf, (size_t)n), 0);
    while ((got = rt_conn_read(conn, buf, sizeof buf)) > 0)
        rt_string_append(&answer, buf, (size_t)got);
    rt_conn_close(conn);
    rt_conn_unref(conn);
    const char *text = rt_arena_printf(&s->answers, "%s", rt_string_cstr(&answer));
    rt_string_deinit(&answer);
    return text;
}

static void expect_http(const char *answer, const char *status, const char *part)
{
    if (strncmp(answer, "HTTP/1.1 ", 9) != 0 || strncmp(answer + 9, status, strlen(status)) != 0 ||
        !strstr(answer, part))
        fail_msg("wanted %s and %s:\n%s", status, part, answer);
}

static void status_tells_where_the_member_stands(void **state)
{
    (void)state;
    struct served s;
    served_up(&s, NULL);
    put_kv(&s, "k", "v");
    Etcdserverpb__StatusResponse *r = status_of(&s);
    assert_true(r->leader == member_id(s.c.member[0]));
    assert_int_equal(r->header->revision, 2);
    assert_true(r->raftterm == r->header->raft_term);
    assert_true(r->raftindex >= r->raftappliedindex && r->raftappliedindex > 0);
    assert_true(r->dbsize > 0); // etcdctl divides by it
    assert_true(r->dbsizeinuse > 0);
    assert_int_equal(r->dbsizequota, INT64_C(2) << 30);
    assert_int_equal(r->n_errors, 0);
    assert_false(r->islearner);
    assert_string_equal(r->version, "3.6.0");
    served_down(&s);
}

static void hashes_change_with_the_data(void **state)
{
    (void)state;
    struct served s;
    served_up(&s, NULL);
    put_kv(&s, "k", "v"); // 2
    put_kv(&s, "k", "w"); // 3
    Etcdserverpb__HashKVRequest r = ETCDSERVERPB__HASH_KVREQUEST__INIT;
    Etcdserverpb__HashKVResponse *now =
        must(&s, MAINTENANCE "HashKV", &r.base, &etcdserverpb__hash_kvresponse__descriptor);
    assert_int_equal(now->hash_revision, 3);
    assert_int_equal(now->compact_revision, -1);
    r.revision = 2;
    Etcdserverpb__HashKVResponse *then =
        must(&s, MAINTENANCE "HashKV", &r.base, &etcdserverpb__hash_kvresponse__descriptor);
    assert_int_equal(then->hash_revision, 2);
    assert_int_equal(then->header->revision, 3);
    assert_true(then->hash != now->hash);
    r.revision = 9;
    assert_null(
        call(&s, MAINTENANCE "HashKV", &r.base, &etcdserverpb__hash_kvresponse__descriptor));
    expect_status(&s, STATUS_FUTURE_REVISION);
    assert_non_null(compact(&s, 3));
    r.revision = 2;
    assert_null(
        call(&s, MAINTENANCE "HashKV", &r.base, &etcdserverpb__hash_kvresponse__descriptor));
    expect_status(&s, STATUS_COMPACTED);
    Etcdserverpb__HashRequest all = ETCDSERVERPB__HASH_REQUEST__INIT;
    Etcdserverpb__HashResponse *first =
        must(&s, MAINTENANCE "Hash", &all.base, &etcdserverpb__hash_response__descriptor);
    put_kv(&s, "k", "x");
    Etcdserverpb__HashResponse *second =
        must(&s, MAINTENANCE "Hash", &all.base, &etcdserverpb__hash_response__descriptor);
    assert_true(first->hash != second->hash);
    served_down(&s);
}

static void alarms_are_raised_listed_and_cleared(void **state)
{
    (void)state;
    struct served s;
    served_up(&s, NULL);
    uint64_t me = member_id(s.c.member[0]);
    assert_int_equal(alarm_call(&s, GET, 0, NONE)->n_alarms, 0);
    assert_int_equal(alarm_call(&s, ACTIVATE, me, NONE)->n_alarms, 0); // ignored
    Etcdserverpb__AlarmResponse *r = alarm_call(&s, ACTIVATE, me, CORRUPT);
    assert_int_equal(r->n_alarms, 1);
    assert_true(r->alarms[0]->memberid == me && r->alarms[0]->alarm == CORRUPT);
    assert_int_equal(alarm_call(&s, GET, 0, NONE)->n_alarms, 1);
    assert_int_equal(alarm_call(&s, GET, 99, CORRUPT)->n_alarms, 1); // the member is ignored
    assert_int_equal(alarm_call(&s, GET, 0, NOSPACE)->n_alarms, 0);
    Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
    put.key = blob("k");
    assert_null(put_request(&s, &put));
    expect_status(&s, STATUS_CORRUPT);
    expect_http(http(&s, s.clients, "GET", "/health"), "503",
                "{\"health\":\"false\",\"reason\":\"ALARM CORRUPT\"}");
    assert_int_equal(alarm_call(&s, DEACTIVATE, 99, CORRUPT)->n_alarms, 0); // another member's
    r = alarm_call(&s, DEACTIVATE, me, CORRUPT);
    assert_int_equal(r->n_alarms, 1);
    assert_true(r->alarms[0]->memberid == me);
    assert_int_equal(alarm_call(&s, GET, 0, NONE)->n_alarms, 0);
    assert_non_null(put_request(&s, &put));
    served_down(&s);
}

static void a_full_quota_refuses_writes_until_there_is_space_and_the_alarm_is_cleared(void **state)
{
    (void)state;
    struct served s;
    static uint8_t bytes[20 * 1000];
    memset(&s, 0, sizeof s);
    cluster_init(&s.c, 1);
    s.c.config[0].quota_bytes = 600 * 1000;
    cluster_up(&s.c);
    service_up(&s, NULL);
    Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
    put.key = blob("k");
    put.value = (ProtobufCBinaryData){sizeof bytes, bytes};
    int taken = 0;
    while (taken < 100 && put_request(&s, &put))
        taken++;
    assert_in_range(taken, 1, 99);
    expect_status(&s, STATUS_NO_SPACE);
    // The alarm goes through the log, so it comes a moment after the refusal.
    Etcdserverpb__AlarmResponse *alarms;
    for (int64_t until = patience();
         (alarms = alarm_call(&s, GET, 0, NONE))->n_alarms == 0 && rt_now_ns() < until;)
        rt_yield();
    assert_int_equal(alarms->n_alarms, 1);
    assert_int_equal(alarms->alarms[0]->alarm, NOSPACE);
    uint64_t me = member_id(s.c.member[0]);
    assert_true(alarms->alarms[0]->memberid == me);
    put.value.len = 1; // now even a small one
    assert_null(put_request(&s, &put));
    expect_status(&s, STATUS_NO_SPACE);
    assert_null(grant(&s, 60, 0));
    expect_status(&s, STATUS_NO_SPACE);
    char wanted[64];
    snprintf(wanted, sizeof wanted, "memberID:%llu alarm:NOSPACE ", (unsigned long long)me);
    Etcdserverpb__StatusResponse *status = status_of(&s);
    assert_int_equal(status->n_errors, 1);
    assert_string_equal(status->errors[0], wanted);
    assert_int_equal(status->dbsizequota, 600 * 1000);
    expect_http(http(&s, s.clients, "GET", "/health"), "503",
                "{\"health\":\"false\",\"reason\":\"ALARM NOSPACE\"}");
    expect_http(http(&s, s.clients, "GET", "/health?exclude=NOSPACE"), "200",
                "{\"health\":\"true\",\"reason\":\"\"}");
    // Reads and deletes go on, and so does what makes room.
    Etcdserverpb__RangeRequest get = ETCDSERVERPB__RANGE_REQUEST__INIT;
    get.key = blob("k");
    assert_int_equal(range_request(&s, &get)->kvs[0]->version, taken);
    int64_t last = delete_range(&s, "k", "")->header->revision;
    Etcdserverpb__CompactionRequest compaction = ETCDSERVERPB__COMPACTION_REQUEST__INIT;
    compaction.revision = last;
    compaction.physical = 1;
    must(&s, "/etcdserverpb.KV/Compact", &compaction.base,
         &etcdserverpb__compaction_response__descriptor);
    assert_null(put_request(&s, &put)); // the alarm holds until it is cleared
    expect_status(&s, STATUS_NO_SPACE);
    assert_int_equal(alarm_call(&s, DEACTIVATE, me, NOSPACE)->n_alarms, 1);
    for (int64_t until = patience(); !put_request(&s, &put) && rt_now_ns() < until;)
        alarm_call(&s, DEACTIVATE, me, NOSPACE); // pages are given back by the flusher's next turns
    assert_string_equal(s.status.text, "");
    served_down(&s);
}

static void the_member_list_names_urls_and_has_no_revision(void **state)
{
    (void)state;
    struct served s;
    served_up(&s, NULL);
    assert_int_equal(member_wait_published(s.c.member[0], patience()), 0);
    Etcdserverpb__MemberListRequest r = ETCDSERVERPB__MEMBER_LIST_REQUEST__INIT;
    for (int linearizable = 0; linearizable < 2; linearizable++) {
        r.linearizable = linearizable;
        Etcdserverpb__MemberListResponse *a = must(&s, "/etcdserverpb.Cluster/MemberList", &r.base,
                                                   &etcdserverpb__member_list_response__descriptor);
        assert_int_equal(a->n_members, 1);
        assert_true(a->members[0]->id == member_id(s.c.member[0]));
        assert_string_equal(a->members[0]->name, "m0");
        assert_string_equal(a->members[0]->peerurls[0], s.c.listen[0]);
        assert_string_equal(a->members[0]->clienturls[0], "http://127.0.0.1:1");
        assert_int_equal(a->header->revision, 0);
    }
    served_down(&s);
}

static void defragment_and_move_leader_answer_without_a_header(void **state)
{
    (void)state;
    struct served s;
    served_up(&s, NULL);
    Etcdserverpb__DefragmentRequest d = ETCDSERVERPB__DEFRAGMENT_REQUEST__INIT;
    Etcdserverpb__DefragmentResponse *r =
        must(&s, MAINTENANCE "Defragment", &d.base, &etcdserverpb__defragment_response__descriptor);
    assert_null(r->header);
    Etcdserverpb__MoveLeaderRequest m = ETCDSERVERPB__MOVE_LEADER_REQUEST__INIT;
    m.targetid = 77;
    assert_null(call(&s, MAINTENANCE "MoveLeader", &m.base,
                     &etcdserverpb__move_leader_response__descriptor));
    expect_status(&s, STATUS_BAD_TRANSFEREE);
    m.targetid = 0;
    assert_null(call(&s, MAINTENANCE "MoveLeader", &m.base,
                     &etcdserverpb__move_leader_response__descriptor));
    expect_status(&s, STATUS_BAD_TRANSFEREE);
    served_down(&s);
}

static void health_knows_only_the_server_itself(void **state)
{
    (void)state;
    struct served s;
    served_up(&s, NULL);
    struct rt_buf *answer =
        call_raw(&s, "/grpc.health.v1.Health/Check", RT_BYTES(""), NULL, 0, patience());
    assert_int_equal(answer->len, 2);
    assert_memory_equal(answer->data, "\x08\x01", 2); // SERVING
    rt_buf_unref(answer);
    assert_null(
        call_raw(&s, "/grpc.health.v1.Health/Check", RT_BYTES("\x0a\x01x"), NULL, 0, patience()));
    expect_status(&s, STATUS_UNKNOWN_SERVICE);
    assert_null(
        call_raw(&s, "/grpc.health.v1.Health/Check", RT_BYTES("\x0a\x05x"), NULL, 0, patience()));
    expect_status(&s, STATUS_MALFORMED);
    static const struct {
        struct rt_bytes request;
        const char *wanted;
    } rows[] = {
        {{NULL, 0}, "\x08\x01"},
        {{(const uint8_t *)"\x0a\x01x", 3}, "\x08\x03"}, // SERVING, SERVICE_UNKNOWN
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct grpc_stream *stream = stream_open(&s, "/grpc.health.v1.Health/Watch", false);
        assert_int_equal(
            grpc_stream_send(stream, &(struct grpc_part){.bytes = rows[i].request}, 1, patience()),
            0);
        grpc_stream_half_close(stream);
        assert_int_equal(grpc_stream_recv(stream, &answer, patience()), 1);
        assert_int_equal(answer->len, 2);
        assert_memory_equal(answer->data, rows[i].wanted, 2);
        rt_buf_unref(answer);
        grpc_stream_close(stream);
    }
    served_down(&s);
}

static void http_shows_health_version_metrics_and_insides_where_they_belong(void **state)
{
    (void)state;
    struct served s;
    served_up(&s, NULL);
    assert_int_equal(member_wait_published(s.c.member[0], patience()), 0);
    expect_http(http(&s, s.clients, "GET", "/health"), "200",
                "{\"health\":\"true\",\"reason\":\"\"}");
    expect_http(http(&s, s.clients, "GET", "/health?serializable=true"), "200",
                "{\"health\":\"true\",\"reason\":\"\"}");
    expect_http(http(&s, s.clients, "POST", "/health"), "405", "Allow: GET");
    char version[16] = "";
    for (int64_t until = patience(); !*version && rt_now_ns() < until; rt_yield())
        member_cluster_version(s.c.member[0],
                               version); // decided a moment after the member is published
    expect_http(http(&s, s.clients, "GET", "/version"), "200",
                "{\"etcdserver\":\"3.6.0\",\"etcdcluster\":\"3.6.0\",\"storage\":\"3.6.0\"}");
    expect_http(http(&s, s.clients, "GET", "/metrics"), "200", "text/plain; version=0.0.4");
    expect_http(http(&s, s.clients, "GET", "/metrics"), "200", "grpc_server_");
    expect_http(http(&s, s.clients, "GET", "/debug/goroutines"), "404", "404 page not found");
    expect_http(http(&s, s.clients, "GET", "/healthy"), "404", "404 page not found");
    expect_http(http(&s, s.insides, "GET", "/health"), "200",
                "{\"health\":\"true\",\"reason\":\"\"}");
    expect_http(http(&s, s.insides, "GET", "/metrics"), "200", "grpc_server_");
    expect_http(http(&s, s.insides, "GET", "/debug/goroutines"), "200", "leader-watch");
    expect_http(http(&s, s.insides, "GET", "/version"), "404", "404 page not found");
    served_down(&s);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(status_tells_where_the_member_stands),
    cmocka_unit_test(hashes_change_with_the_data),
    cmocka_unit_test(alarms_are_raised_listed_and_cleared),
    cmocka_unit_test(a_full_quota_refuses_writes_until_there_is_space_and_the_alarm_is_cleared),
    cmocka_unit_test(the_member_list_names_urls_and_has_no_revision),
    cmocka_unit_test(defragment_and_move_leader_answer_without_a_header),
    cmocka_unit_test(health_knows_only_the_server_itself),
    cmocka_unit_test(http_shows_health_version_metrics_and_insides_where_they_belong),
};
RT_TEST_GROUP(group, tests)

int main(void) { return rt_test_main(NULL, group); }
