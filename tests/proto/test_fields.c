/* The field reader and writer, against protobuf-c as the other opinion and against damage. */
#include "proto/election.pb-c.h"
#include "proto/fields.h"
#include "proto/health.pb-c.h"
#include "proto/kvd.pb-c.h"
#include "proto/lock.pb-c.h"
#include "proto/rpc.pb-c.h"
#include "tests/support/rt_test.h"
#include <stdlib.h>

static int read_all(struct rt_bytes message)
{
    struct fields f = fields_of(message);
    struct field it;
    int more;
    do
        more = fields_next(&f, &it);
    while (more > 0);
    return more;
}

/* A transaction with all kinds of fields, as protobuf-c writes it. */
static void make_txn(struct rt_string *out)
{
    Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
    put.key = (ProtobufCBinaryData){3, (uint8_t *)"key"};
    put.value = (ProtobufCBinaryData){5, (uint8_t *)"value"};
    put.lease = -7;
    put.prev_kv = 1;
    Etcdserverpb__RequestOp op = ETCDSERVERPB__REQUEST_OP__INIT;
    op.request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
    op.request_put = &put;
    Etcdserverpb__RequestOp *ops[] = {&op, &op};
    Etcdserverpb__Compare compare = ETCDSERVERPB__COMPARE__INIT;
    compare.target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_MOD_REVISION;
    compare.mod_revision = 1LL << 40;
    compare.range_end = (ProtobufCBinaryData){1, (uint8_t *)"z"};
    Etcdserverpb__Compare *compares[] = {&compare};
    Etcdserverpb__TxnRequest txn = ETCDSERVERPB__TXN_REQUEST__INIT;
    txn.n_success = 2;
    txn.success = ops;
    txn.n_compare = 1;
    txn.compare = compares;
    fields_pack(out, &txn.base);
}

static void a_message_cut_anywhere_is_malformed_or_a_shorter_message(void **state)
{
    (void)state;
    struct rt_string txn = {0};
    make_txn(&txn);
    unsigned malformed = 0;
    for (size_t len = 0; len <= txn.len; len++) {
        uint8_t *exact = malloc(len + 1); // so that a sanitizer sees a read beyond the end
        memcpy(exact, txn.data, len);
        uint8_t *tight = realloc(exact, len ? len : 1);
        int got = read_all(rt_bytes(tight, len));
        int checked = fields_check(&etcdserverpb__txn_request__descriptor, rt_bytes(tight, len), 8);
        assert_true(got == 0 || got == FIELDS_MALFORMED);
        assert_true(checked == 0 || checked == FIELDS_MALFORMED);
        if (got == 0)
            assert_int_equal(checked, 0); // cut between two fields: both opinions agree
        malformed += got == FIELDS_MALFORMED;
        free(tight);
    }
    assert_int_equal(read_all(rt_bytes(txn.data, txn.len)), 0);
    assert_int_equal(malformed, txn.len + 1 - 4); // whole after 0, 1, 2 and 3 fields, else cut
    rt_string_deinit(&txn);
}

static void malformed_bytes_are_told_as_such(void **state)
{
    (void)state;
    static const struct {
        const char *what;
        struct rt_bytes bytes;
    } rows[] = {
        {"a tag that goes on", RT_BYTES("\x80")},
        {"field number 0", RT_BYTES("\x02\x00")},
        {"a field number above 2^29-1", RT_BYTES("\x80\x80\x80\x80\x10\x00")},
        {"a start of a group", RT_BYTES("\x0b\x0c")},
        {"an end of a group", RT_BYTES("\x0c")},
        {"wire type 6", RT_BYTES("\x0e\x00")},
        {"wire type 7", RT_BYTES("\x0f\x00")},
        {"a varint of 11 bytes", RT_BYTES("\x08\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01")},
        {"a varint above 64 bits", RT_BYTES("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02")},
        {"7 of 8 bytes", RT_BYTES("\x09\x01\x02\x03\x04\x05\x06\x07")},
        {"3 of 4 bytes", RT_BYTES("\x0d\x01\x02\x03")},
        {"a length with nothing behind it", RT_BYTES("\x0a\x01")},
        {"a length of 2^64-1", RT_BYTES("\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01")},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (read_all(rows[i].bytes) != FIELDS_MALFORMED)
            fail_msg("%s was taken", rows[i].what);
}

static void the_last_of_a_scalar_wins_and_unknown_fields_are_skipped(void **state)
{
    (void)state;
    // lease (3) = 1, an unknown 15 as I64, an unknown 99 as bytes, lease = 300, field 3 as bytes
    struct rt_bytes message = RT_BYTES("\x18\x01"
                                       "\x79\x01\x02\x03\x04\x05\x06\x07\x08"
                                       "\x9a\x06\x02hi"
                                       "\x18\xac\x02"
                                       "\x1a\x01x");
    struct fields f = fields_of(message);
    struct field it;
    uint64_t lease = 0, seen = 0;
    size_t raw = 0;
    while (fields_next(&f, &it) > 0) {
        seen++;
        raw += it.raw.len;
        if (FIELD_KEY(it.number, it.wire) == FIELD_KEY(3, FIELD_VARINT))
            lease = it.value;
        if (it.number == 15)
            assert_int_equal(it.value, 0x0807060504030201);
        if (it.number == 99)
            assert_true(rt_bytes_equal(it.bytes, RT_BYTES("hi")));
    }
    assert_int_equal(lease, 300);
    assert_int_equal(seen, 5);
    assert_int_equal(raw, message.len); // the raw views are the whole message
}

/* `depth` messages in one another: TxnRequest.success -> RequestOp.request_txn -> TxnRequest ... */
static void make_nested(struct rt_string *out, unsigned depth)
{
    struct rt_string inner = {0};
    for (unsigned i = 1; i < depth; i++) {
        struct rt_string outer = {0};
        field_add_len(&outer, i % 2 ? 4 : 2, inner.len);
        rt_string_append(&outer, inner.data, inner.len);
        rt_string_deinit(&inner);
        inner = outer;
    }
    *out = inner;
}

static void nesting_is_bounded(void **state)
{
    (void)state;
    static const struct {
        unsigned depth, max;
        int want;
    } rows[] = {
        {31, 31, 0},
        {31, 29, FIELDS_TOO_DEEP},
        {29, 32, 0},
        {33, 32, FIELDS_TOO_DEEP},
        {1001, 32, FIELDS_TOO_DEEP},
        {20001, 32, FIELDS_TOO_DEEP},
        {1, 1, 0},
        {3, 1, FIELDS_TOO_DEEP},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct rt_string s;
        make_nested(&s, rows[i].depth);
        int got = fields_check(&etcdserverpb__txn_request__descriptor, rt_bytes(s.data, s.len),
                               rows[i].max);
        if (got != rows[i].want)
            fail_msg("depth %u, at most %u: %d", rows[i].depth, rows[i].max, got);
        rt_string_deinit(&s);
    }
}

static void a_value_that_looks_like_deep_nesting_is_a_value(void **state)
{
    (void)state;
    struct rt_string nested, put = {0};
    make_nested(&nested, 1001);
    field_add_text(&put, 1, "key");
    field_add_bytes(&put, 2, rt_bytes(nested.data, nested.len));
    assert_int_equal(
        fields_check(&etcdserverpb__put_request__descriptor, rt_bytes(put.data, put.len), 1), 0);
    rt_string_deinit(&nested);
    rt_string_deinit(&put);
}

static void unpacking_is_checked_and_bounded(void **state)
{
    (void)state;
    struct rt_string s = {0}, deep, names = {0};
    struct rt_arena arena;
    ProtobufCMessage *m = NULL;
    rt_arena_init(&arena);
    make_txn(&s);
    assert_int_equal(fields_unpack(&etcdserverpb__txn_request__descriptor, rt_bytes(s.data, s.len),
                                   &arena, 1 << 20, &m),
                     0);
    Etcdserverpb__TxnRequest *txn = (Etcdserverpb__TxnRequest *)m;
    assert_int_equal(txn->n_success, 2);
    assert_int_equal(txn->success[1]->request_put->lease, -7);
    assert_int_equal(txn->compare[0]->mod_revision, 1LL << 40);

    make_nested(&deep, 31);
    assert_int_equal(fields_unpack(&etcdserverpb__txn_request__descriptor,
                                   rt_bytes(deep.data, deep.len), &arena, 1 << 20, &m),
                     0);
    rt_string_deinit(&deep);
    make_nested(&deep, 1001);
    m = NULL;
    assert_int_equal(fields_unpack(&etcdserverpb__txn_request__descriptor,
                                   rt_bytes(deep.data, deep.len), &arena, 1 << 20, &m),
                     FIELDS_TOO_DEEP);
    for (int i = 0; i < 100000; i++)
        rt_string_append(&names, "\x0a\x00", 2); // Compare, empty: two bytes become a struct
    assert_int_equal(fields_unpack(&etcdserverpb__txn_request__descriptor,
                                   rt_bytes(names.data, names.len), &arena, 1 << 20, &m),
                     FIELDS_TOO_BIG);
    assert_int_equal(fields_unpack(&etcdserverpb__status_response__descriptor,
                                   RT_BYTES("\x12\x02\xc3\x28"), &arena, 1 << 20, &m),
                     FIELDS_BAD_UTF8);
    assert_int_equal(fields_unpack(&etcdserverpb__txn_request__descriptor, RT_BYTES("\x0a\x05x"),
                                   &arena, 1 << 20, &m),
                     FIELDS_MALFORMED);
    assert_null(m);
    rt_arena_deinit(&arena);
    rt_string_deinit(&s);
    rt_string_deinit(&deep);
    rt_string_deinit(&names);
}

static void utf8_is_judged_as_rfc_3629_says(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool valid;
    } rows[] = {
        {"", true},
        {"plain", true},
        {"\xc3\xa4", true},
        {"\xe2\x82\xac", true},
        {"\xf0\x9f\x98\x80", true},
        {"\xf4\x8f\xbf\xbf", true},
        {"\xed\x9f\xbf", true},
        {"\x80", false},
        {"\xc0\xaf", false},
        {"\xc1\xbf", false},
        {"\xe0\x80\xaf", false},
        {"\xed\xa0\x80", false},
        {"\xf0\x80\x80\xaf", false},
        {"\xf4\x90\x80\x80", false},
        {"\xf5\x80\x80\x80", false},
        {"\xff", false},
        {"\xc3", false},
        {"\xe2\x82", false},
        {"\xc3\x28", false},
        {"\xe2\x28\xa1", false},
        {"ok\xf0\x9f\x98", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (fields_utf8_is_valid(rt_bytes(rows[i].text, strlen(rows[i].text))) != rows[i].valid)
            fail_msg("row %zu", i);
}

static void our_bytes_equal_protobuf_cs(void **state)
{
    (void)state;
    static const uint64_t numbers[] = {0,       1,          127,        128,       300,
                                       1 << 14, 1ULL << 35, 1ULL << 62, UINT64_MAX};
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        for (size_t len = 0; len < 400; len += 57) {
            char *text = calloc(1, len + 1);
            memset(text, 'x', len);
            Mvccpb__KeyValue kv = MVCCPB__KEY_VALUE__INIT;
            kv.key = (ProtobufCBinaryData){len, (uint8_t *)text};
            kv.mod_revision = (int64_t)numbers[i];
            kv.version = 1;
            kv.value = (ProtobufCBinaryData){len, (uint8_t *)text};
            Etcdserverpb__PutResponse response = ETCDSERVERPB__PUT_RESPONSE__INIT;
            Etcdserverpb__ResponseHeader header = ETCDSERVERPB__RESPONSE_HEADER__INIT;
            header.member_id = numbers[i];
            response.header = &header;
            response.prev_kv = &kv;
            struct rt_string theirs = {0}, ours = {0};
            fields_pack(&theirs, &response.base);

            size_t mark = field_begin(&ours, 1);
            field_add_uint(&ours, 2, numbers[i]);
            field_end(&ours, mark);
            mark = field_begin(&ours, 2);
            field_add_bytes(&ours, 1, rt_bytes(text, len));
            field_add_int(&ours, 3, (int64_t)numbers[i]);
            field_add_uint(&ours, 4, 1);
            field_add_bytes(&ours, 5, rt_bytes(text, len));
            field_end(&ours, mark);
            assert_int_equal(ours.len, theirs.len);
            assert_memory_equal(ours.data, theirs.data, ours.len);

            // The same by the sized form.
            size_t kv_len =
                (len ? 2 * field_bytes_size(1, len) : 0) + field_uint_size(3, numbers[i]) + 2;
            size_t header_len = field_uint_size(2, numbers[i]);
            size_t total = field_bytes_size(1, header_len) + field_bytes_size(2, kv_len);
            assert_int_equal(total, theirs.len);
            uint8_t *buf = malloc(total), *p = buf;
            p = field_put_uint(field_put_len(p, 1, header_len), 2, numbers[i]);
            p = field_put_bytes(field_put_len(p, 2, kv_len), 1, rt_bytes(text, len));
            p = field_put_uint(field_put_uint(p, 3, numbers[i]), 4, 1);
            p = field_put_bytes(p, 5, rt_bytes(text, len));
            assert_ptr_equal(p, buf + total);
            assert_memory_equal(buf, theirs.data, total);
            free(buf);
            free(text);
            rt_string_deinit(&theirs);
            rt_string_deinit(&ours);
        }
}

static void a_zero_in_a_oneof_is_written(void **state)
{
    (void)state;
    Etcdserverpb__Compare compare = ETCDSERVERPB__COMPARE__INIT;
    compare.target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_VERSION;
    struct rt_string theirs = {0}, ours = {0};
    fields_pack(&theirs, &compare.base);
    field_add_uint_always(&ours, 4, 0);
    assert_int_equal(ours.len, theirs.len);
    assert_memory_equal(ours.data, theirs.data, ours.len);
    rt_string_deinit(&theirs);
    rt_string_deinit(&ours);
}

static uint64_t next_random(uint64_t *seed) // splitmix64
{
    uint64_t z = (*seed += 0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

/* Bytes that look like a message of this type, mostly: its own field numbers, odd lengths. */
static size_t make_noise(const ProtobufCMessageDescriptor *type, uint64_t *seed, uint8_t *out)
{
    uint8_t *p = out;
    for (unsigned n = next_random(seed) % 12; n > 0; n--) {
        uint64_t r = next_random(seed);
        uint32_t number =
            type->n_fields && r % 8 ? type->fields[r / 8 % type->n_fields].id : (uint32_t)(r % 70);
        p = field_put_varint(p, FIELD_KEY(number, r >> 32 & 3 ? 2 : r >> 40 & 7));
        size_t len = r >> 48 & 7;
        p = field_put_varint(p, len);
        for (size_t i = 0; i < len; i++)
            *p++ = (uint8_t)next_random(seed);
    }
    return (size_t)(p - out);
}

static void noise_is_refused_or_understood_for_every_method(void **state)
{
    (void)state;
    static const ProtobufCMessageDescriptor *const types[] = {
#define RPC(service, method, request, response, shape, needs, handler)                             \
    &request##__descriptor, &response##__descriptor,
#include "proto/rpc.def"
    };
    uint64_t seed = 20;
    unsigned understood = 0, refused = 0;
    for (size_t t = 0; t < ARRAY_LEN(types); t++)
        for (int i = 0; i < 300; i++) {
            uint8_t noise[12 * 40];
            size_t len = make_noise(types[t], &seed, noise);
            struct rt_arena arena;
            ProtobufCMessage *m = NULL, *again = NULL;
            rt_arena_init(&arena);
            int err = fields_unpack(types[t], rt_bytes(noise, len), &arena, 1 << 20, &m);
            assert_true(err == 0 || err == FIELDS_MALFORMED || err == FIELDS_BAD_UTF8);
            if (err == 0) {
                struct rt_string packed = {0};
                fields_pack(&packed, m);
                struct rt_bytes bytes = rt_bytes(packed.data, packed.len);
                assert_int_equal(fields_unpack(types[t], bytes, &arena, 1 << 20, &again), 0);
                assert_int_equal(protobuf_c_message_get_packed_size(again), packed.len);
                rt_string_deinit(&packed);
            }
            understood += err == 0;
            refused += err != 0;
            rt_arena_deinit(&arena);
        }
    assert_true(understood > 1000); // else the noise is too wild to test anything
    assert_true(refused > 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_message_cut_anywhere_is_malformed_or_a_shorter_message),
        cmocka_unit_test(malformed_bytes_are_told_as_such),
        cmocka_unit_test(the_last_of_a_scalar_wins_and_unknown_fields_are_skipped),
        cmocka_unit_test(nesting_is_bounded),
        cmocka_unit_test(a_value_that_looks_like_deep_nesting_is_a_value),
        cmocka_unit_test(unpacking_is_checked_and_bounded),
        cmocka_unit_test(utf8_is_judged_as_rfc_3629_says),
        cmocka_unit_test(our_bytes_equal_protobuf_cs),
        cmocka_unit_test(a_zero_in_a_oneof_is_written),
        cmocka_unit_test(noise_is_refused_or_understood_for_every_method),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
