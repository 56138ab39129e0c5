/* Puts through every member while leadership moves: each is applied at most once, and what was answered
 * is there. */
#include "tests/kv/member/member_fixture.h"

enum { PUTTERS = 24, UNREST = 8 };

struct putter {
    struct cluster *c;
    int id;
    _Atomic bool *stop;
    struct rt_waitgroup *done;
    int ok, unknown, never; // how the puts ended
    int last_ok;
};

/* Each key is one putter's; values only rise, so the last one answered is a lower bound. */
static void put_until_stopped(void *arg)
{
    struct putter *p = arg;
    char key[16], value[16];
    snprintf(key, sizeof(key), "key%d", p->id);
    for (int i = 1; !atomic_load(p->stop); i++) {
        snprintf(value, sizeof(value), "%d", i);
        int err = put(p->c->member[(p->id + i) % 3], key, value);
        if (!err) {
            p->ok++;
            p->last_ok = i;
        } else if (err == MEMBER_TOO_MANY || err == MEMBER_NO_LEADER) {
            p->never++;
        } else {
            p->unknown++;
        }
    }
    rt_waitgroup_done(p->done);
}

static void each_put_is_applied_at_most_once_while_leadership_moves(void **state)
{
    (void)state;
    struct cluster c;
    struct putter putters[PUTTERS];
    struct rt_waitgroup done = {0};
    _Atomic bool stop = false;
    char key[16], value[32];
    int beats = 0, beats_unknown = 0;
    cluster_init(&c, 3);
    cluster_up(&c);
    for (int i = 0; i < 3; i++)
        assert_int_equal(member_wait_published(c.member[i], patience()), 0);
    int64_t before = store_revision(member_store(c.member[0]));
    rt_waitgroup_add(&done, PUTTERS);
    for (int i = 0; i < PUTTERS; i++) {
        putters[i] = (struct putter){.c = &c, .id = i, .stop = &stop, .done = &done};
        assert_int_equal(rt_go("putter", put_until_stopped, &putters[i]), 0);
    }
    for (int i = 0; i < UNREST; i++) {
        assert_int_equal(member_wait_leader(c.member[0], patience()), 0);
        int leader = leader_of(&c);
        if (leader >= 0)
            member_transfer_leadership(c.member[leader], c.member[(leader + 1) % 3]->id,
                                       rt_after_ns(2 * RT_SECOND));
        int err = put(c.member[i % 3], "beat", "x");
        if (err && err != MEMBER_LEADER_CHANGED)
            fail_msg("a put between two transfers: %d", err);
        beats += !err;
        beats_unknown += err != 0;
    }
    atomic_store(&stop, true);
    assert_int_equal(rt_waitgroup_wait(&done, patience()), 0);

    int64_t ok = beats, unknown = beats_unknown;
    for (int i = 0; i < PUTTERS; i++) {
        ok += putters[i].ok;
        unknown += putters[i].unknown;
        snprintf(key, sizeof(key), "key%d", i);
        get(c.member[i % 3], key, value, sizeof(value));
        if (atoi(value) < putters[i].last_ok)
            fail_msg("%s is %s, but %d was answered", key, value, putters[i].last_ok);
    }
    int64_t after = store_revision(member_store(c.member[0]));
    if (after - before < ok || after - before > ok + unknown)
        fail_msg("%lld revisions for %lld answered and %lld unknown puts",
                 (long long)(after - before), (long long)ok, (long long)unknown);
    cluster_deinit(&c);
}

static void a_leaders_stages_include_its_followers(void **state)
{
    (void)state;
    struct cluster c;
    cluster_init(&c, 3);
    c.config[0].max_inflight_msgs = c.config[1].max_inflight_msgs = c.config[2].max_inflight_msgs =
        1;
    cluster_up(&c);
    bool complete = false;
    for (int i = 0; i < 50 && !complete; i++) {
        struct rt_string body = {0};
        struct store_result result = {0};
        field_add_text(&body, 1, "k");
        int leader = leader_of(&c);
        struct member *m = c.member[leader < 0 ? 0 : leader];
        struct member_proposal p = {
            .kind = STORE_PUT, .body = rt_bytes(body.data, body.len), .deadline_ns = patience()};
        struct member_outcome out = {.result = &result};
        assert_int_equal(member_propose(m, &p, &out), 0);
        const struct member_stages *s = &out.stages;
        if (s->sent_ns && s->appended_ns) {
            assert_true(s->appended_ns <= s->sent_ns);
            assert_true(s->answered_ns <= s->committed_ns);
            complete = s->answered_ns > s->appended_ns;
        }
        rt_buf_unref(out.command);
        store_result_deinit(member_store(m), &result);
        rt_string_deinit(&body);
    }
    assert_true(complete);
    cluster_deinit(&c);
}

static void the_quota_refuses_puts_everywhere_and_reads_go_on(void **state)
{
    (void)state;
    struct cluster c;
    char key[16], seen[8];
    char *value = rt_alloc(40000);
    memset(value, 'q', 40000);
    value[39999] = 0;
    cluster_init(&c, 3);
    for (int i = 0; i < 3; i++)
        c.config[i].quota_bytes = 1 << 20;
    cluster_up(&c);
    assert_int_equal(put(c.member[0], "small", "1"), 0);
    int err = 0;
    for (int i = 0; i < 400 && !err; i++) {
        snprintf(key, sizeof(key), "key%d", i);
        err = put(c.member[0], key, value);
    }
    assert_true(err == MEMBER_NO_SPACE || err == STORE_NO_SPACE);
    int64_t until = patience(); // the alarm goes through raft
    while (!store_has_alarm(member_store(c.member[1]), STORE_ALARM_NOSPACE) && rt_now_ns() < until)
        rt_sleep_ns(10 * RT_MS);
    assert_int_equal(put(c.member[1], "small", "2"), MEMBER_NO_SPACE);
    assert_string_equal(get(c.member[1], "small", seen, sizeof(seen)), "1");
    rt_free(value);
    cluster_deinit(&c);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(each_put_is_applied_at_most_once_while_leadership_moves),
    cmocka_unit_test(a_leaders_stages_include_its_followers),
    cmocka_unit_test(the_quota_refuses_puts_everywhere_and_reads_go_on),
};
RT_TEST_GROUP(group, tests)

int main(void) { return rt_test_main(NULL, group); }
