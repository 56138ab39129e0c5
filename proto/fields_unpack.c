/* proto/fields_unpack.c: protobuf-c behind a guard. Its unpacking recurses as deep as the bytes say,
 * about a kilobyte of stack a level, and takes memory as the bytes ask; so the nesting is checked
 * before and the memory is counted. */
#include "proto/fields.h"
#include <assert.h>
#include <protobuf-c/protobuf-c.h>
#include <rt/go.h>

int fields_check(const ProtobufCMessageDescriptor *type, struct rt_bytes message,
                 unsigned max_depth)
{
    assert(max_depth <= FIELDS_MAX_DEPTH);
    if (max_depth == 0)
        return FIELDS_TOO_DEEP;
    struct fields f = fields_of(message);
    struct field it;
    int more;
    while ((more = fields_next(&f, &it)) > 0) {
        if (it.wire != FIELD_LEN)
            continue;
        const ProtobufCFieldDescriptor *d =
            protobuf_c_message_descriptor_get_field(type, it.number);
        if (!d)
            continue;
        if (d->type == PROTOBUF_C_TYPE_STRING && !fields_utf8_is_valid(it.bytes))
            return FIELDS_BAD_UTF8;
        if (d->type != PROTOBUF_C_TYPE_MESSAGE)
            continue;
        int err = fields_check(d->descriptor, it.bytes, max_depth - 1);
        if (err)
            return err;
    }
    return more;
}

struct unpack_memory {
    struct rt_arena *arena;
    size_t left;
    bool ran_out;
};

static void *unpack_alloc(void *arg, size_t bytes)
{
    struct unpack_memory *m = arg;
    size_t taken = (bytes + 15) & ~(size_t)15;
    if (taken < bytes || taken > m->left) {
        m->ran_out = true;
        return NULL;
    }
    m->left -= taken;
    return rt_arena_alloc(m->arena, bytes);
}

static void unpack_free(void *arg, void *p)
{
    (void)arg; // dies with the arena
    (void)p;
}

int fields_unpack(const ProtobufCMessageDescriptor *type, struct rt_bytes message,
                  struct rt_arena *arena, size_t max_bytes, ProtobufCMessage **out)
{
    int err = fields_check(type, message, FIELDS_MAX_DEPTH);
    if (err)
        return err;
    struct unpack_memory memory = {.arena = arena, .left = max_bytes};
    ProtobufCAllocator allocator = {unpack_alloc, unpack_free, &memory};
    rt_nopreempt_begin(); // it calls our allocator
    ProtobufCMessage *made = protobuf_c_message_unpack(type, &allocator, message.len, message.data);
    rt_nopreempt_end();
    if (!made)
        return memory.ran_out ? FIELDS_TOO_BIG : FIELDS_MALFORMED;
    *out = made;
    return 0;
}

struct string_buffer {
    ProtobufCBuffer base; // first: protobuf-c sees only this
    struct rt_string *string;
};

static void append_packed(ProtobufCBuffer *buffer, size_t len, const uint8_t *data)
{
    rt_string_append(((struct string_buffer *)buffer)->string, data, len);
}

void fields_pack(struct rt_string *out, const ProtobufCMessage *message)
{
    struct string_buffer buffer = {{append_packed}, out};
    rt_nopreempt_begin(); // it calls append_packed
    protobuf_c_message_pack_to_buffer(message, &buffer.base);
    rt_nopreempt_end();
}
