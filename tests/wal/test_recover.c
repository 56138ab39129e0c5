/* The decision table of wal/README.md, row by row, on the files of a log that went through recycling:
 * behind its tail stands what earlier uses of the file left. */
#include "tests/wal/log_fixture.h"
#include "wal/batch.h"
#include "wal/recover.h"
#include "wal/scan.h"

enum { BATCHES_MAX = 400, FILES_MAX = 8 };

struct batch_at {
    uint32_t file; // position in `file`
    uint64_t offset, bytes, used, sequence;
    uint64_t last; // entry after it
};

/* A closed log, its bytes, and where its batches are. */
struct image {
    struct log_fixture *f;
    uint64_t number[FILES_MAX];
    uint8_t *bytes[FILES_MAX];
    size_t size[FILES_MAX];
    uint32_t files;
    struct batch_at batch[BATCHES_MAX];
    uint32_t batches;
    struct why why;
};

static void path_of(const struct image *im, uint32_t file, char *path)
{
    char name[WAL_NAME_BYTES];
    wal_segment_name(im->number[file], name);
    wal_path(im->f->dir, name, path);
}

static void put(struct image *im, uint32_t file, const void *bytes, size_t len, uint64_t offset)
{
    char path[WAL_PATH_BYTES];
    struct rt_file *out;
    path_of(im, file, path);
    assert_int_equal(rt_file_open(path, RT_OPEN_WRITE, 0, &out), 0);
    assert_int_equal(rt_file_pwrite(out, bytes, len, offset), 0);
    assert_int_equal(rt_file_close(out), 0);
}

static void restore(struct image *im, uint32_t file)
{
    put(im, file, im->bytes[file], im->size[file], 0);
}

static void find_batches(struct image *im, uint32_t file)
{
    struct wal_scan scan;
    struct wal_header h;
    const uint8_t *records;
    uint8_t id[WAL_SEGMENT_ID_BYTES];
    uint8_t *copy = rt_alloc_aligned(WAL_BLOCK_BYTES, im->size[file]);
    memcpy(copy, im->bytes[file], im->size[file]);
    wal_scan_bytes(&scan, copy, im->size[file]);
    for (uint64_t at = 0; wal_scan_header(&scan, at, &h) == 0;
         at += wal_batch_bytes(h.records_bytes)) {
        if (at == 0)
            memcpy(id, h.segment, sizeof id);
        if (memcmp(id, h.segment, sizeof id) != 0 || wal_scan_records(&scan, at, &h, &records))
            break;
        struct batch_at *b = &im->batch[im->batches];
        *b = (struct batch_at){.file = file,
                               .offset = at,
                               .bytes = wal_batch_bytes(h.records_bytes),
                               .used = WAL_HEADER_BYTES + h.records_bytes,
                               .sequence = h.sequence,
                               .last = im->batches ? b[-1].last : 0};
        for (uint32_t pos = 0; pos < h.records_bytes;) {
            struct wal_record r;
            pos += (uint32_t)wal_record_peek(records + pos, &r);
            b->last = r.index;
        }
        im->batches++;
        assert_true(im->batches < BATCHES_MAX);
    }
    rt_free(copy);
}

static void collect_segment(void *arg, const char *name)
{
    struct image *im = arg;
    uint64_t number;
    if (wal_segment_name_parse(name, &number))
        im->number[im->files++] = number;
}

/* A log of some segments whose last batch has `tail_entries`, and is the last thing in it: what a
 * crash leaves, without the closing batch. */
static struct image *image_new(uint32_t tail_entries)
{
    struct image *im = calloc(1, sizeof *im);
    struct log_fixture *f = im->f = fixture_new(WAL_IO_AUTO);
    struct wal_stats s;
    fixture_must_open(f);
    do {
        fixture_append(f, f->last + 1, f->last + 5, 1 + f->last / 90,
                       200 + 150 * (f->last / 5 % 5));
        if (f->last > 100)
            wal_release(f->wal, f->last - 100);
        wal_stats(f->wal, &s);
    } while (f->last < 600);
    while (s.segments > 3) {
        rt_sleep_ns(RT_MS); // the keeper: polls, nothing depends on how long
        wal_stats(f->wal, &s);
    }
    uint64_t segments;
    do { // some way into a segment
        segments = s.segments;
        fixture_append(f, f->last + 1, f->last + 1, 20, 10);
        wal_stats(f->wal, &s);
    } while (s.segments == segments);
    for (int i = 0; i < 5; i++)
        fixture_append(f, f->last + 1, f->last + 2, 20, 10);
    fixture_append(f, f->last + 1, f->last + tail_entries, 20, 1500);
    fixture_close(f);
    rt_list_dir(f->dir, collect_segment, im);
    for (uint32_t i = 0; i < im->files; i++) {
        char path[WAL_PATH_BYTES];
        path_of(im, i, path);
        assert_int_equal(rt_read_file(path, 1 << 20, &im->bytes[i], &im->size[i]), 0);
        find_batches(im, i);
    }
    // Take the closing batch away again.
    const struct batch_at *closing = &im->batch[--im->batches];
    memset(im->bytes[im->files - 1] + closing->offset, 0, closing->bytes);
    restore(im, im->files - 1);
    assert_int_equal(im->batch[im->batches - 1].last, f->last);
    assert_true(im->files >= 3);
    return im;
}

static void image_free(struct image *im)
{
    for (uint32_t i = 0; i < im->files; i++)
        rt_free(im->bytes[i]);
    fixture_free(im->f);
    free(im);
}

/* What recovery says of the files as they are: 0 or the error; the last index in *last. */
static int recover(struct image *im, uint64_t *last, bool *torn)
{
    struct wal_files *files = calloc(1, sizeof *files);
    struct wal_tail tail;
    memcpy(files->dir, im->f->dir, strlen(im->f->dir) + 1);
    files->cluster_id = im->f->options.cluster_id;
    files->member_id = im->f->options.member_id;
    im->why.text[0] = 0;
    int err = wal_recover(files, &tail, &im->why);
    if (!err)
        assert_int_equal(files->places.last, tail.last_index);
    *last = tail.last_index;
    *torn = tail.torn;
    wal_files_deinit(files);
    free(files);
    return err;
}

static void want_sound(struct image *im, uint64_t last, const char *when)
{
    uint64_t got;
    bool torn;
    int err = recover(im, &got, &torn);
    if (err || got != last)
        fail_msg("%s: %d, last %" PRIu64 ", wanted %" PRIu64 ": %s", when, err, got, last,
                 im->why.text);
}

static void want_damaged(struct image *im, const char *when)
{
    uint64_t got;
    bool torn;
    int err = recover(im, &got, &torn);
    if (err != WAL_DAMAGED)
        fail_msg("%s: %d, last %" PRIu64 ", wanted damage", when, err, got);
    if (!strstr(im->why.text, im->f->dir) || !strstr(im->why.text, "Replace a member"))
        fail_msg("%s: says only: %s", when, im->why.text);
}

static const struct batch_at *last_batch(const struct image *im)
{
    return &im->batch[im->batches - 1];
}

/* Rows 1 and 2: the last batch, cut at every sector, over each kind of old content. */
static void a_last_batch_cut_at_any_sector_is_left_out(void **state)
{
    (void)state;
    struct image *im = image_new(7);
    const struct batch_at *b = last_batch(im), *before = b - 1;
    char when[100];
    uint8_t *old[2] = {calloc(1, b->bytes), im->bytes[0]}; // never written; another use of a file
    for (int kind = 0; kind < 2; kind++)
        for (uint64_t cut = 0; cut <= b->bytes; cut += 512)
            for (int lost_first = 0; lost_first < 2; lost_first++) {
                uint64_t from = lost_first ? 0 : cut, to = lost_first ? cut : b->bytes;
                put(im, b->file, old[kind] + from, to - from, b->offset + from);
                bool whole = from == to || from >= b->used;
                snprintf(when, sizeof when,
                         "sectors %" PRIu64 " to %" PRIu64 " lost, old content %d", from / 512,
                         to / 512, kind);
                want_sound(im, whole ? b->last : before->last, when);
                restore(im, b->file);
            }
    free(old[0]);
    image_free(im);
}

static void a_last_batch_with_any_sectors_lost_is_left_out(void **state)
{
    (void)state;
    struct image *im = image_new(7);
    const struct batch_at *b = last_batch(im), *before = b - 1;
    uint64_t seed = test_seed() | 1;
    static const uint8_t zeros[512];
    for (int n = 0; n < 100; n++) {
        bool hit = false;
        uint64_t mask = draw(&seed, UINT64_C(1) << (b->bytes / 512));
        for (uint64_t sector = 0; sector < b->bytes / 512; sector++)
            if (mask >> sector & 1) {
                put(im, b->file, zeros, 512, b->offset + sector * 512);
                hit = hit || sector * 512 < b->used;
            }
        want_sound(im, hit ? before->last : b->last, "sectors lost at random");
        restore(im, b->file);
    }
    image_free(im);
}

static void a_file_cut_short_in_its_last_batch_loses_only_that(void **state)
{
    (void)state;
    struct image *im = image_new(7);
    const struct batch_at *b = last_batch(im);
    char path[WAL_PATH_BYTES];
    struct rt_file *file;
    path_of(im, b->file, path);
    for (uint64_t cut = 0; cut < b->bytes; cut += 512) {
        assert_int_equal(rt_file_open(path, RT_OPEN_WRITE, 0, &file), 0);
        assert_int_equal(rt_file_truncate(file, b->offset + cut), 0);
        assert_int_equal(rt_file_close(file), 0);
        bool whole = cut / WAL_BLOCK_BYTES * WAL_BLOCK_BYTES >= b->bytes;
        want_sound(im, whole ? b->last : b[-1].last, "the file is cut");
        restore(im, b->file);
    }
    image_free(im);
}

/* Every row that a flipped bit can reach, by where it is. */
static void a_changed_byte_is_damage_or_a_torn_tail_by_where_it_is(void **state)
{
    (void)state;
    struct image *im = image_new(3);
    const struct batch_at *newest = last_batch(im);
    uint64_t flips = 0;
    for (uint32_t i = 0; i < im->batches; i++) {
        const struct batch_at *b = &im->batch[i];
        for (uint64_t at = 0; at < b->bytes; at += at < 96 ? 5 : 397) {
            char when[100];
            uint8_t byte = im->bytes[b->file][b->offset + at] ^ (uint8_t)(1 << at % 8);
            put(im, b->file, &byte, 1, b->offset + at);
            snprintf(when, sizeof when, "file %u, batch %" PRIu64 " of %" PRIu64 ", byte %" PRIu64,
                     b->file, b->sequence, newest->sequence, at);
            if (at >= b->used)
                want_sound(im, newest->last, when); // padding
            else if (b == newest)
                want_sound(im, b[-1].last, when);
            else
                want_damaged(im, when);
            byte = im->bytes[b->file][b->offset + at];
            put(im, b->file, &byte, 1, b->offset + at);
            flips++;
        }
    }
    want_sound(im, newest->last, "all is put back");
    printf("# %" PRIu64 " bytes changed in %u batches\n", flips, im->batches);
    image_free(im);
}

static void a_closed_log_can_tell_that_its_last_entries_were_whole(void **state)
{
    (void)state;
    struct log_fixture *f = fixture_new(WAL_IO_AUTO);
    struct image *im = calloc(1, sizeof *im);
    im->f = f;
    im->number[0] = im->files = 1;
    fixture_must_open(f);
    fixture_append(f, 1, 3, 1, 10);
    fixture_append(f, 4, 6, 1, 10);
    fixture_close(f);
    uint8_t byte = 0x55;
    put(im, 0, &byte, 1, 2 * WAL_BLOCK_BYTES + 100); // in the batch of 4 to 6
    want_damaged(im, "a byte of the last entries is changed after a clean stop");
    image_free(im);
}

static void a_hole_before_a_whole_batch_is_damage(void **state)
{
    (void)state;
    struct image *im = image_new(3);
    static const uint8_t zeros[WAL_BLOCK_BYTES];
    for (uint32_t i = 0; i + 1 < im->batches; i++) {
        put(im, im->batch[i].file, zeros, sizeof zeros, im->batch[i].offset);
        want_damaged(im, "a block of zeros");
        restore(im, im->batch[i].file);
    }
    image_free(im);
}

static void a_lost_or_misplaced_write_is_damage(void **state)
{
    (void)state;
    struct image *im = image_new(3);
    const struct batch_at *b = last_batch(im);
    const uint8_t *file = im->bytes[b->file];
    put(im, b->file, file + b[-2].offset, b[-2].bytes, b[-1].offset); // older one in a later place
    want_damaged(im, "a batch stands twice");
    restore(im, b->file);
    put(im, b->file, file + b->offset, b->bytes, b->offset + b->bytes);
    want_damaged(im, "the last batch stands twice");
    assert_non_null(strstr(im->why.text, "out of its order"));
    restore(im, b->file);
    put(im, b->file, file + b->offset, b->bytes, b->offset + b->bytes); // right data, wrong place
    put(im, b->file, im->bytes[0], b->bytes, b->offset);
    want_damaged(im, "the last batch stands behind its place");
    assert_non_null(strstr(im->why.text, "is not, so it was whole once"));
    image_free(im);
}

static void a_missing_file_is_damage(void **state)
{
    (void)state;
    struct image *im = image_new(3);
    char path[WAL_PATH_BYTES], away[WAL_PATH_BYTES];
    path_of(im, 1, path);
    wal_path(im->f->dir, "away", away);
    assert_int_equal(rt_rename(path, away), 0);
    want_damaged(im, "a file in the middle is missing");
    assert_non_null(strstr(im->why.text, "is missing"));
    assert_int_equal(rt_rename(away, path), 0);
    char other[WAL_PATH_BYTES];
    path_of(im, 0, other); // two files change places
    assert_int_equal(rt_rename(path, away), 0);
    assert_int_equal(rt_rename(other, path), 0);
    assert_int_equal(rt_rename(away, other), 0);
    want_damaged(im, "two files have changed places");
    image_free(im);
}

/* Write the first batch of the newest file anew, changed. */
static void rewrite_metadata(struct image *im,
                             void (*change)(struct wal_header *, struct wal_record *,
                                            struct wal_metadata *))
{
    uint32_t file = im->files - 1;
    uint8_t payload[WAL_METADATA_BYTES], *block = malloc(WAL_BLOCK_BYTES);
    struct wal_header h;
    struct wal_record r;
    struct wal_metadata m;
    memcpy(block, im->bytes[file], WAL_BLOCK_BYTES);
    assert_true(wal_header_decode(block, &h));
    wal_record_peek(block + WAL_HEADER_BYTES, &r);
    assert_true(wal_metadata_decode(&r, &m));
    change(&h, &r, &m);
    wal_metadata_encode(&m, payload);
    r.data = payload;
    wal_record_encode(block + WAL_HEADER_BYTES, wal_record_seed(&h), &r);
    wal_header_encode(&h, block);
    put(im, file, block, WAL_BLOCK_BYTES, 0);
    free(block);
}

static void to_version_2(struct wal_header *h, struct wal_record *r, struct wal_metadata *m)
{
    (void)h, (void)r;
    m->version = 2;
}

static void to_other_member(struct wal_header *h, struct wal_record *r, struct wal_metadata *m)
{
    (void)h, (void)r;
    m->member_id = 0xdead;
}

static void to_other_base(struct wal_header *h, struct wal_record *r, struct wal_metadata *m)
{
    (void)h, (void)m;
    r->index--;
}

static void what_is_not_our_log_is_refused_with_names(void **state)
{
    (void)state;
    struct image *im = image_new(3);
    uint64_t last;
    bool torn;
    rewrite_metadata(im, to_version_2);
    assert_int_equal(recover(im, &last, &torn), WAL_VERSION);
    assert_non_null(strstr(im->why.text, "format 2, this program knows format 1"));
    rewrite_metadata(im, to_other_member);
    assert_int_equal(recover(im, &last, &torn), WAL_FOREIGN);
    assert_non_null(strstr(im->why.text, "belongs to member dead"));
    rewrite_metadata(im, to_other_base);
    want_damaged(im, "a segment begins behind another entry");
    image_free(im);
}

static void an_index_that_does_not_follow_is_damage(void **state)
{
    (void)state;
    struct image *im = image_new(3);
    const struct batch_at *b = last_batch(im);
    static const struct {
        const char *when;
        uint64_t skip, term;
        bool bad;
    } rows[] = {
        {"an entry is skipped", 1, 20, true},
        {"the term goes back", 0, 19, true},
        {"index and term follow", 0, 20, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct wal_batch batch;
        struct wal_header h;
        struct wal_hard_state hs = {20, 0, 0};
        struct wal_record r = {.term = rows[i].term, .index = b->last + 1 + rows[i].skip};
        assert_true(wal_header_decode(im->bytes[b->file] + b->offset, &h));
        h.previous = h.crc;
        h.sequence++;
        assert_int_equal(wal_batch_init(&batch), 0);
        assert_int_equal(wal_batch_begin(&batch, &h, WAL_BLOCK_BYTES), 0);
        assert_true(wal_batch_add(&batch, &r));
        put(im, b->file, batch.buf, wal_batch_finish(&batch, &hs), b->offset + b->bytes);
        wal_batch_deinit(&batch);
        if (rows[i].bad)
            want_damaged(im, rows[i].when);
        else
            want_sound(im, b->last + 1, rows[i].when);
        restore(im, b->file);
    }
    image_free(im);
}

/* The batch after a cut goes to the same place with the same sequence. Torn as well, its header may
 * stand before records that the older one left: those must not pass. */
static void records_of_a_cut_batch_do_not_come_back_under_a_new_header(void **state)
{
    (void)state;
    struct image *im = image_new(7);
    struct log_fixture *f = im->f;
    const struct batch_at *b = last_batch(im);
    static const uint8_t zeros[512];
    put(im, b->file, zeros, 512, b->offset + b->used / 512 * 512); // torn at its end
    f->last = b[-1].last;
    fixture_must_open(f);
    assert_int_equal(f->recovered.torn_offset, b->offset);
    fixture_append(f, f->last + 1, f->last + 7, 20, 1500); // the same entries in the same layout
    fixture_close(f);
    // Its first block reached the disk, the others did not: there stand those of the older one.
    uint64_t rest = b->offset + WAL_BLOCK_BYTES;
    put(im, b->file, im->bytes[b->file] + rest, im->size[b->file] - rest, rest);
    want_sound(im, b[-1].last, "half of a new batch, half of an old one");
    image_free(im);
}

static void after_a_cut_the_log_goes_on(void **state)
{
    (void)state;
    struct image *im = image_new(7);
    struct log_fixture *f = im->f;
    const struct batch_at *b = last_batch(im);
    static const uint8_t zeros[512];
    put(im, b->file, zeros, 512, b->offset + 512);
    f->last = b[-1].last;
    fixture_must_open(f);
    assert_true(f->recovered.torn_offset == b->offset);
    assert_non_null(strstr(f->recovered.torn_file, ".seg"));
    fixture_append(f, f->last + 1, f->last + 20, 21, 100);
    fixture_reopen(f);
    assert_true(f->recovered.torn_offset == UINT64_MAX);
    fixture_append(f, f->last + 1, f->last + 200, 22, 1000);
    fixture_reopen(f);
    image_free(im);
}

static void half_made_spares_and_those_of_another_size_are_removed(void **state)
{
    (void)state;
    struct log_fixture *f = fixture_new(WAL_IO_AUTO);
    static const char *const names[] = {"next.filling", "0000000000000077.spare",
                                        "000000000000007g.spare"};
    char path[WAL_PATH_BYTES];
    fixture_must_open(f);
    fixture_append(f, 1, 3, 1, 10);
    fixture_close(f);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        wal_path(f->dir, names[i], path);
        assert_int_equal(rt_replace_file(path, "half", 4, 0600), 0);
    }
    fixture_must_open(f);
    for (size_t i = 1; i < ARRAY_LEN(names); i++) {
        wal_path(f->dir, names[i], path);
        assert_int_equal(rt_exists(path), 0);
    }
    fixture_append(f, 4, 200, 1, 1000);
    fixture_reopen(f);
    fixture_free(f);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_last_batch_cut_at_any_sector_is_left_out),
    cmocka_unit_test(a_last_batch_with_any_sectors_lost_is_left_out),
    cmocka_unit_test(a_file_cut_short_in_its_last_batch_loses_only_that),
    cmocka_unit_test(a_changed_byte_is_damage_or_a_torn_tail_by_where_it_is),
    cmocka_unit_test(a_closed_log_can_tell_that_its_last_entries_were_whole),
    cmocka_unit_test(a_hole_before_a_whole_batch_is_damage),
    cmocka_unit_test(a_lost_or_misplaced_write_is_damage),
    cmocka_unit_test(a_missing_file_is_damage),
    cmocka_unit_test(what_is_not_our_log_is_refused_with_names),
    cmocka_unit_test(an_index_that_does_not_follow_is_damage),
    cmocka_unit_test(records_of_a_cut_batch_do_not_come_back_under_a_new_header),
    cmocka_unit_test(after_a_cut_the_log_goes_on),
    cmocka_unit_test(half_made_spares_and_those_of_another_size_are_removed),
};

RT_TEST_GROUP(group, tests)

int main(void) { return rt_test_main(NULL, group); }
