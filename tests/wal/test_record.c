/* What batches and records look like as bytes, and that no changed bit passes. */
#include "tests/support/rt_test.h"
#include "wal/batch.h"
#include "wal/crc32c.h"
#include "wal/scan.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void the_checksum_is_crc32c(void **state)
{
    (void)state;
    static const uint8_t zeros[32];
    assert_int_equal(wal_crc32c(0, "123456789", 9), 0xe3069283);
    assert_int_equal(wal_crc32c(0, zeros, 32), 0x8a9136aa); // RFC 3720, B.4
    assert_int_equal(wal_crc32c(5, NULL, 0), 5);
}

static void both_forms_of_the_checksum_agree_and_continue(void **state)
{
    (void)state;
    uint8_t bytes[300];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * 37 + 11);
    for (size_t len = 0; len < sizeof bytes; len++) {
        uint32_t whole = wal_crc32c(0, bytes, len);
        assert_int_equal(whole, wal_crc32c_by_table(0, bytes, len));
        size_t cut = len / 3;
        assert_int_equal(whole, wal_crc32c(wal_crc32c(0, bytes, cut), bytes + cut, len - cut));
    }
}

static void a_record_reads_back_as_it_was_written(void **state)
{
    (void)state;
    uint8_t payload[40], out[128];
    for (size_t i = 0; i < sizeof payload; i++)
        payload[i] = (uint8_t)(0xa0 + i);
    for (uint32_t len = 0; len <= sizeof payload; len++) {
        struct wal_record in = {.term = (UINT64_C(1) << 56) - 1 - len,
                                .index = UINT64_MAX - len,
                                .data = payload,
                                .len = len,
                                .kind = (uint8_t)(255 - len)};
        struct wal_record back;
        memset(out, 0xff, sizeof out);
        wal_record_encode(out, 99, &in);
        size_t size = wal_record_decode(out, sizeof out, 99, &back);
        assert_int_equal(size, 24 + (len + 7) / 8 * 8);
        assert_int_equal(out[size], 0xff);
        assert_true(back.term == in.term && back.index == in.index && back.kind == in.kind);
        assert_int_equal(back.len, len);
        assert_memory_equal(back.data ? back.data : payload, payload, len);
        assert_int_equal(wal_record_decode(out, size - 1, 99, &back), 0);
        assert_int_equal(wal_record_decode(out, size, 98, &back), 0);
    }
}

static void no_changed_bit_of_a_record_passes(void **state)
{
    (void)state;
    uint8_t out[64];
    struct wal_record in = {
        .term = 3, .index = 17, .data = (const uint8_t *)"thirteen chars", .len = 13};
    struct wal_record back;
    wal_record_encode(out, 7, &in);
    size_t size = wal_record_decode(out, sizeof out, 7, &back);
    assert_int_equal(size, 40);
    for (size_t bit = 0; bit < size * 8; bit++) {
        out[bit / 8] ^= (uint8_t)(1 << bit % 8);
        if (wal_record_decode(out, sizeof out, 7, &back) != 0)
            fail_msg("bit %zu was changed and the record passed", bit);
        out[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
}

static void no_changed_bit_of_a_header_passes(void **state)
{
    (void)state;
    uint8_t out[WAL_HEADER_BYTES];
    struct wal_header h = {.previous = 1,
                           .sequence = 9,
                           .hard_state = {2, 3, 4},
                           .records_bytes = 24},
                      back;
    wal_header_encode(&h, out);
    assert_true(wal_header_decode(out, &back));
    assert_true(back.sequence == 9 && back.hard_state.term == 2 && back.hard_state.vote == 3 &&
                back.hard_state.commit == 4);
    for (size_t bit = 0; bit < sizeof out * 8; bit++) {
        out[bit / 8] ^= (uint8_t)(1 << bit % 8);
        if (wal_header_decode(out, &back))
            fail_msg("bit %zu was changed and the header passed", bit);
        out[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    memset(out, 0, sizeof out);
    assert_false(wal_header_decode(out, &back)); // an empty block is no header
}

static void the_layout_of_version_1_does_not_change(void **state)
{
    (void)state;
    uint8_t payload[WAL_METADATA_BYTES], out[80];
    struct wal_metadata m = {.version = 1, .number = 2, .cluster_id = 3, .member_id = 4}, back;
    wal_metadata_encode(&m, payload);
    struct wal_record r = {
        .term = 5, .index = 6, .data = payload, .len = sizeof payload, .kind = WAL_METADATA};
    struct wal_header h = {.previous = 7,
                           .segment = "0123456789abcde",
                           .sequence = 8,
                           .hard_state = {9, 10, 11},
                           .records_bytes = 64,
                           .salt = 12};
    uint8_t header[WAL_HEADER_BYTES];
    wal_record_encode(out, wal_record_seed(&h), &r);
    wal_header_encode(&h, header);
    // Made by another program from the text in segment.c. A change is a new WAL_FORMAT_VERSION.
    assert_int_equal(wal_crc32c_by_table(0, header, sizeof header), 0x8c60601a);
    assert_int_equal(wal_crc32c_by_table(0, out, 64), 0x6520c681);
    assert_int_equal(header[24], 8);
    assert_int_equal(header[32], 9);
    assert_int_equal(header[40], 10);
    assert_int_equal(header[48], 11);
    assert_int_equal(header[56], 64);
    assert_int_equal(header[60], 12);
    assert_int_equal(out[0], WAL_METADATA_BYTES);
    assert_int_equal(out[8], 5);
    assert_int_equal(out[15], WAL_METADATA);
    assert_int_equal(out[16], 6);
    assert_memory_equal(out + 24, "kvd wal", 8);
    assert_int_equal(out[32], 1);
    assert_true(wal_metadata_decode(&r, &back));
    assert_true(back.version == 1 && back.number == 2 && back.cluster_id == 3 &&
                back.member_id == 4);
    r.kind = 0;
    assert_false(wal_metadata_decode(&r, &back));
}

static void a_batch_takes_what_fits_and_pads_to_blocks(void **state)
{
    (void)state;
    struct wal_batch b;
    static const uint8_t payload[2000];
    struct wal_header h = {.sequence = 1};
    struct wal_hard_state hs = {1, 2, 3};
    struct wal_record r = {.term = 1, .index = 1, .data = payload, .len = sizeof payload};
    assert_int_equal(wal_batch_init(&b), 0);
    assert_int_equal(wal_batch_begin(&b, &h, WAL_BLOCK_BYTES), 0);
    assert_true(wal_batch_add(&b, &r));
    assert_false(wal_batch_add(&b, &r)); // 64 + 2 * 2024 > 4096
    assert_int_equal(b.entries, 1);
    memset(b.buf + b.used, 0xee, 16);
    assert_int_equal(wal_batch_finish(&b, &hs), WAL_BLOCK_BYTES);
    assert_int_equal(b.buf[b.used], 0); // padding is not what was there before
    struct wal_scan scan;
    struct wal_header back;
    const uint8_t *records;
    wal_scan_bytes(&scan, b.buf, WAL_BLOCK_BYTES);
    assert_int_equal(wal_scan_header(&scan, 0, &back), 0);
    assert_int_equal(wal_scan_records(&scan, 0, &back, &records), 0);
    back.records_bytes = 5000; // a header that claims more than there is
    assert_int_equal(wal_scan_records(&scan, 0, &back, &records), WAL_NONE);
    assert_int_equal(wal_scan_header(&scan, WAL_BLOCK_BYTES, &back), WAL_NONE);
    wal_scan_close(&scan);
    wal_batch_deinit(&b);
}

static void a_big_batch_gives_its_memory_back(void **state)
{
    (void)state;
    struct wal_batch b;
    struct wal_header h = {.sequence = 1};
    assert_int_equal(wal_batch_init(&b), 0);
    assert_int_equal(wal_batch_begin(&b, &h, 8 * WAL_BATCH_BYTES), 0);
    assert_int_equal(b.cap, 8 * WAL_BATCH_BYTES);
    assert_int_equal(wal_batch_begin(&b, &h, WAL_BLOCK_BYTES), 0);
    assert_int_equal(b.cap, WAL_BATCH_BYTES);
    wal_batch_deinit(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_checksum_is_crc32c),
        cmocka_unit_test(both_forms_of_the_checksum_agree_and_continue),
        cmocka_unit_test(a_record_reads_back_as_it_was_written),
        cmocka_unit_test(no_changed_bit_of_a_record_passes),
        cmocka_unit_test(no_changed_bit_of_a_header_passes),
        cmocka_unit_test(the_layout_of_version_1_does_not_change),
        cmocka_unit_test(a_batch_takes_what_fits_and_pads_to_blocks),
        cmocka_unit_test(a_big_batch_gives_its_memory_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
