/* sim/simpages.c: the contents of one file, each page twice while it is dirty. */
#include "rt/alloc.h"
#include "runtime/sim/simdisk.h"
#include <assert.h>
#include <errno.h>
#include <string.h>

static const uint64_t file_bytes_max = UINT64_C(1) << 32;

struct page {
    uint8_t bytes[SIM_PAGE];
};

/* now[i] == durable[i]: clean. NULL: a hole. &zeros: allocated, never written. */
struct sim_pages {
    uint64_t size, durable_size;
    uint64_t count;                  // of both arrays
    uint64_t dirty_first, dirty_end; // no page outside is dirty
    struct page **now, **durable;
};

static struct page zeros; // never written: const but for its type

static void drop(struct page *page)
{
    if (page != &zeros)
        rt_free(page);
}

struct sim_pages *sim_pages_new(void) { return rt_alloc_zero(sizeof(struct sim_pages)); }

void sim_pages_free(struct sim_pages *p, struct simdisk *d)
{
    for (uint64_t i = 0; i < p->count; i++) {
        if (p->now[i])
            d->used_bytes -= SIM_PAGE;
        if (p->now[i] != p->durable[i])
            drop(p->now[i]);
        drop(p->durable[i]);
    }
    rt_free(p->now);
    rt_free(p->durable);
    rt_free(p);
}

uint64_t sim_pages_size(const struct sim_pages *p) { return p->size; }

static void ensure_count(struct sim_pages *p, uint64_t count)
{
    if (count <= p->count)
        return;
    uint64_t bigger = p->count * 2 > count ? p->count * 2 : count;
    p->now = rt_realloc(p->now, bigger * sizeof *p->now);
    p->durable = rt_realloc(p->durable, bigger * sizeof *p->durable);
    if (!p->now || !p->durable)
        rt_fatal("out of memory for a simulated file of %llu pages", (unsigned long long)bigger);
    memset(p->now + p->count, 0, (bigger - p->count) * sizeof *p->now);
    memset(p->durable + p->count, 0, (bigger - p->count) * sizeof *p->durable);
    p->count = bigger;
}

static void mark_dirty(struct sim_pages *p, uint64_t i)
{
    if (p->dirty_first == p->dirty_end) {
        p->dirty_first = i;
        p->dirty_end = i + 1;
    }
    if (i < p->dirty_first)
        p->dirty_first = i;
    if (i >= p->dirty_end)
        p->dirty_end = i + 1;
}

static bool take_space(struct simdisk *d)
{
    if (d->limit_bytes && d->used_bytes + SIM_PAGE > d->limit_bytes)
        return false;
    d->used_bytes += SIM_PAGE;
    return true;
}

/* Page i to write into, or NULL: the disk is full. */
static struct page *page_to_write(struct sim_pages *p, struct simdisk *d, uint64_t i)
{
    ensure_count(p, i + 1);
    struct page *before = p->now[i];
    if (before && before != &zeros && before != p->durable[i])
        return before;
    if (!before && !take_space(d))
        return NULL;
    struct page *page = rt_alloc(sizeof *page);
    *page = before ? *before : zeros;
    p->now[i] = page;
    mark_dirty(p, i);
    return page;
}

size_t sim_pages_read(const struct sim_pages *p, void *buf, size_t len, uint64_t offset)
{
    if (offset >= p->size)
        return 0;
    if (len > p->size - offset)
        len = (size_t)(p->size - offset);
    for (size_t done = 0; done < len;) {
        uint64_t at = offset + done, i = at / SIM_PAGE;
        size_t part = SIM_PAGE - at % SIM_PAGE;
        if (part > len - done)
            part = len - done;
        const struct page *page = i < p->count && p->now[i] ? p->now[i] : &zeros;
        memcpy((uint8_t *)buf + done, page->bytes + at % SIM_PAGE, part);
        done += part;
    }
    return len;
}

int sim_pages_write(struct sim_pages *p, struct simdisk *d, const void *buf, size_t len,
                    uint64_t offset)
{
    if (len > file_bytes_max || offset > file_bytes_max - len)
        return -EFBIG;
    for (size_t done = 0; done < len;) {
        uint64_t at = offset + done;
        size_t part = SIM_PAGE - at % SIM_PAGE;
        if (part > len - done)
            part = len - done;
        struct page *page = page_to_write(p, d, at / SIM_PAGE);
        if (!page)
            return -ENOSPC;
        memcpy(page->bytes + at % SIM_PAGE, (const uint8_t *)buf + done, part);
        done += part;
        if (offset + done > p->size)
            p->size = offset + done;
    }
    return 0;
}

int sim_pages_allocate(struct sim_pages *p, struct simdisk *d, uint64_t offset, uint64_t len)
{
    if (len > file_bytes_max || offset > file_bytes_max - len)
        return -EFBIG;
    uint64_t end = (offset + len + SIM_PAGE - 1) / SIM_PAGE;
    ensure_count(p, end);
    for (uint64_t i = offset / SIM_PAGE; i < end; i++) {
        if (p->now[i])
            continue;
        if (!take_space(d))
            return -ENOSPC;
        p->now[i] = &zeros;
        mark_dirty(p, i);
    }
    if (offset + len > p->size)
        p->size = offset + len;
    return 0;
}

int sim_pages_truncate(struct sim_pages *p, struct simdisk *d, uint64_t size)
{
    if (size > file_bytes_max)
        return -EFBIG;
    uint64_t keep = (size + SIM_PAGE - 1) / SIM_PAGE;
    for (uint64_t i = keep; i < p->count; i++) {
        if (!p->now[i])
            continue;
        d->used_bytes -= SIM_PAGE;
        if (p->now[i] != p->durable[i])
            drop(p->now[i]);
        p->now[i] = NULL;
        mark_dirty(p, i);
    }
    if (size < p->size && size % SIM_PAGE && keep <= p->count && p->now[keep - 1]) {
        struct page *tail = page_to_write(p, d, keep - 1); // exists: takes no space
        assert(tail);
        memset(tail->bytes + size % SIM_PAGE, 0, SIM_PAGE - size % SIM_PAGE);
    }
    p->size = size;
    return 0;
}

static void settle(struct sim_pages *p, uint64_t i)
{
    if (p->now[i] == p->durable[i])
        return;
    drop(p->durable[i]);
    p->durable[i] = p->now[i];
}

void sim_pages_sync(struct sim_pages *p, uint64_t offset, uint64_t len)
{
    p->durable_size = p->size;
    uint64_t first = offset / SIM_PAGE, end = UINT64_MAX;
    if (len <= UINT64_MAX - offset - SIM_PAGE)
        end = (offset + len + SIM_PAGE - 1) / SIM_PAGE;
    bool all = first <= p->dirty_first && end >= p->dirty_end;
    if (first < p->dirty_first)
        first = p->dirty_first;
    if (end > p->dirty_end)
        end = p->dirty_end;
    for (uint64_t i = first; i < end; i++)
        settle(p, i);
    if (all)
        p->dirty_first = p->dirty_end = 0;
}

/* Mix the sectors of one dirty page. */
static uint64_t mix_page(struct sim_pages *p, struct simdisk *d, struct sim *s, uint64_t i)
{
    const struct page *old = p->durable[i] ? p->durable[i] : &zeros;
    const struct page *new = p->now[i] ? p->now[i] : &zeros;
    struct page *mixed = rt_alloc(sizeof *mixed);
    uint64_t lost = 0, draw = sim_draw(s, SIM_DISK);
    for (int sector = 0; sector < SIM_PAGE / SIM_SECTOR; sector++, draw >>= 1) {
        const struct page *from = draw & 1 ? new : old;
        lost += from == old;
        memcpy(mixed->bytes + sector * SIM_SECTOR, from->bytes + sector * SIM_SECTOR, SIM_SECTOR);
    }
    if (!p->now[i])
        d->used_bytes += SIM_PAGE; // beyond the limit, maybe: a full disk stays full
    if (p->now[i] != p->durable[i])
        drop(p->now[i]);
    drop(p->durable[i]);
    p->now[i] = p->durable[i] = mixed;
    return lost;
}

uint64_t sim_pages_lose_power(struct sim_pages *p, struct simdisk *d, struct sim *s)
{
    uint64_t lost = 0, size = p->size;
    for (uint64_t i = p->dirty_first; i < p->dirty_end; i++)
        if (p->now[i] != p->durable[i])
            lost += mix_page(p, d, s, i);
    if (p->size != p->durable_size && sim_draw(s, SIM_DISK) & 1)
        size = p->durable_size;
    sim_pages_truncate(p, d, size);
    sim_pages_sync(p, 0, UINT64_MAX);
    return lost;
}
