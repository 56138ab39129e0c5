/* The Watch service through gRPC: what a client may rely on, reply by reply. */
#include "tests/kv/service/service_fixture.h"

#define PUT    MVCCPB__EVENT__EVENT_TYPE__PUT
#define DELETE MVCCPB__EVENT__EVENT_TYPE__DELETE

static Etcdserverpb__WatchCreateRequest watch_key(const char *key)
{
    Etcdserverpb__WatchCreateRequest r = ETCDSERVERPB__WATCH_CREATE_REQUEST__INIT;
    r.key = blob(key);
    return r;
}

static void ask(struct grpc_stream *stream, Etcdserverpb__WatchCreateRequest *create)
{
    Etcdserverpb__WatchRequest r = ETCDSERVERPB__WATCH_REQUEST__INIT;
    r.request_union_case = ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_CREATE_REQUEST;
    r.create_request = create;
    stream_send(stream, &r.base);
}

static void ask_cancel(struct grpc_stream *stream, int64_t id)
{
    Etcdserverpb__WatchCancelRequest cancel = ETCDSERVERPB__WATCH_CANCEL_REQUEST__INIT;
    Etcdserverpb__WatchRequest r = ETCDSERVERPB__WATCH_REQUEST__INIT;
    cancel.watch_id = id;
    r.request_union_case = ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_CANCEL_REQUEST;
    r.cancel_request = &cancel;
    stream_send(stream, &r.base);
}

static void ask_progress(struct grpc_stream *stream)
{
    Etcdserverpb__WatchProgressRequest progress = ETCDSERVERPB__WATCH_PROGRESS_REQUEST__INIT;
    Etcdserverpb__WatchRequest r = ETCDSERVERPB__WATCH_REQUEST__INIT;
    r.request_union_case = ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_PROGRESS_REQUEST;
    r.progress_request = &progress;
    stream_send(stream, &r.base);
}

static struct grpc_stream *watch_open(struct served *s)
{
    return stream_open(s, "/etcdserverpb.Watch/Watch", false);
}

static Etcdserverpb__WatchResponse *next(struct served *s, struct grpc_stream *stream)
{
    Etcdserverpb__WatchResponse *r =
        stream_next(s, stream, &etcdserverpb__watch_response__descriptor);
    if (!r)
        fail_msg("the stream ended: %s", s->status.text);
    return r;
}

/* Create a watch that is accepted; its id. */
static int64_t watch(struct served *s, struct grpc_stream *stream,
                     Etcdserverpb__WatchCreateRequest *create)
{
    ask(stream, create);
    Etcdserverpb__WatchResponse *r = next(s, stream);
    if (!r->created || r->canceled)
        fail_msg("not created: %s", r->cancel_reason);
    assert_int_equal(r->n_events, 0);
    return r->watch_id;
}

static void expect_event(const Mvccpb__Event *e, Mvccpb__Event__EventType type, const char *key,
                         const char *value, int64_t revision)
{
    assert_int_equal(e->type, type);
    assert_true(blob_is(e->kv->key, key));
    assert_true(blob_is(e->kv->value, value));
    assert_int_equal(e->kv->mod_revision, revision);
}

static void a_watch_sees_what_comes_after_its_created_reply(void **state)
{
    (void)state;
    struct served s;
    served_up(&s, NULL);
    put_kv(&s, "k", "before"); // 2
    struct grpc_stream *stream = watch_open(&s);
    Etcdserverpb__WatchCreateRequest create = watch_key("k");
    ask(stream, &create);
    Etcdserverpb__WatchResponse *r = next(&s, stream);
    assert_true(r->created);
    assert_int_equal(r->watch_id, 0);
    assert_int_equal(r->header->revision, 2); // a client resumes after it
    put_kv(&s, "k", "after");
    put_kv(&s, "other", "x");
    delete_range(&s, "k", "");
    r = next(&s, stream);
    assert_int_equal(r->n_events, 1);
    assert_int_equal(r->header->revision, 3);
    expect_event(r->events[0], PUT, "k", "after", 3);
    assert_int_equal(r->events[0]->kv->create_revision, 2);
    assert_int_equal(r->events[0]->kv->version, 2);
    r = next(&s, stream);
    expect_event(r->events[0], DELETE, "k", "", 5);
    assert_int_equal(r->events[0]->kv->version,
                     0); // of a deleted key only the name and the revision
    grpc_stream_close(stream);
    served_down(&s);
}

static void ids_are_chosen_or_taken_as_given(void **state)
{
    (void)state;
    struct served s;
    served_up(&s, NULL);
    struct grpc_stream *stream = watch_open(&s);
    Etcdserverpb__WatchCreateRequest create = watch_key("k");
    create.watch_id = 1;
    assert_int_equal(watch(&s, stream, &create), 1);
    create.watch_id = 0;
    assert_int_equal(watch(&s, stream, &create), 0);
    assert_int_equal(watch(&s, stream, &create), 2); // 1 is taken
    create.watch_id = 1;
    ask(stream, &create);
    Etcdserverpb__WatchResponse *r = next(&s, stream);
    assert_true(r->created);
    assert_true(r->canceled);
    assert_int_equal(r->watch_id, -1);
    assert_string_equal(r->cancel_reason, "mvcc: duplicate watch ID provided on the WatchStream");
    grpc_stream_close(stream);
    served_down(&s);
}

static void a_refused_create_says_why_and_leaves_the_stream_alone(void **state)
{
    (void)state;
    struct served s;
    served_up(&s, NULL);
    struct grpc_stream *stream = watch_open(&s);
    static const struct {
        const char *when, *key, *end;
        int64_t start;
        const char *reason;
    } rows[] = {
        {"the range is empty", "b", "a", 0, "mvcc: watcher range is empty"},
        {"the range ends where it begins", "b", "b", 0, "mvcc: watcher range is empty"},
        {"the start is negative", "b", "", -1,
         "etcdserver: mvcc: required revision has been compacted"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        Etcdserverpb__WatchCreateRequest create = watch_key(rows[i].key);
        create.range_end = blob(rows[i].end);
        create.start_revision = rows[i].start;
        ask(stream, &create);
        Etcdserverpb__WatchResponse *r = next(&s, stream);
        if (!r->created || !r->canceled || r->watch_id != -1 ||
            strcmp(r->cancel_reason, rows[i].reason) != 0)
            fail_msg("when %s: id %d, %s", rows[i].when, (int)r->watch_id, r->cancel_reason);
    }
    Etcdserverpb__WatchCreateRequest create = watch_key("k");
    int64_t id = watch(&s, stream, &create);
    put_kv(&s, "k", "v");
    assert_int_equal(next(&s, stream)->watch_id, id);
    grpc_stream_close(stream);
    served_down(&s);
}

static void a_cancelled_watch_is_over_and_unknown_ids_are_ignored(void **state)
{
    (void)state;
    struct served s;
    served_up(&s, NULL);
    struct grpc_stream *stream = watch_open(&s);
    Etcdserverpb__WatchCreateRequest create = watch_key("k");
    int64_t first = watch(&s, stream, &create), second = watch(&s, stream, &create);
    ask_cancel(stream, 77);
    ask_cancel(stream, first);
    Etcdserverpb__WatchResponse *r = next(&s, stream);
    assert_true(r->canceled);
    assert_int_equal(r->watch_id, first);
    assert_string_equal(r->cancel_reason, "");
    assert_int_equal(r->compact_revision, 0);
    put_kv(&s, "k", "v");
    r = next(&s, stream);
    assert_int_equal(r->watch_id, second); // and nothing for the first
    ask_cancel(stream, second);
    assert_true(next(&s, stream)->canceled);
    grpc_stream_close(stream);
    served_down(&s);
}

static void a_watch_from_the_past_replays_it_in_order(void **state)
{
    (void)state;
    struct served s;
    served_up(&s, NULL);
    for (int i = 0; i < 50; i++) {
        char value[16];
        snprintf(value, sizeof value, "%d", i);
        put_kv(&s, "k", value); // 2 to 51
    }
    struct grpc_stream *stream = watch_open(&s);
    Etcdserverpb__WatchCreateRequest create = watch_key("k");
    create.start_revision = 11;
    watch(&s, stream, &create);
    put_kv(&s, "k", "live");
    int64_t expected = 11;
    while (expected <= 52) {
        Etcdserverpb__WatchResponse *r = next(&s, stream);
        for (size_t i = 0; i < r->n_events; i++)
            assert_int_equal(r->events[i]->kv->mod_revision, expected++);
        assert_true(r->header->revision >= expected - 1);
    }
    grpc_stream_close(stream);
    served_down(&s);
}

static void a_watch_from_the_future_waits_for_it(void **state)
{
    (void)state;
    struct served s;
    served_up(&s, NULL);
    struct grpc_stream *stream = watch_open(&s);
    Etcdserverpb__WatchCreateRequest create = watch_key("k");
    create.start_revision = 4;
    watch(&s, stream, &create);
    put_kv(&s, "k", "2");
    put_kv(&s, "k", "3");
    put_kv(&s, "k", "4");
    expect_event(next(&s, stream)->events[0], PUT, "k", "4", 4);
    grpc_stream_close(stream);
    served_down(&s);
}

static void a_watch_of_compacted_history_is_created_and_then_cancelled(void **state)
{
    (void)state;
    struct served s;
    served_up(&s, NULL);
    for (int i = 0; i < 5; i++)
        put_kv(&s, "k", "v"); // 2 to 6
    assert_non_null(compact(&s, 5));
    struct grpc_stream *stream = watch_open(&s);
    Etcdserverpb__WatchCreateRequest create = watch_key("k");
    create.start_revision = 3;
    int64_t id = watch(&s, stream, &create);
    Etcdserverpb__WatchResponse *r = next(&s, stream);
    assert_true(r->canceled);
    assert_int_equal(r->watch_id, id);
    assert_int_equal(r->compact_revision, 5);
    assert_string_equal(r->cancel_reason, "");
    assert_int_equal(r->header->revision, 0);
    create.start_revision = 5; // the compact revision itself is there
    watch(&s, stream, &create);
    expect_event(next(&s, stream)->events[0], PUT, "k", "v", 5);
    grpc_stream_close(stream);
    served_down(&s);
}

/* WatchCreateRequest{key "k"} with its filters as raw bytes. */
static void ask_filtered(struct grpc_stream *stream, struct rt_bytes filters)
{
    struct rt_string request = {0};
    size_t mark = field_begin(&request, 1);
    field_add_text(&request, 1, "k");
    rt_string_append(&request, filters.data, filters.len);
    field_end(&request, mark);
    assert_int_equal(
        grpc_stream_send(stream, &(struct grpc_part){.bytes = rt_bytes(request.data, request.len)},
                         1, patience()),
        0);
    rt_string_deinit(&request);
}

static void filters_drop_events_packed_or_not(void **state)
{
    (void)state;
    struct served s;
    served_up(&s, NULL);
    static const struct {
        const char *when;
        const char *bytes;
        size_t len;
        bool puts, deletes;
    } rows[] = {
        {"no deletes, unpacked", "\x28\x01", 2, true, false},
        {"no deletes, packed", "\x2a\x01\x01", 3, true, false},
        {"no puts, packed", "\x2a\x01\x00", 3, false, true},
        {"one of each", "\x28\x01\x2a\x01\x00", 5, false, false},
        {"an unknown one", "\x28\x07", 2, true, true},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct grpc_stream *stream = watch_open(&s);
        ask_filtered(stream, rt_bytes(rows[i].bytes, rows[i].len));
        assert_true(next(&s, stream)->created);
        int64_t put = put_kv(&s, "k", "v");
        int64_t deleted = delete_range(&s, "k", "")->header->revision;
        bool puts = false, deletes = false;
        Etcdserverpb__WatchResponse *r;
        ask_progress(stream); // answered after all events until now
        while ((r = next(&s, stream))->watch_id != -1)
            for (size_t e = 0; e < r->n_events; e++) {
                puts |= r->events[e]->kv->mod_revision == put;
                deletes |= r->events[e]->kv->mod_revision == deleted;
            }
        if (puts != rows[i].puts || deletes != rows[i].deletes)
            fail_msg("when %s: puts %d, deletes %d", rows[i].when, puts, deletes);
        grpc_stream_close(stream);
    }
    served_down(&s);
}

static void previous_values_come_with_all_but_creations(void **state)
{
    (void)state;
    struct served s;
    served_up(&s, NULL);
    put_kv(&s, "k", "old"); // 2
    struct grpc_stream *stream = watch_open(&s);
    Etcdserverpb__WatchCreateRequest create = watch_key("k");
    create.prev_kv = 1;
    create.start_revision = 2;
    watch(&s, stream, &create);
    put_kv(&s, "k", "new");
    delete_range(&s, "k", "");
    const Mvccpb__Event *events[3];
    for (size_t seen = 0; seen < 3;) {
        Etcdserverpb__WatchResponse *r = next(&s, stream);
        for (size_t i = 0; i < r->n_events && seen < 3; i++)
            events[seen++] = r->events[i];
    }
    assert_null(events[0]->prev_kv);
    assert_true(blob_is(events[1]->prev_kv->value, "old"));
    assert_true(blob_is(events[2]->prev_kv->value, "new"));
    assert_int_equal(events[2]->prev_kv->mod_revision, 3);
    grpc_stream_close(stream);
    served_down(&s);
}

static void progress_is_told_when_asked_for_and_at_intervals(void **state)
{
    (void)state;
    struct served s;
    served_up(&s, &(struct service_config){.progress_notify_ns = 100 * RT_MS});
    struct grpc_stream *stream = watch_open(&s);
    ask_progress(stream); // without a watch there is nothing to say
    Etcdserverpb__WatchCreateRequest create = watch_key("quiet");
    int64_t quiet = watch(&s, stream, &create);
    int64_t revision = put_kv(&s, "other", "x");
    ask_progress(stream);
    Etcdserverpb__WatchResponse *r = next(&s, stream);
    assert_int_equal(r->watch_id, -1);
    assert_int_equal(r->n_events, 0);
    assert_true(r->header->revision >= revision);
    create.progress_notify = 1;
    int64_t told = watch(&s, stream, &create);
    assert_true(told != quiet);
    for (int i = 0; i < 2; i++) {
        r = next(&s, stream);
        assert_int_equal(r->watch_id, told); // and never the quiet one
        assert_int_equal(r->n_events, 0);
        assert_int_equal(r->header->revision, revision);
    }
    grpc_stream_close(stream);
    served_down(&s);
}

static void a_busy_watch_does_not_silence_the_progress_of_an_idle_one(void **state)
{
    (void)state;
    struct served s;
    served_up(&s, &(struct service_config){.progress_notify_ns = 100 * RT_MS});
    struct grpc_stream *stream = watch_open(&s);
    Etcdserverpb__WatchCreateRequest busy = watch_key("busy"), idle = watch_key("idle");
    idle.progress_notify = 1;
    watch(&s, stream, &busy);
    int64_t id = watch(&s, stream, &idle);
    bool told = false;
    for (int64_t until = patience(); !told && rt_now_ns() < until;) {
        put_kv(&s, "busy", "v");
        told = next(&s, stream)->watch_id == id;
    }
    assert_true(told);
    grpc_stream_close(stream);
    served_down(&s);
}

/* Much history in one batch is cut when the client allows it: pieces stand together, in order. */
static void a_large_answer_is_cut_only_when_allowed(void **state)
{
    (void)state;
    enum { KEYS = 24, VALUE = 60 * 1000 };
    const size_t limit = 64 * 1024 + 512 * 1024; // max-request-bytes and what etcd adds
    struct served s;
    served_up(&s, &(struct service_config){.max_request_bytes = 64 * 1024});
    static uint8_t bytes[VALUE];
    Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
    put.key = blob("k");
    put.value = (ProtobufCBinaryData){VALUE, bytes};
    for (int i = 0; i < KEYS; i++)
        assert_non_null(put_request(&s, &put));
    for (int fragment = 0; fragment < 2; fragment++) {
        struct grpc_stream *stream = watch_open(&s);
        Etcdserverpb__WatchCreateRequest create = watch_key("k"), small = watch_key("small");
        create.start_revision = 2;
        create.fragment = fragment;
        int64_t id = watch(&s, stream, &create);
        ask(stream, &small); // its answers come between batches, never between fragments
        int64_t expected = 2, pieces = 0;
        bool within = false;
        while (expected < 2 + KEYS) {
            Etcdserverpb__WatchResponse *r = next(&s, stream);
            if (r->watch_id != id) {
                assert_false(within);
                continue;
            }
            size_t size = protobuf_c_message_get_packed_size(&r->base);
            if (fragment && size > limit + 1024)
                fail_msg("a piece of %zu bytes", size);
            for (size_t i = 0; i < r->n_events; i++)
                assert_int_equal(r->events[i]->kv->mod_revision, expected++);
            within = r->fragment;
            pieces += r->fragment;
        }
        assert_false(within); // the last piece says so
        if (fragment ? pieces == 0 : pieces != 0)
            fail_msg("%d pieces said that more follows", (int)pieces);
        grpc_stream_close(stream);
    }
    served_down(&s);
}

static void all_events_of_a_transaction_come_together(void **state)
{
    (void)state;
    enum { PUTS = 128 }; // the watched half is scattered over more pieces than are sent in place
    struct served s;
    served_up(&s, NULL);
    struct grpc_stream *stream = watch_open(&s);
    Etcdserverpb__WatchCreateRequest create = watch_key("k");
    create.range_end = blob("l");
    watch(&s, stream, &create);
    static Etcdserverpb__PutRequest put[PUTS];
    static Etcdserverpb__RequestOp op[PUTS];
    static Etcdserverpb__RequestOp *list[PUTS];
    static char keys[PUTS][8];
    for (int i = 0; i < PUTS; i++) {
        snprintf(keys[i], sizeof keys[i], "%c%03d", i % 2 ? 'x' : 'k',
                 i); // every other is not watched
        put[i] = (Etcdserverpb__PutRequest)ETCDSERVERPB__PUT_REQUEST__INIT;
        put[i].key = blob(keys[i]);
        op[i] = (Etcdserverpb__RequestOp)ETCDSERVERPB__REQUEST_OP__INIT;
        op[i].request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
        op[i].request_put = &put[i];
        list[i] = &op[i];
    }
    Etcdserverpb__TxnRequest txn = ETCDSERVERPB__TXN_REQUEST__INIT;
    txn.n_success = PUTS;
    txn.success = list;
    must(&s, "/etcdserverpb.KV/Txn", &txn.base, &etcdserverpb__txn_response__descriptor);
    Etcdserverpb__WatchResponse *r = next(&s, stream);
    assert_int_equal(r->n_events, PUTS / 2);
    for (int i = 0; i < PUTS / 2; i++)
        expect_event(r->events[i], PUT, keys[2 * i], "", 2);
    grpc_stream_close(stream);
    served_down(&s);
}

static void bytes_that_are_no_request_end_the_stream(void **state)
{
    (void)state;
    struct served s;
    served_up(&s, NULL);
    static const struct {
        const char *when, *bytes;
        size_t len;
    } rows[] = {
        {"a field has no end", "\x0a\x7f", 2},
        {"a create is cut", "\x0a\x03\x0a\x09k", 5},
        {"a packed filter is cut", "\x0a\x03\x2a\x01\xff", 5},
        {"a cancel is cut", "\x12\x01\x08", 3},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct grpc_stream *stream = watch_open(&s);
        struct rt_bytes bytes = rt_bytes(rows[i].bytes, rows[i].len);
        assert_int_equal(
            grpc_stream_send(stream, &(struct grpc_part){.bytes = bytes}, 1, patience()), 0);
        if (stream_next(&s, stream, &etcdserverpb__watch_response__descriptor))
            fail_msg("answered although %s", rows[i].when);
        expect_status(&s, STATUS_MALFORMED);
        grpc_stream_close(stream);
    }
    served_down(&s);
}

static void a_half_close_ends_the_stream(void **state)
{
    (void)state;
    struct served s;
    served_up(&s, NULL);
    struct grpc_stream *stream = watch_open(&s);
    Etcdserverpb__WatchCreateRequest create = watch_key("k");
    watch(&s, stream, &create);
    grpc_stream_half_close(stream);
    assert_null(stream_next(&s, stream, &etcdserverpb__watch_response__descriptor));
    assert_int_equal(s.status.code, GRPC_OK);
    grpc_stream_close(stream);
    served_down(&s);
}

/* More creates than a stream may have unanswered: reading stops meanwhile, nothing is lost. */
static void every_create_gets_its_reply_in_order(void **state)
{
    (void)state;
    enum { CREATES = 3000 };
    struct served s;
    served_up(&s, NULL);
    struct grpc_stream *stream = watch_open(&s);
    for (int i = 0; i < CREATES; i++) {
        Etcdserverpb__WatchCreateRequest create = watch_key(i % 3 ? "k" : "m");
        create.range_end = blob(i % 3 ? "" : "a"); // every third is refused
        ask(stream, &create);
    }
    int64_t id = 0;
    for (int i = 0; i < CREATES; i++) {
        Etcdserverpb__WatchResponse *r = next(&s, stream);
        assert_true(r->created);
        assert_int_equal(r->canceled, i % 3 == 0);
        assert_int_equal(r->watch_id, i % 3 ? id++ : -1);
        if (i % 256 == 0)
            rt_arena_reset(&s.answers);
    }
    grpc_stream_close(stream);
    served_down(&s);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_watch_sees_what_comes_after_its_created_reply),
    cmocka_unit_test(ids_are_chosen_or_taken_as_given),
    cmocka_unit_test(a_refused_create_says_why_and_leaves_the_stream_alone),
    cmocka_unit_test(a_cancelled_watch_is_over_and_unknown_ids_are_ignored),
    cmocka_unit_test(a_watch_from_the_past_replays_it_in_order),
    cmocka_unit_test(a_watch_from_the_future_waits_for_it),
    cmocka_unit_test(a_watch_of_compacted_history_is_created_and_then_cancelled),
    cmocka_unit_test(filters_drop_events_packed_or_not),
    cmocka_unit_test(previous_values_come_with_all_but_creations),
    cmocka_unit_test(progress_is_told_when_asked_for_and_at_intervals),
    cmocka_unit_test(a_busy_watch_does_not_silence_the_progress_of_an_idle_one),
    cmocka_unit_test(a_large_answer_is_cut_only_when_allowed),
    cmocka_unit_test(all_events_of_a_transaction_come_together),
    cmocka_unit_test(bytes_that_are_no_request_end_the_stream),
    cmocka_unit_test(a_half_close_ends_the_stream),
    cmocka_unit_test(every_create_gets_its_reply_in_order),
};
RT_TEST_GROUP(group, tests)

int main(void) { return rt_test_main(NULL, group); }
