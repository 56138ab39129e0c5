/* The KV service through gRPC: options, refusals with their exact sentences, headers. */
#include "tests/kv/service/service_fixture.h"

#define TXN "/etcdserverpb.KV/Txn"

static void a_put_makes_a_revision_and_its_header_names_us(void **state)
{
    (void)state;
    struct served s;
    served_up(&s, NULL);
    Etcdserverpb__PutRequest r = ETCDSERVERPB__PUT_REQUEST__INIT;
    r.key = blob("k");
    r.value = blob("v1");
    Etcdserverpb__PutResponse *first = put_request(&s, &r);
    assert_int_equal(first->header->revision, 2); // the first write of a store
    assert_true(first->header->member_id == member_id(s.c.member[0]));
    assert_true(first->header->cluster_id == member_cluster_id(s.c.member[0]));
    assert_true(first->header->raft_term > 0);
    assert_null(first->prev_kv);
    r.value = blob("v2");
    r.prev_kv = 1;
    Etcdserverpb__PutResponse *second = put_request(&s, &r);
    assert_int_equal(second->header->revision, 3);
    assert_true(blob_is(second->prev_kv->value, "v1"));
    assert_int_equal(second->prev_kv->mod_revision, 2);
    r.value = blob("");
    r.ignore_value = 1;
    Etcdserverpb__PutResponse *third = put_request(&s, &r);
    assert_true(blob_is(third->prev_kv->value, "v2"));
    assert_int_equal(third->prev_kv->version, 2);
    served_down(&s);
}

static void a_bad_put_is_refused_in_etcds_words(void **state)
{
    (void)state;
    struct served s;
    served_up(&s, NULL);
    static const struct {
        const char *when;
        const char *key, *value;
        int64_t lease;
        bool ignore_value, ignore_lease;
        enum service_status wanted;
    } rows[] = {
        {"there is no key", "", "v", 0, false, false, STATUS_KEY_EMPTY},
        {"a value comes with ignore_value", "k", "v", 0, true, false, STATUS_VALUE_PROVIDED},
        {"a lease comes with ignore_lease", "k", "v", 7, false, true, STATUS_LEASE_PROVIDED},
        {"ignore_value and no such key", "k", "", 0, true, false, STATUS_KEY_NOT_FOUND},
        {"ignore_lease and no such key", "k", "v", 0, false, true, STATUS_KEY_NOT_FOUND},
        {"there is no such lease", "k", "v", 7, false, false, STATUS_LEASE_NOT_FOUND},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        Etcdserverpb__PutRequest r = ETCDSERVERPB__PUT_REQUEST__INIT;
        r.key = blob(rows[i].key);
        r.value = blob(rows[i].value);
        r.lease = rows[i].lease;
        r.ignore_value = rows[i].ignore_value;
        r.ignore_lease = rows[i].ignore_lease;
        if (put_request(&s, &r))
            fail_msg("taken although %s", rows[i].when);
        expect_status(&s, rows[i].wanted);
    }
    assert_int_equal(put_kv(&s, "k", "v"), 2); // nothing was written
    served_down(&s);
}

/* The keys of an answer, one letter each. */
static const char *keys_of(const Etcdserverpb__RangeResponse *r, char *buf)
{
    size_t n = 0;
    for (size_t i = 0; i < r->n_kvs; i++)
        n += (size_t)sprintf(buf + n, "%.*s", (int)r->kvs[i]->key.len,
                             (const char *)r->kvs[i]->key.data);
    buf[n] = 0;
    return buf;
}

#define ORDER(name) ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__##name
#define BY(name)    ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__##name

static void a_range_obeys_every_option(void **state)
{
    (void)state;
    struct served s;
    served_up(&s, NULL);
    put_kv(&s, "a", "3");      // 2
    put_kv(&s, "b", "1");      // 3
    put_kv(&s, "c", "2");      // 4
    put_kv(&s, "d", "0");      // 5
    put_kv(&s, "a", "4");      // 6: version 2
    delete_range(&s, "d", ""); // 7
    static const struct {
        const char *when;
        Etcdserverpb__RangeRequest r;
        const char *key, *end, *keys;
        int64_t count;
        bool more;
    } rows[] = {
        {"one key is asked for", {.limit = 0}, "b", "", "b", 1, false},
        {"a key is absent", {.limit = 0}, "x", "", "", 0, false},
        {"a range ends before a key", {.limit = 0}, "a", "c", "ab", 2, false},
        {"a range is turned round", {.limit = 0}, "c", "a", "", 0, false},
        {"all are asked for", {.limit = 0}, "a", "z", "abc", 3, false},
        {"a limit cuts", {.limit = 2}, "a", "z", "ab", 3, true},
        {"a limit fits exactly", {.limit = 3}, "a", "z", "abc", 3, false},
        {"a limit is negative", {.limit = -1}, "a", "z", "abc", 3, false},
        {"only the count is asked for", {.count_only = 1}, "a", "z", "", 3, false},
        {"only the count, with a limit", {.count_only = 1, .limit = 1}, "a", "z", "", 3, false},
        {"the order is turned", {.sort_order = ORDER(DESCEND)}, "a", "z", "cba", 3, false},
        {"sorted by value",
         {.sort_target = BY(VALUE), .sort_order = ORDER(ASCEND)},
         "a",
         "z",
         "bca",
         3,
         false},
        {"sorted by value without an order", {.sort_target = BY(VALUE)}, "a", "z", "bca", 3, false},
        {"sorted by version, downwards, limited",
         {.sort_target = BY(VERSION), .sort_order = ORDER(DESCEND), .limit = 1},
         "a",
         "z",
         "a",
         3,
         true},
        {"sorted by creation",
         {.sort_target = BY(CREATE), .sort_order = ORDER(DESCEND)},
         "a",
         "z",
         "cba",
         3,
         false},
        {"sorted by modification",
         {.sort_target = BY(MOD), .sort_order = ORDER(ASCEND)},
         "a",
         "z",
         "bca",
         3,
         false},
        {"changed since 4", {.min_mod_revision = 4}, "a", "z", "ac", 3, false},
        {"changed until 4", {.max_mod_revision = 4}, "a", "z", "bc", 3, false},
        {"created since 3", {.min_create_revision = 3}, "a", "z", "bc", 3, false},
        {"created until 3", {.max_create_revision = 3}, "a", "z", "ab", 3, false},
        {"a filter and a limit", {.min_create_revision = 3, .limit = 1}, "a", "z", "b", 3, true},
        {"in the past", {.revision = 5}, "a", "z", "abcd", 4, false},
        {"further in the past", {.revision = 2}, "a", "z", "a", 1, false},
        {"a stale answer will do", {.serializable = 1}, "a", "z", "abc", 3, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char keys[64];
        Etcdserverpb__RangeRequest r = rows[i].r;
        r.base =
            (ProtobufCMessage)PROTOBUF_C_MESSAGE_INIT(&etcdserverpb__range_request__descriptor);
        r.key = blob(rows[i].key);
        r.range_end = blob(rows[i].end);
        Etcdserverpb__RangeResponse *a = range_request(&s, &r);
        if (!a)
            fail_msg("when %s: %s", rows[i].when, s.status.text);
        if (strcmp(keys_of(a, keys), rows[i].keys) != 0 || a->count != rows[i].count ||
            (bool)a->more != rows[i].more)
            fail_msg("when %s: %s, count %d, more %d", rows[i].when, keys, (int)a->count, a->more);
        assert_int_equal(a->header->revision, 7); // the store's, not the one asked for
    }
    Etcdserverpb__RangeRequest r = ETCDSERVERPB__RANGE_REQUEST__INIT;
    r.key = blob("a");
    r.keys_only = 1;
    Etcdserverpb__RangeResponse *a = range_request(&s, &r);
    assert_int_equal(a->kvs[0]->value.len, 0);
    assert_int_equal(a->kvs[0]->version, 2);
    r = (Etcdserverpb__RangeRequest)ETCDSERVERPB__RANGE_REQUEST__INIT;
    r.key = BLOB("\0");
    r.range_end = BLOB("\0");
    a = range_request(&s, &r);
    assert_int_equal(a->count, 3); // every key there is
    served_down(&s);
}

static void a_bad_range_is_refused_in_etcds_words(void **state)
{
    (void)state;
    struct served s;
    served_up(&s, NULL);
    for (int i = 0; i < 5; i++)
        put_kv(&s, "k", "v");
    assert_non_null(compact(&s, 4));
    static const struct {
        const char *when;
        Etcdserverpb__RangeRequest r;
        const char *key;
        enum service_status wanted;
    } rows[] = {
        {"there is no key", {.limit = 0}, "", STATUS_KEY_EMPTY},
        {"the revision is to come", {.revision = 100}, "k", STATUS_FUTURE_REVISION},
        {"the revision is compacted", {.revision = 3}, "k", STATUS_COMPACTED},
        {"the order is unknown",
         {.sort_order = (Etcdserverpb__RangeRequest__SortOrder)9},
         "k",
         STATUS_INVALID_SORT},
        {"the target is unknown",
         {.sort_target = (Etcdserverpb__RangeRequest__SortTarget)9},
         "k",
         STATUS_INVALID_SORT},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        Etcdserverpb__RangeRequest r = rows[i].r;
        r.base =
            (ProtobufCMessage)PROTOBUF_C_MESSAGE_INIT(&etcdserverpb__range_request__descriptor);
        r.key = blob(rows[i].key);
        r.range_end = blob("");
        if (range_request(&s, &r))
            fail_msg("taken although %s", rows[i].when);
        expect_status(&s, rows[i].wanted);
    }
    Etcdserverpb__RangeRequest r = ETCDSERVERPB__RANGE_REQUEST__INIT;
    r.key = blob("k");
    r.revision = 4;
    assert_int_equal(range_request(&s, &r)->kvs[0]->mod_revision,
                     4); // the compact revision itself is readable
    assert_null(compact(&s, 4));
    expect_status(&s, STATUS_COMPACTED);
    assert_null(compact(&s, 100));
    expect_status(&s, STATUS_FUTURE_REVISION);
    Etcdserverpb__CompactionRequest c = ETCDSERVERPB__COMPACTION_REQUEST__INIT;
    c.revision = 5;
    c.physical = 1; // waits until it is done
    must(&s, "/etcdserverpb.KV/Compact", &c.base, &etcdserverpb__compaction_response__descriptor);
    served_down(&s);
}

static void a_delete_counts_and_returns_what_it_removed(void **state)
{
    (void)state;
    struct served s;
    served_up(&s, NULL);
    put_kv(&s, "a", "1");
    put_kv(&s, "b", "2");
    Etcdserverpb__DeleteRangeRequest r = ETCDSERVERPB__DELETE_RANGE_REQUEST__INIT;
    r.key = blob("a");
    r.range_end = blob("z");
    r.prev_kv = 1;
    Etcdserverpb__DeleteRangeResponse *a = must(&s, "/etcdserverpb.KV/DeleteRange", &r.base,
                                                &etcdserverpb__delete_range_response__descriptor);
    assert_int_equal(a->deleted, 2);
    assert_int_equal(a->n_prev_kvs, 2);
    assert_true(blob_is(a->prev_kvs[1]->value, "2"));
    assert_int_equal(a->header->revision, 4);
    a = delete_range(&s, "a", "z");
    assert_int_equal(a->deleted, 0);
    assert_int_equal(a->header->revision, 4); // nothing happened
    r.key = blob("");
    assert_null(call(&s, "/etcdserverpb.KV/DeleteRange", &r.base,
                     &etcdserverpb__delete_range_response__descriptor));
    expect_status(&s, STATUS_KEY_EMPTY);
    served_down(&s);
}

/* ---- Transactions ---- */

struct ops {
    Etcdserverpb__RequestOp op[200];
    Etcdserverpb__RequestOp *list[200];
    Etcdserverpb__PutRequest put[200];
    size_t count;
};

static void add_put(struct ops *o, const char *key, const char *value)
{
    size_t i = o->count++;
    o->put[i] = (Etcdserverpb__PutRequest)ETCDSERVERPB__PUT_REQUEST__INIT;
    o->put[i].key = blob(key);
    o->put[i].value = blob(value);
    o->op[i] = (Etcdserverpb__RequestOp)ETCDSERVERPB__REQUEST_OP__INIT;
    o->op[i].request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
    o->op[i].request_put = &o->put[i];
    o->list[i] = &o->op[i];
}

static Etcdserverpb__TxnResponse *txn(struct served *s, Etcdserverpb__Compare *compare,
                                      struct ops *success, struct ops *failure)
{
    Etcdserverpb__TxnRequest r = ETCDSERVERPB__TXN_REQUEST__INIT;
    r.n_compare = compare != NULL;
    r.compare = &compare;
    r.n_success = success ? success->count : 0;
    r.success = success ? success->list : NULL;
    r.n_failure = failure ? failure->count : 0;
    r.failure = failure ? failure->list : NULL;
    return call(s, TXN, &r.base, &etcdserverpb__txn_response__descriptor);
}

static void a_transaction_takes_the_branch_that_its_compares_say(void **state)
{
    (void)state;
    struct served s;
    served_up(&s, NULL);
    put_kv(&s, "k", "v"); // 2
    put_kv(&s, "k", "v"); // 3: version 2
    enum { EQUAL, GREATER, LESS, NOT_EQUAL };
    enum { VERSION, CREATE, MOD, VALUE, LEASE };
    static const struct {
        const char *when;
        const char *key;
        int target, result;
        int64_t number;
        const char *value;
        bool holds;
    } rows[] = {
        {"version is equal", "k", VERSION, EQUAL, 2, NULL, true},
        {"version is not greater", "k", VERSION, GREATER, 2, NULL, false},
        {"creation is less", "k", CREATE, LESS, 3, NULL, true},
        {"modification is another", "k", MOD, NOT_EQUAL, 2, NULL, true},
        {"modification is the same", "k", MOD, EQUAL, 3, NULL, true},
        {"there is no lease", "k", LEASE, EQUAL, 0, NULL, true},
        {"value is equal", "k", VALUE, EQUAL, 0, "v", true},
        {"value is greater", "k", VALUE, GREATER, 0, "u", true},
        {"value is another", "k", VALUE, NOT_EQUAL, 0, "v", false},
        {"a missing key has no version", "none", VERSION, EQUAL, 0, NULL, true},
        {"a missing key has no creation", "none", CREATE, EQUAL, 0, NULL, true},
        {"a missing key has no value, not even another", "none", VALUE, NOT_EQUAL, 0, "v", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        static const Etcdserverpb__Compare__TargetUnionCase members[] = {
            ETCDSERVERPB__COMPARE__TARGET_UNION_VERSION,
            ETCDSERVERPB__COMPARE__TARGET_UNION_CREATE_REVISION,
            ETCDSERVERPB__COMPARE__TARGET_UNION_MOD_REVISION,
            ETCDSERVERPB__COMPARE__TARGET_UNION_VALUE, ETCDSERVERPB__COMPARE__TARGET_UNION_LEASE};
        Etcdserverpb__Compare c = ETCDSERVERPB__COMPARE__INIT;
        c.key = blob(rows[i].key);
        c.result = (Etcdserverpb__Compare__CompareResult)rows[i].result;
        c.target = (Etcdserverpb__Compare__CompareTarget)rows[i].target;
        c.target_union_case = members[rows[i].target];
        if (rows[i].value)
            c.value = blob(rows[i].value);
        else
            c.version = rows[i].number; // members of the union share their place
        Etcdserverpb__TxnResponse *a = txn(&s, &c, NULL, NULL);
        if (!a || (bool)a->succeeded != rows[i].holds)
            fail_msg("when %s: %s", rows[i].when,
                     a ? a->succeeded ? "succeeded" : "failed" : s.status.text);
    }
    served_down(&s);
}

static void all_of_a_transaction_has_one_revision(void **state)
{
    (void)state;
    struct served s;
    served_up(&s, NULL);
    struct ops *o = calloc(1, sizeof *o);
    add_put(o, "a", "1");
    add_put(o, "b", "2");
    Etcdserverpb__TxnResponse *a = txn(&s, NULL, o, NULL);
    assert_true(a->succeeded);
    assert_int_equal(a->n_responses, 2);
    assert_int_equal(a->header->revision, 2);
    assert_int_equal(a->responses[1]->response_put->header->revision, 2);
    Etcdserverpb__RangeRequest r = ETCDSERVERPB__RANGE_REQUEST__INIT;
    r.key = blob("a");
    r.range_end = blob("z");
    Etcdserverpb__RangeResponse *kvs = range_request(&s, &r);
    assert_int_equal(kvs->kvs[0]->mod_revision, 2);
    assert_int_equal(kvs->kvs[1]->mod_revision, 2);
    // Only reads: no revision is made.
    Etcdserverpb__RequestOp read = ETCDSERVERPB__REQUEST_OP__INIT;
    read.request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE;
    read.request_range = &r;
    o->list[0] = &read;
    o->count = 1;
    a = txn(&s, NULL, o, NULL);
    assert_int_equal(a->header->revision, 2);
    assert_int_equal(a->responses[0]->response_range->count, 2);
    free(o);
    served_down(&s);
}

static void a_bad_transaction_is_refused_in_etcds_words(void **state)
{
    (void)state;
    struct served s;
    served_up(&s, NULL);
    struct ops *o = calloc(1, sizeof *o);
    add_put(o, "same", "1");
    add_put(o, "same", "2");
    assert_null(txn(&s, NULL, o, NULL));
    expect_status(&s, STATUS_DUPLICATE_KEY);
    o->count = 0;
    add_put(o, "", "1");
    assert_null(txn(&s, NULL, o, NULL));
    expect_status(&s, STATUS_KEY_EMPTY);
    Etcdserverpb__Compare c = ETCDSERVERPB__COMPARE__INIT;
    assert_null(txn(&s, &c, NULL, NULL));
    expect_status(&s, STATUS_KEY_EMPTY);
    o->op[0] = (Etcdserverpb__RequestOp)ETCDSERVERPB__REQUEST_OP__INIT; // asks for nothing
    assert_null(txn(&s, NULL, o, NULL));
    expect_status(&s, STATUS_KEY_NOT_FOUND);
    char keys[129][8];
    o->count = 0;
    for (int i = 0; i < 129; i++) {
        snprintf(keys[i], sizeof keys[i], "k%d", i);
        add_put(o, keys[i], "v");
    }
    assert_null(txn(&s, NULL, o, NULL));
    expect_status(&s, STATUS_TOO_MANY_OPS);
    assert_null(txn(&s, NULL, NULL, o));
    expect_status(&s, STATUS_TOO_MANY_OPS);
    o->count = 128;
    assert_int_equal(txn(&s, NULL, o, NULL)->n_responses, 128);
    o->count = 0;
    add_put(o, "fine", "1");
    add_put(o, "leased", "1");
    o->put[1].lease = 99;
    assert_null(txn(&s, NULL, o, NULL));
    expect_status(&s, STATUS_LEASE_NOT_FOUND);
    Etcdserverpb__RangeRequest r = ETCDSERVERPB__RANGE_REQUEST__INIT;
    r.key = blob("fine");
    assert_int_equal(range_request(&s, &r)->count, 0); // all or nothing
    free(o);
    served_down(&s);
}

/* TxnRequest{success: RequestOp{request_txn: ...}}, `depth` times. */
static void nest(struct rt_string *out, int depth)
{
    out->len = 0;
    for (int i = 0; i < depth; i++) {
        struct rt_string next = {0};
        size_t op = field_begin(&next, 2);
        field_add_len(&next, 4, out->len);
        rt_string_append(&next, out->data, out->len);
        field_end(&next, op);
        rt_string_deinit(out);
        *out = next;
    }
}

static void transactions_nest_until_a_limit(void **state)
{
    (void)state;
    struct served s;
    struct rt_string request = {0};
    served_up(&s, NULL);
    nest(&request, 5);
    struct rt_buf *answer =
        call_raw(&s, TXN, rt_bytes(request.data, request.len), NULL, 0, patience());
    assert_non_null(answer);
    rt_buf_unref(answer);
    nest(&request, 1000);
    assert_null(call_raw(&s, TXN, rt_bytes(request.data, request.len), NULL, 0, patience()));
    expect_status(&s, STATUS_TOO_DEEP);
    assert_int_equal(put_kv(&s, "after", "it"), 2);
    rt_string_deinit(&request);
    served_down(&s);
}

static void a_request_has_the_size_that_the_flag_says(void **state)
{
    (void)state;
    struct served s;
    served_up(&s, &(struct service_config){.max_request_bytes = 100 * 1000});
    static uint8_t bytes[800 * 1000];
    Etcdserverpb__PutRequest r = ETCDSERVERPB__PUT_REQUEST__INIT;
    r.key = blob("k");
    r.value = (ProtobufCBinaryData){90 * 1000, bytes};
    assert_non_null(put_request(&s, &r));
    r.value.len = 100 * 1000;
    assert_null(put_request(&s, &r));
    expect_status(&s, STATUS_TOO_LARGE);
    r.value.len = sizeof bytes; // beyond what gRPC takes
    assert_null(put_request(&s, &r));
    assert_int_equal(s.status.code, GRPC_RESOURCE_EXHAUSTED);
    assert_non_null(strstr(s.status.text, "received message larger than max"));
    served_down(&s);
}

static void an_answer_larger_than_the_copy_limit_is_whole(void **state)
{
    (void)state;
    struct served s;
    served_up(&s, NULL);
    static uint8_t bytes[300 * 1000];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * 7);
    Etcdserverpb__PutRequest r = ETCDSERVERPB__PUT_REQUEST__INIT;
    r.key = blob("big");
    r.value = (ProtobufCBinaryData){sizeof bytes, bytes};
    assert_non_null(put_request(&s, &r));
    Etcdserverpb__RangeRequest get = ETCDSERVERPB__RANGE_REQUEST__INIT;
    get.key = blob("big");
    Etcdserverpb__RangeResponse *a = range_request(&s, &get);
    assert_int_equal(a->kvs[0]->value.len, sizeof bytes);
    assert_memory_equal(a->kvs[0]->value.data, bytes, sizeof bytes);
    served_down(&s);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_put_makes_a_revision_and_its_header_names_us),
    cmocka_unit_test(a_bad_put_is_refused_in_etcds_words),
    cmocka_unit_test(a_range_obeys_every_option),
    cmocka_unit_test(a_bad_range_is_refused_in_etcds_words),
    cmocka_unit_test(a_delete_counts_and_returns_what_it_removed),
    cmocka_unit_test(a_transaction_takes_the_branch_that_its_compares_say),
    cmocka_unit_test(all_of_a_transaction_has_one_revision),
    cmocka_unit_test(a_bad_transaction_is_refused_in_etcds_words),
    cmocka_unit_test(transactions_nest_until_a_limit),
    cmocka_unit_test(a_request_has_the_size_that_the_flag_says),
    cmocka_unit_test(an_answer_larger_than_the_copy_limit_is_whole),
};
RT_TEST_GROUP(group, tests)

int main(void) { return rt_test_main(NULL, group); }
