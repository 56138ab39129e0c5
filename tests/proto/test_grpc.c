/* Server and client in one process over loopback. */
#include "tests/proto/grpc_fixture.h"

#define SOON rt_after_ns(60 * RT_SECOND)

static struct grpc_status status; // of the goroutine that runs the tests; big, so not on its stack

static void an_echo_comes_back(void **state)
{
    (void)state;
    struct fixture f;
    fixture_start(&f, NULL);
    struct grpc_client *c = fixture_dial(&f);
    static const char *const paths[] = {"/test.Echo/Echo", "/test.Echo/Inline"};
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        struct rt_buf *answer = NULL;
        assert_int_equal(
            grpc_client_call(c, paths[i], RT_BYTES("hello"), NULL, 0, SOON, &answer, &status), 0);
        assert_true(rt_bytes_equal(rt_buf_bytes(answer), RT_BYTES("hello")));
        rt_buf_unref(answer);
        assert_int_equal(
            grpc_client_call(c, paths[i], rt_bytes(NULL, 0), NULL, 0, SOON, &answer, &status), 0);
        assert_int_equal(answer->len, 0);
        rt_buf_unref(answer);
    }
    struct rt_buf *answer = NULL;
    assert_int_equal(
        grpc_client_call(c, "/test.Echo/Later", RT_BYTES("x"), NULL, 0, SOON, &answer, &status), 0);
    assert_true(rt_bytes_equal(rt_buf_bytes(answer), RT_BYTES("later")));
    rt_buf_unref(answer);
    grpc_client_close(c);
    fixture_stop(&f);
}

static void errors_come_with_code_and_text(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        int code;
        const char *text;
    } rows[] = {
        {"/test.Echo/Fail", GRPC_OUT_OF_RANGE, "etcdserver: 100% of \xc3\xa4 is\n\"gone\""},
        {"/test.Echo/Nothing", GRPC_UNIMPLEMENTED, "unknown method Nothing for service test.Echo"},
        {"/test.Other/Echo", GRPC_UNIMPLEMENTED, "unknown service test.Other"},
        {"/a/b/c", GRPC_UNIMPLEMENTED, "unknown service a/b"},
        {"/nothing", GRPC_UNIMPLEMENTED, "malformed method name: \"/nothing\""},
    };
    struct fixture f;
    fixture_start(&f, NULL);
    struct grpc_client *c = fixture_dial(&f);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct rt_buf *answer = NULL;
        int code =
            grpc_client_call(c, rows[i].path, RT_BYTES("x"), NULL, 0, SOON, &answer, &status);
        if (code != rows[i].code || strcmp(status.text, rows[i].text) != 0)
            fail_msg("%s: %d %s", rows[i].path, code, status.text);
        assert_null(answer);
    }
    grpc_client_close(c);
    fixture_stop(&f);
}

static void metadata_reaches_the_method(void **state)
{
    (void)state;
    struct fixture f;
    fixture_start(&f, NULL);
    struct grpc_client *c = fixture_dial(&f);
    static const struct grpc_metadata all[] = {{"authorization", "second"},
                                               {"token", "first"},
                                               {"hasleader", "true"},
                                               {"client-api-version", "3.7"},
                                               {"x-unknown", "y"}};
    static const struct {
        uint32_t count;
        bool deadline;
        const char *want;
    } rows[] = {{0, false, "- - 0 0"}, {1, true, "second - 0 1"}, {5, true, "first 3.7 1 1"}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct rt_buf *answer = NULL;
        assert_int_equal(grpc_client_call(c, "/test.Echo/Meta", RT_BYTES("x"), all, rows[i].count,
                                          rows[i].deadline ? SOON : RT_FOREVER, &answer, &status),
                         0);
        if (!rt_bytes_equal(rt_buf_bytes(answer), rt_bytes(rows[i].want, strlen(rows[i].want))))
            fail_msg("%.*s", (int)answer->len, answer->data);
        rt_buf_unref(answer);
    }
    grpc_client_close(c);
    fixture_stop(&f);
}

struct worker {
    struct fixture *f;
    struct grpc_client *client;
    struct rt_waitgroup *all;
    unsigned number;
    _Atomic int *good;
};

enum { CONNECTIONS = 64, CALLERS = 16, ROUNDS = 20 };

static void call_many(void *arg)
{
    struct worker *w = arg;
    struct grpc_status *st = rt_alloc(sizeof *st);
    for (unsigned i = 0; i < ROUNDS; i++) {
        uint32_t sent[64], len = 4 + (w->number * 7 + i) % 60;
        for (uint32_t k = 0; k < len; k++)
            sent[k] = w->number * 1000003u + i * 101u + k;
        struct rt_buf *answer = NULL;
        struct rt_bytes request = rt_bytes(sent, len * 4);
        int code = grpc_client_call(w->client, i % 2 ? "/test.Echo/Echo" : "/test.Echo/Inline",
                                    request, NULL, 0, SOON, &answer, st);
        if (code == 0 && rt_bytes_equal(rt_buf_bytes(answer), request))
            atomic_fetch_add(w->good, 1);
        rt_buf_unref(code == 0 ? answer : NULL);
    }
    rt_free(st);
    rt_waitgroup_done(w->all);
}

static void a_thousand_callers_on_64_connections_get_their_own_answers(void **state)
{
    (void)state;
    struct fixture f;
    fixture_start(&f, NULL);
    struct grpc_client *clients[CONNECTIONS];
    struct worker *workers = rt_alloc(CONNECTIONS * CALLERS * sizeof *workers);
    struct rt_waitgroup all = {0};
    _Atomic int good = 0;
    rt_waitgroup_add(&all, CONNECTIONS * CALLERS);
    for (unsigned i = 0; i < CONNECTIONS; i++) {
        clients[i] = fixture_dial(&f);
        for (unsigned k = 0; k < CALLERS; k++) {
            struct worker *w = &workers[i * CALLERS + k];
            *w = (struct worker){&f, clients[i], &all, i * CALLERS + k, &good};
            assert_int_equal(rt_go("test-caller", call_many, w), 0);
        }
    }
    assert_int_equal(rt_waitgroup_wait(&all, rt_after_ns(120 * RT_SECOND)), 0);
    assert_int_equal(atomic_load(&good), CONNECTIONS * CALLERS * ROUNDS);
    for (unsigned i = 0; i < CONNECTIONS; i++)
        grpc_client_close(clients[i]);
    rt_free(workers);
    struct rt_string text = {0};
    rt_metrics_write(f.metrics, &text);
    char want[160];
    snprintf(want, sizeof want,
             "grpc_server_handled_total{grpc_code=\"OK\",grpc_method=\"Echo\",grpc_service=\"test."
             "Echo\",grpc_type=\"unary\"} %d\n",
             CONNECTIONS * CALLERS * ROUNDS / 2);
    assert_non_null(strstr(rt_string_cstr(&text), want));
    assert_non_null(strstr(rt_string_cstr(&text), "kvd_grpc_calls 0\n"));
    rt_string_deinit(&text);
    fixture_stop(&f);
}

static void big_messages_go_both_ways(void **state)
{
    (void)state;
    struct fixture f;
    fixture_start(&f, NULL);
    struct grpc_client *c = fixture_dial(&f);
    size_t len = 3 << 19; // 1.5 MiB
    uint8_t *big = rt_alloc(len);
    for (size_t i = 0; i < len; i++)
        big[i] = (uint8_t)(i * 2654435761u >> 24);
    for (int i = 0; i < 4; i++) {
        struct rt_buf *answer = NULL;
        assert_int_equal(grpc_client_call(c, "/test.Echo/Echo", rt_bytes(big, len), NULL, 0, SOON,
                                          &answer, &status),
                         0);
        assert_true(rt_bytes_equal(rt_buf_bytes(answer), rt_bytes(big, len)));
        rt_buf_unref(answer);
    }
    rt_free(big);
    grpc_client_close(c);
    fixture_stop(&f);
}

static void a_message_over_the_limit_is_refused_by_its_prefix(void **state)
{
    (void)state;
    struct fixture f;
    fixture_start(&f, &(struct grpc_server_options){.max_receive_bytes = 1000});
    struct grpc_client *c = fixture_dial(&f);
    uint8_t *big = rt_alloc_zero(200000);
    struct rt_buf *answer = NULL;
    assert_int_equal(grpc_client_call(c, "/test.Echo/Echo", rt_bytes(big, 1001), NULL, 0, SOON,
                                      &answer, &status),
                     GRPC_RESOURCE_EXHAUSTED);
    assert_string_equal(status.text, "grpc: received message larger than max (1001 vs. 1000)");
    assert_int_equal(grpc_client_call(c, "/test.Echo/Echo", rt_bytes(big, 200000), NULL, 0, SOON,
                                      &answer, &status),
                     GRPC_RESOURCE_EXHAUSTED);
    assert_int_equal(grpc_client_call(c, "/test.Echo/Echo", rt_bytes(big, 1000), NULL, 0, SOON,
                                      &answer, &status),
                     0);
    rt_buf_unref(answer);
    rt_free(big);
    grpc_client_close(c);
    fixture_stop(&f);
}

static void a_stream_talks_both_ways(void **state)
{
    (void)state;
    struct fixture f;
    fixture_start(&f, NULL);
    struct grpc_client *c = fixture_dial(&f);
    struct grpc_stream *s = NULL;
    assert_int_equal(grpc_stream_open(c, "/test.Streams/Chat", NULL, 0, RT_FOREVER, &s, &status),
                     0);
    for (unsigned i = 0; i < 2000; i++) { // pipelined by tens
        assert_int_equal(
            grpc_stream_send(s, &(struct grpc_part){rt_bytes(&i, sizeof i), NULL}, 1, SOON), 0);
        if (i % 10 != 9)
            continue;
        for (unsigned k = i - 9; k <= i; k++) {
            struct rt_buf *m = NULL;
            assert_int_equal(grpc_stream_recv(s, &m, SOON), 1);
            assert_int_equal(m->len, sizeof k);
            assert_memory_equal(m->data, &k, sizeof k);
            rt_buf_unref(m);
        }
    }
    struct rt_buf *m = NULL;
    assert_int_equal(grpc_stream_recv(s, &m, 0), -ETIMEDOUT);
    grpc_stream_wake(s);
    assert_int_equal(grpc_stream_recv(s, &m, SOON), -EAGAIN);
    grpc_stream_half_close(s);
    assert_int_equal(grpc_stream_recv(s, &m, SOON), 0);
    assert_int_equal(grpc_stream_status(s)->code, GRPC_OK);
    assert_int_equal(grpc_stream_send(s, NULL, 0, SOON), -EPIPE);
    grpc_stream_close(s);
    grpc_client_close(c);
    fixture_stop(&f);
}

static void a_slow_reader_slows_its_sender_and_nobody_else(void **state)
{
    (void)state;
    struct fixture f;
    fixture_start(&f, NULL);
    struct grpc_client *c = fixture_dial(&f);
    struct grpc_stream *slow = NULL;
    enum { MESSAGES = 400, BYTES = 64 << 10 }; // 25 MiB
    assert_int_equal(grpc_stream_open(c, "/test.Streams/Big", NULL, 0, RT_FOREVER, &slow, &status),
                     0);
    assert_int_equal(
        grpc_stream_send(slow, &(struct grpc_part){RT_BYTES("400 65536"), NULL}, 1, SOON), 0);
    grpc_stream_half_close(slow);
    uint64_t before;
    do { // until the sender stands still
        before = atomic_load(&f.sent);
        rt_sleep_ns(50 * RT_MS);
    } while (before != atomic_load(&f.sent) || !before);
    assert_true(before < 64);       // a window, the send queue and what the client took unread
    for (int i = 0; i < 100; i++) { // others on the same connection go on
        struct rt_buf *answer = NULL;
        assert_int_equal(grpc_client_call(c, "/test.Echo/Echo", RT_BYTES("quick"), NULL, 0, SOON,
                                          &answer, &status),
                         0);
        rt_buf_unref(answer);
    }
    for (unsigned i = 0; i < MESSAGES; i++) {
        struct rt_buf *m = NULL;
        assert_int_equal(grpc_stream_recv(slow, &m, SOON), 1);
        assert_int_equal(m->len, BYTES + 4);
        assert_memory_equal(m->data, &i, 4);
        assert_int_equal(m->data[BYTES + 3], 'b');
        rt_buf_unref(m);
    }
    struct rt_buf *m = NULL;
    assert_int_equal(grpc_stream_recv(slow, &m, SOON), 0);
    assert_int_equal(grpc_stream_status(slow)->code, GRPC_OK);
    grpc_stream_close(slow);
    grpc_client_close(c);
    fixture_stop(&f);
}

static void a_server_that_does_not_read_holds_its_sender(void **state)
{
    (void)state;
    struct fixture f;
    fixture_start(&f, NULL);
    struct grpc_client *c = fixture_dial(&f);
    struct grpc_stream *s = NULL;
    assert_int_equal(grpc_stream_open(c, "/test.Streams/Mute", NULL, 0, RT_FOREVER, &s, &status),
                     0);
    uint8_t *block = rt_alloc_zero(64 << 10);
    int err = 0, sent = 0;
    for (; !err && sent < 1000; sent++) // 64 MiB if nothing held us
        err = grpc_stream_send(s, &(struct grpc_part){rt_bytes(block, 64 << 10), NULL}, 1,
                               rt_after_ns(200 * RT_MS));
    assert_int_equal(err, -ETIMEDOUT);
    assert_true(sent < 64);
    struct rt_buf *answer = NULL;
    assert_int_equal(
        grpc_client_call(c, "/test.Echo/Echo", RT_BYTES("quick"), NULL, 0, SOON, &answer, &status),
        0);
    rt_buf_unref(answer);
    rt_free(block);
    grpc_stream_close(s);
    grpc_client_close(c);
    fixture_stop(&f);
}

static void a_deadline_ends_the_call_on_both_sides(void **state)
{
    (void)state;
    struct fixture f;
    fixture_start(&f, NULL);
    struct grpc_client *c = fixture_dial(&f);
    struct rt_buf *answer = NULL;
    assert_int_equal(grpc_client_call(c, "/test.Echo/Park", RT_BYTES("x"), NULL, 0,
                                      rt_after_ns(30 * RT_MS), &answer, &status),
                     GRPC_DEADLINE_EXCEEDED);
    while (atomic_load(&f.timed_out) + atomic_load(&f.cancelled) < 1) // whichever came first
        rt_sleep_ns(RT_MS);
    struct grpc_stream *s = NULL;
    assert_int_equal(
        grpc_stream_open(c, "/test.Streams/Chat", NULL, 0, rt_after_ns(30 * RT_MS), &s, &status),
        0);
    assert_int_equal(grpc_stream_recv(s, &answer, SOON), 0);
    assert_int_equal(grpc_stream_status(s)->code, GRPC_DEADLINE_EXCEEDED);
    wait_for(&f.chats_ended, 1);
    grpc_stream_close(s);
    grpc_client_close(c);
    fixture_stop(&f);
}

static void park_in_a_stream(void *arg)
{
    struct worker *w = arg;
    struct grpc_status *st = rt_alloc(sizeof *st);
    struct rt_buf *answer = NULL;
    if (grpc_client_call(w->client, "/test.Echo/Park", RT_BYTES("x"), NULL, 0, SOON, &answer, st) ==
        GRPC_UNAVAILABLE)
        atomic_fetch_add(w->good, 1);
    rt_free(st);
    rt_waitgroup_done(w->all);
}

static void a_cancel_and_a_lost_connection_reach_the_method(void **state)
{
    (void)state;
    struct fixture f;
    fixture_start(&f, NULL);
    struct grpc_client *c = fixture_dial(&f);
    struct grpc_stream *s = NULL;
    assert_int_equal(grpc_stream_open(c, "/test.Echo/Park", NULL, 0, RT_FOREVER, &s, &status), 0);
    assert_int_equal(grpc_stream_send(s, &(struct grpc_part){RT_BYTES("x"), NULL}, 1, SOON), 0);
    wait_for(&f.parked, 1);
    grpc_stream_close(s); // RST_STREAM
    wait_for(&f.cancelled, 1);
    assert_int_equal(grpc_stream_open(c, "/test.Echo/Park", NULL, 0, RT_FOREVER, &s, &status), 0);
    assert_int_equal(grpc_stream_send(s, &(struct grpc_part){RT_BYTES("x"), NULL}, 1, SOON), 0);
    wait_for(&f.parked, 2);
    grpc_stream_close(s);
    grpc_client_close(c); // the socket goes
    wait_for(&f.cancelled, 2);
    fixture_stop(&f);
}

static void calls_on_a_lost_connection_say_so(void **state)
{
    (void)state;
    struct fixture f;
    fixture_start(&f, NULL);
    struct grpc_client *c = fixture_dial(&f);
    struct rt_waitgroup all = {0};
    _Atomic int good = 0;
    struct worker w = {&f, c, &all, 0, &good};
    rt_waitgroup_add(&all, 10);
    for (int i = 0; i < 10; i++)
        assert_int_equal(rt_go("test-parked", park_in_a_stream, &w), 0);
    wait_for(&f.parked, 10);
    rt_listener_close(f.listener);
    grpc_server_drain(f.server, rt_after_ns(100 * RT_MS)); // they do not end by themselves: cut
    assert_int_equal(rt_waitgroup_wait(&all, SOON), 0);
    assert_int_equal(atomic_load(&good), 10);
    assert_false(grpc_client_is_alive(c));
    struct rt_buf *answer = NULL;
    assert_int_equal(
        grpc_client_call(c, "/test.Echo/Echo", RT_BYTES("x"), NULL, 0, SOON, &answer, &status),
        GRPC_UNAVAILABLE);
    assert_non_null(strstr(status.text, "is lost"));
    grpc_client_close(c);
    rt_waitgroup_wait(&f.accepting, RT_FOREVER);
    grpc_server_free(f.server);
    rt_metrics_free(f.metrics);
    rt_free((void *)(uintptr_t)f.address);
}

static void a_drain_lets_calls_finish_and_ends_streams(void **state)
{
    (void)state;
    struct fixture f;
    fixture_start(&f, NULL);
    struct grpc_client *c = fixture_dial(&f);
    struct grpc_stream *chat = NULL, *parked = NULL;
    struct rt_buf *m = NULL;
    assert_int_equal(grpc_stream_open(c, "/test.Streams/Chat", NULL, 0, RT_FOREVER, &chat, &status),
                     0);
    assert_int_equal(grpc_stream_send(chat, &(struct grpc_part){RT_BYTES("x"), NULL}, 1, SOON), 0);
    assert_int_equal(grpc_stream_recv(chat, &m, SOON), 1);
    rt_buf_unref(m);
    assert_int_equal(
        grpc_stream_open(c, "/test.Echo/Park", NULL, 0, rt_after_ns(300 * RT_MS), &parked, &status),
        0);
    assert_int_equal(grpc_stream_send(parked, &(struct grpc_part){RT_BYTES("x"), NULL}, 1, SOON),
                     0);
    wait_for(&f.parked, 1);
    fixture_stop(&f); // waits for the parked call's own deadline
    assert_int_equal(grpc_stream_recv(chat, &m, SOON), 0);
    assert_int_equal(grpc_stream_status(chat)->code, GRPC_UNAVAILABLE);
    assert_string_equal(grpc_stream_status(chat)->text, "etcdserver: server stopped");
    assert_int_equal(grpc_stream_recv(parked, &m, SOON), 0);
    assert_int_equal(grpc_stream_status(parked)->code, GRPC_DEADLINE_EXCEEDED);
    assert_int_equal(f.timed_out, 1);
    grpc_stream_close(chat);
    grpc_stream_close(parked);
    grpc_client_close(c);
}

static void calls_beyond_the_bound_are_refused_not_queued(void **state)
{
    (void)state;
    struct fixture f;
    fixture_start(&f, &(struct grpc_server_options){.max_calls = 3});
    struct grpc_client *c = fixture_dial(&f);
    struct grpc_stream *held[3];
    for (int i = 0; i < 3; i++) {
        assert_int_equal(
            grpc_stream_open(c, "/test.Echo/Park", NULL, 0, RT_FOREVER, &held[i], &status), 0);
        assert_int_equal(
            grpc_stream_send(held[i], &(struct grpc_part){RT_BYTES("x"), NULL}, 1, SOON), 0);
    }
    wait_for(&f.parked, 3);
    struct rt_buf *answer = NULL;
    assert_int_equal(
        grpc_client_call(c, "/test.Echo/Echo", RT_BYTES("x"), NULL, 0, SOON, &answer, &status),
        GRPC_UNAVAILABLE);
    assert_non_null(strstr(status.text, "REFUSED_STREAM"));
    grpc_stream_close(held[0]);
    wait_for(&f.cancelled, 1);
    int code;
    do // the place is free as soon as the connection has seen the end
        code =
            grpc_client_call(c, "/test.Echo/Echo", RT_BYTES("x"), NULL, 0, SOON, &answer, &status);
    while (code == GRPC_UNAVAILABLE);
    assert_int_equal(code, 0);
    rt_buf_unref(answer);
    grpc_stream_close(held[1]);
    grpc_stream_close(held[2]);
    grpc_client_close(c);
    fixture_stop(&f);
}

static void unread_requests_are_bounded_for_the_whole_server(void **state)
{
    (void)state;
    struct fixture f;
    fixture_start(&f, &(struct grpc_server_options){.max_unread_bytes = 100000});
    struct grpc_client *first = fixture_dial(&f), *second = fixture_dial(&f);
    uint8_t *block = rt_alloc_zero(80000);
    struct grpc_part part = {rt_bytes(block, 80000), NULL};
    struct grpc_stream *held = NULL, *refused = NULL;
    struct rt_buf *m = NULL;
    // The first is read by nobody; when its bytes are surely there, the second does not fit.
    assert_int_equal(
        grpc_stream_open(first, "/test.Streams/Mute", NULL, 0, RT_FOREVER, &held, &status), 0);
    assert_int_equal(grpc_stream_send(held, &part, 1, SOON), 0);
    assert_int_equal(
        grpc_client_call(first, "/test.Echo/Echo", RT_BYTES("x"), NULL, 0, SOON, &m, &status), 0);
    rt_buf_unref(m);
    assert_int_equal(
        grpc_stream_open(second, "/test.Streams/Mute", NULL, 0, RT_FOREVER, &refused, &status), 0);
    assert_int_equal(grpc_stream_send(refused, &part, 1, SOON), 0);
    assert_int_equal(grpc_stream_recv(refused, &m, SOON), 0);
    assert_int_equal(grpc_stream_status(refused)->code, GRPC_RESOURCE_EXHAUSTED);
    grpc_stream_close(refused);
    grpc_stream_close(held);
    grpc_client_close(first); // gives its bytes back
    int code;
    do
        code = grpc_client_call(second, "/test.Echo/Echo", rt_bytes(block, 80000), NULL, 0, SOON,
                                &m, &status);
    while (code == GRPC_RESOURCE_EXHAUSTED);
    assert_int_equal(code, 0);
    rt_buf_unref(m);
    rt_free(block);
    grpc_client_close(second);
    fixture_stop(&f);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(an_echo_comes_back),
    cmocka_unit_test(errors_come_with_code_and_text),
    cmocka_unit_test(metadata_reaches_the_method),
    cmocka_unit_test(a_thousand_callers_on_64_connections_get_their_own_answers),
    cmocka_unit_test(big_messages_go_both_ways),
    cmocka_unit_test(a_message_over_the_limit_is_refused_by_its_prefix),
    cmocka_unit_test(a_stream_talks_both_ways),
    cmocka_unit_test(a_slow_reader_slows_its_sender_and_nobody_else),
    cmocka_unit_test(a_server_that_does_not_read_holds_its_sender),
    cmocka_unit_test(a_deadline_ends_the_call_on_both_sides),
    cmocka_unit_test(a_cancel_and_a_lost_connection_reach_the_method),
    cmocka_unit_test(calls_on_a_lost_connection_say_so),
    cmocka_unit_test(a_drain_lets_calls_finish_and_ends_streams),
    cmocka_unit_test(calls_beyond_the_bound_are_refused_not_queued),
    cmocka_unit_test(unread_requests_are_bounded_for_the_whole_server),
};
RT_TEST_GROUP(run, tests)

int main(void) { return rt_test_main(NULL, run); }
