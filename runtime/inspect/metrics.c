/* inspect/metrics.c: the registry: families in order of name, each with its series in order of
 * labels. Two sorted lists that only ever grow, so readers and makers need no lock:
 *
 *   (A) insert: the node is whole, then a CAS, release, makes its neighbour point to it.
 *   (B) walk:   next, acquire. Pairs with (A): who sees a node sees what is in it.
 *
 * Two makers of the same metric race for the same place: the loser finds the winner's node when it
 * looks again, frees its own and uses that one. */
#include "runtime/inspect/metrics.h"
#include "runtime/inspect/hdr.h"
#include "runtime/inspect/histogram.h"
#include "runtime/inspect/number.h"
#include <assert.h>
#include <stddef.h>
#include <string.h>

enum family_kind { FAMILY_COUNTER, FAMILY_GAUGE, FAMILY_HISTOGRAM };

/* What both lists are made of. */
struct node {
    _Atomic(struct node *) next;
    char *key; // the family's name, the series' labels
};

struct series {
    struct node node;
    struct rt_counter value;
    struct rt_histogram *histogram; // FAMILY_HISTOGRAM: this, or hdr
    struct rt_hdr *hdr;
    bool borrowed; // hdr is somebody else's
    const int64_t *bounds_ns;
    int bound_count;
    double (*fn)(void *arg); // computed when read, else NULL
    void *arg;
};

struct family {
    struct node node;
    enum family_kind kind;
    char *help;
    _Atomic(struct node *) series;
};

struct rt_metrics {
    _Atomic(struct node *) families;
};

struct rt_metrics *rt_metrics_new(void) { return rt_alloc_zero(sizeof(struct rt_metrics)); }

static struct node *next_of(const _Atomic(struct node *) *link)
{
    return atomic_load_explicit(link, memory_order_acquire); // (B)
}

/* The node with `fresh`'s key: fresh itself, now in the list, or the one that was there. */
static struct node *find_or_insert(_Atomic(struct node *) *head, struct node *fresh)
{
    for (;;) {
        _Atomic(struct node *) *link = head;
        struct node *at = next_of(link);
        while (at && strcmp(at->key, fresh->key) < 0) {
            link = &at->next;
            at = next_of(link);
        }
        if (at && strcmp(at->key, fresh->key) == 0)
            return at;
        atomic_store_explicit(&fresh->next, at, memory_order_relaxed);
        if (atomic_compare_exchange_strong_explicit(link, &at, fresh, memory_order_release,
                                                    memory_order_relaxed)) // (A)
            return fresh;
    }
}

static void series_free(struct series *s)
{
    if (s->histogram)
        histogram_free(s->histogram);
    if (!s->borrowed)
        rt_hdr_free(s->hdr);
    rt_free(s->node.key);
    rt_free(s);
}

static void family_free(struct family *f)
{
    for (struct node *n = next_of(&f->series), *next; n; n = next) {
        next = next_of(&n->next);
        series_free((struct series *)n);
    }
    rt_free(f->help);
    rt_free(f->node.key);
    rt_free(f);
}

void rt_metrics_free(struct rt_metrics *m)
{
    if (!m)
        return;
    for (struct node *n = next_of(&m->families), *next; n; n = next) {
        next = next_of(&n->next);
        family_free((struct family *)n);
    }
    rt_free(m);
}

/* The family of that name; its kind and help are the first caller's. */
static struct family *family_of(struct rt_metrics *m, const char *name, const char *help,
                                enum family_kind kind)
{
    static_assert(offsetof(struct family, node) == 0, "a node is its family");
    struct family *fresh = rt_alloc_zero(sizeof(*fresh));
    fresh->node.key = rt_strdup(name);
    fresh->help = rt_strdup(help);
    fresh->kind = kind;
    struct family *f = (struct family *)find_or_insert(&m->families, &fresh->node);
    if (f != fresh)
        family_free(fresh);
    assert(f->kind == kind);
    return f;
}

static struct series *series_insert(struct family *f, struct series *fresh, const char *labels)
{
    static_assert(offsetof(struct series, node) == 0, "a node is its series");
    fresh->node.key = rt_strdup(labels);
    struct series *s = (struct series *)find_or_insert(&f->series, &fresh->node);
    if (s != fresh)
        series_free(fresh);
    return s;
}

static struct rt_counter *number_series(struct family *f, const char *labels)
{
    struct series *s = series_insert(f, rt_alloc_zero(sizeof(*s)), labels);
    assert(!s->fn);
    return &s->value;
}

struct rt_counter *rt_metrics_counter(struct rt_metrics *m, const char *name, const char *labels,
                                      const char *help)
{
    return number_series(family_of(m, name, help, FAMILY_COUNTER), labels);
}

struct rt_counter *rt_metrics_gauge(struct rt_metrics *m, const char *name, const char *labels,
                                    const char *help)
{
    return number_series(family_of(m, name, help, FAMILY_GAUGE), labels);
}

static void computed_series(struct family *f, const char *labels, double (*fn)(void *arg),
                            void *arg)
{
    struct series *fresh = rt_alloc_zero(sizeof(*fresh));
    fresh->fn = fn;
    fresh->arg = arg;
    struct series *s = series_insert(f, fresh, labels);
    assert(s->fn == fn); // else two owners would give two truths
    assert(s->arg == arg);
}

void rt_metrics_gauge_fn(struct rt_metrics *m, const char *name, const char *labels,
                         const char *help, double (*fn)(void *arg), void *arg)
{
    computed_series(family_of(m, name, help, FAMILY_GAUGE), labels, fn, arg);
}

void metrics_counter_fn(struct rt_metrics *m, const char *name, const char *labels,
                        const char *help, double (*fn)(void *arg), void *arg)
{
    computed_series(family_of(m, name, help, FAMILY_COUNTER), labels, fn, arg);
}

struct rt_histogram *rt_metrics_histogram(struct rt_metrics *m, const char *name,
                                          const char *labels, const char *help, double start,
                                          double factor, int count)
{
    struct series *fresh = rt_alloc_zero(sizeof(*fresh));
    fresh->histogram = histogram_new(start, factor, count);
    return series_insert(family_of(m, name, help, FAMILY_HISTOGRAM), fresh, labels)->histogram;
}

struct rt_hdr *rt_metrics_hdr(struct rt_metrics *m, const char *name, const char *labels,
                              const char *help, const int64_t *bounds_ns, int count)
{
    struct series *fresh = rt_alloc_zero(sizeof(*fresh));
    fresh->hdr = rt_hdr_new();
    fresh->bounds_ns = bounds_ns;
    fresh->bound_count = count;
    return series_insert(family_of(m, name, help, FAMILY_HISTOGRAM), fresh, labels)->hdr;
}

void metrics_hdr_of(struct rt_metrics *m, const char *name, const char *labels, const char *help,
                    struct rt_hdr *h, const int64_t *bounds_ns, int count)
{
    struct series *fresh = rt_alloc_zero(sizeof(*fresh));
    fresh->hdr = h;
    fresh->borrowed = true;
    fresh->bounds_ns = bounds_ns;
    fresh->bound_count = count;
    series_insert(family_of(m, name, help, FAMILY_HISTOGRAM), fresh, labels);
}

static void write_help(struct rt_string *out, const struct family *f)
{
    static const char *const kinds[] = {"counter", "gauge", "histogram"};
    rt_string_printf(out, "# HELP %s ", f->node.key);
    for (const char *at = f->help; *at; at++) {
        if (*at == '\\' || *at == '\n')
            rt_string_append(out, *at == '\n' ? "\\n" : "\\\\", 2);
        else
            rt_string_append(out, at, 1);
    }
    rt_string_printf(out, "\n# TYPE %s %s\n", f->node.key, kinds[f->kind]);
}

static void write_series(struct rt_string *out, const struct family *f, const struct series *s)
{
    if (s->histogram) {
        histogram_write(s->histogram, f->node.key, s->node.key, out);
        return;
    }
    if (s->hdr) {
        hdr_write(s->hdr, f->node.key, s->node.key, s->bounds_ns, s->bound_count, out);
        return;
    }
    double value = s->fn ? s->fn(s->arg) : (double)rt_counter_get(&s->value);
    const char *labels = s->node.key;
    char number[NUMBER_BYTES];
    rt_string_printf(out, "%s%s%s%s %s\n", f->node.key, *labels ? "{" : "", labels,
                     *labels ? "}" : "", number_format(value, number));
}

void rt_metrics_write(struct rt_metrics *m, struct rt_string *out)
{
    for (struct node *n = next_of(&m->families); n; n = next_of(&n->next)) {
        const struct family *f = (const struct family *)n;
        write_help(out, f);
        for (struct node *k = next_of(&f->series); k; k = next_of(&k->next))
            write_series(out, f, (const struct series *)k);
    }
}
