/* Transactions: compares, branches, nesting, the rule of duplicate keys, answers, limits. */
#include "kv/store/request.h"
#include "tests/kv/store/fixture.h"

/* ---- Building requests ---- */

static struct rt_string put_op(const char *key, const char *value)
{
    struct rt_string r = {NULL, 0, 0};
    size_t x = field_begin(&r, 2);
    add_put(&r, (struct put_args){.key = key, .value = value});
    field_end(&r, x);
    return r;
}
static struct rt_string put_op_full(struct put_args a)
{
    struct rt_string r = {NULL, 0, 0};
    size_t x = field_begin(&r, 2);
    add_put(&r, a);
    field_end(&r, x);
    return r;
}
static struct rt_string delete_op(const char *key, const char *end)
{
    struct rt_string r = {NULL, 0, 0};
    size_t x = field_begin(&r, 3);
    add_delete(&r, (struct delete_args){.key = key, .end = end ? B(end) : B(""), .prev_kv = true});
    field_end(&r, x);
    return r;
}
static struct rt_string range_op(struct range_args a)
{
    struct rt_string r = {NULL, 0, 0};
    size_t x = field_begin(&r, 1);
    add_range(&r, a);
    field_end(&r, x);
    return r;
}
static struct rt_string txn_op(struct rt_string txn)
{
    struct rt_string r = {NULL, 0, 0};
    field_add_bytes(&r, 4, rt_bytes(txn.data, txn.len));
    if (!txn.len)
        field_add_len(&r, 4, 0);
    rt_string_deinit(&txn);
    return r;
}

/* Append an operation or compare to part 1, 2 or 3 of a transaction. */
static void with(struct rt_string *txn, uint32_t part, struct rt_string op)
{
    field_add_len(txn, part, op.len);
    rt_string_append(txn, op.data, op.len);
    rt_string_deinit(&op);
}

static struct rt_string compare(int64_t result, int64_t target, const char *key, const char *end,
                                uint32_t member, int64_t number, const char *value)
{
    struct rt_string r = {NULL, 0, 0};
    field_add_int(&r, 1, result);
    field_add_int(&r, 2, target);
    field_add_bytes(&r, 3, B(key));
    if (value)
        field_add_bytes(&r, 7, B(value));
    else if (member)
        field_add_uint_always(&r, member, (uint64_t)number);
    if (end)
        field_add_bytes(&r, 64, B(end));
    return r;
}

static int apply_txn(struct bench *b, struct rt_string *txn)
{
    int code =
        bench_apply(b, (struct store_command){STORE_TXN, .request = rt_bytes(txn->data, txn->len)});
    rt_string_deinit(txn);
    *txn = (struct rt_string){NULL, 0, 0};
    return code;
}

#define expect_txn(b, txn, wanted)                                                                 \
    do {                                                                                           \
        struct rt_string text_ = {NULL, 0, 0};                                                     \
        assert_int_equal(apply_txn((b), &(txn)), 0);                                               \
        describe_txn(&text_, rt_bytes((b)->answer.data, (b)->answer.len));                         \
        expect_text(text_, wanted);                                                                \
    } while (0)

/* ---- Compares ---- */

enum { EQ, GT, LT, NE };
enum { VERSION, CREATE, MOD, VALUE, LEASE };

static void a_compare_holds_exactly_when_etcd_says_so(void **state)
{
    (void)state;
    static const struct {
        const char *when;
        int64_t result, target;
        const char *key, *end;
        uint32_t member;
        int64_t number;
        const char *value;
        bool holds;
    } rows[] = {
        {"the version is equal", EQ, VERSION, "a", NULL, 4, 2, NULL, true},
        {"the version is not equal", EQ, VERSION, "a", NULL, 4, 1, NULL, false},
        {"the version is greater", GT, VERSION, "a", NULL, 4, 1, NULL, true},
        {"the version is not less", LT, VERSION, "a", NULL, 4, 2, NULL, false},
        {"the version differs", NE, VERSION, "a", NULL, 4, 7, NULL, true},
        {"the creation is equal", EQ, CREATE, "a", NULL, 5, 2, NULL, true},
        {"the modification is equal", EQ, MOD, "a", NULL, 6, 3, NULL, true},
        {"the modification is less", LT, MOD, "a", NULL, 6, 4, NULL, true},
        {"the value is equal", EQ, VALUE, "a", NULL, 7, 0, "2", true},
        {"the value is greater", GT, VALUE, "a", NULL, 7, 0, "1", true},
        {"the lease is equal", EQ, LEASE, "l", NULL, 8, 9, NULL, true},
        {"there is no lease", EQ, LEASE, "a", NULL, 8, 0, NULL, true},
        {"the key is missing: version 0", EQ, VERSION, "x", NULL, 4, 0, NULL, true},
        {"the key is missing: mod 0", EQ, MOD, "x", NULL, 6, 0, NULL, true},
        {"the key is missing: create is not greater", GT, CREATE, "x", NULL, 5, 0, NULL, false},
        {"a missing key's value never compares", EQ, VALUE, "x", NULL, 7, 0, "", false},
        {"a missing key's value never differs either", NE, VALUE, "x", NULL, 7, 0, "1", false},
        {"another member of the union was sent", EQ, VERSION, "a", NULL, 6, 2, NULL, false},
        {"no member was sent", GT, VERSION, "a", NULL, 0, 0, NULL, true},
        {"every key of the range", GT, VERSION, "a", "c", 4, 0, NULL, true},
        {"one key of the range fails", GT, VERSION, "a", "c", 4, 1, NULL, false},
        {"an empty range is like a missing key", EQ, VERSION, "x", "z", 4, 0, NULL, true},
        {"an empty range has no value", NE, VALUE, "x", "z", 7, 0, "1", false},
    };
    struct bench b = {.s = NULL};
    bench_open(&b);
    put(&b, "a", "1");
    put(&b, "a", "2");
    put(&b, "b", "1");
    grant(&b, 60, 9);
    put_full(&b, (struct put_args){.key = "l", .value = "1", .lease = 9});
    for (int pass = 0; pass < 2; pass++) { // through apply, then as a read-only transaction
        for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
            struct rt_string txn = {NULL, 0, 0}, text = {NULL, 0, 0};
            with(&txn, 1,
                 compare(rows[i].result, rows[i].target, rows[i].key, rows[i].end, rows[i].member,
                         rows[i].number, rows[i].value));
            if (pass == 0)
                assert_int_equal(apply_txn(&b, &txn), 0);
            else {
                b.answer.len = 0;
                assert_int_equal(
                    store_read_txn(b.s, rt_bytes(txn.data, txn.len), &b.answer, &b.revision), 0);
                rt_string_deinit(&txn);
            }
            describe_txn(&text, rt_bytes(b.answer.data, b.answer.len));
            if ((strcmp(rt_string_cstr(&text), "yes") == 0) != rows[i].holds)
                fail_msg("when %s: wanted %s", rows[i].when, rows[i].holds ? "yes" : "no");
            rt_string_deinit(&text);
        }
    }
    assert_int_equal(store_revision(b.s), 5); // none of it changed anything
    bench_close(&b);
}

/* ---- Execution ---- */

static void a_txn_is_one_revision_and_sees_its_own_writes(void **state)
{
    (void)state;
    struct bench b = {.s = NULL};
    struct rt_string t = {NULL, 0, 0};
    bench_open(&b);
    put(&b, "a", "1");
    with(&t, 2, range_op((struct range_args){.key = "a", .end = B("z")}));
    with(&t, 2, put_op("b", "2"));
    with(&t, 2, range_op((struct range_args){.key = "a", .end = B("z")}));
    with(&t, 2, delete_op("a", NULL));
    with(&t, 2, range_op((struct range_args){.key = "a", .end = B("z")}));
    with(&t, 2, range_op((struct range_args){.key = "a", .revision = 2}));
    with(&t, 2, put_op_full((struct put_args){.key = "c", .value = "3", .prev_kv = true}));
    expect_txn(&b, t,
               "yes [2:a=1@2.2.1 count=1] [3:] [3:a=1@2.2.1 b=2@3.3.1 count=2]"
               " [3:deleted=1a=1@2.2.1 ] [3:b=2@3.3.1 count=1] [3:a=1@2.2.1 count=1] [3:]");
    assert_int_equal(b.revision, 3);
    expect_range(&b, R("a", .end = B("z")), "b=2@3.3.1 c=3@3.3.1 count=2");
    bench_close(&b);
}

static void a_txn_that_changes_nothing_makes_no_revision(void **state)
{
    (void)state;
    struct bench b = {.s = NULL};
    struct rt_string t = {NULL, 0, 0};
    bench_open(&b);
    put(&b, "a", "1");
    with(&t, 1, compare(EQ, VERSION, "a", NULL, 4, 7, NULL));
    with(&t, 2, put_op("a", "2"));
    with(&t, 3, delete_op("x", "z"));
    with(&t, 3, range_op((struct range_args){.key = "a"}));
    expect_txn(&b, t, "no [2:] [2:a=1@2.2.1 count=1]");
    assert_int_equal(b.revision, 2);
    bench_close(&b);
}

static void nested_branches_are_chosen_on_the_state_before(void **state)
{
    (void)state;
    struct bench b = {.s = NULL};
    struct rt_string t = {NULL, 0, 0}, inner = {NULL, 0, 0};
    bench_open(&b);
    with(&inner, 1, compare(EQ, VERSION, "a", NULL, 4, 0, NULL)); // true before the outer put
    with(&inner, 2, put_op("b", "then"));
    with(&inner, 3, put_op("b", "else"));
    with(&t, 2, put_op("a", "1"));
    with(&t, 2, txn_op(inner));
    with(&t, 2, range_op((struct range_args){.key = "b"}));
    expect_txn(&b, t, "yes [2:] [0:yes [2:]] [2:b=then@2.2.1 count=1]");
    bench_close(&b);
}

static void a_failing_check_on_the_path_leaves_all_undone(void **state)
{
    (void)state;
    static const struct {
        const char *when;
        int kind; // 0 unknown lease, 1 ignore_value without key, 2 future, 3 and 4 compacted range
        int code;
    } rows[] = {
        {"a lease is unknown", 0, STORE_LEASE_NOT_FOUND},
        {"ignore_value finds no key", 1, STORE_KEY_NOT_FOUND},
        {"a range asks for the future", 2, STORE_FUTURE_REVISION},
        {"a range asks for what was compacted", 3, STORE_COMPACTED},
        {"a range asks for a revision below 0", 4, STORE_COMPACTED}, // as in etcd, in a txn alone
    };
    struct bench b = {.s = NULL};
    bench_open(&b);
    put(&b, "z", "1");
    put(&b, "z", "2");
    compact(&b, 3);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        for (int on_path = 0; on_path < 2; on_path++) {
            struct rt_string t = {NULL, 0, 0}, op;
            int64_t before = store_revision(b.s);
            with(&t, 2, put_op("a", "1"));
            op = rows[i].kind == 0 ? put_op_full((struct put_args){.key = "b", .lease = 5})
                 : rows[i].kind == 1
                     ? put_op_full((struct put_args){.key = "b", .ignore_value = true})
                 : rows[i].kind == 2
                     ? range_op((struct range_args){.key = "z", .revision = before + 1})
                     : range_op(
                           (struct range_args){.key = "z", .revision = rows[i].kind == 3 ? 2 : -1});
            with(&t, on_path ? 2 : 3, op);
            int code = apply_txn(&b, &t);
            if (code != (on_path ? rows[i].code : 0))
                fail_msg("when %s: %d", rows[i].when, code);
            assert_int_equal(store_revision(b.s), before + !on_path);
        }
    bench_close(&b);
}

static void of_two_faults_that_of_a_put_is_told(void **state)
{
    (void)state;
    struct bench b = {.s = NULL};
    struct rt_string t = {NULL, 0, 0};
    bench_open(&b);
    with(&t, 2, range_op((struct range_args){.key = "z", .revision = 100}));
    with(&t, 2, put_op_full((struct put_args){.key = "b", .lease = 5}));
    assert_int_equal(apply_txn(&b, &t), STORE_LEASE_NOT_FOUND);
    // and of two of one put the key's in a transaction, the lease's otherwise
    struct put_args both = {.key = "none", .lease = 5, .ignore_value = true};
    with(&t, 2, put_op_full(both));
    assert_int_equal(apply_txn(&b, &t), STORE_KEY_NOT_FOUND);
    assert_int_equal(put_full(&b, both), STORE_LEASE_NOT_FOUND);
    bench_close(&b);
}

/* ---- The rule of duplicate keys ---- */

static struct rt_string nest(struct rt_string success, struct rt_string failure)
{
    struct rt_string t = {NULL, 0, 0};
    if (success.len)
        with(&t, 2, success);
    if (failure.len)
        with(&t, 3, failure);
    return txn_op(t);
}

static void a_key_may_be_changed_once(void **state)
{
    (void)state;
    const struct rt_string none = {NULL, 0, 0};
    struct {
        const char *when;
        struct rt_string ops[3];
        bool refused;
    } rows[] = {
        {"two puts of one key", {put_op("a", "1"), put_op("a", "2")}, true},
        {"puts of two keys", {put_op("a", "1"), put_op("b", "2")}, false},
        {"a put, then a delete over it", {put_op("b", "1"), delete_op("a", "c")}, true},
        {"a delete, then a put into it", {delete_op("a", "c"), put_op("b", "1")}, true},
        {"a delete that ends before the put", {delete_op("a", "b"), put_op("b", "1")}, false},
        {"two deletes over each other", {delete_op("a", "c"), delete_op("b", "d")}, false},
        {"a range over a put",
         {put_op("a", "1"), range_op((struct range_args){.key = "a"})},
         false},
        {"a put here and one inside", {put_op("a", "1"), nest(put_op("a", "2"), none)}, true},
        {"puts in two inner transactions",
         {nest(put_op("a", "1"), none), nest(none, put_op("a", "2"))},
         true},
        {"puts in the two branches of one", {nest(put_op("a", "1"), put_op("a", "2"))}, false},
        {"... and a third beside",
         {nest(put_op("a", "1"), put_op("a", "2")), put_op("a", "3")},
         true},
        {"a delete here, a put inside", {delete_op("a", "c"), nest(put_op("b", "2"), none)}, true},
        {"a delete inside, a put here before",
         {put_op("b", "2"), nest(delete_op("a", "c"), none)},
         true},
        {"a delete inside, a put in the next",
         {nest(delete_op("a", "c"), none), nest(put_op("b", "2"), none)},
         true},
        {"a put inside, a delete in the next",
         {nest(put_op("b", "2"), none), nest(delete_op("a", "c"), none)},
         false},
        {"a put and a delete in two branches",
         {nest(put_op("b", "2"), delete_op("a", "c"))},
         false},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct rt_string t = {NULL, 0, 0};
        for (int k = 0; k < 3; k++)
            if (rows[i].ops[k].len)
                with(&t, 2, rows[i].ops[k]);
        int code = store_check(STORE_TXN, rt_bytes(t.data, t.len), 128, NULL);
        if (code != (rows[i].refused ? STORE_DUPLICATE_KEY : 0))
            fail_msg("%s: %d", rows[i].when, code);
        rt_string_deinit(&t);
    }
}

static void a_put_inside_and_a_delete_in_the_next_leave_nothing(void **state)
{
    (void)state;
    const struct rt_string none = {NULL, 0, 0};
    struct bench b = {.s = NULL};
    struct rt_string t = {NULL, 0, 0};
    bench_open(&b);
    with(&t, 2, nest(put_op("b", "2"), none));
    with(&t, 2, nest(delete_op("a", "c"), none));
    expect_txn(&b, t, "yes [0:yes [2:]] [0:yes [2:deleted=1b=2@2.2.1 ]]");
    expect_range(&b, R("b"), "");
    bench_restart(&b);
    expect_range(&b, R("b"), "");
    assert_int_equal(store_revision(b.s), 2);
    bench_close(&b);
}

/* ---- Validation ---- */

static void a_bad_request_is_refused_before_it_is_proposed(void **state)
{
    (void)state;
    struct bench b = {.s = NULL};
    struct rt_string t = {NULL, 0, 0};
    bench_open(&b);
    assert_int_equal(put(&b, "", "1"), STORE_KEY_EMPTY);
    assert_int_equal(del(&b, ""), STORE_KEY_EMPTY);
    assert_int_equal(range(&b, (struct range_args){.key = ""}), STORE_KEY_EMPTY);
    assert_int_equal(range(&b, (struct range_args){.key = "a", .order = 3}), STORE_BAD_SORT);
    assert_int_equal(range(&b, (struct range_args){.key = "a", .target = 5}), STORE_BAD_SORT);
    assert_int_equal(
        put_full(&b, (struct put_args){.key = "a", .value = "1", .ignore_value = true}),
        STORE_VALUE_PROVIDED);
    assert_int_equal(put_full(&b, (struct put_args){.key = "a", .lease = 1, .ignore_lease = true}),
                     STORE_LEASE_PROVIDED);
    assert_int_equal(put_full(&b, (struct put_args){.key = "a", .lease = 1}),
                     STORE_LEASE_NOT_FOUND);
    with(&t, 1, compare(EQ, VERSION, "", NULL, 4, 0, NULL));
    assert_int_equal(apply_txn(&b, &t), STORE_KEY_EMPTY);
    with(&t, 2, (struct rt_string){NULL, 0, 0}); // an operation without content
    assert_int_equal(apply_txn(&b, &t), STORE_KEY_NOT_FOUND);
    static const uint8_t cut[] = {0x0a, 0x05, 'a'};
    assert_int_equal(
        bench_apply(&b, (struct store_command){STORE_PUT, .request = {cut, sizeof cut}}),
        STORE_MALFORMED);
    assert_int_equal(store_applied_index(b.s), 8); // refused commands count as applied
    assert_int_equal(store_revision(b.s), 1);
    bench_close(&b);
}

static void operations_are_counted_as_etcd_counts_them(void **state)
{
    (void)state;
    struct rt_string t = {NULL, 0, 0}, inner = {NULL, 0, 0};
    struct store_request r;
    for (int i = 0; i < 3; i++)
        with(&t, 2, range_op((struct range_args){.key = "a"}));
    assert_int_equal(store_check(STORE_TXN, rt_bytes(t.data, t.len), 3, &r), 0);
    assert_true(r.read_only);
    assert_false(r.serializable);
    assert_int_equal(store_check(STORE_TXN, rt_bytes(t.data, t.len), 2, NULL), STORE_TOO_MANY_OPS);
    with(&inner, 2, put_op("a", "1"));
    with(&t, 3, txn_op(inner)); // gets what the outer one, with its 3, leaves
    assert_int_equal(store_check(STORE_TXN, rt_bytes(t.data, t.len), 3, NULL), STORE_TOO_MANY_OPS);
    assert_int_equal(store_check(STORE_TXN, rt_bytes(t.data, t.len), 4, &r), 0);
    assert_false(r.read_only);
    assert_int_equal(r.cost, 256 + 2);
    rt_string_deinit(&t);
}

static void transactions_nested_a_thousand_deep_are_refused(void **state)
{
    (void)state;
    struct rt_string t = {NULL, 0, 0};
    for (int i = 0; i < 1000; i++) {
        struct rt_string outer = {NULL, 0, 0};
        with(&outer, 2, txn_op(t));
        t = outer;
    }
    assert_int_equal(store_check(STORE_TXN, rt_bytes(t.data, t.len), 0, NULL), STORE_TOO_DEEP);
    rt_string_deinit(&t);
}

RT_TEST_GROUP(group, ((const struct CMUnitTest[]){
                         cmocka_unit_test(a_compare_holds_exactly_when_etcd_says_so),
                         cmocka_unit_test(a_txn_is_one_revision_and_sees_its_own_writes),
                         cmocka_unit_test(a_txn_that_changes_nothing_makes_no_revision),
                         cmocka_unit_test(nested_branches_are_chosen_on_the_state_before),
                         cmocka_unit_test(a_failing_check_on_the_path_leaves_all_undone),
                         cmocka_unit_test(of_two_faults_that_of_a_put_is_told),
                         cmocka_unit_test(a_key_may_be_changed_once),
                         cmocka_unit_test(a_put_inside_and_a_delete_in_the_next_leave_nothing),
                         cmocka_unit_test(a_bad_request_is_refused_before_it_is_proposed),
                         cmocka_unit_test(operations_are_counted_as_etcd_counts_them),
                         cmocka_unit_test(transactions_nested_a_thousand_deep_are_refused),
                     }))

int main(void) { return rt_test_main(NULL, group); }
