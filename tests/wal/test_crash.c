/* A process that appends is killed at random moments: what it had acknowledged is there afterwards.
 * The child is this program, started anew, since a process with threads must not fork. */
#include "tests/wal/log_fixture.h"
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>

extern char **environ;

enum { KILLS = 25, IN_FLIGHT = 8, ENTRY_BYTES = 900 };

/* ---- The child: append for ever, eight at a time; each acknowledged index goes to stdout ---------- */

struct child {
    struct wal *wal;
    uint64_t first, last; // what replay said
    int bad;
};

static void entry_bytes(uint64_t index, uint8_t *out)
{
    for (uint32_t i = 0; i < ENTRY_BYTES; i++)
        out[i] = payload_byte(index, 1, i);
}

static int check_entry(void *arg, const struct wal_record *r, struct why *why)
{
    struct child *c = arg;
    uint8_t want[ENTRY_BYTES];
    entry_bytes(r->index, want);
    if ((c->last && r->index != c->last + 1) || r->len != ENTRY_BYTES ||
        memcmp(r->data, want, ENTRY_BYTES) != 0) {
        why_set(why, "entry %" PRIu64 " is not what was appended", r->index);
        return -EBADMSG;
    }
    if (!c->first)
        c->first = r->index;
    c->last = r->index;
    return 0;
}

static void note_done(struct wal_request *r) { rt_note_set(r->arg); }

static int open_log(struct child *c, const char *dir, struct why *why)
{
    struct wal_options options = {
        .dir = dir, .cluster_id = 1, .member_id = 2, .segment_bytes = WAL_SEGMENT_BYTES_MIN};
    struct wal_replay replay = {check_entry, c};
    struct wal_recovered recovered;
    return wal_open(&options, &replay, &c->wal, &recovered, why);
}

static int append_for_ever(void *arg)
{
    static const char refused[] = "refused\n";
    struct child c = {.wal = NULL};
    struct why why;
    if (open_log(&c, arg, &why)) {
        fprintf(stderr, "# %s\n", why.text);
        return write(1, refused, sizeof refused - 1) > 0;
    }
    struct wal_request *request = calloc(IN_FLIGHT, sizeof *request);
    struct wal_record *record = calloc(IN_FLIGHT, sizeof *record);
    struct rt_note *note = calloc(IN_FLIGHT, sizeof *note);
    uint8_t *bytes = malloc(IN_FLIGHT * ENTRY_BYTES);
    for (uint64_t index = c.last + 1;; index += IN_FLIGHT) {
        for (uint64_t i = 0; i < IN_FLIGHT; i++) {
            uint8_t *payload = bytes + i * ENTRY_BYTES;
            entry_bytes(index + i, payload);
            note[i] = (struct rt_note){0};
            record[i] = (struct wal_record){1, index + i, payload, ENTRY_BYTES, 0};
            request[i] = (struct wal_request){
                .records = &record[i], .count = 1, .done = note_done, .arg = &note[i]};
            wal_append(c.wal, &request[i]);
        }
        for (uint64_t i = 0; i < IN_FLIGHT; i++) {
            char line[24];
            rt_note_wait(&note[i], RT_FOREVER);
            int len = snprintf(line, sizeof line, "%" PRIu64 "\n", index + i);
            if (write(1, line, (size_t)len) != len)
                return 1; // the parent is gone
        }
        if (index > 300)
            wal_release(c.wal, index - 200);
    }
}

/* ---- The parent --------------------------------------------------------------------------------- */

/* Start a child, kill it after so many acknowledgements, return the last one: 0 when it refused. */
static uint64_t run_and_kill(const char *self, const char *dir, uint64_t kill_after)
{
    int out[2];
    pid_t pid;
    char line[1024];
    posix_spawn_file_actions_t actions;
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, out[1], 1);
    char *argv[] = {(char *)(uintptr_t)self, (char *)(uintptr_t)dir, NULL};
    assert_int_equal(posix_spawn(&pid, self, &actions, NULL, argv, environ), 0);
    posix_spawn_file_actions_destroy(&actions);
    close(out[1]);
    uint64_t acknowledged = 0, lines = 0, number = 0;
    bool killed = false;
    for (ssize_t got; (got = read(out[0], line, sizeof line)) > 0;) {
        for (ssize_t i = 0; i < got; i++) {
            if (line[i] >= '0' && line[i] <= '9') {
                number = number * 10 + (uint64_t)(line[i] - '0');
            } else if (line[i] == '\n') {
                acknowledged = number;
                number = 0;
                lines++;
            }
        }
        if (lines >= kill_after && !killed) {
            kill(pid, SIGKILL);
            killed = true;
        }
    }
    close(out[0]);
    waitpid(pid, NULL, 0);
    return killed ? acknowledged : 0;
}

struct kills {
    const char *self;
    uint64_t seed;
    char dir[64];
    uint64_t acknowledged;
};

static int check_after_kill(void *arg)
{
    struct kills *k = arg;
    struct child c = {.wal = NULL};
    struct why why = {.text = ""};
    int err = open_log(&c, k->dir, &why);
    if (err)
        fprintf(stderr, "# %d: %s\n", err, why.text);
    else
        wal_close(c.wal);
    if (!err && c.last < k->acknowledged) {
        fprintf(stderr, "# acknowledged %" PRIu64 ", found %" PRIu64 "\n", k->acknowledged, c.last);
        err = 1;
    }
    if (!err && c.first > 1 && c.first + 200 > k->acknowledged) {
        fprintf(stderr, "# released too much: begins at %" PRIu64 "\n", c.first);
        err = 1;
    }
    return err != 0;
}

static int remove_log(void *arg)
{
    remove_dir(arg);
    return 0;
}

static void what_was_acknowledged_survives_sigkill_at_any_moment(void **state)
{
    struct kills *k = *state;
    struct why why;
    int bad;
    snprintf(k->dir, sizeof k->dir, "/tmp/kvd-wal-XXXXXX");
    assert_non_null(mkdtemp(k->dir));
    for (int n = 0; n < KILLS; n++) {
        uint64_t last = run_and_kill(k->self, k->dir, 1 + draw(&k->seed, 400));
        assert_true(last > 0);
        k->acknowledged = last;
        assert_int_equal(rt_run(NULL, check_after_kill, k, &bad, &why), 0);
        assert_int_equal(bad, 0);
    }
    printf("# %d kills, %" PRIu64 " entries\n", KILLS, k->acknowledged);
    rt_run(NULL, remove_log, k->dir, &bad, &why);
}

int main(int argc, char **argv)
{
    struct why why;
    int result;
    if (argc == 2)
        return rt_run(NULL, append_for_ever, argv[1], &result, &why) ? 1 : result;
    struct kills k = {.self = argv[0], .seed = test_seed() | 1};
    printf("# KVD_SEED=%" PRIu64 "\n", test_seed());
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_prestate(what_was_acknowledged_survives_sigkill_at_any_moment, &k),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
