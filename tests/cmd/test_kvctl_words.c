/* kvctl without a server: lines of a transaction, options, quoting, JSON, tables. */
#include "cmd/kvctl/kvctl.h"
#include "tests/support/rt_test.h"
#include <stdlib.h>

static void setup(struct kvctl *k, const char *command)
{
    memset(k, 0, sizeof *k);
    k->command = command;
    rt_arena_init(&k->arena);
    rt_arena_init(&k->answers);
}

static void teardown(struct kvctl *k)
{
    rt_string_deinit(&k->out);
    rt_arena_deinit(&k->answers);
    rt_arena_deinit(&k->arena);
    free(k);
}

/* The TxnRequest of one line; NULL when the line is refused. */
static Etcdserverpb__TxnRequest *txn_line(struct kvctl *k, const char *line, bool is_compare)
{
    struct rt_string bytes = {0};
    ProtobufCMessage *m = NULL;
    char *copy = rt_arena_printf(&k->arena, "%s", line);
    bool ok = is_compare ? txn_add_compare(k, &bytes, copy) : txn_add_operation(k, &bytes, 2, copy);
    if (ok && fields_unpack(&etcdserverpb__txn_request__descriptor, rt_bytes(bytes.data, bytes.len),
                            &k->answers, SIZE_MAX, &m))
        fail_msg("%s: the bytes are no TxnRequest", line);
    rt_string_deinit(&bytes);
    return (Etcdserverpb__TxnRequest *)m;
}

static bool is(ProtobufCBinaryData d, const char *text)
{
    return d.len == strlen(text) && (d.len == 0 || memcmp(d.data, text, d.len) == 0);
}

static void a_comparison_is_read_as_etcdctl_reads_it(void **state)
{
    (void)state;
    static const struct {
        const char *line, *key;
        int target, result;
        int64_t number;
        const char *value;
    } rows[] = {
        {"value(\"k\") = \"v\"", "k", 3, 0, 0, "v"},
        {"val(\"k\") != \"v w\"", "k", 3, 3, 0, "v w"},
        {"val(k)=\"\"", "k", 3, 0, 0, ""},
        {"version(\"k\") > \"3\"", "k", 0, 1, 3, NULL},
        {"ver(\"k\") < \"3\"", "k", 0, 2, 3, NULL},
        {"create(\"a b\") = \"0\"", "a b", 1, 0, 0, NULL},
        {"c(\"k\") = \"7\"", "k", 1, 0, 7, NULL},
        {"mod(\"k\") = \"9\"", "k", 2, 0, 9, NULL},
        {"m('k') = '9'", "k", 2, 0, 9, NULL},
        {"lease(\"k\") = \"1f\"", "k", 4, 0, 31, NULL},
        {"value(\"a\\tb\\x41\\\"\") = `raw\\n`", "a\tbA\"", 3, 0, 0, "raw\\n"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct kvctl *k = malloc(sizeof *k);
        setup(k, "txn");
        Etcdserverpb__TxnRequest *r = txn_line(k, rows[i].line, true);
        if (!r)
            fail_msg("%s is refused", rows[i].line);
        const Etcdserverpb__Compare *c = r->compare[0];
        bool operand = rows[i].value ? is(c->value, rows[i].value) : c->version == rows[i].number;
        if (!is(c->key, rows[i].key) || (int)c->target != rows[i].target ||
            (int)c->result != rows[i].result || !operand)
            fail_msg("%s is misread", rows[i].line);
        teardown(k);
    }
    static const char *const wrong[] = {"",
                                        "value",
                                        "value(\"k\"",
                                        "value(\"k) = \"v\"",
                                        "size(\"k\") = \"1\"",
                                        "value(\"k\") ~ \"v\"",
                                        "value(\"k\") = \"v",
                                        "version(\"k\") = \"many\"",
                                        "lease(\"k\") = \"xyz\"",
                                        "mod(\"k\")"};
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        struct kvctl *k = malloc(sizeof *k);
        setup(k, "txn");
        if (txn_line(k, wrong[i], true) || k->exit != KVCTL_BAD_ARGS)
            fail_msg("%s is taken", wrong[i]);
        teardown(k);
    }
}

static void an_operation_has_the_options_of_its_command(void **state)
{
    (void)state;
    struct kvctl *k = malloc(sizeof *k);
    setup(k, "txn");
    Etcdserverpb__RequestOp *op =
        txn_line(k, "put k \"a value\" --lease 1f --prev-kv", false)->success[0];
    assert_true(is(op->request_put->key, "k"));
    assert_true(is(op->request_put->value, "a value"));
    assert_int_equal(op->request_put->lease, 31);
    assert_true(op->request_put->prev_kv);
    op = txn_line(k, "  get --prefix k --limit=3 --order DESCEND --sort-by VALUE  ", false)
             ->success[0];
    assert_true(is(op->request_range->range_end, "l"));
    assert_int_equal(op->request_range->limit, 3);
    assert_int_equal(op->request_range->sort_order,
                     ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__DESCEND);
    assert_int_equal(op->request_range->sort_target,
                     ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__VALUE);
    op = txn_line(k, "del a b", false)->success[0];
    assert_true(is(op->request_delete_range->range_end, "b"));
    op = txn_line(k, "put -- -k -v", false)->success[0];
    assert_true(is(op->request_put->key, "-k"));
    static const char *const wrong[] = {"watch k",
                                        "put",
                                        "get",
                                        "get k --limit many",
                                        "get k --nonsense",
                                        "put \"k v",
                                        "get a b c",
                                        "get --prefix --from-key k",
                                        "get --prefix a b",
                                        "put k v --lease",
                                        "get k --order UP"};
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
        if (txn_line(k, wrong[i], false) ||
            (k->exit != KVCTL_BAD_ARGS && k->exit != KVCTL_BAD_INPUT))
            fail_msg("%s is taken", wrong[i]);
    teardown(k);
}

static void a_prefix_ends_where_it_should(void **state)
{
    (void)state;
    static const struct {
        const char *words[2];
        const char *key, *end;
        size_t end_len;
    } rows[] = {
        {{"--prefix", "abc"}, "abc", "abd", 3},
        {{"--prefix", "ab\xff"}, "ab\xff", "ac", 2},
        {{"--prefix", "\xff\xff"}, "\xff\xff", "\0", 1},
        {{"--from-key", "abc"}, "abc", "\0", 1},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct kvctl *k = malloc(sizeof *k);
        struct rt_string bytes = {0};
        ProtobufCMessage *m;
        bool keys_only, values_only;
        char *words[] = {(char *)(uintptr_t)rows[i].words[0], (char *)(uintptr_t)rows[i].words[1]};
        setup(k, "get");
        k->unread = words;
        k->unread_count = 2;
        assert_true(request_range(k, &bytes, &keys_only, &values_only));
        assert_int_equal(fields_unpack(&etcdserverpb__range_request__descriptor,
                                       rt_bytes(bytes.data, bytes.len), &k->answers, SIZE_MAX, &m),
                         0);
        const Etcdserverpb__RangeRequest *r = (const Etcdserverpb__RangeRequest *)m;
        assert_true(is(r->key, rows[i].key));
        assert_int_equal(r->range_end.len, rows[i].end_len);
        assert_memory_equal(r->range_end.data, rows[i].end, rows[i].end_len);
        rt_string_deinit(&bytes);
        teardown(k);
    }
}

static void bytes_are_quoted_as_go_quotes_them(void **state)
{
    (void)state;
    static const struct {
        const char *bytes, *quoted;
    } rows[] = {
        {"plain", "\"plain\""},         {"", "\"\""},
        {"a\"b\\c", "\"a\\\"b\\\\c\""}, {"\n\t\a", "\"\\n\\t\\a\""},
        {"\x01\x7f", "\"\\x01\\x7f\""}, {"\xc3\xa4", "\"\xc3\xa4\""},
        {"\xff", "\"\\xff\""},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct rt_string out = {0};
        print_go_quoted(&out, kvctl_text(rows[i].bytes));
        assert_string_equal(rt_string_cstr(&out), rows[i].quoted);
        rt_string_deinit(&out);
    }
}

static void json_has_base64_bare_numbers_and_no_zeros(void **state)
{
    (void)state;
    static const struct {
        const char *bytes, *base64;
    } rows[] = {{"f", "Zg=="}, {"fo", "Zm8="}, {"foo", "Zm9v"}, {"\xff\xfe\xfd", "//79"}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct rt_string out = {0};
        char wanted[128];
        Mvccpb__KeyValue kv = MVCCPB__KEY_VALUE__INIT;
        kv.key = (ProtobufCBinaryData){strlen(rows[i].bytes), (uint8_t *)(uintptr_t)rows[i].bytes};
        kv.mod_revision = -9;
        kv.lease = INT64_MAX;
        print_json_message(&out, &kv.base);
        snprintf(wanted, sizeof wanted,
                 "{\"key\":\"%s\",\"mod_revision\":-9,\"lease\":9223372036854775807}",
                 rows[i].base64);
        assert_string_equal(rt_string_cstr(&out), wanted);
        rt_string_deinit(&out);
    }
    struct rt_string out = {0};
    print_json_text(&out, "a\"\\\n", 4);
    assert_string_equal(rt_string_cstr(&out), "\"a\\\"\\\\\\u000a\"");
    rt_string_deinit(&out);
}

static void a_table_fits_its_widest_cells(void **state)
{
    (void)state;
    struct rt_string out = {0};
    print_table(&out, (const char *const[]){"ID", "A LONG HEAD"}, 2,
                (const char *const[]){"1234567", "x", "1", "y"}, 2);
    assert_string_equal(
        rt_string_cstr(&out),
        "+---------+-------------+\n|   ID    | A LONG HEAD |\n+---------+-------------+\n"
        "| 1234567 |           x |\n|       1 |           y |\n+---------+-------------+\n");
    rt_string_deinit(&out);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_comparison_is_read_as_etcdctl_reads_it),
    cmocka_unit_test(an_operation_has_the_options_of_its_command),
    cmocka_unit_test(a_prefix_ends_where_it_should),
    cmocka_unit_test(bytes_are_quoted_as_go_quotes_them),
    cmocka_unit_test(json_has_base64_bare_numbers_and_no_zeros),
    cmocka_unit_test(a_table_fits_its_widest_cells),
};
RT_TEST_GROUP(group, tests)

int main(void) { return rt_test_main(NULL, group); }
