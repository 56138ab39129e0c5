/* Knobs: what they take, what they do at once, and what a later start finds. */
#include "tests/kv/member/member_fixture.h"
#include <rt/file.h>

static int set(struct cluster *c, int i, const char *name, const char *value, bool persist,
               struct why *why)
{
    struct member_knob now;
    char previous[MEMBER_KNOB_BYTES];
    return member_knob_set(c->member[i], name, value, persist, &now, previous, why);
}

static void must_set(struct cluster *c, int i, const char *name, const char *value, bool persist)
{
    struct why why = {{0}};
    if (set(c, i, name, value, persist, &why))
        fail_msg("%s %s: %s", name, value, why.text);
}

static __attribute__((noinline)) struct member_knob knob_of(struct cluster *c, int i,
                                                            const char *name)
{
    struct member_knob all[MEMBER_KNOBS_MAX];
    uint32_t count = member_knobs(c->member[i], all, MEMBER_KNOBS_MAX);
    for (uint32_t n = 0; n < count; n++)
        if (strcmp(all[n].name, name) == 0)
            return all[n];
    fail_msg("there is no knob %s", name);
    return all[0];
}

static void what_is_out_of_range_is_refused_with_the_range_and_changes_nothing(void **state)
{
    (void)state;
    static const struct {
        const char *name, *value, *range;
    } rows[] = {
        {"max-inflight-msgs", "0", "1 to 65536"},
        {"max-inflight-msgs", "65537", "1 to 65536"},
        {"max-inflight-msgs", "many", "1 to 65536"},
        {"max-inflight-msgs", "", "1 to 65536"},
        {"sync-timeout", "-1ms", "0, or 100\u00b5s to 1m0s"},
        {"sync-timeout", "1us", "0, or 100\u00b5s to 1m0s"},
        {"sync-timeout", "5", "0, or 100\u00b5s to 1m0s"},
        {"group-commit-bytes", "100", "4096 to 1048576 (bytes)"},
        {"group-commit-entries", "-1", "0, or 1 to 65536"},
        {"preempt", "yes", "on, off"},
        {"slice", "0", "1ms to 1s"},
        {"slow-request-threshold", "1us", "0, or 1ms to 1h0m0s"},
        {"debug-fsync-delay", "11s", "0, or 1\u00b5s to 10s"},
        {"debug-network-delay", "11s", "0, or 1\u00b5s to 10s"},
        {"debug-burn", "11s", "0, or 100\u00b5s to 10s"},
    };
    struct cluster c;
    cluster_init(&c, 1);
    cluster_up(&c);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct why why = {{0}};
        struct member_knob before = knob_of(&c, 0, rows[i].name);
        assert_int_equal(set(&c, 0, rows[i].name, rows[i].value, true, &why), MEMBER_BAD_KNOB);
        if (!strstr(why.text, rows[i].range))
            fail_msg("%s %s: the refusal does not name %s: %s", rows[i].name, rows[i].value,
                     rows[i].range, why.text);
        struct member_knob after = knob_of(&c, 0, rows[i].name);
        assert_string_equal(after.value, before.value);
        assert_false(after.persisted);
    }
    struct why why = {{0}};
    assert_int_equal(set(&c, 0, "no-such-knob", "1", false, &why), MEMBER_NO_KNOB);
    cluster_deinit(&c);
}

static void put_some(struct cluster *c, int count)
{
    for (int i = 0; i < count; i++) {
        struct rt_string body = {0};
        struct store_result result = {0};
        field_add_text(&body, 1, "k");
        struct member_proposal p = {
            .kind = STORE_PUT, .body = rt_bytes(body.data, body.len), .deadline_ns = patience()};
        struct member_outcome out = {.result = &result};
        assert_int_equal(member_propose(c->member[0], &p, &out), 0);
        rt_buf_unref(out.command);
        store_result_deinit(member_store(c->member[0]), &result);
        rt_string_deinit(&body);
    }
}

static void a_change_holds_at_once_where_it_is_used(void **state)
{
    (void)state;
    struct cluster c;
    struct wal_stats stats;
    cluster_init(&c, 1);
    cluster_up(&c);
    must_set(&c, 0, "sync-timeout", "5ms", false);
    wal_stats(c.member[0]->wal, &stats);
    assert_int_equal(stats.sync_timeout_ns, 5 * RT_MS);
    bool was = rt_get_preempt();
    must_set(&c, 0, "preempt", "off", false);
    assert_false(rt_get_preempt());
    must_set(&c, 0, "preempt", "on", false);
    assert_true(rt_get_preempt() || !was); // where this build cannot, it stays off
    must_set(&c, 0, "slice", "20ms", false);
    assert_int_equal(rt_get_slice_ns(), 20 * RT_MS);
    must_set(&c, 0, "slice", "10ms", false);
    must_set(&c, 0, "group-commit-entries", "1", false);
    must_set(&c, 0, "group-commit-bytes", "4096", false);
    put_some(&c, 3); // it still writes
    must_set(&c, 0, "debug-burn", "1ms", false);
    put_some(&c, 3);
    must_set(&c, 0, "debug-burn", "0", false);
    struct member_knob knob = knob_of(&c, 0, "sync-timeout");
    assert_string_equal(knob.value, "5ms");
    assert_string_equal(knob.initial, "0");
    assert_true(knob.number == 0.005);
    cluster_deinit(&c);
}

static void
only_what_was_persisted_outlives_a_restart_with_the_value_it_was_persisted_with(void **state)
{
    (void)state;
    struct cluster c;
    cluster_init(&c, 1);
    cluster_up(&c);
    must_set(&c, 0, "sync-timeout", "5ms", true);
    must_set(&c, 0, "sync-timeout", "9ms", false);
    must_set(&c, 0, "max-inflight-msgs", "7", false);
    must_set(&c, 0, "group-commit-entries", "3", true);
    member_down(&c, 0);
    member_up(&c, 0);
    assert_string_equal(knob_of(&c, 0, "sync-timeout").value, "5ms");
    assert_true(knob_of(&c, 0, "sync-timeout").persisted);
    assert_string_equal(knob_of(&c, 0, "max-inflight-msgs").value, "512");
    assert_string_equal(knob_of(&c, 0, "group-commit-entries").value, "3");
    cluster_deinit(&c);
}

static void a_knob_is_persisted_while_what_is_saved_is_in_force(void **state)
{
    (void)state;
    struct cluster c;
    cluster_init(&c, 1);
    cluster_up(&c);
    must_set(&c, 0, "sync-timeout", "5ms", true);
    assert_true(knob_of(&c, 0, "sync-timeout").persisted);
    must_set(&c, 0, "sync-timeout", "9ms", false);
    assert_false(knob_of(&c, 0, "sync-timeout").persisted); // the next start finds 5 ms
    must_set(&c, 0, "sync-timeout", "5ms", false);
    assert_true(knob_of(&c, 0, "sync-timeout").persisted);
    cluster_deinit(&c);
}

static void the_default_set_to_persist_takes_the_knob_out_of_the_file(void **state)
{
    (void)state;
    struct cluster c;
    cluster_init(&c, 1);
    c.config[0].max_inflight_msgs = 300;
    cluster_up(&c);
    must_set(&c, 0, "max-inflight-msgs", "7", true);
    must_set(&c, 0, "sync-timeout", "5ms", true);
    must_set(&c, 0, "max-inflight-msgs", "default", false); // for now: the line stays
    assert_string_equal(knob_of(&c, 0, "max-inflight-msgs").value, "300");
    assert_false(knob_of(&c, 0, "max-inflight-msgs").persisted);
    member_down(&c, 0);
    member_up(&c, 0);
    assert_string_equal(knob_of(&c, 0, "max-inflight-msgs").value, "7");
    must_set(&c, 0, "max-inflight-msgs", "default", true);
    assert_string_equal(knob_of(&c, 0, "max-inflight-msgs").value, "300");
    assert_false(knob_of(&c, 0, "max-inflight-msgs").persisted);
    member_down(&c, 0);
    c.config[0].max_inflight_msgs = 200; // the command line counts again
    member_up(&c, 0);
    assert_string_equal(knob_of(&c, 0, "max-inflight-msgs").value, "200");
    assert_string_equal(knob_of(&c, 0, "sync-timeout").value, "5ms");
    cluster_deinit(&c);
}

static void a_wrong_file_of_knobs_is_refused_by_name(void **state)
{
    (void)state;
    static const char *const bodies[] = {
        "kvd-knobs 2\n",
        "sync-timeout 5ms\n",
        "kvd-knobs 1\nsync-timeout 5h\n",
        "kvd-knobs 1\nno-such-knob 1\n",
        "kvd-knobs 1\nsync-timeout\n",
        "kvd-knobs 1\nsync-timeout default\n",
    };
    struct cluster c;
    char path[200];
    struct why why = {{0}};
    cluster_init(&c, 1);
    cluster_up(&c);
    member_down(&c, 0);
    snprintf(path, sizeof path, "%s/member/knobs", c.data[0]);
    for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
        struct rt_string text = {0};
        rt_string_append(&text, bodies[i], strlen(bodies[i]));
        assert_int_equal(checked_file_write(path, &text, &why), 0);
        rt_string_deinit(&text);
        assert_int_equal(member_start(&c.config[0], &c.member[0], &why), MEMBER_REFUSED);
        assert_non_null(strstr(why.text, path));
        assert_non_null(strstr(why.text, "remove the file"));
        c.member[0] = NULL;
    }
    assert_int_equal(rt_replace_file(path, "kvd-knobs 1\ncrc 00000000\n", 25, 0600), 0);
    assert_int_equal(member_start(&c.config[0], &c.member[0], &why), MEMBER_REFUSED);
    assert_non_null(strstr(why.text, "remove the file"));
    assert_int_equal(rt_unlink(path), 0);
    member_up(&c, 0);
    cluster_deinit(&c);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(what_is_out_of_range_is_refused_with_the_range_and_changes_nothing),
    cmocka_unit_test(a_change_holds_at_once_where_it_is_used),
    cmocka_unit_test(
        only_what_was_persisted_outlives_a_restart_with_the_value_it_was_persisted_with),
    cmocka_unit_test(a_knob_is_persisted_while_what_is_saved_is_in_force),
    cmocka_unit_test(the_default_set_to_persist_takes_the_knob_out_of_the_file),
    cmocka_unit_test(a_wrong_file_of_knobs_is_refused_by_name),
};

RT_TEST_GROUP(group, tests)

int main(void) { return rt_test_main(NULL, group); }
