/* kv/member/stages.c: see stages.h. */
#include "kv/member/stages.h"
#include <assert.h>
#include <rt/alloc.h>
#include <string.h>

static void drop_oldest(struct stage_spans *s)
{
    struct stage_span *span = s->oldest;
    s->oldest = span->next;
    if (!s->oldest)
        s->newest = NULL;
    s->count--;
    for (uint32_t rest = span->last_of; rest; rest &= rest - 1)
        s->upto[__builtin_ctz(rest)] = NULL;
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
        span->last_of = 0; // the next answers look from the beginning
        if (span->last >= first)
            span->last = first - 1;
        if (kept.newest)
            kept.newest->next = span;
        else
            kept.oldest = span;
        kept.newest = span;
        kept.count++;
    }
    s->oldest = kept.oldest;
    s->newest = kept.newest;
    s->count = kept.count;
    memset(s->upto, 0, sizeof(s->upto));
}

static void append_span(struct stage_spans *s, struct stage_span *span)
{
    rt_mutex_lock(&s->lock);
    if (s->newest && s->newest->last >= span->first)
        drop_from(s, span->first);
    if (s->count == STAGE_SPANS)
        drop_oldest(s);
    if (s->newest)
        s->newest->next = span;
    else
        s->oldest = span;
    s->newest = span;
    s->count++;
    rt_mutex_unlock(&s->lock);
}

struct stage_span *stage_spans_begin(struct stage_spans *s, uint64_t first, uint64_t last, bool led,
                                     int64_t now_ns)
{
    assert(first <= last);
    struct stage_span *span = rt_alloc_zero(sizeof(*span));
    atomic_init(&span->refs, 2);
    span->first = first;
    span->last = last;
    span->times.appended_ns = now_ns;
    span->times.led = led;
    append_span(s, span);
    return span;
}

void stage_span_unref(struct stage_span *span)
{
    if (span && atomic_fetch_sub_explicit(&span->refs, 1, memory_order_acq_rel) == 1)
        rt_free(span);
}

void stage_spans_answered(struct stage_spans *s, uint32_t peer, uint64_t index, uint32_t wanted,
                          int64_t now_ns, const struct peer_stamps *answer)
{
    assert(peer < STAGE_PEERS);
    struct stage_span *before_these = s->upto[peer], *newest = before_these;
    rt_mutex_lock(&s->lock);
    for (struct stage_span *span = newest ? newest->next : s->oldest; span && span->last <= index;
         span = span->next) {
        newest = span;
        uint32_t before = span->acked;
        span->acked |= UINT32_C(1) << peer;
        if (span->acked == before || (uint32_t)__builtin_popcount(span->acked) != wanted)
            continue;
        span->times.answered_ns = now_ns;
        span->times.answer = *answer;
    }
    rt_mutex_unlock(&s->lock);
    if (newest == before_these)
        return;
    if (before_these)
        before_these->last_of &= ~(UINT32_C(1) << peer);
    newest->last_of |= UINT32_C(1) << peer;
    s->upto[peer] = newest;
}

uint32_t stage_spans_count(const struct stage_spans *s, uint64_t last)
{
    uint32_t n = 0;
    for (const struct stage_span *span = s->oldest; span && span->first <= last; span = span->next)
        n++;
    return n;
}

uint32_t stage_spans_take(struct stage_spans *s, uint64_t last, struct stage_run *out, uint32_t cap)
{
    uint32_t n = 0;
    rt_mutex_lock(&s->lock);
    while (s->oldest && s->oldest->first <= last) {
        struct stage_span *span = s->oldest;
        uint64_t upto = span->last < last ? span->last : last;
        if (n < cap)
            out[n++] = (struct stage_run){.last = upto, .times = span->times};
        if (span->last > last)
            break; // the rest of its entries comes later
        drop_oldest(s);
    }
    rt_mutex_unlock(&s->lock);
    return n;
}

void stage_spans_clear(struct stage_spans *s)
{
    rt_mutex_lock(&s->lock);
    while (s->oldest)
        drop_oldest(s);
    rt_mutex_unlock(&s->lock);
}

bool stage_spans_find(struct stage_spans *s, uint64_t index, struct stage_times *out)
{
    rt_mutex_lock(&s->lock);
    const struct stage_span *span = s->oldest;
    while (span && span->last < index)
        span = span->next;
    bool found = span && span->first <= index;
    if (found && atomic_load_explicit(&span->durable, memory_order_acquire))
        *out = span->times;
    else if (found)
        *out = (struct stage_times){.appended_ns = span->times.appended_ns,
                                    .answered_ns = span->times.answered_ns,
                                    .answer = span->times.answer,
                                    .led = span->times.led};
    rt_mutex_unlock(&s->lock);
    return found;
}
