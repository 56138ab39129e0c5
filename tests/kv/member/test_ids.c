/* Ids and URL lists, against what etcd computes from the same flags. */
#include "kv/member/errors.h"
#include "kv/member/ids.h"
#include "kv/member/limits.h"
#include "tests/support/rt_test.h"
#include <string.h>

static void sha1_of_known_texts_is_right(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *first;
    } rows[] = {
        {"", "\xda\x39\xa3\xee\x5e\x6b\x4b\x0d"},
        {"abc", "\xa9\x99\x3e\x36\x47\x06\x81\x6a"},
        {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
         "\x84\x98\x3e\x44\x1c\x3b\xd2\x6e"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        uint8_t digest[20];
        member_sha1(rows[i].text, strlen(rows[i].text), digest);
        assert_memory_equal(digest, rows[i].first, 8);
    }
}

/* etcd's single default member is 8e9e05c52164694d of cluster cdf818194e3a8c32 on every machine. */
static void the_default_member_has_the_ids_that_every_etcd_has(void **state)
{
    (void)state;
    struct rt_arena arena;
    struct member_seeds seeds;
    rt_arena_init(&arena);
    assert_int_equal(
        member_seeds_parse("default=http://localhost:2380", "etcd-cluster", &arena, &seeds, NULL),
        0);
    assert_int_equal(seeds.count, 1);
    assert_true(seeds.seed[0].id == UINT64_C(0x8e9e05c52164694d));
    assert_true(member_cluster_id_of(&seeds.seed[0].id, 1) == UINT64_C(0xcdf818194e3a8c32));
    rt_arena_deinit(&arena);
}

/* The three members of etcd's Procfile. */
static void three_members_have_the_ids_that_etcd_gives_them(void **state)
{
    (void)state;
    struct rt_arena arena;
    struct member_seeds seeds;
    uint64_t ids[3];
    rt_arena_init(&arena);
    assert_int_equal(
        member_seeds_parse("infra1=http://127.0.0.1:12380,infra2=http://127.0.0.1:22380,"
                           "infra3=http://127.0.0.1:32380",
                           "etcd-cluster-1", &arena, &seeds, NULL),
        0);
    assert_int_equal(seeds.count, 3);
    for (int i = 0; i < 3; i++)
        ids[i] = seeds.seed[i].id;
    assert_true(ids[0] == UINT64_C(0x8211f1d0f64f3269));
    assert_true(ids[1] == UINT64_C(0x91bc3c398fb3c146));
    assert_true(ids[2] == UINT64_C(0xfd422379fda50e48));
    assert_true(member_cluster_id_of(ids, 3) == UINT64_C(0xef37ad9dc622a7c4));
    uint64_t swapped[3] = {ids[2], ids[0], ids[1]};
    assert_true(member_cluster_id_of(swapped, 3) == UINT64_C(0xef37ad9dc622a7c4));
    rt_arena_deinit(&arena);
}

static void several_urls_of_a_member_count_in_any_order(void **state)
{
    (void)state;
    struct rt_arena arena;
    struct member_urls a, b;
    rt_arena_init(&arena);
    assert_int_equal(member_urls_parse("http://b:1,http://a:1", &arena, &a, NULL), 0);
    assert_int_equal(member_urls_parse("http://a:1, http://b:1", &arena, &b, NULL), 0);
    assert_true(member_urls_same(&a, &b));
    assert_true(member_id_of(&a, "t") == member_id_of(&b, "t"));
    assert_true(member_id_of(&a, "t") != member_id_of(&a, "u"));
    rt_arena_deinit(&arena);
}

static void a_bad_url_or_cluster_is_refused_with_words(void **state)
{
    (void)state;
    static const char *const urls[] = {
        "localhost:2380",  "ftp://a:1",       "http://a",
        "http://:1",       "http://a:b",      "http://a:65536",
        "http://a:1/path", "http://::1:2380", "http://a:1,http://a:1",
        "unix://",
    };
    static const char *const clusters[] = {
        "http://a:1", "=http://a:1", "a=", "a=http://x:1,b=http://x:1", "a=http://x:1,a=http://x:1",
    };
    struct rt_arena arena;
    struct member_urls list;
    struct member_seeds seeds;
    struct why why;
    rt_arena_init(&arena);
    for (size_t i = 0; i < ARRAY_LEN(urls); i++) {
        why.text[0] = 0;
        if (member_urls_parse(urls[i], &arena, &list, &why) != MEMBER_BAD_CONFIG || !why.text[0])
            fail_msg("%s was taken", urls[i]);
    }
    for (size_t i = 0; i < ARRAY_LEN(clusters); i++) {
        why.text[0] = 0;
        if (member_seeds_parse(clusters[i], "t", &arena, &seeds, &why) != MEMBER_BAD_CONFIG ||
            !why.text[0])
            fail_msg("%s was taken", clusters[i]);
    }
    rt_arena_deinit(&arena);
}

static void an_address_is_what_the_net_takes(void **state)
{
    (void)state;
    char buf[MEMBER_URL_BYTES];
    assert_string_equal(member_url_address("http://10.0.0.1:2380", buf), "10.0.0.1:2380");
    assert_string_equal(member_url_address("http://[::1]:2380", buf), "[::1]:2380");
    assert_string_equal(member_url_address("unix:///run/kvd.sock", buf), "unix:/run/kvd.sock");
    assert_true(member_url_is_secure("https://a:1"));
    assert_false(member_url_is_secure("unix://a"));
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(sha1_of_known_texts_is_right),
    cmocka_unit_test(the_default_member_has_the_ids_that_every_etcd_has),
    cmocka_unit_test(three_members_have_the_ids_that_etcd_gives_them),
    cmocka_unit_test(several_urls_of_a_member_count_in_any_order),
    cmocka_unit_test(a_bad_url_or_cluster_is_refused_with_words),
    cmocka_unit_test(an_address_is_what_the_net_takes),
};
RT_TEST_GROUP(group, tests)

int main(void) { return rt_test_main(NULL, group); }
