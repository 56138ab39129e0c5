/* kv/store/sort.c: see sort.h. Runs of 8 by insertion, then merged from one array to another. */
#include "kv/store/sort.h"
#include <rt/alloc.h>
#include <rt/why.h>

enum { RUN = 8 };

static void insertion(void **items, size_t count, int (*compare)(void *, void *, void *), void *arg)
{
    for (size_t i = 1; i < count; i++) {
        void *it = items[i];
        size_t j = i;
        for (; j > 0 && compare(items[j - 1], it, arg) > 0; j--)
            items[j] = items[j - 1];
        items[j] = it;
    }
}

static void merge(void **out, void **a, size_t na, void **b, size_t nb,
                  int (*compare)(void *, void *, void *), void *arg)
{
    while (na && nb)
        if (compare(*a, *b, arg) <= 0) {
            *out++ = *a++;
            na--;
        } else {
            *out++ = *b++;
            nb--;
        }
    for (; na; na--)
        *out++ = *a++;
    for (; nb; nb--)
        *out++ = *b++;
}

void sort_pointers(void **items, size_t count, int (*compare)(void *, void *, void *), void *arg)
{
    for (size_t i = 0; i < count; i += RUN)
        insertion(items + i, count - i < RUN ? count - i : RUN, compare, arg);
    if (count <= RUN)
        return;
    void **other = rt_alloc(count * sizeof *other);
    if (!other)
        rt_fatal("out of memory: sorting %zu things", count);
    void **from = items, **to = other;
    for (size_t run = RUN; run < count; run *= 2) {
        for (size_t i = 0; i < count; i += 2 * run) {
            size_t left = count - i, na = left < run ? left : run;
            size_t nb = left - na < run ? left - na : run;
            merge(to + i, from + i, na, from + i + na, nb, compare, arg);
        }
        void **swap = from;
        from = to;
        to = swap;
    }
    if (from != items)
        for (size_t i = 0; i < count; i++)
            items[i] = from[i];
    rt_free(other);
}
