/* Put, delete and range: etcd's rules of revisions, and what a restart keeps. */
#include "tests/kv/store/fixture.h"

static void a_fresh_store_is_at_revision_1_and_the_first_write_gets_2(void **state)
{
    (void)state;
    struct bench b = {.s = NULL};
    bench_open(&b);
    assert_int_equal(store_revision(b.s), 1);
    assert_int_equal(store_compact_revision(b.s), -1);
    assert_int_equal(put(&b, "a", "1"), 0);
    assert_int_equal(b.revision, 2);
    assert_int_equal(store_revision(b.s), 2);
    bench_close(&b);
}

static void create_mod_and_version_count_as_in_etcd(void **state)
{
    (void)state;
    struct bench b = {.s = NULL};
    bench_open(&b);
    put(&b, "a", "1");
    put(&b, "a", "2");
    put(&b, "a", "2"); // the same value is still a write
    expect_range(&b, R("a"), "a=2@2.4.3 count=1");
    assert_int_equal(del(&b, "a"), 0);
    assert_int_equal(b.revision, 5);
    expect_range(&b, R("a"), "");
    put(&b, "a", "3"); // a new life
    expect_range(&b, R("a"), "a=3@6.6.1 count=1");
    expect_range(&b, R("a", .revision = 3), "a=2@2.3.2 count=1");
    expect_range(&b, R("a", .revision = 5), "");
    assert_int_equal(b.revision, 6); // the header tells the current one
    bench_close(&b);
}

static void a_delete_of_nothing_makes_no_revision(void **state)
{
    (void)state;
    struct bench b = {.s = NULL};
    bench_open(&b);
    put(&b, "a", "1");
    assert_int_equal(del(&b, "b"), 0);
    assert_int_equal(b.revision, 2);
    assert_int_equal(store_revision(b.s), 2);
    assert_int_equal(b.answer.len, 0); // deleted = 0 is not written
    bench_close(&b);
}

static void a_restart_keeps_everything(void **state)
{
    (void)state;
    struct bench b = {.s = NULL};
    bench_open(&b);
    put(&b, "a", "1");
    put(&b, "b", "2");
    put(&b, "a", "3");
    del(&b, "b");
    uint64_t index = store_applied_index(b.s);
    for (int i = 0; i < 2; i++) {
        bench_restart(&b);
        assert_int_equal(store_applied_index(b.s), index);
        assert_int_equal(store_durable_index(b.s), index);
        assert_int_equal(store_revision(b.s), 5);
        expect_range(&b, R("\x01", ALL_KEYS), "a=3@2.4.2 count=1");
        expect_range(&b, R("\x01", ALL_KEYS, .revision = 3), "a=1@2.2.1 b=2@3.3.1 count=2");
    }
    put(&b, "b", "4");
    expect_range(&b, R("b"), "b=4@6.6.1 count=1");
    bench_close(&b);
}

static void prev_kv_is_what_was_there_before(void **state)
{
    (void)state;
    struct bench b = {.s = NULL};
    struct rt_string text = {NULL, 0, 0};
    bench_open(&b);
    put_full(&b, (struct put_args){.key = "a", .value = "1", .prev_kv = true});
    assert_int_equal(b.answer.len, 0);
    put_full(&b, (struct put_args){.key = "a", .value = "2", .prev_kv = true});
    describe_range(&text, rt_bytes(b.answer.data, b.answer.len));
    expect_text(text, "a=1@2.2.1 ");
    put(&b, "b", "x");
    assert_int_equal(delete_full(&b, (struct delete_args){.key = "a", .end = B("c"), .prev_kv = true}), 0);
    struct fields f = fields_of(rt_bytes(b.answer.data, b.answer.len));
    struct field it;
    while (fields_next(&f, &it) > 0)
        if (it.number == 2)
            rt_string_printf(&text, "deleted=%d ", (int)it.value);
        else {
            describe_kv(&text, it.bytes);
            rt_string_printf(&text, " ");
        }
    expect_text(text, "deleted=2 a=2@2.3.2 b=x@4.4.1 ");
    bench_close(&b);
}

RT_TEST_GROUP(group, ((const struct CMUnitTest[]){
    cmocka_unit_test(a_fresh_store_is_at_revision_1_and_the_first_write_gets_2),
    cmocka_unit_test(create_mod_and_version_count_as_in_etcd),
    cmocka_unit_test(a_delete_of_nothing_makes_no_revision),
    cmocka_unit_test(a_restart_keeps_everything),
    cmocka_unit_test(prev_kv_is_what_was_there_before),
}))

int main(void) { return rt_test_main(NULL, group); }
