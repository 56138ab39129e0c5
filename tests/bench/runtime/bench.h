/* tests/bench/runtime/bench.h: what the programs of this folder share. They are one file each and
 * their text is goroutine code, so nothing here keeps an address of thread-local storage. */
#pragma once
#include <rt/go.h>
#include <rt/time.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* The clock without the runtime, for programs that have none.  Context: any thread. */
static inline int64_t bench_clock_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * RT_SECOND + t.tv_nsec;
}

/* One line of output: what a row's `figure` names. */
static inline void bench_figure(const char *name, double value, const char *unit)
{
    printf("%s %.9g %s\n", name, value, unit);
    fflush(stdout);
}

/* A wrong result or a system that refuses: the row fails. */
#define bench_fail(...)                                                                            \
    do {                                                                                           \
        fprintf(stderr, __VA_ARGS__);                                                              \
        fputc('\n', stderr);                                                                       \
        rt_exit(1);                                                                                \
    } while (0)

static inline int bench_compare(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static inline void bench_sort(int64_t *v, size_t n)
{
    rt_nopreempt_begin(); // it calls us back
    qsort(v, n, sizeof(v[0]), bench_compare);
    rt_nopreempt_end();
}

/* Sorted values; q from 0 to 1. */
static inline double bench_quantile(const int64_t *v, size_t n, double q)
{
    size_t i = (size_t)(q * (double)n);
    return n ? (double)v[i < n ? i : n - 1] : 0;
}

/* Sorts v and prints NAME_p50, NAME_p99 and NAME_max in microseconds. */
static inline void bench_latencies(const char *name, int64_t *late_ns, size_t n)
{
    char text[64];
    bench_sort(late_ns, n);
    snprintf(text, sizeof(text), "%s_p50", name);
    bench_figure(text, bench_quantile(late_ns, n, 0.5) / 1e3, "us");
    snprintf(text, sizeof(text), "%s_p99", name);
    bench_figure(text, bench_quantile(late_ns, n, 0.99) / 1e3, "us");
    snprintf(text, sizeof(text), "%s_max", name);
    bench_figure(text, bench_quantile(late_ns, n, 1) / 1e3, "us");
}

/* Resident bytes of this process. */
static inline size_t bench_rss_bytes(void)
{
    FILE *f = fopen("/proc/self/statm", "r");
    long size = 0, rss = 0;
    if (!f || fscanf(f, "%ld %ld", &size, &rss) != 2)
        bench_fail("cannot read /proc/self/statm");
    fclose(f);
    return (size_t)rss * 4096;
}

struct bench_work {
    const char *name; // the program's first argument
    int (*fn)(void *arg);
};

/* Run the work that argv[1] names inside the runtime, with the Ps that KVD_MAXPROCS says; its
 * argument is argv + 2, which ends with NULL. What main returns. */
static inline int bench_main(char **argv, const struct bench_work *works, size_t count,
                             const struct rt_options *options)
{
    static const struct rt_options defaults;
    for (size_t i = 0; argv[1] && i < count; i++) {
        if (strcmp(argv[1], works[i].name) != 0)
            continue;
        struct why why;
        int result = 1;
        if (rt_run(options ? options : &defaults, works[i].fn, argv + 2, &result, &why) != 0) {
            fprintf(stderr, "%s\n", why.text);
            return 1;
        }
        return result;
    }
    fprintf(stderr, "usage: %s WORK, one of:", argv[0]);
    for (size_t i = 0; i < count; i++)
        fprintf(stderr, " %s", works[i].name);
    fputc('\n', stderr);
    return 2;
}
#define BENCH_MAIN(works, options)                                                                 \
    int main(int argc, char **argv)                                                                \
    {                                                                                              \
        (void)argc;                                                                                \
        return bench_main(argv, works, sizeof(works) / sizeof((works)[0]), options);               \
    }
