/* wal/recover.c: see recover.h. The decision for each kind of damage is the table in README.md; the
 * number of its row stands where it is decided.
 *
 * All batches of the log form one chain, through all files: sequence rises by one, `previous` is the
 * crc of the header before. Walking it, a batch is ours when its header's crc holds, it carries the
 * id of this use of the file and it continues the chain; it is sound when its records are, too. Where
 * that ends, the question is only: does a header of this use stand anywhere behind? Then what is bad
 * here was whole once. A batch that looks bad is read twice before it is believed. */
#include "wal/recover.h"
#include "wal/scan.h"
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <rt/alloc.h>
#include <rt/parse.h>
#include <stdio.h>
#include <string.h>

#define ADVICE "Nothing was changed. Replace this member: deploy/README.md, \"Replace a member\""

enum { STEP_BYTES = 1 << 20 };

struct recovery {
    struct wal_files *f;
    struct wal_tail *tail;
    struct why *why;
    char path[WAL_PATH_BYTES]; // of the segment being walked
    struct wal_segment seg;
    bool first, newest; // what it is among the segments
    struct wal_scan scan;
};

struct numbers {
    uint64_t *number;
    uint32_t count, cap;
};

static void collect_number(void *arg, const char *name)
{
    struct numbers *n = arg;
    uint64_t number;
    if (!wal_segment_name_parse(name, &number))
        return;
    if (n->count == n->cap) {
        n->cap = n->cap ? n->cap * 2 : 64;
        n->number = rt_realloc(n->number, n->cap * sizeof *n->number);
        assert(n->number);
    }
    n->number[n->count++] = number;
}

/* Row 3: a header that stands behind the bad place `at` says that it was whole once. */
static int damaged_before(struct recovery *r, uint64_t at, uint64_t later,
                          const struct wal_header *h)
{
    why_set(r->why,
            "%s: damaged at offset %" PRIu64 ": batch %" PRIu64 " is bad, and batch %" PRIu64
            " at offset %" PRIu64 " is not, so it was whole once; entries after %" PRIu64
            " are in doubt. " ADVICE,
            r->path, at, r->tail->sequence + 1, h->sequence, later, r->tail->last_index);
    return WAL_DAMAGED;
}

static int damaged(struct recovery *r, uint64_t at, const char *what)
{
    why_set(r->why,
            "%s: damaged at offset %" PRIu64 ": %s; entries after %" PRIu64
            " are in doubt. " ADVICE,
            r->path, at, what, r->tail->last_index);
    return WAL_DAMAGED;
}

static int unreadable(struct recovery *r, uint64_t at, int err)
{
    char words[64];
    why_set(r->why, "cannot read %s at offset %" PRIu64 ": %s; check the disk", r->path, at,
            why_errno(err, words, sizeof words));
    return err;
}

/* The first record of a segment: is this our log, in a format we know? Rows 8 to 11. */
static int take_metadata(struct recovery *r, const struct wal_record *record)
{
    struct wal_metadata m;
    if (!wal_metadata_decode(record, &m))
        return damaged(r, 0, "the file does not begin with the record that says whose log it is");
    if (m.version != WAL_FORMAT_VERSION) {
        why_set(r->why,
                "%s is written in format %" PRIu32 ", this program knows format %u; start the "
                "program that wrote it. Nothing was changed",
                r->path, m.version, WAL_FORMAT_VERSION);
        return WAL_VERSION;
    }
    if (m.cluster_id != r->f->cluster_id || m.member_id != r->f->member_id) {
        why_set(r->why,
                "%s belongs to member %" PRIx64 " of cluster %" PRIx64 ", not to member %" PRIx64
                " of cluster %" PRIx64
                "; check the data directory and the initial cluster. Nothing "
                "was changed",
                r->path, m.member_id, m.cluster_id, r->f->member_id, r->f->cluster_id);
        return WAL_FOREIGN;
    }
    if (m.number != r->seg.number)
        return damaged(r, 0, "by its content it is another segment of this log");
    if (r->first) {
        wal_places_init(&r->f->places, record->index);
        r->tail->base_index = r->tail->last_index = record->index;
        r->tail->base_term = r->tail->last_term = record->term;
    } else if (record->index != r->tail->last_index) {
        return damaged(r, 0, "it was begun after another entry than the last one before it");
    }
    r->seg.base_index = record->index;
    return 0;
}

/* Rows 12 and 13, but for what they refuse every record is as the writer's assertions leave it. */
static int take_entry(struct recovery *r, uint64_t at, const struct wal_record *record,
                      uint32_t skip)
{
    struct wal_tail *t = r->tail;
    if (record->index == 0 || record->index > t->last_index + 1)
        return damaged(r, at, "an entry does not follow the one before");
    if (record->index == t->last_index + 1 && record->term < t->last_term)
        return damaged(r, at, "an entry has a lower term than the one before");
    struct wal_place place = {record->index, r->seg.number, at, skip};
    wal_places_add(&r->f->places, &place);
    if (record->index <= t->base_index) { // replaces what was released: see places.h
        t->base_index = record->index;
        t->base_term = record->term;
    }
    t->last_index = record->index;
    t->last_term = record->term;
    return 0;
}

static int take_batch(struct recovery *r, uint64_t at, const struct wal_header *h,
                      const uint8_t *records)
{
    struct wal_tail *t = r->tail;
    for (size_t pos = 0; pos < h->records_bytes;) {
        struct wal_record record;
        size_t size = wal_record_peek(records + pos, &record);
        int err = 0;
        if (at == 0 && pos == 0) {
            err = take_metadata(r, &record);
        } else if (record.kind < WAL_SNAPSHOT) {
            err = take_entry(r, at, &record, (uint32_t)(WAL_HEADER_BYTES + pos));
        } else if (record.kind == WAL_SNAPSHOT) {
            wal_places_reset(&r->f->places, record.index);
            t->base_index = t->last_index = record.index;
            t->base_term = t->last_term = record.term;
        } else {
            err = damaged(r, at, "a record has a kind that cannot be there");
        }
        if (err)
            return err;
        pos += size;
    }
    if (at == 0 && h->records_bytes == 0)
        return damaged(r, 0, "the file does not begin with the record that says whose log it is");
    t->sequence = h->sequence;
    t->previous = h->crc;
    t->hard_state = h->hard_state;
    return 0;
}

/* 0 when the batch at `at` continues the chain and is sound; WAL_NONE otherwise; -errno. */
static int look_at_batch(struct recovery *r, uint64_t at, struct wal_header *h,
                         const uint8_t **records)
{
    int err = wal_scan_header(&r->scan, at, h);
    if (err)
        return err;
    if (at > 0 && memcmp(h->segment, r->seg.id, sizeof h->segment) != 0)
        return WAL_NONE;
    if (!(at == 0 && r->first) &&
        (h->sequence != r->tail->sequence + 1 || h->previous != r->tail->previous))
        return WAL_NONE;
    return wal_scan_records(&r->scan, at, h, records);
}

/* No sound batch stands at `at`, twice. Is this the end of the segment, or damage? */
static int judge_end(struct recovery *r, uint64_t at)
{
    struct wal_header h;
    if (at == 0) { // row 7
        if (wal_scan_header(&r->scan, 0, &h) == 0 && !r->first &&
            h.sequence != r->tail->sequence + 1)
            return damaged(r, 0,
                           "it does not continue the segment before it, whose end is missing "
                           "or bad"); // row 5
        return damaged(r, 0, "its first batch is bad");
    }
    uint64_t later;
    int err = wal_scan_later(&r->scan, at + WAL_BLOCK_BYTES, r->seg.id, &h, &later);
    if (!err)
        return damaged_before(r, at, later, &h);
    if (err != WAL_NONE)
        return unreadable(r, at, err);
    err = wal_scan_header(&r->scan, at, &h);
    bool ours = !err && memcmp(h.segment, r->seg.id, sizeof h.segment) == 0;
    if (ours && (h.sequence != r->tail->sequence + 1 || h.previous != r->tail->previous))
        return damaged(r, at, "a batch of this segment stands out of its order"); // row 4
    if (ours && !r->newest)
        return damaged(r, at, "a batch is bad, and a newer segment exists"); // row 5
    if (r->newest) {                                                         // rows 1 and 2
        r->tail->offset = at;
        r->tail->torn = ours || wal_scan_has_id(&r->scan, at, r->seg.id);
    }
    return 0;
}

static int walk_segment(struct recovery *r)
{
    for (uint64_t at = 0;;) {
        struct wal_header h;
        const uint8_t *records;
        int err = look_at_batch(r, at, &h, &records);
        if (err == WAL_NONE) {
            wal_scan_forget(&r->scan);
            err = look_at_batch(r, at, &h, &records);
        }
        if (err == WAL_NONE)
            return judge_end(r, at);
        if (err)
            return unreadable(r, at, err);
        if (at == 0)
            memcpy(r->seg.id, h.segment, sizeof r->seg.id);
        err = take_batch(r, at, &h, records);
        if (err)
            return err;
        at += wal_batch_bytes(h.records_bytes);
    }
}

static int recover_segment(struct recovery *r, uint64_t number)
{
    char name[WAL_NAME_BYTES];
    struct rt_file *file;
    wal_segment_name(number, name);
    wal_path(r->f->dir, name, r->path);
    r->seg = (struct wal_segment){.number = number};
    int err = wal_segment_open_to_read(r->path, &file);
    if (err)
        return unreadable(r, 0, err);
    err = wal_scan_open(&r->scan, file, STEP_BYTES);
    if (err) {
        unreadable(r, 0, err);
    } else {
        r->seg.size_bytes = r->scan.size_bytes;
        err = walk_segment(r);
        wal_scan_close(&r->scan);
    }
    (void)rt_file_close(file); // was only read
    if (!err)
        wal_files_add_locked(r->f, &r->seg);
    return err;
}

static int recover_all(struct recovery *r, const struct numbers *n)
{
    for (uint32_t i = 0; i < n->count; i++) {
        r->first = i == 0;
        r->newest = i + 1 == n->count;
        if (!r->first && n->number[i] != n->number[i - 1] + 1) { // row 6
            why_set(r->why,
                    "%s: segment %016" PRIx64 ".seg is missing, a newer one is there; entries "
                    "after %" PRIu64 " are in doubt. " ADVICE,
                    r->f->dir, n->number[i - 1] + 1, r->tail->last_index);
            return WAL_DAMAGED;
        }
        int err = recover_segment(r, n->number[i]);
        if (err)
            return err;
    }
    return 0;
}

int wal_recover(struct wal_files *f, struct wal_tail *tail, struct why *why)
{
    struct numbers n = {.count = 0};
    char words[64];
    *tail = (struct wal_tail){.offset = 0};
    int err = rt_list_dir(f->dir, collect_number, &n);
    if (err) {
        why_set(why, "cannot list %s: %s", f->dir, why_errno(err, words, sizeof words));
    } else if (n.count == 0) {
        err = WAL_NONE;
    } else {
        struct recovery r = {.f = f, .tail = tail, .why = why};
        err = recover_all(&r, &n);
    }
    rt_free(n.number);
    return err;
}

struct sweep {
    char (*name)[WAL_NAME_BYTES];
    uint32_t count, cap;
};

static void collect_leftover(void *arg, const char *name)
{
    struct sweep *s = arg;
    if (!wal_spare_name_is(name) && strcmp(name, WAL_FILLING_NAME) != 0)
        return;
    if (s->count == s->cap) {
        s->cap = s->cap ? s->cap * 2 : 16;
        s->name = rt_realloc(s->name, s->cap * sizeof *s->name);
        assert(s->name);
    }
    snprintf(s->name[s->count++], WAL_NAME_BYTES, "%s", name);
}

static int keep_or_remove(struct wal_files *f, const char *name)
{
    char path[WAL_PATH_BYTES];
    struct rt_file *file;
    uint64_t number, size;
    char digits[17];
    wal_path(f->dir, name, path);
    if (!wal_spare_name_is(name))
        return rt_unlink(path); // half made
    memcpy(digits, name, 16);
    digits[16] = 0;
    int err = rt_file_open(path, RT_OPEN_READ, 0, &file);
    if (err)
        return err;
    err = rt_file_size(file, &size);
    (void)rt_file_close(file); // was only measured
    if (err)
        return err;
    if (size != f->segment_bytes || f->spare_count == WAL_SPARES_MAX ||
        rt_parse_hex(digits, &number) != 0)
        return rt_unlink(path);
    f->spare[f->spare_count++] = number;
    return 0;
}

int wal_recover_spares(struct wal_files *f, struct why *why)
{
    struct sweep s = {.count = 0};
    char words[64];
    int err = rt_list_dir(f->dir, collect_leftover, &s);
    if (err)
        why_set(why, "cannot list %s: %s", f->dir, why_errno(err, words, sizeof words));
    for (uint32_t i = 0; i < s.count && !err; i++) {
        err = keep_or_remove(f, s.name[i]);
        if (err)
            why_set(why, "cannot tidy %s/%s: %s", f->dir, s.name[i],
                    why_errno(err, words, sizeof words));
    }
    rt_free(s.name);
    return err;
}
