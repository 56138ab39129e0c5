/* kvd's command line and environment, and the addresses in it. */
#include "cmd/kvd/addresses.h"
#include "cmd/kvd/flags.h"
#include "tests/support/rt_test.h"
#include <errno.h>
#include <rt/time.h>

enum { WORDS_MAX = 8 };

struct reading {
    struct rt_arena arena;
    struct kvd_flags flags;
    struct rt_string text, warnings;
    struct why why;
    enum kvd_flags_verdict verdict;
};

/* Read `words` (after the program's name) in the environment `env`; both end with NULL. */
static void read_flags(struct reading *r, const char *const *words, const char *const *env)
{
    static const char *const no_env[] = {NULL};
    char *argv[WORDS_MAX + 2] = {(char *)(uintptr_t) "kvd"};
    int argc = 1;
    for (; words[argc - 1]; argc++)
        argv[argc] = (char *)(uintptr_t)words[argc - 1];
    *r = (struct reading){.why = {{0}}};
    rt_arena_init(&r->arena);
    r->verdict = kvd_flags_read(argc, argv, (char **)(uintptr_t)(env ? env : no_env), &r->arena,
                                &r->flags, &r->text, &r->warnings, &r->why);
}

static void reading_deinit(struct reading *r)
{
    rt_string_deinit(&r->text);
    rt_string_deinit(&r->warnings);
    rt_arena_deinit(&r->arena);
}

#define WORDS(...) ((const char *const[]){__VA_ARGS__, NULL})

static void without_words_there_are_defaults(void **state)
{
    (void)state;
    struct reading r;
    read_flags(&r, (const char *const[]){NULL}, NULL);
    assert_int_equal(r.verdict, KVD_FLAGS_RUN);
    assert_string_equal(r.flags.name, "default");
    assert_string_equal(r.flags.data_dir, "default.kvd");
    assert_string_equal(r.flags.listen_client_urls, "http://localhost:2379");
    assert_string_equal(r.flags.listen_peer_urls, "http://localhost:2380");
    assert_string_equal(r.flags.initial_cluster_token, "etcd-cluster");
    assert_string_equal(r.flags.initial_cluster_state, "new");
    assert_int_equal(r.flags.heartbeat_ms, 100);
    assert_int_equal(r.flags.election_ms, 1000);
    assert_int_equal(r.flags.snapshot_count, 10000);
    assert_int_equal(r.flags.snapshot_catchup_entries, 5000);
    assert_int_equal(r.flags.max_request_bytes, 1572864);
    assert_int_equal(r.flags.max_txn_ops, 128);
    assert_int_equal(r.flags.max_inflight_msgs, 512);
    assert_int_equal(r.flags.sync_timeout_ns, 0);
    assert_int_equal(r.flags.wal_segment_bytes, 64 << 20);
    assert_int_equal(r.flags.watch_progress_notify_ns, 600 * RT_SECOND);
    assert_true(r.flags.preempt);
    assert_int_equal(r.warnings.len, 0);
    reading_deinit(&r);
}

static void every_way_to_write_a_flag_is_understood(void **state)
{
    (void)state;
    static const char *const ways[][3] = {{"--max-txn-ops", "7"},
                                          {"-max-txn-ops", "7"},
                                          {"--max-txn-ops=7"},
                                          {"-max-txn-ops=7"},
                                          {"--experimental-max-txn-ops=7"}};
    struct reading r;
    for (size_t i = 0; i < ARRAY_LEN(ways); i++) {
        read_flags(&r, ways[i], NULL);
        if (r.verdict != KVD_FLAGS_RUN || r.flags.max_txn_ops != 7)
            fail_msg("%s: %s", ways[i][0], r.why.text);
        reading_deinit(&r);
    }
    static const struct {
        const char *word;
        bool preempt;
    } switches[] = {{"--preempt", true},
                    {"--preempt=true", true},
                    {"--preempt=1", true},
                    {"--preempt=false", false},
                    {"--preempt=F", false}};
    for (size_t i = 0; i < ARRAY_LEN(switches); i++) {
        read_flags(&r, WORDS(switches[i].word), NULL);
        if (r.verdict != KVD_FLAGS_RUN || r.flags.preempt != switches[i].preempt)
            fail_msg("%s: %s", switches[i].word, r.why.text);
        reading_deinit(&r);
    }
    read_flags(&r,
               WORDS("--name", "m1", "--sync-timeout", "5ms", "--wal-io=direct",
                     "--quota-backend-bytes=-1"),
               NULL);
    assert_int_equal(r.verdict, KVD_FLAGS_RUN);
    assert_string_equal(r.flags.data_dir, "m1.kvd"); // follows the name
    assert_int_equal(r.flags.sync_timeout_ns, 5 * RT_MS);
    assert_string_equal(r.flags.wal_io, "direct");
    assert_int_equal(r.flags.quota_backend_bytes, -1);
    reading_deinit(&r);
}

static void what_is_wrong_is_refused_with_its_name_and_the_remedy(void **state)
{
    (void)state;
    static const struct {
        const char *words[3];
        const char *part;
    } rows[] = {
        {{"--data-dri", "x"}, "unknown flag --data-dri: did you mean --data-dir?"},
        {{"--completely-different"}, "unknown flag --completely-different (kvd --help"},
        {{"start"}, "\"start\" is no flag"},
        {{"-"}, "\"-\" is no flag"},
        {{"--name"}, "--name needs a value"},
        {{"--snapshot-count", "many"}, "--snapshot-count: \"many\" is not a whole number"},
        {{"--snapshot-count", "1k"}, "not a whole number"},
        {{"--snapshot-count", ""}, "not a whole number"},
        {{"--max-inflight-msgs", "0"}, "--max-inflight-msgs: 0 is out of range: from 1 to 65536"},
        {{"--max-inflight-msgs", "65537"}, "out of range: from 1 to 65536"},
        {{"--max-txn-ops", "99999999999999999999"}, "--max-txn-ops"},
        {{"--wal-segment-bytes", "1"}, "out of range: from 1048576 to 4294967296 bytes"},
        {{"--heartbeat-interval", "0"}, "out of range: from 1 to 10000 ms"},
        {{"--sync-timeout", "5"}, "--sync-timeout: \"5\" is not a duration such as 5ms"},
        {{"--sync-timeout", "-5ms"}, "--sync-timeout"},
        {{"--sync-timeout", "2m"}, "out of range: from 0s to 1m"},
        {{"--watch-progress-notify-interval", "1ms"}, "out of range"},
        {{"--wal-io", "magic"}, "--wal-io: \"magic\" is none of auto|direct|buffered"},
        {{"--wal-io", "direc"}, "is none of"},
        {{"--wal-io", ""}, "is none of"},
        {{"--preempt=maybe"}, "neither true nor false"},
        {{"--log-level", "verbose"}, "is none of debug|info|warn|error"},
        {{"--election-timeout", "499"},
         "--election-timeout 499 ms must be at least 5 times --heartbeat-interval 100 ms"},
        {{"--cert-file", "x"}, "--cert-file: TLS is not built yet"},
        {{"--peer-client-cert-auth"}, "--peer-client-cert-auth: TLS is not built yet"},
        {{"--auth-token", "jwt"}, "authentication is not built yet"},
        {{"--unsafe-no-fsync"}, "never acknowledges"},
        {{"--config-file=x"}, "--config-file: configuration files are not built yet"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct reading r;
        read_flags(&r, rows[i].words, NULL);
        if (r.verdict != KVD_FLAGS_WRONG || !strstr(r.why.text, rows[i].part))
            fail_msg("%s %s: wanted \"%s\", got \"%s\"", rows[i].words[0],
                     rows[i].words[1] ? rows[i].words[1] : "", rows[i].part, r.why.text);
        reading_deinit(&r);
    }
}

static void the_environment_counts_under_both_names(void **state)
{
    (void)state;
    struct reading r;
    read_flags(&r, (const char *const[]){NULL},
               WORDS("PATH=/bin", "ETCD_NAME=from-etcd", "KVD_MAX_TXN_OPS=9", "ETCD_MAX_TXN_OPS=8",
                     "KVD_WAL_DIR="));
    assert_int_equal(r.verdict, KVD_FLAGS_RUN);
    assert_string_equal(r.flags.name, "from-etcd");
    assert_int_equal(r.flags.max_txn_ops, 9); // ours first
    assert_string_equal(r.flags.wal_dir, ""); // an empty one does not count
    reading_deinit(&r);
    static const struct {
        const char *env, *word, *part;
    } rows[] = {
        {"ETCD_NAME=x", "--name=y",
         "conflicting environment variable \"ETCD_NAME\" is shadowed by corresponding command-line "
         "flag"},
        {"KVD_NAME=x", "--name=x", "conflicting environment variable \"KVD_NAME\""},
        {"KVD_WAL_IO=magic", "--name=x", "KVD_WAL_IO: \"magic\" is none of"},
        {"ETCD_MAX_TXN_OPS=0", "--name=x", "ETCD_MAX_TXN_OPS: 0 is out of range"},
        {"ETCD_CERT_FILE=/x", "--name=x", "ETCD_CERT_FILE: TLS is not built yet"},
        {"KVD_CLIENT_CERT_AUTH=true", "--name=x", "KVD_CLIENT_CERT_AUTH: TLS is not built yet"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        read_flags(&r, WORDS(rows[i].word), WORDS(rows[i].env));
        if (r.verdict != KVD_FLAGS_WRONG || !strstr(r.why.text, rows[i].part))
            fail_msg("%s: got \"%s\"", rows[i].env, r.why.text);
        reading_deinit(&r);
    }
}

static void etcds_names_without_effect_are_taken_with_a_warning(void **state)
{
    (void)state;
    struct reading r;
    read_flags(&r,
               WORDS("--cors", "*", "--strict-reconfig-check",
                     "--experimental-initial-corrupt-check=true", "--logger=zap", "--name", "m1"),
               WORDS("ETCD_ENABLE_V2=true"));
    assert_int_equal(r.verdict, KVD_FLAGS_RUN);
    assert_string_equal(r.flags.name, "m1");
    assert_string_equal(
        rt_string_cstr(&r.warnings),
        "--cors has no effect in kvd\n--strict-reconfig-check has no effect in kvd\n"
        "--initial-corrupt-check has no effect in kvd\n--logger has no effect in kvd\n"
        "ETCD_ENABLE_V2 has no effect in kvd\n");
    reading_deinit(&r);
}

static void help_lists_every_flag_with_its_default(void **state)
{
    (void)state;
    static const char *const names[] = {"name",
                                        "data-dir",
                                        "wal-dir",
                                        "listen-peer-urls",
                                        "listen-client-urls",
                                        "listen-metrics-urls",
                                        "initial-advertise-peer-urls",
                                        "advertise-client-urls",
                                        "initial-cluster",
                                        "initial-cluster-state",
                                        "initial-cluster-token",
                                        "heartbeat-interval",
                                        "election-timeout",
                                        "snapshot-count",
                                        "snapshot-catchup-entries",
                                        "max-inflight-msgs",
                                        "sync-timeout",
                                        "wal-io",
                                        "wal-segment-bytes",
                                        "max-request-bytes",
                                        "max-txn-ops",
                                        "quota-backend-bytes",
                                        "watch-progress-notify-interval",
                                        "poller",
                                        "maxprocs",
                                        "preempt",
                                        "log-level",
                                        "version",
                                        "help"};
    static const char *const ways[] = {"--help", "-h", "-help"};
    for (size_t w = 0; w < ARRAY_LEN(ways); w++) {
        struct reading r;
        read_flags(&r, WORDS("--name", "x", ways[w]), NULL);
        assert_int_equal(r.verdict, KVD_FLAGS_SHOWN);
        const char *text = rt_string_cstr(&r.text);
        for (size_t i = 0; i < ARRAY_LEN(names); i++) {
            char line[64];
            snprintf(line, sizeof line, "\n  --%s ", names[i]);
            if (!strstr(text, line))
                fail_msg("--help says nothing of --%s", names[i]);
        }
        assert_non_null(strstr(text, "(default 512)"));
        assert_non_null(strstr(text, "(default 1000 ms)"));
        assert_non_null(strstr(text, "(default 67108864 bytes)"));
        reading_deinit(&r);
    }
    struct reading r;
    read_flags(&r, WORDS("--version"), NULL);
    assert_int_equal(r.verdict, KVD_FLAGS_SHOWN);
    assert_int_equal(strncmp(rt_string_cstr(&r.text), "kvd Version: ", 13), 0);
    reading_deinit(&r);
}

static void urls_become_addresses(void **state)
{
    (void)state;
    struct rt_arena arena;
    struct kvd_addresses a;
    struct why why;
    rt_arena_init(&arena);
    assert_int_equal(
        kvd_addresses_read(
            "f", "http://localhost:2379,http://[::1]:80/,unix:///run/kvd.sock,http://10.0.0.1:1",
            &arena, &a, &why),
        0);
    assert_int_equal(a.count, 4);
    assert_string_equal(a.address[0], "127.0.0.1:2379");
    assert_string_equal(a.url[0], "http://localhost:2379");
    assert_string_equal(a.address[1], "[::1]:80");
    assert_string_equal(a.address[2], "unix:/run/kvd.sock");
    assert_string_equal(a.address[3], "10.0.0.1:1");
    assert_int_equal(kvd_addresses_read("f", "", &arena, &a, &why), 0);
    assert_int_equal(a.count, 0);
    static const struct {
        const char *list, *part;
    } rows[] = {
        {"https://127.0.0.1:1", "--flag: https://127.0.0.1:1: TLS is not built yet"},
        {"unixs:///x", "TLS is not built yet"},
        {"127.0.0.1:2379", "must begin with http:// or unix://"},
        {"http://127.0.0.1", "must name a port"},
        {"http://127.0.0.1:", "must name a port"},
        {"http://127.0.0.1:65536", "must name a port"},
        {"http://127.0.0.1:x", "must name a port"},
        {"http://[::1]", "must name a port"},
        {"http://127.0.0.1:1/path", "must not have a path"},
        {"http://127.0.0.1:1,,http://127.0.0.1:2", "\"\" must begin with"},
        {"http://a:1,http://a:1,http://a:1,http://a:1,http://a:1,http://a:1,http://a:1,http://"
         "a:1,http://a:1,http://a:1,"
         "http://a:1,http://a:1,http://a:1,http://a:1,http://a:1,http://a:1,http://a:1",
         "more than 16 URLs"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (kvd_addresses_read("flag", rows[i].list, &arena, &a, &why) != -EINVAL ||
            !strstr(why.text, rows[i].part))
            fail_msg("%s: %s", rows[i].list, why.text);
    rt_arena_deinit(&arena);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(without_words_there_are_defaults),
    cmocka_unit_test(every_way_to_write_a_flag_is_understood),
    cmocka_unit_test(what_is_wrong_is_refused_with_its_name_and_the_remedy),
    cmocka_unit_test(the_environment_counts_under_both_names),
    cmocka_unit_test(etcds_names_without_effect_are_taken_with_a_warning),
    cmocka_unit_test(help_lists_every_flag_with_its_default),
    cmocka_unit_test(urls_become_addresses),
};
RT_TEST_GROUP(group, tests)

int main(void) { return rt_test_main(NULL, group); }
