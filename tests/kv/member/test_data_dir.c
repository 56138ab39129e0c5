/* The data directory: whose it is, how often it was started, what is refused. */
#include "kv/member/bootstrap.h"
#include "kv/member/command.h"
#include "kv/member/generations.h"
#include "tests/kv/member/member_fixture.h"
#include <fcntl.h>

static void a_command_comes_back_as_it_was_and_nothing_else_does(void **state)
{
    (void)state;
    struct command c = {.kind = STORE_TXN,
                        .leader_only = true,
                        .term = 5,
                        .proposer = UINT64_MAX,
                        .request = 7,
                        .chosen = 8,
                        .auth_revision = 9,
                        .body = RT_BYTES("body")};
    struct command back;
    struct rt_buf *entry = command_encode(&c);
    command_set_request(entry, 17);
    assert_int_equal(command_decode(rt_buf_bytes(entry), &back), 0);
    assert_true(back.kind == STORE_TXN && back.leader_only && back.term == 5);
    assert_true(back.proposer == UINT64_MAX && back.request == 17 && back.chosen == 8);
    assert_true(back.auth_revision == 9 && rt_bytes_equal(back.body, RT_BYTES("body")));
    for (size_t len = 0; len < COMMAND_HEADER_BYTES; len++)
        assert_int_equal(command_decode(rt_bytes(entry->data, len), &back), MEMBER_MALFORMED);
    for (size_t at = 2; at < 8; at++) { // reserved bits
        entry->data[at] ^= 0x80;
        assert_int_equal(command_decode(rt_buf_bytes(entry), &back), MEMBER_MALFORMED);
        entry->data[at] ^= 0x80;
    }
    rt_buf_unref(entry);
}

static void open_dir(struct cluster *c, struct data_dir *d)
{
    struct why why = {{0}};
    if (data_dir_open(&c->config[0], d, &why))
        fail_msg("%s", why.text);
}

static void a_start_counts_and_older_starts_are_found_out(void **state)
{
    (void)state;
    struct cluster c;
    struct data_dir *d = rt_alloc(sizeof(*d));
    struct generations *g = rt_alloc(sizeof(*g));
    struct why why;
    cluster_init(&c, 1);
    open_dir(&c, d);
    assert_int_equal(generations_begin(g, d, &why), 0);
    assert_int_equal(g->self, 1);
    assert_int_equal(generations_check(g, 70, 5, 555, &why), 0);
    assert_int_equal(generations_check(g, 70, 5, 555, &why), 0); // the same start again
    assert_int_equal(generations_check(g, 70, 5, 556, &why), MEMBER_REFUSED);
    assert_int_equal(generations_check(g, 70, 4, 444, &why), MEMBER_REFUSED);
    assert_non_null(strstr(why.text, "Replace it"));
    assert_int_equal(generations_check(g, 71, 1, 1, &why), 0);
    uint64_t life = g->life;

    assert_int_equal(generations_begin(g, d, &why), 0); // what was seen is remembered
    assert_int_equal(g->self, 2);
    assert_true(g->life != life);
    assert_int_equal(generations_check(g, 70, 4, 444, &why), MEMBER_REFUSED);
    assert_int_equal(generations_check(g, 70, 6, 666, &why), 0);
    data_dir_close(d);
    rt_free(g);
    rt_free(d);
    cluster_deinit(&c);
}

static void write_file(const char *dir, const char *name, const char *text)
{
    char path[256];
    snprintf(path, sizeof(path), "%s/member/%s", dir, name);
    int fd = open(path, O_WRONLY | O_TRUNC);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
}

static void a_damaged_or_missing_file_is_refused_by_name(void **state)
{
    (void)state;
    struct cluster c;
    struct why why;
    char path[256];
    cluster_init(&c, 1);
    cluster_up(&c);
    member_down(&c, 0);
    write_file(c.data[0], "identity", "format 1\ncluster 5\nmember 6\nname x\ntoken y\ncrc 0\n");
    assert_int_equal(member_start(&c.config[0], &c.member[0], &why), MEMBER_REFUSED);
    assert_non_null(strstr(why.text, "identity is damaged"));
    c.member[0] = NULL;

    remove_tree(c.data[0]);
    cluster_up(&c);
    member_down(&c, 0);
    snprintf(path, sizeof(path), "%s/member/generations", c.data[0]);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(member_start(&c.config[0], &c.member[0], &why), MEMBER_REFUSED);
    assert_non_null(strstr(why.text, "generations is missing"));

    remove_tree(c.data[0]);
    cluster_up(&c);
    member_down(&c, 0);
    snprintf(path, sizeof(path), "%s/member/wal", c.data[0]);
    remove_tree(path);
    assert_int_equal(member_start(&c.config[0], &c.member[0], &why), MEMBER_REFUSED);
    assert_non_null(strstr(why.text, "the log in"));

    remove_tree(c.data[0]);
    cluster_up(&c);
    member_down(&c, 0);
    snprintf(path, sizeof(path), "%s/member/identity", c.data[0]);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(member_start(&c.config[0], &c.member[0], &why), MEMBER_REFUSED);
    assert_non_null(strstr(why.text, "does not say of which member"));
    c.member[0] = NULL;
    cluster_deinit(&c);
}

static void a_crash_in_the_first_start_is_gone_with_the_second(void **state)
{
    (void)state;
    struct cluster c;
    char value[16];
    cluster_init(&c, 1);
    // the directory and the generation were made, then the power went
    struct data_dir *d = rt_alloc(sizeof(*d));
    struct generations *g = rt_alloc(sizeof(*g));
    struct why why;
    open_dir(&c, d);
    assert_int_equal(generations_begin(g, d, &why), 0);
    data_dir_close(d);
    rt_free(g);
    rt_free(d);
    cluster_up(&c);
    assert_int_equal(put(c.member[0], "k", "v"), 0);
    assert_string_equal(get(c.member[0], "k", value, sizeof(value)), "v");
    cluster_deinit(&c);
}

static void settings_that_do_not_hold_together_are_refused(void **state)
{
    (void)state;
    struct cluster c;
    struct member *m;
    struct why why;
    cluster_init(&c, 1);
    struct {
        struct member_config config;
        const char *words;
    } rows[7];
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        rows[i].config = c.config[0];
    rows[0].config.election_ms = 100, rows[0].words = "--election-timeout";
    rows[1].config.listen_peer_urls = "https://127.0.0.1:1", rows[1].words = "TLS";
    rows[2].config.initial_cluster = "other=http://127.0.0.1:1", rows[2].words = "does not name";
    rows[3].config.advertise_peer_urls = "http://127.0.0.1:9", rows[3].words = "other URLs";
    rows[4].config.initial_cluster_existing = true, rows[4].words = "existing";
    rows[5].config.name = "a=b", rows[5].words = "--name";
    rows[6].config.wal_segment_bytes = 1 << 20, rows[6].words = "--wal-segment-bytes";
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        why.text[0] = 0;
        if (member_start(&rows[i].config, &m, &why) != MEMBER_BAD_CONFIG ||
            !strstr(why.text, rows[i].words))
            fail_msg("row %zu: '%s' instead of words about %s", i, why.text, rows[i].words);
    }
    cluster_deinit(&c);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_command_comes_back_as_it_was_and_nothing_else_does),
    cmocka_unit_test(a_start_counts_and_older_starts_are_found_out),
    cmocka_unit_test(a_damaged_or_missing_file_is_refused_by_name),
    cmocka_unit_test(a_crash_in_the_first_start_is_gone_with_the_second),
    cmocka_unit_test(settings_that_do_not_hold_together_are_refused),
};
RT_TEST_GROUP(group, tests)

int main(void) { return rt_test_main(NULL, group); }
