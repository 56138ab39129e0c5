/* inspect/histogram.c: a binary search and one or two relaxed atomic additions an observation.
 * Nanoseconds are summed as integers (one addition), other values as a double (a CAS loop). */
#include "runtime/inspect/histogram.h"
#include "rt/time.h"
#include "runtime/inspect/number.h"
#include <assert.h>
#include <string.h>

struct rt_histogram {
    int count; // bounds; there is one bucket more, for what is above all
    double bounds[HISTOGRAM_MAX_BOUNDS];
    _Atomic int64_t sum_ns;                             // of rt_histogram_observe_ns
    _Atomic uint64_t sum_bits;                          // of rt_histogram_observe: a double's bits
    _Atomic uint64_t buckets[HISTOGRAM_MAX_BOUNDS + 1]; // not cumulative
};

struct rt_histogram *histogram_new(double start, double factor, int count)
{
    assert(count > 0 && count <= HISTOGRAM_MAX_BOUNDS);
    assert(start > 0);
    assert(factor > 1);
    struct rt_histogram *h = rt_alloc_zero(sizeof(*h));
    h->count = count;
    for (int i = 0; i < count; i++, start *= factor) // by steps, as Go's client, for equal bounds
        h->bounds[i] = start;
    return h;
}

void histogram_free(struct rt_histogram *h) { rt_free(h); }

static void count_one(struct rt_histogram *h, double value)
{
    int low = 0, high = h->count; // the first bound that is not below value
    while (low < high) {
        int middle = (low + high) / 2;
        if (h->bounds[middle] < value)
            low = middle + 1;
        else
            high = middle;
    }
    atomic_fetch_add_explicit(&h->buckets[low], 1, memory_order_relaxed);
}

void rt_histogram_observe_ns(struct rt_histogram *h, int64_t ns)
{
    count_one(h, (double)ns / (double)RT_SECOND);
    atomic_fetch_add_explicit(&h->sum_ns, ns, memory_order_relaxed);
}

static double double_from_bits(uint64_t bits)
{
    double value;
    memcpy(&value, &bits, sizeof(value));
    return value;
}

static uint64_t bits_from_double(double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof(bits));
    return bits;
}

void rt_histogram_observe(struct rt_histogram *h, double value)
{
    count_one(h, value);
    uint64_t old = atomic_load_explicit(&h->sum_bits, memory_order_relaxed), new;
    do
        new = bits_from_double(double_from_bits(old) + value);
    while (!atomic_compare_exchange_weak_explicit(&h->sum_bits, &old, new, memory_order_relaxed,
                                                  memory_order_relaxed));
}

void histogram_write(const struct rt_histogram *h, const char *name, const char *labels,
                     struct rt_string *out)
{
    const char *comma = *labels ? "," : "", *open = *labels ? "{" : "", *close = *labels ? "}" : "";
    char number[NUMBER_BYTES], bound[NUMBER_BYTES];
    uint64_t total = 0;
    for (int i = 0; i <= h->count; i++) {
        total += atomic_load_explicit(&h->buckets[i], memory_order_relaxed);
        if (i < h->count)
            number_format(h->bounds[i], bound);
        else
            strcpy(bound, "+Inf");
        rt_string_printf(out, "%s_bucket{%s%sle=\"%s\"} %s\n", name, labels, comma, bound,
                         number_format((double)total, number));
    }
    double sum =
        (double)atomic_load_explicit(&h->sum_ns, memory_order_relaxed) / (double)RT_SECOND +
        double_from_bits(atomic_load_explicit(&h->sum_bits, memory_order_relaxed));
    rt_string_printf(out, "%s_sum%s%s%s %s\n", name, open, labels, close,
                     number_format(sum, number));
    rt_string_printf(out, "%s_count%s%s%s %s\n", name, open, labels, close,
                     number_format((double)total, number));
}
