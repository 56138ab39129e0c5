/* Put, delete and range: etcd's rules of revisions, and what a restart keeps. */
#include "tests/kv/store/fixture.h"
#include <errno.h>

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
    assert_int_equal(
        delete_full(&b, (struct delete_args){.key = "a", .end = B("c"), .prev_kv = true}), 0);
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

static void a_range_takes_every_option(void **state)
{
    (void)state;
    static const struct {
        const char *when;
        struct range_args args;
        const char *wanted;
    } rows[] = {
        {"one key", {.key = "b"}, "b=5@3.6.2 count=1"},
        {"a missing key", {.key = "x"}, ""},
        {"a range ends before its end",
         {.key = "a", .end = {(const uint8_t *)"c", 1}},
         "a=9@2.2.1 b=5@3.6.2 count=2"},
        {"from a key on",
         {.key = "c", .end = {(const uint8_t *)"\0", 1}},
         "c=7@4.4.1 d=1@5.7.2 count=2"},
        {"an end before the key matches nothing",
         {.key = "c", .end = {(const uint8_t *)"a", 1}},
         ""},
        {"a limit cuts, count does not",
         {.key = "a", .end = {(const uint8_t *)"z", 1}, .limit = 2},
         "a=9@2.2.1 b=5@3.6.2 more count=4"},
        {"a limit that is not reached",
         {.key = "a", .end = {(const uint8_t *)"z", 1}, .limit = 4},
         "a=9@2.2.1 b=5@3.6.2 c=7@4.4.1 d=1@5.7.2 count=4"},
        {"only the count",
         {.key = "a", .end = {(const uint8_t *)"z", 1}, .count_only = true, .limit = 1},
         "count=4"},
        {"only keys",
         {.key = "a", .end = {(const uint8_t *)"c", 1}, .keys_only = true},
         "a=@2.2.1 b=@3.6.2 count=2"},
        {"by key, descending",
         {.key = "a", .end = {(const uint8_t *)"d", 1}, .order = 2},
         "c=7@4.4.1 b=5@3.6.2 a=9@2.2.1 count=3"},
        {"by version, with ties in order of key",
         {.key = "a", .end = {(const uint8_t *)"z", 1}, .target = 1},
         "a=9@2.2.1 c=7@4.4.1 b=5@3.6.2 d=1@5.7.2 count=4"},
        {"by creation, the newest",
         {.key = "a", .end = {(const uint8_t *)"z", 1}, .order = 2, .target = 2, .limit = 1},
         "d=1@5.7.2 more count=4"},
        {"by modification",
         {.key = "a", .end = {(const uint8_t *)"z", 1}, .order = 1, .target = 3},
         "a=9@2.2.1 c=7@4.4.1 b=5@3.6.2 d=1@5.7.2 count=4"},
        {"by value",
         {.key = "a", .end = {(const uint8_t *)"z", 1}, .order = 1, .target = 4, .keys_only = true},
         "d=@5.7.2 b=@3.6.2 c=@4.4.1 a=@2.2.1 count=4"},
        {"modified since",
         {.key = "a", .end = {(const uint8_t *)"z", 1}, .min_mod = 6},
         "b=5@3.6.2 d=1@5.7.2 count=4"},
        {"modified before, the limit counts survivors",
         {.key = "a", .end = {(const uint8_t *)"z", 1}, .max_mod = 4, .limit = 1},
         "a=9@2.2.1 more count=4"},
        {"created between",
         {.key = "a", .end = {(const uint8_t *)"z", 1}, .min_create = 3, .max_create = 4},
         "b=5@3.6.2 c=7@4.4.1 count=4"},
        {"modified before revision 0: only the count",
         {.key = "a", .end = {(const uint8_t *)"z", 1}, .max_mod = -1},
         "count=4"},
        {"modified and created since before revision 0",
         {.key = "d", .end = {(const uint8_t *)"z", 1}, .min_mod = -1, .min_create = -1},
         "d=1@5.7.2 count=1"},
        {"long ago",
         {.key = "a", .end = {(const uint8_t *)"z", 1}, .revision = 4},
         "a=9@2.2.1 b=0@3.3.1 c=7@4.4.1 count=3"},
        {"long ago, counted",
         {.key = "a", .end = {(const uint8_t *)"z", 1}, .revision = 3, .count_only = true},
         "count=2"},
    };
    struct bench b = {.s = NULL};
    bench_open(&b);
    put(&b, "a", "9");
    put(&b, "b", "0");
    put(&b, "c", "7");
    put(&b, "d", "0");
    put(&b, "b", "5");
    put(&b, "d", "1");
    for (int disk = 0; disk < 2; disk++) {
        for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
            struct rt_string text = {NULL, 0, 0};
            assert_int_equal(range(&b, rows[i].args), 0);
            describe_range(&text, rt_bytes(b.answer.data, b.answer.len));
            if (strcmp(rt_string_cstr(&text), rows[i].wanted))
                fail_msg("%s: %s", rows[i].when, rt_string_cstr(&text));
            rt_string_deinit(&text);
        }
        bench_restart(&b);
    }
    assert_int_equal(range(&b, (struct range_args){.key = "a", .revision = 8}),
                     STORE_FUTURE_REVISION);
    bench_close(&b);
}

static void a_long_range_is_whole_and_counted(void **state)
{
    (void)state;
    struct bench b = {.s = NULL};
    struct rt_string value = {NULL, 0, 0};
    bench_open(&b);
    for (int i = 0; i < 300; i++)
        rt_string_printf(&value, "0123456789");
    for (int i = 0; i < 1500; i++) {
        char key[16];
        snprintf(key, sizeof key, "key%05d", i * 7 % 1500);
        put(&b, key, rt_string_cstr(&value));
    }
    for (int disk = 0; disk < 2; disk++) {
        struct fields f;
        struct field it;
        char before[16] = "";
        int n = 0;
        assert_int_equal(range(&b, (struct range_args){.key = "key", .end = B("kez")}), 0);
        for (f = fields_of(rt_bytes(b.answer.data, b.answer.len)); fields_next(&f, &it) > 0;)
            if (it.number == 2) {
                struct fields kv = fields_of(it.bytes);
                struct field key;
                fields_next(&kv, &key);
                assert_true(memcmp(before, key.bytes.data, 8) < 0);
                memcpy(before, key.bytes.data, 8);
                n++;
            } else
                assert_int_equal(it.value, 1500);
        assert_int_equal(n, 1500);
        bench_restart(&b);
    }
    rt_string_deinit(&value);
    bench_close(&b);
}

static void an_alarm_for_space_refuses_what_grows(void **state)
{
    (void)state;
    struct bench b = {.s = NULL};
    struct store_alarm alarms[2];
    bench_open(&b);
    put(&b, "a", "1");
    assert_int_equal(alarm_set(&b, 1, 77, STORE_ALARM_NOSPACE), 0);
    assert_true(b.result.changed);
    bench_restart(&b);
    assert_true(store_has_alarm(b.s, STORE_ALARM_NOSPACE));
    assert_int_equal(store_alarms(b.s, STORE_ALARM_NONE, alarms, 2), 1);
    assert_int_equal(alarms[0].member, 77);
    assert_int_equal(put(&b, "a", "2"), STORE_NO_SPACE);
    assert_int_equal(grant(&b, 60, 1), STORE_NO_SPACE);
    assert_int_equal(del(&b, "a"), 0);
    assert_int_equal(compact(&b, 3), 0);
    assert_int_equal(alarm_set(&b, 2, 77, STORE_ALARM_NOSPACE), 0);
    assert_int_equal(put(&b, "a", "2"), 0);
    assert_int_equal(alarm_set(&b, 1, 5, STORE_ALARM_CORRUPT), 0);
    assert_int_equal(put(&b, "a", "2"), STORE_CORRUPT);
    assert_int_equal(del(&b, "a"), STORE_CORRUPT);
    bench_close(&b);
}

static void the_quota_counts_what_is_used(void **state)
{
    (void)state;
    struct bench b = {.options = {.quota_bytes = 1 << 20}};
    bench_open(&b);
    assert_true(store_size_bytes(b.s) > 0);
    assert_true(store_quota_has(b.s, 1000));
    assert_false(store_quota_has(b.s, 1 << 20));
    bench_close(&b);
}

static void records_of_the_cluster_are_kept_beside_the_keys(void **state)
{
    (void)state;
    struct bench b = {.s = NULL};
    struct rt_string text = {NULL, 0, 0};
    bench_open(&b);
    bench_apply(
        &b, (struct store_command){STORE_CLUSTER, .cluster_key = B("m/1"), .request = B("one")});
    bench_apply(
        &b, (struct store_command){STORE_CLUSTER, .cluster_key = B("m/2"), .request = B("two")});
    bench_apply(
        &b, (struct store_command){STORE_CLUSTER, .cluster_key = B("m/1"), .request = B("uno")});
    bench_apply(&b, (struct store_command){STORE_CLUSTER, .cluster_key = B("m/2")});
    bench_restart(&b);
    assert_int_equal(store_cluster_get(b.s, B("m/2"), &text), 0);
    assert_int_equal(store_cluster_get(b.s, B("m/1"), &text), 1);
    expect_text(text, "uno");
    assert_int_equal(store_revision(b.s), 1);
    bench_close(&b);
}

static void a_leaders_command_of_another_term_is_refused(void **state)
{
    (void)state;
    struct bench b = {.term = 0};
    bench_open(&b);
    grant(&b, 60, 1);
    struct rt_string r = {NULL, 0, 0};
    field_add_int(&r, 1, 1);
    struct store_command c = {STORE_LEASE_REVOKE, .term = 3, .leader_term = 2,
                              .request = rt_bytes(r.data, r.len)};
    assert_int_equal(bench_apply(&b, c), STORE_STALE_TERM);
    c.leader_term = 3;
    assert_int_equal(bench_apply(&b, c), 0);
    rt_string_deinit(&r);
    bench_close(&b);
}

static void a_directory_in_use_is_refused(void **state)
{
    (void)state;
    struct bench b = {.s = NULL};
    bench_open(&b);
    struct store *other;
    struct why why = {""};
    assert_int_equal(store_open(&b.options, &other, &why), -EAGAIN);
    assert_non_null(strstr(why.text, "in use"));
    bench_close(&b);
}

RT_TEST_GROUP(group,
              ((const struct CMUnitTest[]){
                  cmocka_unit_test(a_fresh_store_is_at_revision_1_and_the_first_write_gets_2),
                  cmocka_unit_test(create_mod_and_version_count_as_in_etcd),
                  cmocka_unit_test(a_delete_of_nothing_makes_no_revision),
                  cmocka_unit_test(a_restart_keeps_everything),
                  cmocka_unit_test(prev_kv_is_what_was_there_before),
                  cmocka_unit_test(a_range_takes_every_option),
                  cmocka_unit_test(a_long_range_is_whole_and_counted),
                  cmocka_unit_test(an_alarm_for_space_refuses_what_grows),
                  cmocka_unit_test(the_quota_counts_what_is_used),
                  cmocka_unit_test(records_of_the_cluster_are_kept_beside_the_keys),
                  cmocka_unit_test(a_leaders_command_of_another_term_is_refused),
                  cmocka_unit_test(a_directory_in_use_is_refused),
              }))

int main(void) { return rt_test_main(NULL, group); }
