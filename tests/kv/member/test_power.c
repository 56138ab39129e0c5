/* The power goes while a member makes its directory: what was said to be durable is there afterwards. */
#include "kv/member/bootstrap.h"
#include "kv/member/generations.h"
#include "tests/support/rt_test.h"
#include <assert.h>
#include <rt/alloc.h>
#include <rt/sim.h>
#include <stdlib.h>

enum { SEEDS = 40 };

static const struct member_config config = {.data_dir = "/data", .wal_dir = "/log"};

/* Everything up to the point from where others rely on the generation; then the power goes. */
static int begin(void *arg)
{
    struct data_dir *d = rt_alloc_zero(sizeof(*d));
    struct generations *g = rt_alloc_zero(sizeof(*g));
    struct why why = {{0}};
    int err = data_dir_open(&config, d, &why);
    if (!err)
        err = generations_begin(g, d, &why);
    rt_sim_power_loss(arg, "/");
    data_dir_close(d);
    rt_free(g);
    rt_free(d);
    return err;
}

static int look(void *arg)
{
    (void)arg;
    return rt_exists("/data/member/generations") == 1 && rt_exists("/log") == 1;
}

static int run_in(struct rt_world *world, int (*fn)(void *arg))
{
    struct why why = {{0}};
    int result = -1;
    int err = rt_run(&(struct rt_options){.world = world}, fn, world, &result, &why);
    if (err)
        fail_msg("the runtime does not start: %s", why.text);
    return result;
}

static void a_generation_that_was_written_survives_with_its_directory(void **state)
{
    (void)state;
    const char *given = getenv("KVD_SEED");
    uint64_t first = given ? strtoull(given, NULL, 10) : 1;
    for (uint64_t seed = first; seed < first + (given ? 1 : SEEDS); seed++) {
        struct rt_world *world = rt_sim_new(seed);
        assert_int_equal(run_in(world, begin), 0);
        if (run_in(world, look) != 1)
            fail_msg("KVD_SEED=%llu: the directory is gone", (unsigned long long)seed);
        rt_sim_free(world);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_generation_that_was_written_survives_with_its_directory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
