/* tests/runtime/test_preempt.c: goroutines that never call anything are stopped and resumed, and not
 * one of their registers changes. */
#include "runtime/sched/gmp.h"
#include "runtime/sched/preempt.h"
#include "runtime/sched/stack.h"
#include "tests/support/rt_test.h"
#include <immintrin.h>
#include <pthread.h>
#include <rt/inspect.h>
#include <rt/sync.h>
#include <rt/time.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#ifdef RT_TSAN
static bool cannot_interrupt(void)
{
    print_message("# SKIP not applicable: ThreadSanitizer holds signals back\n");
    return true;
}
#else
static bool cannot_interrupt(void) { return false; }
#endif

static int run_on(unsigned procs, int (*fn)(void *arg), void *arg)
{
    struct why why = {""};
    int result = -1;
    if (rt_run(&(struct rt_options){.procs = procs}, fn, arg, &result, &why) != 0)
        fail_msg("%s", why.text);
    return result;
}

/* ---- a loop that never ends ---- */

struct hogged {
    _Atomic bool stop;
    _Atomic int beats;
    struct rt_waitgroup done;
};

static void hog(void *arg)
{
    struct hogged *h = arg;
    while (!atomic_load_explicit(&h->stop, memory_order_relaxed))
        ;
    rt_waitgroup_done(&h->done);
}

static void beat(void *arg)
{
    struct hogged *h = arg;
    for (int i = 0; i < 20; i++) {
        rt_sleep_ns(RT_MS);
        atomic_fetch_add(&h->beats, 1);
    }
    atomic_store(&h->stop, true);
    rt_waitgroup_done(&h->done);
}

static int live_beside_hogs(void *hogs)
{
    struct hogged h = {.stop = false};
    int count = *(int *)hogs;
    rt_waitgroup_add(&h.done, count + 1);
    for (int i = 0; i < count; i++)
        rt_go("hog", hog, &h);
    rt_go("beat", beat, &h);
    if (rt_waitgroup_wait(&h.done, rt_after_ns(60 * RT_SECOND)) != 0)
        return -1;
    return atomic_load(&h.beats);
}

static void others_go_on_beside_an_endless_loop_on_one_p(void **state)
{
    (void)state;
    if (cannot_interrupt())
        return;
    assert_int_equal(run_on(1, live_beside_hogs, &(int){1}), 20);
}

static void others_go_on_beside_a_hog_on_every_p(void **state)
{
    (void)state;
    if (cannot_interrupt())
        return;
    assert_int_equal(run_on(2, live_beside_hogs, &(int){3}), 20);
}

static void spin_until_stopped(void *arg)
{
    struct hogged *h = arg;
    while (!atomic_load_explicit(&h->stop, memory_order_relaxed))
        rt_now_ns(); // calls the runtime, never parks
    rt_waitgroup_done(&h->done);
}

static int live_beside_a_caller(void *arg)
{
    (void)arg;
    struct hogged h = {.stop = false};
    rt_waitgroup_add(&h.done, 2);
    rt_go("caller", spin_until_stopped, &h);
    rt_go("beat", beat, &h);
    if (rt_waitgroup_wait(&h.done, rt_after_ns(60 * RT_SECOND)) != 0)
        return -1;
    return atomic_load(&h.beats);
}

static void a_loop_of_runtime_calls_stops_at_their_exit(void **state)
{
    (void)state;
    struct why why = {""};
    int beats = -1;
    struct rt_options options = {.procs = 1, .no_async_preempt = true};
    assert_int_equal(rt_run(&options, live_beside_a_caller, NULL, &beats, &why), 0);
    assert_int_equal(beats, 20);
    assert_int_equal(run_on(1, live_beside_a_caller, NULL), 20);
}

/* Main's end must not wait for goroutines that compute. */
static int leave_hogs_behind(void *arg)
{
    static struct hogged h;
    (void)arg;
    atomic_store(&h.stop, false);
    for (int i = 0; i < 4; i++)
        rt_go("hog", hog, &h);
    rt_sleep_ns(5 * RT_MS);
    return 7;
}

static void main_may_return_while_others_compute(void **state)
{
    (void)state;
    if (cannot_interrupt())
        return;
    assert_int_equal(run_on(2, leave_hogs_behind, NULL), 7);
    assert_int_equal(run_on(1, leave_hogs_behind, NULL), 7);
}

/* ---- no preemption where it is forbidden ---- */

struct guarded {
    _Atomic bool stop, inside;
    _Atomic uint64_t broken, rounds;
    struct rt_waitgroup done;
};

static void enter_and_leave(void *arg)
{
    struct guarded *g = arg;
    volatile uint64_t x = 1;
    while (!atomic_load(&g->stop)) {
        rt_nopreempt_begin();
        if (atomic_exchange(&g->inside, true))
            atomic_fetch_add(&g->broken, 1);
        for (int i = 0; i < 300; i++)
            x = x * 3 + 1;
        atomic_store(&g->inside, false);
        atomic_fetch_add(&g->rounds, 1);
        rt_nopreempt_end();
    }
    rt_waitgroup_done(&g->done);
}

/* ---- the storm: requests as fast as the kernel takes them ---- */

struct storm {
    _Atomic bool stop;
    pthread_t thread;
};

static int64_t clock_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * RT_SECOND + t.tv_nsec;
}

static void *blow(void *arg)
{
    struct storm *s = arg;
    uint32_t random = 1;
    while (!atomic_load(&s->stop)) {
        for (unsigned i = 0; i < rt_procs(); i++)
            preempt_request(&sched.ps[i], random >> 28 == 0 ? PREEMPT_NEED : PREEMPT_SLICE);
        random = random * 1664525 + 1013904223;
        int64_t until = clock_ns() + 20000 + (random >> 17);
        while (clock_ns() < until)
            ;
    }
    return NULL;
}

static bool storm_begin(struct storm *s)
{
    atomic_store(&s->stop, false);
    return pthread_create(&s->thread, NULL, blow, s) == 0;
}

static void storm_end(struct storm *s)
{
    atomic_store(&s->stop, true);
    pthread_join(s->thread, NULL);
}

static int guard_in_a_storm(void *arg)
{
    (void)arg;
    struct guarded g = {.stop = false};
    struct storm s;
    rt_waitgroup_add(&g.done, 3);
    for (int i = 0; i < 3; i++)
        rt_go("guarded", enter_and_leave, &g);
    if (!storm_begin(&s))
        return -1;
    rt_sleep_ns(500 * RT_MS);
    atomic_store(&g.stop, true);
    rt_waitgroup_wait(&g.done, RT_FOREVER);
    storm_end(&s);
    return atomic_load(&g.broken) == 0 && atomic_load(&g.rounds) > 0 ? 0 : 1;
}

static void nopreempt_sections_are_never_entered_by_two_on_one_p(void **state)
{
    (void)state;
    assert_int_equal(run_on(1, guard_in_a_storm, NULL), 0);
}

/* Works whose results are known: what a switch forgot shows in them. */

/* Its array fits the red zone; a leaf does not move the stack pointer. */
static __attribute__((noinline)) uint64_t in_red_zone(uint64_t x)
{
    volatile uint64_t keep[12];
    for (int i = 0; i < 12; i++)
        keep[i] = x + (uint64_t)i;
    for (int i = 0; i < 4000; i++)
        keep[i % 12] = keep[(i + 5) % 12] * 6364136223846793005u + (uint64_t)i;
    uint64_t h = 0;
    for (int i = 0; i < 12; i++)
        h = h * 31 + keep[i];
    return h;
}

/* Many values live in general registers, and flags between compare and branch. */
static __attribute__((noinline)) uint64_t in_registers(uint64_t x)
{
    uint64_t a = x, b = ~x, c = x * 3, d = x ^ 0x5555, e = x + 7, f = x << 3, g = x >> 2, h = 1;
    for (int i = 0; i < 4000; i++) {
        a += b ^ (c << 1);
        b = (b >> 7) | (b << 57);
        c -= d & e;
        d ^= f + g;
        e = e * 5 + h;
        f = a > b ? f + c : f - d;
        g += (uint64_t)__builtin_popcountll(e);
        h ^= a + f;
    }
    return a ^ b ^ c ^ d ^ e ^ f ^ g ^ h;
}

static __attribute__((noinline)) uint64_t in_x87(uint64_t x)
{
    long double v = (long double)(x & 0xffff);
    for (int i = 1; i < 4000; i++)
        v = v * 1.0000001L + 1.0L / (long double)i;
    return (uint64_t)(v * 1e6L);
}

static __attribute__((noinline)) uint64_t in_sse(uint64_t x)
{
    double a = (double)(x & 0xfff), b = 1.5, c = 0.25, d = 3.0;
    for (int i = 1; i < 4000; i++) {
        a = a * 1.0000001 + b / (double)i;
        b = b + c * 0.001;
        c = c * 0.9999 + d * 1e-6;
        d = d + a * 1e-9;
    }
    uint64_t bits;
    double sum = a + b + c + d;
    memcpy(&bits, &sum, sizeof(bits));
    return bits;
}

__attribute__((noinline, target("avx2"))) static uint64_t in_avx(uint64_t x)
{
    __m256i a = _mm256_set1_epi64x((long long)x), b = _mm256_set_epi64x(1, 2, 3, 4);
    for (int i = 0; i < 4000; i++) {
        a = _mm256_add_epi64(_mm256_mul_epu32(a, b), _mm256_slli_epi64(a, 3));
        b = _mm256_xor_si256(b, _mm256_srli_epi64(a, 5));
    }
    uint64_t out[4];
    _mm256_storeu_si256((__m256i *)out, _mm256_xor_si256(a, b));
    return out[0] ^ out[1] * 3 ^ out[2] * 5 ^ out[3] * 7;
}

__attribute__((noinline, target("avx512f,avx512dq"))) static uint64_t in_avx512(uint64_t x)
{
    __m512i a = _mm512_set1_epi64((long long)x), b = _mm512_set_epi64(1, 2, 3, 4, 5, 6, 7, 8);
    for (int i = 0; i < 4000; i++) {
        __mmask8 m = _mm512_cmpgt_epu64_mask(a, b);
        a = _mm512_mask_add_epi64(_mm512_mullo_epi64(a, b), m, a, b);
        b = _mm512_rol_epi64(_mm512_xor_si512(b, a), 7);
    }
    uint64_t out[8], sum = 0;
    _mm512_storeu_si512(out, _mm512_xor_si512(a, _mm512_rol_epi64(b, 32)));
    for (int i = 0; i < 8; i++)
        sum = sum * 31 + out[i];
    return sum;
}

static __attribute__((noinline)) uint64_t in_malloc(uint64_t x)
{
    uint64_t h = 0;
    for (int i = 0; i < 60; i++) {
        size_t bytes = 16 + (x + (uint64_t)i * 37) % 3000;
        uint8_t *p = malloc(bytes);
        memset(p, i, bytes);
        h = h * 31 + p[bytes / 2] + bytes;
        free(p);
    }
    return h;
}

static __attribute__((noinline)) uint64_t in_snprintf(uint64_t x)
{
    char text[128];
    uint64_t h = 0;
    for (int i = 0; i < 30; i++) {
        int n =
            snprintf(text, sizeof(text), "%lu %d %.3f %s", (unsigned long)x, i, 1.5 * i, "word");
        for (int k = 0; k < n; k++)
            h = h * 31 + (uint8_t)text[k];
    }
    return h;
}

static int compare_ints(const void *a, const void *b)
{
    int x = *(const int *)a, y = *(const int *)b;
    return (x > y) - (x < y);
}

static __attribute__((noinline)) uint64_t in_qsort(uint64_t x)
{
    int v[64];
    for (int i = 0; i < 64; i++)
        v[i] = (int)((x + (uint64_t)i * 7919) % 1000);
    rt_nopreempt_begin(); // it calls us back
    qsort(v, 64, sizeof(v[0]), compare_ints);
    rt_nopreempt_end();
    uint64_t h = 0;
    for (int i = 0; i < 64; i++)
        h = h * 31 + (uint64_t)v[i];
    return h;
}

static uint64_t (*const works[])(uint64_t) = {
    in_red_zone, in_registers, in_x87, in_sse, in_malloc, in_snprintf, in_qsort, in_avx, in_avx512,
};
static const char *const work_names[] = {
    "red zone", "registers", "x87", "SSE", "malloc", "snprintf", "qsort", "AVX", "AVX-512",
};
enum { WORKS = sizeof(works) / sizeof(works[0]), WORKERS = 9 };

struct torture {
    _Atomic bool stop;
    bool usable[WORKS];
    _Atomic uint64_t wrong[WORKS], rounds;
    struct rt_waitgroup done;
};

struct worker {
    struct torture *t;
    uint64_t seed;
    uint64_t want[WORKS];
};

static void work_and_check(void *arg)
{
    struct worker *w = arg;
    while (!atomic_load(&w->t->stop)) {
        for (int i = 0; i < WORKS; i++)
            if (w->t->usable[i] && works[i](w->seed) != w->want[i])
                atomic_fetch_add(&w->t->wrong[i], 1);
        atomic_fetch_add(&w->t->rounds, 1);
    }
    rt_waitgroup_done(&w->t->done);
}

static int torture_ms;

static int torture(void *arg)
{
    struct torture *t = arg;
    static struct worker workers[WORKERS];
    struct storm s;
    __builtin_cpu_init();
    for (int i = 0; i < WORKS; i++)
        t->usable[i] = true;
    t->usable[WORKS - 2] = __builtin_cpu_supports("avx2");
    t->usable[WORKS - 1] = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq");
    rt_waitgroup_add(&t->done, WORKERS);
    for (int i = 0; i < WORKERS; i++) {
        workers[i] = (struct worker){.t = t, .seed = (uint64_t)i * 1234567 + 89};
        for (int k = 0; k < WORKS; k++)
            workers[i].want[k] = t->usable[k] ? works[k](workers[i].seed) : 0;
        rt_go("tortured", work_and_check, &workers[i]);
    }
    if (!storm_begin(&s))
        return -1;
    rt_sleep_ns(torture_ms * RT_MS);
    atomic_store(&t->stop, true);
    rt_waitgroup_wait(&t->done, RT_FOREVER);
    storm_end(&s);
    struct rt_stats stats;
    rt_stats(&stats);
    print_message(
        "# %llu rounds, %llu preempted by slice, %llu by need, %llu refused, %llu steals\n",
        (unsigned long long)atomic_load(&t->rounds), (unsigned long long)stats.preempted_slice,
        (unsigned long long)stats.preempted_need, (unsigned long long)stats.preempt_refused,
        (unsigned long long)stats.steals);
    return stats.preempted_slice + stats.preempted_need > 100 ? 0 : 1;
}

static void results_are_right_under_a_storm(unsigned procs, int ms)
{
    struct torture t = {.stop = false};
    torture_ms = ms;
    assert_int_equal(run_on(procs, torture, &t), 0);
    for (int i = 0; i < WORKS; i++) {
        if (!t.usable[i])
            print_message("# this CPU has no %s\n", work_names[i]);
        if (atomic_load(&t.wrong[i]) > 0)
            fail_msg("%s: %llu wrong results", work_names[i],
                     (unsigned long long)atomic_load(&t.wrong[i]));
    }
}

static void every_register_survives_preemption_on_one_p(void **state)
{
    (void)state;
    results_are_right_under_a_storm(1, 4000);
}

static void every_register_survives_preemption_and_moving_between_threads(void **state)
{
    (void)state;
    results_are_right_under_a_storm(3, 5000);
}

int main(void)
{
    setenv("KVD_TORTURE", "1", 1); // each preemption looks for a library below it
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(others_go_on_beside_an_endless_loop_on_one_p),
        cmocka_unit_test(others_go_on_beside_a_hog_on_every_p),
        cmocka_unit_test(a_loop_of_runtime_calls_stops_at_their_exit),
        cmocka_unit_test(main_may_return_while_others_compute),
        cmocka_unit_test(nopreempt_sections_are_never_entered_by_two_on_one_p),
        cmocka_unit_test(every_register_survives_preemption_on_one_p),
        cmocka_unit_test(every_register_survives_preemption_and_moving_between_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
