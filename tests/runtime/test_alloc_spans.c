/* rt_alloc's own allocator: what goes wrong is said, what is shared is not lost. Builds of sanitizers
 * have another allocator, and nothing to test here. */
#include "tests/support/rt_test.h"
#include <assert.h>
#include <pthread.h>
#include <rt/alloc.h>
#include <rt/chan.h>
#include <rt/sync.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#if defined(RT_ASAN) || defined(RT_TSAN)
int main(void)
{
    printf("ok - the allocator on spans # SKIP under sanitizers everything is of malloc\n");
    return 0;
}
#else

/* ---- mistakes ---- */

struct mistake {
    const char *when;
    void (*make)(void);
    const char *words;
    bool debug; // seen by KVD_MEM_DEBUG only
};

static void free_twice(void)
{
    void *p = rt_alloc(100), *other = rt_alloc(100);
    rt_free(p);
    rt_free(other);
    rt_free(p);
}

static void free_twice_over_a_full_cache(void)
{
    enum { MANY = 500 };
    static void *blocks[MANY];
    for (int i = 0; i < MANY; i++)
        blocks[i] = rt_alloc(48);
    for (int i = 0; i < MANY; i++)
        rt_free(blocks[i]);
    rt_free(blocks[0]); // went to the central list long ago
}

static void free_large_twice(void)
{
    void *p = rt_alloc(100000);
    rt_free(p);
    rt_free(p);
}

static void free_inside_a_large_one(void) { rt_free((char *)rt_alloc(100000) + 16); }

static void free_inside_a_small_one(void)
{
    enum { MANY = 200 };
    static char *blocks[MANY];
    for (int i = 0; i < MANY; i++)
        blocks[i] = rt_alloc(256);
    for (int i = 0; i < MANY; i++)
        memset(blocks[i], 0, 256);
    for (int i = 0; i < MANY; i++)
        rt_free(blocks[i] + 64);
}

static void free_what_is_not_ours(void)
{
    static long words[4];
    rt_free(words);
}

static void free_what_malloc_gave(void) { rt_free(malloc(50)); }

static void grow_what_was_freed(void)
{
    void *p = rt_alloc(70000);
    rt_free(p);
    p = rt_realloc(p, 200000);
}

static void write_after_free(void)
{
    enum { MANY = 6000 };
    static char *blocks[MANY];
    for (int i = 0; i < MANY; i++)
        blocks[i] = rt_alloc(200);
    for (int i = 0; i < MANY; i++) {
        rt_free(blocks[i]);
        if (i == 5)
            blocks[5][100] = 1;
    }
}

static void free_twice_suspected(void)
{
    char *p = rt_alloc(300);
    rt_free(p);
    rt_free(p);
}

static void run_in_child(const struct mistake *m, char *said, size_t cap)
{
    int out[2];
    assert(pipe(out) == 0);
    pid_t pid = fork();
    assert(pid >= 0);
    if (pid == 0) {
        dup2(out[1], 2);
        m->make();
        _exit(0);
    }
    close(out[1]);
    size_t len = 0;
    for (ssize_t n; len + 1 < cap && (n = read(out[0], said + len, cap - len - 1)) > 0;)
        len += (size_t)n;
    said[len] = 0;
    close(out[0]);
    int status;
    assert(waitpid(pid, &status, 0) == pid);
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGABRT)
        fail_msg("when %s: the process went on (status 0x%x)", m->when, status);
}

/* The parent runs no goroutines and has not allocated: a fork is a process that begins. */
static void a_wrong_free_ends_the_process_with_a_sentence(void **state)
{
    (void)state;
    static const struct mistake mistakes[] = {
        {"a block is freed twice", free_twice, "it was freed twice", false},
        {"it left the cache meanwhile", free_twice_over_a_full_cache, "it was freed twice", false},
        {"a large block is freed twice", free_large_twice, "it was freed already", false},
        {"a pointer into a large block", free_inside_a_large_one, "points into a block", false},
        {"pointers into small blocks", free_inside_a_small_one, "points into a block", false},
        {"a static variable", free_what_is_not_ours, "rt_alloc never gave it out", false},
        {"a block of malloc", free_what_malloc_gave, "rt_alloc never gave it out", false},
        {"realloc of a freed block", grow_what_was_freed, "it was freed already", false},
        {"a write after free", write_after_free, "used after rt_free: a block of 208 bytes", true},
        {"twice, under suspicion", free_twice_suspected, "it was freed twice", true},
    };
    for (size_t i = 0; i < ARRAY_LEN(mistakes); i++) {
        char said[2048];
        setenv("KVD_MEM_DEBUG", mistakes[i].debug ? "1" : "0", 1);
        run_in_child(&mistakes[i], said, sizeof(said));
        if (!strstr(said, mistakes[i].words))
            fail_msg("when %s: wanted \"%s\", got \"%s\"", mistakes[i].when, mistakes[i].words,
                     said);
    }
    unsetenv("KVD_MEM_DEBUG");
}

static void fresh_blocks_have_the_pattern(void)
{
    uint8_t *p = rt_alloc(333);
    for (int i = 16; i < 333; i++)
        if (p[i] != 0xa5)
            return;
    memset(p, 1, 333);
    rt_free(p);
    abort();
}

static void under_suspicion_fresh_memory_has_a_pattern(void **state)
{
    (void)state;
    static const struct mistake m = {"memory is fresh", fresh_blocks_have_the_pattern, "", true};
    char said[256];
    setenv("KVD_MEM_DEBUG", "1", 1);
    run_in_child(&m, said, sizeof(said));
    unsetenv("KVD_MEM_DEBUG");
}

/* ---- many at once ---- */

enum { PLACES = 512, WORKERS = 6, ROUNDS = 60000 };

struct exchange {
    _Atomic(uint32_t *) place[PLACES];
    struct rt_waitgroup group;
    _Atomic int wrong, next;
};

/* A block knows its size and is full of its own number: who takes it out checks both. */
static uint32_t *block_new(uint32_t random)
{
    uint32_t words = 4 + (random >> 8) % (random % 50 ? 200 : 20000);
    uint32_t *p = rt_alloc(words * sizeof(p[0]));
    p[0] = words;
    for (uint32_t i = 1; i < words; i += 1 + words / 32)
        p[i] = (uint32_t)(uintptr_t)p + i;
    return p;
}

static bool block_free(uint32_t *p)
{
    bool good = true;
    uint32_t words = p[0];
    for (uint32_t i = 1; i < words; i += 1 + words / 32)
        good = good && p[i] == (uint32_t)(uintptr_t)p + i;
    rt_free(p);
    return good;
}

static void exchange_blocks(struct exchange *x)
{
    uint32_t random = 2654435761u * (uint32_t)(atomic_fetch_add(&x->next, 1) + 1);
    for (int i = 0; i < ROUNDS; i++) {
        random = random * 1664525 + 1013904223;
        uint32_t *old = atomic_exchange(&x->place[(random >> 16) % PLACES], block_new(random));
        if (old && !block_free(old))
            atomic_fetch_add(&x->wrong, 1);
    }
}

static void exchange_on_goroutine(void *arg)
{
    struct exchange *x = arg;
    exchange_blocks(x);
    rt_waitgroup_done(&x->group);
}

static void *exchange_on_thread(void *arg)
{
    exchange_blocks(arg);
    return NULL;
}

static uint64_t blocks_used(void)
{
    struct rt_alloc_stats stats;
    uint64_t used = 0;
    rt_alloc_stats(&stats);
    for (int i = 0; i < RT_ALLOC_CLASSES; i++)
        used += stats.classes[i].used;
    return used;
}

static struct exchange shared;

static void blocks_cross_goroutines_and_foreign_threads_unharmed(void **state)
{
    (void)state;
    pthread_t threads[2];
    uint64_t before = blocks_used();
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, exchange_on_thread, &shared), 0);
    rt_waitgroup_add(&shared.group, WORKERS);
    for (int i = 0; i < WORKERS; i++)
        assert_int_equal(rt_go("exchanges", exchange_on_goroutine, &shared), 0);
    rt_waitgroup_wait(&shared.group, RT_FOREVER);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < PLACES; i++) {
        uint32_t *p = atomic_exchange(&shared.place[i], NULL);
        if (p && !block_free(p))
            atomic_fetch_add(&shared.wrong, 1);
    }
    assert_int_equal(shared.wrong, 0);
    assert_in_range(blocks_used(), before, before + 16); // the runtime's own come and go
}

struct flow {
    struct rt_chan *blocks;
    int rounds;
};

static void make_blocks(void *arg)
{
    struct flow *f = arg;
    for (int i = 0; i < f->rounds; i++) {
        void *p = rt_alloc(64);
        rt_chan_send(f->blocks, &p, RT_FOREVER);
    }
    rt_chan_close(f->blocks);
}

static void what_one_goroutine_makes_and_another_frees_does_not_pile_up(void **state)
{
    (void)state;
    static struct rt_alloc_stats before, after;
    struct flow f = {.blocks = rt_chan_new(sizeof(void *), 100), .rounds = 300000};
    rt_alloc_stats(&before);
    assert_int_equal(rt_go("makes", make_blocks, &f), 0);
    void *p;
    int got = 0;
    for (; rt_chan_recv(f.blocks, &p, RT_FOREVER) == 0; got++)
        rt_free(p);
    rt_chan_free(f.blocks);
    rt_alloc_stats(&after);
    assert_int_equal(got, f.rounds);
    assert_int_equal(after.classes[3].block_bytes, 64);
    assert_true(after.classes[3].spans <= before.classes[3].spans + 8);
}

static void figures_follow_what_is_allocated(void **state)
{
    (void)state;
    enum { MANY = 1000 };
    static void *blocks[MANY];
    static struct rt_alloc_stats before, during, after;
    rt_alloc_stats(&before);
    for (int i = 0; i < MANY; i++)
        blocks[i] = rt_alloc(1700);
    void *large = rt_alloc(1 << 20);
    rt_alloc_stats(&during);
    for (int i = 0; i < MANY; i++)
        rt_free(blocks[i]);
    rt_free(large);
    rt_alloc_stats(&after);
    int class = 0;
    while (before.classes[class].block_bytes < 1700)
        class ++;
    assert_int_equal(during.classes[class].used - before.classes[class].used, MANY);
    assert_true(during.large_bytes >= before.large_bytes + (1 << 20));
    assert_true(during.span_bytes >= before.span_bytes + MANY * 1700 + (1 << 20));
    assert_int_equal(after.classes[class].used, before.classes[class].used);
    assert_int_equal(after.large_bytes, before.large_bytes);
    assert_true(after.classes[class].spans < during.classes[class].spans / 2);
}

static const struct CMUnitTest mistakes[] = {
    cmocka_unit_test(a_wrong_free_ends_the_process_with_a_sentence),
    cmocka_unit_test(under_suspicion_fresh_memory_has_a_pattern),
};
static const struct CMUnitTest tests[] = {
    cmocka_unit_test(blocks_cross_goroutines_and_foreign_threads_unharmed),
    cmocka_unit_test(what_one_goroutine_makes_and_another_frees_does_not_pile_up),
    cmocka_unit_test(figures_follow_what_is_allocated),
};
RT_TEST_GROUP(group, tests)

int main(void)
{
    int failed = cmocka_run_group_tests(mistakes, NULL, NULL);
    return failed + rt_test_main(&(struct rt_options){.procs = 4}, group);
}
#endif
