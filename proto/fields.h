/* proto/fields.h: protobuf read in place and written by hand, for what is hot: no allocation, no
 * copy, no recursion of its own. Cold messages go through protobuf-c, behind a check that bounds
 * their nesting.
 *
 *     struct fields f = fields_of(request);
 *     struct field it;
 *     int more;
 *     while ((more = fields_next(&f, &it)) > 0)
 *         switch (FIELD_KEY(it.number, it.wire)) {
 *         case FIELD_KEY(1, FIELD_LEN): key = it.bytes; break;      // the last one wins
 *         case FIELD_KEY(3, FIELD_VARINT): lease = (int64_t)it.value; break;
 *         }                                                        // others are skipped
 *     if (more < 0)
 *         return more;                                             // malformed
 *
 * Source: protobuf's encoding specification. Groups (wire types 3 and 4) are refused: proto3 has
 * none. A field whose wire type is not the declared one falls through to "others", as in Go. */
#pragma once
#include <rt/alloc.h>
#include <rt/bytes.h>

enum fields_error {
    FIELDS_MALFORMED = -8193, // truncated, an overlong varint, number 0, a group
    FIELDS_TOO_DEEP = -8194,  // nested deeper than allowed
    FIELDS_BAD_UTF8 = -8195,  // a field declared `string` that is not UTF-8
    FIELDS_TOO_BIG = -8196,   // would take more memory, unpacked, than allowed
};
/* What `error` means, for a status message. Never NULL.  Context: never parks. */
const char *fields_error_text(int error);

enum { FIELDS_MAX_DEPTH = 32 }; // of messages in messages, the outermost counted

enum field_wire { FIELD_VARINT = 0, FIELD_I64 = 1, FIELD_LEN = 2, FIELD_I32 = 5 };

/* A field's tag as it is on the wire: number and type in one, for `switch`. */
#define FIELD_KEY(number, wire) ((uint32_t)(number) << 3 | (uint32_t)(wire))

struct field {
    uint32_t number;
    enum field_wire wire;
    uint64_t value;        // VARINT, I64, I32; else 0
    struct rt_bytes bytes; // LEN: a view of the message
    struct rt_bytes raw;   // tag and all, for copying a field through untouched
};

struct fields {
    const uint8_t *next, *end;
};
static inline struct fields fields_of(struct rt_bytes message)
{
    return (struct fields){message.data, message.data ? message.data + message.len : message.data};
}

/* The next field: 1, 0 at the end, or FIELDS_MALFORMED, after which nothing more is to be read.
 * Context: never parks. */
int fields_next(struct fields *f, struct field *out);

/* One varint from a view that is moved past it: 0 or FIELDS_MALFORMED. For packed repeated fields
 * (accept both forms: VARINT once each, or LEN with many). */
int fields_varint(struct fields *f, uint64_t *out);

/* Zigzag is not used by any of our messages; int32 and int64 are sign-extended to 64 bits. */

struct ProtobufCMessageDescriptor;
struct ProtobufCMessage;

/* Walk a message by its descriptor (rpc.pb-c.h: `etcdserverpb__txn_request__descriptor`), going
 * only into fields that are declared messages: 0, FIELDS_MALFORMED, FIELDS_BAD_UTF8, or
 * FIELDS_TOO_DEEP when messages nest deeper than max_depth (1: no nested message at all; at most
 * FIELDS_MAX_DEPTH). Everything from a client passes here before anything recurses over it.
 * Context: never parks. */
int fields_check(const struct ProtobufCMessageDescriptor *type, struct rt_bytes message,
                 unsigned max_depth);

/* Check, then unpack by protobuf-c with all memory from `arena` (never free the message; it dies
 * with the arena). Strings and bytes are copied, so `message` may go. At most max_bytes of arena
 * memory are taken: a small message can unpack to a hundred times its size. 0 with *out; else an
 * error as above or FIELDS_TOO_BIG, *out untouched.  Context: never parks. */
int fields_unpack(const struct ProtobufCMessageDescriptor *type, struct rt_bytes message,
                  struct rt_arena *arena, size_t max_bytes, struct ProtobufCMessage **out);

/* Append a protobuf-c message's bytes.  Context: never parks. */
void fields_pack(struct rt_string *out, const struct ProtobufCMessage *message);

bool fields_utf8_is_valid(struct rt_bytes text);

/* ---- Writing. In ascending field number, so that our bytes equal etcd's. ---- */

enum { FIELD_VARINT_MAX = 10 };

size_t field_varint_size(uint64_t value);
/* Bytes of a tag and a varint; 0 for a zero value, which proto3 does not write. */
size_t field_uint_size(uint32_t number, uint64_t value);
/* Bytes of a tag, a length and `len` bytes (also for len 0: ask only for what is written). */
size_t field_bytes_size(uint32_t number, size_t len);

/* Onto a buffer that has room (sizes above); return the byte after. field_put_uint writes nothing
 * for 0; the _always form does, for members of a oneof. */
uint8_t *field_put_varint(uint8_t *p, uint64_t value);
uint8_t *field_put_uint(uint8_t *p, uint32_t number, uint64_t value);
uint8_t *field_put_uint_always(uint8_t *p, uint32_t number, uint64_t value);
/* Tag and length of what follows: nested messages and spliced bytes. */
uint8_t *field_put_len(uint8_t *p, uint32_t number, size_t len);
/* Nothing when empty; for an empty member of a oneof use field_put_len with 0. */
uint8_t *field_put_bytes(uint8_t *p, uint32_t number, struct rt_bytes bytes);

/* The same, appended to a string. */
void field_add_varint(struct rt_string *s, uint64_t value);
void field_add_uint(struct rt_string *s, uint32_t number, uint64_t value);
void field_add_uint_always(struct rt_string *s, uint32_t number, uint64_t value);
void field_add_int(struct rt_string *s, uint32_t number, int64_t value); // sign-extended
void field_add_len(struct rt_string *s, uint32_t number, size_t len);
void field_add_bytes(struct rt_string *s, uint32_t number, struct rt_bytes bytes);
void field_add_text(struct rt_string *s, uint32_t number, const char *text);
/* A nested message of unknown length: what is appended between begin and end is its body. They
 * nest; `mark` goes from one to the other. end moves the body when its length takes more than one
 * byte, so put the big ones by field_add_len. */
size_t field_begin(struct rt_string *s, uint32_t number);
void field_end(struct rt_string *s, size_t mark);
