/* Log and store that do not belong to the same moment: what a crash can leave is finished, anything else
 * is refused. */
#include "kv/member/bootstrap.h"
#include "tests/kv/member/member_fixture.h"

static void copy_tree(const char *from, const char *to)
{
    char command[1000];
    snprintf(command, sizeof(command), "rm -rf '%s' && cp -a '%s' '%s'", to, from, to);
    assert_int_equal(system(command), 0);
}

static void path_of(const struct cluster *c, const char *what, char *buf, size_t cap)
{
    snprintf(buf, cap, "%s/member/%s", c->data[0], what);
}

static void put_some(struct cluster *c, int count)
{
    char key[16];
    for (int i = 0; i < count; i++) {
        snprintf(key, sizeof(key), "key%d", i);
        assert_int_equal(put(c->member[0], key, key), 0);
    }
    assert_int_equal(store_sync(member_store(c->member[0]), patience()), 0);
}

/* A member whose store has much more than its log: of the log an old copy was put back. */
static void with_an_old_log(struct cluster *c, uint64_t *applied, uint64_t *term)
{
    char wal[256], copy[256];
    path_of(c, "wal", wal, sizeof(wal));
    snprintf(copy, sizeof(copy), "%s/wal-copy", c->dir);
    cluster_up(c);
    assert_int_equal(member_wait_published(c->member[0], patience()), 0);
    member_down(c, 0);
    copy_tree(wal, copy);
    cluster_up(c);
    put_some(c, 50);
    *applied = store_applied_index(member_store(c->member[0]));
    *term = store_applied_term(member_store(c->member[0]));
    member_down(c, 0);
    copy_tree(copy, wal);
}

static void a_store_ahead_of_its_log_is_refused(void **state)
{
    (void)state;
    struct cluster c;
    uint64_t applied, term;
    struct why why = {{0}};
    cluster_init(&c, 1);
    with_an_old_log(&c, &applied, &term);
    assert_int_equal(member_start(&c.config[0], &c.member[0], &why), MEMBER_REFUSED);
    assert_non_null(strstr(why.text, "the log is older or lost its end"));
    c.member[0] = NULL;
    cluster_deinit(&c);
}

static void an_image_installed_before_a_crash_gets_its_marker(void **state)
{
    (void)state;
    struct cluster c;
    uint64_t applied, term;
    char value[16];
    struct why why = {{0}};
    struct data_dir *d = rt_alloc(sizeof(*d));
    cluster_init(&c, 1);
    with_an_old_log(&c, &applied, &term);
    assert_int_equal(data_dir_open(&c.config[0], d, &why), 0);
    assert_int_equal(data_dir_set_installing(d, applied, term, &why), 0);
    data_dir_close(d);
    cluster_up(&c);
    assert_string_equal(get(c.member[0], "key49", value, sizeof(value)), "key49");
    assert_int_equal(put(c.member[0], "more", "x"), 0);
    member_down(&c, 0);
    assert_int_equal(data_dir_open(&c.config[0], d, &why), 0);
    assert_int_equal(data_dir_get_installing(d, &applied, &term, &why), 0); // it is over
    data_dir_close(d);
    rt_free(d);
    cluster_up(&c);
    assert_string_equal(get(c.member[0], "more", value, sizeof(value)), "x");
    cluster_deinit(&c);
}

/* The log that an image was to replace may reach further than the image: a deposed leader's tail. */
static void an_image_replaces_a_log_that_reaches_further(void **state)
{
    (void)state;
    struct cluster c;
    struct member_status status;
    char value[16];
    struct why why = {{0}};
    struct data_dir *d = rt_alloc(sizeof(*d));
    cluster_init(&c, 1);
    cluster_up(&c);
    put_some(&c, 50);
    uint64_t applied = store_applied_index(member_store(c.member[0]));
    uint64_t term = store_applied_term(member_store(c.member[0]));
    member_down(&c, 0);
    assert_int_equal(data_dir_open(&c.config[0], d, &why), 0);
    assert_int_equal(data_dir_set_installing(d, applied, term + 7, &why), 0);
    data_dir_close(d);
    for (int start = 0; start < 2; start++) { // and the marker stays
        cluster_up(&c);
        assert_string_equal(get(c.member[0], "key49", value, sizeof(value)), "key49");
        member_status(c.member[0], &status);
        assert_int_equal(status.first_index, applied + 1);
        assert_true(status.term > term + 7);
        assert_int_equal(put(c.member[0], "more", "x"), 0);
        member_down(&c, 0);
    }
    rt_free(d);
    cluster_deinit(&c);
}

static void an_old_store_beside_a_shortened_log_is_refused(void **state)
{
    (void)state;
    struct cluster c;
    char store[256], copy[256];
    struct member_status status;
    struct why why = {{0}};
    cluster_init(&c, 1);
    c.config[0].snapshot_count = 10;
    c.config[0].catchup_entries = 5;
    c.config[0].wal_segment_bytes = 2 << 20;
    path_of(&c, "store", store, sizeof(store));
    snprintf(copy, sizeof(copy), "%s/store-copy", c.dir);
    cluster_up(&c);
    member_down(&c, 0);
    copy_tree(store, copy);
    cluster_up(&c);
    // the log goes away by whole segments: write until several are full
    char *value = rt_alloc(200000);
    memset(value, 'v', 200000);
    value[199999] = 0;
    for (int i = 0; i < 60; i++) {
        assert_int_equal(put(c.member[0], "big", value), 0);
        assert_int_equal(store_sync(member_store(c.member[0]), patience()), 0);
    }
    rt_free(value);
    int64_t until = patience();
    do {
        rt_sleep_ns(20 * RT_MS);
        member_status(c.member[0], &status);
    } while (status.first_index < 50 && rt_now_ns() < until);
    member_down(&c, 0);
    copy_tree(copy, store);
    assert_int_equal(member_start(&c.config[0], &c.member[0], &why), MEMBER_REFUSED);
    assert_non_null(strstr(why.text, "entries between them are missing"));
    c.member[0] = NULL;
    cluster_deinit(&c);
}

static void an_old_store_beside_a_whole_log_catches_up_by_replay(void **state)
{
    (void)state;
    struct cluster c;
    char store[256], copy[256], value[16];
    cluster_init(&c, 1);
    path_of(&c, "store", store, sizeof(store));
    snprintf(copy, sizeof(copy), "%s/store-copy", c.dir);
    cluster_up(&c);
    member_down(&c, 0);
    copy_tree(store, copy);
    cluster_up(&c);
    put_some(&c, 50);
    int64_t revision = store_revision(member_store(c.member[0]));
    member_down(&c, 0);
    copy_tree(copy, store);
    cluster_up(&c);
    assert_string_equal(get(c.member[0], "key49", value, sizeof(value)), "key49");
    assert_int_equal(store_revision(member_store(c.member[0])), revision);
    cluster_deinit(&c);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_store_ahead_of_its_log_is_refused),
    cmocka_unit_test(an_image_installed_before_a_crash_gets_its_marker),
    cmocka_unit_test(an_image_replaces_a_log_that_reaches_further),
    cmocka_unit_test(an_old_store_beside_a_shortened_log_is_refused),
    cmocka_unit_test(an_old_store_beside_a_whole_log_catches_up_by_replay),
};
RT_TEST_GROUP(group, tests)

int main(void) { return rt_test_main(NULL, group); }
