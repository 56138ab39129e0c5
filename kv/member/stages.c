/* kv/member/stages.c: see stages.h. */
#include "kv/member/stages.h"
#include <assert.h>
#include <rt/alloc.h>

static void drop_oldest(struct stage_spans *s)
{
    struct stage_span *span = s->oldest;
    s->oldest = span->next;
    if (!s->oldest)
        s->newest = NULL;
    s->count--;
    stage_span_unref(span);
}

/* Entries from `first` on are replaced: what the spans behind say no longer holds. Rare. */
static void drop_from(struct stage_spans *s, uint64_t first)
{
    struct stage_spans kept = {0};
    while (s->oldest) {
        struct stage_span *span = s->oldest;
        if (span->first >= first) {
            drop_oldest(s);
            continue;
        }
        s->oldest = span->next;
        span->next = NULL;
        if (span->last >= first)
            span->last = first - 1;
        if (kept.newest)
            kept.newest->next = span;
        else
            kept.oldest = span;
        kept.newest = span;
        kept.count++;
    }
    *s = kept;
}

struct stage_span *stage_spans_begin(struct stage_spans *s, uint64_t first, uint64_t last,
                                     int64_t now_ns)
{
    assert(first <= last);
    if (s->newest && s->newest->last >= first)
        drop_from(s, first);
    if (s->count == STAGE_SPANS)
        drop_oldest(s);
    struct stage_span *span = rt_alloc_zero(sizeof(*span));
    atomic_init(&span->refs, 2);
    span->first = first;
    span->last = last;
    span->appended_ns = now_ns;
    if (s->newest)
        s->newest->next = span;
    else
        s->oldest = span;
    s->newest = span;
    s->count++;
    return span;
}

struct stage_span *stage_span_ref(struct stage_span *span)
{
    atomic_fetch_add_explicit(&span->refs, 1, memory_order_relaxed);
    return span;
}

void stage_span_unref(struct stage_span *span)
{
    if (span && atomic_fetch_sub_explicit(&span->refs, 1, memory_order_acq_rel) == 1)
        rt_free(span);
}

void stage_span_sent(struct stage_span *span, int64_t now_ns)
{
    int64_t unset = 0;
    if (span)
        atomic_compare_exchange_strong_explicit(&span->sent_ns, &unset, now_ns,
                                                memory_order_relaxed, memory_order_relaxed);
}

uint32_t stage_spans_take(struct stage_spans *s, uint64_t last, struct stage_times *out,
                          uint32_t cap)
{
    uint32_t n = 0;
    while (s->oldest && s->oldest->first <= last) {
        struct stage_span *span = s->oldest;
        uint64_t upto = span->last < last ? span->last : last;
        if (n < cap)
            out[n++] = (struct stage_times){
                .last = upto,
                .appended_ns = span->appended_ns,
                .written_ns = span->written_ns,
                .synced_ns = span->synced_ns,
                .sent_ns = atomic_load_explicit(&span->sent_ns, memory_order_relaxed),
            };
        if (span->last > last)
            break; // the rest of its entries comes later
        drop_oldest(s);
    }
    return n;
}

void stage_spans_clear(struct stage_spans *s)
{
    while (s->oldest)
        drop_oldest(s);
}
