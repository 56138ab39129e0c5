/* The collector in a simulated world: when it collects does not depend on what it finds alive. */
#include "tests/support/rt_test.h"
#include <assert.h>
#include <rt/gc.h>
#include <rt/sim.h>
#include <rt/time.h>

enum { OBJECTS = 600000, CYCLES_MAX = 64, KEPT = 4000 };

struct node {
    struct node *next;
    uint64_t value[5];
};
static const uint32_t node_pointers[] = {0};
static const struct rt_gc_type node_type = {"node", sizeof(struct node), 1, node_pointers};

/* After how many objects each cycle had ended. */
struct history {
    int at[CYCLES_MAX];
    int cycles;
    bool keeps;
};

static void *kept;

static int churn(void *arg)
{
    struct history *h = arg;
    struct rt_gc_stats stats;
    kept = NULL;
    rt_gc_root_add(&kept, 1);
    for (int i = 0; i < OBJECTS; i++) {
        struct node *n = rt_gc_new(&node_type);
        assert(n);
        // What is kept lies scattered over the spans, as what stale words point to would.
        if (h->keeps && i % (OBJECTS / KEPT) == 0) {
            rt_gc_write(&n->next, kept);
            rt_gc_write(&kept, n);
        }
        if (i % 64 == 0) {
            rt_yield();
            rt_gc_stats(&stats);
            while (h->cycles < (int)stats.cycles && h->cycles < CYCLES_MAX)
                h->at[h->cycles++] = i;
        }
    }
    return 0;
}

static void run(struct history *h)
{
    struct why why;
    int result = -1;
    struct rt_world *world = rt_sim_new(7);
    struct rt_options options = {.world = world};
    assert_int_equal(rt_run(&options, churn, h, &result, &why), 0);
    assert_int_equal(result, 0);
    rt_sim_free(world);
}

static void cycles_come_after_so_many_objects_whatever_is_alive(void **state)
{
    (void)state;
    static struct history all_dies, some_lives = {.keeps = true};
    run(&all_dies);
    run(&some_lives);
    assert_in_range(all_dies.cycles, 2, CYCLES_MAX);
    assert_int_equal(some_lives.cycles, all_dies.cycles);
    for (int i = 0; i < all_dies.cycles; i++)
        assert_int_equal(some_lives.at[i], all_dies.at[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cycles_come_after_so_many_objects_whatever_is_alive),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
