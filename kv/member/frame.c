/* kv/member/frame.c: see frame.h. */
#include "kv/member/frame.h"
#include "kv/member/crc.h"
#include "kv/member/errors.h"
#include "kv/member/limits.h"
#include <assert.h>

enum { KEPT_BYTES = 1 << 20 };

static void put_u32(uint8_t *p, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(v >> (8 * i));
}

static uint32_t get_u32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

int frame_header_decode(const uint8_t header[FRAME_HEADER_BYTES], struct frame *out)
{
    uint32_t len = get_u32(header);
    uint8_t kind = header[4];
    if (get_u32(header + 12) != member_crc32c(0, header, 12))
        return MEMBER_MALFORMED;
    if (kind == 0 || kind >= FRAME_KINDS || header[5] || header[6] || header[7])
        return MEMBER_MALFORMED;
    if (len > MEMBER_FRAME_BYTES)
        return MEMBER_MALFORMED;
    *out = (struct frame){.kind = kind, .len = len, .crc = get_u32(header + 8)};
    return 0;
}

void frame_header_encode(const struct frame *f, uint8_t header[FRAME_HEADER_BYTES])
{
    put_u32(header, f->len);
    header[4] = (uint8_t)f->kind;
    header[5] = header[6] = header[7] = 0;
    put_u32(header + 8, f->crc);
    put_u32(header + 12, member_crc32c(0, header, 12));
}

static struct frame_part *new_part(struct frame_batch *b)
{
    if (b->part_count == b->part_cap) {
        b->part_cap = b->part_cap ? 2 * b->part_cap : 32;
        b->part = rt_realloc(b->part, b->part_cap * sizeof(*b->part));
        b->iov = rt_realloc(b->iov, b->part_cap * sizeof(*b->iov));
    }
    struct frame_part *p = &b->part[b->part_count++];
    *p = (struct frame_part){.offset = b->own.len};
    return p;
}

/* The last part ends where our own bytes end now. */
static void close_own_part(struct frame_batch *b)
{
    struct frame_part *p = &b->part[b->part_count - 1];
    if (!p->view)
        p->len = b->own.len - p->offset;
}

void frame_begin(struct frame_batch *b, enum frame_kind kind)
{
    uint8_t header[FRAME_HEADER_BYTES] = {[4] = (uint8_t)kind};
    if (b->part_count)
        close_own_part(b);
    new_part(b);
    b->open_part = b->part_count - 1;
    rt_string_append(&b->own, header, sizeof(header));
}

void frame_add_view(struct frame_batch *b, struct rt_bytes view)
{
    assert(b->part_count > 0);
    if (!view.len)
        return;
    close_own_part(b);
    struct frame_part *p = new_part(b);
    p->view = view.data;
    p->len = view.len;
    new_part(b); // our own bytes behind it
}

void frame_end(struct frame_batch *b)
{
    close_own_part(b);
    struct frame_part *first = &b->part[b->open_part];
    assert(!first->view);
    uint8_t *header = b->own.data + first->offset;
    struct frame f = {.kind = header[4]};
    size_t len = first->len - FRAME_HEADER_BYTES;
    f.crc = member_crc32c(0, header + FRAME_HEADER_BYTES, len);
    for (uint32_t i = b->open_part + 1; i < b->part_count; i++) {
        const struct frame_part *p = &b->part[i];
        f.crc = member_crc32c(f.crc, p->view ? p->view : b->own.data + p->offset, p->len);
        len += p->len;
    }
    assert(len <= MEMBER_FRAME_BYTES);
    f.len = (uint32_t)len;
    frame_header_encode(&f, header);
    b->total_bytes += FRAME_HEADER_BYTES + len;
    b->frames++;
}

const struct iovec *frame_batch_iov(struct frame_batch *b, uint32_t *count)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < b->part_count; i++) {
        const struct frame_part *p = &b->part[i];
        const uint8_t *data = p->view ? p->view : b->own.data + p->offset;
        if (!p->len)
            continue;
        if (n && (uint8_t *)b->iov[n - 1].iov_base + b->iov[n - 1].iov_len == data)
            b->iov[n - 1].iov_len += p->len; // our own bytes of two frames, side by side
        else
            b->iov[n++] = (struct iovec){.iov_base = (void *)(uintptr_t)data, .iov_len = p->len};
    }
    *count = n;
    return b->iov;
}

void frame_batch_reset(struct frame_batch *b)
{
    if (b->own.cap > KEPT_BYTES)
        rt_string_deinit(&b->own);
    b->own.len = 0;
    b->part_count = 0;
    b->total_bytes = 0;
    b->frames = 0;
}

void frame_batch_deinit(struct frame_batch *b)
{
    rt_string_deinit(&b->own);
    rt_free(b->part);
    rt_free(b->iov);
    *b = (struct frame_batch){0};
}
