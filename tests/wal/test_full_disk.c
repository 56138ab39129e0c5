/* A file system that fills up: the next segment cannot be made, it is said, all else goes on, and it
 * is over when there is space. On a small tmpfs; skipped where it
 * cannot be mounted. */
#include "tests/wal/log_fixture.h"
#include <sys/mount.h>

static char mounted[128];

static struct log_fixture *fixture_on_small_disk(const char *size)
{
    struct log_fixture *f = fixture_new(WAL_IO_AUTO);
    if (mounted[0])
        (void)umount2(mounted, MNT_DETACH); // left by a test that failed
    if (mount("kvd-test", f->dir, "tmpfs", 0, size) != 0) {
        fixture_free(f);
        return NULL;
    }
    snprintf(mounted, sizeof mounted, "%s", f->dir);
    return f;
}

static void free_small_disk(struct log_fixture *f)
{
    if (f->wal)
        fixture_close(f);
    remove_dir(f->dir); // the files; the directory is a mount point still
    assert_int_equal(umount(f->dir), 0);
    mounted[0] = 0;
    fixture_free(f);
}

static void wait_for_space(struct log_fixture *f, bool wanted)
{
    while (wal_has_space(f->wal) != wanted)
        rt_sleep_ns(RT_MS); // polls the keeper: nothing depends on how long
}

static void a_full_disk_is_said_reads_go_on_and_it_ends_with_space(void **state)
{
    (void)state;
    struct log_fixture *f = fixture_on_small_disk("size=512k");
    struct wal_stats s;
    if (!f)
        skip();
    fixture_must_open(f);
    while (wal_has_space(f->wal)) {
        fixture_append(f, f->last + 1, f->last + 10, 1, 1000);
        rt_sleep_ns(RT_MS); // the keeper's turn
    }
    wal_stats(f->wal, &s);
    assert_false(s.has_space);
    assert_int_equal(fixture_read(f, 1, f->last + 1, UINT64_MAX), f->last);
    fixture_append(f, f->last + 1, f->last + 1, 1, 10); // room is left in the segment
    // More than the segment holds waits; released segments bring it through.
    struct append *a = append_new(f, f->last + 1, f->last + 80, 1, 1000);
    wal_append(f->wal, &a->request);
    wal_release(f->wal, f->last - 100);
    append_wait(a);
    wait_for_space(f, true);
    fixture_append(f, f->last + 1, f->last + 10, 1, 1000);
    wal_release(f->wal, f->last);
    fixture_reopen(f);
    free_small_disk(f);
}

static void closing_on_a_full_disk_gives_waiting_requests_back(void **state)
{
    (void)state;
    struct log_fixture *f = fixture_on_small_disk("size=256k");
    if (!f)
        skip();
    fixture_must_open(f);
    while (wal_has_space(f->wal)) {
        fixture_append(f, f->last + 1, f->last + 10, 1, 1000);
        rt_sleep_ns(RT_MS); // the keeper's turn
    }
    uint64_t durable = f->last;
    struct append *a = append_new(f, f->last + 1, f->last + 300, 1, 1000);
    wal_append(f->wal, &a->request);
    fixture_close(f);
    assert_true(rt_note_is_set(&a->done));
    assert_int_equal(a->request.result, WAL_NO_SPACE);
    free(a->records);
    free(a->bytes);
    free(a);
    if (fixture_open(f)) // agrees with what was durable, and perhaps with some of the rest
        fail_msg("open: %s", f->why.text);
    assert_true(f->recovered.last_index >= durable);
    assert_true(f->recovered.last_index < f->last);
    free_small_disk(f);
}

static void no_room_for_the_first_segment_is_an_error_with_words(void **state)
{
    (void)state;
    struct log_fixture *f = fixture_on_small_disk("size=32k");
    if (!f)
        skip();
    assert_int_equal(fixture_open(f), -ENOSPC);
    assert_non_null(strstr(f->why.text, "first segment"));
    assert_non_null(strstr(f->why.text, "o space left"));
    free_small_disk(f);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_full_disk_is_said_reads_go_on_and_it_ends_with_space),
    cmocka_unit_test(closing_on_a_full_disk_gives_waiting_requests_back),
    cmocka_unit_test(no_room_for_the_first_segment_is_an_error_with_words),
};

RT_TEST_GROUP(group, tests)

int main(void)
{
    int failed = rt_test_main(NULL, group);
    if (mounted[0])
        (void)umount2(mounted, MNT_DETACH); // the same
    return failed;
}
