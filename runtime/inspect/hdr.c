/* inspect/hdr.c: see rt/hdr.h.
 *
 * A value in units of 8 ns, v, has its highest bit at h. Below 256 units a step is one unit; above,
 * the eight highest bits name the step:
 *
 *     v = 1 xxxxxxx yyyy...   shift = h - 7,   bucket = shift * 128 + (v >> shift)
 *
 * so steps 128 * (shift + 1) .. + 127 belong to one doubling, and the formula holds at its seams.
 *
 * An rt_hdr has a set of counters for each P. Code of the runtime is not preempted, so while it
 * records it is the only writer of its P's counters: a relaxed load and store each, no locked
 * instruction. Who has no P (or one beyond the sets) adds to set 0 atomically. Nothing orders them: a
 * reader sees each count at some instant. */
#include "runtime/inspect/hdr.h"
#include "rt/time.h"
#include "runtime/inspect/number.h"
#include "runtime/sched/atomic.h"
#include "runtime/sched/proc.h"
#include <assert.h>
#include <errno.h>
#include <string.h>

enum { HDR_SHARDS = 64, HDR_VERSION = 1, VARINT_BYTES = 10 };

struct shard {
    _Atomic int64_t sum_ns;
    _Atomic int64_t max_ns;
    _Atomic uint64_t buckets[RT_HDR_BUCKETS];
} __attribute__((aligned(64)));

struct rt_hdr {
    _Atomic(struct shard *) shards[HDR_SHARDS]; // 0, then by P; made by who records first, (A)
};

static_assert(RT_HDR_BUCKETS == 3584, "what the header says");

uint32_t rt_hdr_bucket(int64_t ns)
{
    if (ns < 0)
        ns = 0;
    if (ns >= INT64_C(1) << RT_HDR_VALUE_BITS)
        return RT_HDR_BUCKETS - 1;
    uint64_t v = (uint64_t)ns >> RT_HDR_UNIT_BITS;
    int high = 63 - __builtin_clzll(v | 1);
    uint32_t shift = high > RT_HDR_STEP_BITS ? (uint32_t)(high - RT_HDR_STEP_BITS) : 0;
    return shift * RT_HDR_STEPS + (uint32_t)(v >> shift);
}

int64_t rt_hdr_bucket_low(uint32_t bucket)
{
    assert(bucket <= RT_HDR_BUCKETS);
    uint32_t shift = bucket < 2 * RT_HDR_STEPS ? 0 : bucket / RT_HDR_STEPS - 1;
    return (int64_t)(bucket - shift * RT_HDR_STEPS) << (shift + RT_HDR_UNIT_BITS);
}

int64_t rt_hdr_bucket_high(uint32_t bucket) { return rt_hdr_bucket_low(bucket + 1); }

/* ---- Written by many ---- */

struct rt_hdr *rt_hdr_new(void) { return rt_alloc_zero(sizeof(struct rt_hdr)); }

void rt_hdr_free(struct rt_hdr *h)
{
    if (!h)
        return;
    for (int i = 0; i < HDR_SHARDS; i++)
        rt_free(load_relaxed(&h->shards[i]));
    rt_free(h);
}

/* (A) The shard is zeroed, then published by CAS, release; pairs with the acquire of every user. */
static struct shard *make_shard(struct rt_hdr *h, unsigned i)
{
    struct shard *fresh = rt_alloc_aligned(64, sizeof(*fresh)), *there = NULL;
    memset(fresh, 0, sizeof(*fresh));
    if (atomic_compare_exchange_strong_explicit(&h->shards[i], &there, fresh, memory_order_release,
                                                memory_order_acquire))
        return fresh;
    rt_free(fresh);
    return there;
}

static inline void record_alone(struct shard *s, uint32_t bucket, int64_t ns, uint64_t times)
{
    if (load_relaxed(&s->max_ns) < ns)
        store_relaxed(&s->max_ns, ns);
    store_relaxed(&s->buckets[bucket], load_relaxed(&s->buckets[bucket]) + times);
    store_relaxed(&s->sum_ns, load_relaxed(&s->sum_ns) + ns * (int64_t)times);
}

static void record_among_others(struct shard *s, uint32_t bucket, int64_t ns, uint64_t times)
{
    int64_t max = load_relaxed(&s->max_ns);
    while (max < ns && !atomic_compare_exchange_weak_explicit(
                           &s->max_ns, &max, ns, memory_order_relaxed, memory_order_relaxed))
        ;
    atomic_fetch_add_explicit(&s->buckets[bucket], times, memory_order_relaxed);
    atomic_fetch_add_explicit(&s->sum_ns, ns * (int64_t)times, memory_order_relaxed);
}

static unsigned own_shard(void)
{
    int p = sched_p_index();
    return p >= 0 && p < HDR_SHARDS - 1 ? (unsigned)p + 1 : 0;
}

static inline void record_in(struct shard *s, unsigned i, int64_t ns, uint64_t times)
{
    if (ns < 0)
        ns = 0;
    if (i)
        record_alone(s, rt_hdr_bucket(ns), ns, times);
    else
        record_among_others(s, rt_hdr_bucket(ns), ns, times);
}

void rt_hdr_record(struct rt_hdr *h, int64_t ns)
{
    unsigned i = own_shard();
    struct shard *s = load_acquire(&h->shards[i]); // (A)
    if (!s)
        s = make_shard(h, i);
    record_in(s, i, ns, 1);
}

void rt_hdr_record_each(struct rt_hdr *const *h, const int64_t *ns, unsigned count, uint64_t times)
{
    unsigned i = own_shard();
    for (unsigned k = 0; k < count; k++) {
        if (ns[k] < 0)
            continue;
        struct shard *s = load_acquire(&h[k]->shards[i]); // (A)
        if (!s)
            s = make_shard(h[k], i);
        record_in(s, i, ns[k], times);
    }
}

struct rt_hdr *hdr_new_ahead(unsigned procs)
{
    struct rt_hdr *h = rt_hdr_new();
    for (unsigned i = 0; i <= procs && i < HDR_SHARDS; i++)
        make_shard(h, i);
    return h;
}

void hdr_record_ahead(struct rt_hdr *h, int64_t ns)
{
    unsigned i = own_shard();
    struct shard *s = load_acquire(&h->shards[i]); // (A)
    if (!s)
        s = load_acquire(&h->shards[i = 0]);
    record_in(s, i, ns, 1);
}

/* ---- With one owner ---- */

struct rt_hdr_counts *rt_hdr_counts_new(void)
{
    return rt_alloc_zero(sizeof(struct rt_hdr_counts));
}

void rt_hdr_counts_reset(struct rt_hdr_counts *c) { memset(c, 0, sizeof(*c)); }

/* Widen c by `count` observations from min to max, before they are counted. */
static void widen(struct rt_hdr_counts *c, uint64_t count, int64_t min_ns, int64_t max_ns)
{
    if (!c->count || min_ns < c->min_ns)
        c->min_ns = min_ns;
    if (!c->count || max_ns > c->max_ns)
        c->max_ns = max_ns;
    c->count += count;
}

void rt_hdr_counts_add(struct rt_hdr_counts *c, int64_t ns, uint64_t times)
{
    if (!times)
        return;
    if (ns < 0)
        ns = 0;
    widen(c, times, ns, ns);
    c->sum_ns += ns * (int64_t)times;
    c->buckets[rt_hdr_bucket(ns)] += times;
}

void rt_hdr_counts_merge(struct rt_hdr_counts *c, const struct rt_hdr_counts *other)
{
    if (!other->count)
        return;
    widen(c, other->count, other->min_ns, other->max_ns);
    c->sum_ns += other->sum_ns;
    for (uint32_t i = 0; i < RT_HDR_BUCKETS; i++)
        c->buckets[i] += other->buckets[i];
}

bool rt_hdr_counts_subtract(struct rt_hdr_counts *c, const struct rt_hdr_counts *earlier)
{
    for (uint32_t i = 0; i < RT_HDR_BUCKETS; i++)
        if (c->buckets[i] < earlier->buckets[i])
            return false;
    int64_t max = c->max_ns;
    uint32_t lowest = RT_HDR_BUCKETS, highest = 0;
    for (uint32_t i = 0; i < RT_HDR_BUCKETS; i++) {
        c->buckets[i] -= earlier->buckets[i];
        if (c->buckets[i]) {
            highest = i;
            if (lowest == RT_HDR_BUCKETS)
                lowest = i;
        }
    }
    c->count -= earlier->count;
    c->sum_ns -= earlier->sum_ns;
    c->min_ns = c->count ? rt_hdr_bucket_low(lowest) : 0;
    c->max_ns = c->count ? rt_hdr_bucket_high(highest) : 0;
    if (c->max_ns > max || (c->count && highest == RT_HDR_BUCKETS - 1))
        c->max_ns = max; // of the whole: at least as near
    return true;
}

void rt_hdr_read(const struct rt_hdr *h, struct rt_hdr_counts *c)
{
    for (int k = 0; k < HDR_SHARDS; k++) {
        struct shard *s = load_acquire(&h->shards[k]); // (A)
        if (!s)
            continue;
        uint64_t count = 0;
        uint32_t lowest = RT_HDR_BUCKETS;
        for (uint32_t i = 0; i < RT_HDR_BUCKETS; i++) {
            uint64_t n = load_relaxed(&s->buckets[i]);
            c->buckets[i] += n;
            count += n;
            if (n && lowest == RT_HDR_BUCKETS)
                lowest = i;
        }
        if (!count)
            continue;
        widen(c, count, rt_hdr_bucket_low(lowest), load_relaxed(&s->max_ns));
        c->sum_ns += load_relaxed(&s->sum_ns);
    }
}

static int64_t middle(const struct rt_hdr_counts *c, uint32_t bucket)
{
    int64_t low = rt_hdr_bucket_low(bucket), high = rt_hdr_bucket_high(bucket);
    int64_t at = low + (high - low) / 2;
    if (bucket == RT_HDR_BUCKETS - 1 || at > c->max_ns) // the last one has no upper edge
        at = c->max_ns;
    return at < c->min_ns ? c->min_ns : at;
}

int64_t rt_hdr_quantile(const struct rt_hdr_counts *c, double q)
{
    if (!c->count)
        return 0;
    if (!(q > 0)) // NaN, too
        return c->min_ns;
    if (q >= 1)
        return c->max_ns;
    double exact = q * (double)c->count;
    uint64_t rank = (uint64_t)exact, seen = 0;
    rank += (double)rank < exact;
    for (uint32_t i = 0; i < RT_HDR_BUCKETS; i++) {
        seen += c->buckets[i];
        if (seen >= rank && seen)
            return middle(c, i);
    }
    return c->max_ns;
}

double rt_hdr_mean(const struct rt_hdr_counts *c)
{
    return c->count ? (double)c->sum_ns / (double)c->count : 0;
}

/* Newton's: no libm here. */
static double root_of(double x)
{
    double at = x > 1 ? x : 1;
    for (int i = 0; i < 200; i++) {
        double next = (at + x / at) / 2;
        if (next >= at)
            break;
        at = next;
    }
    return x > 0 ? at : 0;
}

double rt_hdr_stddev(const struct rt_hdr_counts *c)
{
    if (!c->count)
        return 0;
    double sum = 0, squares = 0; // round the middles' own mean, or rounding of steps would add up
    for (uint32_t i = 0; i < RT_HDR_BUCKETS; i++)
        if (c->buckets[i])
            sum += (double)c->buckets[i] * (double)middle(c, i);
    double mean = sum / (double)c->count;
    for (uint32_t i = 0; i < RT_HDR_BUCKETS; i++) {
        if (!c->buckets[i])
            continue;
        double off = (double)middle(c, i) - mean;
        squares += (double)c->buckets[i] * off * off;
    }
    return root_of(squares / (double)c->count);
}

uint64_t rt_hdr_count_upto(const struct rt_hdr_counts *c, int64_t ns)
{
    uint64_t n = 0;
    for (uint32_t i = 0; i < RT_HDR_BUCKETS - 1 && rt_hdr_bucket_high(i) <= ns; i++)
        n += c->buckets[i];
    return ns >= c->max_ns ? c->count : n;
}

/* ---- On the wire ---- */

static void put(struct rt_string *out, uint64_t v)
{
    uint8_t bytes[VARINT_BYTES];
    size_t n = 0;
    for (; v >= 0x80; v >>= 7)
        bytes[n++] = (uint8_t)(v | 0x80);
    bytes[n++] = (uint8_t)v;
    rt_string_append(out, bytes, n);
}

void rt_hdr_encode(const struct rt_hdr_counts *c, struct rt_string *out)
{
    put(out, HDR_VERSION);
    put(out, RT_HDR_UNIT_BITS);
    put(out, RT_HDR_STEP_BITS);
    put(out, RT_HDR_VALUE_BITS);
    put(out, c->count);
    put(out, (uint64_t)c->sum_ns);
    put(out, (uint64_t)c->min_ns);
    put(out, (uint64_t)c->max_ns);
    uint32_t gap = 0;
    for (uint32_t i = 0; i < RT_HDR_BUCKETS; i++) {
        if (!c->buckets[i]) {
            gap++;
            continue;
        }
        put(out, gap);
        put(out, c->buckets[i]);
        gap = 0;
    }
}

static bool get(struct rt_bytes *in, uint64_t *v)
{
    *v = 0;
    for (unsigned shift = 0; in->len && shift < 64; shift += 7) {
        uint8_t byte = *in->data++;
        in->len--;
        if (shift == 63 && byte > 1)
            return false;
        *v |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80)
            return true;
    }
    return false;
}

struct head {
    uint64_t count, sum, min, max;
};

/* The part before the steps; false: not ours. */
static bool get_head(struct rt_bytes *in, struct head *h)
{
    static const uint64_t layout[] = {HDR_VERSION, RT_HDR_UNIT_BITS, RT_HDR_STEP_BITS,
                                      RT_HDR_VALUE_BITS};
    uint64_t v;
    for (int i = 0; i < 4; i++)
        if (!get(in, &v) || v != layout[i])
            return false;
    if (!get(in, &h->count) || !get(in, &h->sum) || !get(in, &h->min) || !get(in, &h->max))
        return false;
    return h->sum <= INT64_MAX && h->min <= h->max && h->max <= INT64_MAX;
}

static bool get_steps(struct rt_bytes in, struct rt_hdr_counts *c)
{
    uint64_t at = 0, gap, n;
    while (in.len) {
        if (!get(&in, &gap) || !get(&in, &n) || !n || gap >= RT_HDR_BUCKETS - at)
            return false;
        if (n > INT64_MAX - c->count)
            return false;
        at += gap;
        c->buckets[at++] = n;
        c->count += n;
    }
    return true;
}

int rt_hdr_decode(struct rt_bytes bytes, struct rt_hdr_counts *c)
{
    struct head head;
    if (!get_head(&bytes, &head))
        return -EINVAL;
    struct rt_hdr_counts *fresh = rt_hdr_counts_new();
    bool good = get_steps(bytes, fresh) && fresh->count == head.count &&
                fresh->count <= INT64_MAX - c->count && (int64_t)head.sum <= INT64_MAX - c->sum_ns;
    if (good) {
        fresh->sum_ns = (int64_t)head.sum;
        fresh->min_ns = (int64_t)head.min;
        fresh->max_ns = (int64_t)head.max;
        rt_hdr_counts_merge(c, fresh);
    }
    rt_free(fresh);
    return good ? 0 : -EINVAL;
}

/* ---- Prometheus ---- */

void hdr_write(const struct rt_hdr *h, const char *name, const char *labels,
               const int64_t *bounds_ns, int count, struct rt_string *out)
{
    struct rt_hdr_counts *c = rt_hdr_counts_new();
    rt_hdr_read(h, c);
    const char *comma = *labels ? "," : "", *open = *labels ? "{" : "", *close = *labels ? "}" : "";
    char bound[NUMBER_BYTES], number[NUMBER_BYTES];
    for (int i = 0; i < count; i++)
        rt_string_printf(out, "%s_bucket{%s%sle=\"%s\"} %llu\n", name, labels, comma,
                         number_format((double)bounds_ns[i] / (double)RT_SECOND, bound),
                         (unsigned long long)rt_hdr_count_upto(c, bounds_ns[i]));
    rt_string_printf(out, "%s_bucket{%s%sle=\"+Inf\"} %llu\n", name, labels, comma,
                     (unsigned long long)c->count);
    rt_string_printf(out, "%s_sum%s%s%s %s\n", name, open, labels, close,
                     number_format((double)c->sum_ns / (double)RT_SECOND, number));
    rt_string_printf(out, "%s_count%s%s%s %llu\n", name, open, labels, close,
                     (unsigned long long)c->count);
    rt_free(c);
}
