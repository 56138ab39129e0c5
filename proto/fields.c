/* proto/fields.c: the wire format by hand.
 *
 *     field    tag (varint: number << 3 | wire), then by wire type
 *     0        a varint: 7 bits a byte, least significant first, high bit says more, 10 bytes at most
 *     1, 5     8 or 4 bytes, little-endian
 *     2        a varint length and as many bytes
 *
 * Every byte read here comes from a client: each step asks whether it is there, and compares
 * lengths, never pointers that could have wrapped. */
#include "proto/fields.h"
#include <assert.h>

enum { FIELD_NUMBER_MAX = (1 << 29) - 1 };

const char *fields_error_text(int error)
{
    switch (error) {
    case FIELDS_MALFORMED:
        return "the bytes are no protobuf message of this type";
    case FIELDS_TOO_DEEP:
        return "messages are nested too deeply";
    case FIELDS_BAD_UTF8:
        return "a string field contains invalid UTF-8";
    case FIELDS_TOO_BIG:
        return "the message takes too much memory";
    }
    return "an unknown error";
}

int fields_varint(struct fields *f, uint64_t *out)
{
    uint64_t value = 0;
    const uint8_t *p = f->next;
    for (unsigned shift = 0; shift < 70; shift += 7) {
        if (p == f->end)
            return FIELDS_MALFORMED;
        uint8_t byte = *p++;
        if (shift == 63 && byte > 1) // would not fit into 64 bits
            return FIELDS_MALFORMED;
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            f->next = p;
            *out = value;
            return 0;
        }
    }
    return FIELDS_MALFORMED;
}

static int read_fixed(struct fields *f, unsigned width, uint64_t *out)
{
    if ((size_t)(f->end - f->next) < width)
        return FIELDS_MALFORMED;
    uint64_t value = 0;
    for (unsigned i = 0; i < width; i++)
        value |= (uint64_t)f->next[i] << (8 * i);
    f->next += width;
    *out = value;
    return 0;
}

static int read_bytes(struct fields *f, struct rt_bytes *out)
{
    uint64_t len;
    int err = fields_varint(f, &len);
    if (err)
        return err;
    if (len > (size_t)(f->end - f->next))
        return FIELDS_MALFORMED;
    *out = rt_bytes(f->next, (size_t)len);
    f->next += len;
    return 0;
}

int fields_next(struct fields *f, struct field *out)
{
    if (f->next == f->end)
        return 0;
    const uint8_t *begin = f->next;
    uint64_t tag;
    int err = fields_varint(f, &tag);
    if (err)
        return err;
    if (tag >> 3 == 0 || tag >> 3 > FIELD_NUMBER_MAX)
        return FIELDS_MALFORMED;
    struct field it = {.number = (uint32_t)(tag >> 3), .wire = (enum field_wire)(tag & 7)};
    switch (it.wire) {
    case FIELD_VARINT:
        err = fields_varint(f, &it.value);
        break;
    case FIELD_I64:
        err = read_fixed(f, 8, &it.value);
        break;
    case FIELD_LEN:
        err = read_bytes(f, &it.bytes);
        break;
    case FIELD_I32:
        err = read_fixed(f, 4, &it.value);
        break;
    default: // groups, and what nobody has defined
        err = FIELDS_MALFORMED;
    }
    if (err)
        return err;
    it.raw = rt_bytes(begin, (size_t)(f->next - begin));
    *out = it;
    return 1;
}

/* Well-formed per RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF. */
bool fields_utf8_is_valid(struct rt_bytes text)
{
    size_t i = 0;
    while (i < text.len) {
        uint8_t first = text.data[i++];
        if (first < 0x80)
            continue;
        unsigned more = first >= 0xf0 ? 3 : first >= 0xe0 ? 2 : 1;
        if (first < 0xc2 || first > 0xf4 || text.len - i < more)
            return false;
        uint8_t second = text.data[i];
        if ((first == 0xe0 && second < 0xa0) || (first == 0xed && second > 0x9f) ||
            (first == 0xf0 && second < 0x90) || (first == 0xf4 && second > 0x8f))
            return false;
        for (unsigned k = 0; k < more; k++)
            if ((text.data[i++] & 0xc0) != 0x80)
                return false;
    }
    return true;
}

/* ---- Writing ---- */

size_t field_varint_size(uint64_t value)
{
    unsigned bits = 64 - (unsigned)__builtin_clzll(value | 1);
    return (bits + 6) / 7;
}

size_t field_uint_size(uint32_t number, uint64_t value)
{
    return value ? field_varint_size(FIELD_KEY(number, 0)) + field_varint_size(value) : 0;
}

size_t field_bytes_size(uint32_t number, size_t len)
{
    return field_varint_size(FIELD_KEY(number, 0)) + field_varint_size(len) + len;
}

uint8_t *field_put_varint(uint8_t *p, uint64_t value)
{
    while (value >= 0x80) {
        *p++ = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    *p++ = (uint8_t)value;
    return p;
}

uint8_t *field_put_uint_always(uint8_t *p, uint32_t number, uint64_t value)
{
    return field_put_varint(field_put_varint(p, FIELD_KEY(number, FIELD_VARINT)), value);
}

uint8_t *field_put_uint(uint8_t *p, uint32_t number, uint64_t value)
{
    return value ? field_put_uint_always(p, number, value) : p;
}

uint8_t *field_put_len(uint8_t *p, uint32_t number, size_t len)
{
    return field_put_varint(field_put_varint(p, FIELD_KEY(number, FIELD_LEN)), len);
}

uint8_t *field_put_bytes(uint8_t *p, uint32_t number, struct rt_bytes bytes)
{
    if (!bytes.len)
        return p;
    p = field_put_len(p, number, bytes.len);
    memcpy(p, bytes.data, bytes.len);
    return p + bytes.len;
}

void field_add_varint(struct rt_string *s, uint64_t value)
{
    uint8_t buf[FIELD_VARINT_MAX];
    rt_string_append(s, buf, (size_t)(field_put_varint(buf, value) - buf));
}

void field_add_uint_always(struct rt_string *s, uint32_t number, uint64_t value)
{
    uint8_t buf[2 * FIELD_VARINT_MAX];
    rt_string_append(s, buf, (size_t)(field_put_uint_always(buf, number, value) - buf));
}

void field_add_uint(struct rt_string *s, uint32_t number, uint64_t value)
{
    if (value)
        field_add_uint_always(s, number, value);
}

void field_add_int(struct rt_string *s, uint32_t number, int64_t value)
{
    field_add_uint(s, number, (uint64_t)value);
}

void field_add_len(struct rt_string *s, uint32_t number, size_t len)
{
    uint8_t buf[2 * FIELD_VARINT_MAX];
    rt_string_append(s, buf, (size_t)(field_put_len(buf, number, len) - buf));
}

void field_add_bytes(struct rt_string *s, uint32_t number, struct rt_bytes bytes)
{
    if (!bytes.len)
        return;
    field_add_len(s, number, bytes.len);
    rt_string_append(s, bytes.data, bytes.len);
}

void field_add_text(struct rt_string *s, uint32_t number, const char *text)
{
    field_add_bytes(s, number, rt_bytes(text, strlen(text)));
}

size_t field_begin(struct rt_string *s, uint32_t number)
{
    static const uint8_t length_to_come = 0;
    field_add_varint(s, FIELD_KEY(number, FIELD_LEN));
    rt_string_append(s, &length_to_come, 1);
    return s->len;
}

void field_end(struct rt_string *s, size_t mark)
{
    static const uint8_t room[FIELD_VARINT_MAX];
    assert(mark > 0);
    assert(mark <= s->len);
    size_t len = s->len - mark;
    size_t more = field_varint_size(len) - 1; // beyond the byte that field_begin left
    if (more) {
        rt_string_append(s, room, more);
        memmove(s->data + mark + more, s->data + mark, len);
    }
    field_put_varint(s->data + mark - 1, len);
}
