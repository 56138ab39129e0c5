/* sim/simpages.c: the contents of one file, each page twice while it is dirty.
 *
 * A sync takes time, and what is written meanwhile is not part of it: it copies what is dirty when it
 * begins, and that becomes durable when it ends. Of two at once the one that began later has the last
 * word on a page, whichever ends first.
 *
 * A sync that fails leaves its pages clean, as Linux does: what they hold is still read, and the next
 * sync succeeds without having written them; only who writes them again has them written. */
#include "rt/alloc.h"
#include "runtime/sim/simdisk.h"
#include <assert.h>
#include <errno.h>
#include <string.h>

static const uint64_t file_bytes_max = UINT64_C(1) << 32;

struct page {
    uint8_t bytes[SIM_PAGE];
};

/* now == durable: clean. NULL: a hole. &zeros: allocated, never written. */
struct place {
    struct page *now, *durable;
    uint64_t settled_by; // the number of the sync that made `durable`
    bool lost;           // dirty, but a sync that failed has forgotten it
};

struct sim_pages {
    uint64_t size, durable_size, size_settled_by;
    bool size_lost;
    uint64_t count;                  // of `at`
    uint64_t dirty_first, dirty_end; // no page outside is dirty
    uint64_t syncs;                  // begun
    struct sim_pages_copy *under_way;
    struct place *at;
};

struct sim_pages_copy {
    struct sim_pages_copy *next;
    uint64_t number; // of the sync
    uint64_t first, count, size;
    bool has_size;
    struct copied {
        struct page *page; // ours, unless NULL or &zeros
        bool is_part;      // it was dirty
    } at[];
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
    assert(!p->under_way);
    for (uint64_t i = 0; i < p->count; i++) {
        if (p->at[i].now)
            d->used_bytes -= SIM_PAGE;
        if (p->at[i].now != p->at[i].durable)
            drop(p->at[i].now);
        drop(p->at[i].durable);
    }
    rt_free(p->at);
    rt_free(p);
}

uint64_t sim_pages_size(const struct sim_pages *p) { return p->size; }

static void ensure_count(struct sim_pages *p, uint64_t count)
{
    if (count <= p->count)
        return;
    uint64_t bigger = p->count * 2 > count ? p->count * 2 : count;
    p->at = rt_realloc(p->at, bigger * sizeof *p->at);
    if (!p->at)
        rt_fatal("out of memory for a simulated file of %llu pages", (unsigned long long)bigger);
    memset(p->at + p->count, 0, (bigger - p->count) * sizeof *p->at);
    p->count = bigger;
}

static void set_size(struct sim_pages *p, uint64_t size)
{
    p->size_lost &= size == p->size;
    p->size = size;
}

static void mark_dirty(struct sim_pages *p, uint64_t i)
{
    p->at[i].lost = false;
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
    struct page *before = p->at[i].now;
    mark_dirty(p, i);
    if (before && before != &zeros && before != p->at[i].durable)
        return before;
    if (!before && !take_space(d))
        return NULL;
    struct page *page = rt_alloc(sizeof *page);
    *page = before ? *before : zeros;
    p->at[i].now = page;
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
        const struct page *page = i < p->count && p->at[i].now ? p->at[i].now : &zeros;
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
            set_size(p, offset + done);
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
        if (p->at[i].now)
            continue;
        if (!take_space(d))
            return -ENOSPC;
        p->at[i].now = &zeros;
        mark_dirty(p, i);
    }
    if (offset + len > p->size)
        set_size(p, offset + len);
    return 0;
}

int sim_pages_truncate(struct sim_pages *p, struct simdisk *d, uint64_t size)
{
    if (size > file_bytes_max)
        return -EFBIG;
    uint64_t keep = (size + SIM_PAGE - 1) / SIM_PAGE;
    for (uint64_t i = keep; i < p->count; i++) {
        struct place *at = &p->at[i];
        if (!at->now)
            continue;
        d->used_bytes -= SIM_PAGE;
        if (at->now != at->durable)
            drop(at->now);
        at->now = NULL;
        mark_dirty(p, i);
    }
    if (size < p->size && size % SIM_PAGE && keep <= p->count && p->at[keep - 1].now) {
        struct page *tail = page_to_write(p, d, keep - 1); // exists: takes no space
        assert(tail);
        memset(tail->bytes + size % SIM_PAGE, 0, SIM_PAGE - size % SIM_PAGE);
    }
    set_size(p, size);
    return 0;
}

static bool is_dirty(const struct sim_pages *p, uint64_t i)
{
    return p->at[i].now != p->at[i].durable;
}

static struct page *copy_of(struct page *page)
{
    if (!page || page == &zeros)
        return page;
    struct page *copy = rt_alloc(sizeof *copy);
    *copy = *page;
    return copy;
}

static bool are_equal(const struct page *a, const struct page *b)
{
    return a == b || (a && b && memcmp(a->bytes, b->bytes, SIM_PAGE) == 0);
}

struct sim_pages_copy *sim_pages_sync_begin(struct sim_pages *p, uint64_t offset, uint64_t len)
{
    uint64_t first = offset / SIM_PAGE, end = UINT64_MAX;
    if (len <= UINT64_MAX - offset - SIM_PAGE)
        end = (offset + len + SIM_PAGE - 1) / SIM_PAGE;
    if (first < p->dirty_first)
        first = p->dirty_first;
    if (end > p->dirty_end)
        end = p->dirty_end;
    uint64_t count = first < end ? end - first : 0;
    struct sim_pages_copy *c = rt_alloc_zero(sizeof *c + count * sizeof c->at[0]);
    c->number = ++p->syncs;
    c->first = first;
    c->count = count;
    c->size = p->size;
    c->has_size = !p->size_lost;
    for (uint64_t k = 0; k < count; k++)
        if (is_dirty(p, first + k) && !p->at[first + k].lost) {
            c->at[k].page = copy_of(p->at[first + k].now);
            c->at[k].is_part = true;
        }
    c->next = p->under_way;
    p->under_way = c;
    return c;
}

static void end_copy(struct sim_pages *p, struct sim_pages_copy *c)
{
    struct sim_pages_copy **at = &p->under_way;
    while (*at != c)
        at = &(*at)->next;
    *at = c->next;
    rt_free(c);
}

/* What was written since the sync began stays dirty. Takes over `page`. */
static void settle(struct sim_pages *p, uint64_t i, struct page *page, uint64_t number)
{
    struct place *at = &p->at[i];
    struct page *before = at->durable;
    if (at->settled_by > number) { // by one that began later
        drop(page);
        return;
    }
    at->settled_by = number;
    if (are_equal(at->now, page)) {
        at->durable = at->now;
        drop(page);
    } else {
        at->durable = page;
        mark_dirty(p, i);
    }
    if (before != at->now && before != at->durable)
        drop(before);
}

void sim_pages_sync_end(struct sim_pages *p, struct sim_pages_copy *c)
{
    for (uint64_t k = 0; k < c->count; k++)
        if (c->at[k].is_part)
            settle(p, c->first + k, c->at[k].page, c->number);
    if (c->has_size && p->size_settled_by < c->number) {
        p->durable_size = c->size;
        p->size_settled_by = c->number;
    }
    while (p->dirty_first < p->dirty_end && !is_dirty(p, p->dirty_first))
        p->dirty_first++;
    while (p->dirty_end > p->dirty_first && !is_dirty(p, p->dirty_end - 1))
        p->dirty_end--;
    end_copy(p, c);
}

void sim_pages_forget_syncs(struct sim_pages *p)
{
    while (p->under_way) {
        struct sim_pages_copy *c = p->under_way;
        for (uint64_t k = 0; k < c->count; k++)
            drop(c->at[k].page);
        end_copy(p, c);
    }
}

/* A page that was written since is dirty as before. */
void sim_pages_sync_failed(struct sim_pages *p, struct sim_pages_copy *c)
{
    for (uint64_t k = 0; k < c->count; k++) {
        if (!c->at[k].is_part)
            continue;
        if (are_equal(p->at[c->first + k].now, c->at[k].page))
            p->at[c->first + k].lost = true;
        drop(c->at[k].page);
    }
    p->size_lost |= c->has_size && p->size == c->size && p->size != p->durable_size;
    end_copy(p, c);
}

/* Mix the sectors of one dirty page. */
static uint64_t mix_page(struct sim_pages *p, struct simdisk *d, struct sim *s, uint64_t i)
{
    struct place *at = &p->at[i];
    const struct page *old = at->durable ? at->durable : &zeros;
    const struct page *new = at->now ? at->now : &zeros;
    struct page *mixed = rt_alloc(sizeof *mixed);
    uint64_t lost = 0, draw = sim_draw(s, SIM_DISK);
    for (int sector = 0; sector < SIM_PAGE / SIM_SECTOR; sector++, draw >>= 1) {
        const struct page *from = draw & 1 ? new : old;
        lost += from == old;
        memcpy(mixed->bytes + sector * SIM_SECTOR, from->bytes + sector * SIM_SECTOR, SIM_SECTOR);
    }
    if (!at->now)
        d->used_bytes += SIM_PAGE; // beyond the limit, maybe: a full disk stays full
    if (at->now != at->durable)
        drop(at->now);
    drop(at->durable);
    at->now = at->durable = mixed;
    at->lost = false;
    return lost;
}

uint64_t sim_pages_lose_power(struct sim_pages *p, struct simdisk *d, struct sim *s)
{
    uint64_t lost = 0, size = p->size;
    for (uint64_t i = p->dirty_first; i < p->dirty_end; i++)
        if (is_dirty(p, i))
            lost += mix_page(p, d, s, i);
    if (p->size != p->durable_size && sim_draw(s, SIM_DISK) & 1)
        size = p->durable_size;
    sim_pages_truncate(p, d, size);
    p->size_lost = false;
    sim_pages_sync_end(p, sim_pages_sync_begin(p, 0, UINT64_MAX));
    return lost;
}
