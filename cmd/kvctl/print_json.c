/* cmd/kvctl/print_json.c: JSON as etcdctl's Go structs give it: proto names, bytes in base64, whole
 * numbers bare, enums as numbers, zero fields left out. */
#include "cmd/kvctl/kvctl.h"
#include <inttypes.h>

static void add_base64(struct rt_string *out, const uint8_t *data, size_t len)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < len; i += 3) {
        uint32_t left = (uint32_t)(len - i > 3 ? 3 : len - i);
        uint32_t bits = (uint32_t)data[i] << 16 | (left > 1 ? (uint32_t)data[i + 1] << 8 : 0) |
                        (left > 2 ? data[i + 2] : 0);
        char four[4] = {digits[bits >> 18], digits[bits >> 12 & 63],
                        left > 1 ? digits[bits >> 6 & 63] : '=',
                        left > 2 ? digits[bits & 63] : '='};
        rt_string_append(out, four, 4);
    }
}

void print_json_text(struct rt_string *out, const char *text, size_t len)
{
    rt_string_append(out, "\"", 1);
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c == '"' || c == '\\')
            rt_string_printf(out, "\\%c", c);
        else if (c < 0x20)
            rt_string_printf(out, "\\u%04x", c);
        else
            rt_string_append(out, &text[i], 1);
    }
    rt_string_append(out, "\"", 1);
}

/* One value of a field; `at` points to it. */
static void add_value(struct rt_string *out, const ProtobufCFieldDescriptor *f, const void *at)
{
    switch (f->type) {
    case PROTOBUF_C_TYPE_INT64:
        rt_string_printf(out, "%" PRId64, *(const int64_t *)at);
        break;
    case PROTOBUF_C_TYPE_DOUBLE:
        rt_string_printf(out, "%.17g", *(const double *)at);
        break;
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        rt_string_printf(out, "%" PRIu64, *(const uint64_t *)at);
        break;
    case PROTOBUF_C_TYPE_UINT32:
        rt_string_printf(out, "%" PRIu32, *(const uint32_t *)at);
        break;
    case PROTOBUF_C_TYPE_BOOL:
        rt_string_printf(out, "%s", *(const protobuf_c_boolean *)at ? "true" : "false");
        break;
    case PROTOBUF_C_TYPE_STRING: {
        const char *text = *(char *const *)at;
        print_json_text(out, text, strlen(text));
        break;
    }
    case PROTOBUF_C_TYPE_BYTES: {
        const ProtobufCBinaryData *d = at;
        rt_string_append(out, "\"", 1);
        add_base64(out, d->data, d->len);
        rt_string_append(out, "\"", 1);
        break;
    }
    case PROTOBUF_C_TYPE_MESSAGE:
        print_json_message(out, *(ProtobufCMessage *const *)at);
        break;
    default: // enums and what our messages do not have
        rt_string_printf(out, "%" PRId32, *(const int32_t *)at);
    }
}

static bool is_absent(const ProtobufCFieldDescriptor *f, const ProtobufCMessage *m, const void *at)
{
    if (f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF)
        return *(const uint32_t *)((const char *)m + f->quantifier_offset) != f->id;
    switch (f->type) {
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_DOUBLE: // no value here is -0
        return *(const uint64_t *)at == 0;
    case PROTOBUF_C_TYPE_STRING:
        return !*(char *const *)at || !**(char *const *)at;
    case PROTOBUF_C_TYPE_BYTES:
        return ((const ProtobufCBinaryData *)at)->len == 0;
    case PROTOBUF_C_TYPE_MESSAGE:
        return !*(ProtobufCMessage *const *)at;
    default:
        return *(const uint32_t *)at == 0;
    }
}

static size_t width(const ProtobufCFieldDescriptor *f)
{
    switch (f->type) {
    case PROTOBUF_C_TYPE_BYTES:
        return sizeof(ProtobufCBinaryData);
    case PROTOBUF_C_TYPE_ENUM:
    case PROTOBUF_C_TYPE_BOOL:
    case PROTOBUF_C_TYPE_UINT32:
        return 4;
    default:
        return 8;
    }
}

static void add_repeated(struct rt_string *out, const ProtobufCFieldDescriptor *f,
                         const char *values, size_t count)
{
    rt_string_append(out, "[", 1);
    for (size_t i = 0; i < count; i++) {
        if (i)
            rt_string_append(out, ",", 1);
        add_value(out, f, values + i * width(f));
    }
    rt_string_append(out, "]", 1);
}

/* Go's client shows the arms of a ResponseOp inside "Response". */
static bool is_wrapped(const ProtobufCMessageDescriptor *type)
{
    return type == &etcdserverpb__response_op__descriptor;
}

void print_json_message(struct rt_string *out, const ProtobufCMessage *m)
{
    const ProtobufCMessageDescriptor *type = m->descriptor;
    rt_string_printf(out, is_wrapped(type) ? "{\"Response\":{" : "{");
    bool first = true;
    for (unsigned i = 0; i < type->n_fields; i++) {
        const ProtobufCFieldDescriptor *f = &type->fields[i];
        const char *at = (const char *)m + f->offset;
        bool repeated = f->label == PROTOBUF_C_LABEL_REPEATED;
        size_t count = repeated ? *(const size_t *)((const char *)m + f->quantifier_offset) : 0;
        if (repeated ? count == 0 : is_absent(f, m, at))
            continue;
        rt_string_printf(out, "%s\"%s\":", first ? "" : ",", f->name);
        first = false;
        if (repeated)
            add_repeated(out, f, *(char *const *)at, count);
        else
            add_value(out, f, at);
    }
    rt_string_printf(out, is_wrapped(type) ? "}}" : "}");
}
