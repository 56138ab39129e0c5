/* examples/preemption.c: one P; main starts a goroutine that sleeps 10 ms, then computes for a second
 * in a loop that never calls anything. When does the sleeper run? Without preemption: after the
 * second. With a time slice alone: when the slice during which its timer came due is over.
 *     build/runtime/examples/preemption */
#include <rt/go.h>
#include <rt/time.h>
#include <stdatomic.h>
#include <stdio.h>

struct times {
    _Atomic int64_t began_ns, slept_ns;
};

static void sleep_a_little(void *arg)
{
    struct times *t = arg;
    atomic_store(&t->began_ns, rt_now_ns());
    rt_sleep_ns(10 * RT_MS);
    atomic_store(&t->slept_ns, rt_now_ns());
}

/* No call inside: only a signal can stop it. */
static void compute(volatile uint64_t *x, uint64_t rounds)
{
    for (uint64_t i = 0; i < rounds; i++)
        *x = *x * 6364136223846793005u + i;
}

static void measure(const char *what, bool begin_first)
{
    struct times t = {0};
    volatile uint64_t x = 1;
    int64_t calibrate_ns = rt_now_ns();
    compute(&x, 1000000);
    calibrate_ns = rt_now_ns() - calibrate_ns;
    rt_go("sleeper", sleep_a_little, &t);
    if (begin_first)
        rt_yield();
    int64_t start_ns = rt_now_ns();
    compute(&x, (uint64_t)(1e6 * (double)RT_SECOND / (double)(calibrate_ns + 1)));
    int64_t spun_ns = rt_now_ns() - start_ns;
    while (atomic_load(&t.slept_ns) == 0)
        rt_yield();
    printf("%s: the 10 ms sleeper began %.1f ms after the loop did and ran on at %.1f ms "
           "(the loop took %.1f ms)\n",
           what, (double)(t.began_ns - start_ns) / 1e6, (double)(t.slept_ns - start_ns) / 1e6,
           (double)spun_ns / 1e6);
}

static int program(void *arg)
{
    (void)arg;
    measure("already asleep when the loop begins", true);
    measure("not yet started when the loop begins", false);
    return 0;
}

int main(void)
{
    struct why why;
    int result = 1;
    if (rt_run(&(struct rt_options){.procs = 1}, program, NULL, &result, &why) != 0) {
        fprintf(stderr, "%s\n", why.text);
        return 1;
    }
    return result;
}
