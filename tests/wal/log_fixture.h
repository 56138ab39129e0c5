/* tests/wal/log_fixture.h: a log in a directory of its own, entries whose bytes follow from index and
 * term, and a model of what the log must hold. */
#pragma once
#include "tests/support/rt_test.h"
#include "wal/wal.h"
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <rt/alloc.h>
#include <rt/file.h>
#include <rt/parse.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MODEL_MAX = 20000 };

struct log_fixture {
    char dir[128];
    struct wal_options options;
    struct wal *wal;
    struct wal_recovered recovered;
    struct why why;
    // What the log must hold: the term of each entry first..last, and its length.
    uint64_t first, last;
    uint64_t term[MODEL_MAX];
    uint32_t len[MODEL_MAX];
    uint64_t next_told; // while telling
    uint64_t told_end;
};

static inline uint8_t payload_byte(uint64_t index, uint64_t term, uint32_t i)
{
    return (uint8_t)(index * 131 + term * 29 + i * 7 + (i >> 8));
}

/* Remove the directory and the plain files in it. */
static inline void remove_one(void *arg, const char *name)
{
    char path[WAL_PATH_BYTES];
    snprintf(path, sizeof path, "%s/%s", (const char *)arg, name);
    (void)unlink(path); // best effort: a test's left-overs
}

static inline void remove_dir(const char *dir)
{
    rt_list_dir(dir, remove_one, (void *)(uintptr_t)dir);
    (void)rmdir(dir); // the same
}

static inline struct log_fixture *fixture_new(enum wal_io io)
{
    struct log_fixture *f = calloc(1, sizeof *f);
    const char *tmp = getenv("TMPDIR");
    snprintf(f->dir, sizeof f->dir, "%s/kvd-wal-XXXXXX", tmp ? tmp : "/tmp");
    assert_non_null(mkdtemp(f->dir));
    f->options = (struct wal_options){.dir = f->dir,
                                      .cluster_id = 0xc1,
                                      .member_id = 0x8e9e05c52164694d,
                                      .segment_bytes = WAL_SEGMENT_BYTES_MIN,
                                      .io = io};
    f->first = 1;
    return f;
}

static inline void fixture_free(struct log_fixture *f)
{
    if (f->wal)
        wal_close(f->wal);
    remove_dir(f->dir);
    free(f);
}

/* 0, or what is wrong with this record by the model. Allowed in any goroutine. */
static inline int check_told(struct log_fixture *f, const struct wal_record *r)
{
    if (r->index != f->next_told || r->index > f->told_end || r->term != f->term[r->index] ||
        r->len != f->len[r->index] || r->kind != r->index % 3)
        return -EBADMSG;
    for (uint32_t i = 0; i < r->len; i++)
        if (r->data[i] != payload_byte(r->index, r->term, i))
            return -EILSEQ;
    f->next_told++;
    return 0;
}

static inline int tell_replayed(void *arg, const struct wal_record *r, struct why *why)
{
    struct log_fixture *f = arg;
    if (f->next_told == 0)
        f->next_told = r->index;
    int err = check_told(f, r);
    if (err)
        why_set(why, "replay told entry %" PRIu64 " term %" PRIu64 " len %u, wanted index %" PRIu64,
                r->index, r->term, r->len, f->next_told);
    return err;
}

static inline int tell_read(void *arg, const struct wal_record *r) { return check_told(arg, r); }

/* Open; the replay must agree with the model, which says how far it may go. */
static inline int fixture_open(struct log_fixture *f)
{
    struct wal_replay replay = {.entry = tell_replayed, .arg = f};
    f->next_told = 0;
    f->told_end = f->last;
    f->why.text[0] = 0;
    return wal_open(&f->options, &replay, &f->wal, &f->recovered, &f->why);
}

static inline void fixture_must_open(struct log_fixture *f)
{
    int err = fixture_open(f);
    if (err)
        fail_msg("open: %d: %s", err, f->why.text);
    if (f->recovered.last_index != f->last)
        fail_msg("recovered up to %" PRIu64 ", wanted %" PRIu64, f->recovered.last_index, f->last);
    uint64_t told = f->next_told ? f->next_told - 1 : f->recovered.base_index;
    if (told != f->last)
        fail_msg("replayed up to %" PRIu64 ", wanted %" PRIu64, told, f->last);
}

static inline void fixture_close(struct log_fixture *f)
{
    wal_close(f->wal);
    f->wal = NULL;
}

static inline void fixture_reopen(struct log_fixture *f)
{
    fixture_close(f);
    fixture_must_open(f);
}

/* One request of entries lo..hi, with memory of its own. */
struct append {
    struct wal_request request;
    struct wal_record *records;
    uint8_t *bytes;
    struct rt_note done;
};

static inline void append_done(struct wal_request *r)
{
    rt_note_set(&((struct append *)r->arg)->done);
}

static inline struct append *append_new(struct log_fixture *f, uint64_t lo, uint64_t hi,
                                        uint64_t term, uint32_t len)
{
    struct append *a = calloc(1, sizeof *a);
    uint32_t count = (uint32_t)(hi + 1 - lo);
    a->records = calloc(count ? count : 1, sizeof *a->records);
    a->bytes = malloc((size_t)count * len + 1);
    for (uint32_t n = 0; n < count; n++) {
        uint64_t index = lo + n;
        uint8_t *payload = a->bytes + (size_t)n * len;
        for (uint32_t i = 0; i < len; i++)
            payload[i] = payload_byte(index, term, i);
        a->records[n] = (struct wal_record){
            .term = term, .index = index, .data = payload, .len = len, .kind = index % 3};
        f->term[index] = term;
        f->len[index] = len;
        f->last = index;
    }
    a->request =
        (struct wal_request){.records = a->records, .count = count, .done = append_done, .arg = a};
    return a;
}

static inline void append_wait(struct append *a)
{
    rt_note_wait(&a->done, RT_FOREVER);
    assert_int_equal(a->request.result, 0);
    free(a->records);
    free(a->bytes);
    free(a);
}

/* Append entries lo..hi in one request and wait until they are durable. */
static inline void fixture_append(struct log_fixture *f, uint64_t lo, uint64_t hi, uint64_t term,
                                  uint32_t len)
{
    struct append *a = append_new(f, lo, hi, term, len);
    a->request.has_hard_state = true;
    a->request.hard_state = (struct wal_hard_state){.term = term, .vote = 7, .commit = lo - 1};
    wal_append(f->wal, &a->request);
    append_wait(a);
}

static inline int fixture_read(struct log_fixture *f, uint64_t lo, uint64_t hi, uint64_t max_bytes)
{
    f->next_told = lo;
    f->told_end = f->last;
    return wal_read(f->wal, lo, hi, max_bytes, tell_read, f, &f->why);
}

static inline uint64_t test_seed(void)
{
    uint64_t seed = 20261123;
    const char *text = getenv("KVD_SEED");
    if (text)
        rt_parse_u64(text, &seed);
    return seed;
}

/* xorshift64*, for tests that must replay exactly. */
static inline uint64_t draw(uint64_t *state, uint64_t bound)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return (*state * UINT64_C(2685821657736338717) >> 11) % bound;
}
