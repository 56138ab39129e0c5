/* tests/runtime/test_gc_storm.c: many goroutines change random graphs while the collector marks. Each
 * has a model of its graph in plain memory, where addresses are hidden, and walks both side by side:
 * what the model can reach must be there, whole, with the edges the model has. The dead are spoilt as
 * they are swept and every cycle is checked, so a pointer that was lost is seen. What the model cannot
 * reach any more is counted, and most of it must be gone at the end. */
#include "tests/support/rt_test.h"
#include <rt/alloc.h>
#include <rt/gc.h>
#include <rt/sync.h>
#include <rt/time.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { EDGES = 4, ROOTS = 8, RECORDS = 600, MUTATORS = 6, SHARED = 32 };
#if defined(RT_TSAN) || defined(RT_ASAN)
enum { STEPS = 4000, BALLAST = 20000 };
#else
enum { STEPS = 15000, BALLAST = 100000 };
#endif

struct node {
    uint64_t id, check;
    struct node *edge[EDGES];
    uint64_t tail;
};
static const uint32_t node_pointers[] = {16, 24, 32, 40};
static const struct rt_gc_type node_type = {"node", sizeof(struct node), EDGES, node_pointers};
static const struct rt_gc_type noise_type = {"noise", 1, 0, NULL};

struct record { // of the model
    uintptr_t hidden;
    uint64_t id;
    int edge[EDGES]; // -1: NULL
    bool used, seen;
};

struct world {
    struct record record[RECORDS];
    void *root[ROOTS];
    int root_is[ROOTS];
    int stack[RECORDS];
    uint64_t random, next_id;
    int number;
};

static void *shared[SHARED];
static void
    *ballast; // a long chain that is marked first: so there is time between a stack and a graph
static struct rt_mutex shared_lock;
static struct rt_waitgroup running;
static _Atomic uint64_t swapped;
static uint64_t seed;

static uint64_t checked(uint64_t id) { return id * 0x9e3779b97f4a7c15ull ^ 0x5bd1e995; }

static bool is_whole(const struct node *n)
{
    return n->check == checked(n->id) && n->tail == ~n->check;
}

static uint64_t draw(struct world *w, uint64_t below)
{
    w->random ^= w->random << 13;
    w->random ^= w->random >> 7;
    w->random ^= w->random << 17;
    return (w->random >> 11) % below;
}

static _Noreturn void wrong(const struct world *w, const char *what, uint64_t id)
{
    fprintf(stderr, "# seed %llu, mutator %d, %s: node %llu: %s\n", (unsigned long long)seed,
            w->number, rt_gc_mode_name(rt_gc_get_mode()), (unsigned long long)id, what);
    abort();
}

/* The real node of a record, whole. */
static struct node *real(struct world *w, int r, struct node *n)
{
    if ((uintptr_t)n != ~w->record[r].hidden)
        wrong(w, "another one than the model's", w->record[r].id);
    if (n->id != w->record[r].id || !is_whole(n))
        wrong(w, "is not whole", w->record[r].id);
    return n;
}

/* What the model reaches from its roots and `also`; frees the rest of the records. */
static void model_collect(struct world *w, int also)
{
    int top = 0;
    for (int i = 0; i < RECORDS; i++)
        w->record[i].seen = false;
    for (int i = 0; i <= ROOTS; i++) {
        int r = i < ROOTS ? w->root_is[i] : also;
        if (r >= 0 && !w->record[r].seen) {
            w->record[r].seen = true;
            w->stack[top++] = r;
        }
    }
    while (top > 0) {
        struct record *at = &w->record[w->stack[--top]];
        for (int e = 0; e < EDGES; e++)
            if (at->edge[e] >= 0 && !w->record[at->edge[e]].seen) {
                w->record[at->edge[e]].seen = true;
                w->stack[top++] = at->edge[e];
            }
    }
    for (int i = 0; i < RECORDS; i++)
        w->record[i].used = w->record[i].seen;
}

static int new_record(struct world *w, int also)
{
    for (int tries = 0; tries < 2; tries++) {
        int from = (int)draw(w, RECORDS);
        for (int i = 0; i < RECORDS; i++) {
            int r = (from + i) % RECORDS;
            if (!w->record[r].used)
                return r;
        }
        model_collect(w, also);
    }
    return -1; // everything is reachable
}

static struct node *new_node(struct world *w, int also, int *r_out)
{
    int r = new_record(w, also);
    if (r < 0)
        return NULL;
    struct node *n = rt_gc_new(&node_type);
    if (!n)
        wrong(w, "refused", 0);
    n->id = (uint64_t)w->number << 48 | ++w->next_id;
    n->check = checked(n->id);
    n->tail = ~n->check;
    w->record[r] = (struct record){.hidden = ~(uintptr_t)n, .id = n->id, .used = true};
    for (int e = 0; e < EDGES; e++)
        w->record[r].edge[e] = -1;
    *r_out = r;
    return n;
}

/* Some steps from a root, on both sides. NULL: that root is empty. */
static struct node *walk(struct world *w, int *r_out)
{
    int from = (int)draw(w, ROOTS), r = w->root_is[from];
    struct node *n = w->root[from];
    if ((r < 0) != (n == NULL))
        wrong(w, "a root differs", 0);
    if (!n)
        return NULL;
    real(w, r, n);
    for (uint64_t steps = draw(w, 12); steps > 0; steps--) {
        int e = (int)draw(w, EDGES), next = w->record[r].edge[e];
        struct node *m = n->edge[e];
        if ((next < 0) != (m == NULL))
            wrong(w, "an edge differs", n->id);
        if (!m)
            break;
        n = real(w, next, m);
        r = next;
    }
    *r_out = r;
    return n;
}

static void wait_somehow(struct world *w)
{
    switch (draw(w, 40)) {
    case 0:
        rt_yield();
        break;
    case 1:
        rt_sleep_ns(1000);
        break;
    case 2:
        for (volatile uint64_t spin = draw(w, 20000); spin > 0; spin--)
            ;
        break;
    }
}

/* Take a node out of the graph, hold it on the stack alone for a while, and put it back: what a
 * barrier that is missing loses. */
static void move_over_the_stack(struct world *w)
{
    int r, to;
    struct node *n = walk(w, &r);
    if (!n)
        return;
    int e = (int)draw(w, EDGES), child_r = w->record[r].edge[e];
    struct node *child = n->edge[e];
    if (!child)
        return;
    rt_gc_write(&n->edge[e], NULL);
    w->record[r].edge[e] = -1;
    if (draw(w, 40) == 0)
        rt_sleep_ns((int64_t)draw(w, 10) * RT_MS); // perhaps until it would have been swept
    else
        wait_somehow(w);
    real(w, child_r, child);
    n = walk(w, &to);
    if (!n) {
        n = new_node(w, child_r, &to);
        if (!n)
            return;
        rt_gc_write(&w->root[0], n);
        w->root_is[0] = to;
    }
    e = (int)draw(w, EDGES);
    rt_gc_write(&n->edge[e], child);
    w->record[to].edge[e] = child_r;
}

static void link_two(struct world *w)
{
    int a, b;
    struct node *from = walk(w, &a), *to = walk(w, &b);
    if (!from || !to)
        return;
    int e = (int)draw(w, EDGES);
    rt_gc_write(&from->edge[e], to);
    w->record[a].edge[e] = b;
}

static void grow(struct world *w)
{
    int a, b;
    struct node *n = new_node(w, -1, &b);
    if (!n)
        return;
    struct node *at = walk(w, &a);
    if (at && draw(w, 8) != 0) {
        int e = (int)draw(w, EDGES);
        rt_gc_write(&at->edge[e], n);
        w->record[a].edge[e] = b;
    } else {
        int i = (int)draw(w, ROOTS);
        rt_gc_write(&w->root[i], n);
        w->root_is[i] = b;
    }
}

static void cut(struct world *w)
{
    if (draw(w, 10) == 0) {
        int i = (int)draw(w, ROOTS);
        rt_gc_write(&w->root[i], NULL);
        w->root_is[i] = -1;
    } else {
        int r;
        struct node *n = walk(w, &r);
        int e = (int)draw(w, EDGES);
        if (n) {
            rt_gc_write(&n->edge[e], NULL);
            w->record[r].edge[e] = -1;
        }
    }
}

/* One of ours goes to the others, one of theirs is looked at: nobody's model knows it. */
static void swap(struct world *w)
{
    struct node *mine = rt_gc_new(&node_type);
    mine->id = w->next_id++;
    mine->check = checked(mine->id);
    mine->tail = ~mine->check;
    int i = (int)draw(w, SHARED);
    rt_mutex_lock(&shared_lock);
    struct node *theirs = shared[i];
    rt_gc_write(&shared[i], mine);
    rt_mutex_unlock(&shared_lock);
    wait_somehow(w);
    if (theirs && !is_whole(theirs))
        wrong(w, "came through a shared slot broken", theirs->id);
    if (theirs) {
        rt_gc_write(&mine->edge[0], theirs); // a chain, cut now and then
        atomic_fetch_add(&swapped, 1);
        if (draw(w, 4) == 0)
            rt_gc_write(&theirs->edge[0], NULL);
    }
}

static void mutate(void *arg)
{
    struct world *w = arg;
    for (int i = 0; i < ROOTS; i++)
        w->root_is[i] = -1;
    if (rt_gc_root_add(w->root, ROOTS) != 0)
        abort();
    for (int step = 0; step < STEPS; step++) {
        switch (draw(w, 12)) {
        case 0 ... 3:
            grow(w);
            break;
        case 4 ... 5:
            link_two(w);
            break;
        case 6 ... 8:
            move_over_the_stack(w);
            break;
        case 9:
            cut(w);
            break;
        case 10:
            swap(w);
            break;
        default:
            rt_gc_new_array(&noise_type, draw(w, 3000) + 1);
        }
        if (step % 64 == 0)
            wait_somehow(w);
    }
    rt_waitgroup_done(&running);
}

static _Atomic bool storming;

static void collect_again_and_again(void *arg)
{
    (void)arg;
    while (atomic_load(&storming)) {
        rt_gc_collect();
        rt_yield();
    }
    rt_waitgroup_done(&running);
}

/* Of the records that the model dropped, those that still exist. */
static __attribute__((noinline)) void count_dead(struct world *w, int *dead, int *there)
{
    model_collect(w, -1);
    for (int r = 0; r < RECORDS; r++)
        if (!w->record[r].used && w->record[r].hidden) {
            struct node *n = rt_gc_object_of((void *)~w->record[r].hidden, NULL);
            *dead += 1;
            *there += n && n->id == w->record[r].id && is_whole(n);
        }
}

static int storm(void *arg)
{
    enum rt_gc_mode mode = *(enum rt_gc_mode *)arg;
    rt_set_slice_ns(RT_MS);
    rt_gc_set_checked(true);
    rt_gc_set_mode(mode);
    ballast = NULL;
    memset(shared, 0, sizeof(shared));
    rt_gc_root_add(&ballast,
                   1); // the first root is the last to be greyed, and the first to be marked
    rt_gc_root_add(shared, SHARED);
    for (int i = 0; i < BALLAST; i++) {
        struct node *n = rt_gc_new(&node_type);
        rt_gc_write(&n->edge[0], ballast);
        rt_gc_write(&ballast, n);
    }
    memset(&running, 0, sizeof(running));
    atomic_store(&storming, true);
    struct world *worlds[MUTATORS];
    rt_waitgroup_add(&running, MUTATORS);
    for (int i = 0; i < MUTATORS; i++) {
        worlds[i] = rt_alloc_zero(sizeof(*worlds[i]));
        worlds[i]->random = (seed + (uint64_t)i) * 0x9e3779b97f4a7c15ull | 1;
        worlds[i]->number = i + 1;
        rt_go("mutator", mutate, worlds[i]);
    }
    rt_go("collect", collect_again_and_again, NULL);
    rt_waitgroup_wait(&running, RT_FOREVER);
    rt_waitgroup_add(&running, 1);
    atomic_store(&storming, false);
    rt_waitgroup_wait(&running, RT_FOREVER);
    rt_gc_collect();
    rt_gc_collect();
    int dead = 0, there = 0;
    for (int i = 0; i < MUTATORS; i++) {
        count_dead(worlds[i], &dead, &there);
        for (int k = 0; k < 2000; k++) { // and everything is as the model says
            int r;
            walk(worlds[i], &r);
        }
    }
    struct rt_gc_stats s;
    rt_gc_stats(&s);
    if (s.checks < 3 || s.freed_objects < 1000 || s.cycles < 3)
        return 1;
    for (int i = 0; i < MUTATORS; i++)
        rt_free(worlds[i]);
    return there > dead / 10 ? 2 : 0; // a stale word may hold some
}

static void storms(enum rt_gc_mode mode)
{
    for (unsigned procs = 1; procs <= 4; procs *= 2) {
        struct why why = {""};
        int result = -1;
        if (rt_run(&(struct rt_options){.procs = procs}, storm, &mode, &result, &why) != 0)
            fail_msg("%s", why.text);
        assert_int_equal(result, 0);
    }
}

static void a_storm_loses_nothing_under_the_hybrid_barrier(void **state)
{
    (void)state;
    storms(RT_GC_HYBRID);
}

static void a_storm_loses_nothing_under_dijkstras_barrier(void **state)
{
    (void)state;
    storms(RT_GC_DIJKSTRA);
}

static void a_storm_loses_nothing_when_the_world_is_stopped(void **state)
{
    (void)state;
    storms(RT_GC_STOPPED);
}

int main(void)
{
    const char *text = getenv("KVD_SEED");
    seed = text ? (uint64_t)atoll(text) : (uint64_t)time(NULL);
    fprintf(stderr, "# KVD_SEED=%llu\n", (unsigned long long)seed);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_storm_loses_nothing_under_the_hybrid_barrier),
        cmocka_unit_test(a_storm_loses_nothing_under_dijkstras_barrier),
        cmocka_unit_test(a_storm_loses_nothing_when_the_world_is_stopped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
