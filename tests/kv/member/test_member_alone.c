/* One member: a put goes through log and store and is answered, and is there after a restart. */
#include "tests/kv/member/member_fixture.h"

static void a_put_is_applied_and_read_back(void **state)
{
    (void)state;
    struct cluster c;
    char value[64];
    cluster_init(&c, 1);
    cluster_up(&c);
    assert_int_equal(put(c.member[0], "greeting", "hello"), 0);
    assert_string_equal(get(c.member[0], "greeting", value, sizeof(value)), "hello");
    assert_string_equal(get(c.member[0], "nothing", value, sizeof(value)), "");
    cluster_deinit(&c);
}

static void what_was_put_is_there_after_a_restart(void **state)
{
    (void)state;
    struct cluster c;
    char value[64], key[16];
    int64_t before = 0, after = 0;
    cluster_init(&c, 1);
    cluster_up(&c);
    for (int i = 0; i < 50; i++) {
        snprintf(key, sizeof(key), "key%d", i);
        assert_int_equal(put_with_lease(c.member[0], key, key, 0, &before), 0);
    }
    member_down(&c, 0);
    cluster_up(&c);
    for (int i = 0; i < 50; i++) {
        snprintf(key, sizeof(key), "key%d", i);
        assert_string_equal(get(c.member[0], key, value, sizeof(value)), key);
    }
    assert_int_equal(put_with_lease(c.member[0], "more", "x", 0, &after), 0);
    assert_int_equal(after, before + 1);
    cluster_deinit(&c);
}

static void a_directory_in_use_or_of_another_member_is_refused(void **state)
{
    (void)state;
    struct cluster c;
    struct member *second;
    struct why why;
    cluster_init(&c, 1);
    cluster_up(&c);
    struct member_config config = c.config[0];
    config.listen_peer_urls = "http://127.0.0.1:0";
    assert_int_equal(member_start(&config, &second, &why), MEMBER_REFUSED);
    assert_non_null(strstr(why.text, "in use by another process"));
    member_down(&c, 0);

    config.name = "somebody";
    config.initial_cluster = "somebody=http://127.0.0.1:1";
    config.advertise_peer_urls = "http://127.0.0.1:1";
    assert_int_equal(member_start(&config, &second, &why), MEMBER_REFUSED);
    assert_non_null(strstr(why.text, "belongs to member m0"));

    config = c.config[0];
    config.initial_cluster_token = "another-cluster";
    assert_int_equal(member_start(&config, &second, &why), MEMBER_REFUSED);
    assert_non_null(strstr(why.text, "belongs to the cluster"));
    cluster_up(&c); // nothing was changed
    cluster_deinit(&c);
}

static void a_member_publishes_itself_and_decides_the_version(void **state)
{
    (void)state;
    struct cluster c;
    struct rt_arena arena;
    const struct member_info *list;
    char version[16] = "";
    cluster_init(&c, 1);
    cluster_up(&c);
    assert_int_equal(member_wait_published(c.member[0], patience()), 0);
    rt_arena_init(&arena);
    assert_int_equal(member_list(c.member[0], &arena, &list), 1);
    assert_true(list[0].id == member_id(c.member[0]));
    assert_string_equal(list[0].name, "m0");
    assert_int_equal(list[0].client_url_count, 1);
    assert_string_equal(list[0].client_urls[0], "http://127.0.0.1:1");
    assert_string_equal(list[0].peer_urls[0], c.listen[0]);
    rt_arena_deinit(&arena);
    for (int i = 0; !version[0] && i < 1000; i++) {
        assert_int_equal(put(c.member[0], "k", "v"), 0);
        member_cluster_version(c.member[0], version);
        rt_sleep_ns(10 * RT_MS);
    }
    assert_string_equal(version, "3.6.0");
    cluster_deinit(&c);
}

static void the_stages_of_a_proposal_come_in_their_order(void **state)
{
    (void)state;
    struct cluster c;
    cluster_init(&c, 1);
    cluster_up(&c);
    struct rt_string body = {0};
    field_add_text(&body, 1, "k");
    struct store_result result = {0};
    struct member_proposal p = {
        .kind = STORE_PUT, .body = rt_bytes(body.data, body.len), .deadline_ns = patience()};
    struct member_outcome out = {.result = &result};
    assert_int_equal(member_propose(c.member[0], &p, &out), 0);
    const struct member_stages *s = &out.stages;
    assert_true(s->queued_ns <= s->appended_ns);
    assert_true(s->appended_ns <= s->written_ns);
    assert_true(s->written_ns <= s->synced_ns);
    assert_true(s->synced_ns <= s->committed_ns);
    assert_true(s->committed_ns <= s->applied_ns);
    assert_true(s->applied_ns > 0);
    assert_int_equal(s->sent_ns, 0); // nobody to send to
    assert_true(out.body.len == body.len && memcmp(out.body.data, body.data, body.len) == 0);
    rt_buf_unref(out.command);
    store_result_deinit(member_store(c.member[0]), &result);
    rt_string_deinit(&body);
    cluster_deinit(&c);
}

static void a_request_above_the_limit_is_refused(void **state)
{
    (void)state;
    struct cluster c;
    cluster_init(&c, 1);
    c.config[0].max_request_bytes = 1000;
    cluster_up(&c);
    char big[1001];
    memset(big, 'x', sizeof(big));
    big[1000] = 0;
    assert_int_equal(put(c.member[0], "k", big), MEMBER_TOO_LARGE);
    big[900] = 0;
    assert_int_equal(put(c.member[0], "k", big), 0);
    cluster_deinit(&c);
}

struct putter {
    struct member *m;
    int first, count, failed;
    struct rt_waitgroup *done;
};

static void put_many(void *arg)
{
    struct putter *p = arg;
    char key[32];
    for (int i = 0; i < p->count; i++) {
        snprintf(key, sizeof(key), "key%d", p->first + i);
        p->failed += put(p->m, key, key) != 0;
    }
    rt_waitgroup_done(p->done);
}

static void many_at_once_are_each_applied_once(void **state)
{
    (void)state;
    struct cluster c;
    struct putter putters[64];
    struct rt_waitgroup done = {0};
    cluster_init(&c, 1);
    cluster_up(&c);
    int64_t before = store_revision(member_store(c.member[0]));
    rt_waitgroup_add(&done, 64);
    for (int i = 0; i < 64; i++) {
        putters[i] = (struct putter){.m = c.member[0], .first = 50 * i, .count = 50, .done = &done};
        assert_int_equal(rt_go("putter", put_many, &putters[i]), 0);
    }
    assert_int_equal(rt_waitgroup_wait(&done, patience()), 0);
    for (int i = 0; i < 64; i++)
        assert_int_equal(putters[i].failed, 0);
    assert_int_equal(store_revision(member_store(c.member[0])), before + 64 * 50);
    cluster_deinit(&c);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_put_is_applied_and_read_back),
    cmocka_unit_test(what_was_put_is_there_after_a_restart),
    cmocka_unit_test(a_directory_in_use_or_of_another_member_is_refused),
    cmocka_unit_test(a_member_publishes_itself_and_decides_the_version),
    cmocka_unit_test(the_stages_of_a_proposal_come_in_their_order),
    cmocka_unit_test(a_request_above_the_limit_is_refused),
    cmocka_unit_test(many_at_once_are_each_applied_once),
};
RT_TEST_GROUP(group, tests)

int main(void) { return rt_test_main(NULL, group); }
