/* mem/buf.c: refcounted buffers and strings under construction.
 *
 *   (A) unref: the count, release: what this owner read or wrote happens before the last unref.
 *   (B) unref, when it was the last: acquire. Pairs with (A) of all the others, so that freeing
 *       comes after every use. */
#include "rt/alloc.h"
#include "rt/why.h"
#include <assert.h>
#include <stdio.h>
#include <string.h>

enum { FIRST_STRING_BYTES = 64 };

/* NULL only for sizes from RT_ALLOC_SURE_BYTES on. */
struct rt_buf *rt_buf_new(size_t cap)
{
    struct rt_buf *b = rt_alloc(sizeof(*b) + cap);
    if (!b)
        return NULL;
    *b = (struct rt_buf){.cap = cap};
    atomic_init(&b->refs, 1);
    return b;
}

struct rt_buf *rt_buf_copy(const void *data, size_t len)
{
    struct rt_buf *b = rt_buf_new(len);
    if (!b)
        return NULL;
    if (len)
        memcpy(b->data, data, len);
    b->len = len;
    return b;
}

struct rt_buf *rt_buf_ref(struct rt_buf *b)
{
    uint32_t before = atomic_fetch_add_explicit(&b->refs, 1, memory_order_relaxed);
    assert(before > 0); // else it was freed already
    assert(before < UINT32_MAX);
    return b;
}

void rt_buf_unref(struct rt_buf *b)
{
    if (!b)
        return;
    uint32_t before = atomic_fetch_sub_explicit(&b->refs, 1, memory_order_acq_rel); // (A) (B)
    assert(before > 0);
    if (before > 1)
        return;
    if (b->release)
        b->release(b);
    else
        rt_free(b);
}

/* Room for `more` bytes and the NUL. */
static void string_grow(struct rt_string *s, size_t more)
{
    size_t wanted = s->len + more;
    assert(wanted >= more); // else the sum wrapped
    if (s->data && wanted <= s->cap)
        return;
    size_t cap = s->cap ? s->cap * 2 : FIRST_STRING_BYTES - 1;
    if (cap < wanted)
        cap = wanted;
    uint8_t *data = rt_realloc(s->data, cap + 1);
    if (!data)
        rt_fatal("out of memory: the system refused %zu bytes for a text", cap + 1);
    s->data = data;
    s->cap = cap;
}

void rt_string_append(struct rt_string *s, const void *data, size_t len)
{
    if (len == 0)
        return;
    string_grow(s, len);
    memcpy(s->data + s->len, data, len);
    s->len += len;
}

void rt_string_printf(struct rt_string *s, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    string_grow(s, 1);
    size_t room = s->cap - s->len + 1;
    int len = vsnprintf((char *)s->data + s->len, room, format, args);
    va_end(args);
    assert(len >= 0);
    if ((size_t)len >= room) {
        string_grow(s, (size_t)len);
        vsnprintf((char *)s->data + s->len, (size_t)len + 1, format, again);
    }
    va_end(again);
    s->len += (size_t)len;
}

const char *rt_string_cstr(struct rt_string *s)
{
    if (!s->data)
        return "";
    s->data[s->len] = 0;
    return (const char *)s->data;
}

void rt_string_deinit(struct rt_string *s)
{
    rt_free(s->data);
    *s = (struct rt_string){0};
}
