/* What the simulated disk promises, and what it does not: syncs that take time, fail or overlap, and
 * names that a power loss undoes. */
#include "tests/support/rt_test.h"
#include <assert.h>
#include <errno.h>
#include <rt/file.h>
#include <rt/sim.h>
#include <rt/sync.h>
#include <rt/time.h>
#include <string.h>

enum { PAGE = 4096, SEEDS = 32 };

/* How often the page held what, after a power loss. */
static struct {
    int old, new, mixed;
} found;

static int look(void *unused)
{
    (void)unused;
    struct rt_file *f;
    static uint8_t page[PAGE];
    int news = 0;
    assert(rt_file_open("/f", RT_OPEN_READ, 0, &f) == 0);
    assert(rt_file_pread(f, page, PAGE, 0) == PAGE);
    for (int i = 0; i < PAGE; i++)
        news += page[i] == 'n';
    found.new += news == PAGE;
    found.old += news == 0;
    found.mixed += news != 0 && news != PAGE;
    rt_file_close(f);
    return 0;
}

static void run_in(struct rt_world *world, int (*fn)(void *))
{
    struct why why;
    int result = -1;
    assert_int_equal(rt_run(&(struct rt_options){.world = world}, fn, world, &result, &why), 0);
    assert_int_equal(result, 0);
}

/* fn, then a power loss, then what is there; for each of the seeds. */
static void for_each_seed(int (*fn)(void *), int (*then)(void *))
{
    memset(&found, 0, sizeof found);
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct rt_world *world = rt_sim_new(seed);
        run_in(world, fn);
        rt_sim_power_loss(world, "/");
        run_in(world, then);
        rt_sim_free(world);
    }
}

static struct rt_file *open_f(void)
{
    struct rt_file *f;
    int flags = RT_OPEN_READ | RT_OPEN_WRITE | RT_OPEN_CREATE;
    assert(rt_file_open("/f", flags, 0600, &f) == 0);
    assert(rt_sync_dir("/") == 0);
    return f;
}

static void fill(struct rt_file *f, char with)
{
    static uint8_t page[PAGE];
    memset(page, with, sizeof page);
    assert(rt_file_pwrite(f, page, PAGE, 0) == 0);
}

static struct rt_note begun, over;

static void sync_it(void *f)
{
    rt_note_set(&begun);
    assert(rt_file_datasync(f) == 0);
    rt_note_set(&over);
}

static int write_during_sync(void *unused)
{
    (void)unused;
    struct rt_file *f = open_f();
    memset(&begun, 0, sizeof begun);
    memset(&over, 0, sizeof over);
    fill(f, 'o');
    rt_go("sync", sync_it, f);
    assert(rt_note_wait(&begun, RT_FOREVER) == 0);
    rt_yield(); // it sleeps in the sync by now, or will before we are back
    fill(f, 'n');
    assert(rt_note_wait(&over, RT_FOREVER) == 0);
    return 0;
}

static void what_is_written_during_a_sync_is_not_part_of_it(void **state)
{
    (void)state;
    for_each_seed(write_during_sync, look);
    assert_true(found.mixed > 0);
    assert_int_equal(found.old + found.new + found.mixed, SEEDS);
}

static void sync_slowly(void *f)
{
    rt_note_set(&begun);
    assert(rt_file_datasync(f) == 0);
    rt_note_set(&over);
}

/* The first sync takes 50 ms; the second begins 10 ms after it, and takes no time. */
static int overtake(void *world)
{
    struct rt_file *f = open_f();
    memset(&begun, 0, sizeof begun);
    memset(&over, 0, sizeof over);
    fill(f, 'o');
    rt_sim_set_faults(world, &(struct rt_sim_faults){.disk_latency_min_ns = 50 * RT_MS,
                                                     .disk_latency_max_ns = 50 * RT_MS});
    rt_go("slow", sync_slowly, f);
    assert(rt_note_wait(&begun, RT_FOREVER) == 0);
    rt_sleep_ns(10 * RT_MS);
    rt_sim_set_faults(world, &(struct rt_sim_faults){0});
    fill(f, 'n');
    assert(rt_file_datasync(f) == 0);
    assert(!rt_note_is_set(&over));
    assert(rt_note_wait(&over, RT_FOREVER) == 0);
    return 0;
}

static void of_two_syncs_the_later_has_the_last_word(void **state)
{
    (void)state;
    for_each_seed(overtake, look);
    assert_int_equal(found.new, SEEDS);
}

static int fail_and_retry(void *world)
{
    struct rt_file *f = open_f();
    fill(f, 'o');
    assert(rt_file_datasync(f) == 0);
    fill(f, 'n');
    rt_sim_set_faults(world, &(struct rt_sim_faults){.sync_eio_ppm = 1000000});
    assert(rt_file_datasync(f) == -EIO);
    rt_sim_set_faults(world, &(struct rt_sim_faults){0});
    assert(rt_file_datasync(f) == 0); // it lies
    return 0;
}

static void a_sync_after_a_failed_one_succeeds_and_has_written_nothing(void **state)
{
    (void)state;
    for_each_seed(fail_and_retry, look);
    assert_true(found.mixed > SEEDS / 2);
}

static int fail_and_write_again(void *world)
{
    struct rt_file *f = open_f();
    fail_and_retry(world);
    fill(f, 'n');
    assert(rt_file_datasync(f) == 0);
    return 0;
}

static void what_is_written_again_after_a_failed_sync_is_synced(void **state)
{
    (void)state;
    for_each_seed(fail_and_write_again, look);
    assert_int_equal(found.new, SEEDS);
}

/* /a/d goes to /d, then /a into it. The second rename is durable, the first may be undone. */
static int move_into_each_other(void *unused)
{
    (void)unused;
    assert(rt_mkdir("/a", 0700) == 0);
    assert(rt_mkdir("/a/d", 0700) == 0);
    assert(rt_sync_dir("/a") == 0);
    assert(rt_sync_dir("/") == 0);
    assert(rt_rename("/a/d", "/d") == 0);
    assert(rt_rename("/a", "/d/a") == 0);
    assert(rt_sync_dir("/d") == 0);
    return 0;
}

static int both_are_there(void *unused)
{
    (void)unused;
    return rt_exists("/d") == 1 && rt_exists("/d/a") == 1 ? 0 : 1;
}

static void no_directory_ends_up_in_itself(void **state)
{
    (void)state;
    for_each_seed(move_into_each_other, both_are_there);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_during_a_sync_is_not_part_of_it),
        cmocka_unit_test(of_two_syncs_the_later_has_the_last_word),
        cmocka_unit_test(a_sync_after_a_failed_one_succeeds_and_has_written_nothing),
        cmocka_unit_test(what_is_written_again_after_a_failed_sync_is_synced),
        cmocka_unit_test(no_directory_ends_up_in_itself),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
